//! How long the past is kept, and what is left of it then.

use std::time::Duration;

use carport::model::Timestamp;
use carport::store::retention::Keep;
use serde_json::{Value, json};

use super::{DAY, HOUR, T, all, time, told, with_ada};
use crate::gateway::{TestGateway, events};

const LEVEL: &str = "tractionbattery-stateofcharge";
const PLACE: &str = "location-preciselocation";
const DAYS: i64 = 40;

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

/// Nothing is too much.
fn keep(points: u64) -> Keep {
    Keep { points: days(points), bytes: u64::MAX, hours: days(3650), days: days(3650) }
}

/// A level every two hours and a place every day, for forty days up to now.
async fn fill(gateway: &TestGateway, vehicle: &str) -> i64 {
    let begin = gateway.now().as_millis() - DAYS * DAY;
    for day in 0..DAYS {
        let level = |step: i64| {
            told(LEVEL, &json!({"value": 50 + (day + step) % 40, "unit": "percent"}), begin + day * DAY + step * 2 * HOUR)
        };
        let place = told(
            PLACE,
            &json!({"latitude": 52.0 + f64::from(i32::try_from(day).unwrap()) / 100.0, "longitude": 4.9}),
            begin + day * DAY,
        );
        let signals: Vec<Value> = (0..12).map(level).chain([place]).collect();
        // One event a reading, as webhooks bring them.
        for (step, signal) in signals.into_iter().enumerate() {
            gateway.deliver(&events::state(&format!("{day}-{step}"), vehicle, &[signal])).await;
            // Often enough that most of it comes into blocks.
            if step % 3 == 0 {
                gateway.catch_up().await;
            }
        }
        gateway.catch_up().await;
    }
    begin
}

async fn history(gateway: &TestGateway, vehicle: &str, code: &str) -> Vec<Value> {
    all(gateway, &format!("/api/v1/vehicles/{vehicle}/history?signal={code}&limit=500")).await
}

async fn every(gateway: &TestGateway, vehicle: &str, span: &str) -> Vec<Value> {
    all(gateway, &format!("/api/v1/vehicles/{vehicle}/history?signal={LEVEL}&every={span}&limit=7")).await
}

async fn trim(gateway: &TestGateway, keep: Keep) -> u64 {
    gateway.app().store().trim(&keep, gateway.now()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn old_changes_go_and_their_numbers_stay() {
    let (mut gateway, vehicle) = with_ada(310, &[]).await;
    let begin = fill(&gateway, &vehicle).await;
    let (by_day, by_hour) = (every(&gateway, &vehicle, "day").await, every(&gateway, &vehicle, "hour").await);
    assert_eq!(by_hour.len(), 480, "a reading each");
    let zones = ["day&offset=%2B02:00", "day&offset=-05:00", "hour&offset=-05:00"];
    let mut by_zone = Vec::new();
    for zone in zones {
        by_zone.push(every(&gateway, &vehicle, zone).await);
    }
    for (days, begins) in [(&by_zone[0], "T22:00:00.000Z"), (&by_zone[1], "T05:00:00.000Z")] {
        assert!(days.iter().all(|day| day["at"].as_str().unwrap().ends_with(begins)), "{days:?}");
        assert_eq!(days.iter().map(|day| day["count"].as_u64().unwrap()).sum::<u64>(), 480);
    }
    assert_eq!(by_zone[2], by_hour, "whole hours are those of UTC");
    assert_eq!(by_day.iter().map(|day| day["count"].as_u64().unwrap()).sum::<u64>(), 480);
    let readings = history(&gateway, &vehicle, LEVEL).await;
    for day in &by_day {
        let date = &day["at"].as_str().unwrap()[..10];
        let told: Vec<f64> = readings
            .iter()
            .filter(|reading| reading["at"].as_str().unwrap().starts_with(date))
            .map(|reading| reading["value"].as_f64().unwrap())
            .collect();
        let count = f64::from(u32::try_from(told.len()).unwrap());
        let mean = (told.iter().sum::<f64>() / count * 1000.0).round() / 1000.0;
        let (min, max) = (told.iter().copied().fold(f64::MAX, f64::min), told.iter().copied().fold(f64::MIN, f64::max));
        let told = json!([min, max, mean, told[0], told[told.len() - 1]]);
        assert_eq!(json!(["min", "max", "mean", "first", "last"].map(|name| &day[name])), told, "{date}");
        assert_eq!(day["unit"], "%");
    }
    assert_eq!(trim(&gateway, keep(60)).await, 0, "nothing is so old");
    let latest = gateway.told(&format!("/api/v1/vehicles/{vehicle}/signals")).await;

    assert!(trim(&gateway, keep(10)).await > 20);
    let end = Timestamp::from_millis((gateway.now().as_millis() - 10 * DAY).div_euclid(DAY) * DAY).to_string();
    let kept = history(&gateway, &vehicle, LEVEL).await;
    assert!(kept.iter().all(|reading| reading["at"].as_str().unwrap() >= end.as_str()));
    assert_eq!(kept, readings[readings.len() - kept.len()..], "what is younger is all there");
    assert!(kept.len() >= 120 && kept.len() < 140, "{}", kept.len());
    // Places leave nothing behind; numbers do, by hour and by day, as if nothing had gone.
    assert!(history(&gateway, &vehicle, PLACE).await.len() < 12);
    assert_eq!(every(&gateway, &vehicle, "day").await, by_day);
    assert_eq!(every(&gateway, &vehicle, "hour").await, by_hour);
    for (zone, before) in zones.into_iter().zip(&by_zone) {
        assert_eq!(&every(&gateway, &vehicle, zone).await, before, "{zone}");
    }
    assert_eq!(gateway.told(&format!("/api/v1/vehicles/{vehicle}/signals")).await, latest, "the latest stay");
    assert_eq!(trim(&gateway, keep(10)).await, 0, "it is done");

    // The same after a crash, a reopening, and a late reading of what has gone.
    gateway.crash().await;
    gateway.catch_up().await;
    assert_eq!(every(&gateway, &vehicle, "day").await, by_day);
    gateway
        .deliver(&events::state("late", &vehicle, &[told(LEVEL, &json!({"value": 99, "unit": "percent"}), begin + HOUR)]))
        .await;
    gateway.catch_up().await;
    trim(&gateway, keep(10)).await;
    gateway.reopen().await;
    let with_late = every(&gateway, &vehicle, "day").await;
    assert_eq!(
        (&with_late[0]["max"], with_late[0]["count"].as_u64()),
        (&json!(99.0), by_day[0]["count"].as_u64().map(|count| count + 1))
    );
    assert_eq!(with_late[1..], by_day[1..]);

    // They go too, in their time.
    trim(&gateway, Keep { hours: days(20), days: days(60), ..keep(10) }).await;
    assert_eq!(every(&gateway, &vehicle, "day").await, with_late);
    let hours = every(&gateway, &vehicle, "hour").await;
    assert!(hours.len() < by_hour.len() && hours == by_hour[by_hour.len() - hours.len()..]);
    // Of the oldest days only those of UTC are left, each in the place of its date: nothing counts twice or not at all.
    for (zone, before) in zones.into_iter().zip(&by_zone).take(2) {
        let days = every(&gateway, &vehicle, zone).await;
        assert_eq!(days.iter().map(|day| day["count"].as_u64().unwrap()).sum::<u64>(), 481, "{zone}");
        assert!(days.windows(2).all(|pair| pair[0]["at"].as_str() < pair[1]["at"].as_str()), "{zone}");
        assert_eq!(days[days.len() - 9..], before[before.len() - 9..], "{zone}");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn too_many_bytes_send_the_oldest_days_away() {
    let (gateway, vehicle) = with_ada(311, &[]).await;
    fill(&gateway, &vehicle).await;
    let by_day = every(&gateway, &vehicle, "day").await;
    let before = history(&gateway, &vehicle, LEVEL).await;
    trim(&gateway, Keep { bytes: 6_000, ..keep(365) }).await;
    let after = history(&gateway, &vehicle, LEVEL).await;
    assert!(after.len() < before.len() && after.len() > 12, "{} of {}", after.len(), before.len());
    assert_eq!(after, before[before.len() - after.len()..]);
    assert_eq!(every(&gateway, &vehicle, "day").await, by_day);
    gateway.finish().await;
}

/// A reader who turns the pages while they go.
#[tokio::test(start_paused = true)]
async fn a_cursor_outlives_what_it_stood_on() {
    let (gateway, vehicle) = with_ada(312, &[]).await;
    fill(&gateway, &vehicle).await;
    let path = format!("/api/v1/vehicles/{vehicle}/history?signal={LEVEL}&limit=50");
    let whole = all(&gateway, &path).await;
    let first = gateway.told(&path).await;
    trim(&gateway, keep(10)).await;
    let mut rest = Vec::new();
    let mut next = first["next"].clone();
    while let Some(cursor) = next.as_str() {
        let part = gateway.told(&format!("{path}&cursor={cursor}")).await;
        rest.extend(part["items"].as_array().unwrap().iter().cloned());
        next = part["next"].clone();
    }
    let next = rest.first().unwrap()["at"].as_str().unwrap();
    assert!(next > first["items"][49]["at"].as_str().unwrap());
    assert_eq!(rest, whole[whole.len() - rest.len()..], "in order, nothing twice");
    gateway.finish().await;
}

/// What has not come into blocks yet, for the car says no more.
#[tokio::test(start_paused = true)]
async fn a_car_that_fell_silent_is_not_forgotten_to_be_forgotten() {
    let (gateway, vehicle) = with_ada(313, &[]).await;
    for step in 0..5 {
        let signal =
            told(PLACE, &json!({"latitude": 52.0 + f64::from(step) / 10.0, "longitude": 4.9}), T + i64::from(step) * HOUR);
        gateway.deliver(&events::state(&format!("{step}"), &vehicle, &[signal])).await;
    }
    gateway.catch_up().await;
    assert_eq!(history(&gateway, &vehicle, PLACE).await.len(), 5);
    let later = Timestamp::from_millis(T + 20 * DAY);
    gateway.app().store().trim(&keep(10), later).await.unwrap();
    assert_eq!(history(&gateway, &vehicle, PLACE).await, Vec::<Value>::new());
    let latest = gateway.told(&format!("/api/v1/vehicles/{vehicle}/signals/{PLACE}")).await;
    assert_eq!(latest["oem_updated_at"], time(T + 4 * HOUR));
    gateway.finish().await;
}

/// It counts all the same, and goes with the rest.
#[tokio::test(start_paused = true)]
async fn what_is_not_in_blocks_yet_is_weighed_too() {
    let (gateway, vehicle) = with_ada(320, &[]).await;
    for day in 0..20_i32 {
        let place = json!({"latitude": 52.0 + f64::from(day) / 100.0, "longitude": 4.9});
        let signal = told(PLACE, &place, T - i64::from(20 - day) * DAY);
        gateway.deliver(&events::state(&format!("{day}"), &vehicle, &[signal])).await;
        gateway.catch_up().await;
    }
    assert_eq!(history(&gateway, &vehicle, PLACE).await.len(), 20);
    trim(&gateway, Keep { bytes: 2_000, ..keep(365) }).await;
    let left = history(&gateway, &vehicle, PLACE).await;
    assert!((1..20).contains(&left.len()), "{} are left", left.len());
    assert_eq!(left.last().unwrap()["body"]["latitude"], 52.19);
    gateway.finish().await;
}

/// Erasing a car takes what was left of its past too.
#[tokio::test(start_paused = true)]
async fn an_erased_car_leaves_no_rollups() {
    let (gateway, vehicle) = with_ada(314, &[]).await;
    fill(&gateway, &vehicle).await;
    trim(&gateway, keep(10)).await;
    let id = carport::model::VehicleId::new(vehicle.clone());
    let store = gateway.app().store().clone();
    let (row, _) = store.read(move |snapshot| snapshot.vehicle(&id)).await.unwrap().unwrap();
    let left = async || {
        let range = (Timestamp::default(), Timestamp::from_millis(i64::MAX));
        let read = move |snapshot: &carport::store::Snapshot<'_>| {
            snapshot.rollups(row, LEVEL, carport::model::rollup::Span::Day, range, 1000)
        };
        store.read(read).await.unwrap().len()
    };
    assert!(left().await > 20);
    let erased = gateway.ask("DELETE", &format!("/api/v1/vehicles/{vehicle}?history=erase")).bearer(&gateway.admin).send().await;
    assert_eq!(erased.status, 204);
    assert_eq!(left().await, 0);
    gateway.finish().await;
}
