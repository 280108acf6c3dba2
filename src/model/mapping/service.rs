//! Services, as the endpoint and as the signal lists them.

use serde_json::{Value, json};

use super::shape::{KM_PER_MILE, scaled};

/// The signal, out of the endpoint's list.
pub(super) fn signal(records: &[Value], imperial: bool) -> Value {
    let list = |value: &Value, name: &str, id: &str, description: &str| {
        let items = value[name].as_array().into_iter().flatten();
        items.map(|item| json!({ "id": item[id], "description": item[description] })).collect::<Vec<_>>()
    };
    let record = |record: &Value| {
        let odometer = &record["odometerDistance"];
        json!({
            "id": record["serviceId"],
            "time": record["serviceDate"],
            "odometer": if imperial { scaled(odometer, KM_PER_MILE) } else { Some(odometer.clone()) },
            "cost": { "amount": record["serviceCost"]["totalCost"], "currency": record["serviceCost"]["currency"] },
            "tasks": list(record, "serviceTasks", "taskId", "taskDescription"),
            "details": list(record, "serviceDetails", "type", "value"),
        })
    };
    json!({ "values": records.iter().filter(|record| record.is_object()).map(record).collect::<Vec<_>>() })
}

/// The endpoint's list, out of the signal.
pub(super) fn answer(body: &Value, imperial: bool) -> Option<Value> {
    let list = |value: &Value, name: &str, id: &str, description: &str| {
        let items = value[name].as_array().into_iter().flatten();
        items.map(|item| json!({ id: item["id"], description: item["description"] })).collect::<Vec<_>>()
    };
    let record = |record: &Value| {
        let odometer = &record["odometer"];
        json!({
            "serviceId": record["id"],
            "serviceDate": record["time"],
            "odometerDistance": if imperial { scaled(odometer, 1.0 / KM_PER_MILE) } else { Some(odometer.clone()) },
            "serviceTasks": list(record, "tasks", "taskId", "taskDescription"),
            "serviceDetails": list(record, "details", "type", "value"),
            "serviceCost": { "totalCost": record["cost"]["amount"], "currency": record["cost"]["currency"] },
        })
    };
    Some(body.get("values")?.as_array()?.iter().filter(|record| record.is_object()).map(record).collect())
}
