//! How numbers of a vehicle went within a range, in as many points as a chart has room for.

use std::collections::BTreeMap;

use super::series::PastError;
use super::{HistoryQuery, Past};
use crate::model::Timestamp;
use crate::model::gist::Gist;
use crate::model::rollup::Span;
use crate::store::StoreError;
use crate::store::moments::Moment;

/// How a number went, in metric units.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Where in the car, if a signal tells of several places.
    pub place: Option<&'static str>,
    /// In order of time. The first may tell what held at the beginning of the range.
    pub points: Vec<Point>,
}

/// What a number was within a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it was told last.
    pub at: Timestamp,
    /// What was told last.
    pub last: f64,
    /// The least that was told.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Point {
    fn of(at: Timestamp, value: f64) -> Point {
        Point { at, last: value, min: value, max: value }
    }
}

impl Past<'_> {
    /// How signals went within a range, each in at most so many steps, and one point more for what held before. Of what
    /// is no longer kept change by change, the roll-ups tell.
    pub fn courses(
        &self,
        codes: &[&'static str],
        range: (Timestamp, Timestamp),
        steps: u16,
    ) -> Result<Vec<(&'static str, Vec<Course>)>, PastError> {
        codes.iter().map(|code| Ok((*code, self.course(code, range, steps)?))).collect()
    }

    fn course(&self, code: &str, (since, until): (Timestamp, Timestamp), steps: u16) -> Result<Vec<Course>, StoreError> {
        let step = (until.as_millis() - since.as_millis()).div_euclid(i64::from(steps.max(1))).max(1);
        let mut gathering = Gathering { since, step, courses: BTreeMap::new() };
        let span = if step < Span::Day.millis() { Span::Hour } else { Span::Day };
        for rollup in self.snapshot.rollups(self.row, code, span, (span.begin(since), until), MOST)? {
            let (at, last) = rollup.last;
            gathering.add(None, Point { at, last, min: rollup.min, max: rollup.max });
        }
        let query = HistoryQuery { since: Some(since), until: Some(until), ..HistoryQuery::default() };
        let mut series = self.series_and_before(code, &query)?;
        while let Some(Moment { at, gist }) = series.next(self)? {
            match gist {
                Gist::Number(value) => gathering.add(None, Point::of(at, value)),
                Gist::Parts(parts) => parts.iter().for_each(|(place, value)| gathering.add(Some(place), Point::of(at, *value))),
                Gist::Yes(_) | Gist::Word(_) | Gist::Nothing => {}
            }
        }
        Ok(gathering.courses())
    }
}

/// Points that are put together as they come, in order of time.
struct Gathering {
    since: Timestamp,
    step: i64,
    courses: BTreeMap<Option<&'static str>, Gathered>,
}

/// A course, and where the step of its last point ends.
#[derive(Default)]
struct Gathered {
    points: Vec<Point>,
    end: Timestamp,
}

impl Gathering {
    fn courses(self) -> Vec<Course> {
        let course = |(place, Gathered { mut points, .. }): (_, Gathered)| {
            points.sort_by_key(|point| point.at);
            Course { place, points }
        };
        self.courses.into_iter().map(course).collect()
    }

    fn add(&mut self, place: Option<&'static str>, point: Point) {
        // What held at the beginning began before it.
        let point = Point { at: point.at.max(self.since), ..point };
        let Gathered { points, end } = self.courses.entry(place).or_default();
        match points.last_mut() {
            Some(last) if last.at <= point.at && point.at < *end && last.at > self.since => {
                *last = Point { min: last.min.min(point.min), max: last.max.max(point.max), ..point };
            }
            _ => {
                let steps = (point.at.as_millis() - self.since.as_millis()).div_euclid(self.step) + 1;
                *end = Timestamp::from_millis(self.since.as_millis() + steps * self.step);
                points.push(point);
            }
        }
    }
}

/// Roll-ups of more than a year of hours.
const MOST: usize = 10_000;
