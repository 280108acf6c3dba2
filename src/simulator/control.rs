//! Routes for scripts below `/simulator`, which the real Smartcar does not have. JSON in and out; a body must
//! say `Content-Type: application/json`, so that no page on the web can send one by itself. A field that is not known is
//! refused: passed over, it would leave somebody waiting for what never happens.
//!
//! - `GET /simulator/status`: accounts, cars, counters, webhooks
//! - `POST /simulator/webhook` `{"url", ..}`: sets the one webhook; takes what `/simulator/webhooks` takes
//! - `GET /simulator/webhooks`, `POST` with `{"url", "errorUrl"?, "name"?, "legacy"?, "triggers"?, "data"?,
//!   "autoSubscribe"?, "every"?, "rate"?, "verifySigned"?, "retryScale"?, "trouble"?}`: one more, `{"id"}` is the answer
//! - `DELETE /simulator/webhooks/{id}`, `POST /simulator/webhooks/{id}/verify` and `../test`: the dashboard's buttons
//! - `POST /simulator/deliver`: sends the state of every subscribed vehicle now
//! - `POST /simulator/faults` `{"faults": ["NAME[=VALUE][@PROBABILITY][*TIMES]"]}`: replaces the faults; `GET` lists those
//!   that may still strike, and all there are
//! - `POST /simulator/knobs` `{"knobs": ["NAME=VALUE"]}`: turns knobs; `GET` lists them, each with where it stands
//! - `POST /simulator/trouble` `{"vehicleId", "trouble": "TYPE.CODE" or null}`: what is wrong with a vehicle
//! - `POST /simulator/revoke` `{"email"}`: ends every token of an account

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::WebhookSettings;
use super::exchange::{self, Exchange, Reply};
use super::faults::Faults;
use super::knobs::Knob;
use super::pages;
use super::state::{Generation, Webhook};
use super::words::instead;

/// Answers everything below `/simulator`.
pub(super) fn answer(exchange: &mut Exchange<'_>, path: &[&str]) -> Reply {
    let good = |body: &Value| exchange::json(StatusCode::OK, body);
    let answered = match (exchange.method, path) {
        (&Method::GET, ["style.css"]) => return pages::style(),
        (&Method::GET, ["status"]) => return good(&status(exchange)),
        (&Method::GET, ["webhooks"]) => return good(&json!({ "webhooks": webhooks(exchange) })),
        (&Method::GET, ["knobs"]) => {
            let settings = &exchange.state.settings;
            let knob = |knob: &Knob| {
                let value = knob.value(settings);
                json!({ "name": knob.name, "value": value, "values": knob.values, "about": knob.about })
            };
            return good(&json!({ "knobs": Knob::ALL.iter().map(knob).collect::<Vec<_>>() }));
        }
        (&Method::GET, ["faults"]) => {
            let fault = |(fault, does): &(&str, &str)| json!({ "name": fault, "about": does });
            let all: Vec<Value> = Faults::ALL.iter().map(fault).collect();
            return good(&json!({ "faults": exchange.state.faults.in_force(), "all": all }));
        }
        (&Method::DELETE, ["webhooks", id]) => {
            if exchange.state.remove_webhook(id) {
                Ok(Value::Null)
            } else {
                Err(NO_WEBHOOK.to_owned())
            }
        }
        (&Method::POST, ["webhooks", id, button @ ("verify" | "test")]) => press(exchange, id, button),
        (&Method::POST, [what @ ("webhook" | "webhooks" | "deliver" | "faults" | "knobs" | "revoke" | "trouble")]) => {
            change(exchange, what)
        }
        _ => return exchange::json(StatusCode::NOT_FOUND, &json!({ "status": "refused", "reason": NO_ROUTE })),
    };
    match answered {
        Ok(id) => {
            exchange.wake = true;
            let body = if id.is_null() { json!({ "status": "accepted" }) } else { json!({ "status": "accepted", "id": id }) };
            exchange::json(StatusCode::ACCEPTED, &body)
        }
        Err(why) => exchange::json(StatusCode::BAD_REQUEST, &json!({ "status": "refused", "reason": why })),
    }
}

const NO_ROUTE: &str = "no such control route: there are GET /simulator/status, GET and POST /simulator/webhooks, /simulator/faults \
    and /simulator/knobs, POST /simulator/webhook, /simulator/deliver, /simulator/trouble and /simulator/revoke, DELETE \
    /simulator/webhooks/ID, POST /simulator/webhooks/ID/verify and /simulator/webhooks/ID/test";
const NO_WEBHOOK: &str = "no such webhook: GET /simulator/webhooks has the ids";

/// A button of a webhook in the dashboard.
fn press(exchange: &mut Exchange<'_>, id: &str, button: &str) -> Result<Value, String> {
    if !exchange.state.webhooks.iter().any(|webhook| webhook.id == id) {
        return Err(NO_WEBHOOK.to_owned());
    }
    let asked = if button == "verify" { &mut exchange.state.verify_asked } else { &mut exchange.state.test_asked };
    if !asked.iter().any(|other| other == id) {
        asked.push(id.to_owned());
    }
    Ok(Value::Null)
}

fn change(exchange: &mut Exchange<'_>, what: &str) -> Result<Value, String> {
    let kind = exchange.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err("Content-Type must be application/json".to_owned());
    }
    let body = if exchange.body.is_empty() { b"{}".as_slice() } else { exchange.body };
    let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    fields(what, &body)?;
    match what {
        "webhook" => exchange.state.set_webhook(Some(webhook(&body)?)),
        "webhooks" => return Ok(Value::String(exchange.state.add_webhook(webhook(&body)?))),
        "knobs" => {
            let mut settings = (*exchange.state.settings).clone();
            for text in texts(&body["knobs"]).ok_or("knobs must be a list of texts")? {
                Knob::turn(&mut settings, &text)?;
            }
            exchange.state.settings = Arc::new(settings);
        }
        "deliver" => exchange.state.round_asked = true,
        "trouble" => {
            let vehicle_id = body["vehicleId"].as_str().unwrap_or_default();
            exchange.state.set_trouble(vehicle_id, member::<String>(&body, "trouble", TEXT)?.as_deref())?;
        }
        "faults" => {
            let list = texts(&body["faults"]).ok_or("faults must be a list of texts")?;
            exchange.state.faults = Faults::read(list.iter().map(String::as_str)).map_err(|error| error.to_string())?;
        }
        _ => {
            let email = body["email"].as_str().unwrap_or_default();
            let account = exchange.state.accounts.iter().find(|account| account.email == email);
            let user_id = account.ok_or("no such account: GET /simulator/status has the e-mails")?.user_id.clone();
            exchange.state.tokens.revoke(&user_id);
        }
    }
    Ok(Value::Null)
}

/// Whether a route knows every field of a body.
fn fields(what: &str, body: &Value) -> Result<(), String> {
    let known: &[&str] = match what {
        "webhook" | "webhooks" => WEBHOOK,
        "knobs" => &["knobs"],
        "faults" => &["faults"],
        "trouble" => &["vehicleId", "trouble"],
        "revoke" => &["email"],
        _ => &[],
    };
    let body = body.as_object().ok_or("the body must be an object")?;
    match body.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) if known.is_empty() => Err(format!("there is no field `{name}` here: nothing goes with this")),
        Some(name) => Err(format!("there is no field `{name}` here: {}", instead(name, known))),
        None => Ok(()),
    }
}

/// A field, if it is there. Err: it is not `what`; its value is not repeated, for it may be anything.
fn member<T: DeserializeOwned>(body: &Value, name: &str, what: &str) -> Result<Option<T>, String> {
    serde_json::from_value(body[name].clone()).map_err(|_| format!("{name} must be {what}"))
}

/// A number of at least zero, if it is there.
fn amount(body: &Value, name: &str) -> Result<Option<f64>, String> {
    match member::<f64>(body, name, NUMBER)? {
        Some(number) if number < 0.0 => Err(format!("{name} must be {NUMBER}")),
        number => Ok(number),
    }
}

const TEXT: &str = "a text";
const NUMBER: &str = "a number, not below zero";
const YES_OR_NO: &str = "true or false";

const WEBHOOK: &[&str] = &[
    "url",
    "errorUrl",
    "name",
    "legacy",
    "triggers",
    "data",
    "autoSubscribe",
    "every",
    "rate",
    "verifySigned",
    "retryScale",
    "trouble",
];

fn texts(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn webhook(body: &Value) -> Result<WebhookSettings, String> {
    let address = |name: &str| {
        let text = member::<String>(body, name, TEXT)?;
        text.map(|text| WebhookSettings::address(&text).map_err(|what| format!("{name}: {what}"))).transpose()
    };
    let mut settings = WebhookSettings::new(address("url")?.ok_or("url is missing")?);
    if let Some(seconds) = amount(body, "every")? {
        settings.every = Duration::try_from_secs_f64(seconds).map_err(|error| format!("every: {error}"))?;
    }
    settings.error_url = address("errorUrl")?;
    settings.name = member(body, "name", TEXT)?.unwrap_or(settings.name);
    settings.legacy = member(body, "legacy", YES_OR_NO)?.unwrap_or(settings.legacy);
    for (name, codes) in [("triggers", &mut settings.triggers), ("data", &mut settings.data)] {
        if body[name].is_null() {
            continue;
        }
        *codes = texts(&body[name]).ok_or_else(|| format!("{name} must be a list of texts"))?;
        WebhookSettings::check_codes(codes).map_err(|what| format!("{name}: {what}"))?;
    }
    settings.auto_subscribe = member(body, "autoSubscribe", YES_OR_NO)?.unwrap_or(settings.auto_subscribe);
    settings.rate = amount(body, "rate")?;
    settings.verify_signed = member(body, "verifySigned", YES_OR_NO)?.unwrap_or(settings.verify_signed);
    settings.retry_scale = amount(body, "retryScale")?.unwrap_or(settings.retry_scale);
    settings.trouble = amount(body, "trouble")?.unwrap_or(settings.trouble);
    Ok(settings)
}

fn webhooks(exchange: &Exchange<'_>) -> Vec<Value> {
    let item = |webhook: &Webhook| {
        let Webhook { id, settings, verified, disabled, .. } = webhook;
        json!({ "id": id, "url": settings.url, "name": settings.name, "verified": verified, "disabled": disabled })
    };
    exchange.state.webhooks.iter().map(item).collect()
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
    let counters = &state.counters;
    json!({
        "accounts": accounts.collect::<Vec<_>>(),
        "cars": cars.collect::<Vec<_>>(),
        "webhook": webhooks(exchange).first(),
        "webhooks": webhooks(exchange),
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
            "skipped": counters.skipped,
            "results": counters.results,
        },
    })
}
