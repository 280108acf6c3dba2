//! What cars lived through before the simulation began. Smartcar tells nothing of that; a demonstration lets it be told
//! all the same, so that there is something to see at once.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::Simulator;
use super::car::{Car, STEP_SECONDS};
use super::chance::Chance;
use super::events::{self, Event};
use super::model::Model;
use super::signals::{self, Signal};
use super::state::{State, Subscription};
use crate::model::Timestamp;

/// A car as it was now and then, oldest first.
pub(super) type Past = Vec<(i64, Car)>;

/// A car that has lived for so long when it is `now` (wall milliseconds), at the pace of the wall.
pub(super) fn grown(model: &'static Model, chance: Chance, now: i64, past: Duration) -> (Car, Past) {
    let steps = past.as_secs() / STEP_SECONDS;
    let times = (0..steps).rev().map(|left| Timestamp::from_millis(now).before(Duration::from_secs(left * STEP_SECONDS)));
    let born = Timestamp::from_millis(now).before(Duration::from_secs(steps * STEP_SECONDS));
    let mut car = Car::new(model, chance, born.as_millis());
    let mut past = Past::new();
    for (step, at) in (0..).zip(times) {
        car.step(at.as_millis());
        if step % LOOKED_EVERY == 0 {
            past.push((at.as_millis(), car.clone()));
        }
    }
    (car, past)
}

impl Simulator {
    /// Sends the webhooks what the connected cars lived through, as it would have been told at the time.
    pub async fn tell_the_past(&self) {
        let pasts = self.with(|state, _| {
            let subscriptions = state.subscriptions.clone();
            subscriptions.iter().map(|subscription| told(state, subscription)).collect::<Vec<_>>()
        });
        // One after the other of each car, as time goes.
        let each = pasts.into_iter().map(|events| async move {
            for event in events {
                self.send(event, 0, |status, _| status.is_success()).await;
            }
        });
        join_all(each).await;
    }
}

/// An event for each time at which something had changed, with what had.
fn told(state: &mut State, subscription: &Subscription) -> Vec<Event> {
    let past = state.pasts.remove(&subscription.vehicle_id).unwrap_or_default();
    let webhook = state.webhooks.iter().find(|webhook| webhook.id == subscription.webhook_id).cloned();
    let Some((webhook, connection)) = webhook.and_then(|webhook| {
        let connection = events::told_of(state, &webhook, subscription)?;
        Some((webhook, connection))
    }) else {
        return Vec::new();
    };
    let mut before = BTreeMap::new();
    let events = past.iter().filter_map(|(at, car)| {
        let found = events::chosen(&webhook, signals::signals(car));
        let granted = |signal: &&Signal| signal.judge(&connection.permissions).is_ok();
        let changed = |signal: &&Signal| signal.body.as_ref() != before.get(&signal.code);
        let news: Vec<Signal> = found.iter().filter(granted).filter(changed).cloned().collect();
        before = events::bodies(&found);
        let triggers: Vec<&Signal> = news.iter().collect();
        let at = Timestamp::from_millis(*at);
        (!news.is_empty()).then(|| events::vehicle_state(state, &webhook, &connection, &news, &triggers, at))?
    });
    events.collect()
}

/// So many steps pass between two looks.
const LOOKED_EVERY: u32 = 20;
