//! The ledger of calls that count against Smartcar's plan: a row for each vehicle, and one for the application.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::tables::{ALL, Kind, Record, Typed};
use super::{Change, Rows, Snapshot, StoreError, Tables};
use crate::model::budget::{APPLICATION, Configured, LONGEST_REST, Ledger, Lesson, POOL_BUT_ONE, Pool, Reason, Spent};
use crate::model::vehicle::Vehicle;
use crate::model::{Timestamp, VehicleId};

impl Record for Ledger {
    const TABLE: &'static str = BUDGET;
    const IS_SECRET: bool = false;
}

impl Record for Pool {
    const TABLE: &'static str = BUDGET;
    const IS_SECRET: bool = false;
}

const BUDGET: &str = "budget-1";

/// A call about a vehicle, or about none, is to be made: it is counted before it goes out.
#[derive(Debug, Serialize, Deserialize)]
pub struct TakeCall {
    /// The row of the vehicle; [`APPLICATION`]: only the application's bucket counts it.
    pub vehicle: u32,
    /// Why.
    pub reason: Reason,
    /// Now.
    pub at: Timestamp,
    /// When the month of the plan began.
    pub since: Timestamp,
    /// How many calls a vehicle may have in it; `None`: as many as it likes.
    pub limit: Option<u32>,
    /// How many of them only some reasons may use.
    pub reserve: u32,
    /// Requests that went out meanwhile and count for the application only.
    pub aside: u32,
    /// How many calls of the month this reason may have; `None`: as many as there are.
    #[serde(default)]
    pub share: Option<u32>,
    /// How many calls of the application's bucket it leaves to others.
    #[serde(default)]
    pub leaves: u32,
}

/// What came of [`TakeCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It may go out.
    Granted {
        /// Which vehicle it is about.
        car: Option<VehicleId>,
        /// Somebody wanted to be left alone before: a good answer is news.
        rested: bool,
    },
    /// None of the month's calls is left to it.
    Spent(Spent),
    /// What this reason may have of them is spent.
    ShareIsSpent,
    /// The vehicle is to be left alone.
    VehicleRests(Timestamp),
    /// The application is to wait.
    ApplicationRests {
        /// Until then.
        until: Timestamp,
        /// Smartcar has refused calls, and the bucket fills anew since.
        told: bool,
    },
}

impl Change for TakeCall {
    type Outcome = Taken;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<Taken, StoreError> {
        let before = pool(tables)?;
        // By a clock that was ahead it would not fill before that time.
        let is_ahead = before.at > self.at;
        let pool = before.at(self.at);
        let pool = Pool { level: pool.level.saturating_sub(u64::from(self.aside) * 1000), ..pool };
        let mut ledger = known(tables, self.vehicle)?.within(self.since);
        let is_unsaid = ledger.limit.is_some() && ledger.learnt_under == Configured::Unknown;
        if is_unsaid {
            ledger.learnt_under = self.limit.into();
        }
        ledger.limit = ledger.learnt(self.limit);
        let kept = if self.reason.uses_reserve() { 0 } else { self.reserve };
        let refusal = match ledger.spent(self.limit, kept) {
            _ if self.vehicle == APPLICATION => None,
            Some(spent) => Some(Taken::Spent(spent)),
            None if self.share.is_some_and(|share| of_reason(&ledger, self.reason) >= share) => Some(Taken::ShareIsSpent),
            None => ledger.rest(self.at).map(Taken::VehicleRests),
        };
        let refusal = refusal.or_else(|| {
            // As long as it fills anew, it is Smartcar's refusal that has left so few, whoever has made them since.
            let (until, told) = (pool.opens_at(self.leaves), pool.felt_refusal(POOL_BUT_ONE).is_some());
            (until > self.at).then_some(Taken::ApplicationRests { until, told })
        });
        if let Some(refusal) = refusal {
            if self.aside > 0 || is_ahead {
                tables.put(APPLICATION, &pool)?;
            }
            if is_unsaid {
                tables.put(self.vehicle, &ledger)?;
            }
            return Ok(refusal);
        }
        let rested = ledger.refusals > 0 || pool.refusals > 0;
        let car = if self.vehicle == APPLICATION { None } else { tables.get_sound::<Vehicle>(self.vehicle)? };
        if car.is_some() {
            ledger.count(self.reason, 1, self.at);
            tables.put(self.vehicle, &ledger)?;
        }
        tables.put(APPLICATION, &Pool { level: pool.level - 1000, ..pool })?;
        Ok(Taken::Granted { car: car.map(|car| car.facts.id), rested })
    }
}

/// What really went out under a permit, and what its answer taught.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoteCalls {
    /// The row of the vehicle; [`APPLICATION`] if it was about none.
    pub vehicle: u32,
    /// Why.
    pub reason: Reason,
    /// Now.
    pub at: Timestamp,
    /// When the month of the plan began.
    pub since: Timestamp,
    /// How many requests went out. One was counted already.
    pub sent: u32,
    /// What was learnt.
    pub lesson: Option<Lesson>,
    /// Which vehicle it was about: by now it may have another row, or none. A journal of an earlier Carport does not say.
    #[serde(default)]
    pub car: Option<VehicleId>,
    /// How many calls a vehicle may have.
    #[serde(default)]
    pub configured: Configured,
}

impl NoteCalls {
    /// Where the calls are counted by now: under the row that the vehicle has, or the hash of its id if it was erased.
    fn place(&self, tables: &Tables<'_>) -> Result<Option<Place>, StoreError> {
        let row = match &self.car {
            None => Some(self.vehicle),
            Some(car) => match tables.row(Kind::Vehicle, car.as_str()) {
                Err(StoreError::Damaged { .. }) => Some(self.vehicle),
                row => row?,
            },
        };
        Ok(match (row, &self.car) {
            (Some(row), _) if tables.has::<Vehicle>(row)? => Some(Place { key: row.bytes(), is_erased: false }),
            (_, Some(car)) => {
                let key = tables.places().index_entry(Kind::Vehicle, car.as_str());
                Some(Place { key, is_erased: true })
            }
            _ => None,
        })
    }

    /// Until when to rest, and how often in a row that was said. If it was not said how long, a minute, and twice as long each
    /// further time. What goes out while a rest `stands` is refused for the same reason: that is no further time.
    fn rest(&self, stands: Option<Timestamp>, seconds: Option<u64>, refusals: u32) -> (Timestamp, u32) {
        let after = |seconds| self.at.after(Duration::from_secs(seconds).min(LONGEST_REST));
        match stands {
            Some(until) => (seconds.map_or(until, |seconds| until.max(after(seconds))), refusals),
            None => (after(seconds.unwrap_or(60 << refusals.min(9))), refusals.saturating_add(1)),
        }
    }
}

/// Where a ledger is kept.
struct Place {
    key: Vec<u8>,
    is_erased: bool,
}

impl Change for NoteCalls {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        let mut pool = pool(tables)?.at(self.at);
        let place = self.place(tables)?;
        let ledger = place.as_ref().map_or(Ok(None), |place| tables.get_sound::<Ledger>(&place.key[..]))?;
        let mut ledger = ledger.unwrap_or_default().within(self.since);
        match self.sent {
            // Nothing went out: no token was to be had.
            0 => {
                ledger.take_back(self.reason);
                pool.level += 1000;
            }
            sent => {
                ledger.count(self.reason, sent - 1, self.at);
                pool.level = pool.level.saturating_sub(u64::from(sent - 1) * 1000);
            }
        }
        match self.lesson {
            None => {}
            Some(Lesson::Good) => (ledger.refusals, pool.refusals) = (0, 0),
            Some(Lesson::MonthIsOver) => {
                ledger = Ledger { limit: Some(ledger.used), learnt_under: self.configured, learnt_at: self.at, ..ledger };
            }
            Some(Lesson::VehicleRests { seconds }) => {
                (ledger.rests_until, ledger.refusals) = self.rest(ledger.rest(self.at), seconds, ledger.refusals);
            }
            Some(Lesson::ApplicationRests { seconds }) => {
                (pool.rests_until, pool.refusals) = self.rest(pool.rest(self.at), seconds, pool.refusals);
                (pool.level, pool.at, pool.refused_at) = (0, self.at, self.at);
            }
        }
        match place {
            Some(place) if place.is_erased => leave(tables, &place.key, ledger)?,
            Some(place) => tables.put(&place.key[..], &ledger)?,
            None => {}
        }
        tables.put(APPLICATION, &pool)
    }
}

fn of_reason(ledger: &Ledger, reason: Reason) -> u32 {
    ledger.reasons.get(&reason).copied().unwrap_or(0)
}

/// What is about no vehicle has no ledger.
fn known(rows: &impl Rows, vehicle: u32) -> Result<Ledger, StoreError> {
    if vehicle == APPLICATION { Ok(Ledger::default()) } else { ledger(rows, vehicle) }
}

/// Damaged is as good as new: what the plan allows, Smartcar tells again.
fn ledger(rows: &impl Rows, vehicle: u32) -> Result<Ledger, StoreError> {
    Ok(rows.get_sound(vehicle)?.unwrap_or_default())
}

fn pool(rows: &impl Rows) -> Result<Pool, StoreError> {
    Ok(rows.get_sound(APPLICATION)?.unwrap_or_default())
}

/// A vehicle is erased. What it has cost this month stays under the keyed hash of its id, its `place` in the index: Smartcar
/// goes on counting, and connecting it again must not begin a month anew. When the calls were made goes.
pub(super) fn erase(tables: &mut Tables<'_>, vehicle: u32, place: &[u8]) -> Result<(), StoreError> {
    let left = ledger(tables, vehicle)?;
    tables.remove::<Ledger>(vehicle)?;
    forget_past_months(tables, left.since)?;
    leave(tables, place, left)
}

fn leave(tables: &mut Tables<'_>, place: &[u8], left: Ledger) -> Result<(), StoreError> {
    let left = left.undated();
    if left.used > 0 || left.limit.is_some() { tables.put(place, &left) } else { Ok(()) }
}

/// What somebody had of a vehicle that is another's now is erased. What it costs this month is counted under its row of now.
pub(super) fn erase_former(tables: &mut Tables<'_>, vehicle: u32) -> Result<(), StoreError> {
    tables.remove::<Ledger>(vehicle)
}

/// A vehicle gets a row of its own (again), after it was erased or has changed hands: the month goes on.
pub(super) fn carry_over(tables: &mut Tables<'_>, from: Option<u32>, to: u32, id: &VehicleId) -> Result<(), StoreError> {
    let place = tables.places().index_entry(Kind::Vehicle, id.as_str());
    let left = match from {
        Some(from) => Some(ledger(tables, from)?.undated()).filter(|left| left.used > 0),
        None => tables.get_sound::<Ledger>(&*place)?,
    };
    tables.remove::<Ledger>(&*place)?;
    // If there is none, what a row that is taken again has counted is of a month that is over.
    left.map_or(Ok(()), |left| tables.put(to, &left))
}

/// What erased vehicles have cost in a month that is over is of use to nobody.
fn forget_past_months(tables: &mut Tables<'_>, since: Timestamp) -> Result<(), StoreError> {
    for key in tables.keys(BUDGET, ALL, usize::MAX)? {
        let is_over = |left: Ledger| left.is_over(since);
        if key.len() > size_of::<u32>() && tables.get_sound::<Ledger>(&*key)?.is_none_or(is_over) {
            tables.remove::<Ledger>(&*key)?;
        }
    }
    Ok(())
}

impl Snapshot<'_> {
    /// What was called about a vehicle in the month that began at `since`.
    pub fn ledger(&self, vehicle: u32, since: Timestamp) -> Result<Ledger, StoreError> {
        Ok(known(self, vehicle)?.within(since))
    }

    /// The application's bucket.
    pub fn pool(&self) -> Result<Pool, StoreError> {
        pool(self)
    }
}
