//! Charging sessions, as far as signals tell of them.
//!
//! Of each signal only changes are known, and a car that sleeps tells nothing: so a session says whether its beginning
//! and its end were seen, and where its energy is known from.

use serde::Serialize;

use super::Timestamp;

/// Something that a car told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Told {
    /// Whether it charges.
    Charging(bool),
    /// Whether the cable is in.
    Plugged(bool),
    /// How full the battery is, in percent.
    Level(f64),
    /// How much the session has brought so far, in kWh.
    Energy(f64),
    /// With how much it charges, in kW.
    Power(f64),
    /// How far it has come, in km.
    Odometer(f64),
    /// What the battery holds, in kWh.
    Capacity(f64),
}

/// A charging session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Session {
    /// When the car first said that it charges.
    pub started_at: Timestamp,
    /// Whether it had said before that it does not.
    pub start_seen: bool,
    /// How it ended.
    pub end: End,
    /// When a sign of it was last seen.
    pub last_seen_at: Timestamp,
    /// How full the battery was at its beginning, in percent.
    pub start_level: Option<f64>,
    /// How full it was at its end, or when last seen.
    pub end_level: Option<f64>,
    /// What it brought, in kWh, and how that is known.
    pub energy: Option<(f64, EnergyFrom)>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not yet, as far as is known.
    Open,
    /// The car said so.
    Seen(Timestamp),
    /// Unseen, before the car was found elsewhere or emptier.
    Missed(Timestamp),
}

/// How the energy of a session is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergyFrom {
    /// The car told it.
    Told,
    /// From the levels, and what the battery holds.
    Level,
    /// From the power, taken as steady until the next that was told.
    Power,
}

/// What makes sessions of what a car told. Everything is told in order of time.
#[derive(Debug, Default)]
pub struct Sessions {
    /// What was told of one moment: state counts after numbers.
    moment: Vec<Told>,
    at: Timestamp,
    charging: Option<bool>,
    level: Option<f64>,
    power: Option<f64>,
    odometer: Option<f64>,
    capacity: Option<f64>,
    open: Option<Open>,
    done: Vec<Session>,
}

#[derive(Debug)]
struct Open {
    session: Session,
    told_energy: Option<f64>,
    /// In kWh, and until when it was summed up.
    summed: Option<(f64, Timestamp)>,
    highest: Option<f64>,
    odometer: Option<f64>,
}

/// So much emptier, in percent, or further, in km, is no inaccuracy.
const DROP: f64 = 2.0;
const MOVED: f64 = 1.0;

impl Sessions {
    /// Hears what was told of a moment.
    pub fn hear(&mut self, at: Timestamp, told: Told) {
        if at != self.at {
            self.take_in();
            self.at = at;
        }
        self.moment.push(told);
    }

    /// Sessions that are over.
    pub fn drain(&mut self) -> Vec<Session> {
        std::mem::take(&mut self.done)
    }

    /// All that are left, the last of which may go on.
    pub fn finish(mut self) -> Vec<Session> {
        self.take_in();
        self.close(End::Open);
        self.done
    }

    fn take_in(&mut self) {
        let (moment, at) = (std::mem::take(&mut self.moment), self.at);
        let (mut charging, mut unplugged) = (None, false);
        let before = self.level;
        for told in &moment {
            match *told {
                Told::Charging(is) => charging = Some(is),
                Told::Plugged(is) => unplugged = !is,
                Told::Level(level) => self.level = Some(level),
                Told::Odometer(odometer) => self.odometer = Some(odometer),
                Told::Capacity(capacity) => self.capacity = Some(capacity),
                Told::Energy(_) | Told::Power(_) => {}
            }
        }
        if let Some(open) = &mut self.open {
            let is_emptier = open.highest.zip(self.level).is_some_and(|(highest, level)| level <= highest - DROP);
            let has_moved = open.odometer.zip(self.odometer).is_some_and(|(then, now)| now >= then + MOVED);
            if is_emptier || has_moved {
                // What is told now is of another time.
                open.session.end_level = before.or(open.session.end_level);
                self.close(End::Missed(at));
            } else {
                open.hear(&moment, at, self.power);
                open.session.end_level = self.level.or(open.session.end_level);
                open.highest = open.highest.max_of(self.level);
                open.odometer = open.odometer.or(self.odometer);
            }
        }
        for told in &moment {
            if let Told::Power(power) = told {
                self.power = Some(*power);
            }
        }
        match charging {
            Some(true) if self.open.is_none() => self.begin(at),
            Some(false) => self.close(End::Seen(at)),
            None if unplugged => self.close(End::Seen(at)),
            Some(true) | None => {}
        }
        self.charging = charging.or(self.charging);
    }

    fn begin(&mut self, at: Timestamp) {
        let session = Session {
            started_at: at,
            start_seen: self.charging == Some(false),
            end: End::Open,
            last_seen_at: at,
            start_level: self.level,
            end_level: self.level,
            energy: None,
        };
        let summed = self.power.map(|_| (0.0, at));
        self.open = Some(Open { session, told_energy: None, summed, highest: self.level, odometer: self.odometer });
    }

    fn close(&mut self, end: End) {
        let Some(Open { mut session, told_energy, summed, .. }) = self.open.take() else { return };
        let by_level = || {
            let (start, end) = session.start_level.zip(session.end_level)?;
            Some((end - start) / 100.0 * self.capacity?).filter(|energy| *energy > 0.0)
        };
        let by_power = || summed.map(|(energy, _)| energy).filter(|energy| *energy > 0.0);
        session.energy = (told_energy.map(|energy| (energy, EnergyFrom::Told)))
            .or_else(|| by_level().map(|energy| (energy, EnergyFrom::Level)))
            .or_else(|| by_power().map(|energy| (energy, EnergyFrom::Power)));
        session.end = end;
        self.done.push(session);
    }
}

impl Open {
    fn hear(&mut self, moment: &[Told], at: Timestamp, power: Option<f64>) {
        if let Some((energy, until)) = self.summed {
            let hours = at.since(until).as_secs_f64() / 3600.0;
            self.summed = Some((energy + power.unwrap_or(0.0) * hours, at));
        }
        for told in moment {
            match *told {
                Told::Energy(energy) => self.told_energy = Some(energy),
                Told::Power(_) if self.summed.is_none() => self.summed = Some((0.0, at)),
                _ => {}
            }
        }
        self.session.last_seen_at = at;
    }
}

trait MaxOf {
    fn max_of(self, other: Self) -> Self;
}

impl MaxOf for Option<f64> {
    fn max_of(self, other: Self) -> Self {
        self.zip(other).map_or(self.or(other), |(one, other)| Some(one.max(other)))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use expect_test::{Expect, expect};

    use super::Told::{Capacity, Charging, Energy, Level, Odometer, Plugged, Power};
    use super::*;

    /// Minutes, and what was told.
    fn check(told: &[(i64, Told)], expect: Expect) {
        let minute = |minute: i64| Timestamp::from_millis(minute * 60_000);
        let minutes = |at: Timestamp| at.as_millis() / 60_000;
        let mut sessions = Sessions::default();
        for (at, told) in told {
            sessions.hear(minute(*at), *told);
        }
        let mut text = String::new();
        for Session { started_at, start_seen, end, last_seen_at, start_level, end_level, energy } in sessions.finish() {
            let end = match end {
                End::Open => "open".to_owned(),
                End::Seen(at) => format!("to {}", minutes(at)),
                End::Missed(at) => format!("missed, before {}", minutes(at)),
            };
            let start = if start_seen { "" } else { " (or earlier)" };
            writeln!(
                text,
                "from {}{start} {end}, last seen {}: {start_level:?} to {end_level:?}, {energy:?}",
                minutes(started_at),
                minutes(last_seen_at)
            )
            .unwrap();
        }
        expect.assert_eq(&text);
    }

    #[test]
    fn a_whole_session() {
        check(
            &[
                (0, Charging(false)),
                (0, Level(40.0)),
                (0, Energy(12.0)),
                (10, Charging(true)),
                (10, Level(39.0)),
                (20, Energy(0.5)),
                (40, Level(50.0)),
                (60, Charging(false)),
                (60, Level(60.0)),
                (60, Energy(15.5)),
                (90, Level(59.0)),
            ],
            expect![[r"
                from 10 to 60, last seen 60: Some(39.0) to Some(60.0), Some((15.5, Told))
            "]],
        );
    }

    #[test]
    fn energy_is_told_or_worked_out_or_not_known() {
        let state = [(0, Charging(false)), (10, Charging(true)), (70, Charging(false))];
        let with = |more: &[(i64, Told)]| {
            let mut all = [&state[..], more].concat();
            all.sort_by_key(|(at, _)| *at);
            all
        };
        check(
            &with(&[]),
            expect![[r"
            from 10 to 70, last seen 70: None to None, None
        "]],
        );
        check(
            &with(&[(0, Level(20.0)), (0, Capacity(50.0)), (70, Level(40.0))]),
            expect![[r"
            from 10 to 70, last seen 70: Some(20.0) to Some(40.0), Some((10.0, Level))
        "]],
        );
        check(
            &with(&[(10, Power(11.0)), (40, Power(5.0)), (70, Power(0.0))]),
            expect![[r"
            from 10 to 70, last seen 70: None to None, Some((8.0, Power))
        "]],
        );
    }

    #[test]
    fn what_was_not_seen_is_said() {
        // It charges when it is first heard of, and still does.
        check(
            &[(5, Charging(true)), (5, Level(30.0)), (35, Level(42.0))],
            expect![[r"
            from 5 (or earlier) open, last seen 35: Some(30.0) to Some(42.0), None
        "]],
        );
        // It has driven since.
        check(
            &[
                (0, Charging(false)),
                (10, Charging(true)),
                (10, Level(50.0)),
                (10, Odometer(100.0)),
                (50, Level(70.0)),
                (900, Odometer(160.0)),
                (900, Level(52.0)),
                (1000, Charging(false)),
            ],
            expect![[r"
                from 10 missed, before 900, last seen 50: Some(50.0) to Some(70.0), None
            "]],
        );
        // The cable was pulled.
        check(
            &[(0, Charging(false)), (10, Charging(true)), (30, Plugged(false)), (40, Charging(false))],
            expect![[r"
            from 10 to 30, last seen 30: None to None, None
        "]],
        );
    }

    #[test]
    fn a_pause_parts_sessions() {
        check(
            &[(0, Charging(false)), (10, Charging(true)), (20, Charging(false)), (30, Charging(true)), (40, Charging(false))],
            expect![[r"
                from 10 to 20, last seen 20: None to None, None
                from 30 to 40, last seen 40: None to None, None
            "]],
        );
    }
}
