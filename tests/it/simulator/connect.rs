//! Connect as a person clicks through it, and as a script calls it.

use super::*;

impl Rig {
    /// Shows the page of a form's step. The forms lead to the URL they stand on.
    async fn post(&self, url: &str, form: &[(&str, &str)]) -> Answer {
        let url = Url::parse(url).unwrap();
        let path = format!("{}?{}", url.path(), url.query().unwrap());
        let kind = ("content-type", "application/x-www-form-urlencoded");
        self.send("POST", &path, &[kind], &encode(form)).await
    }

    async fn open(&self, url: &str) -> Answer {
        let url = Url::parse(url).unwrap();
        self.send("GET", &format!("{}?{}", url.path(), url.query().unwrap_or_default()), &[], "").await
    }
}

fn location(answer: &Answer) -> Url {
    assert_eq!(answer.status, 302, "{}", answer.text());
    Url::parse(answer.header("location").unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_person_connects_one_of_two_cars() {
    let rig = Rig::new(Settings::default());
    let scope = "read_vin read_location required:read_odometer";
    let url = rig.authorize_url(&[("scope", scope), ("external_id", "household-17")]);
    let brands = rig.open(&url).await;
    assert!(brands.text().contains("value=\"VOLKSWAGEN\"") && brands.text().contains("not the real service"));
    assert!(brands.header("content-security-policy").unwrap().contains("default-src 'none'"));
    assert_eq!(
        rig.open("https://connect.smartcar.com/simulator/style.css").await.header("content-type"),
        Some("text/css; charset=utf-8")
    );

    let sign_in = rig.post(&url, &[("step", "brand"), ("make", "VOLKSWAGEN")]).await.text();
    assert!(sign_in.contains(&format!("value=\"{ADA}\"")) && sign_in.contains("Sign in with VOLKSWAGEN"));

    let choose = rig.post(&url, &[("step", "sign-in"), ("make", "VOLKSWAGEN"), ("email", ADA)]).await.text();
    let vehicles = rig.vehicles(ADA);
    assert!(vehicles.iter().all(|id| choose.contains(&format!("type=\"checkbox\" name=\"vehicle\" value=\"{id}\" checked"))));
    assert!(choose.contains("value=\"read_odometer\" checked disabled"));
    assert!(choose.contains("value=\"read_location\" checked>"));

    let nothing = rig.post(&url, &[("step", "grant"), ("email", ADA), ("allow", "yes")]).await;
    assert!(nothing.text().contains("Choose at least one vehicle."));

    // Location is unticked; the required one is never sent by a browser.
    let form = [("step", "grant"), ("email", ADA), ("vehicle", &vehicles[1]), ("permission", "read_vin"), ("allow", "yes")];
    let back = location(&rig.post(&url, &form).await);
    assert!(back.as_str().starts_with(BACK));
    assert_eq!(parameter(&back, "state").as_deref(), Some("s 1"));
    assert_eq!(parameter(&back, "external_id").as_deref(), Some("household-17"));
    assert_eq!(parameter(&back, "user_id"), None, "Ada's account is of the old kind");
    let (access, _) = pair(&rig.exchange(&parameter(&back, "code").unwrap()).await);
    assert_eq!(rig.get("/v2.0/vehicles", &access).await.json()["vehicles"], json!([vehicles[1]]));
    let granted = rig.get(&format!("/v2.0/vehicles/{}/permissions", vehicles[1]), &access).await.json();
    assert_eq!(granted["permissions"], json!(["read_vin", "read_odometer"]));

    let denied = location(&rig.post(&url, &[("step", "grant"), ("email", ADA), ("deny", "yes")]).await);
    assert_eq!(parameter(&denied, "error").as_deref(), Some("access_denied"));
    assert!(parameter(&denied, "error_description").is_some() && parameter(&denied, "state").is_some());
}

#[tokio::test(start_paused = true)]
async fn make_and_single_select_shorten_the_way() {
    let rig = Rig::new(Settings::default());
    let url = rig.authorize_url(&[("make", "TESLA"), ("single_select", "true"), ("flags", "country:DE")]);
    assert!(rig.open(&url).await.text().contains("Sign in with TESLA"));
    let sign_in = [("step", "sign-in"), ("email", "somebody@example.org"), ("password", "x")];
    let choose = rig.post(&url, &sign_in).await.text();
    assert!(choose.contains("type=\"radio\"") && choose.contains("TESLA"));
    let both = [("step", "grant"), ("email", ADA), ("allow", "yes")];
    let vehicles = rig.vehicles(ADA);
    let both = [both.as_slice(), &[("vehicle", vehicles[0].as_str()), ("vehicle", vehicles[1].as_str())]].concat();
    assert!(rig.post(&url, &both).await.text().contains("Choose one vehicle only."));

    let (access, _) = rig.ada().await;
    let vin = rig.get(&format!("/v2.0/vehicles/{}/vin", vehicles[1]), &access).await.json()["vin"].clone();
    let one = [("single_select", "true"), ("single_select_vin", vin.as_str().unwrap())];
    let code = parameter(&rig.consent(ADA, &one).await, "code").unwrap();
    let (access, _) = pair(&rig.exchange(&code).await);
    assert_eq!(rig.get("/v2.0/vehicles", &access).await.json()["vehicles"], json!([vehicles[1]]));
}

#[tokio::test(start_paused = true)]
async fn who_granted_it_all_before_is_not_asked_again() {
    let rig = Rig::new(Settings::default());
    rig.consent(GRACE, &[]).await;
    let sign_in = [("step", "sign-in"), ("email", GRACE)];
    let auto = rig.post(&rig.authorize_url(&[]), &sign_in).await.text();
    assert!(auto.contains("You allowed everything") && auto.contains("type=\"hidden\" name=\"permission\""));
    let force = rig.post(&rig.authorize_url(&[("approval_prompt", "force")]), &sign_in).await.text();
    assert!(force.contains("type=\"checkbox\" name=\"permission\""));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_about_the_link_is_shown_and_leads_nowhere() {
    let rig = Rig::new(Settings::default());
    for more in [
        &[("client_id", "nobody")][..],
        &[("client_id", "")],
        &[("application_id", "nobody")],
        &[("redirect_uri", "javascript:alert(1)")],
        // Without a redirect URI nothing else that is wrong leads anywhere either.
        &[("redirect_uri", "")],
        &[("redirect_uri", ""), ("response_type", "none"), ("mode", "\"><script>")],
    ] {
        let answer = rig.open(&rig.authorize_url(more)).await;
        assert_eq!(answer.status, 400, "{more:?}");
        assert!(answer.header("location").is_none() && !answer.text().contains("<script"), "{}", answer.text());
    }
    let evil = "\"><script>alert(1)</script>@example.com";
    rig.simulator.turn("unknown=taken").unwrap();
    let url = rig.authorize_url(&[("state", evil), ("make", evil)]);
    for form in [&[("step", "sign-in"), ("email", evil)][..], &[("step", "brand")]] {
        assert!(!rig.post(&url, form).await.text().contains("<script"));
    }
}

/// The application and the way back are right: a wrong set-up is told there.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_about_the_rest_is_a_configuration_error() {
    let rig = Rig::new(Settings::default());
    for (name, value) in [
        ("response_type", "token"),
        ("mode", "live\"><script>"),
        ("make", "TESSLA"),
        ("approval_prompt", "always"),
        ("single_select", "yes"),
        ("single_select_vin", "0SC00000000000000"),
        ("flags", "country"),
        ("flags", "country:Germany"),
        ("app_origin", "javascript:alert(1)"),
        ("app_origin", "https://app.example/page"),
    ] {
        let back = location(&rig.open(&rig.authorize_url(&[(name, value)])).await);
        assert!(back.as_str().starts_with(BACK) && !back.as_str().contains('<'), "{back}");
        let told = |name: &str| parameter(&back, name).unwrap();
        assert_eq!(
            (told("error").as_str(), told("status_code").as_str(), told("state").as_str()),
            ("configuration_error", "400", "s 1")
        );
        assert!(told("error_message").starts_with(name) && !told("error_description").is_empty(), "{back}");
    }
    for (name, value, said) in [
        ("scope", "<script>", "Application not authorized to request permission(s): <script> (there are control_charge, "),
        (
            "scope",
            "read_vin required:read_odometr",
            "Application not authorized to request permission(s): read_odometr (read_odometer, perhaps?)",
        ),
        ("make", "TESSLA", "make is TESSLA, which no simulated car is of (TESLA, perhaps?)"),
        ("make", "AUDI", "make is AUDI, which no simulated car is of (there are BMW, FORD, "),
    ] {
        let url = rig.authorize_url(&[(name, value)]);
        rig.simulator.turn("unknown=refused").unwrap();
        let told = parameter(&location(&rig.open(&url).await), "error_message").unwrap();
        assert!(told.starts_with(said), "{told}");
        rig.simulator.turn("unknown=taken").unwrap();
        assert_eq!(rig.open(&url).await.status, 200, "{name}={value}");
    }
    let both = rig.authorize_url(&[("application_id", &rig.simulator.settings().application.application_id)]);
    assert_eq!(rig.open(&both).await.status, 200, "an SDK of each age may be right");
}

#[tokio::test(start_paused = true)]
async fn what_is_let_through_is_not_sent_back() {
    let rig = Rig::new(Settings::default());
    let more = [
        ("user", "analytics-7"),
        ("flags", "country:DE color:00819D tesla_auth:true"),
        ("app_origin", "https://app.example"),
        ("single_select", "false"),
        ("approval_prompt", "auto"),
    ];
    let back = rig.consent(ADA, &more).await;
    let names: Vec<String> = back.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["code", "state"]);

    // The javascript-sdk opens Connect in a window of its own, and names the page to go back to.
    let none =
        [("response_type", "none"), ("redirect_uri", ""), ("simulator_account", GRACE), ("app_origin", "https://app.example")];
    let closing = rig.open(&rig.authorize_url(&none)).await;
    assert!(closing.status == 200 && closing.text().contains("<a href=\"https://app.example\">"), "{}", closing.text());
}

/// Simulated cars are made for a region.
#[tokio::test(start_paused = true)]
async fn the_country_of_a_simulated_car_must_fit() {
    let rig = Rig::new(Settings::default());
    let mut ended = Vec::new();
    for country in ["country:US", "country:DE", "country:CA"] {
        let back = rig.consent(GRACE, &[("mode", "simulated"), ("flags", country)]).await;
        ended.push(parameter(&back, "error"));
        // Live cars are connected wherever they are.
        assert_eq!(parameter(&rig.consent(GRACE, &[("flags", country)]).await, "error"), None);
    }
    // In lower case it is the same country.
    let small = rig.consent(GRACE, &[("mode", "simulated"), ("flags", "country:de")]).await;
    assert_eq!(parameter(&small, "error"), ended[1]);
    let none = Some("no_vehicles".to_owned());
    assert_eq!(ended.iter().filter(|error| **error == none).count(), 2, "{ended:?}");
    assert_eq!((ended.iter().filter(|error| error.is_none()).count(), &ended[2]), (1, &none), "{ended:?}");
    assert_eq!(parameter(&rig.consent(GRACE, &[("mode", "simulated")]).await, "error"), None);
}

#[tokio::test(start_paused = true)]
async fn every_documented_end_can_be_had() {
    let rig = Rig::new(Settings::default());
    let url = rig.authorize_url(&[]);
    for (email, error) in [
        ("smartcar@invalid-subscription.com", "invalid_subscription"),
        ("smartcar@vehicle-incompatible.com", "vehicle_incompatible"),
        ("no-vehicles@example.com", "no_vehicles"),
        ("server-error@example.com", "server_error"),
        ("configuration-error@example.com", "configuration_error"),
    ] {
        let back = location(&rig.post(&url, &[("step", "sign-in"), ("email", email)]).await);
        assert_eq!(parameter(&back, "error").as_deref(), Some(error));
        assert_eq!(parameter(&back, "vin").is_some(), error == "vehicle_incompatible");
        assert_eq!(parameter(&back, "status_code").is_some(), error == "configuration_error");
        assert_eq!(parameter(&rig.consent(email, &[]).await, "error").as_deref(), Some(error));
    }
    let cancelled = location(&rig.post(&url, &[("step", "sign-in"), ("cancel", "yes")]).await);
    assert_eq!(parameter(&cancelled, "error").as_deref(), Some("oem_cancelled_login"));
    assert_eq!(parameter(&cancelled, "error_description"), None);
    let chosen = rig.consent(ADA, &[("simulator_outcome", "access_denied")]).await;
    assert!(chosen.as_str().contains("error_description=User%20denied"));
}

#[tokio::test(start_paused = true)]
async fn other_ways_out() {
    let rig = Rig::new(Settings::default());
    let scheme = rig.consent(GRACE, &[("redirect_uri", "myapp://smartcar/back?x=1")]).await;
    assert!(scheme.as_str().starts_with("myapp://smartcar/back?x=1&code="), "{scheme}");

    let none = rig.authorize_url(&[("response_type", "none"), ("redirect_uri", ""), ("simulator_account", GRACE)]);
    let closing = rig.open(&none).await;
    assert!(closing.status == 200 && closing.text().contains("You can close this page"));
    let user_only = rig.consent(ADA, &[("response_type", "none")]).await;
    assert!(parameter(&user_only, "user_id").is_some() && parameter(&user_only, "code").is_none());

    let id = &rig.simulator.settings().application.application_id;
    let vehicle = rig.vehicles(GRACE).remove(0);
    let again = format!(
        "https://connect.smartcar.com/oauth/reauthenticate?response_type=vehicle_id&client_id={id}&vehicle_id={vehicle}&redirect_uri={BACK}&state=s2"
    );
    assert!(rig.open(&again).await.text().contains("Sign in again"));
    let back = location(&rig.post(&again, &[("step", "sign-in"), ("password", "x")]).await);
    assert_eq!(back.query().unwrap(), format!("vehicle_id={vehicle}&state=s2"));
    assert_eq!(rig.simulator.consent(&again, GRACE).await.unwrap(), back.as_str());
}

/// Who has nowhere to go back to ends on a page of Smartcar's, which says what came of it.
#[tokio::test(start_paused = true)]
async fn without_a_way_back_every_end_says_what_it_is() {
    let rig = Rig::new(Settings::default());
    let url = rig.authorize_url(&[("response_type", "none"), ("redirect_uri", ""), ("make", "VOLVO")]);
    let cancelled = rig.post(&url, &[("step", "sign-in"), ("make", "VOLVO"), ("cancel", "yes")]).await;
    assert!(cancelled.status == 200 && cancelled.text().contains("<h1>Not connected</h1>"), "{}", cancelled.text());
    for error in [
        "access_denied",
        "configuration_error",
        "invalid_subscription",
        "no_vehicles",
        "oem_cancelled_login",
        "server_error",
        "vehicle_incompatible",
    ] {
        let ended = rig.open(&format!("{url}&simulator_account={GRACE}&simulator_outcome={error}")).await.text();
        assert!(ended.contains("<h1>Not connected</h1>") && !ended.contains("Your car is connected"), "{error}: {ended}");
    }
    assert!(rig.open(&format!("{url}&simulator_account={GRACE}")).await.text().contains("<h1>Connected</h1>"));
}
