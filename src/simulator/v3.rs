//! The API v3 (`/v3/..`): connections, users, vehicles, signals, in JSON:API's way.
//! One application token opens it all; `sc-user-id` says whose vehicle is meant. The access token of a v2 pair
//! opens the vehicles of its grant too, without that header: that is how the official SDKs read signals.

use http::StatusCode;
use serde_json::{Value, json};

use super::compatibility;
use super::exchange::{self, Exchange, Reply};
use super::faults::FaultKind;
use super::oauth::Grant;
use super::signals::{self, Signal};
use super::state::{Connection, State};
use super::trouble::Trouble;
use crate::model::Timestamp;

mod commands;
mod management;

/// Answers everything below `/v3`.
pub(super) fn answer(exchange: &mut Exchange<'_>, path: &[&str]) -> Reply {
    if path == ["compatible-vehicles"] {
        return compatibility::list(exchange).unwrap_or_else(|trouble| exchange.v3_trouble(&trouble));
    }
    let token = exchange.bearer().unwrap_or_default();
    let grant = exchange.state.tokens.open(token, exchange.now).filter(|_| path.first() == Some(&"vehicles")).cloned();
    let answered = if grant.is_some() || exchange.state.tokens.is_application(token, exchange.now) {
        opened(exchange, grant.as_ref(), path)
    } else {
        let text = "The bearer token is missing, malformed, unknown or expired.";
        Err(Trouble::new(401, "AUTHENTICATION", Some("UNAUTHORIZED"), text))
    };
    answered.unwrap_or_else(|trouble| exchange.v3_trouble(&trouble))
}

/// `grant` is what the token opens, unless it is the application's.
fn opened(exchange: &mut Exchange<'_>, grant: Option<&Grant>, path: &[&str]) -> Result<Reply, Trouble> {
    let method = exchange.method.as_str();
    match (method, path) {
        ("GET", ["connections"]) => connections(exchange),
        ("GET", ["connections", id]) => {
            let found = exchange.state.connections.iter().find(|connection| connection.id == *id);
            let found = found.and_then(|connection| connection_item(exchange, connection));
            found.map(|item| single(exchange, item)).ok_or_else(|| missing("CONNECTION_NOT_FOUND", "Connection", id))
        }
        ("DELETE", ["connections", id]) => {
            let ended = exchange.state.disconnect(|connection| connection.id == *id);
            if ended.is_empty() { Err(missing("CONNECTION_NOT_FOUND", "Connection", id)) } else { Ok(gone()) }
        }
        ("DELETE", ["users", id]) => {
            exchange.state.account_of(id).ok_or_else(|| missing("USER_NOT_FOUND", "User", id))?;
            exchange.state.disconnect(|connection| connection.user_id == *id);
            exchange.state.tokens.revoke(id);
            Ok(gone())
        }
        ("GET", ["vehicles", id]) => {
            let connection = if grant.is_some() { meant(exchange, grant, id)? } else { connected(exchange, None, id)? };
            let item = vehicle_item(exchange.state, connection).ok_or_else(|| no_vehicle(id))?;
            Ok(single(exchange, item))
        }
        ("GET", ["vehicles", id, "signals"]) => all_signals(exchange, grant, id),
        ("GET", ["vehicles", id, "signals", code]) => {
            let (found, connection) = readable(exchange, grant, id)?;
            let signal = found.iter().find(|signal| signal.code == *code);
            let signal = signal.ok_or_else(|| missing("SIGNAL_NOT_FOUND", "Signal", code))?;
            Ok(single(exchange, signal_item(exchange, signal, connection)?))
        }
        (_, ["vehicles", id, "commands", path @ ..]) => commands::command(exchange, grant, id, path),
        (_, ["vehicles", id, "charge-schedules", what]) => commands::schedule(exchange, grant, id, what),
        (_, ["webhooks" | "subscriptions" | "applications", ..]) => management::answer(exchange, path),
        _ => Err(no_path()),
    }
}

/// `GET /connections`, filtered and in pages.
fn connections(exchange: &Exchange<'_>) -> Result<Reply, Trouble> {
    let filter = |name: &str| exchange.query.get(&format!("filter[{name}]"));
    let user_id = filter("userId").or_else(|| exchange.header("sc-user-id"));
    let (vehicle_id, external_id) = (filter("vehicleId"), filter("user.externalId"));
    let mode = filter("vehicle.mode").unwrap_or("live");
    if !["live", "simulated", "test"].contains(&mode) {
        return Err(Trouble::parameter("filter[vehicle.mode]", "is neither live nor simulated"));
    }
    let fitting: Vec<&Connection> = exchange
        .state
        .connections
        .iter()
        .filter(|connection| user_id.is_none_or(|id| connection.user_id == id))
        .filter(|connection| vehicle_id.is_none_or(|id| connection.vehicle_id == id))
        .filter(|connection| connection.mode == mode)
        .filter(|connection| {
            let account = exchange.state.account_of(&connection.user_id);
            external_id.is_none_or(|id| account.and_then(|account| account.external_id.as_deref()) == Some(id))
        })
        .collect();
    let habits = &exchange.settings.habits;
    if habits.flat_connections {
        let flat = fitting.into_iter().map(|Connection { id, user_id, vehicle_id, permissions, mode, .. }| {
            json!({ "id": id, "vehicleId": vehicle_id, "userId": user_id, "permissions": permissions, "mode": mode })
        });
        return Ok(ok(&json!({ "connections": flat.collect::<Vec<_>>() })));
    }
    let items = fitting.into_iter().filter_map(|connection| connection_item(exchange, connection)).collect();
    exchange::v3_page(exchange, "connections", habits.page_size, items)
}

/// `GET /vehicles/{id}/signals`
fn all_signals(exchange: &Exchange<'_>, grant: Option<&Grant>, id: &str) -> Result<Reply, Trouble> {
    let (found, connection) = readable(exchange, grant, id)?;
    let mut data: Vec<Value> = found.iter().map(|signal| signal_item(exchange, signal, connection)).collect::<Result<_, _>>()?;
    let (count, habits) = (data.len(), &exchange.settings.habits);
    if habits.short_lists {
        data.truncate(count.saturating_sub(2));
    }
    let page = if habits.older_pages { "page" } else { "pageNumber" };
    Ok(ok(&json!({
        "meta": { page: 1, "pageSize": 100, "totalCount": count },
        "links": { "self": format!("/vehicles/{id}/signals") },
        "included": { "vehicle": vehicle_item(exchange.state, connection) },
        "data": data,
    })))
}

/// The connection of a vehicle of the token's user, or of the one in `sc-user-id`.
fn meant<'a>(exchange: &'a Exchange<'_>, grant: Option<&Grant>, id: &str) -> Result<&'a Connection, Trouble> {
    let header = exchange.header("sc-user-id").filter(|user_id| !user_id.is_empty());
    let user_id = grant
        .map(|grant| grant.user_id.as_str())
        .or(header)
        .ok_or_else(|| Trouble::new(400, "VALIDATION", Some("MISSING_PARAMETER"), "missing userId"))?;
    let connection = connected(exchange, Some(user_id), id)?;
    if grant.is_none_or(|grant| grant.vehicles.contains(id)) { Ok(connection) } else { Err(no_vehicle(id)) }
}

/// The signals in the store for a vehicle, with its connection.
fn readable<'a>(exchange: &'a Exchange<'_>, grant: Option<&Grant>, id: &str) -> Result<(Vec<Signal>, &'a Connection), Trouble> {
    let connection = meant(exchange, grant, id)?;
    let empty = exchange.state.faults.has(FaultKind::EmptyStore) && !exchange.state.is_fed(id);
    let car = exchange.state.cars.get(id).filter(|_| !empty);
    Ok((car.map(|car| signals::signals(car.stored(exchange.now).1)).unwrap_or_default(), connection))
}

fn connected<'a>(exchange: &'a Exchange<'_>, user_id: Option<&str>, vehicle_id: &str) -> Result<&'a Connection, Trouble> {
    exchange.state.connection(user_id, vehicle_id).ok_or_else(|| no_vehicle(vehicle_id))
}

fn connection_item(exchange: &Exchange<'_>, connection: &Connection) -> Option<Value> {
    let Connection { id, user_id, vehicle_id, permissions, mode, .. } = connection;
    let external_id = exchange.state.account_of(user_id).and_then(|account| account.external_id.as_ref());
    let related = format!("{}/v3/vehicles/{vehicle_id}", exchange.settings.base_url.trim_end_matches('/'));
    let mut attributes = json!({ "permissions": permissions, "vehicle": exchange.state.attributes(vehicle_id, mode)? });
    if exchange.settings.habits.connection_user {
        attributes["user"] = json!({ "id": user_id, "externalId": external_id });
    }
    Some(json!({
        "id": id,
        "type": "connection",
        "attributes": attributes,
        "relationships": { "vehicle": { "data": { "id": vehicle_id, "type": "vehicle" }, "links": { "related": related } } },
    }))
}

fn vehicle_item(state: &State, connection: &Connection) -> Option<Value> {
    let id = &connection.vehicle_id;
    let attributes = state.attributes(id, connection.mode)?;
    Some(json!({ "id": id, "type": "vehicle", "attributes": attributes, "links": { "self": format!("/vehicles/{id}") } }))
}

fn signal_item(exchange: &Exchange<'_>, signal: &Signal, connection: &Connection) -> Result<Value, Trouble> {
    let (units, times) = (exchange.units()?, exchange.settings.habits.timestamps);
    let link = format!("/vehicles/{}/signals/{}", connection.vehicle_id, signal.code);
    let mut attributes = signal.label();
    let mut item = json!({ "id": signal.code, "type": "signal", "links": { "self": link } });
    let car = exchange.state.cars.get(&connection.vehicle_id);
    let trouble = car.and_then(|car| car.trouble.as_ref());
    let told = trouble.filter(|trouble| {
        exchange.settings.habits.signal_trouble && trouble.kind == "CONNECTED_SERVICES_ACCOUNT" && !signal.is_known_without()
    });
    let judged = signal.judge(&connection.permissions).and_then(|body| told.map_or(Ok(body), |trouble| Err(trouble.signal())));
    match judged {
        Ok(body) => {
            attributes["status"] = json!({ "value": "SUCCESS" });
            attributes["body"] = units.signal(body.clone());
            let retrieved_at = times.write(car.map_or(exchange.now, |car| car.stored(exchange.now).0));
            let updated_at = times.write(Timestamp::from_millis(signal.updated_at));
            item["meta"] = json!({ "oemUpdatedAt": updated_at, "retrievedAt": retrieved_at, "ingestedAt": retrieved_at });
        }
        Err(error) => attributes["status"] = json!({ "value": "ERROR", "error": error }),
    }
    item["attributes"] = attributes;
    Ok(item)
}

fn missing(code: &'static str, what: &str, id: &str) -> Trouble {
    Trouble::new(404, "RESOURCE_NOT_FOUND", Some(code), format!("{what} with ID {id} not found"))
}

fn no_path() -> Trouble {
    Trouble::new(404, "RESOURCE_NOT_FOUND", Some("INVALID_PATH"), "There is nothing at this path.")
}

fn no_vehicle(id: &str) -> Trouble {
    missing("VEHICLE_NOT_FOUND", "Vehicle", id)
}

/// One resource, under `data` or bare.
fn single(exchange: &Exchange<'_>, item: Value) -> Reply {
    if exchange.settings.habits.bare { ok(&item) } else { ok(&json!({ "data": item })) }
}

fn ok(body: &Value) -> Reply {
    exchange::json(StatusCode::OK, body)
}

fn gone() -> Reply {
    exchange::typed(StatusCode::NO_CONTENT, "application/json", "")
}
