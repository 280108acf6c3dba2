//! Commands of v3, the slow ones too, and charge schedules.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{meant, no_path, no_vehicle};
use crate::simulator::car::Schedule;
use crate::simulator::commands::Command;
use crate::simulator::exchange::{self, Exchange, Reply};
use crate::simulator::knobs::CommandStatus;
use crate::simulator::oauth::Grant;
use crate::simulator::trouble::Trouble;

/// `POST /vehicles/{id}/commands/..`
pub(super) fn command(exchange: &mut Exchange<'_>, grant: Option<&Grant>, id: &str, path: &[&str]) -> Result<Reply, Trouble> {
    let permission = Command::v3_permission(path).filter(|_| exchange.method == Method::POST).ok_or_else(no_path)?;
    let mode = allowed(exchange, grant, id, permission)?;
    let command = Command::v3(path, &exchange.json_body()?).ok_or_else(no_path)??;
    let slow = exchange.state.faults.slowness(&mut exchange.state.luck);
    let told = exchange.state.command(id, command, mode, exchange.now);
    let reply = told.map(|()| {
        let mut attributes = json!({});
        match exchange.settings.habits.command_status {
            CommandStatus::Word => attributes["status"] = json!("SUCCESS"),
            CommandStatus::Object => attributes["status"] = json!({ "value": "SUCCESS" }),
            CommandStatus::None => {}
        }
        let body = json!({ "data": { "id": exchange.request_id, "type": "command", "attributes": attributes } });
        exchange::json(StatusCode::OK, &body)
    });
    let Some(time) = slow else { return reply };
    // The outcome follows in the body, be it good or bad; the status is gone by then.
    let mut reply = reply.unwrap_or_else(|trouble| exchange.v3_trouble(&trouble));
    *reply.status_mut() = StatusCode::ACCEPTED;
    exchange.later = Some(time);
    Ok(reply)
}

/// `POST /vehicles/{id}/charge-schedules/{kind}` and `DELETE ../{schedule id}`
pub(super) fn schedule(exchange: &mut Exchange<'_>, grant: Option<&Grant>, id: &str, what: &str) -> Result<Reply, Trouble> {
    let set = exchange.method == Method::POST;
    if !set && exchange.method != Method::DELETE {
        return Err(no_path());
    }
    if set && !["daily", "weekly", "workweek"].contains(&what) {
        return Err(no_path());
    }
    allowed(exchange, grant, id, "control_charge")?;
    let body = exchange.json_body()?;
    let schedule_id = if set { exchange.state.chance.uuid() } else { what.to_owned() };
    let car = exchange.state.cars.get_mut(id).ok_or_else(|| no_vehicle(id))?;
    if let Some(trouble) = &car.trouble {
        return Err(trouble.clone());
    }
    let kind = if set {
        let kinds: &[&str] = match car.model.make {
            "TESLA" => &["daily", "weekly", "workweek"],
            "VOLVO" => &["daily"],
            _ => &[],
        };
        if !kinds.contains(&what) {
            return Err(Trouble::not_capable());
        }
        let parameters = parameters(&body)?;
        car.schedules.push(Schedule { id: schedule_id.clone(), kind: what.to_owned(), parameters });
        what.to_owned()
    } else {
        let place = car.schedules.iter().position(|schedule| schedule.id == what);
        let missing = || super::missing("SCHEDULE_NOT_FOUND", "Charge schedule", what);
        car.schedules.remove(place.ok_or_else(missing)?).kind
    };
    car.updated.built = exchange.now.as_millis();
    car.fetch(exchange.now);
    let attributes = json!({
        "action": if set { "create" } else { "delete" },
        "scheduleType": kind,
        "status": { "value": "SUCCESS" },
        "executionMode": "sync",
        "scheduleId": schedule_id,
        "parameters": body["data"]["attributes"],
    });
    let item = json!({
        "id": exchange.request_id,
        "type": "charge-schedule-execution",
        "attributes": attributes,
        "links": { "schedule": format!("/vehicles/{id}/charge-schedules/{schedule_id}") },
        "meta": { "executedAt": exchange.now, "completedAt": exchange.now, "durationInSeconds": 0 },
    });
    Ok(exchange::json(StatusCode::OK, &json!({ "data": item })))
}

/// Whether the owner allows it. Returns the mode of the connection.
fn allowed(exchange: &Exchange<'_>, grant: Option<&Grant>, id: &str, permission: &str) -> Result<&'static str, Trouble> {
    let connection = meant(exchange, grant, id)?;
    let granted = connection.permissions.iter().any(|granted| granted == permission);
    if granted { Ok(connection.mode) } else { Err(Trouble::permission()) }
}

/// What a schedule says, checked.
fn parameters(body: &Value) -> Result<Value, Trouble> {
    let attributes = &body["data"]["attributes"];
    let place = &attributes["location"];
    if !["latitude", "longitude"].iter().all(|name| place[name].is_number()) {
        return Err(Trouble::parameter("location", "is not a place on Earth"));
    }
    for name in ["startTime", "stopTime"] {
        let time = attributes[name].as_str().and_then(|text| text.split_once(':'));
        let right = time.is_some_and(|(hour, minute)| {
            let below = |text: &str, end: u8| text.len() == 2 && text.parse::<u8>().is_ok_and(|number| number < end);
            below(hour, 24) && below(minute, 60)
        });
        if !right {
            return Err(Trouble::parameter(name, "is not a time such as 08:00"));
        }
    }
    Ok(attributes.clone())
}
