use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in milliseconds since 1970, UTC. RFC 3339 with milliseconds in JSON, a number in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339.
    pub fn parse(text: &str) -> Option<Timestamp> {
        text.parse::<jiff::Timestamp>().ok().map(|time| Timestamp(time.as_millisecond()))
    }

    /// Reads a time as people write it: a moment of RFC 3339, a day (UTC), or how long before `now` it was, such as `30d`.
    pub fn written(text: &str, now: Timestamp) -> Option<Timestamp> {
        let day = || Timestamp::parse(&format!("{text}T00:00:00Z"));
        Timestamp::parse(text).or_else(day).or_else(|| span(text).map(|span| now.before(span)))
    }

    /// Reads a date of HTTP (RFC 9110), such as `Thu, 09 Oct 2025 08:53:20 GMT`.
    pub fn of_http(text: &str) -> Option<Timestamp> {
        let time = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(Timestamp(time.timestamp().as_millisecond()))
    }

    /// Year, month and day, UTC.
    pub fn date(self) -> [i64; 3] {
        let time = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        let date = jiff::tz::Offset::UTC.to_datetime(time);
        [date.year().into(), date.month().into(), date.day().into()]
    }

    /// Where a day begins, UTC; `None` if there is no such day.
    pub fn of_date([year, month, day]: [i64; 3]) -> Option<Timestamp> {
        let date = jiff::civil::Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
        let midnight = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
        Some(Timestamp(midnight.as_millisecond()))
    }

    /// The day since 1970, UTC; 0 for anything earlier.
    pub fn day(self) -> u32 {
        u32::try_from(self.0.div_euclid(86_400_000)).unwrap_or(0)
    }

    /// `duration` later.
    pub fn after(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(duration)))
    }

    /// `duration` earlier.
    pub fn before(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(millis(duration)))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Timestamp {
    /// For people: `2026-12-01 00:00:00 UTC`.
    pub fn plain(self) -> String {
        let time = jiff::Timestamp::from_millisecond(self.0);
        time.map_or_else(|_| self.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            Timestamp::parse(&text).ok_or_else(|| serde::de::Error::custom("not a time of RFC 3339"))
        } else {
            i64::deserialize(deserializer).map(Timestamp)
        }
    }
}

/// A span of time as people write it: `90s`, `10m`, `12h`, `7d`.
pub fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let seconds = match unit.trim_start() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    // Beyond a century every sum with a time would need a check of its own.
    number.parse::<u64>().ok()?.checked_mul(seconds).filter(|seconds| *seconds <= 100 * 365 * 86_400).map(Duration::from_secs)
}

/// A wait in whole seconds, one at least. Never shorter than it is: who waits that long is not refused again for a fraction.
pub fn in_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// A wait in words: `30 s`, `10 minutes`, `9 hours`, `8 days`. Never shorter than it is.
pub fn in_words(wait: Duration) -> String {
    match in_seconds(wait) {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7200 => format!("{} minutes", seconds.div_ceil(60)),
        seconds @ ..172_800 => format!("{} hours", seconds.div_ceil(3600)),
        seconds => format!("{} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339_with_milliseconds() {
        let time = Timestamp::from_millis(1_760_000_000_007);
        assert_eq!(time.to_string(), "2025-10-09T08:53:20.007Z");
        assert_eq!(time.plain(), "2025-10-09 08:53:20 UTC");
        assert_eq!(Timestamp::parse("2025-10-09T10:53:20.007+02:00"), Some(time));
    }

    #[test]
    fn people_write_a_moment_a_day_or_how_long_ago() {
        let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        for (text, read) in [
            ("2026-01-31T12:00:00+01:00", "2026-01-31T11:00:00.000Z"),
            ("2026-01-31", "2026-01-31T00:00:00.000Z"),
            ("30d", "2026-10-23T12:00:00.000Z"),
            ("90m", "2026-11-22T10:30:00.000Z"),
        ] {
            assert_eq!(Timestamp::written(text, now).map(|time| time.to_string()).as_deref(), Some(read), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "2026-01", "2026-01-31T12:00:00", "-30d", "30", "1y"] {
            assert_eq!(Timestamp::written(text, now), None, "{text}");
        }
    }

    #[test]
    fn waits_are_told_in_the_unit_that_fits() {
        for (seconds, words) in [(0, "1 s"), (119, "119 s"), (120, "2 minutes"), (7_201, "3 hours"), (172_801, "3 days")] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
        let fraction = Duration::from_millis(29_001);
        assert_eq!((in_seconds(fraction), &*in_words(fraction)), (30, "30 s"));
    }

    #[test]
    fn spans_have_a_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("24h", 86_400), ("5 d", 432_000), ("0s", 0)] {
            assert_eq!(span(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "h", "1y", "-1h", "+1h", "1.5h", "1h30m", "99999999999999999999d", "18446744073709551615d"] {
            assert_eq!(span(text), None, "{text}");
        }
    }
}
