//! How numbers of a vehicle went within a range, in as many points as a chart has room for.

use std::collections::BTreeMap;

use super::series::Series;
use super::{HistoryQuery, Past, Shared, VehiclesError};
use crate::model::Timestamp;
use crate::model::gist::Gist;
use crate::model::rollup::Span;
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

impl Past {
    /// How signals went within a range, each in at most so many steps, and one point more for what held before. Of what
    /// is no longer kept change by change, the roll-ups tell.
    pub async fn courses(
        &self,
        codes: &[&'static str],
        range: (Timestamp, Timestamp),
        steps: u16,
    ) -> Result<Vec<(&'static str, Vec<Course>)>, VehiclesError> {
        let mut found = Vec::new();
        for code in codes {
            found.push((*code, self.course(code, range, steps).await?));
        }
        Ok(found)
    }

    async fn course(&self, code: &str, (since, until): (Timestamp, Timestamp), steps: u16) -> Result<Vec<Course>, VehiclesError> {
        let step = (until.as_millis() - since.as_millis()).div_euclid(i64::from(steps.max(1))).max(1);
        let mut gathering = Gathering { since, step, courses: BTreeMap::new() };
        let span = if step < Span::Day.millis() { Span::Hour } else { Span::Day };
        let (row, signal) = (self.row, code.to_owned());
        let rolled = self
            .shared
            .store
            .read(move |snapshot| snapshot.rollups(row, &signal, span, (span.begin(since), until), MOST))
            .await?;
        for rollup in rolled {
            let (at, last) = rollup.last;
            gathering.add(None, Point { at, last, min: rollup.min, max: rollup.max });
        }
        let query = HistoryQuery { since: Some(since), until: Some(until), ..HistoryQuery::default() };
        gathering.hear(&self.shared, self.series_and_before(code, &query).await?).await?;
        let mut courses: Vec<Course> = gathering.courses.into_values().collect();
        for course in &mut courses {
            course.points.sort_by_key(|point| point.at);
        }
        Ok(courses)
    }
}

/// Points that are put together as they come, in order of time.
struct Gathering {
    since: Timestamp,
    step: i64,
    courses: BTreeMap<Option<&'static str>, Course>,
}

impl Gathering {
    async fn hear(&mut self, shared: &Shared, mut series: Series) -> Result<(), VehiclesError> {
        while series.fill(shared).await? {
            while let Some(Moment { at, gist }) = series.next() {
                match gist {
                    Gist::Number(value) => self.add(None, Point::of(at, value)),
                    Gist::Parts(parts) => parts.iter().for_each(|(place, value)| self.add(Some(place), Point::of(at, *value))),
                    Gist::Yes(_) | Gist::Word(_) | Gist::Nothing => {}
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, place: Option<&'static str>, point: Point) {
        // What held at the beginning began before it.
        let point = Point { at: point.at.max(self.since), ..point };
        let place_of = |at: Timestamp| (at.as_millis() - self.since.as_millis()).div_euclid(self.step);
        let course = self.courses.entry(place).or_insert_with(|| Course { place, points: Vec::new() });
        match course.points.last_mut() {
            Some(last) if place_of(last.at) == place_of(point.at) && last.at > self.since => {
                *last = Point { min: last.min.min(point.min), max: last.max.max(point.max), ..point };
            }
            _ => course.points.push(point),
        }
    }
}

/// Roll-ups of more than a year of hours.
const MOST: usize = 10_000;
