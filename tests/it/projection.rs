//! From the log to vehicle data: each event counts once, in whatever order and through whatever crash.

use std::time::Duration;

use carport::model::event::{Grammar, NotUnderstood, Projection, project};
use carport::model::reading::{Outcome, SignalReport};
use carport::model::{Json, Timestamp};
use carport::simulator::Settings;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::gateway::{DAY, HOUR, TestGateway, events, is_problem, pass};
use crate::simulator::rig::ADA;

/// Before the epoch of the stories' clock.
const T: i64 = 1_759_900_000_000;
const ODOMETER: &str = "odometer-traveleddistance";

/// A gateway with Ada's two cars, and the first of them.
async fn with_ada(seed: u64) -> (TestGateway, String) {
    let gateway = TestGateway::new(seed).await;
    gateway.connect("ada", ADA).await;
    let vehicle = gateway.vehicles_of(ADA).remove(0);
    (gateway, vehicle)
}

async fn latest(gateway: &TestGateway, vehicle: &str, code: &str) -> Value {
    gateway.told(&format!("/api/v1/vehicles/{vehicle}/signals/{code}")).await
}

/// Value and time of every change of a signal.
async fn history(gateway: &TestGateway, vehicle: &str, code: &str) -> Vec<(i64, i64)> {
    let told = gateway.told(&format!("/api/v1/vehicles/{vehicle}/history?signal={code}&limit=500")).await;
    rows(&told)
}

/// The same of all pages.
async fn whole_history(gateway: &TestGateway, vehicle: &str, code: &str) -> Vec<(i64, i64)> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/vehicles/{vehicle}/history?signal={code}&limit=500{cursor}");
        let told = gateway.told(&path).await;
        all.extend(rows(&told));
        let Some(next) = told["next"].as_str() else { return all };
        cursor = format!("&cursor={next}");
    }
}

fn rows(told: &Value) -> Vec<(i64, i64)> {
    let row = |item: &Value| {
        let at = Timestamp::parse(item["at"].as_str().unwrap()).unwrap().as_millis();
        (item["body"]["value"].as_i64().unwrap(), at)
    };
    told["items"].as_array().unwrap().iter().map(row).collect()
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let with = |order: &Vec<usize>| {
        (0..=order.len()).map(|place| [&order[..place], &[count - 1], &order[place..]].concat()).collect::<Vec<_>>()
    };
    shorter.iter().flat_map(with).collect()
}

#[tokio::test(start_paused = true)]
async fn the_newest_wins_whatever_the_order() {
    let (gateway, vehicle) = with_ada(40).await;
    // Some on other days than others.
    let readings = [(10, T), (10, T + 60_000), (20, T + 90_000_000), (30, T + 90_060_000)];
    for (place, order) in orders(4).into_iter().enumerate() {
        let code = format!("test-signal{place}");
        for index in &order {
            let (value, at) = readings[*index];
            let event = events::state(&format!("{place}-{index}"), &vehicle, &[events::signal(&code, value, at)]);
            gateway.deliver(&event).await;
            gateway.catch_up().await;
        }
        let latest = latest(&gateway, &vehicle, &code).await;
        assert_eq!(latest["body"], json!({ "value": 30, "unit": "km" }), "{order:?}");
        assert_eq!(latest["oem_updated_at"], "2025-10-09T06:07:40.000Z");
        assert_eq!((&latest["source"], &latest["status"]), (&json!("webhook"), &json!("SUCCESS")));
        assert_eq!(history(&gateway, &vehicle, &code).await, [readings[0], readings[2], readings[3]], "{order:?}");
    }
    gateway.finish().await;
}

/// More than a block holds, on several days, in order and in any other.
#[tokio::test(start_paused = true)]
async fn a_long_day_is_kept_whole_in_any_order() {
    let (gateway, vehicle) = with_ada(52).await;
    let at = |number: i64| T - 240_000_000 + number * 600_000;
    for number in 0..400_i64 {
        // 400 and 171 have no common divisor: every number comes once.
        let mixed = number * 171 % 400;
        let signals = [events::signal("a-inorder", number, at(number)), events::signal("a-mixed", mixed, at(mixed))];
        gateway.deliver(&events::state(&format!("e-{number}"), &vehicle, &signals)).await;
    }
    gateway.catch_up().await;
    let all: Vec<(i64, i64)> = (0..400).map(|number| (number, at(number))).collect();
    for code in ["a-inorder", "a-mixed"] {
        assert_eq!(history(&gateway, &vehicle, code).await, all, "{code}");
    }
    let path = format!("/api/v1/vehicles/{vehicle}/history?signal=a-mixed&limit=500");
    let time = |at| Timestamp::from_millis(at).to_string();
    for (since, until) in [(0, 400), (1, 399), (63, 65), (100, 300), (390, 400)] {
        let range = format!("&since={}&until={}", time(at(since)), time(at(until)));
        let told = gateway.told(&format!("{path}{range}")).await;
        let values: Vec<i64> =
            told["items"].as_array().unwrap().iter().map(|item| item["body"]["value"].as_i64().unwrap()).collect();
        assert_eq!(values, (since..until).collect::<Vec<_>>(), "{range}");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_reading_between_two_equal_ones_shows_both_changes() {
    let (gateway, vehicle) = with_ada(41).await;
    for (event, value, at) in [("a", 10, T), ("b", 10, T + 2000), ("c", 20, T + 1000)] {
        gateway.deliver(&events::state(event, &vehicle, &[events::signal(ODOMETER, value, at)])).await;
        gateway.catch_up().await;
    }
    assert_eq!(latest(&gateway, &vehicle, ODOMETER).await["body"]["value"], 10);
    assert_eq!(history(&gateway, &vehicle, ODOMETER).await, [(10, T), (20, T + 1000), (10, T + 2000)]);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_signal_overwrites_nothing() {
    let (gateway, vehicle) = with_ada(42).await;
    let path = format!("/api/v1/vehicles/{vehicle}/signals/{ODOMETER}");
    gateway.deliver(&events::state("a", &vehicle, &[events::failed(ODOMETER)])).await;
    gateway.catch_up().await;
    let signal = gateway.told(&path).await;
    assert_eq!((&signal["body"], &signal["status"]), (&json!(null), &json!("ERROR")));
    assert_eq!(signal["error"]["code"], "VEHICLE_NOT_CAPABLE");

    pass(HOUR).await;
    gateway.deliver(&events::state("b", &vehicle, &[events::signal(ODOMETER, 10, T)])).await;
    gateway.catch_up().await;
    let good = gateway.told(&path).await;
    assert_eq!((&good["body"]["value"], &good["status"], &good["error"]), (&json!(10), &json!("SUCCESS"), &json!(null)));

    pass(HOUR).await;
    gateway.deliver(&events::state("c", &vehicle, &[events::failed(ODOMETER)])).await;
    gateway.catch_up().await;
    let signal = gateway.told(&path).await;
    for name in ["body", "oem_updated_at", "retrieved_at", "source"] {
        assert_eq!(signal[name], good[name], "{name}");
    }
    assert_eq!((&signal["status"], &signal["error"]["type"]), (&json!("ERROR"), &json!("COMPATIBILITY")));
    assert_eq!(history(&gateway, &vehicle, ODOMETER).await, [(10, T)]);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn history_is_paged_without_loss_or_repetition() {
    let (gateway, vehicle) = with_ada(43).await;
    // Three signals over four days, every value twice.
    for number in 0..60_i64 {
        let at = T + number * 6_000_000;
        let signals: Vec<Value> = ["a-a", "b-b", "c-c"].iter().map(|code| events::signal(code, number / 2, at)).collect();
        gateway.deliver(&events::state(&format!("e-{number}"), &vehicle, &signals)).await;
        pass(HOUR * 2).await;
    }
    gateway.catch_up().await;
    let path = format!("/api/v1/vehicles/{vehicle}/history");
    let whole = gateway.told(&format!("{path}?limit=500")).await;
    assert_eq!((whole["items"].as_array().unwrap().len(), &whole["next"]), (90, &json!(null)));
    let codes: Vec<&str> = whole["items"].as_array().unwrap().iter().map(|item| item["signal"].as_str().unwrap()).collect();
    assert!(codes.is_sorted(), "by signal");
    for limit in [1, 7, 30, 89, 90] {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = gateway.told(&format!("{path}?limit={limit}{cursor}")).await;
            let part = page["items"].as_array().unwrap();
            assert!(part.len() <= limit);
            items.extend(part.clone());
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(json!(items), whole["items"], "pages of {limit}");
    }
    let some = gateway.told(&format!("{path}?signal=b-b&since=2025-10-10T00:00:00Z&until=2025-10-11T00:00:00Z")).await;
    let inside = whole["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["signal"] == "b-b" && item["at"].as_str().unwrap().starts_with("2025-10-10"));
    assert_eq!(some["items"], json!(inside.collect::<Vec<_>>()));
    assert!(!some["items"].as_array().unwrap().is_empty());
    // A period is written as on the command line.
    let named = gateway.told(&format!("{path}?signal=b-b&since=2025-10-10&until=2025-10-11")).await;
    assert_eq!(named["items"], some["items"], "by days");
    let now = gateway.now();
    let days = now.since(Timestamp::parse("2025-10-10T00:00:00Z").unwrap()).as_secs() / 86_400;
    let at = |days: u64| now.before(Duration::from_secs(days * 86_400));
    let period = format!("since={}&until={}", at(days + 1), at(days));
    let some = gateway.told(&format!("{path}?signal=b-b&{period}")).await;
    assert!(!some["items"].as_array().unwrap().is_empty(), "{period}");
    for (unit, of_day) in [("d", 1), ("h", 24), ("m", 24 * 60), ("s", 86_400)] {
        let ago = format!("since={}{unit}&until={}{unit}", (days + 1) * of_day, days * of_day);
        assert_eq!(gateway.told(&format!("{path}?signal=b-b&{ago}")).await["items"], some["items"], "{ago}");
    }
    for list in ["history", "charges", "trips"] {
        let answer = async |query: &str| {
            let path = format!("/api/v1/vehicles/{vehicle}/{list}?{query}");
            gateway.get(&path).bearer(&gateway.admin).send().await
        };
        assert_eq!(answer("since=30d&until=2025-12-01").await.status, 200, "{list}");
        for (name, text) in [("since", "30"), ("since", "-1d"), ("until", "2025-10"), ("until", "2025-10-10T12:00:00")] {
            let refused = answer(&format!("{name}={text}")).await;
            is_problem(&refused, 400, "bad_request");
            let told = format!("`{name}` must be a day (UTC) such as 2026-01-31, a time of RFC 3339 such as");
            assert!(refused.text().contains(&told) && refused.text().contains("30d or 12h"), "{}", refused.text());
        }
    }

    let table = gateway.get(&format!("{path}?format=csv&limit=2")).bearer(&gateway.admin).send().await;
    assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(table.header("content-disposition").unwrap().starts_with("attachment"));
    assert!(table.header("x-next-cursor").is_some());
    assert_eq!(
        table.text(),
        "signal,at,value,unit,oem_updated_at,retrieved_at,source,body\r\n\
         a-a,2025-10-08T05:06:40.000Z,0,km,2025-10-08T05:06:40.000Z,2025-10-08T05:06:41.000Z,webhook,\"{\"\"unit\"\":\"\"km\"\",\"\"value\"\":0}\"\r\n\
         a-a,2025-10-08T08:26:40.000Z,1,km,2025-10-08T08:26:40.000Z,2025-10-08T08:26:41.000Z,webhook,\"{\"\"unit\"\":\"\"km\"\",\"\"value\"\":1}\"\r\n"
    );
    for wrong in ["format=xml", "cursor=x", "cursor=1", "since=yesterday", "limit=0", "limit=501", "sinse=2025-10-10T00:00:00Z"] {
        let answer = gateway.get(&format!("{path}?{wrong}")).bearer(&gateway.admin).send().await;
        is_problem(&answer, 400, "bad_request");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn errors_begin_and_are_resolved() {
    let (gateway, vehicle) = with_ada(44).await;
    let other = gateway.vehicles_of(ADA).remove(1);
    let account = "CONNECTED_SERVICES_ACCOUNT";
    let table: &[(&str, Option<&str>, &str, &[&str])] = &[
        (account, Some("ACCOUNT_ISSUE"), "ERROR", &["ACCOUNT_ISSUE"]),
        ("PERMISSION", None, "ERROR", &["ACCOUNT_ISSUE", "PERMISSION"]),
        // The same again is the same.
        (account, Some("ACCOUNT_ISSUE"), "ERROR", &["ACCOUNT_ISSUE", "PERMISSION"]),
        // Another code, or none, is another error.
        (account, Some("SUBSCRIPTION"), "RESOLVED", &["ACCOUNT_ISSUE", "PERMISSION"]),
        (account, None, "RESOLVED", &["ACCOUNT_ISSUE", "PERMISSION"]),
        (account, Some("ACCOUNT_ISSUE"), "RESOLVED", &["PERMISSION"]),
        ("PERMISSION", None, "RESOLVED", &[]),
        ("PERMISSION", None, "RESOLVED", &[]),
        (account, Some("ACCOUNT_ISSUE"), "ERROR", &["ACCOUNT_ISSUE"]),
    ];
    for (place, (kind, code, state, expected)) in table.iter().enumerate() {
        pass(HOUR).await;
        gateway.deliver(&events::trouble(&format!("e-{place}"), &vehicle, kind, *code, state)).await;
        gateway.catch_up().await;
        let view = gateway.told(&format!("/api/v1/vehicles/{vehicle}")).await;
        let errors = view["errors"].as_array().unwrap();
        let names: Vec<&str> = errors.iter().map(|error| error["code"].as_str().or(error["type"].as_str()).unwrap()).collect();
        assert_eq!(names, *expected, "after step {place}");
        assert_eq!(view["lights"]["authority"]["color"], if expected.is_empty() { "green" } else { "red" });
        if place == 2 {
            assert_eq!(errors[0]["since"], "2025-10-09T09:53:20.000Z", "since it was first told");
        }
    }
    assert_eq!(gateway.told(&format!("/api/v1/vehicles/{other}")).await["errors"], json!([]));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_car_was_linked_counts_once_it_is() {
    let mut gateway = TestGateway::new(45).await;
    gateway.start_projecting();
    let cars = gateway.vehicles_of(ADA);
    for (place, car) in cars.iter().enumerate() {
        // More than are read in one go; every tenth has something to say.
        for number in 0..300 {
            let signals = [events::signal(ODOMETER, number, T + number * 1000)];
            let signals = if number % 10 == 0 { &signals[..] } else { &[] };
            gateway.deliver(&events::state(&format!("{place}-{number}"), car, signals)).await;
        }
        gateway.deliver(&events::trouble(&format!("{place}-x"), car, "PERMISSION", None, "ERROR")).await;
    }
    // The first car of this one stays unknown.
    let told = ["nobody's", &cars[0], &cars[1]].map(|car| {
        let battery = json!({ "path": "/battery", "code": 200, "body": { "percentRemaining": 0.58 }, "headers": {} });
        json!({ "vehicleId": car, "data": [battery] })
    });
    let legacy = json!({ "eventName": "schedule", "payload": { "vehicles": told } });
    gateway.deliver(&legacy).await;
    pass(HOUR).await;
    let entry = gateway.told("/api/v1/webhooks/1").await;
    assert_eq!(entry["result"], "unknown_vehicle");
    gateway.connect("ada", ADA).await;
    pass(HOUR).await;
    for car in &cars {
        let expected: Vec<(i64, i64)> = (0..30).map(|number| (number * 10, T + number * 10_000)).collect();
        assert_eq!(history(&gateway, car, ODOMETER).await, expected);
        let view = gateway.told(&format!("/api/v1/vehicles/{car}")).await;
        assert_eq!(view["errors"][0]["type"], "PERMISSION");
        assert_eq!(
            view["signals"]["tractionbattery-stateofcharge"]["body"]["value"], 58,
            "told in the same event as the other car"
        );
        assert_eq!(view["last_event_at"], "2025-10-09T08:53:20.000Z");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn one_legacy_event_tells_of_two_cars() {
    let (gateway, _) = with_ada(46).await;
    let cars = gateway.vehicles_of(ADA);
    let reading = |car: &String, distance: i64| {
        json!({ "vehicleId": car, "data": [
            { "path": "/odometer", "code": 200, "body": { "distance": distance }, "headers": { "sc-unit-system": "metric" } },
            { "path": "/fuel", "code": 501, "body": { "type": "COMPATIBILITY" }, "headers": {} },
        ] })
    };
    let cars_and_a_stranger = [reading(&cars[0], 111), reading(&"nobody's".to_owned(), 222), reading(&cars[1], 333)];
    gateway.deliver(&json!({ "eventName": "scheduled", "payload": { "vehicles": cars_and_a_stranger } })).await;
    gateway.catch_up().await;
    for (car, distance) in cars.iter().zip([111, 333]) {
        assert_eq!(latest(&gateway, car, ODOMETER).await["body"], json!({ "unit": "km", "value": distance }));
        assert_eq!(latest(&gateway, car, "internalcombustionengine-fuellevel").await["status"], "ERROR");
    }
    gateway.finish().await;
}

/// What a later version makes of a trip; this one knows no such event.
fn project_trips(body: &[u8]) -> Result<Projection, NotUnderstood> {
    let mut projection = project(body)?;
    let event: Value = serde_json::from_slice(body).unwrap();
    if event["eventType"] == "TRIP_ENDED"
        && let Some(vehicle) = projection.vehicles.first_mut()
    {
        vehicle.reports.push(SignalReport {
            code: "trip-distance".to_owned(),
            group: None,
            name: None,
            outcome: Outcome::Value(Json::of(&event["data"]["trip"]["distance"])),
            oem_updated_at: None,
            retrieved_at: None,
        });
    }
    Ok(projection)
}

#[tokio::test(start_paused = true)]
async fn what_was_not_understood_is_understood_after_an_upgrade() {
    let (mut gateway, vehicle) = with_ada(59).await;
    let path = format!("/api/v1/vehicles/{vehicle}/signals/trip-distance");
    let trip = |event: &str, km: i64| json!({ "eventId": event, "eventType": "TRIP_ENDED", "data": { "vehicle": { "id": vehicle }, "trip": { "distance": km } } });
    let seq = gateway.deliver(&trip("trip-1", 12)).await;
    gateway.catch_up().await;
    assert_eq!(gateway.told(&format!("/api/v1/webhooks/{seq}")).await["result"], "unknown_type");
    assert_eq!(gateway.get(&path).bearer(&gateway.admin).send().await.status, 404);

    let version = Grammar::CURRENT.version + 1;
    for upgrade in [true, false] {
        gateway.grammar = if upgrade { Grammar { version, project: project_trips } } else { Grammar::CURRENT };
        gateway.reopen().await;
        gateway.catch_up().await;
        gateway.catch_up().await;
        assert_eq!(latest(&gateway, &vehicle, "trip-distance").await["body"], 12);
        assert_eq!(gateway.logged().matches("the log has been read again").count(), 1);
    }
    // An older version that comes back reads by what it knows.
    gateway.deliver(&trip("trip-2", 15)).await;
    gateway.catch_up().await;
    assert_eq!(latest(&gateway, &vehicle, "trip-distance").await["body"], 12);
    gateway.grammar = Grammar { version, project: project_trips };
    gateway.reopen().await;
    gateway.catch_up().await;
    assert_eq!(latest(&gateway, &vehicle, "trip-distance").await["body"], 15);
    gateway.finish().await;
}

/// However often the log is read: what a car told under another owner is not the new one's.
#[tokio::test(start_paused = true)]
async fn the_past_stays_with_whom_it_happened_to() {
    let (mut gateway, vehicle) = with_ada(60).await;
    let path = format!("/api/v1/vehicles/{vehicle}/signals/test-place");
    let seq = gateway.deliver(&events::state("home", &vehicle, &[events::signal("test-place", 1, T)])).await;
    let legacy = json!({
        "eventName": "schedule",
        "payload": { "vehicles": [
            { "vehicleId": "another", "data": [] },
            { "vehicleId": vehicle, "data": [{ "path": "/odometer", "code": 200, "body": { "distance": 4711.5 } }] },
        ] },
    });
    gateway.deliver(&legacy).await;
    gateway.catch_up().await;
    assert_eq!(latest(&gateway, &vehicle, "test-place").await["body"]["value"], 1);

    gateway.connect("grace", ADA).await;
    gateway.grammar = Grammar { version: Grammar::CURRENT.version + 1, ..Grammar::CURRENT };
    gateway.reopen().await;
    gateway.catch_up().await;
    assert_eq!(gateway.logged().matches("the log has been read again").count(), 1);
    let replay = format!("/api/v1/webhooks/{seq}/replay");
    assert_eq!(gateway.post(&replay, &json!({})).bearer(&gateway.admin).send().await.status, 200);
    let unheard = gateway.get(&path).bearer(&gateway.admin).send().await;
    assert_eq!(unheard.status, 404, "{}", unheard.text());
    let told = gateway.told(&format!("/api/v1/vehicles/{vehicle}/history?limit=500")).await;
    let values: Vec<&Value> = told["items"].as_array().unwrap().iter().map(|item| &item["body"]["value"]).collect();
    assert!(!values.contains(&&json!(4711.5)), "{values:?}");

    gateway.deliver(&events::state("away", &vehicle, &[events::signal("test-place", 2, T + 1)])).await;
    gateway.catch_up().await;
    assert_eq!(latest(&gateway, &vehicle, "test-place").await["body"]["value"], 2);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn reading_an_entry_again_changes_nothing() {
    let (gateway, vehicle) = with_ada(47).await;
    for number in 0..6 {
        let signals = [events::signal(ODOMETER, number / 2, T + number * 1000), events::failed("charge-voltage")];
        gateway.deliver(&events::state(&format!("e-{number}"), &vehicle, &signals)).await;
    }
    gateway.catch_up().await;
    let path = format!("/api/v1/vehicles/{vehicle}");
    let (before, changes) = (gateway.told(&path).await, history(&gateway, &vehicle, ODOMETER).await);
    assert_eq!(changes.len(), 3);
    for seq in [6, 1, 3, 2, 5, 4, 1] {
        let answer = gateway.post(&format!("/api/v1/webhooks/{seq}/replay"), &json!({})).bearer(&gateway.admin).send().await;
        assert_eq!((answer.status, &answer.json()["seq"]), (200, &json!(seq)));
        assert_eq!(gateway.told(&path).await, before);
        assert_eq!(history(&gateway, &vehicle, ODOMETER).await, changes);
    }
    let answer = gateway.post("/api/v1/webhooks/7/replay", &json!({})).bearer(&gateway.admin).send().await;
    is_problem(&answer, 404, "not_found");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn of_one_moment_holds_what_was_told_last() {
    let (gateway, vehicle) = with_ada(61).await;
    // The third is of an earlier moment, and told last of all.
    for (value, at, told_at) in [(1, T, T + 10), (2, T, T + 20), (0, T - 100, T + 30)] {
        let mut event = events::state(&format!("told-{value}"), &vehicle, &[events::signal(ODOMETER, value, at)]);
        event["meta"]["deliveredAt"] = json!(told_at);
        gateway.deliver(&event).await;
    }
    gateway.catch_up().await;
    for seq in [1, 3, 2, 1, 3] {
        let replay = format!("/api/v1/webhooks/{seq}/replay");
        assert_eq!(gateway.post(&replay, &json!({})).bearer(&gateway.admin).send().await.status, 200);
        assert_eq!(latest(&gateway, &vehicle, ODOMETER).await["body"]["value"], 2, "after {seq}");
        assert_eq!(history(&gateway, &vehicle, ODOMETER).await, [(0, T - 100), (2, T)], "after {seq}");
    }
    let mut correction = events::state("told-3", &vehicle, &[events::signal(ODOMETER, 3, T)]);
    correction["meta"]["deliveredAt"] = json!(T + 25);
    gateway.deliver(&correction).await;
    gateway.catch_up().await;
    assert_eq!(latest(&gateway, &vehicle, ODOMETER).await["body"]["value"], 3);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn each_event_counts_once_through_every_crash() {
    let (mut gateway, vehicle) = with_ada(48).await;
    let mut expected = Vec::new();
    for round in 0..10 {
        for number in 0..3 {
            let value = round * 3 + number;
            expected.push((value, T + value * 1000));
            let signals = [events::signal(ODOMETER, value, T + value * 1000)];
            gateway.deliver(&events::state(&format!("e-{value}"), &vehicle, &signals)).await;
        }
        match round % 4 {
            0 => gateway.crash().await,
            1 => gateway.reopen().await,
            2 => {
                gateway.catch_up().await;
                gateway.crash().await;
            }
            _ => {}
        }
        let status = gateway.told("/api/v1/status").await;
        assert_eq!(status["webhooks"]["newest"], 3 * (round + 1));
        gateway.catch_up().await;
        assert_eq!(history(&gateway, &vehicle, ODOMETER).await, expected);
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_car_whose_clock_is_ahead_does_not_freeze() {
    let (gateway, vehicle) = with_ada(49).await;
    let far = 2_200_000_000_000;
    gateway.deliver(&events::state("ahead", &vehicle, &[events::signal(ODOMETER, 10, far)])).await;
    gateway.catch_up().await;
    let signal = latest(&gateway, &vehicle, ODOMETER).await;
    assert_eq!((&signal["body"]["value"], &signal["oem_updated_at"]), (&json!(10), &json!("2039-09-18T23:06:40.000Z")));
    pass(DAY).await;
    let now = gateway.now().as_millis();
    gateway.deliver(&events::state("right", &vehicle, &[events::signal(ODOMETER, 20, now - 1000)])).await;
    gateway.catch_up().await;
    assert_eq!(latest(&gateway, &vehicle, ODOMETER).await["body"]["value"], 20);
    assert_eq!(history(&gateway, &vehicle, ODOMETER).await.iter().map(|(value, _)| *value).collect::<Vec<_>>(), [10, 20]);
    gateway.finish().await;
}

/// The follower as a loop, while deliveries come in: what is told is what was sent.
#[tokio::test(start_paused = true)]
async fn cars_that_live_are_followed() {
    let simulation = Settings {
        seed: 50,
        speed: 60.0,
        webhook: Some(carport::simulator::WebhookSettings::new("https://gateway.example/api/webhooks/smartcar")),
        ..Settings::default()
    };
    let mut gateway = TestGateway::with(50, &[], simulation).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let sender = tokio::spawn({
        let (simulator, stop) = (gateway.simulator.clone(), stop.clone());
        async move { simulator.run(stop).await }
    });
    pass(HOUR).await;
    stop.cancel();
    sender.await.unwrap();
    assert!(gateway.simulator.webhook_verified());
    let counters = gateway.simulator.counters();
    assert!(counters.acknowledged > 10 && counters.dropped == 0, "{} acknowledged", counters.acknowledged);
    for car in gateway.vehicles_of(ADA) {
        let view = gateway.told(&format!("/api/v1/vehicles/{car}")).await;
        assert_eq!(view["lights"]["data_flow"]["color"], "green");
        assert!(view["signals"].as_object().unwrap().len() > 5, "{view}");
    }
    gateway.finish().await;
}

/// Delivers 1,500 a second for so long; returns the most that was unread, and when more had been read than the first few.
async fn pour(gateway: &TestGateway, vehicle: &str, time: Duration, padding: usize) -> (u64, Option<Duration>) {
    let place = gateway.app().projector().place();
    let (start, began) = (*place.borrow(), Instant::now());
    let (mut most, mut first) = (0, None);
    for number in 0.. {
        if began.elapsed() >= time {
            break;
        }
        if number % 15 == 0 {
            pass(Duration::from_millis(10)).await;
        }
        let mut event = events::state(&format!("pour-{number}"), vehicle, &[events::signal(ODOMETER, number, T + number)]);
        event["padding"] = json!("x".repeat(padding));
        gateway.deliver(&event).await;
        most = most.max(gateway.app().store().backlog().unread);
        if first.is_none() && place.borrow().0 > start.0 + 100 {
            first = Some(began.elapsed());
        }
    }
    (most, first)
}

#[tokio::test(start_paused = true)]
async fn deliveries_go_first_but_not_for_long() {
    let (mut gateway, vehicle) = with_ada(57).await;
    gateway.start_projecting();
    pass(HOUR).await;
    let (most, first) = pour(&gateway, &vehicle, Duration::from_secs(5), 0).await;
    let first = first.expect("nothing was read while deliveries poured in");
    assert!(first >= Duration::from_secs(2) && first < Duration::from_millis(2_200), "{first:?}");
    // No more than comes in two seconds and a moment.
    assert!(most > 2_500 && most < 3_400, "{most}");
    // As soon as no more come, the rest is read.
    pass(Duration::from_millis(100)).await;
    assert_eq!(gateway.app().store().backlog().unread, 0);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_small_ring_never_fills_with_what_is_unread() {
    // By count, and by bytes: 200 bodies of 16 KiB, about.
    for (setting, padding) in [(("webhooks.keep_events", "200"), 0), (("webhooks.keep_bytes", "3276800"), 16_000)] {
        let mut gateway = TestGateway::with(58, &[setting], Settings::default()).await;
        gateway.connect("ada", ADA).await;
        let vehicle = gateway.vehicles_of(ADA).remove(0);
        gateway.start_projecting();
        pass(HOUR).await;
        let (most, first) = pour(&gateway, &vehicle, Duration::from_millis(500), padding).await;
        assert!((90..=150).contains(&most), "{setting:?}: {most}");
        assert!(first.is_some_and(|first| first < Duration::from_millis(300)), "{setting:?}: {first:?}");
        gateway.finish().await;
    }
}

/// Deliveries overtake each other where one slice ends and the next begins, and the power goes there.
#[tokio::test(start_paused = true)]
async fn what_overtook_others_counts_once_through_a_crash() {
    let (mut gateway, vehicle) = with_ada(55).await;
    // Else all of the log is read for a car that is new.
    gateway.catch_up().await;
    let at = |number: i64| T + number * 1000;
    for place in 0..1200_i64 {
        // Within each forty in another order: 17 and 40 have no common divisor.
        let number = place / 40 * 40 + place * 17 % 40;
        // Every two tell of one moment of the other signal: of that holds what was told last.
        let signals = [events::signal(ODOMETER, number, at(number)), events::signal("a-pair", number, at(number / 2 * 2))];
        let mut event = events::state(&format!("e-{number}"), &vehicle, &signals);
        event["meta"]["deliveredAt"] = json!(at(number) + 2000);
        gateway.deliver(&event).await;
    }
    let newest = *gateway.app().store().grew().borrow();
    let mut cursors = Vec::new();
    while cursors.last() != Some(&newest) {
        let mut place = gateway.app().projector().place();
        tokio::select! {
            some = place.wait_for(|place| place.0 > 0) => cursors.push(*some.unwrap()),
            () = gateway.catch_up() => break,
        }
        // Else all of it would be made again.
        gateway.app().store().checkpoint().await.unwrap();
        gateway.crash().await;
    }
    assert!(cursors.len() > 3 && cursors.is_sorted(), "{cursors:?}");
    gateway.catch_up().await;
    let all: Vec<(i64, i64)> = (0..1200).map(|number| (number, at(number))).collect();
    assert_eq!(whole_history(&gateway, &vehicle, ODOMETER).await, all);
    let last: Vec<(i64, i64)> = (0..600).map(|pair| (2 * pair + 1, at(2 * pair))).collect();
    assert_eq!(whole_history(&gateway, &vehicle, "a-pair").await, last);
    gateway.finish().await;
}
