//! What goes to the webhook, and when: first deliveries, changed states, troubles and their end, VERIFY.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::chance::Chance;
use super::connect::reauthentication_url;
use super::signals::{self, Signal};
use super::state::{Connection, State, Subscription, Webhook};
use super::trouble::Trouble;
use crate::model::Timestamp;

/// An event on its way. Retries send it again under the same id.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) kind: &'static str,
    /// Empty for VERIFY.
    pub(super) vehicle_id: String,
    pub(super) webhook_id: String,
    pub(super) url: String,
    pub(super) signed: bool,
    pub(super) retry_scale: f64,
    body: Value,
}

/// VERIFY, with a challenge to be answered.
pub(super) fn verify(state: &mut State, challenge: &str, unsigned: bool) -> Option<Event> {
    let webhook = state.webhook.clone()?;
    let data = json!({ "challenge": challenge });
    let mut event = event(&mut state.chance, &webhook, "VERIFY", "", data);
    event.signed = webhook.settings.verify_signed && !unsigned;
    Some(event)
}

/// The first state of every vehicle that was subscribed since.
pub(super) fn first_deliveries(state: &mut State, now: Timestamp) -> Vec<Event> {
    each_subscription(state, |state, webhook, subscription| {
        if subscription.sent.is_some() {
            return None;
        }
        let connection = state.connection(Some(&subscription.user_id), &subscription.vehicle_id)?.clone();
        let found = signals::signals(state.cars.get(&subscription.vehicle_id)?);
        let triggers = json!([{ "type": "FIRST_DELIVERY" }]);
        subscription.sent = Some(bodies(&found));
        vehicle_state(state, webhook, &connection, &found, triggers, now)
    })
}

/// What changed since the last round; with `all`, the state of every vehicle even if nothing did.
pub(super) fn round(state: &mut State, now: Timestamp, all: bool) -> Vec<Event> {
    each_subscription(state, |state, webhook, subscription| {
        let sent = subscription.sent.as_ref()?;
        let connection = state.connection(Some(&subscription.user_id), &subscription.vehicle_id)?.clone();
        let found = signals::signals(state.cars.get(&subscription.vehicle_id)?);
        let granted = |signal: &&Signal| signal.judge(&connection.permissions).is_ok();
        let changed = |signal: &&Signal| signal.body.as_ref() != sent.get(&signal.code);
        let mut news: Vec<&Signal> = found.iter().filter(granted).filter(changed).collect();
        if news.is_empty() && all {
            news = found.iter().filter(granted).take(1).collect();
        }
        if !all && let Some(event) = trouble(state, webhook, subscription, &connection, &found) {
            return Some(event);
        }
        if subscription.trouble.is_some() || news.is_empty() {
            return None;
        }
        let triggers = news.iter().map(|signal| json!({ "type": "SIGNAL_UPDATED", "signal": signal.label() }));
        let triggers = Value::Array(triggers.collect());
        subscription.sent = Some(bodies(&found));
        vehicle_state(state, webhook, &connection, &found, triggers, now)
    })
}

/// The body of one delivery of an event: its own id and time.
pub(super) fn delivered(event: &Event, state: &mut State, now: Timestamp) -> Value {
    let mut body = event.body.clone();
    body["meta"]["deliveryId"] = json!(state.chance.uuid());
    // The documentation has a text here for VERIFY and a number everywhere else.
    body["meta"]["deliveredAt"] = if event.kind == "VERIFY" { json!(now) } else { json!(now.as_millis()) };
    body
}

/// Begins a trouble now and then, and ends it some rounds later, or when the owner signed in again.
fn trouble(
    state: &mut State,
    webhook: &Webhook,
    subscription: &mut Subscription,
    connection: &Connection,
    found: &[Signal],
) -> Option<Event> {
    let id = &subscription.vehicle_id;
    let present = state.cars.get(id)?.trouble.clone();
    let (trouble, resolved) = match (subscription.trouble.take(), present) {
        (None, None) => {
            if !state.chance.hit(webhook.settings.trouble) {
                return None;
            }
            let trouble = match state.chance.whole(0, 8) {
                0 => Trouble::signed_out(reauthentication_url(&state.base_url, &state.application_id, id)),
                1..=3 => Trouble::asleep(),
                _ => Trouble::unreachable(),
            };
            subscription.trouble_left = Some(state.chance.whole(2, 7));
            (trouble, false)
        }
        (None, Some(trouble)) => (trouble, false),
        (Some(told), present) => {
            let left = subscription.trouble_left.map(|left| left.saturating_sub(1));
            subscription.trouble_left = left;
            if present.is_some() && left != Some(0) {
                subscription.trouble = Some(told);
                return None;
            }
            subscription.trouble_left = None;
            (told, true)
        }
    };
    subscription.trouble = Some(trouble.clone()).filter(|_| !resolved);
    state.cars.get_mut(id)?.trouble.clone_from(&subscription.trouble);
    // A failed sign-in concerns the whole vehicle; the rest is told for what it keeps from being read.
    let touched = found.iter().filter(|signal| trouble.url.is_none() && signal.group == "Location");
    let touched = Value::Array(touched.map(Signal::label).collect());
    let data = data(state, connection, "errors", json!([trouble.event(resolved, touched)]))?;
    let mut event = event(&mut state.chance, webhook, "VEHICLE_ERROR", id, data);
    event.body["meta"]["mode"] = json!(connection.mode.to_ascii_uppercase());
    Some(event)
}

fn vehicle_state(
    state: &mut State,
    webhook: &Webhook,
    connection: &Connection,
    found: &[Signal],
    triggers: Value,
    now: Timestamp,
) -> Option<Event> {
    let items: Vec<Value> = found.iter().map(|signal| signal.item(&connection.permissions, now.as_millis())).collect();
    let count = items.len();
    let data = data(state, connection, "signals", Value::Array(items))?;
    let mut event = event(&mut state.chance, webhook, "VEHICLE_STATE", &connection.vehicle_id, data);
    state.sequence = now.as_millis().max(state.sequence + 1);
    event.body["triggers"] = triggers;
    event.body["meta"]["signalCount"] = json!(count);
    event.body["meta"]["mode"] = json!(connection.mode.to_ascii_uppercase());
    event.body["meta"]["sequence"] = json!(state.sequence);
    Some(event)
}

/// Whose vehicle, which vehicle, and `list` under `name`.
fn data(state: &State, connection: &Connection, name: &str, list: Value) -> Option<Value> {
    let mut vehicle = state.attributes(&connection.vehicle_id, connection.mode)?;
    vehicle["id"] = json!(connection.vehicle_id);
    let external_id = state.account_of(&connection.user_id).and_then(|account| account.external_id.as_ref());
    let user = json!({ "id": connection.user_id, "externalId": external_id });
    Some(json!({ "user": user, "vehicle": vehicle, name: list }))
}

fn event(chance: &mut Chance, webhook: &Webhook, kind: &'static str, vehicle_id: &str, data: Value) -> Event {
    let id = chance.uuid();
    let meta = json!({ "version": "4.0", "webhookId": webhook.id, "webhookName": webhook.settings.name });
    let mut body = json!({ "eventId": id, "eventType": kind, "data": data, "meta": meta });
    if !vehicle_id.is_empty() {
        body["vehicleId"] = json!(vehicle_id);
    }
    Event {
        id,
        kind,
        vehicle_id: vehicle_id.to_owned(),
        webhook_id: webhook.id.clone(),
        url: webhook.settings.url.clone(),
        signed: true,
        retry_scale: if webhook.settings.retry_scale.is_finite() { webhook.settings.retry_scale.clamp(0.0, 1000.0) } else { 1.0 },
        body,
    }
}

fn bodies(found: &[Signal]) -> BTreeMap<String, Value> {
    found.iter().filter_map(|signal| Some((signal.code.clone(), signal.body.clone()?))).collect()
}

/// Asks `tell` for each subscription, once the webhook is verified.
fn each_subscription(
    state: &mut State,
    mut tell: impl FnMut(&mut State, &Webhook, &mut Subscription) -> Option<Event>,
) -> Vec<Event> {
    let Some(webhook) = state.webhook.clone().filter(|webhook| webhook.verified) else { return Vec::new() };
    let mut subscriptions = std::mem::take(&mut state.subscriptions);
    let events = subscriptions.iter_mut().filter_map(|subscription| tell(state, &webhook, subscription)).collect();
    state.subscriptions = subscriptions;
    events
}
