//! Commands in Smartcar's own words take Carport's one way to cars: one at a time, counted, kept, and in the audit log.

use std::time::Duration;

use bytes::Bytes;
use carport::simulator::{Fault, FaultKind, Faults};
use http::{Response, StatusCode};
use serde_json::json;

use super::{V2, V3, is_error, is_fault_v3, reasons, with_owner};
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
        is_error(&second, 409, "VEHICLE_STATE", Some("UNKNOWN"));
        if outcome == "success" {
            assert_eq!(
                (first.status, &first.json()["data"]["attributes"]["status"]),
                (200, &json!("SUCCESS")),
                "{}",
                first.text()
            );
        } else {
            is_fault_v3(&first, 409, "VEHICLE_STATE", Some("UNREACHABLE"));
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
    is_fault_v3(&open, 501, "COMPATIBILITY", Some("SMARTCAR_NOT_CAPABLE"));
    // Who tried is noted; what nobody could have done is not.
    let answer = gateway.post(&format!("/v2.0/vehicles/{car}/security"), &json!({ "action": "LOK" })).bearer(&token).send().await;
    is_error(&answer, 400, "VALIDATION", Some("PARAMETER"));
    let noted = gateway.told("/api/v1/audit?limit=1").await["items"][0].clone();
    assert_eq!((&noted["actor"]["name"], &noted["status"]), (&json!("script"), &json!(501)), "{noted}");
    assert_eq!(noted["ids"][0], car.as_str(), "{noted}");
    assert_eq!(reasons(&gateway, &car).await, json!({}));
    gateway.finish().await;
}

/// Whatever form its errors have, and whatever they are called.
#[tokio::test(start_paused = true)]
async fn what_smartcar_refuses_keeps_its_status() {
    let (gateway, car, token) = with_owner(543, V3, &[]).await;
    let (v2, v3) = (format!("/v2.0/vehicles/{car}/security"), format!("/v3/vehicles/{car}/commands/security/lock"));
    let lock = async || {
        let told = gateway.post(&v2, &json!({ "action": "LOCK" })).bearer(&token).send().await;
        (told, gateway.post(&v3, &json!({})).bearer(&token).send().await)
    };
    gateway.simulator.set_trouble(&car, Some("VEHICLE_STATE.ASLEEP")).unwrap();
    let (told, told_v3) = lock().await;
    is_error(&told, 409, "VEHICLE_STATE", Some("ASLEEP"));
    is_fault_v3(&told_v3, 409, "VEHICLE_STATE", Some("ASLEEP"));
    // The older form has no types.
    gateway.simulator.turn("errors=plain").unwrap();
    let (told, told_v3) = lock().await;
    is_error(&told, 409, "VEHICLE_STATE", Some("UNKNOWN"));
    is_fault_v3(&told_v3, 409, "VEHICLE_STATE", Some("UNKNOWN"));
    for (status, error, expected, kind, code) in [
        (409, json!({ "type": "CONFLICT", "code": "BUSY" }), 409, "CONFLICT", Some("BUSY")),
        (400, json!({ "code": "bad_request" }), 502, "UPSTREAM", Some("UNKNOWN_ISSUE")),
        (400, json!({ "code": "BAD_REQUEST" }), 502, "UPSTREAM", Some("UNKNOWN_ISSUE")),
        (400, json!({ "type": "VALIDATION" }), 400, "VALIDATION", None),
    ] {
        gateway.net.change(move |request, _| {
            let body = json!({ "errors": [error] }).to_string();
            let answer = Response::builder().status(status).body(Bytes::from(body)).unwrap();
            request.uri().path().contains("/commands/").then_some(Ok(answer))
        });
        is_error(&lock().await.0, expected, kind, code);
    }
    gateway.finish().await;
}
