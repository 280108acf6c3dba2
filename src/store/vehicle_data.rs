//! Readings: the latest of each signal, and the changes of each signal in blocks of a day or less.

use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::memo::row_of_signal;
use super::tables::{CURSORS, Kind, Record, Typed, VEHICLES_TO_REVISIT, under};
use super::vehicles::merge;
use super::{Change, Rows, Snapshot, StoreError, Tables};
use crate::model::reading::{Outcome, Reading, SignalFailure, SignalReport, Source};
use crate::model::vehicle::{Resolved, Vehicle, VehicleError, VehicleFacts};
use crate::model::{Seq, Timestamp};

/// The newest of a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// Smartcar's code.
    pub code: String,
    /// Its group.
    pub group: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The last good value by the car's own time.
    pub reading: Option<Reading>,
    /// Why the newest report had no value, and when it was told.
    pub failure: Option<(SignalFailure, Timestamp)>,
    /// When a value was last told.
    pub told_at: Option<Timestamp>,
}

impl Record for Latest {
    const TABLE: &'static str = "vehicle_latest-1";
}

/// Changes of one signal of one vehicle on one day, in order of time: at most [`READINGS`].
#[derive(Debug, Default, Serialize, Deserialize)]
struct Block(Vec<Reading>);

impl Record for Block {
    const TABLE: &'static str = "vehicle_data-1";
}

/// What one event or one read tells of a vehicle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Telling {
    /// The vehicle's row.
    pub vehicle: u32,
    /// Its signals.
    pub reports: Vec<SignalReport>,
    /// How they came.
    pub source: Source,
    /// When they came here.
    pub at: Timestamp,
    /// When they were told, by Smartcar's clock: what orders tellings that came late.
    pub told_at: Timestamp,
    /// What was told of the vehicle itself.
    pub facts: Option<VehicleFacts>,
    /// Errors that began.
    pub errors: Vec<VehicleError>,
    /// Errors that ended.
    pub resolved: Vec<Resolved>,
}

/// Turns tellings into vehicle data and moves the follower's cursor in the same commit: exactly once.
#[derive(Debug, Serialize, Deserialize)]
pub struct ApplyReadings {
    /// What was told, in the order of the log.
    pub tellings: Vec<Telling>,
    /// The projector's new place; `None` for a read or a replay.
    pub cursor: Option<Seq>,
    /// A vehicle for which the log was looked through.
    pub revisited: Option<u32>,
}

impl Change for ApplyReadings {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        for telling in &self.tellings {
            tell(tables, telling)?;
        }
        if let Some(row) = self.revisited {
            tables.remove_mark(VEHICLES_TO_REVISIT, row)?;
        }
        match self.cursor {
            Some(cursor) => {
                tables.log.read = cursor;
                tables.put_value(CURSORS, PROJECTOR, &cursor)
            }
            None => Ok(()),
        }
    }

    fn is_derived(&self) -> bool {
        // Of the log, which is read again from the cursor, or for a vehicle that is still to be revisited.
        self.cursor.is_some() || self.revisited.is_some()
    }
}

/// The projector's name among the followers.
const PROJECTOR: &str = "projector";

/// The projector's place in the log.
pub(super) fn projector_cursor(rows: &impl Rows) -> Result<Seq, StoreError> {
    Ok(rows.value(CURSORS, PROJECTOR)?.unwrap_or_default())
}

fn tell(tables: &mut Tables<'_>, telling: &Telling) -> Result<(), StoreError> {
    // A vehicle that is not linked (yet) keeps nothing but its entries in the log.
    let Some(mut vehicle) = tables.get_sound::<Vehicle>(telling.vehicle)? else { return Ok(()) };
    for report in &telling.reports {
        record(tables, telling, report)?;
    }
    if let Some(facts) = &telling.facts {
        merge(&mut vehicle.facts, facts);
    }
    for end in &telling.resolved {
        vehicle.errors.retain(|error| error.kind != end.kind || error.code != end.code || error.since > end.at);
        vehicle.resolved.retain(|known| known.kind != end.kind || known.code != end.code || known.at > end.at);
        vehicle.resolved.push(end.clone());
        let excess = vehicle.resolved.len().saturating_sub(ENDS);
        vehicle.resolved.drain(..excess);
    }
    for error in &telling.errors {
        if vehicle.resolved.iter().any(|end| end.kind == error.kind && end.code == error.code && end.at >= error.since) {
            continue;
        }
        match vehicle.errors.iter_mut().find(|known| known.kind == error.kind && known.code == error.code) {
            Some(known) => *known = VehicleError { since: known.since.min(error.since), ..error.clone() },
            None => vehicle.errors.push(error.clone()),
        }
    }
    if telling.source == Source::Webhook {
        vehicle.last_event_at = vehicle.last_event_at.max(Some(telling.at));
    }
    tables.put(telling.vehicle, &vehicle)
}

/// How many ended errors a vehicle remembers.
const ENDS: usize = 32;

fn record(tables: &mut Tables<'_>, telling: &Telling, report: &SignalReport) -> Result<(), StoreError> {
    let signal = row_of_signal(tables, &report.code)?;
    let key = (telling.vehicle, signal);
    let mut latest = tables.get_sound::<Latest>(key)?.unwrap_or_else(|| Latest {
        code: report.code.clone(),
        group: None,
        name: None,
        reading: None,
        failure: None,
        told_at: None,
    });
    if report.group.is_some() {
        latest.group.clone_from(&report.group);
    }
    if report.name.is_some() {
        latest.name.clone_from(&report.name);
    }
    match &report.outcome {
        Outcome::Failed(failure) => {
            let is_news = latest.failure.as_ref().is_none_or(|(_, at)| *at <= telling.told_at);
            // A value that was told later is good, whatever comes late.
            let is_late = latest.told_at.is_some_and(|told_at| told_at > telling.told_at);
            if is_news && !is_late {
                latest.failure = Some((failure.clone(), telling.told_at));
            }
        }
        Outcome::Value(body) => {
            // A car whose clock is ahead must not freeze its signals.
            let at = report.oem_updated_at.or(report.retrieved_at).unwrap_or(telling.at).min(telling.at);
            let reading = Reading {
                body: body.clone(),
                at,
                oem_updated_at: report.oem_updated_at,
                retrieved_at: report.retrieved_at,
                source: telling.source,
            };
            if latest.failure.as_ref().is_some_and(|(_, failed_at)| *failed_at <= telling.told_at) {
                latest.failure = None;
            }
            latest.told_at = latest.told_at.max(Some(telling.told_at));
            // The newest that says the same as before is no change, and the past need not be asked.
            let newest = latest.reading.as_ref();
            if !newest.is_some_and(|newest| newest.at < reading.at && newest.body.same_as(&reading.body)) {
                remember(tables, key, &reading, newest)?;
            }
            if latest.reading.as_ref().is_none_or(|known| known.at <= reading.at) {
                latest.reading = Some(reading);
            }
        }
    }
    tables.put(key, &latest)
}

/// Adds a reading at its place in time, if it differs from the one before. The next one goes if it says the
/// same, for it is no change any more. `newest` is the newest reading so far: it may have been left out
/// because it equalled one that now is not the last before it.
fn remember(tables: &mut Tables<'_>, signal: Signal, reading: &Reading, newest: Option<&Reading>) -> Result<(), StoreError> {
    let before = block_before(tables, signal, Bound::Included(key(signal, reading.at)))?;
    // The block of the day, if it begins before this; else there is one before it, or none.
    let (mut at, mut block, before) = match before {
        Some((at, block)) if day_of(&at) == reading.at.day() => (at, block, None),
        before => (key(signal, reading.at), Block::default(), before.and_then(|(_, mut block)| block.0.pop())),
    };
    let place = block.0.partition_point(|known| known.at < reading.at);
    let before = match place.checked_sub(1) {
        Some(before) => Some(block.0[before].clone()),
        // A block whose first reading went says no less of the one before it.
        None if before.is_none() && !block.0.is_empty() => {
            block_before(tables, signal, Bound::Excluded(at.clone()))?.and_then(|(_, mut block)| block.0.pop())
        }
        None => before,
    };
    if before.is_some_and(|before| before.body.same_as(&reading.body)) {
        return Ok(());
    }
    match block.0.get_mut(place) {
        Some(known) if known.at == reading.at => {
            if known.body.same_as(&reading.body) {
                return Ok(());
            }
            *known = reading.clone();
        }
        // Most come in order, and begin a new block when one is full.
        None if place >= READINGS => {
            (at, block) = (key(signal, reading.at), Block(vec![reading.clone()]));
        }
        _ => block.0.insert(place, reading.clone()),
    }
    let place = block.0.partition_point(|known| known.at < reading.at);
    let next = block.0.get(place + 1).map(|next| next.body.same_as(&reading.body));
    if next == Some(true) {
        block.0.remove(place + 1);
    }
    let later = if block.0.len() > READINGS { block.0.split_off(READINGS / 2) } else { Vec::new() };
    if let Some(first) = later.first() {
        tables.put(&key(signal, first.at)[..], &Block(later.clone()))?;
    }
    tables.put(&at[..], &block)?;
    if next.is_some() {
        return Ok(());
    }
    if let Some((key, mut later)) = block_after(tables, signal, at)? {
        if !later.0.first().is_some_and(|next| next.body.same_as(&reading.body)) {
            return Ok(());
        }
        later.0.remove(0);
        return if later.0.is_empty() { tables.remove_raw(Block::TABLE, &key) } else { tables.put(&key[..], &later) };
    }
    match newest {
        Some(newest) if newest.at > reading.at => remember(tables, signal, newest, None),
        _ => Ok(()),
    }
}

/// How many readings a block holds at most: every one of them is written again with each that is added.
const READINGS: usize = 64;

/// Vehicle row, signal row.
type Signal = (u32, u32);

/// The block of a signal that begins last up to `end`.
fn block_before(
    rows: &impl Rows,
    (vehicle, signal): Signal,
    end: Bound<Vec<u8>>,
) -> Result<Option<(Vec<u8>, Block)>, StoreError> {
    let of_signal = under(&[vehicle.to_be_bytes(), signal.to_be_bytes()].concat());
    Ok(rows.list::<Block>((of_signal.0, end), true, 1)?.into_iter().next())
}

/// The first block of a signal after one, and its key.
fn block_after(rows: &impl Rows, (vehicle, signal): Signal, after: Vec<u8>) -> Result<Option<(Vec<u8>, Block)>, StoreError> {
    let of_signal = under(&[vehicle.to_be_bytes(), signal.to_be_bytes()].concat());
    Ok(rows.list::<Block>((Bound::Excluded(after), of_signal.1), false, 1)?.into_iter().next())
}

/// Removes all data of a vehicle.
pub(super) fn erase_data(tables: &mut Tables<'_>, vehicle: u32) -> Result<(), StoreError> {
    for table in [Latest::TABLE, Block::TABLE] {
        for key in tables.keys(table, under(&vehicle.to_be_bytes()), usize::MAX)? {
            tables.remove_raw(table, &key)?;
        }
    }
    Ok(())
}

/// A place in the history of a vehicle: signal row and time of the last reading that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryCursor {
    /// The signal's row.
    pub signal: u32,
    /// The time.
    pub at: Timestamp,
}

/// Which part of the history of a vehicle.
#[derive(Clone, Debug)]
pub struct HistoryRange {
    /// The vehicle's row.
    pub vehicle: u32,
    /// Only this signal.
    pub signal: Option<String>,
    /// From this time on.
    pub since: Timestamp,
    /// Before this time.
    pub until: Timestamp,
    /// After this place.
    pub after: Option<HistoryCursor>,
    /// At most so many.
    pub limit: usize,
}

impl Snapshot<'_> {
    /// The latest of every signal of a vehicle.
    pub fn latest(&self, vehicle: u32) -> Result<Vec<Latest>, StoreError> {
        Ok(self.list::<Latest>(under(&vehicle.to_be_bytes()), false, usize::MAX)?.into_iter().map(|(_, latest)| latest).collect())
    }

    /// The latest of one signal.
    pub fn latest_of(&self, vehicle: u32, code: &str) -> Result<Option<Latest>, StoreError> {
        self.row(Kind::Signal, code)?.map_or(Ok(None), |signal| self.get((vehicle, signal)))
    }

    /// Readings of a vehicle: by signal, then by time; with the code of each.
    pub fn history(&self, range: &HistoryRange) -> Result<Vec<(HistoryCursor, String, Reading)>, StoreError> {
        let mut found = Vec::new();
        for (signal, code) in self.signals_of(range)? {
            let since = match range.after {
                Some(after) if after.signal > signal => continue,
                Some(after) if after.signal == signal => range.since.max(Timestamp::from_millis(after.at.as_millis() + 1)),
                _ => range.since,
            };
            let of_signal = (range.vehicle, signal);
            // The block that was begun before may reach into the range.
            let first = block_before(self, of_signal, Bound::Included(key(of_signal, since)))?;
            let first = first.map_or_else(|| key(of_signal, since), |(key, _)| key);
            let blocks = (Bound::Included(first), Bound::Excluded(key(of_signal, range.until)));
            self.walk(Block::TABLE, blocks, false, &mut |key, sealed| {
                let Ok(block) = self.decode::<Block>(key, sealed) else {
                    tracing::error!(table = Block::TABLE, "a row is damaged and was passed over");
                    return Ok(std::ops::ControlFlow::Continue(()));
                };
                let inside = block.0.into_iter().filter(|reading| reading.at >= since && reading.at < range.until);
                let room = range.limit - found.len();
                found.extend(inside.take(room).map(|reading| (HistoryCursor { signal, at: reading.at }, code.clone(), reading)));
                Ok(if found.len() < range.limit { std::ops::ControlFlow::Continue(()) } else { std::ops::ControlFlow::Break(()) })
            })?;
            if found.len() >= range.limit {
                break;
            }
        }
        Ok(found)
    }

    /// The projector's place in the log.
    pub fn projector_cursor(&self) -> Result<Seq, StoreError> {
        projector_cursor(self)
    }

    fn signals_of(&self, range: &HistoryRange) -> Result<Vec<(u32, String)>, StoreError> {
        if let Some(code) = &range.signal {
            return Ok(self.row(Kind::Signal, code)?.map(|row| (row, code.clone())).into_iter().collect());
        }
        let latest = self.list::<Latest>(under(&range.vehicle.to_be_bytes()), false, usize::MAX)?;
        Ok(latest
            .into_iter()
            .filter_map(|(key, latest)| Some((u32::from_be_bytes(key.get(4..)?.try_into().ok()?), latest.code)))
            .collect())
    }
}

/// The key of a block that begins at a time.
fn key(signal: Signal, at: Timestamp) -> Vec<u8> {
    Key::bytes(&(signal.0, signal.1, at))
}

/// The day of a block.
fn day_of(key: &[u8]) -> u32 {
    let millis = key.get(8..).and_then(|at| at.try_into().ok()).map_or(0, u64::from_be_bytes);
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)).day()
}
