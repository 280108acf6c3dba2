//! The data API v2.0 (`/v2.0/..`).
//!
//! An access token opens the vehicles of its grant; the owner's permissions are those of the connection.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::commands::Command;
use super::compatibility;
use super::endpoints::{Endpoint, Reading};
use super::exchange::{self, Exchange, Fields, Reply};
use super::knobs::V2;
use super::oauth::Grant;
use super::state::{Connection, Subscription};
use super::trouble::Trouble;
use super::units::Units;
use crate::model::Timestamp;

mod management;

/// Answers everything below `/v2.0`.
pub(super) fn answer(exchange: &mut Exchange<'_>, path: &[&str]) -> Reply {
    match exchange.settings.habits.v2 {
        V2::On => {}
        V2::Ended => {
            let text = "This version of the API has come to its end.";
            return exchange.v2_trouble(&Trouble::new(404, "RESOURCE_NOT_FOUND", Some("VERSION"), text));
        }
        V2::Gone => return exchange::html(StatusCode::GONE, "<!doctype html><title>Gone</title>".to_owned()),
    }
    let answered = match path {
        ["management", "connections"] => management::connections(exchange),
        ["compatibility"] => compatibility::by_vin(exchange),
        ["compatibility", "matrix"] => compatibility::matrix(exchange),
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
            page(exchange, "vehicles", exchange.settings.habits.v2_page_size, 50, &vehicles)
        }
        ["vehicles", vehicle_id, "permissions"] if get => {
            let connection = opened(exchange, &grant, vehicle_id)?;
            page(exchange, "permissions", 25, 100, &connection.permissions)
        }
        ["vehicles", vehicle_id, "batch"] if exchange.method == Method::POST => batch(exchange, &grant, vehicle_id),
        ["vehicles", vehicle_id, endpoint @ ..] if get => {
            let units = exchange.units()?;
            let (body, updated_at) = read(exchange, &grant, vehicle_id, endpoint, units, &exchange.query)?;
            let mut reply = exchange::json(StatusCode::OK, &body);
            for (name, value) in read_headers(exchange, units, updated_at) {
                exchange::header(&mut reply, name, &value);
            }
            Ok(reply)
        }
        ["vehicles", vehicle_id, path @ ..] if exchange.method == Method::POST => {
            let permission = Command::v2_permission(path).ok_or_else(Trouble::path)?;
            let connection = opened(exchange, &grant, vehicle_id)?;
            if !connection.permissions.iter().any(|granted| granted == permission) {
                return Err(Trouble::permission());
            }
            let mode = connection.mode;
            let command = Command::v2(path, &exchange.json_body()?).ok_or_else(Trouble::path)??;
            exchange.state.command(vehicle_id, command, mode, exchange.now)?;
            let body = json!({ "status": "success", "message": "Successfully sent request to vehicle" });
            Ok(exchange::json(StatusCode::OK, &body))
        }
        _ => Err(Trouble::path()),
    }
}

/// One read endpoint.
fn read(
    exchange: &Exchange<'_>,
    grant: &Grant,
    vehicle_id: &str,
    path: &[&str],
    units: Units,
    query: &Fields,
) -> Result<Reading, Trouble> {
    let connection = opened(exchange, grant, vehicle_id)?;
    let car = exchange.state.cars.get(vehicle_id).ok_or_else(Trouble::permission)?;
    let endpoint = Endpoint::read(path).ok_or_else(Trouble::path)?;
    if !connection.permissions.iter().any(|granted| granted == endpoint.permission) {
        return Err(Trouble::permission());
    }
    match &car.trouble {
        // Who the car is, Smartcar knows without asking it.
        Some(trouble) if !matches!(path, [] | ["vin"]) => Err(trouble.clone()),
        _ => endpoint.answer(car, units, query, exchange.now),
    }
}

/// Freshness, as headers.
fn read_headers(exchange: &Exchange<'_>, units: Units, updated_at: Option<i64>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("sc-unit-system", units.word().to_owned())];
    if !exchange.settings.habits.freshness {
        return headers;
    }
    headers.push(("sc-fetched-at", exchange.now.to_string()));
    headers.extend(updated_at.map(|millis| ("sc-data-age", Timestamp::from_millis(millis).to_string())));
    headers
}

/// `POST /vehicles/{id}/batch`: each part with its own status.
fn batch(exchange: &mut Exchange<'_>, grant: &Grant, vehicle_id: &str) -> Result<Reply, Trouble> {
    let (request, units) = (exchange.json_body()?, exchange.units()?);
    let parts = request["requests"].as_array().filter(|parts| !parts.is_empty() && parts.len() <= 50);
    let parts = parts.ok_or_else(|| Trouble::parameter("requests", "is not a list of 1 to 50 paths"))?;
    opened(exchange, grant, vehicle_id)?;
    let mut responses = Vec::with_capacity(parts.len());
    for part in parts {
        let path = part["path"].as_str().ok_or_else(|| Trouble::parameter("requests.path", "is missing"))?;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = Fields::parse(query.as_bytes());
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let answered = match segments.as_slice() {
            ["permissions"] => opened(exchange, grant, vehicle_id).map(|connection| {
                let count = connection.permissions.len();
                (json!({ "permissions": connection.permissions, "paging": { "count": count, "offset": 0 } }), None)
            }),
            endpoint => read(exchange, grant, vehicle_id, endpoint, units, &query),
        };
        let path = format!("/{}", segments.join("/"));
        responses.push(match answered {
            Ok((body, updated_at)) => {
                let headers: serde_json::Map<String, Value> = read_headers(exchange, units, updated_at)
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), json!(value)))
                    .collect();
                json!({ "path": path, "code": 200, "body": body, "headers": headers })
            }
            Err(trouble) => {
                // The Node SDK reads the type of a failed part's body from here.
                let mut headers = json!({ "content-type": "application/json" });
                if let Some(value) = exchange.retry_after(&trouble) {
                    headers["retry-after"] = json!(value);
                }
                let body = exchange.settings.habits.resolution.write(trouble.v2(&exchange.request_id));
                json!({ "path": path, "code": trouble.status, "body": body, "headers": headers })
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
    let known = exchange.state.webhooks.iter().any(|webhook| webhook.id == webhook_id);
    match *exchange.method {
        Method::POST => {
            let grant = grant(exchange)?;
            opened(exchange, &grant, vehicle_id)?;
            if !known {
                return Err(Trouble::parameter("webhookId", "is not one of the application's"));
            }
            exchange.wake |= exchange.state.subscribe(webhook_id, &grant.user_id, vehicle_id);
            Ok(exchange::json(StatusCode::OK, &json!({ "webhookId": webhook_id, "vehicleId": vehicle_id })))
        }
        Method::DELETE if exchange.bearer() == Some(&exchange.settings.application.management_token) => {
            let ends = |other: &Subscription| other.vehicle_id == vehicle_id && other.webhook_id == webhook_id;
            let before = exchange.state.subscriptions.len();
            exchange.state.subscriptions.retain(|subscription| !ends(subscription));
            if exchange.state.subscriptions.len() == before {
                return Err(Trouble::parameter("webhookId", "is not one that this vehicle is subscribed to"));
            }
            Ok(success())
        }
        Method::DELETE => Err(Trouble::authentication()),
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
    let limit = exchange.query.number("limit", usual)?;
    if !(1..=most).contains(&limit) {
        return Err(Trouble::parameter("limit", &format!("is from 1 to {most}")));
    }
    let offset = exchange.query.number("offset", 0)?;
    let shown: Vec<&T> = list.iter().skip(offset).take(limit).collect();
    let body = json!({ name: shown, "paging": { "count": list.len(), "offset": offset } });
    Ok(exchange::json(StatusCode::OK, &body))
}

fn success() -> Reply {
    exchange::json(StatusCode::OK, &json!({ "status": "success" }))
}
