//! The past of vehicles: changes of signals, and what is left of old ones. What is sent as it is read is read in parts,
//! each of which looks into the store for a moment: a reader that stalls holds up nobody.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::series::PastError;
use super::{HistoryView, Past, Shared, Vehicles, VehiclesError, is_within, unknown, view};
use crate::model::normal::{Units, in_units};
use crate::model::reach::{Page, PageRequest, Reach};
use crate::model::rollup::{self, Grid, Rollup, Span};
use crate::model::vehicle::Vehicle;
use crate::model::{AppUserId, Timestamp, VehicleId};
use crate::store::moments::Moment;
use crate::store::vehicle_data::{HistoryCursor, HistoryRange};
use crate::store::{Snapshot, StoreError};

/// Which history.
#[derive(Clone, Debug, Default)]
pub struct HistoryQuery {
    /// Only this signal.
    pub signal: Option<String>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// In which units values are shown, if not in the usual ones.
    pub units: Option<Units>,
}

/// What a signal told within an hour or a day, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct RollupView {
    /// The signal.
    pub signal: String,
    /// Where the hour or day begins.
    pub at: Timestamp,
    /// How many changes there were.
    pub count: u64,
    /// The least of them.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// The mean of the changes, however long each held.
    pub mean: f64,
    /// The first.
    pub first: f64,
    /// The last.
    pub last: f64,
    /// The unit of all of them.
    pub unit: Option<&'static str>,
}

/// How many changes are read at once.
const PART: usize = 1_000;

impl Vehicles {
    /// Changes of signals: by signal, then oldest first.
    pub async fn history(
        &self,
        reach: &Reach,
        id: &VehicleId,
        query: HistoryQuery,
        page: PageRequest,
    ) -> Result<Page<HistoryView>, VehiclesError> {
        let (vehicle, _) = self.within(reach, id).await?;
        self.shared.check_signal(query.signal.as_deref()).await?;
        let bad = VehiclesError::BadRequest("the cursor is not one of this list");
        let after = page.cursor.map(|cursor| history_cursor(&cursor).ok_or(bad)).transpose()?;
        let range = HistoryRange { after, ..self.shared.range(vehicle, &query, page.limit) };
        let limit = range.limit;
        let units = query.units.unwrap_or(self.shared.settings.get().units);
        let found = self.shared.store.read(move |snapshot| snapshot.history(&range)).await?;
        let next = found
            .last()
            .filter(|_| found.len() == limit)
            .map(|(cursor, ..)| format!("{}.{}", cursor.signal, cursor.at.as_millis()));
        Ok(Page { items: found.into_iter().map(|(_, code, reading)| view::history(code, reading, units)).collect(), next })
    }

    /// Everything that is known of the past of one vehicle, or of all within reach, to be read part by part; also of former
    /// owners.
    pub async fn export(&self, reach: &Reach, id: Option<&VehicleId>, query: HistoryQuery) -> Result<Export, VehiclesError> {
        let asks = Some(reach.clone());
        let reach = reach.clone();
        let Some(id) = id.cloned() else {
            self.shared.check_signal(query.signal.as_deref()).await?;
            return Ok(self.exported(query, asks, Left::Within { reach, after: 0 }));
        };
        let rows = self.shared.store.read(move |snapshot| {
            let mut rows = VecDeque::new();
            for (row, vehicle) in snapshot.rows_of_vehicle(&id)? {
                if is_within(snapshot, &reach, row, &vehicle)? {
                    rows.push_back((row, Whose::of(vehicle)));
                }
            }
            Ok(rows)
        });
        let rows = rows.await?;
        if rows.is_empty() {
            return Err(VehiclesError::NotFound);
        }
        self.shared.check_signal(query.signal.as_deref()).await?;
        Ok(self.exported(query, asks, Left::Rows(rows)))
    }

    /// Everything that is known of the past of one vehicle under its owner of now.
    pub async fn whole_history(&self, reach: &Reach, id: &VehicleId, query: HistoryQuery) -> Result<Export, VehiclesError> {
        let (row, vehicle) = self.within(reach, id).await?;
        self.shared.check_signal(query.signal.as_deref()).await?;
        Ok(self.exported(query, None, Left::Rows([(row, Whose::of(vehicle))].into())))
    }

    fn exported(&self, query: HistoryQuery, asks: Option<Reach>, left: Left) -> Export {
        // What comes in while it is read is no part of it: it has an end.
        let until = query.until.unwrap_or_else(|| self.shared.soon());
        let query = HistoryQuery { until: Some(until), ..query };
        let damaged = BTreeSet::new();
        Export { vehicles: self.clone(), query, left, current: None, after: None, damaged, left_out: 0, asks }
    }
}

impl Past<'_> {
    /// The numbers of a signal by hour or by day of a zone, oldest first: of changes that are kept, and what is left of
    /// others.
    pub fn rollups(&self, grid: Grid, query: HistoryQuery, page: PageRequest) -> Result<Page<RollupView>, PastError> {
        if let Some(unknown) = unknown(self.snapshot, query.signal.as_deref())? {
            return Err(unknown.into());
        }
        let signal = query
            .signal
            .clone()
            .ok_or(VehiclesError::BadRequest("say which signal: the numbers of several have nothing in common"))?;
        let after = page.cursor.as_deref().map(time_cursor).transpose()?;
        let range = self.shared.range(self.row, &query, PART);
        let (since, until) = (range.since.max(after.unwrap_or_default()), range.until);
        let mut found = rolled(self.snapshot, (self.row, &signal), grid, (grid.begin(since), until), page.limit + 1)?;
        let since_then = HistoryQuery { since: Some(since), until: Some(until), ..query.clone() };
        let mut series = self.series(&signal, &since_then)?;
        // A span is whole when one after it has begun.
        let is_whole = |found: &[Rollup], at| found.get(page.limit).is_some_and(|beyond| beyond.at < grid.begin(at));
        while let Some(Moment { at, gist }) = series.next(self)? {
            if let Some(value) = gist.number() {
                rollup::merge(&mut found, [grid.of(at, value)]);
            }
            if is_whole(&found, at) {
                break;
            }
        }
        let next = found.get(page.limit).map(|beyond| beyond.at.as_millis().to_string());
        found.truncate(page.limit);
        let units = query.units.unwrap_or(self.shared.settings.get().units);
        Ok(Page { items: found.into_iter().map(|rollup| shown(&signal, rollup, units)).collect(), next })
    }
}

/// An export under way.
#[derive(Debug)]
pub struct Export {
    vehicles: Vehicles,
    query: HistoryQuery,
    left: Left,
    current: Option<(u32, Whose)>,
    after: Option<HistoryCursor>,
    /// Damaged rows of the current one.
    damaged: BTreeSet<Vec<u8>>,
    /// How many rows of those before were damaged.
    left_out: usize,
    /// Of whom rows of vehicles may be damaged; `None` if none can be.
    asks: Option<Reach>,
}

/// Which vehicles are still to be exported.
#[derive(Debug)]
enum Left {
    Rows(VecDeque<(u32, Whose)>),
    /// Those within reach after the row that was begun last.
    Within {
        reach: Reach,
        after: u32,
    },
}

/// A vehicle, and whose it was when what is told of it happened.
#[derive(Clone, Debug)]
pub struct Whose {
    /// The vehicle.
    pub vehicle: VehicleId,
    /// The user.
    pub user: AppUserId,
}

impl Whose {
    fn of(vehicle: Vehicle) -> Whose {
        Whose { vehicle: vehicle.facts.id, user: vehicle.user }
    }
}

impl Export {
    /// The next part: by vehicle, by signal, oldest first; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<(Whose, Vec<HistoryView>)>, VehiclesError> {
        loop {
            let Some((row, whose)) = self.current.clone() else {
                if !self.turn().await? {
                    return Ok(None);
                }
                continue;
            };
            let shared = &self.vehicles.shared;
            let range = HistoryRange { after: self.after, ..shared.range(row, &self.query, PART) };
            let mut damaged = std::mem::take(&mut self.damaged);
            let look = move |snapshot: &Snapshot<'_>| Ok((snapshot.history_but(&range, &mut damaged)?, damaged));
            let (found, damaged) = shared.store.read(look).await?;
            self.damaged = damaged;
            self.after = found.last().map(|(cursor, ..)| *cursor);
            if found.len() < PART {
                (self.current, self.after) = (None, None);
            }
            if !found.is_empty() {
                let units = self.query.units.unwrap_or(shared.settings.get().units);
                let rows = found.into_iter().map(|(_, code, reading)| view::history(code, reading, units)).collect();
                return Ok(Some((whose, rows)));
            }
        }
    }

    /// After the end: how many rows were damaged and are left out. Of one that does not say whose it is that may be too many.
    pub async fn left_out(&mut self) -> Result<usize, VehiclesError> {
        let user = match self.asks.take() {
            Some(Reach::All) => None,
            Some(Reach::User(user)) => Some(user),
            Some(Reach::Vehicle(_)) | None => return Ok(self.left_out),
        };
        let found = self.vehicles.shared.store.read(move |snapshot| snapshot.unreadable_vehicles(user.as_ref())).await?;
        self.left_out += found;
        Ok(self.left_out)
    }

    /// Turns to the next vehicle; `false` if there is none.
    async fn turn(&mut self) -> Result<bool, VehiclesError> {
        self.after = None;
        self.left_out += std::mem::take(&mut self.damaged).len();
        self.current = match &mut self.left {
            Left::Rows(rows) => rows.pop_front(),
            Left::Within { reach, after } => loop {
                let (place, within) = (*after, reach.clone());
                let next = self.vehicles.shared.store.read(move |snapshot| {
                    let Some((row, vehicle)) = snapshot.vehicles(place, 1)?.pop() else { return Ok(None) };
                    let is_within = is_within(snapshot, &within, row, &vehicle)?;
                    Ok(Some((row, is_within.then(|| Whose::of(vehicle)))))
                });
                let Some((row, whose)) = next.await? else { break None };
                *after = row;
                if let Some(whose) = whose {
                    break Some((row, whose));
                }
            },
        };
        Ok(self.current.is_some())
    }
}

impl Shared {
    pub(super) fn range(&self, vehicle: u32, query: &HistoryQuery, limit: usize) -> HistoryRange {
        HistoryRange {
            vehicle,
            signal: query.signal.clone(),
            since: query.since.unwrap_or_default(),
            until: query.until.unwrap_or_else(|| self.soon()),
            after: None,
            limit,
        }
    }

    /// What came in just now counts.
    fn soon(&self) -> Timestamp {
        self.world.now().after(Duration::from_secs(1))
    }
}

/// What is left of a signal's numbers: the first `most` spans, or some more.
fn rolled(
    snapshot: &Snapshot<'_>,
    (vehicle, code): (u32, &str),
    grid: Grid,
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> Result<Vec<Rollup>, StoreError> {
    let read = |span, since, until, most| snapshot.rollups(vehicle, code, span, (since, until), most);
    if grid.is_of_utc() {
        return read(grid.span(), since, until, most);
    }
    let (hour, day) = (Span::Hour, Span::Day);
    if grid.span() == hour {
        return Ok(grid.of_hours(&read(hour, hour.begin(since), until, most + 2)?, since));
    }
    let in_a_day = 24;
    let most_hours = (most + 2) * in_a_day;
    let hours = read(hour, day.begin(since), until, most_hours)?;
    let mut days = read(day, day.begin(grid.local(since)), grid.local(until), most + 2)?;
    // Beyond them nobody knows of which days there are hours.
    if let Some(last) = hours.last().filter(|_| hours.len() >= most_hours) {
        days.retain(|day| day.at <= last.at);
    }
    Ok(grid.of_days(&hours, &days, since))
}

fn shown(signal: &str, rollup: Rollup, units: Units) -> RollupView {
    #[expect(clippy::cast_precision_loss, reason = "no signal changes so often")]
    let mean = rollup.sum / rollup.count.max(1) as f64;
    let number = |value| in_units(signal, value, units);
    RollupView {
        signal: signal.to_owned(),
        at: rollup.at,
        count: rollup.count,
        min: number(rollup.min).0,
        max: number(rollup.max).0,
        mean: number(mean).0,
        first: number(rollup.first.1).0,
        last: number(rollup.last.1).0,
        unit: number(mean).1,
    }
}

fn history_cursor(cursor: &str) -> Option<HistoryCursor> {
    let (signal, at) = cursor.split_once('.')?;
    Some(HistoryCursor { signal: signal.parse().ok()?, at: Timestamp::from_millis(at.parse().ok()?) })
}

/// Lists that are ordered by time hand out when the next item begins.
pub(super) fn time_cursor(cursor: &str) -> Result<Timestamp, VehiclesError> {
    let millis = cursor.parse().map_err(|_| VehiclesError::BadRequest("the cursor is not one of this list"))?;
    Ok(Timestamp::from_millis(millis))
}
