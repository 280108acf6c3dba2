//! Repair without surgery: connecting again keeps what was there, whatever was broken; renewing, ending and
//! forgetting a connection say what is wrong and the one thing to do.

use carport::simulator::{Fault as Trouble, FaultKind, Faults, Settings};
use carport::world::TransportError;
use serde_json::{Value, json};

use crate::gateway::{DAY, HOUR, TestGateway, is_problem, pass};
use crate::simulator::rig::{ADA, Answer, GRACE, parameter};

const NOBODY: &str = "0199c7f2-8a10-7c31-9d1e-000000000000";

async fn connection(gateway: &TestGateway, id: &str) -> Value {
    gateway.told(&format!("/api/v1/connections/{id}")).await
}

/// Names a car, so that it can be seen that its name stays.
async fn name(gateway: &TestGateway, car: &str) {
    let path = format!("/api/v1/vehicles/{car}");
    let named = gateway.ask("PATCH", &path).json(&json!({ "nickname": "Herbie" })).bearer(&gateway.admin).send().await;
    assert_eq!(named.status, 200, "{}", named.text());
}

async fn history(gateway: &TestGateway, car: &str) -> Vec<Value> {
    gateway.told(&format!("/api/v1/vehicles/{car}/history?limit=500")).await["items"].as_array().unwrap().clone()
}

/// The owner follows the link of `carport connect --vehicle`; returns the path at Smartcar that it led to.
async fn mend(gateway: &TestGateway, user: &str, car: &str, account: &str, more: &str) -> String {
    let invite = gateway.invite(&json!({ "user": user, "vehicle_id": car })).await;
    let trip = gateway.begin(&invite).await;
    let url = format!("{}{more}", trip.authorize);
    let location = gateway.simulator.consent(&url, account).await.unwrap();
    let answer = gateway.back(&trip, &location).await;
    let page = gateway.get(answer.header("location").unwrap()).send().await.text();
    assert!(page.contains("connected") && !page.contains("Not connected"), "{page}");
    if trip.authorize.path() == "/oauth/authorize" {
        assert_eq!(parameter(&trip.authorize, "make").as_deref(), Some("VOLKSWAGEN"), "known already");
    }
    trip.authorize.path().to_owned()
}

/// What was there before is there still.
async fn is_kept(gateway: &TestGateway, car: &str, id: &str, before: &[Value]) {
    let view = gateway.told(&format!("/api/v1/vehicles/{car}")).await;
    assert_eq!((&view["id"], &view["nickname"], &view["connection"]), (&json!(car), &json!("Herbie"), &json!(id)));
    assert_eq!(view["lights"]["authority"]["color"], "green", "{}", view["lights"]);
    let after = history(gateway, car).await;
    assert!(!before.is_empty() && before.iter().all(|row| after.contains(row)), "history is kept");
    let mended = connection(gateway, id).await;
    assert_eq!((&mended["status"], &mended["reason"], &mended["last_error"]), (&json!("active"), &Value::Null, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn dead_tokens_are_mended_by_the_link_and_everything_stays() {
    let mut gateway = TestGateway::new(300).await;
    gateway.start();
    let id = gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    name(&gateway, &car).await;
    pass(HOUR).await;
    let before = history(&gateway, &car).await;
    let cars = connection(&gateway, &id).await["vehicles"].clone();
    gateway.simulator.revoke(ADA);
    pass(3 * HOUR).await;
    let broken = connection(&gateway, &id).await;
    assert_eq!(broken["status"], "needs_reconnect");
    assert_eq!(broken["reconnect_url"], "https://gateway.example/connections");
    let reason = broken["reason"].as_str().unwrap();
    assert!(reason.starts_with("Smartcar no longer accepts what the owner agreed to ("), "{reason}");
    // The manufacturer's sign-in alone gives no tokens.
    assert_eq!(mend(&gateway, "ada", &car, ADA, "").await, "/oauth/authorize");
    is_kept(&gateway, &car, &id, &before).await;
    assert_eq!(connection(&gateway, &id).await["vehicles"], cars);
    let refused = gateway.simulator.counters().refreshes_refused;
    pass(2 * DAY).await;
    assert_eq!(gateway.simulator.counters().refreshes_refused, refused, "the new pair lives");
    is_kept(&gateway, &car, &id, &before).await;
    assert_eq!(gateway.told("/api/v1/connections").await["items"].as_array().unwrap().len(), 1);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn with_single_select_one_car_is_mended_and_the_other_waits() {
    let mut gateway = TestGateway::with(301, &[("smartcar.single_select", "true")], Settings::default()).await;
    gateway.start();
    let cars = gateway.vehicles_of(ADA);
    for car in &cars {
        let trip = gateway.begin(&gateway.invite(&json!({ "user": "ada", "create": true })).await).await;
        let url = format!("{}&simulator_vehicles={car}", trip.authorize);
        let location = gateway.simulator.consent(&url, ADA).await.unwrap();
        assert_eq!(gateway.back(&trip, &location).await.status, 303);
    }
    let id = async |car: &str| gateway.told(&format!("/api/v1/vehicles/{car}")).await["connection"].as_str().unwrap().to_owned();
    let (first, second) = (id(&cars[0]).await, id(&cars[1]).await);
    assert_ne!(first, second);
    name(&gateway, &cars[0]).await;
    pass(HOUR).await;
    let before = history(&gateway, &cars[0]).await;
    gateway.simulator.revoke(ADA);
    pass(3 * HOUR).await;
    // One vehicle at a time, as the connection was made, whatever is configured by now.
    gateway.configure("smartcar.single_select", "");
    gateway.reopen().await;
    gateway.start();
    let chosen = format!("&simulator_vehicles={}", cars[0]);
    assert_eq!(mend(&gateway, "ada", &cars[0], ADA, &chosen).await, "/oauth/authorize");
    is_kept(&gateway, &cars[0], &first, &before).await;
    assert_eq!(connection(&gateway, &first).await["vehicles"], json!([cars[0]]));
    assert_eq!(connection(&gateway, &second).await["status"], "needs_reconnect");
    pass(DAY).await;
    is_kept(&gateway, &cars[0], &first, &before).await;
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn by_v3_a_car_is_signed_in_again_and_everything_stays() {
    let mut gateway = TestGateway::new(302).await;
    gateway.start();
    let id = gateway.connect("grace", GRACE).await;
    let car = gateway.vehicles_of(GRACE).remove(0);
    name(&gateway, &car).await;
    pass(HOUR).await;
    let before = history(&gateway, &car).await;
    gateway.simulator.set_trouble(&car, Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED")).unwrap();
    assert_eq!(mend(&gateway, "grace", &car, GRACE, "").await, "/oauth/reauthenticate");
    pass(HOUR).await;
    is_kept(&gateway, &car, &id, &before).await;
    gateway.finish().await;
}

async fn forget(gateway: &TestGateway, id: &str, more: &str) -> Answer {
    let path = format!("/api/v1/connections/{id}?local=true{more}");
    gateway.ask("DELETE", &path).bearer(&gateway.admin).send().await
}

#[tokio::test(start_paused = true)]
async fn forgetting_asks_nobody_and_keeps_the_cars() {
    let mut gateway = TestGateway::new(303).await;
    gateway.start();
    for (user, account) in [("ada", ADA), ("grace", GRACE)] {
        let id = gateway.connect(user, account).await;
        let car = gateway.vehicles_of(account).remove(0);
        name(&gateway, &car).await;
        pass(HOUR).await;
        let (before, sent) = (history(&gateway, &car).await, gateway.net.sent());
        let forgotten = forget(&gateway, &id, "").await;
        assert_eq!(forgotten.status, 200, "{}", forgotten.text());
        let forgotten = forgotten.json();
        assert_eq!((&forgotten["history"], &forgotten["smartcar"]), (&json!("keep"), &json!("not_asked")));
        assert!(forgotten["vehicles"].as_array().unwrap().contains(&json!(car)));
        assert_eq!(gateway.net.sent(), sent, "Smartcar is not asked");
        is_problem(&gateway.get(&format!("/api/v1/connections/{id}")).bearer(&gateway.admin).send().await, 404, "not_found");
        let view = gateway.told(&format!("/api/v1/vehicles/{car}")).await;
        assert_eq!((&view["nickname"], &view["connection"]), (&json!("Herbie"), &Value::Null));
        assert_eq!(history(&gateway, &car).await, before);
        gateway.reopen().await;
        gateway.start();
        // Taken up again where it was.
        let again = gateway.connect(user, account).await;
        assert_ne!(again, id);
        pass(HOUR).await;
        is_kept(&gateway, &car, &again, &before).await;
    }
    let id = gateway.connect("ada", ADA).await;
    assert_eq!(forget(&gateway, &id, "&history=erase").await.json()["history"], "erase");
    let car = gateway.vehicles_of(ADA).remove(0);
    is_problem(&gateway.get(&format!("/api/v1/vehicles/{car}")).bearer(&gateway.admin).send().await, 404, "not_found");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_told_with_the_one_thing_to_do() {
    let gateway = TestGateway::new(304).await;
    let id = gateway.connect("ada", ADA).await;
    let refresh = async |id: &str| {
        gateway.post(&format!("/api/v1/connections/{id}/refresh"), &json!({})).bearer(&gateway.admin).send().await
    };
    let end = async |id: &str| gateway.ask("DELETE", &format!("/api/v1/connections/{id}")).bearer(&gateway.admin).send().await;
    let faults = |kind| gateway.simulator.set_faults(Faults::new([Trouble::always(kind)]));
    for (kind, status, code, words) in [
        (FaultKind::Refuse, 502, "upstream", "Smartcar cannot be reached ("),
        (FaultKind::Fail, 502, "upstream", "Smartcar is having trouble ("),
        (FaultKind::Throttle(Some(40)), 502, "upstream", "Smartcar asks us to slow down ("),
        (FaultKind::InvalidClient, 503, "not_configured", "check smartcar.v2.client_id and smartcar.v2.client_secret"),
    ] {
        faults(kind);
        let answer = refresh(&id).await;
        is_problem(&answer, status, code);
        assert!(answer.text().contains(words), "{}", answer.text());
        assert_eq!(answer.header("retry-after").is_some(), status == 502);
        assert_eq!(connection(&gateway, &id).await["status"], "active");
        gateway.simulator.set_faults(Faults::default());
        pass(HOUR).await;
        assert_eq!(refresh(&id).await.status, 200);
    }
    faults(FaultKind::InvalidGrant);
    let dead = refresh(&id).await;
    is_problem(&dead, 409, "reconnect_required");
    let ready = gateway.vehicles_of(ADA).iter().any(|car| dead.text().contains(&format!("`carport connect --vehicle {car}`")));
    assert!(ready, "{}", dead.text());
    pass(3 * HOUR).await;
    let kept = end(&id).await;
    is_problem(&kept, 409, "reconnect_required");
    assert!(kept.text().contains("--force"), "{}", kept.text());
    for unknown in [NOBODY, "x"] {
        for answer in [refresh(unknown).await, end(unknown).await, forget(&gateway, unknown, "").await] {
            is_problem(&answer, 404, "not_found");
            assert!(answer.text().contains("carport connections list"), "{}", answer.text());
        }
    }
    gateway.finish().await;
}

/// Where one car cannot be disconnected, the others are; what was done is not asked for again.
#[tokio::test(start_paused = true)]
async fn one_car_that_stays_keeps_no_other() {
    let mut gateway = TestGateway::new(306).await;
    gateway.start();
    let first = gateway.connect("ada", ADA).await;
    gateway.connect("ada", GRACE).await;
    let cars = connection(&gateway, &first).await["vehicles"].clone();
    let (stuck, other) = (cars[0].as_str().unwrap().to_owned(), cars[1].as_str().unwrap().to_owned());
    let graces = gateway.vehicles_of(GRACE).remove(0);
    pass(HOUR).await;
    let strike = |kind| gateway.simulator.set_faults(Faults::new([Trouble::once(kind)]));
    let end = async |path: &str| gateway.ask("DELETE", &format!("/api/v1/{path}")).bearer(&gateway.admin).send().await;
    let at = async |car: &str| gateway.told(&format!("/api/v1/vehicles/{car}")).await["connection"].clone();
    let asked = |car: &str| gateway.net.count(&format!("DELETE /v2.0/vehicles/{car}/application"));

    // The first car that is asked for.
    strike(FaultKind::Fail);
    let partly = end(&format!("connections/{first}")).await;
    is_problem(&partly, 502, "upstream");
    let told = partly.json()["detail"].as_str().unwrap().to_owned();
    assert!(told.starts_with("1 of 2 cars were disconnected. These were not: "), "{told}");
    assert!(told.contains(&stuck) && !told.contains(&other) && told.contains("--force"), "{told}");
    assert_eq!((at(&stuck).await, at(&other).await), (json!(first), Value::Null));
    assert_eq!(connection(&gateway, &first).await["vehicles"], json!([stuck]), "it stays for what is left");
    let noted = gateway.told("/api/v1/audit").await["items"].clone();
    let removals = noted.as_array().unwrap().iter().filter(|entry| entry["action"] == "DELETE /api/v1/connections/{id}");
    assert_eq!(removals.map(|entry| &entry["ids"]).collect::<Vec<_>>(), [&json!([first, other])], "with the car that is gone");

    // And so of a user: its other connections end.
    for round in 0..2 {
        strike(FaultKind::Fail);
        let partly = end("users/ada").await;
        is_problem(&partly, 502, "upstream");
        assert!(partly.text().contains(&stuck) && !partly.text().contains(&graces), "{}", partly.text());
        assert_eq!((at(&stuck).await, at(&graces).await), (json!(first), Value::Null), "{round}");
        assert_eq!(gateway.told("/api/v1/users/ada").await["id"], "ada", "who has a car left stays");
    }
    assert_eq!((asked(&stuck), asked(&other), gateway.net.count("DELETE /v3/connections/")), (1, 1, 1));
    let noted = gateway.told("/api/v1/audit").await["items"][0].clone();
    assert_eq!((&noted["action"], &noted["status"]), (&json!("DELETE /api/v1/users/{id}"), &json!(502)));

    // Done there, and not heard of: to ask once more does no harm.
    gateway.net.change(|request, _| {
        let is_end = request.uri().path().ends_with("/application");
        is_end.then(|| Err(TransportError::Lost("the line broke".to_owned())))
    });
    let unheard = end("users/ada").await;
    is_problem(&unheard, 502, "upstream");
    gateway.net.leave_alone();
    assert_eq!(asked(&stuck), 2);
    assert_eq!(at(&stuck).await, json!(first));
    let gone = end("users/ada").await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert_eq!((at(&stuck).await, asked(&other), gateway.net.count("DELETE /v3/connections/")), (Value::Null, 1, 1));
    is_problem(&gateway.get("/api/v1/users/ada").bearer(&gateway.admin).send().await, 404, "not_found");
    gateway.finish().await;
}

/// Who insists is rid of all of it, and Smartcar was asked for each.
#[tokio::test(start_paused = true)]
async fn force_ends_what_smartcar_does_not() {
    let mut gateway = TestGateway::new(307).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    gateway.connect("ada", GRACE).await;
    gateway.simulator.set_faults(Faults::new([Trouble::always(FaultKind::Fail)]));
    let refused = gateway.ask("DELETE", "/api/v1/users/ada").bearer(&gateway.admin).send().await;
    is_problem(&refused, 502, "upstream");
    let forced = gateway.ask("DELETE", "/api/v1/users/ada?force=true").bearer(&gateway.admin).send().await;
    assert_eq!(forced.status, 204, "{}", forced.text());
    let connections = gateway.told("/api/v1/connections").await["items"].as_array().unwrap().clone();
    assert!(connections.iter().all(|one| one["status"] == "disconnected" && one["vehicles"] == json!([])), "{connections:?}");
    is_problem(&gateway.get("/api/v1/users/ada").bearer(&gateway.admin).send().await, 404, "not_found");
    gateway.simulator.set_faults(Faults::default());
    gateway.finish().await;
}
