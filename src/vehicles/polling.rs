//! Reading cars on a schedule that webhooks do not tell of.
//!
//! What the month's budget has left after its reserve is spread over the rest of the month; a car that charges is read
//! more often, and what that costs makes the other reads rarer. So the reads of a month never come near its limit:
//! the fewer are left, the longer is waited.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Shared, picture};
use crate::budget::{Refused, VehicleBudget};
use crate::model::Timestamp;
use crate::model::budget::Reason;
use crate::model::connection::ConnectionStatus;
use crate::model::reach::Reach;
use crate::model::vehicle::Vehicle;
use crate::smartcar::SmartcarError;
use crate::store::tellings::Latest;
use crate::store::{Snapshot, StoreError};
use crate::tokens::{CallError, TokenError};

/// Reads what is due until `shutdown`, if cars are to be read on a schedule at all.
pub(super) async fn run(shared: &Shared, shutdown: CancellationToken) {
    let Some(every) = shared.settings.get().polls_every else { return shutdown.cancelled().await };
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        tokio::select! {
            // A read under way is given up: it is counted, and comes again.
            () = shutdown.cancelled() => return,
            result = read_due(shared, every) => if let Err(error) = result {
                tracing::debug!(%error, "scheduled reads wait for the store");
            },
        }
    }
}

/// A car that may be read on a schedule.
struct Car {
    row: u32,
    vehicle: Vehicle,
    /// When Smartcar had it that it charges, if that is what it told last.
    charging_at: Option<Timestamp>,
}

/// Reads one car after the other, the one that has waited longest first.
async fn read_due(shared: &Shared, every: Duration) -> Result<(), StoreError> {
    let now = shared.world.now();
    let passed_over: Vec<u32> = {
        let mut resting = resting(shared);
        resting.retain(|_, rest| rest.until.elapsed() < FRESH);
        resting.iter().filter(|(_, rest)| rest.until > Instant::now()).map(|(row, _)| *row).collect()
    };
    let cars = shared.store.read(move |snapshot| untold(snapshot, &passed_over, now)).await?;
    if cars.is_empty() {
        return Ok(());
    }
    let budget = shared.budget.show(&Reach::All).await?;
    let mut room = budget.application.map_or(0, |bucket| bucket.left_for_polls());
    let mut due = Vec::new();
    for car in cars {
        // Only reads change what is known of such a car, so it need not be looked at every time.
        pass_over(shared, car.row, SHORTEST);
        let Some(account) = budget.items.iter().find(|item| item.vehicle == car.vehicle.facts.id) else { continue };
        let read_at = last_read(account);
        let Some(wait) = pause(every, charges(car.charging_at, read_at), account, budget.reserve, budget.until.since(now)) else {
            continue;
        };
        let waited = read_at.map_or(Duration::MAX, |at| now.since(at));
        // A clock that went back must not keep a car unread.
        if waited >= wait || read_at.is_some_and(|at| at > now.after(wait)) {
            due.push((waited, car, wait));
        } else {
            pass_over(shared, car.row, wait.saturating_sub(waited).min(SHORTEST));
        }
    }
    due.sort_by_key(|(waited, ..)| std::cmp::Reverse(*waited));
    for (_, car, wait) in due {
        if room == 0 {
            // It is its turn as soon as there is room again.
            pass_over(shared, car.row, Duration::ZERO);
            continue;
        }
        room -= 1;
        let failed_for = match picture::read(shared, car.row, &car.vehicle, None, Reason::Poll).await {
            Ok(()) => None,
            Err(CallError::Token(TokenError::Store(_)) | CallError::Budget(Refused::Store(_))) => return Ok(()),
            Err(error) => {
                tracing::info!(%error, "a scheduled read of a car brought nothing");
                Some(match error {
                    CallError::Smartcar(SmartcarError::Later { after, .. }) => after.unwrap_or_default(),
                    CallError::Token(TokenError::Later { after, .. }) => after,
                    CallError::Budget(refused) => refused.after(),
                    _ => wait,
                })
            }
        };
        // What went out is in the ledger; what did not must not be tried at every look.
        let least = failed_for.unwrap_or_default().max(SHORTEST);
        let failed_until = failed_for.map(|_| shared.world.now().after(least));
        resting(shared).insert(car.row, Rest { until: Instant::now() + least, failed_until });
    }
    Ok(())
}

/// How long a car is passed over.
#[derive(Debug)]
pub(super) struct Rest {
    until: Instant,
    /// When it is over, if it came of a read that brought nothing. To be spared a look is no one's concern.
    failed_until: Option<Timestamp>,
}

/// Until when a car rests, or has rested, because a read brought nothing.
pub(super) fn rested_until(shared: &Shared, row: u32) -> Option<Timestamp> {
    resting(shared).get(&row).and_then(|rest| rest.failed_until)
}

fn pass_over(shared: &Shared, row: u32, wait: Duration) {
    let until = Instant::now() + wait;
    resting(shared).entry(row).or_insert(Rest { until, failed_until: None }).until = until;
}

fn resting(shared: &Shared) -> MutexGuard<'_, HashMap<u32, Rest>> {
    shared.resting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connected cars, but for some, of which no delivery has come in for a day, and whose first picture is not being read.
fn untold(snapshot: &Snapshot<'_>, passed_over: &[u32], now: Timestamp) -> Result<Vec<Car>, StoreError> {
    let first = snapshot.vehicles_to_read(usize::MAX)?;
    let mut cars = Vec::new();
    for (row, vehicle) in snapshot.vehicles(0, usize::MAX)? {
        if passed_over.contains(&row) {
            continue;
        }
        let connection = vehicle.connection.map_or(Ok(None), |id| snapshot.sound_connection(id))?;
        let may = connection.is_some_and(|connection| match connection.status {
            ConnectionStatus::Active => true,
            // Only a good read shows that the manufacturer takes the account again, but that is the owner's turn.
            ConnectionStatus::NeedsReconnect { .. } | ConnectionStatus::Disconnected => false,
        });
        if may && !is_told(&vehicle, now) && !first.contains(&row) {
            let charging_at = charging_at(&snapshot.latest(row)?);
            cars.push(Car { row, vehicle, charging_at });
        }
    }
    Ok(cars)
}

/// Whether webhooks have told of a car within a day.
pub(super) fn is_told(vehicle: &Vehicle, now: Timestamp) -> bool {
    vehicle.last_event_at.is_some_and(|at| now.since(at) < TOLD)
}

/// When webhooks that tell nothing from now on count as silent.
pub(super) fn when_untold(last: Timestamp) -> Timestamp {
    last.after(TOLD)
}

/// Whether it charges, as far as the last read tells. What was old when it was read is no news: reading more often would
/// bring the same again.
pub(super) fn charges(charging_at: Option<Timestamp>, read_at: Option<Timestamp>) -> bool {
    charging_at.is_some_and(|at| read_at.is_none_or(|read| read.since(at) < FRESH))
}

pub(super) fn charging_at(latest: &[Latest]) -> Option<Timestamp> {
    let told = |code: &str, says: &dyn Fn(&Value) -> Option<bool>| {
        let latest = latest.iter().find(|latest| latest.code == code)?;
        Some((says(&latest.reading.as_ref()?.body.value())?, latest.fetched_at()))
    };
    let plain = told("charge-ischarging", &|body| body.get("value")?.as_bool());
    let detailed = || told("charge-detailedchargingstatus", &|body| Some(body.get("value")? == "CHARGING"));
    plain.or_else(detailed).filter(|(charges, _)| *charges)?.1
}

/// How long to wait from one read to the next; `None` while nothing is left to spread.
pub(super) fn pause(
    every: Duration,
    is_charging: bool,
    account: &VehicleBudget,
    reserve: u32,
    left: Duration,
) -> Option<Duration> {
    let wished = if is_charging { (every / OFTENER).max(SHORTEST) } else { every };
    let Some(remaining) = account.remaining else { return Some(wished) };
    let calls = Some(remaining.saturating_sub(reserve)).filter(|calls| *calls > 0)?;
    let evenly = left / calls;
    let spare = calls.saturating_sub(kept(account.limit.unwrap_or(remaining).saturating_sub(reserve), left));
    let spread = if is_charging && spare > 0 { evenly.min(left / spare.saturating_mul(OFTENER)) } else { evenly };
    Some(wished.max(spread))
}

/// How many of a month's calls charging leaves alone: what hurries takes [`OFTENER`] times as many calls as an even spread
/// would of those that are above this. At three eighths of the even share that is half of the even share, which is all
/// that is taken below it anyhow: 4 * (1/2 - 3/8) = 1/2. So whoever charges, and whenever, no part of the month has less
/// than half of its even share. And a call a day is left of the smallest budgets.
fn kept(month: u32, left: Duration) -> u32 {
    let share = u64::from(month).saturating_mul(left.as_secs()) * 3 / 8 / MONTH.as_secs();
    u32::try_from(share.max(left.as_secs() / 86_400)).unwrap_or(u32::MAX)
}

/// When the car was last read, for whatever reason.
pub(super) fn last_read(account: &VehicleBudget) -> Option<Timestamp> {
    account.last.iter().rev().find(|called| called.reason != Reason::Command).map(|called| called.at)
}

/// How often is looked for what is due.
const LOOK: Duration = Duration::from_secs(60);

/// A car that webhooks have told of within this time is left to them.
const TOLD: Duration = Duration::from_secs(86_400);

/// How many times as often a car is read while it charges.
const OFTENER: u32 = 4;

/// What a budget is for.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// How old what a read tells may be, to count as new.
const FRESH: Duration = Duration::from_secs(3600);

/// No car is asked more often.
const SHORTEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::VehicleId;

    const HOUR: Duration = Duration::from_secs(3600);
    const LIMIT: u32 = 500;
    const RESERVE: u32 = 50;

    fn account(remaining: Option<u32>) -> VehicleBudget {
        VehicleBudget {
            vehicle: VehicleId::new("v"),
            used: 0,
            reasons: std::collections::BTreeMap::new(),
            limit: remaining.map(|_| LIMIT),
            remaining,
            refused_after: None,
            spent: None,
            rests_until: None,
            last: Vec::new(),
        }
    }

    #[test]
    fn what_is_left_is_spread_over_what_is_left_of_the_month() {
        let month = 30 * 24 * HOUR;
        let wait = |every, is_charging, remaining, left| pause(every, is_charging, &account(remaining), 50, left);
        assert_eq!(wait(HOUR, false, Some(500), month), Some(month / 450));
        assert_eq!(wait(HOUR, true, Some(500), month), Some(month / (4 * (450 - 168))));
        assert_eq!(wait(6 * HOUR, false, Some(500), month), Some(6 * HOUR));
        assert_eq!(wait(HOUR, false, Some(51), 240 * HOUR), Some(240 * HOUR));
        // The reserve is never touched, and at the end of a month nothing is hurried.
        assert_eq!(wait(HOUR, true, Some(50), HOUR), None);
        assert_eq!(wait(HOUR, false, Some(500), HOUR), Some(HOUR));
        assert_eq!(wait(HOUR, false, None, month), Some(HOUR));
        assert_eq!(wait(HOUR / 2, true, None, month), Some(SHORTEST));
    }

    #[test]
    fn what_is_old_when_it_is_read_hurries_nobody() {
        let at = Timestamp::from_millis(1_700_000_000_000);
        assert!(charges(Some(at), Some(at.after(HOUR / 2))));
        assert!(charges(Some(at), None));
        assert!(charges(Some(at.after(HOUR)), Some(at)));
        assert!(!charges(Some(at), Some(at.after(3 * HOUR))));
        assert!(!charges(None, Some(at)));
    }

    /// Whether it charges always, half of each day, much in the first weeks or in the last, or as chance has it.
    #[test]
    fn no_week_has_less_than_half_of_its_share_whoever_charges() {
        const DAY: u64 = 86_400;
        let always = |_: u64| true;
        let by_chance = |hour: u64| hour.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62 == 0;
        let habits: [&dyn Fn(u64) -> bool; 6] = [
            &always,
            &|hour| hour % 24 < 12,
            &|hour| hour < 14 * 24,
            &|hour| hour >= 14 * 24,
            &|hour| hour % 96 < 48,
            &by_chance,
        ];
        for (habit, charges) in habits.into_iter().enumerate() {
            let (mut at, mut remaining, mut of_week) = (0, LIMIT, [0_u32; 5]);
            while let left = MONTH.saturating_sub(Duration::from_secs(at))
                && let Some(wait) = pause(HOUR / 2, charges(at / 3600), &account(Some(remaining)), RESERVE, left)
                && wait < left
            {
                (at, remaining) = (at + wait.as_secs().max(1), remaining - 1);
                of_week[usize::try_from(at / (7 * DAY)).unwrap()] += 1;
            }
            assert!(remaining >= RESERVE && at > 28 * DAY, "{habit}: {remaining} calls are left");
            // An even share is 105 a week.
            assert!(of_week[..4].iter().all(|calls| (52..=210).contains(calls)), "{habit}: {of_week:?}");
        }
    }
}
