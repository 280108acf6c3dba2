//! Charging sessions and distances, from signals alone.

use serde_json::{Value, json};

use super::{DAY, HOUR, MINUTE, all, time, told, with_ada};
use crate::gateway::{TestGateway, events, is_problem};

/// Some days ago: 2025-09-28T05:06:40Z.
const T: i64 = super::T - 10 * DAY;

/// Lets the car tell things, minutes after T.
async fn tell(gateway: &TestGateway, vehicle: &str, things: &[(i64, &str, Value)]) {
    for (place, (minute, code, value)) in things.iter().enumerate() {
        let signal = told(code, &json!({ "value": value }), T + minute * MINUTE);
        gateway.deliver(&events::state(&format!("{code}-{minute}-{place}"), vehicle, &[signal])).await;
    }
    gateway.catch_up().await;
}

#[tokio::test(start_paused = true)]
async fn sessions_say_what_was_seen_of_them() {
    let (gateway, vehicle) = with_ada(320, &[]).await;
    let (charging, level, energy) = ("charge-ischarging", "tractionbattery-stateofcharge", "charge-energyadded");
    let things = [
        (0, charging, json!(false)),
        (0, level, json!(40)),
        (10, charging, json!(true)),
        (40, energy, json!(5.5)),
        (70, level, json!(60)),
        (70, energy, json!(11.0)),
        (70, charging, json!(false)),
        // One whose end nobody saw: the car has driven since.
        (600, charging, json!(true)),
        (600, "odometer-traveleddistance", json!(1000)),
        (660, level, json!(75)),
        (1200, "odometer-traveleddistance", json!(1080)),
        (1200, level, json!(58)),
        (1210, charging, json!(false)),
        // One that goes on.
        (1300, charging, json!(true)),
        (1320, level, json!(61)),
    ];
    tell(&gateway, &vehicle, &things).await;
    let path = format!("/api/v1/vehicles/{vehicle}/charges");
    let sessions = all(&gateway, &format!("{path}?limit=2")).await;
    let at = |minute: i64| time(T + minute * MINUTE);
    assert_eq!(
        sessions,
        [
            json!({
                "started_at": at(10), "start_seen": true, "ended_at": at(70), "state": "ended", "ended_before": null,
                "last_seen_at": at(70), "duration_s": 3600, "start_level": 40.0, "end_level": 60.0, "energy": 11.0, "energy_from": "told",
            }),
            json!({
                "started_at": at(600), "start_seen": true, "ended_at": null, "state": "end_not_seen", "ended_before": at(1200),
                "last_seen_at": at(660), "duration_s": 3600, "start_level": 60.0, "end_level": 75.0, "energy": null, "energy_from": null,
            }),
            json!({
                "started_at": at(1300), "start_seen": true, "ended_at": null, "state": "charging", "ended_before": null,
                "last_seen_at": at(1320), "duration_s": 1200, "start_level": 58.0, "end_level": 61.0, "energy": null, "energy_from": null,
            }),
        ]
    );
    // As a table, whole or a part, with the same fields.
    let table = gateway.get(&format!("{path}?format=csv")).bearer(&gateway.admin).send().await;
    assert_eq!((table.status, table.header("content-type")), (200, Some("text/csv; charset=utf-8")), "{}", table.text());
    let (head, lines) = table.text().split_once("\r\n").map(|(head, lines)| (head.to_owned(), lines.to_owned())).unwrap();
    let mut fields: Vec<&str> = head.split(',').collect();
    assert_eq!(lines.lines().next(), Some(&*format!("{0},true,{1},ended,,{1},3600,40.0,60.0,11.0,told", at(10), at(70))));
    fields.sort_unstable();
    assert_eq!((lines.lines().count(), fields), (3, sessions[0].as_object().unwrap().keys().map(String::as_str).collect()));
    let part = gateway.get(&format!("{path}?format=csv&limit=2")).bearer(&gateway.admin).send().await;
    assert_eq!((part.text().lines().count(), part.header("x-next-cursor").is_some()), (3, true), "{}", part.text());
    // By range: those that began in it.
    let within = gateway.told(&format!("{path}?since={}&until={}", at(100), at(1250))).await;
    assert_eq!(within["items"].as_array().unwrap().len(), 1);
    assert_eq!(within["items"][0]["started_at"], at(600));
    is_problem(&gateway.get(&format!("{path}?cursor=x")).bearer(&gateway.admin).send().await, 400, "bad_request");
    gateway.finish().await;
}

/// A car that has no word for whether it charges but the one with three values.
#[tokio::test(start_paused = true)]
async fn the_detailed_status_does_too() {
    let (gateway, vehicle) = with_ada(321, &[]).await;
    let row = all(&gateway, "/api/v1/vehicles?limit=50").await;
    assert_eq!(row.len(), 2);
    let status = "charge-detailedchargingstatus";
    let things = [(0, status, json!("NOT_CHARGING")), (10, status, json!("CHARGING")), (50, status, json!("FULLY_CHARGED"))];
    tell(&gateway, &vehicle, &things).await;
    let told = gateway.told(&format!("/api/v1/vehicles/{vehicle}/charges")).await;
    let session = &told["items"][0];
    assert_eq!((&session["state"], &session["duration_s"], &session["energy"]), (&json!("ended"), &json!(2400), &json!(null)));
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn each_day_has_its_distance() {
    let (gateway, vehicle) = with_ada(322, &[]).await;
    let odometer = |minutes: i64, value: f64| (minutes, "odometer-traveleddistance", json!(value));
    let hour = HOUR / MINUTE;
    let day = DAY / MINUTE;
    let things = [
        odometer(0, 1000.0),
        odometer(hour, 1020.5),
        odometer(12 * hour, 1050.0),
        odometer(day, 1051.0),
        odometer(day + hour, 1080.0),
        odometer(4 * day, 1200.0),
    ];
    tell(&gateway, &vehicle, &things).await;
    let path = format!("/api/v1/vehicles/{vehicle}/trips");
    let days = all(&gateway, &format!("{path}?limit=1")).await;
    let said =
        |day: &Value| (day["date"].clone(), day["distance"].clone(), day["unsure_distance"].clone(), day["unsure_since"].clone());
    let expected = [
        (json!("2025-09-28"), json!(50.0), json!(0.0), json!(null)),
        (json!("2025-09-29"), json!(30.0), json!(1.0), json!(time(T + 12 * HOUR))),
        (json!("2025-10-02"), json!(120.0), json!(120.0), json!(time(T + DAY + HOUR))),
    ];
    assert_eq!(days.iter().map(said).collect::<Vec<_>>(), expected);
    assert_eq!(
        (&days[0]["start_odometer"], &days[0]["end_odometer"], &days[0]["unit"]),
        (&json!(1000.0), &json!(1050.0), &json!("km"))
    );
    let table = gateway.get(&format!("{path}?format=csv")).bearer(&gateway.admin).send().await.text();
    let mut fields: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    fields.sort_unstable();
    assert_eq!((table.lines().count(), fields), (1 + 3, days[0].as_object().unwrap().keys().map(String::as_str).collect()));
    // From some hour of a day on, that day is whole all the same.
    let later = all(&gateway, &format!("{path}?limit=5&since={}", time(T + DAY + 2 * HOUR))).await;
    assert_eq!(later, days[1..]);
    // Where days begin later, the last drive of the first day is of the one before still.
    let told = gateway.told(&format!("{path}?offset=-06:00&units=imperial")).await;
    assert_eq!((&told["items"][0]["date"], &told["items"][0]["unit"]), (&json!("2025-09-28"), &json!("mi")));
    assert_eq!(told["items"][0]["unsure_since"], time(T));
    is_problem(&gateway.get(&format!("{path}?offset=CET")).bearer(&gateway.admin).send().await, 400, "bad_request");
    gateway.finish().await;
}

/// What was made of old readings for the one who looked is not shown to the next one once they have changed.
#[tokio::test(start_paused = true)]
async fn what_comes_late_is_seen_by_whoever_looks_again() {
    let (gateway, vehicle) = with_ada(323, &[]).await;
    let (hour, day) = (HOUR / MINUTE, DAY / MINUTE);
    let odometer = |minutes: i64, value: f64| (minutes, "odometer-traveleddistance", json!(value));
    let distances = async |path: &str| {
        let days = all(&gateway, &format!("/api/v1/vehicles/{vehicle}/{path}")).await;
        days.iter().map(|day| day["distance"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    tell(&gateway, &vehicle, &[odometer(4 * day, 1_200.0)]).await;
    // Each of these is older than what is known, and goes to its place in time.
    tell(&gateway, &vehicle, &[odometer(0, 1_000.0), odometer(hour, 1_020.0), odometer(3 * hour, 1_050.0)]).await;
    assert_eq!(distances("trips?limit=5").await, [50.0, 150.0]);
    tell(&gateway, &vehicle, &[odometer(5 * hour, 1_070.0)]).await;
    assert_eq!(distances("trips?limit=5").await, [70.0, 130.0]);
    // The same moment, told otherwise.
    tell(&gateway, &vehicle, &[odometer(6 * hour, 1_080.0), odometer(0, 990.0)]).await;
    assert_eq!(distances("trips?limit=5").await, [90.0, 120.0]);
    gateway.finish().await;
}
