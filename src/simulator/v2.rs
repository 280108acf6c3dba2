//! The data API v2.0 (`/v2.0/..`) and its management API (`/v2.0/management/connections`).
//!
//! An access token opens the vehicles of its grant; the owner's permissions are those of the connection.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::commands::Command;
use super::exchange::{self, Exchange, Reply};
use super::oauth::Grant;
use super::signals;
use super::state::Connection;
use super::trouble::Trouble;
use crate::model::Timestamp;

/// Answers everything below `/v2.0`.
pub(super) fn answer(exchange: &mut Exchange<'_>, path: &[&str]) -> Reply {
    let answered = match path {
        ["management", "connections"] => connections(exchange),
        ["vehicles", vehicle_id, "application"] => disconnect(exchange, vehicle_id),
        ["vehicles", vehicle_id, "webhooks", webhook_id] => webhook(exchange, vehicle_id, webhook_id),
        _ => granted(exchange, path),
    };
    answered.unwrap_or_else(|trouble| exchange.v2_trouble(&trouble))
}

/// What an access token opens.
fn granted(exchange: &mut Exchange<'_>, path: &[&str]) -> Result<Reply, Trouble> {
    let grant = grant(exchange)?;
    let get = exchange.method == Method::GET;
    match path {
        ["user"] if get => Ok(exchange::json(StatusCode::OK, &json!({ "id": grant.user_id }))),
        ["vehicles"] if get => {
            let vehicles: Vec<&String> =
                grant.vehicles.iter().filter(|id| exchange.state.connection(Some(&grant.user_id), id).is_some()).collect();
            page(exchange, "vehicles", 10, 50, &vehicles)
        }
        ["vehicles", vehicle_id, "permissions"] if get => {
            let connection = opened(exchange, &grant, vehicle_id)?;
            page(exchange, "permissions", 25, 100, &connection.permissions)
        }
        ["vehicles", vehicle_id, "batch"] if exchange.method == Method::POST => batch(exchange, &grant, vehicle_id),
        ["vehicles", vehicle_id, endpoint @ ..] if get => {
            let (body, updated_at) = read(exchange, &grant, vehicle_id, endpoint)?;
            let mut reply = exchange::json(StatusCode::OK, &body);
            for (name, value) in read_headers(exchange, updated_at) {
                exchange::header(&mut reply, name, &value);
            }
            Ok(reply)
        }
        ["vehicles", vehicle_id, path @ ..] if exchange.method == Method::POST => {
            let body: Value = serde_json::from_slice(exchange.body).unwrap_or_default();
            let command = Command::v2(path, &body).ok_or_else(Trouble::path)??;
            if !opened(exchange, &grant, vehicle_id)?.permissions.iter().any(|granted| granted == command.permission()) {
                return Err(Trouble::permission());
            }
            exchange.state.command(vehicle_id, command, exchange.now)?;
            let body = json!({ "status": "success", "message": "Successfully sent request to vehicle" });
            Ok(exchange::json(StatusCode::OK, &body))
        }
        _ => Err(Trouble::path()),
    }
}

/// One read endpoint.
fn read(exchange: &Exchange<'_>, grant: &Grant, vehicle_id: &str, endpoint: &[&str]) -> Result<(Value, Option<i64>), Trouble> {
    let connection = opened(exchange, grant, vehicle_id)?;
    let car = exchange.state.cars.get(vehicle_id).ok_or_else(Trouble::permission)?;
    let (permission, answer) = signals::endpoint(car, endpoint).ok_or_else(Trouble::path)?;
    if !connection.permissions.iter().any(|granted| granted == permission) {
        return Err(Trouble::permission());
    }
    match &car.trouble {
        // Who the car is, Smartcar knows without asking it.
        Some(trouble) if !matches!(endpoint, [] | ["vin"]) => Err(trouble.clone()),
        _ => answer,
    }
}

/// Freshness, as headers.
fn read_headers(exchange: &Exchange<'_>, updated_at: Option<i64>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("sc-unit-system", "metric".to_owned()), ("sc-fetched-at", exchange.now.to_string())];
    headers.extend(updated_at.map(|millis| ("sc-data-age", Timestamp::from_millis(millis).to_string())));
    headers
}

/// `POST /vehicles/{id}/batch`: each part with its own status.
fn batch(exchange: &mut Exchange<'_>, grant: &Grant, vehicle_id: &str) -> Result<Reply, Trouble> {
    let request: Value = serde_json::from_slice(exchange.body).map_err(|_| Trouble::validation("The body is not JSON."))?;
    let parts = request["requests"].as_array().filter(|parts| !parts.is_empty() && parts.len() <= 50);
    let parts = parts.ok_or_else(|| Trouble::validation("requests must be a list of paths."))?;
    opened(exchange, grant, vehicle_id)?;
    let mut responses = Vec::with_capacity(parts.len());
    for part in parts {
        let path = part["path"].as_str().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let answered = match segments.as_slice() {
            ["permissions"] => opened(exchange, grant, vehicle_id).map(|connection| {
                let count = connection.permissions.len();
                (json!({ "permissions": connection.permissions, "paging": { "count": count, "offset": 0 } }), None)
            }),
            endpoint => read(exchange, grant, vehicle_id, endpoint),
        };
        let path = format!("/{}", segments.join("/"));
        responses.push(match answered {
            Ok((body, updated_at)) => {
                let headers: serde_json::Map<String, Value> =
                    read_headers(exchange, updated_at).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
                json!({ "path": path, "code": 200, "body": body, "headers": headers })
            }
            Err(trouble) => {
                // The Node SDK reads the type of a failed part's body from here.
                let mut headers = json!({ "content-type": "application/json" });
                if let Some(seconds) = trouble.retry_after {
                    headers["retry-after"] = json!(seconds.to_string());
                }
                json!({ "path": path, "code": trouble.status, "body": trouble.v2(&exchange.request_id), "headers": headers })
            }
        });
    }
    Ok(exchange::json(StatusCode::OK, &json!({ "responses": responses })))
}

/// `DELETE /vehicles/{id}/application`, by the owner's token or the management token.
fn disconnect(exchange: &mut Exchange<'_>, vehicle_id: &str) -> Result<Reply, Trouble> {
    if exchange.method != Method::DELETE {
        return Err(Trouble::path());
    }
    let user_id = if exchange.bearer() == Some(&exchange.settings.application.management_token) {
        None
    } else {
        let grant = grant(exchange)?;
        opened(exchange, &grant, vehicle_id)?;
        Some(grant.user_id)
    };
    let ended = exchange.state.disconnect(|connection| {
        connection.vehicle_id == vehicle_id && user_id.as_ref().is_none_or(|user_id| connection.user_id == *user_id)
    });
    if ended.is_empty() { Err(Trouble::permission()) } else { Ok(success()) }
}

/// `POST` and `DELETE /vehicles/{id}/webhooks/{webhook_id}`
fn webhook(exchange: &mut Exchange<'_>, vehicle_id: &str, webhook_id: &str) -> Result<Reply, Trouble> {
    let known = exchange.state.webhook.as_ref().is_some_and(|webhook| webhook.id == webhook_id);
    match *exchange.method {
        Method::POST => {
            let grant = grant(exchange)?;
            opened(exchange, &grant, vehicle_id)?;
            if !known {
                return Err(Trouble::validation("There is no such webhook."));
            }
            exchange.wake |= exchange.state.subscribe(&grant.user_id, vehicle_id);
            Ok(exchange::json(StatusCode::OK, &json!({ "webhookId": webhook_id, "vehicleId": vehicle_id })))
        }
        Method::DELETE if exchange.bearer() == Some(&exchange.settings.application.management_token) => {
            exchange.state.subscriptions.retain(|subscription| subscription.vehicle_id != vehicle_id);
            Ok(success())
        }
        Method::DELETE => Err(Trouble::authentication()),
        _ => Err(Trouble::path()),
    }
}

/// `GET` and `DELETE /management/connections`
fn connections(exchange: &mut Exchange<'_>) -> Result<Reply, Trouble> {
    let token = &exchange.settings.application.management_token;
    if exchange.basic().is_none_or(|(user, password)| user != "default" || password != *token) {
        return Err(Trouble::authentication());
    }
    let filter = |name: &str| exchange.query.get(name).map(str::to_owned);
    let (user_id, vehicle_id, wanted_mode) = (filter("user_id"), filter("vehicle_id"), filter("mode"));
    let fits = |connection: &Connection| {
        user_id.as_ref().is_none_or(|id| connection.user_id == *id)
            && vehicle_id.as_ref().is_none_or(|id| connection.vehicle_id == *id)
            && wanted_mode.as_ref().is_none_or(|mode| connection.mode == *mode)
    };
    match *exchange.method {
        Method::GET => {
            let limit = exchange.query.number("limit", 10)?.clamp(1, 100);
            let newest_first: Vec<&Connection> =
                exchange.state.connections.iter().rev().filter(|connection| fits(connection)).collect();
            // The cursor names the last connection of the page before.
            let after = exchange.query.get("cursor");
            let start = after.and_then(|id| newest_first.iter().position(|other| other.id == id)).map_or(0, |place| place + 1);
            let shown: Vec<&&Connection> = newest_first.iter().skip(start).take(limit).collect();
            let more = start + shown.len() < newest_first.len();
            let cursor = shown.last().filter(|_| more).map(|connection| &connection.id);
            let list: Vec<Value> = shown
                .iter()
                .map(|connection| {
                    json!({
                        "userId": connection.user_id,
                        "vehicleId": connection.vehicle_id,
                        "connectedAt": connection.connected_at.to_string(),
                        "mode": connection.mode,
                    })
                })
                .collect();
            Ok(exchange::json(StatusCode::OK, &json!({ "connections": list, "paging": { "cursor": cursor } })))
        }
        Method::DELETE if user_id.is_none() && vehicle_id.is_none() => {
            Err(Trouble::validation("user_id or vehicle_id is needed."))
        }
        Method::DELETE => {
            let ended = exchange.state.disconnect(fits);
            let list: Vec<Value> = ended
                .iter()
                .map(|connection| json!({ "userId": connection.user_id, "vehicleId": connection.vehicle_id }))
                .collect();
            Ok(exchange::json(StatusCode::OK, &json!({ "connections": list })))
        }
        _ => Err(Trouble::path()),
    }
}

fn grant(exchange: &Exchange<'_>) -> Result<Grant, Trouble> {
    let token = exchange.bearer().ok_or_else(Trouble::authentication)?;
    exchange.state.tokens.open(token, exchange.now).cloned().ok_or_else(Trouble::authentication)
}

/// The connection behind a vehicle of this grant.
fn opened<'a>(exchange: &'a Exchange<'_>, grant: &Grant, vehicle_id: &str) -> Result<&'a Connection, Trouble> {
    let connection = exchange.state.connection(Some(&grant.user_id), vehicle_id);
    connection.filter(|_| grant.vehicles.contains(vehicle_id)).ok_or_else(Trouble::permission)
}

fn page<T: serde::Serialize>(
    exchange: &Exchange<'_>,
    name: &str,
    usual: usize,
    most: usize,
    list: &[T],
) -> Result<Reply, Trouble> {
    let limit = exchange.query.number("limit", usual)?.clamp(1, most);
    let offset = exchange.query.number("offset", 0)?;
    let shown: Vec<&T> = list.iter().skip(offset).take(limit).collect();
    let body = json!({ name: shown, "paging": { "count": list.len(), "offset": offset } });
    Ok(exchange::json(StatusCode::OK, &body))
}

fn success() -> Reply {
    exchange::json(StatusCode::OK, &json!({ "status": "success" }))
}
