//! The past of a car: charts, charging sessions and how far it went.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Past;
use super::chart::{Chart, Figure, Line, Style};
use super::format::{self, When};
use super::numbers::Numbers;
use super::span::PastSpan;
use crate::model::catalogue::Quantity;
use crate::model::{Timestamp, count};
use crate::vehicles::{ChargeView, TripView};

/// All that is shown of the past.
#[derive(Debug)]
pub(super) struct Shown {
    /// Which parts of the past there are, and which this is.
    pub(super) choices: Vec<(&'static str, bool)>,
    /// What they cover.
    pub(super) covers: &'static str,
    /// The charts.
    pub(super) charts: Vec<Chart>,
    /// The newest charging sessions,
    pub(super) charges: Vec<Charge>,
    /// and some before them,
    pub(super) earlier: Vec<Charge>,
    /// and how many there are besides.
    pub(super) more: Option<String>,
    /// All sessions in a sentence.
    pub(super) charged: Option<String>,
    /// All distances in a sentence.
    pub(super) driven: Option<String>,
    /// On which day the first of them began: distances are those of whole days.
    pub(super) from: Option<String>,
    /// The distance of each day, or of each month of a year, newest first.
    pub(super) distances: Vec<(String, String)>,
    /// From when, as the API reads it.
    pub(super) since: String,
}

/// A charging session.
#[derive(Debug)]
pub(super) struct Charge {
    /// From which level to which.
    pub(super) levels: String,
    /// How much.
    pub(super) energy: Option<String>,
    /// For how long.
    pub(super) took: String,
    /// When it began.
    pub(super) began: When,
    /// What is odd about it.
    pub(super) state: Option<&'static str>,
}

impl Past<'_> {
    /// Draws it.
    pub(super) fn shown(&self, numbers: &Numbers) -> Shown {
        let mut charts: Vec<Chart> = KINDS.iter().filter_map(|kind| self.chart(kind, numbers)).collect();
        let bars = self.bars();
        charts.extend(self.distances(&bars, numbers));
        let mut charges = self.charges.iter().rev().map(|charge| session(charge, numbers));
        let unit = self.taste.amount(Quantity::Distance, 0.0).1;
        let distance = |(begin, distance): (&Timestamp, &f64)| {
            (self.clock.name_of_part(self.span, *begin), numbers.amount(*distance, 0, unit))
        };
        Shown {
            choices: PastSpan::ALL.iter().map(|span| (span.word(), *span == self.span)).collect(),
            covers: self.span.covers(),
            charts,
            charges: charges.by_ref().take(NEWEST).collect(),
            earlier: charges.by_ref().take(EARLIER).collect(),
            more: self.charges.len().checked_sub(NEWEST + EARLIER + 1).map(|others| numbers.count(others as u64 + 1)),
            distances: bars.iter().rev().map(distance).collect(),
            charged: self.charged(numbers),
            driven: self.driven(numbers),
            from: self.days.first().map(|day| self.clock.day(self.begin_of(day))),
            since: self.since.to_string(),
        }
    }

    fn chart(&self, kind: &Kind, numbers: &Numbers) -> Option<Chart> {
        let (_, courses) = self.courses.iter().find(|(code, _)| *code == kind.code)?;
        let shown = |value| self.taste.amount(kind.quantity, value).0;
        let lines = courses.iter().map(|course| Line {
            name: course.place.map(str::to_owned),
            values: course
                .points
                .iter()
                .map(|point| (point.at, [shown(point.last), shown(point.min), shown(point.max)]))
                .collect(),
        });
        let unit = self.taste.amount(kind.quantity, 0.0).1;
        let figure =
            Figure { title: kind.title, style: kind.style, unit, lines: lines.collect(), since: self.since, until: self.until };
        figure.draw(self.span, self.clock, numbers)
    }

    /// How far on each day, or in each month of a year, by where it begins.
    fn bars(&self) -> BTreeMap<Timestamp, f64> {
        let mut bars: BTreeMap<Timestamp, f64> = BTreeMap::new();
        for day in self.days {
            let begin = match self.span {
                PastSpan::Year => self.clock.month_of(day.last_at),
                _ => self.begin_of(day),
            };
            *bars.entry(begin).or_default() += day.distance;
        }
        bars
    }

    fn distances(&self, bars: &BTreeMap<Timestamp, f64>, numbers: &Numbers) -> Option<Chart> {
        if self.span == PastSpan::Day {
            return None;
        }
        let values = bars.iter().map(|(at, distance)| (*at, [*distance; 3])).collect();
        let unit = self.taste.amount(Quantity::Distance, 0.0).1;
        let title = if self.span == PastSpan::Year { "Distance per month" } else { "Distance per day" };
        let lines = vec![Line { name: None, values }];
        let figure = Figure { title, style: Style::Bars, unit, lines, since: self.since, until: self.until };
        figure.draw(self.span, self.clock, numbers)
    }

    fn begin_of(&self, day: &TripView) -> Timestamp {
        let midnight = Timestamp::parse(&format!("{}T00:00:00Z", day.date)).unwrap_or(day.first_at);
        Timestamp::from_millis(midnight.as_millis() - self.clock.minutes() * 60_000)
    }

    fn driven(&self, numbers: &Numbers) -> Option<String> {
        let all: f64 = self.days.iter().map(|day| day.distance).sum();
        let unit = self.days.first()?.unit;
        Some(format!("{} on {}", numbers.amount(all, 0, unit), count(self.days.len(), "day")))
    }

    fn charged(&self, numbers: &Numbers) -> Option<String> {
        let energy: f64 = self.charges.iter().filter_map(|charge| charge.energy).sum();
        let times = match self.charges.len() {
            0 => return None,
            1 => "Once".to_owned(),
            several => format!("{several} times"),
        };
        let energy = if energy > 0.0 { format!(", {}", numbers.amount(energy, 1, "kWh")) } else { String::new() };
        Some(format!("{times}{energy}"))
    }
}

fn session(charge: &ChargeView, numbers: &Numbers) -> Charge {
    let level = |level: Option<f64>| level.map_or_else(|| format::UNKNOWN.to_owned(), |level| numbers.amount(level, 0, "%"));
    Charge {
        levels: format!("{} to {}", level(charge.start_level), level(charge.end_level)),
        energy: charge.energy.map(|energy| numbers.amount(energy, 1, "kWh")),
        took: format::duration(Duration::from_secs(charge.duration_s)),
        began: When::date(charge.started_at),
        state: match charge.state {
            "charging" => Some("charging now"),
            "end_not_seen" => Some("end not seen"),
            _ if !charge.start_seen => Some("may have begun earlier"),
            _ => None,
        },
    }
}

/// So many charging sessions are shown at once,
const NEWEST: usize = 10;
/// and so many when more are wanted: a page stays small.
const EARLIER: usize = 40;

/// What there are charts of.
struct Kind {
    code: &'static str,
    title: &'static str,
    quantity: Quantity,
    style: Style,
}

const KINDS: &[Kind] = &[
    Kind { code: "tractionbattery-stateofcharge", title: "Battery level", quantity: Quantity::Percent, style: Style::Level },
    Kind { code: "internalcombustionengine-fuellevel", title: "Fuel level", quantity: Quantity::Percent, style: Style::Level },
    Kind { code: "tractionbattery-range", title: "Range", quantity: Quantity::Distance, style: Style::FromZero },
    Kind { code: "internalcombustionengine-range", title: "Range on fuel", quantity: Quantity::Distance, style: Style::FromZero },
    Kind { code: "charge-wattage", title: "Charging power", quantity: Quantity::Power, style: Style::Steps },
    Kind { code: "odometer-traveleddistance", title: "Odometer", quantity: Quantity::Distance, style: Style::Between },
    Kind { code: "wheel-tires", title: "Tire pressure", quantity: Quantity::Pressure, style: Style::Between },
];

/// The signals that are drawn.
pub(crate) fn drawn() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.code)
}
