//! The API v3 (`/v3/..`): connections, users, vehicles, signals, webhooks, subscriptions, in JSON:API's way.
//! One application token opens it all; `sc-user-id` says whose vehicle is meant. The access token of a v2 pair
//! opens the vehicles of its grant too, without that header: that is how the official SDKs read signals.

use http::StatusCode;
use serde_json::{Value, json};

use super::commands::Command;
use super::exchange::{self, Exchange, Reply};
use super::faults::FaultKind;
use super::oauth::Grant;
use super::signals::{self, Signal};
use super::state::{Connection, State, Subscription, Webhook};
use super::trouble::Trouble;
use crate::model::Timestamp;

/// Answers everything below `/v3`.
pub(super) fn answer(exchange: &mut Exchange<'_>, path: &[&str]) -> Reply {
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
            found.map(|item| ok(&json!({ "data": item }))).ok_or_else(|| missing("CONNECTION_NOT_FOUND", "Connection", id))
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
            let connection = connected(exchange, grant.map(|grant| grant.user_id.as_str()), id)?;
            let item = vehicle_item(exchange.state, connection).ok_or_else(|| no_vehicle(id))?;
            Ok(ok(&json!({ "data": item })))
        }
        ("GET", ["vehicles", id, "signals"]) => all_signals(exchange, grant, id),
        ("GET", ["vehicles", id, "signals", code]) => {
            let (found, connection) = readable(exchange, grant, id)?;
            let signal = found.iter().find(|signal| signal.code == *code);
            let signal = signal.ok_or_else(|| missing("SIGNAL_NOT_FOUND", "Signal", code))?;
            Ok(ok(&json!({ "data": signal_item(exchange, signal, connection) })))
        }
        ("POST", ["vehicles", id, "commands", path @ ..]) => command(exchange, grant, id, path),
        ("GET", ["webhooks"]) => {
            let list: Vec<Value> = exchange.state.webhook.iter().map(webhook_item).collect();
            Ok(ok(&whole_list("webhooks", list)))
        }
        ("GET", ["webhooks", id]) => {
            let webhook = exchange.state.webhook.as_ref().filter(|webhook| webhook.id == *id);
            webhook
                .map(|webhook| ok(&json!({ "data": webhook_item(webhook) })))
                .ok_or_else(|| missing("WEBHOOK_NOT_FOUND", "Webhook", id))
        }
        ("GET", ["subscriptions"]) => {
            let list = exchange.state.subscriptions.iter().map(|subscription| subscription_item(exchange.state, subscription));
            Ok(ok(&whole_list("subscriptions", list.collect())))
        }
        ("POST", ["subscriptions"]) => subscribe(exchange),
        ("GET", ["subscriptions", id]) => {
            let found = exchange.state.subscriptions.iter().find(|subscription| subscription.id == *id);
            let found = found.map(|subscription| ok(&json!({ "data": subscription_item(exchange.state, subscription) })));
            found.ok_or_else(|| missing("SUBSCRIPTION_NOT_FOUND", "Subscription", id))
        }
        ("DELETE", ["subscriptions", id]) => {
            let before = exchange.state.subscriptions.len();
            exchange.state.subscriptions.retain(|subscription| subscription.id != *id);
            let ended = exchange.state.subscriptions.len() < before;
            if ended { Ok(gone()) } else { Err(missing("SUBSCRIPTION_NOT_FOUND", "Subscription", id)) }
        }
        _ => Err(no_path()),
    }
}

/// `GET /connections`, filtered and in pages.
fn connections(exchange: &Exchange<'_>) -> Result<Reply, Trouble> {
    let filter = |name: &str| exchange.query.get(&format!("filter[{name}]"));
    let user_id = filter("userId").or_else(|| exchange.header("sc-user-id"));
    let (vehicle_id, external_id) = (filter("vehicleId"), filter("user.externalId"));
    let mode = filter("vehicle.mode").unwrap_or("live");
    let number = exchange.query.number("page[number]", 1)?.max(1);
    let size = exchange.query.number("page[size]", 10)?.clamp(1, 100);
    let fitting: Vec<Value> = exchange
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
        .filter_map(|connection| connection_item(exchange, connection))
        .collect();
    let (total, last) = (fitting.len(), fitting.len().div_ceil(size).max(1));
    let filters: String = ["userId", "vehicleId", "vehicle.mode", "user.externalId"]
        .into_iter()
        .filter_map(|name| filter(name).map(|value| format!("&filter[{name}]={}", encoded(value))))
        .collect();
    let link = |number: usize| format!("/v3/connections?page[number]={number}&page[size]={size}{filters}");
    let data: Vec<Value> = fitting.into_iter().skip(size.saturating_mul(number - 1)).take(size).collect();
    Ok(ok(&json!({
        "data": data,
        "meta": { "pageNumber": number, "pageSize": size, "totalCount": total },
        "links": {
            "self": link(number),
            "first": link(1),
            "prev": (number > 1).then(|| link((number - 1).min(last))),
            "next": (number < last).then(|| link(number + 1)),
            "last": link(last),
        },
    })))
}

/// `GET /vehicles/{id}/signals`
fn all_signals(exchange: &Exchange<'_>, grant: Option<&Grant>, id: &str) -> Result<Reply, Trouble> {
    let (found, connection) = readable(exchange, grant, id)?;
    let data: Vec<Value> = found.iter().map(|signal| signal_item(exchange, signal, connection)).collect();
    Ok(ok(&json!({
        "meta": { "pageNumber": 1, "pageSize": 100, "totalCount": data.len() },
        "links": { "self": format!("/vehicles/{id}/signals") },
        "included": { "vehicle": vehicle_item(exchange.state, connection) },
        "data": data,
    })))
}

/// `POST /vehicles/{id}/commands/..`
fn command(exchange: &mut Exchange<'_>, grant: Option<&Grant>, id: &str, path: &[&str]) -> Result<Reply, Trouble> {
    let body: Value = serde_json::from_slice(exchange.body).unwrap_or_default();
    let command = Command::v3(path, &body).ok_or_else(no_path)??;
    if !meant(exchange, grant, id)?.permissions.iter().any(|granted| granted == command.permission()) {
        return Err(Trouble::permission());
    }
    exchange.state.command(id, command, exchange.now)?;
    let attributes = json!({ "status": "SUCCESS" });
    Ok(ok(&json!({ "data": { "id": exchange.request_id, "type": "command", "attributes": attributes } })))
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
    let fed = exchange.state.webhook.as_ref().is_some_and(|webhook| webhook.verified)
        && exchange.state.subscriptions.iter().any(|subscription| subscription.vehicle_id == id);
    let empty = exchange.state.faults.has(FaultKind::EmptyStore) && !fed;
    let car = exchange.state.cars.get(id).filter(|_| !empty);
    Ok((car.map(signals::signals).unwrap_or_default(), connection))
}

fn subscribe(exchange: &mut Exchange<'_>) -> Result<Reply, Trouble> {
    let wrong = |what: &str| Trouble::new(400, "VALIDATION", Some("INVALID_INPUT_FORMAT"), what);
    let body: Value = serde_json::from_slice(exchange.body).map_err(|_| wrong("The body is not JSON."))?;
    let attributes = &body["data"]["attributes"];
    let field = |name: &str| attributes[name].as_str().ok_or_else(|| wrong(&format!("data.attributes.{name} is missing.")));
    let (webhook_id, user_id, vehicle_id) = (field("webhookId")?, field("userId")?, field("vehicleId")?);
    if exchange.state.webhook.as_ref().is_none_or(|webhook| webhook.id != webhook_id) {
        return Err(missing("WEBHOOK_NOT_FOUND", "Webhook", webhook_id));
    }
    connected(exchange, Some(user_id), vehicle_id)?;
    if !exchange.state.subscribe(user_id, vehicle_id) {
        return Err(Trouble::new(409, "CONFLICT", Some("SUBSCRIPTION_EXISTS"), "The vehicle is subscribed already."));
    }
    exchange.wake = true;
    let made = exchange.state.subscriptions.last().map(|subscription| subscription_item(exchange.state, subscription));
    Ok(exchange::json(StatusCode::ACCEPTED, &json!({ "data": made })))
}

fn connected<'a>(exchange: &'a Exchange<'_>, user_id: Option<&str>, vehicle_id: &str) -> Result<&'a Connection, Trouble> {
    exchange.state.connection(user_id, vehicle_id).ok_or_else(|| no_vehicle(vehicle_id))
}

fn connection_item(exchange: &Exchange<'_>, connection: &Connection) -> Option<Value> {
    let Connection { id, user_id, vehicle_id, permissions, mode, .. } = connection;
    let external_id = exchange.state.account_of(user_id).and_then(|account| account.external_id.as_ref());
    let related = format!("{}/v3/vehicles/{vehicle_id}", exchange.settings.base_url.trim_end_matches('/'));
    Some(json!({
        "id": id,
        "type": "connection",
        "attributes": {
            "permissions": permissions,
            "user": { "id": user_id, "externalId": external_id },
            "vehicle": exchange.state.attributes(vehicle_id, mode)?,
        },
        "relationships": { "vehicle": { "data": { "id": vehicle_id, "type": "vehicle" }, "links": { "related": related } } },
    }))
}

fn vehicle_item(state: &State, connection: &Connection) -> Option<Value> {
    let id = &connection.vehicle_id;
    let attributes = state.attributes(id, connection.mode)?;
    Some(json!({ "id": id, "type": "vehicle", "attributes": attributes, "links": { "self": format!("/vehicles/{id}") } }))
}

fn signal_item(exchange: &Exchange<'_>, signal: &Signal, connection: &Connection) -> Value {
    let link = format!("/vehicles/{}/signals/{}", connection.vehicle_id, signal.code);
    let mut attributes = signal.label();
    let mut item = json!({ "id": signal.code, "type": "signal", "links": { "self": link } });
    match signal.judge(&connection.permissions) {
        Ok(body) => {
            attributes["status"] = json!({ "value": "SUCCESS" });
            attributes["body"] = body.clone();
            let now = exchange.now.to_string();
            let updated_at = Timestamp::from_millis(signal.updated_at).to_string();
            item["meta"] = json!({ "oemUpdatedAt": updated_at, "retrievedAt": now, "ingestedAt": now });
        }
        Err(error) => attributes["status"] = json!({ "value": "ERROR", "error": error }),
    }
    item["attributes"] = attributes;
    item
}

fn webhook_item(webhook: &Webhook) -> Value {
    let attributes = json!({
        "name": webhook.settings.name,
        "callbackUri": webhook.settings.url,
        "isEnabled": webhook.verified,
        "autoSubscribe": true,
    });
    json!({ "id": webhook.id, "type": "webhook", "attributes": attributes })
}

fn subscription_item(state: &State, subscription: &Subscription) -> Value {
    let webhook_id = state.webhook.as_ref().map(|webhook| &webhook.id);
    let Subscription { id, user_id, vehicle_id, .. } = subscription;
    let attributes = json!({ "webhookId": webhook_id, "userId": user_id, "vehicleId": vehicle_id });
    json!({ "id": id, "type": "subscription", "attributes": attributes })
}

fn whole_list(name: &str, data: Vec<Value>) -> Value {
    let count = data.len();
    json!({
        "data": data,
        "meta": { "pageNumber": 1, "pageSize": count.max(10), "totalCount": count },
        "links": { "self": format!("/v3/{name}"), "prev": null, "next": null },
    })
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

fn encoded(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

fn ok(body: &Value) -> Reply {
    exchange::json(StatusCode::OK, body)
}

fn gone() -> Reply {
    exchange::typed(StatusCode::NO_CONTENT, "application/json", "")
}
