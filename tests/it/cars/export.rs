//! Everything that is kept of the past, at once.

use serde_json::{Value, json};

use super::{HOUR, T, all, time, told, with_ada};
use crate::gateway::{TestGateway, events, is_problem};
use crate::simulator::rig::ADA;

const LEVEL: &str = "tractionbattery-stateofcharge";
const STEPS: i64 = 1_300;

/// More than one part of levels, of one car, and a place of either.
async fn fill(gateway: &TestGateway) -> [String; 2] {
    let cars: [String; 2] = gateway.vehicles_of(ADA).try_into().unwrap();
    for step in 0..STEPS {
        let signal = told(LEVEL, &json!({"value": step, "unit": "percent"}), T - (STEPS - step) * HOUR / 4);
        gateway.deliver(&events::state(&format!("{step}"), &cars[0], &[signal])).await;
    }
    for (car, text) in cars.iter().zip(["a \"quoted\", text", "=1+1"]) {
        let signal = told("vehicleidentification-nickname", &json!({ "value": text }), T);
        gateway.deliver(&events::state(&format!("name-{car}"), car, &[signal])).await;
    }
    gateway.catch_up().await;
    cars
}

async fn text(gateway: &TestGateway, path: &str) -> (String, String) {
    let answer = gateway.get(path).bearer(&gateway.admin).send().await;
    assert_eq!(answer.status, 200, "{path}");
    let kind = answer.headers["content-type"].to_str().unwrap().to_owned();
    (kind, String::from_utf8(answer.body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_export_is_all_that_the_history_tells() {
    let (gateway, _) = with_ada(330, &[]).await;
    let cars = fill(&gateway).await;
    let (kind, lines) = text(&gateway, "/api/v1/export").await;
    assert_eq!(kind, "application/jsonl; charset=utf-8");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut expected = Vec::new();
    let listed = all(&gateway, "/api/v1/vehicles?limit=50").await;
    for car in listed.iter().map(|vehicle| vehicle["id"].as_str().unwrap()) {
        let mut rows = all(&gateway, &format!("/api/v1/vehicles/{car}/history?limit=500")).await;
        for row in &mut rows {
            (row["vehicle"], row["user"]) = (json!(car), json!("ada"));
        }
        expected.extend(rows);
    }
    assert!(expected.len() > usize::try_from(STEPS).unwrap());
    assert_eq!(lines, expected);

    let (kind, table) = text(&gateway, &format!("/api/v1/export?format=csv&vehicle={}&signal={LEVEL}", cars[0])).await;
    assert_eq!(kind, "text/csv; charset=utf-8");
    let mut table = table.split_terminator("\r\n");
    assert_eq!(table.next(), Some("vehicle,signal,at,value,unit,oem_updated_at,retrieved_at,source,body,user"));
    let table: Vec<&str> = table.collect();
    assert_eq!(table.len(), usize::try_from(STEPS).unwrap());
    let at = time(T - STEPS * HOUR / 4);
    let retrieved = time(T - STEPS * HOUR / 4 + 1000);
    let first =
        format!("{},{LEVEL},{at},0,%,{at},{retrieved},webhook,\"{{\"\"unit\"\":\"\"percent\"\",\"\"value\"\":0}}\",ada", cars[0]);
    assert_eq!(table[0], first);

    // Part of it; and texts that a spreadsheet must not run.
    let (since, until) = (time(T - HOUR), time(T));
    let (_, part) = text(&gateway, &format!("/api/v1/export?since={since}&until={until}&signal={LEVEL}")).await;
    assert_eq!(part.lines().count(), 4);
    let (_, names) = text(&gateway, "/api/v1/export?format=csv&signal=vehicleidentification-nickname").await;
    assert!(names.contains(",'=1+1,,") && names.contains(",\"a \"\"quoted\"\", text\",,"), "{names}");

    // The table of one car is whole unless it is asked for in parts.
    let path = format!("/api/v1/vehicles/{}/history?format=csv&signal={LEVEL}", cars[0]);
    let (_, whole) = text(&gateway, &path).await;
    assert_eq!(whole.split_terminator("\r\n").count(), usize::try_from(STEPS).unwrap() + 1);
    let part = gateway.get(&format!("{path}&limit=10")).bearer(&gateway.admin).send().await;
    assert!(part.headers.contains_key("x-next-cursor"));
    assert_eq!(part.body.split(|byte| *byte == b'\n').count(), 12);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn who_may_not_or_asks_for_nothing_is_told_at_once() {
    let (gateway, vehicle) = with_ada(331, &[]).await;
    let reader = gateway.create_token(&json!({ "name": "reader", "scope": "read" })).await;
    is_problem(&gateway.get("/api/v1/export").bearer(&reader).send().await, 403, "forbidden");
    is_problem(&gateway.get("/api/v1/export?vehicle=none").bearer(&gateway.admin).send().await, 404, "not_found");
    is_problem(&gateway.get("/api/v1/export?format=xml").bearer(&gateway.admin).send().await, 400, "bad_request");
    is_problem(&gateway.get("/api/v1/export?since=yesterday").bearer(&gateway.admin).send().await, 400, "bad_request");
    is_problem(
        &gateway.get(&format!("/api/v1/vehicles/{vehicle}/history?every=day")).bearer(&gateway.admin).send().await,
        400,
        "bad_request",
    );
    let (_, nothing) = text(&gateway, &format!("/api/v1/export?vehicle={vehicle}&signal=charge-chargelimits")).await;
    assert_eq!(nothing, "");
    let mistyped = format!("/api/v1/export?vehicle={vehicle}&signal=none-such");
    is_problem(&gateway.get(&mistyped).bearer(&gateway.admin).send().await, 400, "bad_request");
    gateway.finish().await;
}
