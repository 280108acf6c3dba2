//! Hours and days of a time zone.

use super::{Rollup, Span, merge};
use crate::model::Timestamp;

/// Spans that begin where those of a time zone do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    span: Span,
    /// In milliseconds ahead of UTC.
    offset: i64,
}

impl Grid {
    /// Spans of a zone that is so many minutes ahead of UTC.
    pub fn new(span: Span, offset_minutes: i64) -> Grid {
        Grid { span, offset: offset_minutes * 60_000 }
    }

    /// Of what length.
    pub fn span(self) -> Span {
        self.span
    }

    /// Whether they are those of UTC.
    pub fn is_of_utc(self) -> bool {
        self.offset.rem_euclid(self.span.millis()) == 0
    }

    /// Where the one begins that a moment lies in.
    pub fn begin(self, at: Timestamp) -> Timestamp {
        self.global(self.span.begin(self.local(at)))
    }

    /// Of one change.
    pub fn of(self, at: Timestamp, value: f64) -> Rollup {
        Rollup { at: self.begin(at), ..Rollup::of(self.span, at, value) }
    }

    /// What a clock there shows at a moment, as if that were UTC.
    pub fn local(self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis() + self.offset)
    }

    fn global(self, local: Timestamp) -> Timestamp {
        Timestamp::from_millis(local.as_millis() - self.offset)
    }

    /// Makes spans of this zone, from `since` on, of hours of UTC in order of time. An hour counts where it begins.
    pub fn of_hours(self, hours: &[Rollup], since: Timestamp) -> Vec<Rollup> {
        let mut found = Vec::new();
        merge(&mut found, hours.iter().map(|hour| Rollup { at: self.begin(hour.at), ..*hour }));
        found.retain(|rollup| rollup.at >= since);
        found
    }

    /// The same of hours, and of days of UTC of which hours are not kept any more: such a day counts for the day of the
    /// same date.
    pub fn of_days(self, hours: &[Rollup], days: &[Rollup], since: Timestamp) -> Vec<Rollup> {
        let mut found = self.of_hours(hours, since);
        let is_told = |day: &&Rollup| {
            let first = hours.partition_point(|hour| hour.at < day.at);
            hours.get(first).is_some_and(|hour| Span::Day.begin(hour.at) == day.at)
        };
        let whole = days.iter().filter(|day| !is_told(day)).map(|day| Rollup { at: self.global(day.at), ..*day });
        merge(&mut found, whole.filter(|day| day.at >= since));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn rolled(span: Span, moments: &[&str]) -> Vec<Rollup> {
        let mut found = Vec::new();
        merge(&mut found, moments.iter().map(|text| Rollup::of(span, at(text), 1.0)));
        found
    }

    fn told(rollups: &[Rollup]) -> Vec<(String, u64)> {
        rollups.iter().map(|rollup| (rollup.at.to_string()[..16].to_owned(), rollup.count)).collect()
    }

    #[test]
    fn spans_begin_where_those_of_the_zone_do() {
        let moment = at("2025-10-09T23:10:00Z");
        for (span, minutes, begin) in [
            (Span::Day, 0, "2025-10-09T00:00"),
            (Span::Day, 120, "2025-10-09T22:00"),
            (Span::Day, -300, "2025-10-09T05:00"),
            (Span::Day, 840, "2025-10-09T10:00"),
            (Span::Hour, 120, "2025-10-09T23:00"),
            (Span::Hour, 345, "2025-10-09T22:15"),
        ] {
            let grid = Grid::new(span, minutes);
            assert_eq!(&grid.begin(moment).to_string()[..16], begin, "{span:?} {minutes}");
            assert_eq!(grid.begin(grid.begin(moment)), grid.begin(moment));
        }
        assert!(Grid::new(Span::Hour, 120).is_of_utc() && !Grid::new(Span::Day, 120).is_of_utc());
    }

    #[test]
    fn old_days_count_for_their_date_and_hours_for_where_they_begin() {
        let moments = ["2025-10-07T12:00:00Z", "2025-10-08T05:00:00Z", "2025-10-08T22:30:00Z", "2025-10-09T04:00:00Z"];
        let days = rolled(Span::Day, &moments);
        let hours = rolled(Span::Hour, &moments[1..]);
        let of = |minutes, since: &str| told(&Grid::new(Span::Day, minutes).of_days(&hours, &days, at(since)));
        let one = |begin: &str, count| (begin.to_owned(), count);
        let all = "2025-10-01T00:00:00Z";
        assert_eq!(of(120, all), [one("2025-10-06T22:00", 1), one("2025-10-07T22:00", 1), one("2025-10-08T22:00", 2)]);
        assert_eq!(of(-300, all), [one("2025-10-07T05:00", 1), one("2025-10-08T05:00", 3)]);
        assert_eq!(of(-300, "2025-10-08T05:00:00Z"), [one("2025-10-08T05:00", 3)]);
        let half = Grid::new(Span::Hour, 345).of_hours(&hours, at(all));
        assert_eq!(told(&half), [one("2025-10-08T04:15", 1), one("2025-10-08T21:15", 1), one("2025-10-09T03:15", 1)]);
    }
}
