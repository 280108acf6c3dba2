//! Smartcar's own API in front of the gateway: stored signals answer, with their age; Smartcar is asked within the
//! budget; nobody sees what is somebody else's, and every error has Smartcar's shape.

mod commands;
mod failing;
mod hangups;
mod history;
mod knobs;
mod management;
mod sparing;

use std::time::Duration;

use carport::simulator::{Fault, FaultKind, Faults, Settings, WebhookSettings};
use serde_json::{Value, json};

use crate::api::with_two_owners;
use crate::gateway::{Ask, HOUR, TestGateway, events, pass};
use crate::simulator::rig::{ADA, Answer, GRACE, Rig};

const CONTROLS: &str = "read_vehicle_info,read_vin,read_odometer,read_battery,read_charge,read_fuel,read_location,read_security,\
                        read_tires,read_engine_oil,control_charge,control_security,control_navigation";

/// Who connects, and the configuration for it.
type Generation = (&'static str, &'static [(&'static str, &'static str)]);

/// The two generations of Smartcar's API, each with an account of it.
const V2: Generation = (ADA, &[("smartcar.scope", CONTROLS), ("smartcar.v3.client_id", ""), ("smartcar.v3.client_secret", "")]);
const V3: Generation = (GRACE, &[("smartcar.scope", CONTROLS), ("smartcar.v2.client_id", ""), ("smartcar.v2.client_secret", "")]);

/// A gateway with the cars of one owner, the first of them, and a token that is bound to the owner.
async fn with_owner(seed: u64, (account, keys): Generation, more: &[(&str, &str)]) -> (TestGateway, String, String) {
    let keys = [keys, more].concat();
    let gateway = TestGateway::with(seed, &keys, Settings { seed, ..Settings::default() }).await;
    gateway.connect("owner", account).await;
    let car = gateway.vehicles_of(account).remove(0);
    let token = gateway.create_token(&json!({ "name": "script", "scope": "control", "user": "owner" })).await;
    (gateway, car, token)
}

/// How often Smartcar was asked about signals.
fn calls(gateway: &TestGateway, car: &str) -> usize {
    gateway.net.count(&format!("POST /v2.0/vehicles/{car}/batch")) + gateway.net.count(&format!("GET /v3/vehicles/{car}/signals"))
}

/// Why.
async fn reasons(gateway: &TestGateway, car: &str) -> Value {
    let budget = gateway.told("/api/v1/budget").await;
    let items = budget["items"].as_array().unwrap();
    items.iter().find(|item| item["vehicle"] == car).unwrap()["reasons"].clone()
}

fn signal(code: &str, body: &Value, at: i64) -> Value {
    let (group, name) = code.split_once('-').unwrap();
    let meta = json!({ "oemUpdatedAt": at, "retrievedAt": at + 1000 });
    json!({ "code": code, "name": name, "group": group, "body": body, "status": { "value": "SUCCESS" }, "meta": meta })
}

/// Signals as a webhook tells them, and what endpoints make of them: metric, then imperial.
fn told() -> Vec<(Vec<Value>, &'static str, Value, Value)> {
    let at = 1_759_900_000_000;
    let one = |code: &str, body: Value| signal(code, &body, at);
    vec![
        (
            vec![one("odometer-traveleddistance", json!({ "value": 18342.6, "unit": "km" }))],
            "odometer",
            json!({ "distance": 18342.6 }),
            json!({ "distance": 11_397.563_231 }),
        ),
        (
            vec![
                one("tractionbattery-stateofcharge", json!({ "value": 64, "unit": "percent" })),
                one("tractionbattery-range", json!({ "value": 265, "unit": "km" })),
            ],
            "battery",
            json!({ "percentRemaining": 0.64, "range": 265 }),
            json!({ "percentRemaining": 0.64, "range": 164.663_366 }),
        ),
        (
            vec![
                one("charge-ischarging", json!({ "value": true })),
                one("charge-ischargingcableconnected", json!({ "value": true })),
                one("charge-detailedchargingstatus", json!({ "value": "CHARGING" })),
            ],
            "charge",
            json!({ "isPluggedIn": true, "state": "CHARGING" }),
            json!({ "isPluggedIn": true, "state": "CHARGING" }),
        ),
        (
            vec![one(
                "charge-chargelimits",
                json!({ "values": [{ "type": "GLOBAL", "limit": 80, "condition": null }], "activeLimit": 80 }),
            )],
            "charge/limit",
            json!({ "limit": 0.8 }),
            json!({ "limit": 0.8 }),
        ),
        (
            vec![one("location-preciselocation", json!({ "latitude": 37.4292, "longitude": -122.1381, "heading": 7 }))],
            "location",
            json!({ "latitude": 37.4292, "longitude": -122.1381 }),
            json!({ "latitude": 37.4292, "longitude": -122.1381 }),
        ),
        (
            vec![one(
                "wheel-tires",
                json!({ "values": [{ "row": 0, "column": 0, "tirePressure": 219.3 }], "rowCount": 2, "columnCount": 2 }),
            )],
            "tires/pressure",
            json!({ "frontLeft": 219.3, "frontRight": null, "backLeft": null, "backRight": null }),
            json!({ "frontLeft": 31.806_776, "frontRight": null, "backLeft": null, "backRight": null }),
        ),
        (
            vec![one("closure-islocked", json!({ "value": true }))],
            "security",
            json!({ "isLocked": true, "doors": [], "windows": [], "sunroof": [], "storage": [], "chargingPort": [] }),
            json!({ "isLocked": true, "doors": [], "windows": [], "sunroof": [], "storage": [], "chargingPort": [] }),
        ),
        (
            vec![one("internalcombustionengine-oillife", json!({ "value": 35, "unit": "percent" }))],
            "engine/oil",
            json!({ "lifeRemaining": 0.35 }),
            json!({ "lifeRemaining": 0.35 }),
        ),
        (
            vec![
                one("internalcombustionengine-fuellevel", json!({ "value": 30, "unit": "percent" })),
                one("internalcombustionengine-amountremaining", json!({ "value": 53.2, "unit": "liters" })),
            ],
            "fuel",
            json!({ "percentRemaining": 0.3, "amountRemaining": 53.2, "range": null }),
            json!({ "percentRemaining": 0.3, "amountRemaining": 14.053_953, "range": null }),
        ),
    ]
}

/// An error of v2.0 with every field.
#[track_caller]
fn is_error(answer: &Answer, status: u16, kind: &str, code: Option<&str>) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["type"], &body["code"], &body["statusCode"]), (&json!(kind), &json!(code), &json!(status)), "{body}");
    assert_eq!(body["requestId"].as_str(), answer.header("sc-request-id"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(body["resolution"].is_object() && body["description"].is_string() && body["docURL"].is_string(), "{body}");
}

/// An error of v3.
#[track_caller]
fn is_fault_v3(answer: &Answer, status: u16, kind: &str, code: Option<&str>) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let error = &answer.json()["errors"][0];
    assert_eq!(
        (&error["status"], &error["type"], &error["code"]),
        (&json!(status.to_string()), &json!(kind), &json!(code)),
        "{error}"
    );
    assert_eq!(error["meta"]["debug"]["requestId"].as_str(), answer.header("sc-request-id"));
}

#[tokio::test(start_paused = true)]
async fn stored_signals_answer_every_endpoint_without_a_call() {
    for (seed, generation) in [(500, V2), (501, V3)] {
        let (gateway, car, token) = with_owner(seed, generation, &[]).await;
        let signals: Vec<Value> = told().into_iter().flat_map(|(signals, ..)| signals).collect();
        gateway.deliver(&events::state("e", &car, &signals)).await;
        gateway.catch_up().await;
        for (_, path, metric, imperial) in told() {
            let at = format!("/v2.0/vehicles/{car}/{path}");
            for (units, expected) in [("metric", metric), ("imperial", imperial)] {
                let answer = gateway.get(&at).bearer(&token).header("sc-unit-system", units).send().await;
                assert_eq!((answer.status, &answer.json()), (200, &expected), "{path}");
                assert_eq!(answer.header("sc-unit-system"), Some(units), "{path}");
                assert_eq!(answer.header("sc-data-age"), Some("2025-10-08T05:06:40.000Z"), "{path}");
                assert_eq!(answer.header("sc-fetched-at"), Some("2025-10-08T05:06:41.000Z"), "{path}");
                assert_eq!(answer.header("sc-request-id"), answer.header("x-request-id"), "{path}");
            }
        }
        let all = gateway.get(&format!("/v3/vehicles/{car}/signals")).bearer(&token).send().await.json();
        assert_eq!(all["meta"]["totalCount"], signals.len(), "{all}");
        assert_eq!(all["included"]["vehicle"]["id"], car.as_str());
        let one = gateway.get(&format!("/v3/vehicles/{car}/signals/odometer-traveleddistance")).bearer(&token);
        let one = one.header("sc-unit-system", "imperial").send().await.json();
        assert_eq!(one["data"]["attributes"]["body"], json!({ "value": 11_397.563_231, "unit": "miles" }), "{one}");
        assert_eq!(one["data"]["meta"]["oemUpdatedAt"], "2025-10-08T05:06:40.000Z");

        let user = gateway.get("/v2.0/user/").bearer(&token).send().await.json();
        let account = gateway.simulator.accounts().into_iter().find(|account| account.email == generation.0).unwrap();
        assert_eq!(user, json!({ "id": account.user_id }));
        let count = account.vehicle_ids.len();
        let mut ids = Vec::new();
        for offset in 0..count {
            let page = gateway.get(&format!("/v2.0/vehicles?limit=1&offset={offset}")).bearer(&token).send().await.json();
            assert_eq!(page["paging"], json!({ "count": count, "offset": offset }));
            ids.push(page["vehicles"][0].as_str().unwrap().to_owned());
        }
        ids.sort();
        let mut expected = account.vehicle_ids.clone();
        expected.sort();
        assert_eq!(ids, expected);
        let attributes = gateway.get(&format!("/v2.0/vehicles/{car}/")).bearer(&token).send().await.json();
        assert!(
            attributes["make"].is_string() && attributes["year"].is_number() && attributes["id"] == car.as_str(),
            "{attributes}"
        );
        let permissions = gateway.get(&format!("/v2.0/vehicles/{car}/permissions?limit=2")).bearer(&token).send().await.json();
        assert_eq!((permissions["permissions"].as_array().unwrap().len(), &permissions["paging"]["count"]), (2, &json!(13)));
        assert_eq!(calls(&gateway, &car), 0);
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_is_asked_for_once_and_fresher_values_within_the_budget() {
    for (seed, generation) in [(502, V2), (503, V3)] {
        let more = [("budget.calls_per_vehicle_month", "5"), ("budget.reserve", "2")];
        let (gateway, car, token) = with_owner(seed, generation, &more).await;
        let odometer = || gateway.get(&format!("/v2.0/vehicles/{car}/odometer")).bearer(&token);
        let first = odometer().send().await;
        assert_eq!((first.status, calls(&gateway, &car)), (200, 1), "{}", first.text());
        assert_eq!(odometer().send().await.json(), first.json());
        assert_eq!(odometer().header("cache-control", "max-age=600").send().await.status, 200);
        assert_eq!(calls(&gateway, &car), 1);
        assert_eq!(odometer().header("cache-control", "no-cache").send().await.status, 200);
        assert_eq!(calls(&gateway, &car), 2);
        pass(HOUR).await;
        assert_eq!(odometer().header("cache-control", "max-age=600").send().await.status, 200);
        assert_eq!(calls(&gateway, &car), 3);
        // What is stored is answered whatever happens; what is asked for beyond the budget is refused as Smartcar does.
        let refused = odometer().header("cache-control", "no-cache").send().await;
        is_error(&refused, 430, "BILLING", Some("VEHICLE_REQUEST_LIMIT"));
        assert!(refused.header("retry-after").is_some());
        assert_eq!((odometer().send().await.status, calls(&gateway, &car)), (200, 3));
        for never in gateway.vehicles_of(generation.0).split_off(1) {
            let answer = gateway.get(&format!("/v2.0/vehicles/{never}/odometer")).bearer(&token).send().await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_eq!(reasons(&gateway, &car).await, json!({ "compat": 3 }));
        gateway.finish().await;
    }
}

/// What was stored before a command is no answer after it.
#[tokio::test(start_paused = true)]
async fn a_script_that_locks_and_looks_sees_it_locked() {
    for (seed, generation) in [(514, V2), (515, V3)] {
        let (gateway, car, token) = with_owner(seed, generation, &[]).await;
        let security = format!("/v2.0/vehicles/{car}/security");
        let look = || gateway.get(&security).bearer(&token).send();
        assert_eq!((look().await.json()["isLocked"].clone(), calls(&gateway, &car)), (json!(true), 1));
        for (action, is_locked, asked) in [("UNLOCK", false, 2), ("LOCK", true, 3)] {
            pass(Duration::from_secs(5)).await;
            let told = gateway.post(&security, &json!({ "action": action })).bearer(&token).send().await;
            assert_eq!(told.status, 200, "{}", told.text());
            pass(Duration::from_secs(5)).await;
            for _ in 0..2 {
                assert_eq!((look().await.json()["isLocked"].clone(), calls(&gateway, &car)), (json!(is_locked), asked));
            }
        }
        gateway.finish().await;
    }
}

/// Nor is what somebody asked for before it and heard after it; nor when nobody knows whether the car obeyed.
#[tokio::test(start_paused = true)]
async fn a_look_that_began_before_the_lock_is_no_answer_after_it() {
    for (seed, generation) in [(523, V2), (524, V3)] {
        let (gateway, car, token) = with_owner(seed, generation, &[]).await;
        let security = format!("/v2.0/vehicles/{car}/security");
        let look = || gateway.get(&security).bearer(&token);
        let order = async |action: &str| gateway.post(&security, &json!({ "action": action })).bearer(&token).send().await;
        assert_eq!((look().send().await.json()["isLocked"].clone(), calls(&gateway, &car)), (json!(true), 1));
        pass(Duration::from_secs(5)).await;
        gateway.simulator.set_faults(Faults::new([Fault::once(FaultKind::Delay(Duration::from_secs(20)))]));
        let unlocked = async {
            pass(Duration::from_secs(2)).await;
            order("UNLOCK").await.status
        };
        let (before, unlocked) = tokio::join!(look().header("cache-control", "no-cache").send(), unlocked);
        assert_eq!((before.json()["isLocked"].clone(), unlocked), (json!(true), 200));
        for _ in 0..2 {
            assert_eq!((look().send().await.json()["isLocked"].clone(), calls(&gateway, &car)), (json!(false), 3));
        }
        pass(Duration::from_secs(5)).await;
        gateway.simulator.set_faults(Faults::new([Fault::once(FaultKind::LoseAnswer)]));
        assert_ne!(order("LOCK").await.status, 200);
        pass(Duration::from_secs(5)).await;
        assert_eq!((look().send().await.status, calls(&gateway, &car)), (200, 4), "it may have obeyed");
        gateway.finish().await;
    }
}

/// What another signal told a moment ago does not make this one fresh.
#[tokio::test(start_paused = true)]
async fn one_signal_is_as_fresh_as_it_is_itself() {
    let (gateway, car, token) = with_owner(511, V3, &[]).await;
    let odometer = || gateway.get(&format!("/v3/vehicles/{car}/signals/odometer-traveleddistance")).bearer(&token);
    assert_eq!((odometer().send().await.status, calls(&gateway, &car)), (200, 1));
    pass(HOUR).await;
    let now = gateway.now().as_millis();
    gateway.deliver(&events::state("e", &car, &[events::signal("tractionbattery-stateofcharge", 50, now)])).await;
    gateway.catch_up().await;
    assert_eq!((odometer().send().await.status, calls(&gateway, &car)), (200, 1));
    assert_eq!((odometer().header("cache-control", "max-age=60").send().await.status, calls(&gateway, &car)), (200, 2));
    gateway.finish().await;
}

/// Who wants all signals fresh means each of them.
#[tokio::test(start_paused = true)]
async fn signals_are_as_fresh_as_the_oldest_of_them() {
    let (gateway, car, token) = with_owner(517, V3, &[]).await;
    let now = gateway.now().as_millis();
    let told = [
        events::signal("odometer-traveleddistance", 10, now - 3_600_000),
        events::signal("tractionbattery-stateofcharge", 50, now - 5_000),
    ];
    gateway.deliver(&events::state("e", &car, &told)).await;
    gateway.catch_up().await;
    let signals = async |max_age: Option<&str>| {
        let ask = gateway.get(&format!("/v3/vehicles/{car}/signals")).bearer(&token);
        let answer = if let Some(max_age) = max_age { ask.header("cache-control", max_age) } else { ask }.send().await;
        (answer.status, calls(&gateway, &car))
    };
    assert_eq!(signals(None).await, (200, 0));
    assert_eq!(signals(Some("max-age=7200")).await, (200, 0));
    assert_eq!(signals(Some("max-age=600")).await, (200, 1));
    // Smartcar has nothing newer of some of them: that was asked for just now.
    assert_eq!(signals(Some("max-age=600")).await, (200, 1));
    gateway.finish().await;
}

/// Two signals tell whether a car charges, and come at different times.
#[tokio::test(start_paused = true)]
async fn of_two_signals_that_tell_the_same_the_fresher_is_right() {
    let (gateway, car, token) = with_owner(513, V2, &[]).await;
    let at = 1_759_900_000_000;
    let state = async |event: &str, signals: &[Value]| {
        gateway.deliver(&events::state(event, &car, signals)).await;
        gateway.catch_up().await;
        gateway.get(&format!("/v2.0/vehicles/{car}/charge")).bearer(&token).send().await.json()["state"].clone()
    };
    let is_charging = |yes: bool, at: i64| signal("charge-ischarging", &json!({ "value": yes }), at);
    let detailed = |word: &str, at: i64| signal("charge-detailedchargingstatus", &json!({ "value": word }), at);
    assert_eq!(state("a", &[is_charging(true, at), detailed("CHARGING", at)]).await, "CHARGING");
    assert_eq!(state("b", &[detailed("FULLY_CHARGED", at + 1000)]).await, "FULLY_CHARGED");
    assert_eq!(state("c", &[is_charging(true, at + 2000)]).await, "CHARGING");
    assert_eq!(state("d", &[detailed("NOT_CHARGING", at + 3000)]).await, "NOT_CHARGING");
    assert_eq!(state("e", &[is_charging(false, at + 4000), detailed("FULLY_CHARGED", at + 4000)]).await, "FULLY_CHARGED");
    // "Not charging" is no news of a car that is full, and of one that charges it is.
    assert_eq!(state("f", &[is_charging(false, at + 5000)]).await, "FULLY_CHARGED");
    assert_eq!(state("g", &[detailed("CHARGING", at + 6000)]).await, "CHARGING");
    assert_eq!(state("h", &[is_charging(false, at + 7000)]).await, "NOT_CHARGING");
    gateway.finish().await;
}

/// What was overtaken has no say in how old an answer is.
#[tokio::test(start_paused = true)]
async fn the_age_is_that_of_the_signals_that_answer() {
    let (gateway, car, token) = with_owner(515, V3, &[]).await;
    let now = gateway.now().as_millis();
    let charge = async |max_age: &str| {
        let ask = gateway.get(&format!("/v2.0/vehicles/{car}/charge")).bearer(&token).header("cache-control", max_age);
        ask.send().await
    };
    let old = signal("charge-ischarging", &json!({ "value": true }), now - 86_400_000);
    let new = ["charge-detailedchargingstatus", "charge-ischargingcableconnected"].map(|code| {
        let value = if code.ends_with("status") { json!("FULLY_CHARGED") } else { json!(true) };
        signal(code, &json!({ "value": value }), now - 60_000)
    });
    gateway.deliver(&events::state("e", &car, &[vec![old], new.to_vec()].concat())).await;
    gateway.catch_up().await;
    let answer = charge("max-age=600").await;
    assert_eq!((answer.status, calls(&gateway, &car)), (200, 0), "{}", answer.text());
    assert_eq!(answer.json(), json!({ "isPluggedIn": true, "state": "FULLY_CHARGED" }));
    let at = |millis: i64| carport::model::Timestamp::from_millis(millis).to_string();
    assert_eq!(answer.header("sc-data-age"), Some(&*at(now - 60_000)));
    assert_eq!(answer.header("sc-fetched-at"), Some(&*at(now - 59_000)));
    gateway.finish().await;
}

/// When Smartcar fetched a value is no matter of the car's clock.
#[tokio::test(start_paused = true)]
async fn what_was_fetched_at_no_known_time_counts_from_when_it_was_told() {
    let (gateway, car, token) = with_owner(516, V3, &[]).await;
    let day_ago = gateway.now().as_millis() - 86_400_000;
    let mut told = signal("odometer-traveleddistance", &json!({ "value": 10, "unit": "km" }), day_ago);
    told["meta"].as_object_mut().unwrap().remove("retrievedAt");
    let event = events::state("e", &car, &[told]);
    gateway.deliver(&event).await;
    gateway.catch_up().await;
    let mut times = Vec::new();
    for path in ["v2.0/vehicles/{}/odometer", "v3/vehicles/{}/signals/odometer-traveleddistance", "v3/vehicles/{}/signals"] {
        let path = format!("/{}", path.replace("{}", &car));
        let answer = gateway.get(&path).bearer(&token).header("cache-control", "max-age=600").send().await;
        assert_eq!((answer.status, calls(&gateway, &car)), (200, 0), "{path}: {}", answer.text());
        times.push(answer.header("sc-fetched-at").unwrap().to_owned());
    }
    let ingested =
        gateway.get(&format!("/v3/vehicles/{car}/signals/odometer-traveleddistance")).bearer(&token).send().await.json();
    let ingested = ingested["data"]["meta"]["ingestedAt"].as_str().unwrap();
    assert!(times.iter().all(|time| time == ingested), "{times:?} {ingested}");
    gateway.finish().await;
}

/// A signal goes by the permission of its own group, though an endpoint of v2.0 of another shows it too.
#[tokio::test(start_paused = true)]
async fn the_charging_flap_goes_by_the_permission_to_read_charging() {
    let code = "charge-ischargingportflapopen";
    for (seed, scope, expected) in [(518, "read_charge", "SUCCESS"), (519, "read_security", "ERROR")] {
        let (gateway, car, token) = with_owner(seed, V3, &[("smartcar.scope", scope)]).await;
        let at = gateway.now().as_millis();
        gateway.deliver(&events::state("e", &car, &[signal(code, &json!({ "value": true }), at)])).await;
        gateway.catch_up().await;
        let told = gateway.get(&format!("/v3/vehicles/{car}/signals/{code}")).bearer(&token).send().await.json();
        assert_eq!(told["data"]["attributes"]["status"]["value"], expected, "{told}");
        gateway.finish().await;
    }
}

/// A car of v3 by the way of v2.0.
#[tokio::test(start_paused = true)]
async fn a_car_of_v3_is_subscribed_by_the_address_of_v2() {
    let (gateway, car, _) = with_owner(514, V3, &[]).await;
    let settings = WebhookSettings { auto_subscribe: false, ..WebhookSettings::new("https://elsewhere.example/hook") };
    gateway.simulator.set_webhook(Some(settings));
    let webhooks = gateway.get("/v3/webhooks").bearer(&gateway.admin).send().await.json();
    let id = webhooks["data"][0]["id"].as_str().unwrap();
    let ask = async |method: &str, webhook: &str| {
        let path = format!("/v2.0/vehicles/{car}/webhooks/{webhook}");
        gateway.ask(method, &path).bearer(&gateway.admin).send().await
    };
    let subscriptions = async || {
        let listed = gateway.get("/v3/subscriptions").bearer(&gateway.admin).send().await.json();
        listed["data"].as_array().unwrap().len()
    };
    // Once more is as good.
    for _ in 0..2 {
        let answer = ask("POST", id).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "webhookId": id, "vehicleId": car })));
        assert_eq!(subscriptions().await, 1);
    }
    is_error(&ask("POST", "nobodys").await, 404, "RESOURCE_NOT_FOUND", Some("WEBHOOK_NOT_FOUND"));
    is_error(&ask("DELETE", "nobodys").await, 400, "VALIDATION", Some("PARAMETER"));
    let answer = ask("DELETE", id).await;
    assert_eq!((answer.status, answer.json(), subscriptions().await), (200, json!({ "status": "success" }), 0));
    is_error(&ask("DELETE", id).await, 400, "VALIDATION", Some("PARAMETER"));
    gateway.finish().await;
}

/// SECURITY: what a path names goes to Smartcar with our own token.
#[tokio::test(start_paused = true)]
async fn a_path_leads_no_further_than_it_says() {
    let (gateway, _, _) = with_owner(512, V3, &[]).await;
    for path in ["/v3/webhooks/..", "/v3/webhooks/%2e%2e", "/v3/webhooks/..%2Fapplications", "/v3/webhooks/."] {
        assert_eq!(gateway.get(path).bearer(&gateway.admin).send().await.status, 404, "{path}");
    }
    assert_eq!(gateway.net.count("GET /v3/webhooks/"), 0);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn old_values_are_read_again_if_the_operator_says_how_old() {
    let (gateway, car, token) =
        with_owner(504, V2, &[("compat.max_age", "30m"), ("budget.calls_per_vehicle_month", "2"), ("budget.reserve", "0")]).await;
    let odometer = async || gateway.get(&format!("/v2.0/vehicles/{car}/odometer")).bearer(&token).send().await;
    for expected in [1, 2, 2] {
        // Over the budget the old value is better than none: its age is told.
        assert_eq!((odometer().await.status, calls(&gateway, &car)), (200, expected));
        assert_eq!((odometer().await.status, calls(&gateway, &car)), (200, expected));
        pass(HOUR).await;
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_batch_fail_by_themselves() {
    let (gateway, car, token) = with_owner(505, V2, &[]).await;
    gateway.deliver(&events::state("e", &car, &[events::signal("odometer-traveleddistance", 10, 1_759_900_000_000)])).await;
    gateway.catch_up().await;
    let paths = ["/odometer", "", "battery", "/vin/", "/diagnostics/dtcs", "/nowhere"].map(|path| json!({ "path": path }));
    let answer = gateway.post(&format!("/v2.0/vehicles/{car}/batch"), &json!({ "requests": paths })).bearer(&token).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let parts = answer.json()["responses"].as_array().unwrap().clone();
    let seen: Vec<_> = parts.iter().map(|part| (part["path"].as_str().unwrap(), part["code"].as_u64().unwrap())).collect();
    assert_eq!(
        seen,
        [("/odometer", 200), ("/", 200), ("/battery", 200), ("/vin", 200), ("/diagnostics/dtcs", 403), ("/nowhere", 404)]
    );
    assert_eq!((&parts[0]["body"], &parts[0]["headers"]["sc-unit-system"]), (&json!({ "distance": 10 }), &json!("metric")));
    assert_eq!(
        (&parts[4]["body"]["type"], &parts[4]["headers"]["content-type"]),
        (&json!("PERMISSION"), &json!("application/json"))
    );
    // One call for all that is missing, and only for that.
    assert_eq!(calls(&gateway, &car), 1);
    for wrong in [json!({}), json!({ "requests": [] }), json!({ "requests": [{}] }), json!([])] {
        let answer = gateway.post(&format!("/v2.0/vehicles/{car}/batch"), &wrong).bearer(&token).send().await;
        is_error(&answer, 400, "VALIDATION", Some("PARAMETER"));
        assert_eq!(answer.json()["detail"][0]["field"], "requests");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn commands_and_disconnect_go_upstream() {
    for (seed, generation, told) in
        [(506, V2, "POST /v2.0/vehicles/{}/security"), (507, V3, "POST /v3/vehicles/{}/commands/security/lock")]
    {
        let (gateway, car, token) = with_owner(seed, generation, &[]).await;
        let lock = json!({ "action": "LOCK" });
        let security = format!("/v2.0/vehicles/{car}/security");
        let answer = gateway.post(&security, &lock).bearer(&token).send().await;
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("success")), "{}", answer.text());
        assert_eq!(gateway.net.count(&told.replace("{}", &car)), 1);
        let answer = gateway.post(&format!("/v3/vehicles/{car}/commands/security/lock"), &json!({})).bearer(&token).send().await;
        assert_eq!(
            (answer.status, &answer.json()["data"]["attributes"]["status"]),
            (200, &json!("SUCCESS")),
            "{}",
            answer.text()
        );
        assert_eq!(reasons(&gateway, &car).await, json!({ "command": 2 }));

        let reader = gateway.create_token(&json!({ "name": "reader", "scope": "read" })).await;
        is_error(&gateway.post(&security, &lock).bearer(&reader).send().await, 403, "PERMISSION", None);
        let lock_v3 = format!("/v3/vehicles/{car}/commands/security/lock");
        let refused = gateway.post(&lock_v3, &json!({})).bearer(&reader).send().await;
        is_fault_v3(&refused, 403, "PERMISSION", Some("ACCESS_DENIED"));
        is_error(
            &gateway.post(&security, &json!({ "action": "DANCE" })).bearer(&token).send().await,
            400,
            "VALIDATION",
            Some("PARAMETER"),
        );
        is_error(
            &gateway.post(&format!("/v2.0/vehicles/{car}/odometer"), &lock).bearer(&token).send().await,
            404,
            "RESOURCE_NOT_FOUND",
            Some("PATH"),
        );
        // What Smartcar refuses is handed on in its own words.
        gateway.simulator.set_trouble(&car, Some("VEHICLE_STATE.ASLEEP")).unwrap();
        is_error(&gateway.post(&security, &lock).bearer(&token).send().await, 409, "VEHICLE_STATE", Some("ASLEEP"));
        let application = format!("/v2.0/vehicles/{car}/application");
        is_error(&gateway.ask("DELETE", &application).bearer(&token).send().await, 403, "PERMISSION", None);
        assert_eq!(
            gateway.ask("DELETE", &application).bearer(&gateway.admin).send().await.json(),
            json!({ "status": "success" })
        );
        let vehicles = gateway.get("/v2.0/vehicles").bearer(&token).send().await.json();
        let count = gateway.vehicles_of(generation.0).len() - 1;
        assert_eq!(vehicles["paging"]["count"], count, "{vehicles}");
        is_error(&gateway.get(&format!("/v2.0/vehicles/{car}/odometer")).bearer(&token).send().await, 403, "PERMISSION", None);
        gateway.finish().await;
    }
}

/// What a token of Carport's may not do, no owner can mend by connecting again; what the owner did not grant, only the owner.
#[tokio::test(start_paused = true)]
async fn who_can_mend_a_refusal_is_told() {
    let (gateway, car, token) = with_owner(518, V2, &[("smartcar.scope", "read_vehicle_info")]).await;
    let odometer = format!("/v2.0/vehicles/{car}/odometer");
    let [connect, metrics] = [
        gateway.create_token(&json!({ "name": "front end", "scope": "connect", "user": "owner" })).await,
        gateway.create_token(&json!({ "name": "prometheus", "scope": "metrics" })).await,
    ];
    for (token, resolution, said) in [
        (&token, json!("REAUTHENTICATE"), Some("connect your car again")),
        (&connect, Value::Null, None),
        (&metrics, Value::Null, None),
    ] {
        let answer = gateway.get(&odometer).bearer(token).send().await;
        is_error(&answer, 403, "PERMISSION", None);
        let body = answer.json();
        assert_eq!(body["resolution"]["type"], resolution, "{body}");
        let message = body["suggestedUserMessage"].as_str();
        assert_eq!(message.is_some(), said.is_some(), "{body}");
        assert!(message.unwrap_or_default().contains(said.unwrap_or_default()) && !answer.text().contains('<'), "{body}");
        assert_eq!(said.is_none(), body["description"].as_str().unwrap().contains("scope"), "{body}");
    }
    gateway.finish().await;
}

/// Carport and the simulated Smartcar take the same heads, and refuse the same.
#[tokio::test(start_paused = true)]
async fn heads_are_read_as_smartcar_reads_them() {
    let (gateway, car, token) = with_owner(519, V2, &[]).await;
    let odometer = format!("/v2.0/vehicles/{car}/odometer");
    let rig = Rig::new(Settings::default());
    let (access, _) = rig.ada().await;
    let simulated = format!("/v2.0/vehicles/{}/odometer", rig.vehicles(ADA).remove(0));
    for (name, value, status) in [
        ("sc-unit-system", "imperial", 200),
        ("sc-unit-system", "Metric", 200),
        ("sc-unit-system", "banana", 400),
        ("cache-control", "max-age=banana", 200),
        ("cache-control", "banana", 200),
        ("cache-control", "max-age=-1, no-cache", 200),
    ] {
        let ours = gateway.get(&odometer).bearer(&token).header(name, value).send().await;
        let bearer = format!("Bearer {access}");
        let theirs = rig.send("GET", &simulated, &[("authorization", &bearer), (name, value)], "").await;
        assert_eq!((ours.status, theirs.status), (status, status), "{name}: {value}: {}", ours.text());
        if status == 400 {
            is_error(&ours, 400, "VALIDATION", Some("PARAMETER"));
            assert_eq!(ours.json()["detail"][0]["field"], theirs.json()["detail"][0]["field"]);
        }
    }
    // A command has no units.
    let body = json!({ "action": "LOCK" });
    let command =
        gateway.post(&format!("/v2.0/vehicles/{car}/security"), &body).bearer(&token).header("sc-unit-system", "banana");
    assert_ne!(command.send().await.status, 400);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn everybody_sees_their_own() {
    let gateway = with_two_owners(508).await;
    let (ada_car, grace_car) = (gateway.vehicles_of(ADA).remove(0), gateway.vehicles_of(GRACE).remove(0));
    let token = gateway.create_token(&json!({ "name": "ada", "scope": "read", "user": "ada" })).await;
    is_error(
        &gateway.get(&format!("/v2.0/vehicles/{grace_car}/odometer")).bearer(&token).send().await,
        404,
        "RESOURCE_NOT_FOUND",
        Some("VEHICLE_NOT_FOUND"),
    );
    is_fault_v3(
        &gateway.get(&format!("/v3/vehicles/{grace_car}/signals")).bearer(&token).send().await,
        404,
        "RESOURCE_NOT_FOUND",
        Some("VEHICLE_NOT_FOUND"),
    );
    // Nobody in particular: all cars, but no user; v3 says whose by a header.
    let admin = |path: &str| -> Ask<'_> { gateway.get(path).bearer(&gateway.admin) };
    assert_eq!(admin("/v2.0/vehicles").send().await.json()["paging"]["count"], 3);
    let answer = admin("/v2.0/user").send().await;
    is_error(&answer, 400, "VALIDATION", None);
    assert!(answer.json()["description"].as_str().unwrap().contains("carport token create"));
    let user_of = |email: &str| gateway.simulator.accounts().into_iter().find(|account| account.email == email).unwrap().user_id;
    let count = async |ask: Ask<'_>| ask.send().await.json()["meta"]["totalCount"].as_u64().unwrap();
    assert_eq!(count(admin("/v3/connections")).await, 3);
    assert_eq!(count(admin("/v3/connections").header("sc-user-id", &user_of(GRACE))).await, 1);
    assert_eq!(count(admin(&format!("/v3/connections?filter[vehicleId]={ada_car}"))).await, 1);
    let page = admin("/v3/connections?page[size]=2&page[number]=2").send().await.json();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["links"]["next"]), (1, &Value::Null), "{page}");
    let signals = format!("/v3/vehicles/{ada_car}/signals");
    assert_eq!(admin(&signals).header("sc-user-id", &user_of(ADA)).send().await.status, 200);
    is_fault_v3(
        &admin(&signals).header("sc-user-id", &user_of(GRACE)).send().await,
        404,
        "RESOURCE_NOT_FOUND",
        Some("VEHICLE_NOT_FOUND"),
    );
    let listed = admin("/v2.0/management/connections?limit=2").send().await.json();
    let cursor = listed["paging"]["cursor"].as_str().unwrap();
    let rest = admin(&format!("/v2.0/management/connections?cursor={cursor}")).send().await.json();
    assert_eq!((rest["connections"].as_array().unwrap().len(), &rest["paging"]["cursor"]), (1, &Value::Null));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_of_carport_is_handed_back_however_it_comes() {
    let (gateway, _, token) = with_owner(509, V2, &[]).await;
    let form = |fields: &[(&str, &str)]| gateway.ask("POST", "/oauth/token").form(fields);
    let basic =
        |user: &str, password: &str| format!("Basic {}", data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes()));
    let code = ("grant_type", "authorization_code");
    for ask in [
        form(&[code, ("code", &token)]).header("authorization", &basic("id", "any")),
        form(&[("grant_type", "refresh_token"), ("refresh_token", &token)]),
        form(&[("grant_type", "refresh_token"), ("refresh_token", "x"), ("client_id", "id"), ("client_secret", &token)]),
    ] {
        let answer = ask.send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 7200, "refresh_token": token });
        assert_eq!(answer.json(), body);
    }
    let application = json!({ "grant_type": "client_credentials", "client_id": "client_x", "client_secret": token });
    let answer = gateway.post("/oauth2/token/", &application).send().await;
    assert_eq!(answer.json(), json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }));
    for (fields, status, error) in [
        (&[code, ("code", "x")][..], 400, "invalid_request"),
        // The secret is good, but the car behind the code would be lost.
        (&[code, ("code", "x"), ("client_id", "id"), ("client_secret", &token)], 400, "invalid_request"),
        (&[code, ("client_id", "id"), ("client_secret", &token)], 400, "invalid_request"),
        (&[("grant_type", "refresh_token"), ("refresh_token", "carport_x")], 400, "invalid_grant"),
        (&[("grant_type", "password")], 400, "unsupported_grant_type"),
        (&[], 400, "invalid_request"),
    ] {
        let answer = form(fields).send().await;
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)), "{}", answer.text());
        assert!(answer.json()["error_description"].is_string() && answer.header("sc-request-id").is_some());
    }
    let stranger =
        gateway.ask("POST", "/oauth2/token").form(&[("grant_type", "client_credentials"), ("client_secret", "x")]).send().await;
    assert_eq!((stranger.status, &stranger.json()["error"]), (401, &json!("invalid_client")));
    // As the management token is sent. On other routes it is nothing.
    let managed = gateway.get("/v2.0/management/connections").header("authorization", &basic("default", &token)).send().await;
    assert_eq!(managed.json()["connections"].as_array().unwrap().len(), 2);
    assert_eq!(gateway.get("/api/v1/vehicles").header("authorization", &basic("default", &token)).send().await.status, 401);
    is_error(&gateway.get("/v2.0/user").bearer("nobody").send().await, 401, "AUTHENTICATION", None);
    is_error(&gateway.get("/v2.0/nowhere").bearer(&token).send().await, 404, "RESOURCE_NOT_FOUND", Some("PATH"));
    is_fault_v3(&gateway.get("/v3/user").bearer(&token).send().await, 404, "RESOURCE_NOT_FOUND", Some("INVALID_PATH"));
    gateway.finish().await;
}
