//! The service history, and the days that are asked for, as official SDKs ask and as people do.

use serde_json::{Value, json};

use super::{V2, V3, is_error, with_owner};
use crate::gateway::TestGateway;
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
