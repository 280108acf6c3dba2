//! Routes for scripts below `/simulator`, which the real Smartcar does not have. JSON in and out; a body must
//! say `Content-Type: application/json`, so that no page on the web can send one by itself.
//!
//! - `GET /simulator/status`: accounts, cars, counters, the webhook
//! - `POST /simulator/webhook` `{"url", "every"?, "verifySigned"?, "retryScale"?, "trouble"?}`: sets the webhook
//! - `POST /simulator/deliver`: sends the state of every subscribed vehicle now
//! - `POST /simulator/faults` `{"faults": ["NAME[=VALUE][@PROBABILITY][*TIMES]"]}`: replaces the faults
//! - `POST /simulator/trouble` `{"vehicleId", "trouble": "TYPE.CODE" or null}`: what is wrong with a vehicle
//! - `POST /simulator/revoke` `{"email"}`: ends every token of an account

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::WebhookSettings;
use super::exchange::{self, Exchange, Reply};
use super::faults::Fault;
use super::pages;
use super::state::Generation;

/// Answers everything below `/simulator`.
pub(super) fn answer(exchange: &mut Exchange<'_>, path: &[&str]) -> Reply {
    match (exchange.method, path) {
        (&Method::GET, ["style.css"]) => pages::style(),
        (&Method::GET, ["status"]) => exchange::json(StatusCode::OK, &status(exchange)),
        (&Method::POST, ["webhook" | "deliver" | "faults" | "revoke" | "trouble"]) => match change(exchange, path[0]) {
            Ok(()) => exchange::json(StatusCode::ACCEPTED, &json!({ "status": "accepted" })),
            Err(why) => exchange::json(StatusCode::BAD_REQUEST, &json!({ "status": "refused", "reason": why })),
        },
        _ => exchange::json(StatusCode::NOT_FOUND, &json!({ "status": "refused", "reason": "no such control route" })),
    }
}

fn change(exchange: &mut Exchange<'_>, what: &str) -> Result<(), String> {
    let kind = exchange.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err("Content-Type must be application/json".to_owned());
    }
    let body = if exchange.body.is_empty() { b"{}".as_slice() } else { exchange.body };
    let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match what {
        "webhook" => exchange.state.set_webhook(Some(webhook(&body)?)),
        "deliver" => exchange.state.round_asked = true,
        "trouble" => {
            let vehicle_id = body["vehicleId"].as_str().unwrap_or_default();
            exchange.state.set_trouble(vehicle_id, body["trouble"].as_str())?;
        }
        "faults" => {
            let list = body["faults"].as_array().ok_or("faults must be a list")?;
            let read = |item: &Value| item.as_str().unwrap_or_default().parse::<Fault>().map_err(|error| error.to_string());
            exchange.state.faults = list.iter().map(read).collect::<Result<_, _>>()?;
        }
        _ => {
            let email = body["email"].as_str().unwrap_or_default();
            let account = exchange.state.accounts.iter().find(|account| account.email == email);
            let user_id = account.ok_or("no such account")?.user_id.clone();
            exchange.state.tokens.revoke(&user_id);
        }
    }
    exchange.wake = true;
    Ok(())
}

fn webhook(body: &Value) -> Result<WebhookSettings, String> {
    let url = body["url"].as_str().ok_or("url is missing")?;
    let scheme = Url::parse(url).map_err(|error| format!("url: {error}"))?.scheme().to_owned();
    if scheme != "http" && scheme != "https" {
        return Err("url must be http or https".to_owned());
    }
    let mut settings = WebhookSettings::new(url);
    if let Some(seconds) = body["every"].as_f64() {
        settings.every = Duration::try_from_secs_f64(seconds).map_err(|error| format!("every: {error}"))?;
    }
    settings.verify_signed = body["verifySigned"].as_bool().unwrap_or(settings.verify_signed);
    settings.retry_scale = body["retryScale"].as_f64().unwrap_or(settings.retry_scale);
    settings.trouble = body["trouble"].as_f64().unwrap_or(settings.trouble);
    Ok(settings)
}

fn status(exchange: &Exchange<'_>) -> Value {
    let state = &exchange.state;
    let accounts = state.accounts.iter().map(|account| {
        json!({
            "email": account.email,
            "generation": if account.generation == Generation::V2 { "v2" } else { "v3" },
            "userId": account.user_id,
            "vehicleIds": account.vehicles,
        })
    });
    let cars = state.cars.values().map(|car| {
        json!({
            "vehicleId": car.vehicle_id,
            "make": car.model.make,
            "model": car.model.name,
            "connected": state.connection(None, &car.vehicle_id).is_some(),
            "driving": car.driving(),
            "charging": car.charging(),
        })
    });
    let webhook = state
        .webhook
        .as_ref()
        .map(|webhook| json!({ "id": webhook.id, "url": webhook.settings.url, "verified": webhook.verified }));
    let counters = &state.counters;
    json!({
        "accounts": accounts.collect::<Vec<_>>(),
        "cars": cars.collect::<Vec<_>>(),
        "webhook": webhook,
        "counters": {
            "requests": counters.requests,
            "refreshes": counters.refreshes,
            "refreshesRefused": counters.refreshes_refused,
            "mostRefreshesAtOnce": counters.most_refreshes_at_once,
            "codesExchanged": counters.codes_exchanged,
            "applicationTokens": counters.application_tokens,
            "faults": counters.faults,
            "sent": counters.sent,
            "acknowledged": counters.acknowledged,
            "dropped": counters.dropped,
        },
    })
}
