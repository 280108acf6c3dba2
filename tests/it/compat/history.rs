//! The service history, and the days that are asked for, as official SDKs ask and as people do.

use std::time::Duration;

use carport::simulator::{Fault, FaultKind, Faults};
use serde_json::{Value, json};

use super::{V2, V3, calls, is_error, reasons, with_owner};
use crate::gateway::{HOUR, TestGateway, pass};
use crate::simulator::rig::Answer;

const SCOPE: (&str, &str) = ("smartcar.scope", "read_vehicle_info,read_service_history");

/// One of the cars that tells its services.
async fn with_services(seed: u64, generation: super::Generation) -> (TestGateway, String, String) {
    let (gateway, _, token) = with_owner(seed, generation, &[SCOPE]).await;
    for car in gateway.vehicles_of(generation.0) {
        let answer = history(&gateway, &car, &token, "").await;
        if answer.status == 200 {
            assert!(!answer.json().as_array().unwrap().is_empty());
            return (gateway, car, token);
        }
    }
    panic!("no car tells its services");
}

async fn history(gateway: &TestGateway, car: &str, token: &str, query: &str) -> Answer {
    gateway.get(&format!("/v2.0/vehicles/{car}/service/history{query}")).bearer(token).send().await
}

/// The days of the services in an answer.
#[track_caller]
fn days(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let day = |record: &Value| record["serviceDate"].as_str().unwrap()[..10].to_owned();
    answer.json().as_array().unwrap().iter().map(day).collect()
}

#[tokio::test(start_paused = true)]
async fn the_days_that_are_asked_for_and_no_others() {
    for (seed, generation) in [(550, V2), (551, V3)] {
        let (gateway, car, token) = with_services(seed, generation).await;
        let all = days(&history(&gateway, &car, &token, "").await);
        // As the official SDK for Node asks for everything.
        for everything in ["?start_date=undefined&end_date=undefined", "?start_date=&end_date=", "?startDate=2020-01-01"] {
            assert_eq!(days(&history(&gateway, &car, &token, everything).await)[..all.len()], all, "{everything}");
        }
        let newest = &all[..1];
        for names in [("start_date", "end_date"), ("startDate", "endDate")] {
            let query = format!("?{}={day}&{}={day}T00:00:00Z", names.0, names.1, day = newest[0]);
            assert_eq!(days(&history(&gateway, &car, &token, &query).await), newest, "{query}");
        }
        assert_eq!(days(&history(&gateway, &car, &token, "?end_date=2001-01-01").await), [""; 0]);
        for (query, field) in [("?start_date=yesterday", "start_date"), ("?endDate=2025-13-01", "end_date")] {
            let answer = history(&gateway, &car, &token, query).await;
            is_error(&answer, 400, "VALIDATION", Some("PARAMETER"));
            assert_eq!(answer.json()["detail"][0]["field"], field);
        }

        // In a batch each part has its own.
        let paths = ["/service/history", &format!("/service/history?start_date={}", newest[0]), "service/history?start_date=x"];
        let request = json!({ "requests": paths.map(|path| json!({ "path": path })) });
        let answer = gateway.post(&format!("/v2.0/vehicles/{car}/batch"), &request).bearer(&token).send().await;
        let parts = answer.json()["responses"].clone();
        let count = |part: usize| parts[part]["body"].as_array().unwrap().len();
        assert_eq!((count(0), count(1), &parts[2]["code"]), (all.len(), 1, &json!(400)), "{parts}");
        assert!((0..3).all(|part| parts[part]["path"] == "/service/history"), "{parts}");
        gateway.finish().await;
    }
}

/// How often Smartcar was asked for the services of certain days.
fn asked(gateway: &TestGateway, car: &str) -> usize {
    gateway.net.count(&format!("GET /v2.0/vehicles/{car}/service/history"))
}

/// What is kept of an old connection are the services of a year: asked without dates, Smartcar tells no more.
#[tokio::test(start_paused = true)]
async fn earlier_days_are_asked_for_once() {
    let (gateway, car, token) = with_services(561, V2).await;
    let kept = days(&history(&gateway, &car, &token, "").await);
    assert_eq!((calls(&gateway, &car), asked(&gateway, &car)), (1, 0));
    let all = history(&gateway, &car, &token, "?start_date=2015-01-01").await;
    assert!(all.header("sc-fetched-at").is_some() && all.header("sc-data-age").is_some());
    let first = all.json().as_array().unwrap().last().unwrap().clone();
    let all = days(&all);
    assert!(all.len() > kept.len() && all.starts_with(&kept), "{all:?}");
    assert_eq!((calls(&gateway, &car), asked(&gateway, &car)), (1, 1));

    // The same again, by another name and in other units, costs nothing; other days do.
    let again = gateway.get(&format!("/v2.0/vehicles/{car}/service/history?startDate=2015-01-01T08:00:00Z")).bearer(&token);
    let again = again.header("sc-unit-system", "imperial").send().await;
    assert_eq!(days(&again), all);
    let (miles, kilometres) = (&again.json()[all.len() - 1]["odometerDistance"], &first["odometerDistance"]);
    assert!((miles.as_f64().unwrap() * 1.609_344 - kilometres.as_f64().unwrap()).abs() < 0.1, "{miles} {kilometres}");
    assert_eq!(asked(&gateway, &car), 1);
    // Both days are meant, whatever Smartcar makes of the last.
    let oldest = all.last().unwrap();
    let query = format!("?start_date={oldest}&end_date={oldest}");
    assert_eq!(days(&history(&gateway, &car, &token, &query).await), std::slice::from_ref(oldest));
    assert_eq!((calls(&gateway, &car), asked(&gateway, &car)), (1, 2));
    assert_eq!(reasons(&gateway, &car).await, json!({ "compat": 3 }));
    // Days in the wrong order, and days that are none, cost nothing.
    assert_eq!(days(&history(&gateway, &car, &token, "?start_date=2016-01-01&end_date=2015-01-01").await), [""; 0]);
    is_error(&history(&gateway, &car, &token, "?start_date=2015-02-30").await, 400, "VALIDATION", Some("PARAMETER"));
    assert_eq!(asked(&gateway, &car), 2);

    // In a batch it is a call for each, and none for the rest.
    let paths = ["/service/history?start_date=2015-01-01", "/service/history?start_date=2014-01-01", "/service/history"];
    let request = json!({ "requests": paths.map(|path| json!({ "path": path })) });
    let batch = async || gateway.post(&format!("/v2.0/vehicles/{car}/batch"), &request).bearer(&token).send().await.json();
    let count = |answer: &Value, part: usize| answer["responses"][part]["body"].as_array().unwrap().len();
    for _ in 0..2 {
        let answer = batch().await;
        assert_eq!([0, 1, 2].map(|part| count(&answer, part)), [all.len(), all.len(), kept.len()], "{answer}");
        assert_eq!((calls(&gateway, &car), asked(&gateway, &car)), (1, 3));
    }
    // Who asks for it anew gets it anew, and a day later everybody does.
    let fresh = gateway.get(&format!("/v2.0/vehicles/{car}/service/history?start_date=2015-01-01")).bearer(&token);
    assert_eq!(days(&fresh.header("cache-control", "no-cache").send().await), all);
    assert_eq!(asked(&gateway, &car), 4);
    pass(HOUR * 25).await;
    assert_eq!(days(&history(&gateway, &car, &token, "?start_date=2015-01-01").await), all);
    assert_eq!(asked(&gateway, &car), 5);
    gateway.finish().await;
}

/// An answer is of whoever has the car; one that came well outlives a try that did not.
#[tokio::test(start_paused = true)]
async fn earlier_days_are_told_to_whom_they_belong() {
    let (gateway, car, token) = with_services(561, V2).await;
    let wanted = "?start_date=2015-01-01";
    let all = days(&history(&gateway, &car, &token, wanted).await);
    let before = asked(&gateway, &car);
    gateway.simulator.set_faults(Faults::new([Fault::always(FaultKind::Fail)]));
    let fresh = gateway.get(&format!("/v2.0/vehicles/{car}/service/history{wanted}")).bearer(&token);
    assert!(fresh.header("cache-control", "no-cache").send().await.status >= 500);
    gateway.simulator.set_faults(Faults::default());
    let spent = asked(&gateway, &car);
    assert!(spent > before);
    assert_eq!(days(&history(&gateway, &car, &token, wanted).await), all);
    assert_eq!(asked(&gateway, &car), spent);

    gateway.connect("grace", V2.0).await;
    let grace = gateway.create_token(&json!({ "name": "grace", "scope": "read", "user": "grace" })).await;
    pass(HOUR).await;
    assert_eq!(days(&history(&gateway, &car, &grace, wanted).await), all);
    assert_eq!(asked(&gateway, &car), spent + 1);
    assert_eq!(history(&gateway, &car, &token, wanted).await.status, 404);
    gateway.finish().await;
}

/// A last day alone means all before it.
#[tokio::test(start_paused = true)]
async fn all_days_up_to_one() {
    for (seed, generation) in [(561, V2), (551, V3)] {
        let (gateway, car, token) = with_services(seed, generation).await;
        let all = days(&history(&gateway, &car, &token, "?start_date=2010-01-01").await);
        let older = &all[all.len() / 2..];
        assert_eq!(days(&history(&gateway, &car, &token, &format!("?end_date={}", older[0])).await), older);
        gateway.finish().await;
    }
}

/// Through API v3 everything comes at once.
#[tokio::test(start_paused = true)]
async fn of_a_new_connection_all_days_are_kept() {
    let (gateway, car, token) = with_services(551, V3).await;
    let spent = calls(&gateway, &car);
    let all = days(&history(&gateway, &car, &token, "?start_date=2010-01-01").await);
    assert!(!all.is_empty());
    assert_eq!((calls(&gateway, &car), asked(&gateway, &car)), (spent, 0));
    gateway.finish().await;
}

/// A car that cannot be asked is not asked again and again, and the plan has an end for this too.
#[tokio::test(start_paused = true)]
async fn earlier_days_are_within_the_budget() {
    let (gateway, car, token) = with_services(562, V2).await;
    let kept = days(&history(&gateway, &car, &token, "").await);
    gateway.simulator.set_trouble(&car, Some("VEHICLE_STATE.ASLEEP")).unwrap();
    for year in 2010..2015 {
        let answer = history(&gateway, &car, &token, &format!("?start_date={year}-01-01")).await;
        is_error(&answer, 409, "VEHICLE_STATE", Some("ASLEEP"));
    }
    assert_eq!(asked(&gateway, &car), 1);
    assert_eq!(days(&history(&gateway, &car, &token, "").await), kept);
    gateway.simulator.set_trouble(&car, None).unwrap();
    pass(HOUR).await;
    let mut refused = None;
    for day in 1..29 {
        for month in 1..5 {
            let answer = history(&gateway, &car, &token, &format!("?start_date=2015-{month:02}-{day:02}")).await;
            refused = refused.or(Some(answer).filter(|answer| answer.status != 200));
        }
    }
    is_error(&refused.unwrap(), 430, "BILLING", Some("VEHICLE_REQUEST_LIMIT"));
    assert!(asked(&gateway, &car) < 100, "{}", asked(&gateway, &car));
    gateway.finish().await;
}

/// A client that does not wait for it has paid for it all the same.
#[tokio::test(start_paused = true)]
async fn who_hangs_up_finds_the_earlier_days_later() {
    let (gateway, car, token) = with_services(563, V2).await;
    let ask = || history(&gateway, &car, &token, "?start_date=2015-01-01");
    gateway.simulator.set_faults(Faults::new([Fault::once(FaultKind::Delay(Duration::from_secs(60)))]));
    assert!(tokio::time::timeout(Duration::from_secs(5), ask()).await.is_err());
    assert!(!days(&ask().await).is_empty());
    assert_eq!(asked(&gateway, &car), 1);
    gateway.finish().await;
}
