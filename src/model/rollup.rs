//! Old numbers in few: what a signal told within an hour or a day.

use serde::{Deserialize, Serialize};

use super::Timestamp;

mod grid;

pub use grid::Grid;

/// How much time one roll-up tells of. Both begin where UTC's do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Span {
    /// Both.
    pub const ALL: [Span; 2] = [Span::Hour, Span::Day];

    /// Its length in milliseconds.
    pub fn millis(self) -> i64 {
        match self {
            Span::Hour => 3_600_000,
            Span::Day => 86_400_000,
        }
    }

    /// Where the one begins that a moment lies in.
    pub fn begin(self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis().div_euclid(self.millis()) * self.millis())
    }

    /// Reads `hour` or `day`.
    pub fn parse(text: &str) -> Option<Span> {
        match text {
            "hour" => Some(Span::Hour),
            "day" => Some(Span::Day),
            _ => None,
        }
    }
}

/// What a signal told within a span, in metric units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollup {
    /// Where the span begins.
    pub at: Timestamp,
    /// How many changes there were.
    pub count: u64,
    /// The least of them.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// All of them together: divided by `count`, the mean of the changes.
    pub sum: f64,
    /// The first, and when it was.
    pub first: (Timestamp, f64),
    /// The last, and when it was.
    pub last: (Timestamp, f64),
}

impl Rollup {
    /// Of one change.
    pub fn of(span: Span, at: Timestamp, value: f64) -> Rollup {
        let one = (at, value);
        Rollup { at: span.begin(at), count: 1, min: value, max: value, sum: value, first: one, last: one }
    }

    /// With what another tells of the same span.
    pub fn with(self, other: Rollup) -> Rollup {
        Rollup {
            at: self.at,
            count: self.count + other.count,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum + other.sum,
            first: if other.first.0 < self.first.0 { other.first } else { self.first },
            last: if other.last.0 >= self.last.0 { other.last } else { self.last },
        }
    }
}

/// Puts roll-ups among others: in order of time, each span once.
pub fn merge(into: &mut Vec<Rollup>, more: impl IntoIterator<Item = Rollup>) {
    for rollup in more {
        // Most come in order.
        let place = match into.last() {
            Some(last) if last.at < rollup.at => Err(into.len()),
            Some(last) if last.at == rollup.at => Ok(into.len() - 1),
            _ => into.binary_search_by_key(&rollup.at, |known| known.at),
        };
        match place {
            Ok(place) => into[place] = into[place].with(rollup),
            Err(place) => into.insert(place, rollup),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_begin_where_utc_does() {
        let at = Timestamp::parse("2025-10-09T08:53:20.007Z").unwrap();
        assert_eq!(Span::Hour.begin(at).to_string(), "2025-10-09T08:00:00.000Z");
        assert_eq!(Span::Day.begin(at).to_string(), "2025-10-09T00:00:00.000Z");
        assert_eq!(Span::Day.begin(Timestamp::from_millis(-1)).to_string(), "1969-12-31T00:00:00.000Z");
    }

    proptest! {
        /// However they come, and in however many parts, the same comes out.
        #[test]
        fn parts_make_the_whole(mut points in prop::collection::vec((0..300_000_000_i64, -50..50_i32), 1..60), cut in 0..60_usize) {
            points.sort_unstable();
            points.dedup_by_key(|point| point.0);
            let rolled = |(at, value): &(i64, i32)| Rollup::of(Span::Hour, Timestamp::from_millis(*at), f64::from(*value));
            let mut whole = Vec::new();
            merge(&mut whole, points.iter().map(rolled));
            let (early, late) = points.split_at(cut.min(points.len()));
            let (mut parts, mut first) = (Vec::new(), Vec::new());
            merge(&mut parts, late.iter().map(rolled));
            merge(&mut first, early.iter().map(rolled));
            merge(&mut parts, first);
            prop_assert_eq!(&parts, &whole);
            prop_assert_eq!(whole.iter().map(|rollup| rollup.count).sum::<u64>(), points.len() as u64);
            prop_assert!(whole.windows(2).all(|pair| pair[0].at < pair[1].at));
            for rollup in &whole {
                let inside: Vec<f64> = points.iter().map(rolled).filter(|one| one.at == rollup.at).map(|one| one.min).collect();
                prop_assert_eq!(Some(rollup.min), inside.iter().copied().min_by(f64::total_cmp));
                prop_assert_eq!(Some(rollup.max), inside.iter().copied().max_by(f64::total_cmp));
                prop_assert_eq!((rollup.first.1, rollup.last.1), (inside[0], inside[inside.len() - 1]));
            }
        }
    }
}
