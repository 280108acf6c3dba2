//! The owner's journey: invites, states, every way back from Smartcar, and the exchange for apps.

use std::time::Duration;

use carport::simulator::{Fault as Trouble, FaultKind, Faults, Settings};
use serde_json::{Value, json};
use url::Url;

use crate::gateway::{CALLBACK, DAY, Fault, HOUR, TestGateway, Trip, is_problem, pass};
use crate::pages::Person;
use crate::simulator::rig::{ADA, Answer, GRACE, parameter};

const APP: &str = "myapp://exchange";

async fn with_app(seed: u64) -> TestGateway {
    TestGateway::with(seed, &[("smartcar.redirect_uris", APP)], Settings { seed, ..Settings::default() }).await
}

/// A browser at Smartcar, on the way of this user.
async fn begin(gateway: &TestGateway, user: &str) -> (String, Trip) {
    let invite = gateway.invite(&json!({ "user": user, "create": true })).await;
    let trip = gateway.begin(&invite).await;
    (invite, trip)
}

/// The same address with another query.
fn with_query(location: &str, pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse(location).unwrap();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.into()
}

/// The closing page that a callback leads to.
async fn ending(gateway: &TestGateway, answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"), "the cookie has done its work");
    let page = gateway.get(answer.header("location").unwrap()).send().await;
    assert_eq!(page.status, 200);
    page.text()
}

async fn connections(gateway: &TestGateway) -> Vec<Value> {
    gateway.told("/api/v1/connections").await["items"].as_array().unwrap().clone()
}

async fn cars(gateway: &TestGateway, user: &str) -> Vec<String> {
    let told = gateway.told(&format!("/api/v1/vehicles?user={user}")).await;
    let ids = told["items"].as_array().unwrap().iter().map(|car| car["id"].as_str().unwrap().to_owned());
    sorted(ids.collect())
}

/// Which car is linked first is not said.
fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test(start_paused = true)]
async fn an_invite_leads_to_smartcar_and_back() {
    let gateway = TestGateway::new(80).await;
    let (invite, trip) = begin(&gateway, "ada").await;
    let asked = |name: &str| parameter(&trip.authorize, name);
    assert_eq!(trip.authorize.path(), "/oauth/authorize");
    assert_eq!(asked("redirect_uri").as_deref(), Some("https://gateway.example/api/smartcar/callback"));
    assert_eq!(asked("external_id").as_deref(), Some("ada"));
    assert!(trip.state.len() == 52 && trip.cookie.starts_with("__Host-carport_attempt="));
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    assert!(parameter(&Url::parse(&location).unwrap(), "code").is_some());
    let page = ending(&gateway, &gateway.back(&trip, &location).await).await;
    assert!(page.contains("Your cars are connected") && page.contains("VOLKSWAGEN ID.4") && page.contains("Golf"), "{page}");
    assert_eq!(cars(&gateway, "ada").await, sorted(gateway.vehicles_of(ADA)));
    let connection = connections(&gateway).await.remove(0);
    assert_eq!((&connection["generation"], &connection["status"]), (&json!("v2"), &json!("active")));
    assert_eq!(connection["missing_scope"], json!([]));
    // Spent now: the link tells how it went, and does nothing.
    let again = gateway.get(&invite).send().await;
    assert_eq!((again.status, again.header("location")), (303, Some(format!("{invite}/done").as_str())));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn v3_sends_a_user_and_is_asked_to_confirm_it() {
    let gateway = TestGateway::new(81).await;
    let (_, trip) = begin(&gateway, "grace").await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), GRACE).await.unwrap();
    assert!(parameter(&Url::parse(&location).unwrap(), "user_id").is_some());
    let page = ending(&gateway, &gateway.back(&trip, &location).await).await;
    assert!(page.contains("Your car is connected"), "{page}");
    assert!(gateway.net.count("GET /v3/connections") > 0);
    assert_eq!(gateway.net.count("POST /oauth/token"), 0, "the code that came along is not needed");
    assert_eq!(cars(&gateway, "grace").await, gateway.vehicles_of(GRACE));
    let connection = connections(&gateway).await.remove(0);
    assert_eq!((&connection["generation"], &connection["refresh_expires_at"]), (&json!("v3"), &Value::Null));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn every_error_of_connect_is_told_and_the_invite_stays() {
    let gateway = TestGateway::new(82).await;
    let invite = gateway.invite(&json!({ "user": "ada", "create": true })).await;
    for (outcome, words) in [
        ("access_denied", "did not give access"),
        ("vehicle_incompatible", "2009 FORD Model T does not work"),
        ("invalid_subscription", "connected services are not active"),
        ("no_vehicles", "no car in this account"),
        ("configuration_error", "not set up correctly"),
        ("server_error", "went wrong at Smartcar"),
        ("oem_cancelled_login", "left the manufacturer"),
    ] {
        let trip = gateway.begin(&invite).await;
        let url = format!("{}&simulator_outcome={outcome}", trip.authorize);
        let location = gateway.simulator.consent(&url, ADA).await.unwrap();
        let page = ending(&gateway, &gateway.back(&trip, &location).await).await;
        assert!(page.contains("Not connected") && page.contains(words) && page.contains(outcome), "{outcome}: {page}");
        assert!(!page.contains("0SC0000000000TEST"), "no VIN");
    }
    // Words that are new to us are shown as text; nothing answers for nothing.
    for (query, words) in [
        (vec![("error", "brand_new"), ("error_description", "It <b>rains</b>")], "It &#60;b&#62;rains"),
        (vec![("error", "<script>alert(1)</script>")], "&#60;script&#62;"),
        (vec![("error", "access_denied"), ("code", "a-code")], "did not give access"),
        (vec![], "invalid_response"),
        (vec![("code", "")], "invalid_response"),
        (vec![("code", "an-unknown-code")], "Not connected"),
    ] {
        let trip = gateway.begin(&invite).await;
        let pairs = [query.clone(), vec![("state", trip.state.as_str())]].concat();
        let location = with_query("https://gateway.example/api/smartcar/callback", &pairs);
        let page = ending(&gateway, &gateway.back(&trip, &location).await).await;
        assert!(page.contains(words) && !page.contains("<script>alert") && !page.contains("<b>"), "{query:?}: {page}");
    }
    // The audit log has what came to something.
    let audit = gateway.told("/api/v1/audit").await.to_string();
    assert!(!audit.contains("GET /api/smartcar/callback"), "{audit}");
    assert!(connections(&gateway).await.is_empty());
    // And after all of that the link still works.
    let trip = gateway.begin(&invite).await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    assert!(ending(&gateway, &gateway.back(&trip, &location).await).await.contains("Your cars are connected"));
    gateway.finish().await;
}

/// Nothing of what anybody can write into an address reaches Smartcar.
#[tokio::test(start_paused = true)]
async fn a_state_is_of_one_browser_one_use_and_ten_minutes() {
    let gateway = TestGateway::new(83).await;
    let (invite, trip) = begin(&gateway, "ada").await;
    let other = gateway.begin(&gateway.invite(&json!({ "user": "mallory", "create": true })).await).await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    let code = parameter(&Url::parse(&location).unwrap(), "code").unwrap();
    let sent = gateway.net.sent();
    let forged = [
        ("no state", vec![("code", code.as_str())], &trip.cookie, "no_state"),
        ("an empty state", vec![("code", &code), ("state", "")], &trip.cookie, "no_state"),
        ("a forged state", vec![("code", &code), ("state", "forged")], &trip.cookie, "unknown_state"),
        ("another's state", vec![("code", &code), ("state", &other.state)], &trip.cookie, "unknown_state"),
        ("another's browser", vec![("code", &code), ("state", &trip.state)], &other.cookie, "unknown_state"),
        ("twice", vec![("code", &code), ("state", &trip.state), ("state", &trip.state)], &trip.cookie, "bad_callback"),
    ];
    for (what, pairs, cookie, problem) in &forged {
        let path = with_query("https://gateway.example/api/smartcar/callback", pairs);
        let path = path.strip_prefix("https://gateway.example").unwrap();
        is_problem(&gateway.get(path).header("cookie", cookie).send().await, 400, problem);
        let page = gateway.get(path).header("cookie", cookie).header("accept", "text/html").send().await;
        assert!(page.status == 400 && page.text().contains("<html"), "{what}");
    }
    let path = location.strip_prefix("https://gateway.example").unwrap();
    is_problem(&gateway.get(path).send().await, 400, "unknown_state");
    // A preview changes nothing.
    for path in [path, &invite, &format!("{invite}/done")] {
        let answer = gateway.ask("HEAD", path).header("cookie", &trip.cookie).send().await;
        assert!(answer.status == 200 && answer.body.is_empty() && answer.header("set-cookie").is_none());
    }
    assert_eq!(gateway.net.sent(), sent, "nothing went to Smartcar");
    // None of that spoilt the trip; used once, it is over.
    assert!(ending(&gateway, &gateway.back(&trip, &location).await).await.contains("connected"));
    let sent = gateway.net.sent();
    is_problem(&gateway.back(&trip, &location).await, 400, "unknown_state");

    let (_, late) = begin(&gateway, "ada").await;
    let location = gateway.simulator.consent(late.authorize.as_str(), ADA).await.unwrap();
    pass(Duration::from_secs(601)).await;
    is_problem(&gateway.back(&late, &location).await, 400, "unknown_state");
    assert_eq!(gateway.net.sent(), sent);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_user_id_counts_only_when_smartcar_confirms_it() {
    let gateway = TestGateway::new(84).await;
    gateway.connect("grace", GRACE).await;
    let grace = gateway.simulator.accounts().into_iter().find(|account| account.email == GRACE).unwrap().user_id;
    for (user_id, blind) in [(grace.as_str(), false), (grace.as_str(), true), ("6f1d2c3b-0000-4000-8000-000000000000", false)] {
        if blind {
            // Smartcar may not say whose external id it is: then the cars say whose they are.
            gateway.net.change(|request, response| {
                let is_list = request.uri().path() == "/v3/connections";
                let text = String::from_utf8(response.body().to_vec()).unwrap().replace("\"grace\"", "null");
                is_list.then(|| Ok(response.clone().map(|_| text.into())))
            });
        }
        let (_, trip) = begin(&gateway, "mallory").await;
        let pairs = [("user_id", user_id), ("state", &trip.state), ("external_id", "mallory")];
        let location = with_query("https://gateway.example/api/smartcar/callback", &pairs);
        let page = ending(&gateway, &gateway.back(&trip, &location).await).await;
        assert!(page.contains("unconfirmed"), "{page}");
    }
    gateway.net.leave_alone();
    assert!(cars(&gateway, "mallory").await.is_empty());
    assert_eq!(cars(&gateway, "grace").await, gateway.vehicles_of(GRACE));
    let car = gateway.vehicles_of(GRACE).remove(0);
    let (_, trip) = begin(&gateway, "mallory").await;
    let pairs = [("vehicle_id", car.as_str()), ("state", &trip.state)];
    let location = with_query("https://gateway.example/api/smartcar/callback", &pairs);
    assert!(ending(&gateway, &gateway.back(&trip, &location).await).await.contains("unconfirmed"));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_owner_again_keeps_everything() {
    let mut gateway = TestGateway::new(85).await;
    gateway.start();
    for (user, account) in [("ada", ADA), ("grace", GRACE)] {
        let before = gateway.connect(user, account).await;
        let car = gateway.vehicles_of(account).remove(0);
        pass(HOUR).await;
        let path = format!("/api/v1/vehicles/{car}");
        let named = gateway.ask("PATCH", &path).json(&json!({ "nickname": "Herbie" })).bearer(&gateway.admin).send().await;
        assert_eq!(named.status, 200, "{}", named.text());
        let everything = format!("{path}/history?limit=500");
        let history = gateway.told(&everything).await;
        assert!(!history["items"].as_array().unwrap().is_empty());
        for _ in 0..3 {
            pass(3 * HOUR).await;
            assert_eq!(gateway.connect(user, account).await, before);
        }
        let view = gateway.told(&path).await;
        assert_eq!((&view["nickname"], &view["user"], &view["connection"]), (&json!("Herbie"), &json!(user), &json!(before)));
        let after = gateway.told(&everything).await;
        let (old, new) = (history["items"].as_array().unwrap(), after["items"].as_array().unwrap());
        assert!(old.iter().all(|row| new.contains(row)), "history is kept");
        let of_user = connections(&gateway).await.iter().filter(|connection| connection["user"] == user).count();
        assert_eq!(of_user, 1);
    }
    // The pair that counts is the last one: it can be refreshed.
    pass(2 * DAY).await;
    assert_eq!(gateway.simulator.counters().refreshes_refused, 0);
    assert!(connections(&gateway).await.iter().all(|connection| connection["status"] == "active"));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn single_select_takes_one_car_at_a_time() {
    let gateway = TestGateway::with(86, &[("smartcar.single_select", "true")], Settings::default()).await;
    let all = gateway.vehicles_of(ADA);
    for (place, car) in all.iter().enumerate() {
        let (_, trip) = begin(&gateway, "ada").await;
        assert_eq!(parameter(&trip.authorize, "single_select").as_deref(), Some("true"));
        let url = format!("{}&simulator_vehicles={car}", trip.authorize);
        let location = gateway.simulator.consent(&url, ADA).await.unwrap();
        assert!(ending(&gateway, &gateway.back(&trip, &location).await).await.contains("Your car is connected"));
        assert_eq!(cars(&gateway, "ada").await, sorted(all[..=place].to_vec()));
    }
    // One pair of tokens for each.
    let connections = connections(&gateway).await;
    assert_eq!(connections.len(), 2);
    assert!(all.iter().all(|car| connections.iter().any(|connection| connection["vehicles"] == json!([car]))));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_car_is_re_authenticated() {
    let mut gateway = TestGateway::new(87).await;
    gateway.start();
    let before = gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    pass(HOUR).await;
    gateway.simulator.set_trouble(&car, Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED")).unwrap();
    let refresh = async || {
        let path = format!("/api/v1/vehicles/{car}/refresh");
        let answer = gateway.post(&path, &json!({})).bearer(&gateway.admin).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["signals"]["odometer-traveleddistance"]["status"].clone()
    };
    assert_eq!(refresh().await, "ERROR");
    let invite = gateway.invite(&json!({ "user": "ada", "vehicle_id": car })).await;
    let trip = gateway.begin(&invite).await;
    assert_eq!(trip.authorize.path(), "/oauth/reauthenticate");
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    assert!(parameter(&Url::parse(&location).unwrap(), "code").is_none());
    assert!(ending(&gateway, &gateway.back(&trip, &location).await).await.contains("Your car is connected"));
    let connection = connections(&gateway).await.remove(0);
    assert_eq!((&connection["id"], &connection["status"]), (&json!(before), &json!("active")));
    assert_eq!(refresh().await, "SUCCESS");
    // Of a permission that is asked for as well, re-authentication would know nothing.
    let more = json!({ "user": "ada", "vehicle_id": car, "scope": ["read_odometer", "control_security"] });
    let trip = gateway.begin(&gateway.invite(&more).await).await;
    assert_eq!(trip.authorize.path(), "/oauth/authorize");
    assert_eq!(parameter(&trip.authorize, "scope").as_deref(), Some("read_odometer control_security"));
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    assert!(ending(&gateway, &gateway.back(&trip, &location).await).await.contains("connected"));
    let all = connections(&gateway).await;
    assert_eq!((all.len(), &all[0]["id"], &all[0]["status"]), (1, &json!(before), &json!("active")));
    assert!(all[0]["scope"].to_string().contains("control_security"), "{}", all[0]);
    // What is added comes beside what was granted already, each once.
    let more = json!({ "user": "ada", "vehicle_id": car, "add_scope": ["read_location", "read_odometer"] });
    let trip = gateway.begin(&gateway.invite(&more).await).await;
    let asked = parameter(&trip.authorize, "scope").unwrap();
    for permission in ["read_odometer", "control_security", "read_location"] {
        assert_eq!(asked.split(' ').filter(|asked| *asked == permission).count(), 1, "{asked}");
    }
    let both = json!({ "user": "ada", "scope": ["read_vin"], "add_scope": ["read_vin"] });
    is_problem(&gateway.post("/api/v1/connect", &both).bearer(&gateway.admin).send().await, 400, "bad_request");
    // Nobody else's car, and none that is not known.
    for vehicle in [car.as_str(), "nobody's"] {
        let request = json!({ "user": "mallory", "create": true, "vehicle_id": vehicle });
        let answer = gateway.post("/api/v1/connect", &request).bearer(&gateway.admin).send().await;
        is_problem(&answer, 404, "not_found");
        assert_eq!(answer.text().contains("is another user's"), vehicle == car, "{}", answer.text());
    }
    // What is refused leaves no user behind, and tells those nothing who may not know.
    assert!(!gateway.told("/api/v1/users").await.to_string().contains("mallory"));
    gateway.post("/api/v1/users", &json!({ "id": "mallory" })).bearer(&gateway.admin).send().await;
    let bound = gateway.create_token(&json!({ "name": "app", "scope": "connect", "user": "mallory" })).await;
    let answer = gateway.post("/api/v1/connect", &json!({ "vehicle_id": car })).bearer(&bound).send().await;
    is_problem(&answer, 404, "not_found");
    assert!(!answer.text().contains("another user"), "{}", answer.text());
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn permissions_are_added_to_those_of_a_car_where_none_are_configured() {
    let gateway = TestGateway::with(95, &[("smartcar.scope", "dashboard")], Settings::default()).await;
    gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let nothing = json!({ "user": "ada", "add_scope": ["control_charge"] });
    let refused = gateway.post("/api/v1/connect", &nothing).bearer(&gateway.admin).send().await;
    is_problem(&refused, 400, "bad_request");
    assert!(refused.text().contains("--vehicle"), "{}", refused.text());
    let more = json!({ "user": "ada", "vehicle_id": car, "add_scope": ["control_charge"] });
    let trip = gateway.begin(&gateway.invite(&more).await).await;
    let asked = parameter(&trip.authorize, "scope").unwrap();
    assert!(asked.contains("read_odometer") && asked.ends_with("control_charge"), "{asked}");
    // Who may not decide that a car is told something does not add it either.
    let app = gateway.create_token(&json!({ "name": "app", "scope": "connect", "user": "ada" })).await;
    let added = json!({ "vehicle_id": car, "add_scope": ["control_security"] });
    is_problem(&gateway.post("/api/v1/connect", &added).bearer(&app).send().await, 403, "forbidden");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_without_credentials_makes_no_user() {
    let none = ["smartcar.application_id", "smartcar.v2.client_id", "smartcar.v2.client_secret"].map(|key| (key, ""));
    let gateway = TestGateway::with(94, &none, Settings::default()).await;
    let request = json!({ "user": "owner", "create": true });
    is_problem(&gateway.post("/api/v1/connect", &request).bearer(&gateway.admin).send().await, 503, "not_configured");
    assert_eq!(gateway.told("/api/v1/users").await["items"], json!([]));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_left_half_done_is_completed() {
    for crash in [true, false] {
        let mut gateway = TestGateway::new(88).await;
        let (_, trip) = begin(&gateway, "ada").await;
        let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
        // The code is exchanged, and then Smartcar says nothing for a long while.
        gateway.net.change(|request, _| {
            let is_api = request.uri().path().starts_with("/v2.0/");
            is_api.then(|| Err(carport::world::TransportError::Lost("the story loses it".to_owned())))
        });
        let answer = gateway.back(&trip, &location).await;
        assert!(answer.status == 303, "the owner need not care");
        assert!(cars(&gateway, "ada").await.is_empty());
        assert_eq!(gateway.simulator.counters().codes_exchanged, 1);
        if crash {
            gateway.crash().await;
        }
        gateway.start();
        pass(HOUR / 2).await;
        let page = Person::of(&gateway).await.look("/connections").await;
        for part in ["Waits for its cars", "Smartcar has not told its cars yet"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        gateway.net.leave_alone();
        pass(HOUR / 2).await;
        assert_eq!(cars(&gateway, "ada").await, sorted(gateway.vehicles_of(ADA)));
        assert_eq!(gateway.simulator.counters().codes_exchanged, 1);
        let connection = connections(&gateway).await.remove(0);
        assert_eq!(connection["status"], "active");
        assert!(connection["smartcar_user_id"].is_string());
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_trouble_delays_the_cars_of_a_new_owner_by_a_minute() {
    let mut gateway = TestGateway::new(90).await;
    gateway.start();
    pass(HOUR).await;
    let (_, trip) = begin(&gateway, "ada").await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    gateway.net.change(|request, _| {
        let is_api = request.uri().path().starts_with("/v2.0/");
        is_api.then(|| Err(carport::world::TransportError::Unreachable("the story cuts it".to_owned())))
    });
    assert_eq!(gateway.back(&trip, &location).await.status, 303);
    gateway.net.leave_alone();
    pass(Duration::from_secs(60)).await;
    assert_eq!(cars(&gateway, "ada").await, sorted(gateway.vehicles_of(ADA)));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_trip_that_came_to_nothing_is_forgotten_when_its_owner_connects_again() {
    let mut gateway = TestGateway::new(91).await;
    gateway.start();
    let (_, trip) = begin(&gateway, "ada").await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    gateway.net.change(|request, _| {
        let is_api = request.uri().path().starts_with("/v2.0/");
        is_api.then(|| Err(carport::world::TransportError::Unreachable("the story cuts it".to_owned())))
    });
    assert_eq!(gateway.back(&trip, &location).await.status, 303);
    // Its tokens die before anybody learns which cars they open.
    gateway.simulator.revoke(ADA);
    gateway.net.leave_alone();
    pass(4 * HOUR).await;
    let waiting = connections(&gateway).await.remove(0);
    assert_eq!(waiting["status"], "needs_reconnect");
    let (_, trip) = begin(&gateway, "ada").await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    assert_eq!(gateway.back(&trip, &location).await.status, 303);
    let left = connections(&gateway).await;
    assert_eq!((left.len(), &left[0]["status"]), (1, &serde_json::json!("active")));
    assert_ne!(left[0]["id"], waiting["id"]);
    gateway.finish().await;
}

/// Its owner connects the same account again, and the tokens of that trip die before it is complete.
#[tokio::test(start_paused = true)]
async fn dead_tokens_never_take_the_place_of_good_ones() {
    let gateway = TestGateway::new(93).await;
    let (_, trip) = begin(&gateway, "ada").await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    gateway.back(&trip, &location).await;
    let good = connections(&gateway).await.remove(0)["id"].clone();
    let (_, trip) = begin(&gateway, "ada").await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    gateway.net.change(|request, _| {
        let is_api = request.uri().path().starts_with("/v2.0/");
        is_api.then(|| Err(carport::world::TransportError::Unreachable("the story cuts it".to_owned())))
    });
    gateway.back(&trip, &location).await;
    let half = connections(&gateway).await.into_iter().find(|other| other["id"] != good).unwrap()["id"].clone();
    let id = |value: &Value| carport::model::ConnectionId(value.as_str().unwrap().parse().unwrap());
    let refresh = async || {
        let path = format!("/api/v1/connections/{}/refresh", half.as_str().unwrap());
        gateway.post(&path, &json!({})).bearer(&gateway.admin).send().await.status
    };
    let tokens = gateway.app().tokens();
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::RotateThenLose)]));
    assert_eq!(refresh().await, 502);
    pass(Duration::from_secs(60)).await;
    let in_doubt = tokens.hand_over(id(&half), id(&good)).await;
    assert!(matches!(in_doubt, Err(carport::tokens::TokenError::Later { .. })), "{in_doubt:?}");
    gateway.simulator.set_faults(Faults::default());
    assert_eq!(refresh().await, 409);
    let dead = tokens.hand_over(id(&half), id(&good)).await;
    assert!(matches!(dead, Err(carport::tokens::TokenError::Gone)), "{dead:?}");
    gateway.net.leave_alone();
    tokens.renew(id(&good), None).await.unwrap();
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_callback_is_completed_after_the_start() {
    let mut gateway = TestGateway::new(89).await;
    let (_, trip) = begin(&gateway, "ada").await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Delay(Duration::from_secs(3)))]));
    // Three seconds for the tokens; killed while the vehicles are asked for.
    assert!(tokio::time::timeout(Duration::from_secs(5), gateway.back(&trip, &location)).await.is_err());
    gateway.crash().await;
    assert!(cars(&gateway, "ada").await.is_empty());
    gateway.simulator.set_faults(Faults::default());
    gateway.start();
    pass(HOUR).await;
    assert_eq!(cars(&gateway, "ada").await, sorted(gateway.vehicles_of(ADA)));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_spends_no_code() {
    let gateway = TestGateway::new(90).await;
    let (_, trip) = begin(&gateway, "ada").await;
    let location = gateway.simulator.consent(trip.authorize.as_str(), ADA).await.unwrap();
    gateway.disk.break_at(Fault::WritesFrom(1));
    is_problem(&gateway.back(&trip, &location).await, 503, "busy");
    assert_eq!(gateway.simulator.counters().codes_exchanged, 0);
    gateway.disk.mend();
    gateway.app().store().tend().await;
    assert!(ending(&gateway, &gateway.back(&trip, &location).await).await.contains("Your cars are connected"));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn invites_expire_and_are_of_this_gateway() {
    let gateway = TestGateway::new(91).await;
    let short = gateway.invite(&json!({ "user": "ada", "create": true, "expires_in": "1h" })).await;
    is_problem(&gateway.get("/connect/unknown").send().await, 404, "unknown_invite");
    is_problem(&gateway.get(&format!("{short}x")).send().await, 404, "unknown_invite");
    pass(HOUR).await;
    is_problem(&gateway.get(&short).send().await, 404, "unknown_invite");
    // Under another of our names: first to where the callback comes.
    let moved = gateway.get(&short).without("host").header("host", "localhost:8000").from("127.0.0.1", false).send().await;
    assert_eq!((moved.status, moved.header("location")), (303, Some(format!("https://gateway.example{short}?here=1").as_str())));
    for (request, status, code) in [
        (json!({ "user": "nobody" }), 404, "unknown_user"),
        (json!({ "create": true }), 400, "bad_request"),
        (json!({ "user": "a b", "create": true }), 400, "bad_request"),
        (json!({ "user": "ada", "mode": "test" }), 400, "bad_request"),
        (json!({ "user": "ada", "expires_in": "31d" }), 400, "bad_request"),
        (json!({ "user": "ada", "redirect_uri": "https://evil.example" }), 400, "unknown_redirect_uri"),
        (
            json!({ "user": "ada", "redirect_uri": "https://gateway.example/api/smartcar/callback?x" }),
            400,
            "unknown_redirect_uri",
        ),
    ] {
        is_problem(&gateway.post("/api/v1/connect", &request).bearer(&gateway.admin).send().await, status, code);
    }
    gateway.finish().await;
}

/// `authorize_url` and `state` for an app's own front end.
async fn for_app(gateway: &TestGateway, token: &str) -> (Url, String) {
    let answer = gateway.post("/api/v1/connect", &json!({ "redirect_uri": APP })).bearer(token).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let answer = answer.json();
    let state = answer["state"].as_str().unwrap().to_owned();
    gateway.keep_secret(&state);
    (answer["authorize_url"].as_str().unwrap().parse().unwrap(), state)
}

#[tokio::test(start_paused = true)]
async fn an_app_exchanges_what_its_front_end_received() {
    let gateway = with_app(92).await;
    for user in ["ada", "grace"] {
        gateway.post("/api/v1/users", &json!({ "id": user })).bearer(&gateway.admin).send().await;
    }
    let ada = gateway.create_token(&json!({ "name": "ada's app", "scope": "connect", "user": "ada" })).await;
    let grace = gateway.create_token(&json!({ "name": "grace's app", "scope": "connect", "user": "grace" })).await;
    let control = gateway.create_token(&json!({ "name": "back end", "scope": "control" })).await;
    let exchange = |token: &str, body: Value| gateway.post("/api/smartcar/exchange", &body).bearer(token).send();
    let sent = gateway.net.sent();

    // A connect token has nothing but its own state.
    let (authorize, state) = for_app(&gateway, &ada).await;
    let back = gateway.simulator.consent(authorize.as_str(), ADA).await.unwrap();
    assert!(back.starts_with(APP));
    let code = parameter(&Url::parse(&back).unwrap(), "code").unwrap();
    is_problem(&exchange(&ada, json!({ "code": code })).await, 400, "bad_request");
    is_problem(&exchange(&ada, json!({ "code": code, "state": "forged" })).await, 400, "unknown_state");
    is_problem(&exchange(&ada, json!({ "code": code, "state": state, "user": "grace" })).await, 404, "unknown_user");
    is_problem(&exchange(&ada, json!({ "state": state })).await, 400, "bad_request");
    is_problem(&exchange(&grace, json!({ "code": code, "state": state })).await, 400, "unknown_state");
    for uri in ["https://evil.example", "myapp://exchange/", "myapp://exchange?x", "https://gateway.example/"] {
        is_problem(
            &exchange(&ada, json!({ "code": code, "state": state, "redirect_uri": uri })).await,
            400,
            "unknown_redirect_uri",
        );
    }
    assert_eq!(gateway.net.sent(), sent, "nothing went to Smartcar");
    let linked = exchange(&ada, json!({ "code": code, "state": state, "redirect_uri": APP })).await;
    assert_eq!(linked.status, 201, "{}", linked.text());
    let linked = linked.json();
    assert_eq!((&linked["user"], linked["vehicles"].as_array().unwrap().len()), (&json!("ada"), 2));
    is_problem(&exchange(&ada, json!({ "code": code, "state": state })).await, 400, "unknown_state");

    // A state that is for a browser is of no use here, nor the other way round.
    let (_, trip) = begin(&gateway, "ada").await;
    is_problem(&exchange(&ada, json!({ "code": "a-code", "state": trip.state })).await, 400, "unknown_state");
    let (_, state) = for_app(&gateway, &ada).await;
    let path = format!("{CALLBACK}?code=a-code&state={state}");
    is_problem(&gateway.get(&path).send().await, 400, "unknown_state");
    is_problem(&gateway.get(&path).header("cookie", &trip.cookie).send().await, 400, "unknown_state");

    // A control token vouches for its user.
    is_problem(&exchange(&control, json!({ "code": "a-code" })).await, 400, "bad_request");
    is_problem(&exchange(&control, json!({ "code": "a-code", "user": "nobody" })).await, 404, "unknown_user");
    let (authorize, _) = for_app(&gateway, &grace).await;
    let back = gateway.simulator.consent(authorize.as_str(), GRACE).await.unwrap();
    let user_id = parameter(&Url::parse(&back).unwrap(), "user_id").unwrap();
    is_problem(&exchange(&control, json!({ "user_id": user_id, "user": "ada" })).await, 403, "unconfirmed");
    let key = "https://www.tesla.com/_ak/example.com";
    let linked = exchange(&control, json!({ "user_id": user_id, "user": "grace", "virtual_key_url": key })).await;
    assert_eq!((linked.status, &linked.json()["virtual_key_url"]), (201, &json!(key)));
    let linked =
        exchange(&control, json!({ "user_id": user_id, "user": "grace", "virtual_key_url": "javascript:alert(1)" })).await;
    assert_eq!((linked.status, &linked.json()["virtual_key_url"]), (201, &Value::Null));

    // Nobody without a token, and none that may only read.
    is_problem(&gateway.post("/api/smartcar/exchange", &json!({ "code": "a-code" })).send().await, 401, "unauthorized");
    let read = gateway.create_token(&json!({ "name": "reader", "scope": "read" })).await;
    is_problem(&exchange(&read, json!({ "code": "a-code", "user": "ada" })).await, 403, "forbidden");
    gateway.finish().await;
}

/// Whoever knows another user's state cannot use it, and cannot spoil it either.
#[tokio::test(start_paused = true)]
async fn a_foreign_state_is_refused_and_not_used_up() {
    let gateway = with_app(93).await;
    for user in ["ada", "mallory"] {
        gateway.post("/api/v1/users", &json!({ "id": user })).bearer(&gateway.admin).send().await;
    }
    let ada = gateway.create_token(&json!({ "name": "ada's app", "scope": "connect", "user": "ada" })).await;
    let mallory = gateway.create_token(&json!({ "name": "mallory's app", "scope": "connect", "user": "mallory" })).await;
    let (authorize, state) = for_app(&gateway, &ada).await;
    let back = gateway.simulator.consent(authorize.as_str(), ADA).await.unwrap();
    let code = parameter(&Url::parse(&back).unwrap(), "code").unwrap();
    let body = json!({ "code": code, "state": state });
    is_problem(&gateway.post("/api/smartcar/exchange", &body).bearer(&mallory).send().await, 400, "unknown_state");
    let linked = gateway.post("/api/smartcar/exchange", &body).bearer(&ada).send().await;
    assert_eq!(linked.status, 201, "{}", linked.text());
    gateway.finish().await;
}
