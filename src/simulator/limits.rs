//! Rate limits and the plan's monthly number, as they are set.

use std::collections::BTreeMap;
use std::time::Duration;

use super::knobs::{Habits, Limits};
use super::trouble::Trouble;
use crate::model::Timestamp;

/// What was asked so far.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// How empty the application's bucket is, and since when that holds.
    drawn: f64,
    at: Timestamp,
    vehicles: BTreeMap<String, Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    last: Option<Timestamp>,
    /// As `2025-10`.
    month: String,
    count: u32,
}

impl Meter {
    /// Counts one request to an API, for a vehicle if it is about one: `cost` of the plan's. Err: it was one too many.
    pub(super) fn count(
        &mut self,
        limits: &Limits,
        habits: &Habits,
        vehicle_id: Option<&str>,
        cost: u32,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        if let Some((size, refill)) = limits.application {
            let minutes = now.since(self.at).as_secs_f64() / 60.0;
            self.drawn = (self.drawn - minutes * f64::from(refill)).max(0.0);
            self.at = now;
            if self.drawn + 1.0 > f64::from(size) + 1e-9 {
                let wait = (self.drawn + 1.0 - f64::from(size)) * 60.0 / f64::from(refill.max(1));
                return Err(Trouble::throttled(habits.retry_after.then(|| whole_seconds(Duration::from_secs_f64(wait)))));
            }
            self.drawn += 1.0;
        }
        let Some(id) = vehicle_id.filter(|_| limits.vehicle.is_some() || limits.month.is_some()) else { return Ok(()) };
        let asked = self.vehicles.entry(id.to_owned()).or_default();
        if let (Some(pause), Some(last)) = (limits.vehicle, asked.last)
            && now.since(last) < pause
        {
            return Err(Trouble::vehicle_throttled(whole_seconds(pause.saturating_sub(now.since(last)))));
        }
        asked.last = Some(now);
        let month: String = now.to_string().chars().take(7).collect();
        if month != asked.month {
            (asked.month, asked.count) = (month, 0);
        }
        asked.count = asked.count.saturating_add(cost);
        if limits.month.is_some_and(|most| asked.count > most) { Err(Trouble::used_up()) } else { Ok(()) }
    }
}

/// Rounded up, as a client must wait that long.
fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs() + u64::from(time.subsec_nanos() > 0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_again() {
        let (mut meter, habits) = (Meter::default(), Habits { retry_after: true, ..Habits::default() });
        let limits = Limits { application: Some((3, 2)), ..Limits::default() };
        let mut ask = |seconds: i64| meter.count(&limits, &habits, None, 1, Timestamp::from_millis(seconds * 1000));
        assert!((0..3).all(|_| ask(60).is_ok()));
        assert_eq!(ask(60).unwrap_err().retry_after, Some(30));
        assert!(ask(89).is_err() && ask(91).is_ok() && ask(92).is_err());
    }

    #[test]
    fn a_vehicle_has_a_pause_and_a_month() {
        let (mut meter, habits) = (Meter::default(), Habits::default());
        let limits = Limits { vehicle: Some(Duration::from_secs(10)), month: Some(2), ..Limits::default() };
        let mut ask = |id: &str, seconds: i64| {
            let asked = meter.count(&limits, &habits, Some(id), 1, Timestamp::from_millis(seconds * 1000));
            asked.map_err(|trouble| (trouble.status, trouble.retry_after))
        };
        assert_eq!(ask("a", 0), Ok(()));
        assert_eq!(ask("a", 4), Err((429, Some(6))));
        assert_eq!(ask("b", 4), Ok(()));
        assert_eq!(ask("a", 10), Ok(()));
        assert_eq!(ask("a", 30), Err((430, None)));
        assert_eq!(ask("a", 40 * 24 * 3600), Ok(()), "the next month");
    }
}
