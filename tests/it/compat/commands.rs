//! Commands in Smartcar's own words take Carport's one way to cars: one at a time, counted, kept, and in the audit log.

use std::time::Duration;

use bytes::Bytes;
use carport::simulator::{Fault, FaultKind, Faults};
use http::{Response, StatusCode};
use serde_json::json;

use super::{V2, V3, is_fault, is_fault_v3, reasons, with_owner};
use crate::gateway::pass;

#[tokio::test(start_paused = true)]
async fn what_comes_late_is_waited_for_and_noted() {
    const GOOD: &str = r#"{"data":{"type":"command","attributes":{"status":"SUCCESS"}}}"#;
    const BAD: &str =
        r#"{"data":{"type":"command","attributes":{"status":"PENDING","error":{"type":"VEHICLE_STATE","code":"UNREACHABLE"}}}}"#;
    for (seed, body, outcome) in [(540, GOOD, "success"), (541, BAD, "failed")] {
        let (gateway, car, token) = with_owner(seed, V3, &[]).await;
        gateway.net.change(move |request, _| {
            let mut late = Response::new(Bytes::from_static(body.as_bytes()));
            *late.status_mut() = StatusCode::ACCEPTED;
            request.uri().path().contains("/commands/").then_some(Ok(late))
        });
        gateway.simulator.set_faults(Faults::new([Fault::once(FaultKind::Delay(Duration::from_secs(180)))]));
        let lock = format!("/v3/vehicles/{car}/commands/security/lock");
        let first = gateway.post(&lock, &json!({})).bearer(&token).send();
        let second = async {
            pass(Duration::from_secs(5)).await;
            gateway.post(&format!("/v2.0/vehicles/{car}/security"), &json!({ "action": "UNLOCK" })).bearer(&token).send().await
        };
        let began = tokio::time::Instant::now();
        let (first, second) = tokio::join!(first, second);
        assert!(began.elapsed() >= Duration::from_secs(180), "{:?}", began.elapsed());
        is_fault(&second, 409, "VEHICLE_STATE", Some("UNKNOWN"));
        if outcome == "success" {
            assert_eq!(
                (first.status, &first.json()["data"]["attributes"]["status"]),
                (200, &json!("SUCCESS")),
                "{}",
                first.text()
            );
        } else {
            is_fault_v3(&first, 409, "VEHICLE_STATE");
            assert_eq!(first.json()["errors"][0]["code"], "UNREACHABLE");
        }
        assert_eq!(reasons(&gateway, &car).await, json!({ "command": 1 }));
        let noted = gateway.told("/api/v1/audit?limit=5").await;
        let entries = noted["items"].as_array().unwrap();
        let ended = entries.iter().find(|entry| entry["ids"].as_array().unwrap().contains(&json!(outcome))).unwrap();
        assert_eq!(ended["actor"]["name"], "script", "{ended}");
        let id = ended["ids"][3].as_str().unwrap();
        let kept = gateway.told(&format!("/api/v1/vehicles/{car}/commands/{id}")).await;
        assert_eq!((&kept["status"], &kept["command"]), (&json!(outcome), &json!("security/lock")), "{ended} {kept}");
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_costs_no_call() {
    let (gateway, car, token) = with_owner(542, V2, &[]).await;
    let open = gateway.post(&format!("/v3/vehicles/{car}/commands/charge-port/open"), &json!({})).bearer(&token).send().await;
    is_fault_v3(&open, 501, "COMPATIBILITY");
    assert_eq!(reasons(&gateway, &car).await, json!({}));
    gateway.finish().await;
}
