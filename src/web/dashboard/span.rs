//! Parts of the past, and what clocks and calendars say where the viewer is.

use std::time::Duration;

use crate::model::Timestamp;

/// How much of the past is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PastSpan {
    /// The last 24 hours.
    Day,
    /// Seven days.
    Week,
    /// Thirty days.
    Month,
    /// 365 days.
    Year,
}

impl PastSpan {
    /// All of them.
    pub(super) const ALL: [PastSpan; 4] = [PastSpan::Day, PastSpan::Week, PastSpan::Month, PastSpan::Year];

    /// Reads its word.
    pub(crate) fn parse(word: &str) -> Option<PastSpan> {
        PastSpan::ALL.into_iter().find(|span| span.word() == word)
    }

    /// Its word.
    pub(super) fn word(self) -> &'static str {
        match self {
            PastSpan::Day => "day",
            PastSpan::Week => "week",
            PastSpan::Month => "month",
            PastSpan::Year => "year",
        }
    }

    /// How long it is.
    pub(crate) fn length(self) -> Duration {
        Duration::from_secs(86_400 * self.days().unsigned_abs())
    }

    /// How many points a line has.
    pub(crate) fn steps(self) -> u16 {
        match self {
            PastSpan::Day => 144,
            PastSpan::Week => 168,
            PastSpan::Month => 180,
            PastSpan::Year => 183,
        }
    }

    /// What it covers.
    pub(super) fn covers(self) -> &'static str {
        match self {
            PastSpan::Day => "the last 24 hours",
            PastSpan::Week => "the last 7 days",
            PastSpan::Month => "the last 30 days",
            PastSpan::Year => "the last 365 days",
        }
    }

    /// What a bar tells of.
    pub(super) fn each(self) -> &'static str {
        if self == PastSpan::Year { "in a month" } else { "in a day" }
    }

    fn days(self) -> i64 {
        match self {
            PastSpan::Day => 1,
            PastSpan::Week => 7,
            PastSpan::Month => 30,
            PastSpan::Year => 365,
        }
    }
}

/// The clock of a viewer: so many minutes ahead of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    minutes: i64,
}

impl Clock {
    /// Where nothing is known of the viewer.
    pub(crate) const UTC: Clock = Clock { minutes: 0 };

    /// So many minutes ahead of UTC, as written by the page's script; at most what there is on earth.
    pub(crate) fn read(written: &str) -> Option<Clock> {
        let minutes = written.parse().ok().filter(|minutes| (-14 * 60..=14 * 60).contains(minutes))?;
        Some(Clock { minutes })
    }

    /// Minutes ahead of UTC.
    pub(crate) fn minutes(self) -> i64 {
        self.minutes
    }

    /// The first moment of a month that this moment lies in.
    pub(super) fn month_of(self, at: Timestamp) -> Timestamp {
        let [year, month, _] = self.date(at);
        self.first_of(year, month)
    }

    /// Where the part of a range ends that begins here: a month of a year, else a day.
    pub(super) fn end_of_part(self, span: PastSpan, begin: Timestamp) -> Timestamp {
        let after = |days: i64| Timestamp::from_millis(begin.as_millis() + days * DAY);
        if span == PastSpan::Year { self.month_of(after(32)) } else { after(1) }
    }

    /// What people call the part that begins here: `Thu 9 Oct`, `Oct 2025`.
    pub(super) fn name_of_part(self, span: PastSpan, begin: Timestamp) -> String {
        let [year, month, day] = self.date(begin);
        if span == PastSpan::Year {
            return format!("{} {year}", name_of(month));
        }
        format!("{} {day} {}", self.weekday(begin), name_of(month))
    }

    /// A moment, as short as it is clear within a range.
    pub(super) fn name_of_moment(self, span: PastSpan, at: Timestamp) -> String {
        let [_, month, day] = self.date(at);
        match span {
            PastSpan::Day => self.time(at),
            PastSpan::Week => format!("{} {}", self.weekday(at), self.time(at)),
            PastSpan::Month | PastSpan::Year => format!("{day} {}, {}", name_of(month), self.time(at)),
        }
    }

    /// A day in full: `Thu 9 Oct 2025`.
    pub(super) fn day(self, at: Timestamp) -> String {
        let [year, month, day] = self.date(at);
        format!("{} {day} {} {year}", self.weekday(at), name_of(month))
    }

    fn time(self, at: Timestamp) -> String {
        let minutes = self.local(at).rem_euclid(DAY) / 60_000;
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }

    fn weekday(self, at: Timestamp) -> &'static str {
        // The first of January 1970 was a Thursday.
        let number = (self.local(at).div_euclid(DAY) + 4).rem_euclid(7);
        usize::try_from(number).ok().and_then(|number| WEEKDAYS.get(number)).copied().unwrap_or_default()
    }

    /// What stands below a chart, and where.
    pub(super) fn ticks(self, span: PastSpan, since: Timestamp, until: Timestamp) -> Vec<(Timestamp, String)> {
        match span {
            PastSpan::Day => {
                self.each(6 * HOUR, since, until, |clock, at| format!("{:02}:00", clock.local(at).rem_euclid(DAY) / HOUR))
            }
            PastSpan::Week => self.each(DAY, since, until, |clock, at| clock.weekday(at).to_owned()),
            PastSpan::Month => self.each(7 * DAY, since, until, |clock, at| {
                let [_, month, day] = clock.date(at);
                format!("{day} {}", name_of(month))
            }),
            PastSpan::Year => {
                let mut found = Vec::new();
                let [mut year, mut month, _] = self.date(since);
                loop {
                    (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                    let at = self.first_of(year, month);
                    if at >= until || found.len() > 12 {
                        return found;
                    }
                    // Every other one has room.
                    if month % 2 == 1 {
                        found.push((at, name_of(month).to_owned()));
                    }
                }
            }
        }
    }

    fn each(
        self,
        step: i64,
        since: Timestamp,
        until: Timestamp,
        say: fn(Clock, Timestamp) -> String,
    ) -> Vec<(Timestamp, String)> {
        // Whole days and hours of the viewer; of weeks, those that begin on Monday.
        let shift = if step == 7 * DAY { 4 * DAY } else { 0 };
        let first = (self.local(since) - shift + step - 1).div_euclid(step) * step + shift;
        let all = (0..16).map(|number| self.global(first + number * step));
        all.take_while(|at| *at < until).map(|at| (at, say(self, at))).collect()
    }

    fn local(self, at: Timestamp) -> i64 {
        at.as_millis() + self.minutes * 60_000
    }

    fn global(self, local: i64) -> Timestamp {
        Timestamp::from_millis(local - self.minutes * 60_000)
    }

    /// Year, month and day.
    fn date(self, at: Timestamp) -> [i64; 3] {
        Timestamp::from_millis(self.local(at)).date()
    }

    fn first_of(self, year: i64, month: i64) -> Timestamp {
        self.global(Timestamp::of_date([year, month, 1]).unwrap_or_default().as_millis())
    }
}

fn name_of(month: i64) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|number| MONTHS.get(number)).copied().unwrap_or_default()
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(zone: &str, span: PastSpan, until: &str) -> Vec<String> {
        let until = Timestamp::parse(until).unwrap();
        let ticks = Clock::read(zone).unwrap().ticks(span, until.before(span.length()), until);
        ticks.into_iter().map(|(at, text)| format!("{text} {}", &at.to_string()[..16])).collect()
    }

    #[test]
    fn clocks_are_where_the_viewer_is() {
        let day = ticks("120", PastSpan::Day, "2025-10-09T08:53:20Z");
        assert_eq!(day, ["12:00 2025-10-08T10:00", "18:00 2025-10-08T16:00", "00:00 2025-10-08T22:00", "06:00 2025-10-09T04:00"]);
        let week = ticks("-300", PastSpan::Week, "2025-10-09T08:53:20Z");
        assert_eq!((week.len(), week[0].as_str()), (7, "Fri 2025-10-03T05:00"));
        let month = ticks("0", PastSpan::Month, "2025-10-09T08:53:20Z");
        assert_eq!(month.iter().map(|tick| &tick[..6]).collect::<Vec<_>>(), ["15 Sep", "22 Sep", "29 Sep", "6 Oct "]);
        let year = ticks("60", PastSpan::Year, "2025-10-09T08:53:20Z");
        assert_eq!((year.len(), year[0].as_str()), (6, "Nov 2024-10-31T23:00"));
        for wrong in ["", "x", "841", "-841", "1e2", "60.5"] {
            assert_eq!(Clock::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn moments_are_named_as_short_as_it_is_clear() {
        let (at, clock) = (Timestamp::parse("2025-10-08T23:05:59Z").unwrap(), Clock::read("120").unwrap());
        let names = PastSpan::ALL.map(|span| clock.name_of_moment(span, at));
        assert_eq!(names, ["01:05", "Thu 01:05", "9 Oct, 01:05", "9 Oct, 01:05"]);
    }

    #[test]
    fn months_begin_where_the_viewer_is() {
        let at = Timestamp::parse("2025-09-30T23:30:00Z").unwrap();
        assert_eq!(Clock::UTC.month_of(at).to_string(), "2025-09-01T00:00:00.000Z");
        assert_eq!(Clock::read("60").unwrap().month_of(at).to_string(), "2025-09-30T23:00:00.000Z");
    }
}
