//! What follows from signals: when a car charged, and how far it went each day.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use serde::Serialize;

use super::past::time_cursor;
use super::series::{PastError, Series};
use super::{HistoryQuery, Past};
use crate::model::Timestamp;
use crate::model::charging::{End, EnergyFrom, Session, Sessions, Told};
use crate::model::driving::{Day, Days};
use crate::model::gist::Gist;
use crate::model::normal::{Units, in_units};
use crate::model::reach::{Page, PageRequest};
use crate::model::rollup::Span;
use crate::store::StoreError;
use crate::store::moments::Moment;

/// A charging session, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct ChargeView {
    /// When it began, as far as was seen.
    pub started_at: Timestamp,
    /// Whether the car had said before that it does not charge: else it may have begun earlier.
    pub start_seen: bool,
    /// When it ended; null if that was not seen.
    pub ended_at: Option<Timestamp>,
    /// `ended`, `charging` as far as is known, or `end_not_seen`.
    pub state: &'static str,
    /// If its end was not seen: when the car was first found elsewhere, or emptier.
    pub ended_before: Option<Timestamp>,
    /// When a sign of it was last seen.
    pub last_seen_at: Timestamp,
    /// From the beginning to the end, or to the last sign.
    pub duration_s: u64,
    /// In percent.
    pub start_level: Option<f64>,
    /// In percent.
    pub end_level: Option<f64>,
    /// In kWh; null if nothing tells of it.
    pub energy: Option<f64>,
    /// How the energy is known.
    pub energy_from: Option<EnergyFrom>,
}

/// A day of driving, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct TripView {
    /// Such as `2025-10-09`.
    pub date: String,
    /// How far.
    pub distance: f64,
    /// The unit of all distances.
    pub unit: &'static str,
    /// What the odometer said before.
    pub start_odometer: f64,
    /// What it said at the end.
    pub end_odometer: f64,
    /// When it was first told on that day.
    pub first_at: Timestamp,
    /// When it was last told.
    pub last_at: Timestamp,
    /// How much of the distance may have been driven on earlier days: since the odometer was told before. 0 if none.
    pub unsure_distance: f64,
    /// Since when; null if all of it is of that day.
    pub unsure_since: Option<Timestamp>,
}

const ODOMETER: &str = "odometer-traveleddistance";

type Reads = fn(&Gist) -> Option<Told>;

/// What tells of charging.
const TELLS: &[(&str, Reads)] = &[
    ("charge-ischarging", |gist| yes(gist).map(Told::Charging)),
    ("charge-ischargingcableconnected", |gist| yes(gist).map(Told::Plugged)),
    ("tractionbattery-stateofcharge", |gist| gist.number().map(Told::Level)),
    ("charge-energyadded", |gist| gist.number().map(Told::Energy)),
    ("charge-wattage", |gist| gist.number().map(Told::Power)),
    (ODOMETER, |gist| gist.number().map(Told::Odometer)),
    ("tractionbattery-nominalcapacity", |gist| gist.number().map(Told::Capacity)),
];

/// For cars that do not tell whether they charge in one word.
const STATUS: (&str, Reads) = ("charge-detailedchargingstatus", |gist| match gist {
    Gist::Word(word) => Some(Told::Charging(&**word == "charging")),
    _ => None,
});

fn yes(gist: &Gist) -> Option<bool> {
    if let Gist::Yes(yes) = gist { Some(*yes) } else { None }
}

impl Past<'_> {
    /// Charging sessions that began within the range, oldest first.
    pub fn charges(&self, query: HistoryQuery, page: PageRequest) -> Result<Page<ChargeView>, PastError> {
        let since = page.cursor.as_deref().map(time_cursor).transpose()?.or(query.since).unwrap_or_default();
        let lacks_word = self.snapshot.latest_of(self.row, TELLS[0].0)?.is_none();
        let tells = TELLS.iter().skip(usize::from(lacks_word)).chain(lacks_word.then_some(&STATUS));
        let wanted = HistoryQuery { since: Some(since), ..query };
        let begun = tells.map(|(code, reads)| Ok((self.series_and_before(code, &wanted)?, *reads)));
        let mut series: Vec<(Series, Reads)> = begun.collect::<Result<_, StoreError>>()?;
        let mut sessions = Sessions::default();
        let mut found = Vec::new();
        let mut turns: BinaryHeap<Reverse<(Timestamp, usize)>> =
            series.iter().enumerate().filter_map(|(place, (series, _))| Some(Reverse((series.next_at()?, place)))).collect();
        while found.len() <= page.limit {
            let Some(Reverse((_, place))) = turns.pop() else {
                found.extend(sessions.finish());
                found.retain(|session: &Session| session.started_at >= since);
                break;
            };
            let Some((series, reads)) = series.get_mut(place) else { continue };
            if let Some(Moment { at, gist }) = series.next(self)?
                && let Some(told) = reads(&gist)
            {
                sessions.hear(at, told);
                found.extend(sessions.drain().into_iter().filter(|session| session.started_at >= since));
            }
            turns.extend(series.next_at().map(|at| Reverse((at, place))));
        }
        let next = found.get(page.limit).map(|session| session.started_at.as_millis().to_string());
        found.truncate(page.limit);
        Ok(Page { items: found.into_iter().map(charge).collect(), next })
    }

    /// How far a vehicle went on each day of the range, oldest first. Days begin so many minutes before those of UTC.
    pub fn trips(&self, query: HistoryQuery, offset_minutes: i64, page: PageRequest) -> Result<Page<TripView>, PastError> {
        let since = page.cursor.as_deref().map(time_cursor).transpose()?.or(query.since).unwrap_or_default();
        let units = query.units.unwrap_or(self.shared.settings.get().units);
        // Whole days.
        let offset = Duration::from_secs(offset_minutes.unsigned_abs() * 60);
        let since = if offset_minutes < 0 {
            Span::Day.begin(since.before(offset)).after(offset)
        } else {
            Span::Day.begin(since.after(offset)).before(offset)
        };
        let mut series = self.series_and_before(ODOMETER, &HistoryQuery { since: Some(since), ..query })?;
        let mut days = Days::new(offset_minutes);
        let mut found: Vec<Day> = Vec::new();
        let is_wanted = |day: &Day| day.last_at >= since;
        while found.len() <= page.limit {
            let Some(Moment { at, gist }) = series.next(self)? else {
                found.extend(days.finish().into_iter().filter(is_wanted));
                break;
            };
            if let Some(odometer) = gist.number() {
                days.hear(at, odometer);
                found.extend(days.drain().into_iter().filter(is_wanted));
            }
        }
        let next = found.get(page.limit).map(|day| day.first_at.as_millis().to_string());
        found.truncate(page.limit);
        Ok(Page { items: found.into_iter().map(|day| trip(day, units)).collect(), next })
    }
}

fn charge(session: Session) -> ChargeView {
    let Session { started_at, start_seen, end, last_seen_at, start_level, end_level, energy } = session;
    let (state, ended_at, ended_before) = match end {
        End::Open => ("charging", None, None),
        End::Seen(at) => ("ended", Some(at), None),
        End::Missed(at) => ("end_not_seen", None, Some(at)),
    };
    ChargeView {
        started_at,
        start_seen,
        ended_at,
        state,
        ended_before,
        last_seen_at,
        duration_s: ended_at.unwrap_or(last_seen_at).since(started_at).as_secs(),
        start_level,
        end_level,
        energy: energy.map(|(energy, _)| (energy * 1000.0).round() / 1000.0),
        energy_from: energy.map(|(_, from)| from),
    }
}

fn trip(day: Day, units: Units) -> TripView {
    let length = |km| in_units(ODOMETER, km, units).0;
    TripView {
        date: day.date,
        distance: length(day.distance),
        unit: in_units(ODOMETER, 0.0, units).1.unwrap_or("km"),
        start_odometer: length(day.start),
        end_odometer: length(day.end),
        first_at: day.first_at,
        last_at: day.last_at,
        unsure_distance: day.unsure.map_or(0.0, |(part, _)| length(part)),
        unsure_since: day.unsure.map(|(_, since)| since),
    }
}
