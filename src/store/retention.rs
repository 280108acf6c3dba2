//! How long vehicle data are kept. What is older goes block by block; its numbers stay by hour and by day, as long as
//! those are kept.
//!
//! All of it is done in small steps, so that whatever comes in waits for one of them at most. A step that is lost in a
//! power cut is done again.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rollups::{self, Rolled, first_signal};
use super::tables::{META, Record, Rows, Typed};
use super::tellings::Latests;
use super::vehicle_data::{self, Block, Loose};
use super::{Change, PAUSE, Snapshot, Store, StoreError, Tables};
use crate::model::Timestamp;
use crate::model::gist::Gist;
use crate::model::rollup::{Rollup, Span, merge};

/// How long, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Every change.
    pub points: Duration,
    /// How many bytes all that is kept of the past may take; the oldest changes go first.
    pub bytes: u64,
    /// Numbers by hour.
    pub hours: Duration,
    /// Numbers by day.
    pub days: Duration,
}

/// Before when what goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// Changes. Where a day begins, as of the others.
    pub points: Timestamp,
    /// Numbers by hour.
    pub hours: Timestamp,
    /// Numbers by day.
    pub days: Timestamp,
}

/// Drops some of what is too old of a vehicle, and rolls its numbers up.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrimHistory {
    /// Its row.
    pub vehicle: u32,
    /// What goes.
    pub ends: Ends,
}

impl Change for TrimHistory {
    /// How many rows went; there may be more unless none did.
    type Outcome = usize;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<usize, StoreError> {
        note_end(tables, self.ends.points)?;
        let latests = self.fold_what_is_old(tables)?;
        let mut left = STEP;
        let mut from = Some(0);
        while let Some(signal) = from.map_or(Ok(None), |from| first_signal(tables, Block::TABLE, self.vehicle, from))? {
            let code = latests.signals.get(&signal).map(|latest| latest.code.as_str());
            left -= self.roll_up(tables, signal, code, left)?;
            from = signal.checked_add(1).filter(|_| left > 0);
        }
        let mut from = Some(0);
        while let Some(signal) = from.map_or(Ok(None), |from| rollups::signal_from(tables, self.vehicle, from))? {
            for (span, before) in [(Span::Hour, self.ends.hours), (Span::Day, self.ends.days)] {
                left -= rollups::drop_before(tables, (self.vehicle, signal), span, before, left)?;
            }
            from = signal.checked_add(1).filter(|_| left > 0);
        }
        Ok(STEP - left)
    }

    fn is_derived(&self) -> bool {
        true
    }
}

/// Before when changes have gone: a row that is found again in a page that is free must not come back.
pub(super) fn end(rows: &impl Rows) -> Result<Timestamp, StoreError> {
    Ok(rows.value(META, END)?.unwrap_or_default())
}

fn note_end(tables: &mut Tables<'_>, to: Timestamp) -> Result<(), StoreError> {
    if end(tables)? < to { tables.put_value(META, END, &to) } else { Ok(()) }
}

const END: &str = "history_end";

/// How many rows one step takes.
const STEP: usize = 64;

impl TrimHistory {
    /// Returns the latest of the vehicle's signals.
    fn fold_what_is_old(&self, tables: &mut Tables<'_>) -> Result<Latests, StoreError> {
        let known = tables.get_sound::<Latests>(self.vehicle)?;
        let is_known = known.is_some();
        // If there is none, nobody knows how much is loose.
        let mut latests = known.unwrap_or_else(|| Latests { loose: Loose::UNKNOWN, ..Latests::default() });
        if vehicle_data::has_loose_before(tables, self.vehicle, self.ends.points)? {
            vehicle_data::fold(tables, self.vehicle, &mut latests.loose, Vec::new())?;
            if is_known {
                tables.put(self.vehicle, &latests)?;
            }
        }
        Ok(latests)
    }

    /// Takes at most `limit` blocks of a signal, and returns how many.
    fn roll_up(&self, tables: &mut Tables<'_>, signal: u32, code: Option<&str>, limit: usize) -> Result<usize, StoreError> {
        let signal = (self.vehicle, signal);
        let keys = vehicle_data::blocks_before(tables, signal, self.ends.points, limit)?;
        let (mut hours, mut days) = (Vec::new(), Vec::new());
        for key in &keys {
            // One that is damaged has no numbers to leave behind.
            let block: Block = tables.get_sound(&key[..])?.unwrap_or_default();
            for reading in block.readings() {
                let Some(value) = code.and_then(|code| Gist::of(code, &reading.body).number()) else { continue };
                merge(&mut hours, [Rollup::of(Span::Hour, reading.at, value)]);
                merge(&mut days, [Rollup::of(Span::Day, reading.at, value)]);
            }
            tables.remove_raw(Block::TABLE, key)?;
        }
        for (span, rollups, before) in [(Span::Hour, hours, self.ends.hours), (Span::Day, days, self.ends.days)] {
            let mut rollups: Vec<Rollup> = rollups;
            rollups.retain(|rollup| rollup.at >= before);
            rollups::add(tables, signal, span, &rollups)?;
        }
        Ok(keys.len())
    }
}

impl Store {
    /// Lets go of what is older than is to be kept, or more than may be, and returns how many rows that was. In small
    /// steps: reads and commits go on.
    pub async fn trim(&self, keep: &Keep, now: Timestamp) -> Result<u64, StoreError> {
        let day = |age: Duration| Span::Day.begin(now.before(age)).max(Timestamp::default());
        let mut ends = Ends { points: day(keep.points), hours: day(keep.hours), days: day(keep.days) };
        if self.bytes() > keep.bytes {
            self.shorten(&mut ends, keep.bytes, day(Duration::ZERO)).await?;
        }
        let (mut rows, mut from) = (0, Some(0));
        while let Some(first) = from
            && let Some(vehicle) = self.read(move |snapshot| snapshot.first_with_history(first)).await?
        {
            loop {
                let taken = if self.read(move |snapshot| snapshot.has_history_before(vehicle, ends)).await? {
                    self.commit(TrimHistory { vehicle, ends }).await?
                } else {
                    0
                };
                rows += taken as u64;
                if taken == 0 {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
            from = vehicle.checked_add(1);
        }
        Ok(rows)
    }

    /// Brings the ends forward, but not beyond `today`, until the rest is no more than so many bytes.
    async fn shorten(&self, ends: &mut Ends, bytes: u64, today: Timestamp) -> Result<(), StoreError> {
        let weights = self.weigh().await?;
        let mut excess = weights.values().sum::<u64>().saturating_sub(bytes);
        for ((part, day), weight) in weights {
            let end = match part {
                Part::Points => &mut ends.points,
                Part::Hours => &mut ends.hours,
                Part::Days => &mut ends.days,
            };
            if day < *end {
                excess = excess.saturating_sub(weight);
            } else if excess > 0 && day < today {
                excess = excess.saturating_sub(weight);
                *end = Timestamp::from_millis(day.as_millis() + Span::Day.millis());
            }
        }
        Ok(())
    }

    /// How many bytes there are of each day.
    async fn weigh(&self) -> Result<BTreeMap<(Part, Timestamp), u64>, StoreError> {
        let mut weights: BTreeMap<(Part, Timestamp), u64> = BTreeMap::new();
        for table in HISTORY {
            let mut after = None;
            loop {
                let from = after.take().map_or(Bound::Unbounded, Bound::Excluded);
                let (found, last) = self.read(move |snapshot| snapshot.weights(table, from)).await?;
                for (part, weight) in found {
                    *weights.entry(part).or_default() += weight;
                }
                after = last;
                if after.is_none() {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(weights)
    }
}

/// What goes first stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Points,
    Hours,
    Days,
}

/// Part and day, with the bytes of a row; and the last key, if there may be more.
type Weights = (Vec<((Part, Timestamp), u64)>, Option<Vec<u8>>);

/// All that is kept of the past, by vehicle.
const HISTORY: [&str; 3] = [Block::TABLE, vehicle_data::LOOSE, Rolled::TABLE];

/// How many rows are weighed at once.
const SLICE: usize = 512;

impl Snapshot<'_> {
    fn weights(&self, table: &'static str, from: Bound<Vec<u8>>) -> Result<Weights, StoreError> {
        let (mut found, mut rows, mut last) = (Vec::new(), 0, None);
        self.walk(table, (from, Bound::Unbounded), false, &mut |key, value| {
            let place = match table {
                Block::TABLE => Some((Part::Points, vehicle_data::time_of(key))),
                vehicle_data::LOOSE => vehicle_data::time_of_loose(self, key, value).map(|at| (Part::Points, at)),
                _ => rollups::place(key).map(|(span, at)| (if span == Span::Hour { Part::Hours } else { Part::Days }, at)),
            };
            rows += 1;
            last = (rows == SLICE).then(|| key.to_vec());
            found.extend(place.map(|(part, at)| ((part, Span::Day.begin(at)), (key.len() + value.len()) as u64)));
            Ok(if rows < SLICE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok((found, last))
    }

    /// The first row from one on under which history is kept, whether its vehicle can be read or not.
    fn first_with_history(&self, from: u32) -> Result<Option<u32>, StoreError> {
        let mut first = None;
        for table in HISTORY {
            let key = self.keys(table, (Bound::Included(from.to_be_bytes().to_vec()), Bound::Unbounded), 1)?.pop();
            let row = key.and_then(|key| key.first_chunk().map(|row| u32::from_be_bytes(*row)));
            first = first.into_iter().chain(row).min();
        }
        Ok(first)
    }

    /// Whether there is anything to trim.
    fn has_history_before(&self, vehicle: u32, ends: Ends) -> Result<bool, StoreError> {
        if vehicle_data::has_loose_before(self, vehicle, ends.points)? {
            return Ok(true);
        }
        let mut from = Some(0);
        while let Some(signal) = from.map_or(Ok(None), |from| first_signal(self, Block::TABLE, vehicle, from))? {
            if !vehicle_data::blocks_before(self, (vehicle, signal), ends.points, 1)?.is_empty() {
                return Ok(true);
            }
            from = signal.checked_add(1);
        }
        let mut from = Some(0);
        while let Some(signal) = from.map_or(Ok(None), |from| rollups::signal_from(self, vehicle, from))? {
            for (span, before) in [(Span::Hour, ends.hours), (Span::Day, ends.days)] {
                if rollups::has_before(self, (vehicle, signal), span, before)? {
                    return Ok(true);
                }
            }
            from = signal.checked_add(1);
        }
        Ok(false)
    }
}
