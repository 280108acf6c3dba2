//! What goes to the webhooks, and when: first deliveries, changed states, troubles and their end, VERIFY.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::connect::reauthentication_url;
use super::faults::FaultKind;
use super::knobs::{Habits, IdPlace, TriggerForm, TriggerPlace};
use super::legacy;
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
    pub(super) body: Value,
}

/// VERIFY, with a challenge to be answered. None: there is no such webhook any more.
pub(super) fn verify(state: &mut State, webhook_id: &str, challenge: &str) -> Option<Event> {
    let webhook = state.webhooks.iter().find(|webhook| webhook.id == webhook_id)?.clone();
    let unsigned = state.faults.strikes(FaultKind::UnsignedVerify, &mut state.luck);
    let mut event = if webhook.settings.legacy {
        legacy::verify(state, &webhook, challenge)
    } else {
        event(state, &webhook, "VERIFY", "", json!({ "challenge": challenge }))
    };
    event.signed = webhook.settings.verify_signed && state.settings.habits.verify_signed && !unsigned;
    Some(event)
}

/// The first state of every vehicle that was subscribed since. What flows steadily comes in its turn.
pub(super) fn first_deliveries(state: &mut State, now: Timestamp) -> Vec<Event> {
    let due = |subscription: &Subscription| {
        let webhook = || state.verified(&subscription.webhook_id);
        subscription.sent.is_none() && webhook().is_some_and(|webhook| webhook.settings.rate.is_none())
    };
    if !state.subscriptions.iter().any(due) {
        return Vec::new();
    }
    let events = each_subscription(state, |state, webhook, subscription| {
        if subscription.sent.is_some() || webhook.settings.rate.is_some() {
            return None;
        }
        first(state, webhook, subscription, now)
    });
    spoiled(state, events)
}

/// What changed since the last round; with `all`, the state of every vehicle even if nothing did.
pub(super) fn round(state: &mut State, now: Timestamp, all: bool) -> Vec<Event> {
    let events = each_subscription(state, |state, webhook, subscription| {
        if !all && webhook.settings.rate.is_some() {
            return None;
        }
        next_state(state, webhook, subscription, now, all)
    });
    spoiled(state, events)
}

/// The next `count` states of a steady flow, vehicle by vehicle.
pub(super) fn flow(state: &mut State, now: Timestamp, count: usize) -> Vec<Event> {
    let mut subscriptions = std::mem::take(&mut state.subscriptions);
    let mut events = Vec::new();
    let mut looked_at = 0;
    while events.len() < count && looked_at < subscriptions.len() {
        let place = state.next % subscriptions.len();
        state.next = place + 1;
        looked_at += 1;
        let subscription = &mut subscriptions[place];
        let flowing = state.webhooks.iter().find(|webhook| webhook.id == subscription.webhook_id);
        let Some(webhook) = flowing.filter(|webhook| webhook.rate().is_some()).cloned() else { continue };
        let event = match &subscription.sent {
            None => first(state, &webhook, subscription, now),
            Some(_) => next_state(state, &webhook, subscription, now, true),
        };
        if event.is_some() {
            looked_at = 0;
            state.webhooks.iter_mut().filter(|other| other.id == webhook.id).for_each(|webhook| webhook.flowed += 1);
        }
        events.extend(event);
    }
    state.subscriptions = subscriptions;
    spoiled(state, events)
}

/// Events of a steady flow that were due and that nobody sends: their time is over.
pub(super) fn skip(state: &mut State, count: u64) {
    let Some(webhook) = state.webhooks.iter_mut().find(|webhook| webhook.rate().is_some()) else { return };
    let left = webhook.settings.most.map_or(count, |most| most.saturating_sub(webhook.flowed));
    webhook.flowed += count.min(left);
    state.counters.skipped += count.min(left);
}

/// A test as the dashboard sends it: about a vehicle that nobody knows.
pub(super) fn test(state: &mut State, webhook_id: &str, now: Timestamp) -> Option<Event> {
    let webhook = state.webhooks.iter().find(|webhook| webhook.id == webhook_id)?.clone();
    let (id, car) = state.cars.iter().next()?;
    let (id, mut found) = (id.clone(), signals::signals(car));
    let user_id = state.accounts.iter().find(|account| account.vehicles.contains(&id))?.user_id.clone();
    found.retain(|signal| signal.permission == "read_odometer" || signal.permission == "read_battery");
    let permissions = vec!["read_odometer".to_owned(), "read_battery".to_owned()];
    let connection = Connection { id: String::new(), user_id, vehicle_id: id, permissions, mode: "live", connected_at: now };
    let mut event = vehicle_state(state, &webhook, &connection, &found, &found.iter().collect::<Vec<_>>(), now)?;
    as_test(state, &mut event);
    Some(event)
}

/// The body of one delivery of an event: its own id and time.
pub(super) fn delivered(event: &Event, state: &mut State, now: Timestamp) -> Value {
    let mut body = event.body.clone();
    if body.get("meta").is_some() {
        body["meta"]["deliveryId"] = json!(state.chance.uuid());
        // The documentation has a text here for VERIFY and a number everywhere else.
        let times = state.settings.habits.delivered_at;
        body["meta"]["deliveredAt"] = if event.kind == "VERIFY" { json!(now) } else { times.write(now) };
    }
    let habits = &state.settings.habits;
    let without = |part: &mut Value, name: &str| part.as_object_mut().and_then(|fields| fields.remove(name));
    match habits.vehicle_id {
        IdPlace::Both => None,
        IdPlace::Data => without(&mut body, "vehicleId"),
        IdPlace::Top => body.pointer_mut("/data/vehicle").and_then(|vehicle| without(vehicle, "id")),
    };
    if !habits.event_meta {
        without(&mut body, "meta");
    }
    body
}

/// The connection behind a subscription, if the webhook tells of its kind.
pub(super) fn told_of(state: &State, webhook: &Webhook, subscription: &Subscription) -> Option<Connection> {
    let tells_of_simulated = state.settings.habits.simulated_webhooks && !webhook.settings.legacy;
    let connection = state.connection(Some(&subscription.user_id), &subscription.vehicle_id)?;
    (connection.mode != "simulated" || tells_of_simulated).then(|| connection.clone())
}

fn first(state: &mut State, webhook: &Webhook, subscription: &mut Subscription, now: Timestamp) -> Option<Event> {
    let connection = told_of(state, webhook, subscription)?;
    let found = configured(state, webhook, &subscription.vehicle_id)?;
    subscription.sent = Some(bodies(&found));
    vehicle_state(state, webhook, &connection, &found, &[], now)
}

fn next_state(state: &mut State, webhook: &Webhook, subscription: &mut Subscription, now: Timestamp, all: bool) -> Option<Event> {
    let sent = subscription.sent.as_ref()?;
    let connection = told_of(state, webhook, subscription)?;
    let found = configured(state, webhook, &subscription.vehicle_id)?;
    let triggers = &webhook.settings.triggers;
    let granted = |signal: &&Signal| signal.judge(&connection.permissions).is_ok();
    let changed = |signal: &&Signal| signal.body.as_ref() != sent.get(&signal.code);
    let trigger = |signal: &&Signal| triggers.is_empty() || triggers.contains(&signal.code);
    let mut news: Vec<&Signal> = found.iter().filter(granted).filter(trigger).filter(changed).collect();
    if news.is_empty() && all {
        news = found.iter().filter(granted).take(1).collect();
    }
    if !all && let Some(event) = trouble(state, webhook, subscription, &connection, &found) {
        return Some(event);
    }
    if subscription.trouble.is_some() || news.is_empty() {
        return None;
    }
    let event = if webhook.settings.legacy { legacy::charging(state, webhook, &connection, &news, now) } else { None };
    let event = event.or_else(|| vehicle_state(state, webhook, &connection, &found, &news, now));
    subscription.sent = Some(bodies(&found));
    event
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
                0 => Trouble::signed_out(reauthentication_url(&state.settings, id)),
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
    let now = state.now;
    let car = state.cars.get_mut(id)?;
    car.set_trouble(subscription.trouble.clone(), now);
    car.keep(None, now);
    if webhook.settings.legacy {
        return None;
    }
    // A failed sign-in concerns the whole vehicle; the rest is told for what it keeps from being read.
    let touched = found.iter().filter(|signal| trouble.url.is_none() && signal.group == "Location");
    let by_name = state.settings.habits.error_signals_by_name;
    let named = |signal: &Signal| json!(format!("{}.{}", signal.group, signal.name));
    let touched: Vec<Value> = touched.map(|signal| if by_name { named(signal) } else { signal.label() }).collect();
    let touched = Value::Array(touched);
    let data = data(state, connection, "errors", json!([trouble.event(resolved, touched)]))?;
    let mut event = event(state, webhook, "VEHICLE_ERROR", id, data);
    event.body["meta"]["mode"] = mode(state, connection);
    Some(event)
}

/// Without news, it is the first delivery.
pub(super) fn vehicle_state(
    state: &mut State,
    webhook: &Webhook,
    connection: &Connection,
    found: &[Signal],
    news: &[&Signal],
    now: Timestamp,
) -> Option<Event> {
    if webhook.settings.legacy {
        return legacy::scheduled(state, webhook, connection, now);
    }
    let habits = &state.settings.habits;
    let items: Vec<Value> = found.iter().map(|signal| signal.item(&connection.permissions, habits, now.as_millis())).collect();
    let (count, triggers) = (items.len(), triggers(habits, news));
    let place = habits.triggers;
    let mut data = data(state, connection, "signals", Value::Array(items))?;
    if place == TriggerPlace::Data {
        data["triggers"] = triggers.clone();
    }
    let mut event = event(state, webhook, "VEHICLE_STATE", &connection.vehicle_id, data);
    state.sequence = now.as_millis().max(state.sequence + 1);
    if place == TriggerPlace::Top {
        event.body["triggers"] = triggers;
    }
    event.body["meta"]["signalCount"] = json!(count);
    event.body["meta"]["mode"] = mode(state, connection);
    event.body["meta"]["sequence"] = json!(state.sequence);
    Some(event)
}

fn triggers(habits: &Habits, news: &[&Signal]) -> Value {
    if news.is_empty() {
        let bare = habits.trigger_form == TriggerForm::Bare;
        return if bare { json!([{ "code": "FIRST_DELIVERY" }]) } else { json!([{ "type": "FIRST_DELIVERY" }]) };
    }
    let trigger = |signal: &&Signal| {
        let named = |signal: Value| json!({ "type": "SIGNAL_UPDATED", "signal": signal });
        match habits.trigger_form {
            TriggerForm::Object => named(signal.label()),
            TriggerForm::Name => named(json!(format!("{}.{}", signal.group, signal.name))),
            TriggerForm::Code => named(json!({ "code": signal.code })),
            TriggerForm::Bare => signal.label(),
        }
    };
    Value::Array(news.iter().map(trigger).collect())
}

fn mode(state: &State, connection: &Connection) -> Value {
    match connection.mode {
        "simulated" => json!(state.settings.habits.simulated_mode),
        mode => json!(mode.to_ascii_uppercase()),
    }
}

/// Whose vehicle, which vehicle, and `list` under `name`.
fn data(state: &State, connection: &Connection, name: &str, list: Value) -> Option<Value> {
    let mut vehicle = state.attributes(&connection.vehicle_id, connection.mode)?;
    vehicle["id"] = json!(connection.vehicle_id);
    let external_id = state.account_of(&connection.user_id).and_then(|account| account.external_id.as_ref());
    let user = json!({ "id": connection.user_id, "externalId": external_id });
    Some(json!({ "user": user, "vehicle": vehicle, name: list }))
}

fn event(state: &mut State, webhook: &Webhook, kind: &'static str, vehicle_id: &str, data: Value) -> Event {
    let id = state.chance.uuid();
    let meta = json!({ "version": "4.0", "webhookId": webhook.id, "webhookName": webhook.settings.name });
    let mut body = json!({ "eventId": id, "eventType": kind, "data": data, "meta": meta });
    if !vehicle_id.is_empty() {
        body["vehicleId"] = json!(vehicle_id);
    }
    of_webhook(webhook, id, kind, vehicle_id, body)
}

/// An event with this body.
pub(super) fn of_webhook(webhook: &Webhook, id: String, kind: &'static str, vehicle_id: &str, body: Value) -> Event {
    let settings = &webhook.settings;
    let elsewhere = settings.error_url.as_ref().filter(|_| kind == "VEHICLE_ERROR");
    Event {
        id,
        kind,
        vehicle_id: vehicle_id.to_owned(),
        webhook_id: webhook.id.clone(),
        url: elsewhere.unwrap_or(&settings.url).clone(),
        signed: true,
        retry_scale: if settings.retry_scale.is_finite() { settings.retry_scale.clamp(0.0, 1000.0) } else { 1.0 },
        body,
    }
}

/// The signals of a vehicle that the webhook was set up to deliver.
fn configured(state: &State, webhook: &Webhook, vehicle_id: &str) -> Option<Vec<Signal>> {
    Some(chosen(webhook, signals::signals(state.cars.get(vehicle_id)?)))
}

/// Those of these signals.
pub(super) fn chosen(webhook: &Webhook, mut found: Vec<Signal>) -> Vec<Signal> {
    let data = &webhook.settings.data;
    found.retain(|signal| data.is_empty() || data.contains(&signal.code));
    found
}

/// What they say, by code.
pub(super) fn bodies(found: &[Signal]) -> BTreeMap<String, Value> {
    found.iter().filter_map(|signal| Some((signal.code.clone(), signal.body.clone()?))).collect()
}

/// Asks `tell` for each subscription whose webhook is verified.
fn each_subscription(
    state: &mut State,
    mut tell: impl FnMut(&mut State, &Webhook, &mut Subscription) -> Option<Event>,
) -> Vec<Event> {
    let mut subscriptions = std::mem::take(&mut state.subscriptions);
    let events = subscriptions.iter_mut().filter_map(|subscription| {
        let webhook = state.verified(&subscription.webhook_id)?.clone();
        tell(state, &webhook, subscription)
    });
    let events = events.collect();
    state.subscriptions = subscriptions;
    events
}

/// What the faults of the day make of events.
fn spoiled(state: &mut State, mut events: Vec<Event>) -> Vec<Event> {
    let mut twice = Vec::new();
    for event in &mut events {
        let mut struck = |kind| state.faults.strikes(kind, &mut state.luck);
        let (duplicate, pad, is_test) = (struck(FaultKind::Duplicate), struck(FaultKind::Pad), struck(FaultKind::TestEvent));
        state.counters.faults += [duplicate, pad, is_test].into_iter().map(u64::from).sum::<u64>();
        if pad {
            padded(&mut event.body);
        }
        if is_test {
            as_test(state, event);
        }
        if duplicate {
            twice.push(event.clone());
        }
    }
    events.append(&mut twice);
    events
}

fn as_test(state: &mut State, event: &mut Event) {
    let stranger = json!(state.chance.uuid());
    event.body["vehicleId"].clone_from(&stranger);
    event.body["data"]["vehicle"]["id"] = stranger;
    event.body["meta"]["mode"] = json!("TEST");
}

/// As long as a payload may be: with the records of many charges.
fn padded(body: &mut Value) {
    let code = "charge-chargerecords";
    let mut signal = json!({
        "code": code, "name": "ChargeRecords", "group": "Charge",
        "body": { "values": [] }, "status": { "value": "SUCCESS" }, "meta": {},
    });
    let Some(list) = body["data"]["signals"].as_array_mut() else { return };
    list.retain(|other| other["code"] != code);
    let count = list.len() + 1;
    body["meta"]["signalCount"] = json!(count);
    let mut length = body.to_string().len() + signal.to_string().len();
    let mut records: Vec<Value> = Vec::new();
    loop {
        let place = json!({ "name": "Home", "latitude": 52.37, "longitude": 4.89 });
        let record = json!({
            "id": format!("charge-{}", records.len()), "startTime": "2025-10-01T20:00:00Z", "endTime": "2025-10-02T04:00:00Z",
            "energyAdded": 31.4, "isPublicCharger": false, "location": place,
        });
        length += record.to_string().len() + 1;
        if length > LONGEST_PAYLOAD - DELIVERY {
            break;
        }
        records.push(record);
    }
    signal["body"]["values"] = Value::Array(records);
    if let Some(list) = body["data"]["signals"].as_array_mut() {
        list.push(signal);
    }
}

/// What the id and time of a delivery take, and more than that.
const DELIVERY: usize = 200;
/// 50 kB, and a payload stays below.
const LONGEST_PAYLOAD: usize = 50_000;
