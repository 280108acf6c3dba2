//! The management API of v3: webhooks, subscriptions and the application. Webhooks are made in the dashboard
//! only: here by `--webhook-url` or the control routes.

use http::StatusCode;
use serde_json::{Value, json};

use super::{connected, gone, missing, no_path, single};
use crate::simulator::exchange::{self, Exchange, Reply};
use crate::simulator::state::{State, Subscription, Webhook};
use crate::simulator::trouble::Trouble;

/// Answers `/v3/webhooks`, `/v3/subscriptions` and `/v3/applications`.
pub(super) fn answer(exchange: &mut Exchange<'_>, path: &[&str]) -> Result<Reply, Trouble> {
    match (exchange.method.as_str(), path) {
        ("GET", ["webhooks"]) => {
            let filter = |name: &str| exchange.query.get(&format!("filter[{name}]"));
            let (name, url) = (filter("name"), filter("callbackUri"));
            let within = |text: &str, part: &str| text.to_ascii_lowercase().contains(&part.to_ascii_lowercase());
            let fitting = exchange.state.webhooks.iter().filter(|webhook| {
                name.is_none_or(|part| within(&webhook.settings.name, part))
                    && url.is_none_or(|part| within(&webhook.settings.url, part))
            });
            exchange::v3_page(exchange, "webhooks", 50, fitting.map(webhook_item).collect())
        }
        ("GET", ["webhooks", id]) => {
            let webhook = exchange.state.webhooks.iter().find(|webhook| webhook.id == *id);
            let item = webhook.map(webhook_item).ok_or_else(|| missing("WEBHOOK_NOT_FOUND", "Webhook", id))?;
            Ok(single(exchange, item))
        }
        ("GET", ["subscriptions"]) => subscriptions(exchange),
        ("POST", ["subscriptions"]) => subscribe(exchange),
        ("GET", ["subscriptions", id]) => {
            let found = exchange.state.subscriptions.iter().find(|subscription| subscription.id == *id);
            let found = found.ok_or_else(|| missing("SUBSCRIPTION_NOT_FOUND", "Subscription", id))?;
            Ok(single(exchange, subscription_item(exchange.state, found)))
        }
        ("DELETE", ["subscriptions", id]) => {
            let before = exchange.state.subscriptions.len();
            exchange.state.subscriptions.retain(|subscription| subscription.id != *id);
            let ended = exchange.state.subscriptions.len() < before;
            if ended { Ok(gone()) } else { Err(missing("SUBSCRIPTION_NOT_FOUND", "Subscription", id)) }
        }
        ("GET", ["applications"]) => {
            let item = application_item(exchange);
            exchange::v3_page(exchange, "applications", 50, vec![item])
        }
        ("GET", ["applications", id]) => {
            if *id != exchange.settings.application.application_id {
                return Err(missing("APPLICATION_NOT_FOUND", "Application", id));
            }
            Ok(single(exchange, application_item(exchange)))
        }
        _ => Err(no_path()),
    }
}

fn subscriptions(exchange: &Exchange<'_>) -> Result<Reply, Trouble> {
    let filter = |name: &str| exchange.query.get(&format!("filter[{name}]"));
    let (user_id, webhook_id, vehicle_id) = (filter("userId"), filter("webhookId"), filter("vehicleId"));
    let fitting = exchange.state.subscriptions.iter().filter(|subscription| {
        user_id.is_none_or(|id| subscription.user_id == id)
            && webhook_id.is_none_or(|id| subscription.webhook_id == id)
            && vehicle_id.is_none_or(|id| subscription.vehicle_id == id)
    });
    let items = fitting.map(|subscription| subscription_item(exchange.state, subscription)).collect();
    exchange::v3_page(exchange, "subscriptions", 50, items)
}

fn subscribe(exchange: &mut Exchange<'_>) -> Result<Reply, Trouble> {
    let body = exchange.json_body()?;
    let attributes = &body["data"]["attributes"];
    let field = |name: &str| attributes[name].as_str().ok_or_else(|| Trouble::parameter(name, "is missing"));
    let (webhook_id, user_id, vehicle_id) = (field("webhookId")?, field("userId")?, field("vehicleId")?);
    if !exchange.state.webhooks.iter().any(|webhook| webhook.id == webhook_id) {
        return Err(missing("WEBHOOK_NOT_FOUND", "Webhook", webhook_id));
    }
    connected(exchange, Some(user_id), vehicle_id)?;
    if !exchange.state.subscribe(webhook_id, user_id, vehicle_id) {
        return Err(Trouble::new(409, "CONFLICT", Some("SUBSCRIPTION_EXISTS"), "The vehicle is subscribed already."));
    }
    exchange.wake = true;
    Ok(exchange::json(StatusCode::ACCEPTED, &json!({ "meta": { "message": "subscription creation in progress" } })))
}

fn webhook_item(webhook: &Webhook) -> Value {
    let settings = &webhook.settings;
    let attributes = json!({
        "name": settings.name,
        "callbackUri": settings.url,
        "vehicleErrorCallbackUri": settings.error_url,
        "isEnabled": webhook.verified && !webhook.disabled,
        "autoSubscribe": settings.auto_subscribe,
    });
    json!({ "id": webhook.id, "type": "webhook", "attributes": attributes })
}

fn subscription_item(state: &State, subscription: &Subscription) -> Value {
    let Subscription { id, webhook_id, user_id, vehicle_id, since, .. } = subscription;
    let mode = state.connection(Some(user_id), vehicle_id).map_or("live", |connection| connection.mode);
    let related =
        |kind: &str, id: &str| json!({ "data": { "type": kind, "id": id }, "links": { "related": format!("/{kind}s/{id}") } });
    json!({
        "id": id,
        "type": "subscription",
        "attributes": { "vehicle": state.attributes(vehicle_id, mode) },
        "meta": { "createdAt": since, "updatedAt": since },
        "relationships": {
            "webhook": related("webhook", webhook_id),
            "user": related("user", user_id),
            "vehicle": related("vehicle", vehicle_id),
        },
        "links": { "self": format!("/subscriptions/{id}") },
    })
}

/// Its shape is not documented.
fn application_item(exchange: &Exchange<'_>) -> Value {
    let application = &exchange.settings.application;
    let attributes = json!({ "name": "Simulated application", "redirectUris": application.redirect_uris });
    json!({ "id": application.application_id, "type": "application", "attributes": attributes })
}
