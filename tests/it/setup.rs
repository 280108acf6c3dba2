//! The set-up: everything that can be wrong is made wrong on purpose, found by the probes, named, and told with what to
//! do; and what is done turns green by itself.

use carport::simulator::Settings;
use carport::world::TransportError;
use serde_json::{Value, json};

use crate::gateway::{TestGateway, events, is_problem};
use crate::pages::Person;
use crate::simulator::rig::ADA;

async fn with(seed: u64, keys: &[(&str, &str)]) -> TestGateway {
    let mut settings = Settings { seed, ..Settings::default() };
    settings.application.redirect_uris = vec!["https://gateway.example/api/smartcar/callback".to_owned()];
    TestGateway::with(seed, keys, settings).await
}

/// Everything is tried; the list as the API has it.
async fn checked(gateway: &TestGateway, person: &Person<'_>) -> Vec<Value> {
    assert_eq!(person.press("/setup/check", &[]).await, "/setup");
    let list = gateway.told("/api/v1/setup").await;
    assert!(list["checked_at"].is_string(), "{list}");
    list["items"].as_array().unwrap().clone()
}

fn of<'l>(list: &'l [Value], check: &str) -> &'l Value {
    list.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("nothing of {check}: {list:?}"))
}

/// Found, named, and on the page with its remedy.
async fn is_found(gateway: &TestGateway, check: &str, result: &str, text: &str, remedy: &str) {
    let person = Person::of(gateway).await;
    let list = checked(gateway, &person).await;
    let finding = of(&list, check);
    assert_eq!(finding["result"], result, "{finding}");
    for (field, part) in [("text", text), ("remedy", remedy)] {
        assert!(finding[field].as_str().unwrap().contains(part), "{part}: {finding}");
    }
    let page = person.look("/setup").await.replace("<code>", "`").replace("</code>", "`");
    assert!(page.contains(text) || page.to_lowercase().contains(&text.to_lowercase()), "{text}: {page}");
}

const AFTER: &str = "<h2>After that</h2>";
const TICK: &str = "<code>TractionBattery.StateOfCharge</code>";

#[tokio::test(start_paused = true)]
async fn an_open_point_leads_to_where_it_is_mended() {
    let gateway = with(149, &[("smartcar.application_management_token", UUID)]).await;
    gateway.keep_secret(UUID);
    let person = Person::of(&gateway).await;
    checked(&gateway, &person).await;
    let page = person.look("/setup").await;
    let (_, list) = page.split_once("id=\"list\"").unwrap();
    let list = list.split_once("<h2>Done</h2>").unwrap().0;
    assert!(list.contains("Press Connect a car") && list.contains("action=\"/connect\""), "{list}");
    assert!(list.contains("into Application management token") && list.contains("href=\"#settings\""), "{list}");
    for terminal in ["carport connect", "carport init", "smartcar.application_management_token"] {
        assert!(!list.contains(terminal), "{terminal}: {list}");
    }
    gateway.finish().await;
}

const UUID: &str = "51a0ca12-0000-4000-8000-00000000000f";
const V3: &str = "client_simulated0000000000000003";

#[tokio::test(start_paused = true)]
async fn what_is_well_is_said_to_be() {
    let gateway = with(150, &[]).await;
    gateway.connect("ada", ADA).await;
    let person = Person::of(&gateway).await;
    let open = person.look("/setup").await;
    for part in ["has not verified the webhook yet", "press Verify", "https://gateway.example/api/webhooks/smartcar", AFTER, TICK]
    {
        assert!(open.contains(part), "{part}: {open}");
    }
    let verify = json!({ "eventType": "VERIFY", "data": { "challenge": "c2VjcmV0" } }).to_string();
    assert_eq!(gateway.delivery(verify).send().await.status, 200);
    for car in gateway.vehicles_of(ADA) {
        gateway.deliver(&events::state(&format!("first-{car}"), &car, &[])).await;
    }
    gateway.catch_up().await;
    let list = checked(&gateway, &person).await;
    assert!(list.iter().all(|finding| finding["result"] == "ok" && finding["remedy"].is_null()), "{list:?}");
    for check in [
        "credentials of Smartcar",
        "VERIFY",
        "car",
        "subscription",
        "test delivery",
        "live delivery",
        "disk",
        "identifiers",
        "credentials",
        "v2 credentials",
        "management token",
        "redirect URI",
        "certificate of the public URL",
        "public URL",
        "webhook address",
    ] {
        of(&list, check);
    }
    let page = person.look("/setup").await;
    assert!(page.contains("Everything is in place.") && page.contains("Tried from outside"), "{page}");
    // Where each value comes from, and no secret.
    assert!(
        page.contains("smartcar.v3.client_secret") && page.contains("***") && page.contains("<small>story</small>"),
        "{page}"
    );
    // Trying is no delivery, and no VERIFY.
    let status = gateway.told("/api/v1/status").await;
    assert_eq!(status["webhooks"]["newest"], 3, "{status}");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_smartcar_refuses_is_named() {
    let compare = "compare each with the field of its name";
    let swapped: &[(&str, &str)] = &[("smartcar.application_id", V3), ("smartcar.v3.client_id", UUID)];
    for (seed, keys, check, result, text, remedy) in [
        (151, swapped, "identifiers", "warn", "does not begin with client_", compare),
        (152, &[("smartcar.v3.client_secret", UUID)], "credentials", "fail", "refuses the v3 client id", "again"),
        (153, &[("smartcar.v2.client_secret", UUID)], "v2 credentials", "fail", "refuses the v2 client id", "again"),
        (154, &[("smartcar.application_management_token", UUID)], "management token", "fail", "(401)", "copy it again"),
        (
            155,
            &[("smartcar.redirect_uri", "https://gateway.example/elsewhere/callback")],
            "redirect URI",
            "fail",
            "https://gateway.example/elsewhere/callback",
            "register exactly this one",
        ),
        (156, &[("smartcar.application_id", UUID)], "application ID", "fail", "does not know the Application ID", "a UUID"),
    ] {
        let gateway = with(seed, keys).await;
        gateway.keep_secret(UUID);
        is_found(&gateway, check, result, text, remedy).await;
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_on_the_way_here_is_named() {
    let gateway = with(157, &[]).await;
    // A delivery to another path, by whoever can sign.
    let event = events::state("astray", "nobody", &[]).to_string();
    let signature = carport::signature::answer(&carport::model::Secret::new(gateway.management_token()), &event);
    let astray = gateway.ask("POST", "/api/webhook/smartcar").header("sc-signature", &signature).body(event.clone());
    assert_eq!(astray.send().await.status, 404);
    is_found(&gateway, "webhook path", "fail", "/api/webhook/smartcar", "set the webhook's URL to https://gateway.example").await;

    let door = |why: &str| gateway.net.put_before_the_door(Some(TransportError::Unreachable(why.to_owned())));
    let fail = |text| ("certificate of the public URL", "fail", text, "fullchain.pem");
    for (why, (check, result, text, remedy)) in [
        ("invalid peer certificate: Expired", fail("it has ended")),
        ("invalid peer certificate: UnknownIssuer", fail("it is incomplete")),
        ("invalid peer certificate: NotValidForName", fail("it is for another name")),
        ("connection refused", ("public URL", "warn", "cannot be reached from here", "without Wi-Fi")),
    ] {
        door(why);
        is_found(&gateway, check, result, text, remedy).await;
    }
    // Many routers lead no way back in: a delivery is proof enough.
    gateway.deliver(&events::state("proof", "nobody", &[])).await;
    let person = Person::of(&gateway).await;
    assert_eq!(of(&checked(&gateway, &person).await, "public URL")["result"], "ok");
    gateway.net.put_before_the_door(None);

    // A proxy in the house that nobody has named.
    let passed = gateway.get("/healthz").from("192.168.1.9", false).header("x-forwarded-for", "203.0.113.7");
    assert_eq!(passed.send().await.status, 200);
    let remedy = "trusted_proxies = [\"192.168.1.9\"]";
    is_found(&gateway, "proxy", "warn", "192.168.1.9", remedy).await;

    // A full disk.
    gateway.disk.leave(1024);
    gateway.app().store().tend().await;
    is_found(&gateway, "disk", "fail", "nearly full", "make room").await;
    gateway.disk.leave(1 << 40);

    // Clocks: what Connect says of the time, and ours.
    gateway.net.change(|request, answer| {
        let is_connect = request.uri().path() == "/oauth/authorize";
        let mut answer = answer.clone();
        answer.headers_mut().insert("date", "Thu, 01 Jan 2015 00:00:00 GMT".parse().unwrap());
        is_connect.then_some(Ok(answer))
    });
    is_found(&gateway, "clock", "fail", "ahead of Smartcar", "timedatectl").await;
    gateway.net.leave_alone();
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn who_sees_a_part_of_the_house_tries_nothing() {
    let gateway = with(158, &[]).await;
    gateway.connect("ada", ADA).await;
    let bound = gateway.create_token(&json!({ "name": "ada", "scope": "read", "user": "ada" })).await;
    is_problem(&gateway.get("/api/v1/setup").bearer(&bound).send().await, 403, "forbidden");
    let page = gateway.get("/setup").bearer(&bound).header("accept", "text/html").send().await;
    assert!(page.status == 403 && !page.text().contains("Tried from outside"), "{}", page.text());
    let person = Person::of(&gateway).await;
    let forged = gateway.ask("POST", "/setup/check").header("cookie", person.cookie()).header("sec-fetch-site", "same-origin");
    assert_eq!(forged.form(&[("csrf", "x")]).send().await.status, 403);
    gateway.finish().await;
}
