//! What was asked and what was sent, for tests and status lines.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A count of everything that matters. Event ids are kept for the last ten thousand events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests that reached the simulator, control routes left out.
    pub requests: u64,
    /// Refreshes asked for, whatever became of them.
    pub refreshes: u64,
    /// Refreshes answered with `invalid_grant`.
    pub refreshes_refused: u64,
    /// The most refreshes that were under way for one connection at the same time.
    pub most_refreshes_at_once: u32,
    /// Codes exchanged for tokens.
    pub codes_exchanged: u64,
    /// Application tokens handed out.
    pub application_tokens: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Deliveries sent, each retry counted.
    pub sent: u64,
    /// Events acknowledged.
    pub acknowledged: u64,
    /// Events given up after the last retry.
    pub dropped: u64,
    /// How many of these were VERIFY: the receiver may not have run yet.
    pub unverified: u64,
    /// Events not even sent, because too many were under way.
    pub skipped: u64,
    /// Deliveries by what came of them: `2xx`, another status, or what went wrong.
    pub results: BTreeMap<String, u64>,
    /// Deliveries by how long the answer took, in milliseconds of two digits.
    pub waits: BTreeMap<u64, u64>,
    /// Each event by its id.
    pub events: BTreeMap<String, EventCount>,
    order: VecDeque<String>,
}

/// What became of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventCount {
    /// `VERIFY`, `VEHICLE_STATE` or `VEHICLE_ERROR`.
    pub event_type: String,
    /// The vehicle it is about; empty for VERIFY.
    pub vehicle_id: String,
    /// Deliveries sent.
    pub sent: u32,
    /// Whether one was acknowledged.
    pub acknowledged: bool,
}

impl Counters {
    pub(super) fn sent(&mut self, event_id: &str, event_type: &str, vehicle_id: &str) {
        self.sent += 1;
        if !self.events.contains_key(event_id) {
            if self.order.len() >= MOST_EVENTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.events.remove(&oldest);
            }
            self.order.push_back(event_id.to_owned());
        }
        let event = self.events.entry(event_id.to_owned()).or_default();
        event.sent += 1;
        event_type.clone_into(&mut event.event_type);
        vehicle_id.clone_into(&mut event.vehicle_id);
    }

    /// What came of one delivery.
    pub(super) fn result(&mut self, result: String, wait: Duration) {
        *self.results.entry(result).or_default() += 1;
        let mut millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let mut scale = 1;
        while millis >= 100 {
            (millis, scale) = (millis / 10, scale * 10);
        }
        *self.waits.entry(millis * scale).or_default() += 1;
    }

    /// The wait that `share` of the deliveries (0 to 1) did not exceed, in milliseconds.
    pub fn wait(&self, share: f64) -> u64 {
        let total: u64 = self.waits.values().sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a count")]
        let wanted = (total as f64 * share).ceil() as u64;
        let mut counted = 0;
        for (millis, count) in &self.waits {
            counted += count;
            if counted >= wanted {
                return *millis;
            }
        }
        0
    }

    pub(super) fn acknowledged(&mut self, event_id: &str) {
        self.acknowledged += 1;
        if let Some(event) = self.events.get_mut(event_id) {
            event.acknowledged = true;
        }
    }
}

const MOST_EVENTS: usize = 10_000;
