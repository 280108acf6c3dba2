//! Legacy webhooks (v2.0): scheduled payloads, which are like batches, and events of charging.

use serde_json::{Value, json};

use super::endpoints::{CHARGE_EVENTS, Endpoint, IS_CHARGING};
use super::events::{Event, of_webhook};
use super::exchange::Fields;
use super::knobs::Scheduled;
use super::signals::Signal;
use super::state::{Connection, State, Webhook};
use super::trouble::Trouble;
use super::units::Units;
use crate::model::Timestamp;

/// The challenge in its older form.
pub(super) fn verify(state: &mut State, webhook: &Webhook, challenge: &str) -> Event {
    let id = state.chance.uuid();
    let body = json!({
        "version": "2.0", "webhookId": webhook.id, "eventName": "verify", "payload": { "challenge": challenge },
    });
    of_webhook(webhook, id, "VERIFY", "", body)
}

/// What the usual endpoints answer now.
pub(super) fn scheduled(state: &mut State, webhook: &Webhook, connection: &Connection, now: Timestamp) -> Option<Event> {
    let (id, request_id) = (state.chance.uuid(), state.chance.uuid());
    let car = state.cars.get(&connection.vehicle_id)?;
    let part = |path: &[&str]| {
        let endpoint = Endpoint::read(path)?;
        let granted = connection.permissions.iter().any(|granted| granted == endpoint.permission);
        let answer = match &car.trouble {
            _ if !granted => Err(Trouble::permission()),
            Some(trouble) => Err(trouble.clone()),
            None => endpoint.answer(car, Units::Metric, &Fields::default(), now),
        };
        let path = format!("/{}", path.join("/"));
        Some(answer.map_or_else(
            |trouble| json!({ "path": path, "code": trouble.status, "body": trouble.v2(&request_id), "headers": {} }),
            |(body, updated_at)| {
                let age = updated_at.map(Timestamp::from_millis);
                let headers = json!({ "sc-data-age": age, "sc-unit-system": "metric" });
                json!({ "path": path, "code": 200, "body": body, "headers": headers })
            },
        ))
    };
    let (name, paths) = match state.settings.habits.scheduled {
        Scheduled::Schedule => ("schedule", PATHS),
        Scheduled::Scheduled => ("scheduled", PATHS),
        Scheduled::Dynamic => ("dynamic", MOVING),
    };
    let parts: Vec<Value> = paths.iter().filter_map(|path| part(path)).collect();
    let vehicle = json!({ "vehicleId": connection.vehicle_id, "requestId": request_id, "data": parts });
    let body = json!({
        "version": "2.0", "webhookId": webhook.id, "eventName": name, "mode": connection.mode,
        "payload": { "vehicles": [vehicle] },
    });
    Some(of_webhook(webhook, id, "schedule", &connection.vehicle_id, body))
}

/// Charging began or ended.
pub(super) fn charging(
    state: &mut State,
    webhook: &Webhook,
    connection: &Connection,
    news: &[&Signal],
    now: Timestamp,
) -> Option<Event> {
    let allowed = connection.permissions.iter().any(|granted| granted == CHARGE_EVENTS);
    let changed = news.iter().find(|signal| signal.code == IS_CHARGING).filter(|_| allowed)?;
    let car = state.cars.get(&connection.vehicle_id)?;
    let kind = match changed.body.as_ref()?["value"].as_bool()? {
        true => "CHARGING_STARTED",
        false if car.charge >= car.limit => "CHARGING_COMPLETED",
        false => "CHARGING_STOPPED",
    };
    let id = state.chance.uuid();
    let payload = json!({ "eventId": id, "vehicleId": connection.vehicle_id, "eventType": kind, "eventTime": now });
    let body = json!({
        "version": "2.0", "webhookId": webhook.id, "eventName": "eventBased", "mode": connection.mode, "payload": payload,
    });
    Some(of_webhook(webhook, id, "eventBased", &connection.vehicle_id, body))
}

/// What a dynamic webhook tells.
const MOVING: &[&[&str]] = &[&["battery"], &["charge"], &["location"]];
const PATHS: &[&[&str]] = &[&["battery"], &["charge"], &["fuel"], &["location"], &["odometer"], &["tires", "pressure"]];
