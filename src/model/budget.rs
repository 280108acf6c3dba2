//! Calls that count against Smartcar's plan: why they are made, the leave to make one, and what was made.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::ToSpan;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{Timestamp, VehicleId};

/// Why a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The first picture of a newly linked car.
    Picture,
    /// Deliveries may have been lost.
    Gap,
    /// Somebody asked Carport for fresh values.
    Request,
    /// A client of Smartcar's own API asked, and nothing good enough is stored.
    Compat,
    /// The same, with a token that may only read.
    Reader,
    /// A command.
    Command,
    /// A scheduled read (`poll.every`).
    Poll,
}

impl Reason {
    /// Whether it may use what is kept in reserve.
    pub fn uses_reserve(self) -> bool {
        matches!(self, Reason::Gap | Reason::Command)
    }

    /// Whether it must leave something to all others: whoever may only read must not be able to keep an owner from
    /// asking.
    pub fn leaves_a_share(self) -> bool {
        self == Reason::Reader
    }
}

/// The leave to call Smartcar about one vehicle, for one reason. A call that counts cannot be made without one, and
/// only the ledger (`budget`) grants them.
#[derive(Debug)]
pub struct Permit {
    /// The row of the vehicle, or [`APPLICATION`].
    pub vehicle: u32,
    /// Which vehicle that is: its row may be gone when the answer is here.
    pub car: Option<VehicleId>,
    /// Why.
    pub reason: Reason,
    /// Smartcar wanted to be left alone before: a good answer is news.
    pub rested: bool,
    sent: AtomicU32,
}

impl Permit {
    /// Grants one. For the ledger, which has counted one call by then.
    pub fn granted(vehicle: u32, reason: Reason, rested: bool) -> Permit {
        Permit { vehicle, car: None, reason, rested, sent: AtomicU32::new(0) }
    }

    /// The same, with the vehicle that it is about.
    pub fn about(self, car: Option<VehicleId>) -> Permit {
        Permit { car, ..self }
    }

    /// A request goes out under it.
    pub fn note_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests went out under it.
    pub fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// The number of `budget.calls_per_vehicle_month` under which something was learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Configured {
    /// An earlier Carport did not keep it.
    #[default]
    Unknown,
    /// As many as one likes.
    Unlimited,
    /// So many.
    Calls(u32),
}

impl From<Option<u32>> for Configured {
    fn from(calls: Option<u32>) -> Configured {
        calls.map_or(Configured::Unlimited, Configured::Calls)
    }
}

/// What was called about one vehicle in one month of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// When the month began.
    pub since: Timestamp,
    /// How many calls were made.
    pub used: u32,
    /// How many for each reason.
    pub reasons: BTreeMap<Reason, u32>,
    /// How many Smartcar has shown to allow, if that is fewer than we thought.
    pub limit: Option<u32>,
    /// Under which number that was learnt.
    #[serde(default)]
    pub learnt_under: Configured,
    /// Smartcar wants to be left alone about this vehicle until then.
    pub rests_until: Timestamp,
    /// How often in a row it said so.
    pub refusals: u32,
    /// The last calls, oldest first.
    pub last: Vec<(Timestamp, Reason)>,
}

impl Ledger {
    /// How many calls Smartcar has shown to allow. It holds as long as the number is configured under which it was learnt:
    /// who writes another one has another plan, or knows better.
    pub fn learnt(&self, configured: Option<u32>) -> Option<u32> {
        let holds = [Configured::Unknown, configured.into()].contains(&self.learnt_under);
        self.limit.filter(|_| holds)
    }
}

/// The bucket that all calls of the application share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// What is left, in thousandths of a call.
    pub level: u64,
    /// When that was so.
    pub at: Timestamp,
    /// Smartcar wants to be left alone until then.
    pub rests_until: Timestamp,
    /// How often in a row it said so.
    pub refusals: u32,
}

/// How many calls the bucket holds, and how many come back each minute (Smartcar's `help/api-limits`).
pub const POOL: u64 = 120;
/// See [`POOL`].
pub const POOL_PER_MINUTE: u64 = 2;
/// How many of them are left to others by a reason that leaves a share.
pub const POOL_SHARE: u32 = 30;

/// The row of what is about no vehicle. Vehicles have rows from 1 on.
pub const APPLICATION: u32 = 0;

impl Default for Pool {
    fn default() -> Pool {
        Pool { level: POOL * 1000, at: Timestamp::default(), rests_until: Timestamp::default(), refusals: 0 }
    }
}

impl Pool {
    /// The same at another time. A clock that went back fills nothing.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Pool {
        let elapsed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let back = elapsed.saturating_mul(POOL_PER_MINUTE) / 60;
        Pool { level: self.level.saturating_add(back).min(POOL * 1000), at: now, ..self }
    }

    /// How long until it holds a whole call more than `kept`.
    pub fn wait(&self, kept: u32) -> Duration {
        let wanted = (u64::from(kept) + 1) * 1000;
        Duration::from_millis(wanted.saturating_sub(self.level) * 60 / POOL_PER_MINUTE)
    }
}

/// What an answer taught about a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lesson {
    /// It came: nobody wants to be left alone any more.
    Good,
    /// The plan allows no more calls about this vehicle this month (430).
    MonthIsOver,
    /// The vehicle, or its manufacturer, is to be left alone.
    VehicleRests {
        /// For so many seconds, at least.
        seconds: Option<u64>,
    },
    /// The application has called too often.
    ApplicationRests {
        /// For so many seconds, at least.
        seconds: Option<u64>,
    },
}

/// The month of the plan that `now` is in: from the last `reset_day` to the next, at midnight UTC. Days are 1 to 28.
pub fn month(now: Timestamp, reset_day: i8) -> (Timestamp, Timestamp) {
    let here = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default().to_zoned(TimeZone::UTC).date();
    let this = here.first_of_month().saturating_add((reset_day.clamp(1, 28) - 1).days());
    let begin = if here >= this { this } else { this.saturating_sub(1.month()) };
    let at = |date: jiff::civil::Date| {
        let millis = date.to_zoned(TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_millisecond());
        Timestamp::from_millis(millis)
    };
    (at(begin), at(begin.saturating_add(1.month())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn months_begin_on_the_reset_day() {
        for (now, day, since, until) in [
            ("2026-11-22T05:52:04Z", 1, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-11-22T00:00:00Z", 22, "2026-11-22T00:00:00Z", "2026-12-22T00:00:00Z"),
            ("2026-11-21T23:59:59.999Z", 22, "2026-10-22T00:00:00Z", "2026-11-22T00:00:00Z"),
            ("2027-01-05T12:00:00Z", 28, "2026-12-28T00:00:00Z", "2027-01-28T00:00:00Z"),
            ("2028-02-29T12:00:00Z", 28, "2028-02-28T00:00:00Z", "2028-03-28T00:00:00Z"),
        ] {
            assert_eq!(month(time(now), day), (time(since), time(until)), "{now} {day}");
        }
        // A clock that is far off does no harm.
        month(Timestamp::from_millis(i64::MAX), 1);
        month(Timestamp::from_millis(i64::MIN), 1);
    }

    #[test]
    fn the_pool_fills_by_two_a_minute() {
        let begin = time("2026-11-22T00:00:00Z");
        let empty = Pool { level: 0, at: begin, ..Pool::default() };
        assert_eq!((empty.wait(0), empty.wait(1)), (Duration::from_secs(30), Duration::from_secs(60)));
        assert_eq!(empty.clone().at(begin.after(Duration::from_secs(30))).level, 1000);
        assert_eq!(empty.clone().at(begin.after(Duration::from_secs(86_400))).level, POOL * 1000);
        assert_eq!(empty.at(begin.before(Duration::from_secs(60))).level, 0);
    }
}
