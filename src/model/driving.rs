//! How far a car went on each day, as far as its odometer tells.

use super::Timestamp;

/// A day on which a car was driven.
#[derive(Clone, Debug, PartialEq)]
pub struct Day {
    /// Such as `2025-10-09`.
    pub date: String,
    /// How far, in km.
    pub distance: f64,
    /// What the odometer said before, in km.
    pub start: f64,
    /// What it said at the end.
    pub end: f64,
    /// When it was first told on that day.
    pub first_at: Timestamp,
    /// When it was last told.
    pub last_at: Timestamp,
    /// The part that may have been driven on earlier days, and since when: from what was told last before that day to
    /// what was told first on it.
    pub unsure: Option<(f64, Timestamp)>,
}

/// What makes days of what an odometer told, in order of time.
#[derive(Debug)]
pub struct Days {
    /// Of the days from those of UTC, in milliseconds.
    offset: i64,
    before: Option<(Timestamp, f64)>,
    day: Option<(i64, Day)>,
    done: Vec<Day>,
}

const DAY: i64 = 86_400_000;

impl Days {
    /// Days that begin so many minutes before those of UTC.
    pub fn new(offset_minutes: i64) -> Days {
        Days { offset: offset_minutes * 60_000, before: None, day: None, done: Vec::new() }
    }

    /// The odometer, in km.
    pub fn hear(&mut self, at: Timestamp, odometer: f64) {
        let number = (at.as_millis() + self.offset).div_euclid(DAY);
        let Some((then, before)) = self.before.replace((at, odometer)) else { return };
        // Another instrument, or a mistake: what lies between is not a distance.
        let distance = odometer - before;
        if distance <= 0.0 {
            return;
        }
        if let Some((_, day)) = self.day.as_mut().filter(|(other, _)| *other == number) {
            (day.distance, day.end, day.last_at) = (day.distance + distance, odometer, at);
            return;
        }
        self.close();
        let is_unsure = (then.as_millis() + self.offset).div_euclid(DAY) != number;
        let date = Timestamp::from_millis(number * DAY).to_string();
        let day = Day {
            date: date.split('T').next().unwrap_or_default().to_owned(),
            distance,
            start: before,
            end: odometer,
            first_at: at,
            last_at: at,
            unsure: is_unsure.then_some((distance, then)),
        };
        self.day = Some((number, day));
    }

    /// Days that are over.
    pub fn drain(&mut self) -> Vec<Day> {
        std::mem::take(&mut self.done)
    }

    /// All that are left.
    pub fn finish(mut self) -> Vec<Day> {
        self.close();
        self.done
    }

    fn close(&mut self) {
        self.done.extend(self.day.take().map(|(_, day)| day));
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use expect_test::{Expect, expect};

    use super::*;

    /// Hours, and the odometer.
    fn check(offset: i64, told: &[(i64, f64)], expect: Expect) {
        let mut days = Days::new(offset);
        for (hour, odometer) in told {
            days.hear(Timestamp::from_millis(hour * 3_600_000), *odometer);
        }
        let mut text = String::new();
        for Day { date, distance, start, end, unsure, .. } in days.finish() {
            let unsure = unsure.map_or(String::new(), |(part, since)| format!(", {part} of it since {since}"));
            writeln!(text, "{date}: {distance} km, {start} to {end}{unsure}").unwrap();
        }
        expect.assert_eq(&text);
    }

    #[test]
    fn each_day_has_its_own() {
        check(
            0,
            &[(1, 100.0), (8, 110.0), (20, 130.0), (32, 131.0), (44, 140.0), (100, 200.0)],
            expect![[r"
            1970-01-01: 30 km, 100 to 130
            1970-01-02: 10 km, 130 to 140, 1 of it since 1970-01-01T20:00:00.000Z
            1970-01-05: 60 km, 140 to 200, 60 of it since 1970-01-02T20:00:00.000Z
        "]],
        );
    }

    #[test]
    fn days_are_those_of_the_owner() {
        check(
            120,
            &[(1, 100.0), (23, 110.0), (26, 120.0)],
            expect![[r"
            1970-01-02: 20 km, 100 to 120, 10 of it since 1970-01-01T01:00:00.000Z
        "]],
        );
        check(
            -300,
            &[(1, 100.0), (3, 110.0), (6, 120.0)],
            expect![[r"
            1969-12-31: 10 km, 100 to 110
            1970-01-01: 10 km, 110 to 120, 10 of it since 1970-01-01T03:00:00.000Z
        "]],
        );
    }

    #[test]
    fn an_odometer_that_goes_back_is_no_distance() {
        check(
            0,
            &[(1, 100.0), (2, 0.0), (3, 5.0), (4, 5.0)],
            expect![[r"
            1970-01-01: 5 km, 0 to 5
        "]],
        );
        check(0, &[(1, 100.0)], expect![[""]]);
    }
}
