//! What the schedule has for a car, as shown: whether it is read by itself, why not, when next, and how often.

use std::time::Duration;

use serde::Serialize;

use super::Shared;
use super::connections::Hindrance;
use super::polling::{charges, charging_at, is_told, last_read, pause, rested_until, when_untold};
use crate::budget::Plan;
use crate::model::budget::{POOL, POOL_HALF, POOL_PER_MINUTE, Pool};
use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::vehicle::Vehicle;
use crate::model::{Timestamp, in_words};
use crate::smartcar::in_two;
use crate::store::tellings::Latest;
use crate::store::{Snapshot, StoreError};

/// Whether a car is read by itself.
#[derive(Clone, Debug, Serialize)]
pub struct PollingView {
    /// `reading`, or why it is not read: `off`, `webhooks`, `not_connected`, `reconnect`, `hindered`, `budget`.
    pub state: &'static str,
    /// The same in a sentence or two.
    pub text: String,
    /// When it is read next, if nothing changes until then; of a car that is due, since when.
    pub next_at: Option<Timestamp>,
    /// How many seconds there are from one read to the next, as it is now.
    pub every_seconds: Option<u64>,
}

impl PollingView {
    /// Not read, and nothing tells when it will be.
    fn not(state: &'static str, text: impl Into<String>) -> PollingView {
        PollingView { state, text: text.into(), next_at: None, every_seconds: None }
    }

    /// Nothing is read on a schedule.
    pub fn off() -> PollingView {
        PollingView::not("off", "Carport does not read this car by itself: poll.every is not set.")
    }
}

/// What the schedule would do with a car now. `serving` is its connection, or what has happened to it.
pub(super) fn of(
    shared: &Shared,
    snapshot: &Snapshot<'_>,
    (row, vehicle): (u32, &Vehicle),
    serving: Result<Option<&Connection>, &'static str>,
    latest: &[Latest],
    now: Timestamp,
) -> Result<PollingView, StoreError> {
    let Some(every) = shared.settings.get().polls_every else { return Ok(PollingView::off()) };
    let connection = match serving {
        Ok(connection) => connection.filter(|connection| connection.status != ConnectionStatus::Disconnected),
        Err(what) => return Ok(PollingView::not("hindered", format!("Carport cannot read this car. {what}"))),
    };
    let Some(connection) = connection else {
        return Ok(PollingView::not("not_connected", "Carport does not read this car: it is not connected."));
    };
    if let ConnectionStatus::NeedsReconnect { .. } = connection.status {
        return Ok(PollingView::not("reconnect", "Carport does not read this car before its owner has connected it again."));
    }
    if let Some(Hindrance::Ended(what) | Hindrance::Refused(what)) = shared.hindrance(connection) {
        return Ok(PollingView::not("hindered", format!("Carport cannot read this car: {}.", in_two(&what).0)));
    }
    if is_told(vehicle, now) {
        let text =
            "Carport leaves this car to its webhooks, and reads it by itself when they have been silent for a day.".to_owned();
        let next_at = vehicle.last_event_at.map(when_untold);
        return Ok(PollingView { state: "webhooks", text, next_at, every_seconds: None });
    }
    let plan = shared.budget.account(snapshot, row, vehicle.facts.id.clone())?;
    let Plan { account, reserve, since, until, pool } = &plan;
    let read_at = last_read(account);
    let is_charging = charges(charging_at(latest), read_at);
    let wait_at = |at: Timestamp| pause(every, is_charging, account, *reserve, until.since(at));
    let Some(wait) = wait_at(now) else {
        let why = account.spent.as_deref().unwrap_or_default();
        let text = format!("Carport does not read this car by itself: {why}.");
        return Ok(PollingView { state: "budget", text, next_at: Some(*until), every_seconds: None });
    };
    // Nothing of it depends on the time of the look: a car that is due says since when, until it is read.
    let due = read_at.map_or(vehicle.linked_at, |at| due(at, at.max(*since), wait_at));
    let untold = vehicle.last_event_at.map(when_untold);
    let next_at = [rested_until(shared, row), account.rests_until, untold].into_iter().flatten().fold(due, Timestamp::max);
    let every_seconds = Some(wait.max(Duration::from_secs(1)).as_secs());
    if let Some(opens_at) = pool.closed_until(POOL_HALF, now).filter(|opens_at| next_at < *opens_at) {
        return Ok(PollingView {
            state: "budget",
            text: held(pool, opens_at.since(now)),
            next_at: Some(opens_at),
            every_seconds,
        });
    }
    let spread = if wait > every { ", as often as this month's calls allow" } else { "" };
    let faster = if is_charging { " That is more often than usual, because it is charging." } else { "" };
    let text = format!("Carport reads this car by itself about every {}{spread}.{faster}", in_words(wait));
    Ok(PollingView { state: "reading", text, next_at: Some(next_at), every_seconds })
}

/// That scheduled reads wait for calls of the whole application.
fn held(pool: &Pool, wait: Duration) -> String {
    let why = match pool.felt_refusal(POOL_HALF) {
        Some(_) => "Smartcar has refused the calls of the whole application (429), which are counted from none since".to_owned(),
        None => format!("of the {POOL} calls that Smartcar allows the whole application at once, {} are left", pool.level / 1000),
    };
    format!(
        "Carport reads this car again in {}: {why}. {POOL_PER_MINUTE} come back each minute, and {POOL_HALF} stay for commands and \
         for whoever asks.",
        in_words(wait)
    )
}

/// When a car that was read then is due, not before `from`: what is left is spread over what is left of the month, so that
/// each wait is over somewhat before it would be as it was then.
fn due(read_at: Timestamp, from: Timestamp, wait_at: impl Fn(Timestamp) -> Option<Duration>) -> Timestamp {
    let is_due = |at: Timestamp| wait_at(at).is_some_and(|wait| at.since(read_at) >= wait);
    if is_due(from) {
        return from;
    }
    let (mut early, mut late) = (from, from.after(wait_at(from).unwrap_or_default()));
    while late.since(early) > Duration::from_secs(1) {
        let middle = early.after(late.since(early) / 2);
        if is_due(middle) { late = middle } else { early = middle }
    }
    late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_car_is_due_when_its_wait_is_over_by_then() {
        const DAY: Duration = Duration::from_secs(86_400);
        let read = Timestamp::from_millis(1_760_000_000_000);
        let until = read.after(DAY * 30);
        // 2 calls for 30 days: the first after 10, which leaves 20 for 2 to come.
        let found = due(read, read, |at| Some(until.since(at) / 2));
        assert!(found.since(read.after(DAY * 10)) <= Duration::from_secs(1), "{found}");
        assert_eq!(due(read, until, |_| Some(DAY)), until, "due with the new month");
    }
}
