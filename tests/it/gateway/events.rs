//! Events in Smartcar's shapes.

use serde_json::{Value, json};

/// A state of a vehicle with these signals.
pub(crate) fn state(event: &str, vehicle: &str, signals: &[Value]) -> Value {
    json!({
        "eventId": event,
        "eventType": "VEHICLE_STATE",
        "data": { "user": { "id": "u-1" }, "vehicle": { "id": vehicle }, "signals": signals },
        "triggers": [],
        "meta": { "version": "4.0", "mode": "LIVE" },
    })
}

/// A signal with a value that the car recorded at this moment.
pub(crate) fn signal(code: &str, value: i64, oem_updated_at: i64) -> Value {
    json!({
        "code": code,
        "name": "Name",
        "group": "Group",
        "body": { "value": value, "unit": "km" },
        "status": { "value": "SUCCESS" },
        "meta": { "oemUpdatedAt": oem_updated_at, "retrievedAt": oem_updated_at + 1000 },
    })
}

/// A signal that could not be had.
pub(crate) fn failed(code: &str) -> Value {
    json!({
        "code": code,
        "name": "Name",
        "group": "Group",
        "status": { "value": "ERROR", "error": { "type": "COMPATIBILITY", "code": "VEHICLE_NOT_CAPABLE" } },
    })
}

/// A problem of a vehicle began (`ERROR`) or ended (`RESOLVED`).
pub(crate) fn trouble(event: &str, vehicle: &str, kind: &str, code: Option<&str>, state: &str) -> Value {
    json!({
        "eventId": event,
        "eventType": "VEHICLE_ERROR",
        "data": {
            "vehicle": { "id": vehicle },
            "errors": [{ "type": kind, "code": code, "state": state, "description": "It is broken." }],
        },
    })
}
