//! Vehicle data: the changes of each signal in blocks of a day or less, and the newest of all signals together.
//!
//! A vehicle tells of many signals at once, so what has just changed is kept in one row for each commit, and goes
//! into the blocks of the signals when there are several: to write every block each time would wear out a card.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::rollups::Rolled;
use super::tables::{Kind, Record, Typed, under};
use super::tellings::Latests;
use super::{Rows, Snapshot, StoreError, Tables};
use crate::model::Timestamp;
use crate::model::reading::Reading;

/// Changes of one signal of one vehicle on one day, in order of time: at most [`READINGS`].
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Block(Vec<Reading>);

impl Record for Block {
    const TABLE: &'static str = "vehicle_data-1";
    const IS_SECRET: bool = false;
}

impl Block {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn readings(&self) -> &[Reading] {
        &self.0
    }
}

/// What has changed of all signals of a vehicle, each later than all of its signal's block.
#[derive(Debug, Serialize, Deserialize)]
struct Changes(Vec<(u32, Reading)>);

impl Record for Changes {
    const TABLE: &'static str = "vehicle_changes-1";
    const IS_SECRET: bool = false;
}

/// The table of what is not in blocks.
pub(super) const LOOSE: &str = Changes::TABLE;

/// When the first of a row of it was; `None` if it is damaged.
pub(super) fn time_of_loose(rows: &impl Rows, key: &[u8], value: &[u8]) -> Option<Timestamp> {
    let Changes(changes) = rows.decode(key, value).ok()?;
    changes.iter().map(|(_, reading)| reading.at).min()
}

/// How much of a vehicle is not in blocks.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Loose {
    rows: u32,
    readings: usize,
}

impl Loose {
    /// At so many rows, or with more than so many readings, they go into blocks.
    const MOST: Loose = Loose { rows: 64, readings: 1_024 };

    pub(super) const UNKNOWN: Loose = Loose { rows: u32::MAX, readings: 0 };
}

/// Keeps changes that came in order.
pub(super) fn put_loose(
    tables: &mut Tables<'_>,
    vehicle: u32,
    loose: &mut Loose,
    changes: Vec<(u32, Reading)>,
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let readings = loose.readings + changes.len();
    if loose.rows + 1 >= Loose::MOST.rows || readings > Loose::MOST.readings {
        return fold(tables, vehicle, loose, changes);
    }
    tables.put((vehicle, loose.rows), &Changes(changes))?;
    *loose = Loose { rows: loose.rows + 1, readings };
    Ok(())
}

/// Puts what is loose, and then `changes`, into blocks.
pub(super) fn fold(
    tables: &mut Tables<'_>,
    vehicle: u32,
    loose: &mut Loose,
    changes: Vec<(u32, Reading)>,
) -> Result<(), StoreError> {
    let mut all = Vec::new();
    if std::mem::take(loose).rows > 0 {
        for (key, Changes(before)) in tables.list(under(&vehicle.to_be_bytes()), false, usize::MAX)? {
            tables.remove_raw(Changes::TABLE, &key)?;
            all.extend(before);
        }
    }
    all.extend(changes);
    let mut by_signal: BTreeMap<u32, Vec<Reading>> = BTreeMap::new();
    for (signal, reading) in all {
        by_signal.entry(signal).or_default().push(reading);
    }
    by_signal.into_iter().try_for_each(|(signal, readings)| append(tables, (vehicle, signal), readings))
}

/// Adds readings that are later than all that is in blocks.
fn append(tables: &mut Tables<'_>, signal: Signal, readings: Vec<Reading>) -> Result<(), StoreError> {
    let Some(first) = readings.first() else { return Ok(()) };
    let (mut at, mut block) = block_before(tables, signal, Bound::Included(block_key(signal, first.at)))?
        .unwrap_or_else(|| (block_key(signal, first.at), Block::default()));
    let mut is_new = false;
    for reading in readings {
        if block.0.len() >= READINGS || day_of(&at) != reading.at.day() {
            if is_new {
                tables.put(&at[..], &block)?;
            }
            (at, block) = (block_key(signal, reading.at), Block::default());
        }
        block.0.push(reading);
        is_new = true;
    }
    tables.put(&at[..], &block)
}

/// Adds a reading at its place in time, if it differs from the one before. The next one goes if it says the
/// same, for it is no change any more. `newest` is the newest reading so far: it may have been left out
/// because it equalled one that now is not the last before it.
pub(super) fn insert(
    tables: &mut Tables<'_>,
    signal: Signal,
    reading: &Reading,
    newest: Option<&Reading>,
) -> Result<(), StoreError> {
    let before = block_before(tables, signal, Bound::Included(block_key(signal, reading.at)))?;
    // The block of the day, if it begins before this; else there is one before it, or none.
    let (mut at, mut block, before) = match before {
        Some((at, block)) if day_of(&at) == reading.at.day() => (at, block, None),
        before => (block_key(signal, reading.at), Block::default(), before.and_then(|(_, mut block)| block.0.pop())),
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
    let says_the_same = |other: &Reading| other.body.same_as(&reading.body);
    let is_change = !before.is_some_and(|before| says_the_same(&before));
    match block.0.get_mut(place) {
        Some(known) if known.at == reading.at && says_the_same(known) => return Ok(()),
        // What was told last of a moment is true of it.
        Some(known) if known.at == reading.at && is_change => *known = reading.clone(),
        Some(known) if known.at == reading.at => drop(block.0.remove(place)),
        _ if !is_change => return Ok(()),
        // Most come in order, and begin a new block when one is full.
        None if place >= READINGS => (at, block) = (block_key(signal, reading.at), Block(vec![reading.clone()])),
        _ => block.0.insert(place, reading.clone()),
    }
    let after = block.0.partition_point(|known| known.at <= reading.at);
    let next = block.0.get(after).map(says_the_same);
    if next == Some(true) {
        block.0.remove(after);
    }
    let later = if block.0.len() > READINGS { block.0.split_off(READINGS / 2) } else { Vec::new() };
    if let Some(first) = later.first() {
        tables.put(&block_key(signal, first.at)[..], &Block(later.clone()))?;
    }
    put_block(tables, &at, &block)?;
    if next.is_some() {
        return Ok(());
    }
    if let Some((key, mut later)) = block_after(tables, signal, at)? {
        if !later.0.first().is_some_and(says_the_same) {
            return Ok(());
        }
        later.0.remove(0);
        return put_block(tables, &key, &later);
    }
    match newest {
        Some(newest) if newest.at > reading.at => insert(tables, signal, newest, None),
        _ => Ok(()),
    }
}

/// Takes from a block what the next one of its signal holds, if it is from a time before that one was split from it.
pub(super) fn end_before_the_next(tables: &mut Tables<'_>, key: &[u8]) -> Result<(), StoreError> {
    let (Some(mut block), Some((signal, _))) = (tables.get::<Block>(key)?, key.split_at_checked(8)) else { return Ok(()) };
    let next = tables.list::<Block>((Bound::Excluded(key.to_vec()), under(signal).1), false, 1)?;
    if let Some(next) = next.first().and_then(|(_, next)| next.0.first()) {
        block.0.retain(|reading| reading.at < next.at);
        return put_block(tables, key, &block);
    }
    Ok(())
}

fn put_block(tables: &mut Tables<'_>, key: &[u8], block: &Block) -> Result<(), StoreError> {
    if block.0.is_empty() { tables.remove_raw(Block::TABLE, key) } else { tables.put(key, block) }
}

/// How many readings a block holds at most: every one of them is written again with each that is added.
const READINGS: usize = 64;

/// Vehicle row, signal row.
type Signal = (u32, u32);

/// The first key of a range, and its end.
type Keys = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The block of a signal that begins last up to `end`.
fn block_before(rows: &impl Rows, signal: Signal, end: Bound<Vec<u8>>) -> Result<Option<(Vec<u8>, Block)>, StoreError> {
    Ok(rows.list::<Block>((all_blocks(signal).0, end), true, 1)?.into_iter().next())
}

/// Where the blocks of a signal lie that may hold anything of a range: the one that was begun before it may reach into it.
pub(super) fn blocks_within(rows: &impl Rows, signal: Signal, since: Timestamp, until: Timestamp) -> Result<Keys, StoreError> {
    let mut first = block_key(signal, since);
    let before = (all_blocks(signal).0, Bound::Included(first.clone()));
    rows.walk(Block::TABLE, before, true, &mut |key, _| {
        first = key.to_vec();
        Ok(ControlFlow::Break(()))
    })?;
    Ok((Bound::Included(first), Bound::Excluded(block_key(signal, until))))
}

/// Where all blocks of a signal lie.
pub(super) fn all_blocks((vehicle, signal): Signal) -> Keys {
    under(&[vehicle.to_be_bytes(), signal.to_be_bytes()].concat())
}

/// The last reading of a signal that is in a block.
pub(super) fn last(rows: &impl Rows, signal: Signal) -> Result<Option<Reading>, StoreError> {
    Ok(rows.list::<Block>(all_blocks(signal), true, 1)?.pop().and_then(|(_, mut block)| block.0.pop()))
}

/// The first block of a signal after one, and its key.
fn block_after(rows: &impl Rows, signal: Signal, after: Vec<u8>) -> Result<Option<(Vec<u8>, Block)>, StoreError> {
    Ok(rows.list::<Block>((Bound::Excluded(after), all_blocks(signal).1), false, 1)?.into_iter().next())
}

/// Keys of blocks of a signal that hold nothing but what was before `before`, where a day begins: the first `limit`.
pub(super) fn blocks_before(
    rows: &impl Rows,
    signal: Signal,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let range = (Bound::Included(block_key(signal, Timestamp::default())), Bound::Excluded(block_key(signal, before)));
    rows.keys(Block::TABLE, range, limit)
}

/// Whether any of what is loose of a vehicle was before `before`.
pub(super) fn has_loose_before(rows: &impl Rows, vehicle: u32, before: Timestamp) -> Result<bool, StoreError> {
    let loose = rows.list::<Changes>(under(&vehicle.to_be_bytes()), false, usize::MAX)?;
    Ok(loose.iter().flat_map(|(_, Changes(changes))| changes).any(|(_, reading)| reading.at < before))
}

/// Removes all data of a vehicle.
pub(super) fn erase_data(tables: &mut Tables<'_>, vehicle: u32) -> Result<(), StoreError> {
    for table in [Latests::TABLE, Changes::TABLE, Block::TABLE, Rolled::TABLE] {
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
    /// Readings of a vehicle: by signal, then by time; with the code of each.
    pub fn history(&self, range: &HistoryRange) -> Result<Vec<(HistoryCursor, String, Reading)>, StoreError> {
        self.history_but(range, &mut BTreeSet::new())
    }

    /// The same, and the keys of rows that had to be passed over because they are damaged.
    pub fn history_but(
        &self,
        range: &HistoryRange,
        damaged: &mut BTreeSet<Vec<u8>>,
    ) -> Result<Vec<(HistoryCursor, String, Reading)>, StoreError> {
        let mut found = Vec::new();
        let mut loose: Vec<(u32, Reading)> = Vec::new();
        self.walk(Changes::TABLE, under(&range.vehicle.to_be_bytes()), false, &mut |key, sealed| {
            if let Ok(Changes(changes)) = self.decode(key, sealed) {
                loose.extend(changes);
            } else {
                tracing::error!(table = Changes::TABLE, "a row is damaged and was passed over");
                damaged.insert(key.to_vec());
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if matches!(self.get::<Latests>(range.vehicle), Err(StoreError::Damaged { .. })) {
            damaged.insert(range.vehicle.to_be_bytes().to_vec());
        }
        for (signal, code) in self.signals_of(range)? {
            let since = match range.after {
                Some(after) if after.signal > signal => continue,
                Some(after) if after.signal == signal => range.since.max(Timestamp::from_millis(after.at.as_millis() + 1)),
                _ => range.since,
            };
            let of_signal = (range.vehicle, signal);
            let blocks = blocks_within(self, of_signal, since, range.until)?;
            let mut take = |readings: &mut dyn Iterator<Item = Reading>| {
                let inside = readings.filter(|reading| reading.at >= since && reading.at < range.until);
                let room = range.limit - found.len();
                found.extend(inside.take(room).map(|reading| (HistoryCursor { signal, at: reading.at }, code.clone(), reading)));
                if found.len() < range.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            self.walk(Block::TABLE, blocks, false, &mut |key, sealed| {
                let Ok(block) = self.decode::<Block>(key, sealed) else {
                    tracing::error!(table = Block::TABLE, "a row is damaged and was passed over");
                    damaged.insert(key.to_vec());
                    return Ok(ControlFlow::Continue(()));
                };
                Ok(take(&mut block.0.into_iter()))
            })?;
            let is_full = take(&mut loose.iter().filter(|(of, _)| *of == signal).map(|(_, reading)| reading.clone()));
            if is_full.is_break() {
                break;
            }
        }
        Ok(found)
    }

    fn signals_of(&self, range: &HistoryRange) -> Result<Vec<(u32, String)>, StoreError> {
        if let Some(code) = &range.signal {
            return Ok(self.row(Kind::Signal, code)?.map(|row| (row, code.clone())).into_iter().collect());
        }
        let latests = self.get_sound::<Latests>(range.vehicle)?.unwrap_or_default();
        Ok(latests.signals.into_iter().map(|(signal, latest)| (signal, latest.code)).collect())
    }
}

/// How long the key of a block is.
pub(super) const KEY: usize = 16;

/// The key of a block that begins at a time.
pub(super) fn block_key(signal: Signal, at: Timestamp) -> Vec<u8> {
    Key::bytes(&(signal.0, signal.1, at))
}

/// When a block begins.
pub(super) fn time_of(key: &[u8]) -> Timestamp {
    let millis = key.get(8..).and_then(|at| at.try_into().ok()).map_or(0, u64::from_be_bytes);
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// The day of a block.
fn day_of(key: &[u8]) -> u32 {
    time_of(key).day()
}
