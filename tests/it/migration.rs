//! From v2.0 to v3 and back: cut off anywhere, nothing of fifty owners is lost.

use std::time::Duration;

use carport::simulator::Settings;
use serde_json::{Value, json};

use crate::gateway::events::{signal, state};
use crate::gateway::{DAY, Fault, HOUR, TestGateway, is_problem, pass};
use crate::simulator::rig::{ADA, Answer};

const ODOMETER: &str = "odometer-traveleddistance";

async fn ask(gateway: &TestGateway, body: &Value) -> Answer {
    gateway.post("/api/v1/connections/migrate", body).bearer(&gateway.admin).send().await
}

async fn migrate(gateway: &TestGateway, body: Value) -> Value {
    let answer = ask(gateway, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// How many items have this result.
fn count(told: &Value, result: &str) -> usize {
    told["items"].as_array().unwrap().iter().filter(|item| item["result"] == result).count()
}

async fn items(gateway: &TestGateway, path: &str) -> Vec<Value> {
    gateway.told(path).await["items"].as_array().unwrap().clone()
}

async fn generations(gateway: &TestGateway) -> (usize, usize) {
    let all = items(gateway, "/api/v1/connections?limit=500").await;
    assert!(all.iter().all(|connection| connection["status"] == "active"), "{all:?}");
    let of = |generation: &str| all.iter().filter(|connection| connection["generation"] == generation).count();
    (of("v2"), of("v3"))
}

/// All that must survive: connections without what a generation says of itself, cars with owner and name, their past.
async fn treasure(gateway: &TestGateway) -> Value {
    let mut kept = Vec::new();
    for connection in items(gateway, "/api/v1/connections?limit=500").await {
        let [id, user, account, status, cars] =
            ["id", "user", "smartcar_user_id", "status", "vehicles"].map(|key| connection[key].clone());
        kept.push(json!([id, user, account, status, cars]));
    }
    for car in items(gateway, "/api/v1/vehicles?limit=500").await {
        let id = car["id"].as_str().unwrap();
        let past = gateway.told(&format!("/api/v1/vehicles/{id}/history?signal={ODOMETER}&limit=500")).await;
        kept.push(json!([id, car["user"], car["connection"], car["nickname"], car["make"], past["items"]]));
    }
    kept.into()
}

fn v3_reads(gateway: &TestGateway, car: &str) -> usize {
    gateway.net.count(&format!("GET /v3/vehicles/{car}/signals"))
}

fn v2_reads(gateway: &TestGateway, car: &str) -> usize {
    gateway.net.count(&format!("POST /v2.0/vehicles/{car}/batch"))
}

async fn refresh(gateway: &TestGateway, car: &str) {
    let answer = gateway.post(&format!("/api/v1/vehicles/{car}/refresh"), &json!({})).bearer(&gateway.admin).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

const OWNERS: usize = 50;

#[tokio::test(start_paused = true)]
async fn fifty_connections_are_moved_cut_off_undone_and_moved_again() {
    let mut gateway = TestGateway::new(540).await;
    for number in 0..OWNERS {
        let account = format!("v2-{number}@example.com");
        gateway.connect(&format!("owner-{number}"), &account).await;
        let car = gateway.vehicles_of(&account).remove(0);
        for kilometres in [1_000, 1_042] {
            pass(Duration::from_secs(60)).await;
            let at = gateway.now().as_millis();
            let number = i64::try_from(number).unwrap();
            let told = [signal(ODOMETER, kilometres + number, at)];
            gateway.deliver(&state(&format!("{car}-{kilometres}"), &car, &told)).await;
        }
        let name = json!({ "nickname": format!("Herbie {number}") });
        let named = gateway.ask("PATCH", &format!("/api/v1/vehicles/{car}")).bearer(&gateway.admin).json(&name).send().await;
        assert_eq!(named.status, 200, "{}", named.text());
    }
    gateway.catch_up().await;
    let before = treasure(&gateway).await;
    assert_eq!(generations(&gateway).await, (OWNERS, 0));

    let would = migrate(&gateway, json!({ "dry_run": true })).await;
    assert_eq!((count(&would, "would_move"), &would["on_v2"], &would["can_return"]), (OWNERS, &json!(OWNERS), &json!(0)));
    assert_eq!((generations(&gateway).await, treasure(&gateway).await), ((OWNERS, 0), before.clone()));

    // The power fails in the middle, once more in the middle of the rest, and then it goes through.
    let mut moved = 0;
    for writes in [9, 14] {
        gateway.disk.break_at(Fault::WritesFrom(writes));
        let told = ask(&gateway, &json!({})).await;
        assert!(told.status != 200 || count(&told.json(), "failed") > 0, "{}", told.text());
        gateway.lose_power(Duration::from_secs(30)).await;
        let (v2, v3) = generations(&gateway).await;
        assert!(v3 > moved && v2 > 0 && v2 + v3 == OWNERS, "{v2} and {v3}");
        moved = v3;
        assert_eq!(treasure(&gateway).await, before);
    }
    let rest = migrate(&gateway, json!({})).await;
    assert_eq!((count(&rest, "moved"), &rest["on_v2"], &rest["can_return"]), (OWNERS - moved, &json!(0), &json!(OWNERS)));
    assert_eq!((generations(&gateway).await, treasure(&gateway).await), ((0, OWNERS), before.clone()));
    assert_eq!(migrate(&gateway, json!({})).await["items"], json!([]));

    // It is really v3 that is asked, and webhooks go on as they did.
    let car = gateway.vehicles_of("v2-7@example.com").remove(0);
    let (v2, v3) = (v2_reads(&gateway, &car), v3_reads(&gateway, &car));
    refresh(&gateway, &car).await;
    assert_eq!((v2_reads(&gateway, &car), v3_reads(&gateway, &car)), (v2, v3 + 1));
    gateway.deliver(&state("after", &car, &[signal(ODOMETER, 5_000, gateway.now().as_millis())])).await;
    gateway.catch_up().await;
    let show = gateway.told(&format!("/api/v1/vehicles/{car}")).await;
    assert_eq!(show["signals"][ODOMETER]["body"]["value"], 5_000, "{show}");
    let before = treasure(&gateway).await;

    gateway.disk.break_at(Fault::WritesFrom(11));
    ask(&gateway, &json!({ "undo": true })).await;
    gateway.lose_power(Duration::from_secs(30)).await;
    let back = migrate(&gateway, json!({ "undo": true })).await;
    assert!(count(&back, "returned") > 0 && count(&back, "failed") == 0, "{back}");
    assert_eq!((&back["on_v2"], &back["can_return"]), (&json!(OWNERS), &json!(0)));
    let now = treasure(&gateway).await;
    let ids = |treasure: &Value| treasure.as_array().unwrap().iter().map(|item| item[0].clone()).collect::<Vec<_>>();
    assert_eq!((generations(&gateway).await, ids(&now)), ((OWNERS, 0), ids(&before)));
    pass(HOUR).await;
    let (v2, v3) = (v2_reads(&gateway, &car), v3_reads(&gateway, &car));
    refresh(&gateway, &car).await;
    assert_eq!((v2_reads(&gateway, &car), v3_reads(&gateway, &car)), (v2 + 1, v3));

    // And again.
    let again = migrate(&gateway, json!({})).await;
    assert_eq!((count(&again, "moved"), generations(&gateway).await), (OWNERS, (0, OWNERS)));
    assert_eq!(treasure(&gateway).await.as_array().unwrap().len(), before.as_array().unwrap().len());
    assert_eq!(gateway.logged().matches("the owner must connect again").count(), 0);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_smartcar_does_not_list_stays_whole() {
    let gateway = TestGateway::new(541).await;
    let ada = gateway.connect("ada", ADA).await;
    gateway.connect("bert", "v2-bert@example.com").await;
    // Of Ada's two cars one is not listed for v3.
    let hidden = gateway.vehicles_of(ADA).remove(1);
    gateway.net.change(move |request, answer| {
        let is_list = request.uri().path().ends_with("/connections") && request.method() == "GET";
        let mut list: Value = is_list.then(|| serde_json::from_slice(answer.body()).ok()).flatten()?;
        let listed = list["data"].as_array_mut()?;
        listed.retain(|connection| connection["relationships"]["vehicle"]["data"]["id"] != hidden.as_str());
        list["meta"]["totalCount"] = listed.len().into();
        Some(Ok(answer.clone().map(|_| list.to_string().into())))
    });
    let would = migrate(&gateway, json!({ "dry_run": true })).await;
    assert_eq!((count(&would, "failed"), count(&would, "would_move")), (1, 1), "{would}");
    let told = migrate(&gateway, json!({})).await;
    let failed = told["items"].as_array().unwrap().iter().find(|item| item["result"] == "failed").unwrap();
    assert_eq!((&failed["connection"], count(&told, "moved"), &told["on_v2"]), (&json!(ada), 1, &json!(1)), "{told}");
    assert!(failed["error"].as_str().unwrap().contains("carport connect --vehicle"), "{failed}");
    gateway.net.leave_alone();
    assert_eq!(count(&migrate(&gateway, json!({})).await, "moved"), 1);
    let would = migrate(&gateway, json!({ "dry_run": true, "undo": true })).await;
    assert_eq!((count(&would, "would_return"), generations(&gateway).await), (2, (0, 2)), "{would}");
    gateway.finish().await;
}

/// The tokens of v2.0 are renewed for as long as they may be wanted back.
#[tokio::test(start_paused = true)]
async fn long_after_the_way_back_is_still_open() {
    // Smartcar honours an unused token for two days here.
    let simulation = Settings { seed: 545, refresh_life: 2 * DAY, ..Settings::default() };
    let mut gateway = TestGateway::with(545, &[("refresh.idle_renewal", "1d")], simulation).await;
    gateway.start_refreshing();
    gateway.connect("bert", "v2-bert@example.com").await;
    assert_eq!(count(&migrate(&gateway, json!({})).await, "moved"), 1);
    pass(5 * DAY).await;
    assert_eq!(count(&migrate(&gateway, json!({ "undo": true })).await, "returned"), 1);
    // The audit log tells one from the other.
    let id = items(&gateway, "/api/v1/connections").await[0]["id"].clone();
    let noted = items(&gateway, "/api/v1/audit?limit=2").await;
    assert_eq!((&noted[0]["ids"], &noted[1]["ids"]), (&json!(["undo", id]), &json!([id])), "{noted:?}");
    let car = gateway.vehicles_of("v2-bert@example.com").remove(0);
    let before = v2_reads(&gateway, &car);
    refresh(&gateway, &car).await;
    assert_eq!((v2_reads(&gateway, &car), generations(&gateway).await), (before + 1, (1, 0)));
    gateway.finish().await;
}

/// v2.0 comes to its end: what was moved does not notice, what has dead tokens is saved, and the way back is told shut.
#[tokio::test(start_paused = true)]
async fn the_end_of_v2_hurts_nobody_who_has_moved() {
    let mut gateway = TestGateway::with(542, &[("webhooks.subscribe", "off")], Settings::default()).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    let dead = gateway.connect("bert", "v2-bert@example.com").await;
    assert_eq!(count(&migrate(&gateway, json!({})).await, "moved"), 2);
    assert_eq!(count(&migrate(&gateway, json!({ "undo": true })).await, "returned"), 2);
    // Bert's tokens die while he is on v2.0: he would have to connect again, were it not for v3.
    gateway.simulator.revoke("v2-bert@example.com");
    pass(5 * HOUR).await;
    let bert = gateway.told(&format!("/api/v1/connections/{dead}")).await;
    assert_eq!(bert["status"], "needs_reconnect", "{bert}");
    assert_eq!(count(&migrate(&gateway, json!({})).await, "moved"), 2);
    assert_eq!(generations(&gateway).await, (0, 2));

    // Smartcar honours no token of v2.0 any more, and after a while the operator gives its credentials up.
    gateway.net.change(|request, _| {
        let gone = http::Response::builder().status(400).header("content-type", "application/json");
        let gone = gone.body(r#"{"error":"invalid_grant"}"#.into()).unwrap();
        (request.uri().path() == "/oauth/token").then_some(Ok(gone))
    });
    pass(DAY).await;
    assert_eq!(generations(&gateway).await, (0, 2));
    let status = gateway.told("/api/v1/status").await;
    assert_eq!(status["notices"], json!([]), "{status}");
    let back = migrate(&gateway, json!({ "undo": true })).await;
    assert_eq!((&back["items"], &back["can_return"]), (&json!([]), &json!(0)), "{back}");
    gateway.net.leave_alone();
    let car = gateway.vehicles_of(ADA).remove(0);
    refresh(&gateway, &car).await;
    assert!(v3_reads(&gateway, &car) > 0);
    gateway.finish().await;
}

/// The credentials of v2.0 are taken out while the way back was open.
#[tokio::test(start_paused = true)]
async fn without_credentials_of_v2_nothing_is_renewed_and_nobody_is_nagged() {
    let mut gateway = TestGateway::with(543, &[("webhooks.subscribe", "off")], Settings::default()).await;
    gateway.connect("ada", ADA).await;
    assert_eq!(count(&migrate(&gateway, json!({})).await, "moved"), 1);
    for key in ["smartcar.v2.client_id", "smartcar.v2.client_secret"] {
        gateway.configure(key, "");
    }
    gateway.reopen().await;
    gateway.start();
    let before = gateway.net.count("POST /oauth/token");
    pass(DAY).await;
    let status = gateway.told("/api/v1/status").await;
    assert_eq!((gateway.net.count("POST /oauth/token"), &status["notices"]), (before, &json!([])), "{status}");
    is_problem(&ask(&gateway, &json!({ "undo": true })).await, 503, "not_configured");
    let secret = gateway.simulator.settings().application.clone();
    gateway.configure("smartcar.v2.client_id", &secret.application_id);
    gateway.configure("smartcar.v2.client_secret", &secret.v2_client_secret);
    gateway.reopen().await;
    gateway.start();
    assert_eq!(count(&migrate(&gateway, json!({ "undo": true })).await, "returned"), 1);
    let car = gateway.vehicles_of(ADA).remove(0);
    refresh(&gateway, &car).await;
    assert_eq!(generations(&gateway).await, (1, 0));
    gateway.finish().await;

    // Without v3 there is nothing to move to.
    let keys = [("smartcar.v3.client_id", ""), ("smartcar.v3.client_secret", "")];
    let gateway = TestGateway::with(544, &keys, Settings::default()).await;
    is_problem(&ask(&gateway, &json!({})).await, 503, "not_configured");
    gateway.finish().await;
}

/// What v2.0 does not list any more, v3 does: nobody has to connect it again.
#[tokio::test(start_paused = true)]
async fn cars_that_v2_no_longer_lists_are_moved_and_read() {
    let gateway = TestGateway::new(549).await;
    let connection = gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    gateway.net.change(|request, answer| {
        let (status, body) = match request.uri().path().trim_end_matches('/') {
            "/v2.0/vehicles" => (200, json!({ "vehicles": [], "paging": { "count": 0, "offset": 0 } })),
            path if path.ends_with("/batch") => (403, json!({ "type": "PERMISSION", "code": null, "statusCode": 403 })),
            _ => return None,
        };
        let mut answer = answer.clone().map(|_| body.to_string().into());
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
        Some(Ok(answer))
    });
    let read = gateway.post(&format!("/api/v1/vehicles/{car}/refresh"), &json!({})).bearer(&gateway.admin).send().await;
    is_problem(&read, 409, "reconnect_required");
    let path = format!("/api/v1/connections/{connection}");
    assert_eq!(gateway.told(&path).await["status"], "needs_reconnect");
    assert_eq!(count(&migrate(&gateway, json!({})).await, "moved"), 1);
    let told = gateway.told(&path).await;
    assert_eq!((&told["status"], &told["generation"]), (&json!("active"), &json!("v3")), "{told}");
    refresh(&gateway, &car).await;
    gateway.finish().await;
}
