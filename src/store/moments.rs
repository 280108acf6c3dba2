//! How signals went, with no more of each reading than charts and sums need.

use std::ops::{Bound, ControlFlow};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::packing::unpack;
use super::tables::{Kind, Record, Rows, Typed, from_cbor, under};
use super::vehicle_data::{Block, LOOSE, all_blocks, block_key, blocks_within};
use super::{Snapshot, StoreError};
use crate::model::{Json, Timestamp};

/// What a signal said, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The value as received.
    pub body: Json,
    /// The time that orders readings.
    pub at: Timestamp,
}

/// What a vehicle told last of all its signals and is not in blocks yet: to be read once, however many signals are looked
/// at.
#[derive(Clone, Debug, Default)]
pub struct LooseMoments(Vec<(u32, Moment)>);

/// A signal of a vehicle within a range.
#[derive(Clone, Copy, Debug)]
pub struct SignalRange {
    /// The vehicle's row.
    pub vehicle: u32,
    /// The signal's row.
    pub signal: u32,
    /// From this time on.
    pub since: Timestamp,
    /// Before this time.
    pub until: Timestamp,
}

impl LooseMoments {
    /// Those of a signal, oldest first: each later than all of the signal's blocks, unless these have taken it up since.
    pub fn of(&self, signal: u32) -> impl Iterator<Item = &Moment> {
        self.0.iter().filter(move |(of, _)| *of == signal).map(|(_, moment)| moment)
    }
}

impl Snapshot<'_> {
    /// What is not in blocks yet. Damaged rows are reported and passed over.
    pub fn loose_moments(&self, vehicle: u32) -> Result<LooseMoments, StoreError> {
        let mut loose = LooseMoments::default();
        self.walk(LOOSE, under(&vehicle.to_be_bytes()), false, &mut |key, sealed| {
            if let Some(moments) = self.moments::<(u32, Moment)>(LOOSE, key, sealed) {
                loose.0.extend(moments);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(loose)
    }

    /// The row that stands for a signal; `None` if no vehicle ever told it.
    pub fn signal_row(&self, code: &str) -> Result<Option<u32>, StoreError> {
        self.row(Kind::Signal, code)
    }

    /// When the last moment before `since` was that is in a block.
    pub fn moment_before(&self, vehicle: u32, signal: u32, since: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let mut found = None;
        let signal = (vehicle, signal);
        let before = (all_blocks(signal).0, Bound::Excluded(block_key(signal, since)));
        self.walk(Block::TABLE, before, true, &mut |key, sealed| {
            let moments = self.moments::<Moment>(Block::TABLE, key, sealed).unwrap_or_default();
            found = moments.iter().map(|moment| moment.at).rfind(|at| *at < since);
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    /// The moments of a range that are in blocks, oldest first: at most `limit`. Damaged blocks are reported and passed
    /// over.
    pub fn moments_in_blocks(&self, range: SignalRange, limit: usize) -> Result<Vec<Moment>, StoreError> {
        let SignalRange { vehicle, signal, since, until } = range;
        let mut found = Vec::new();
        let blocks = blocks_within(self, (vehicle, signal), since, until)?;
        self.walk(Block::TABLE, blocks, false, &mut |key, sealed| {
            let moments = self.moments::<Moment>(Block::TABLE, key, sealed).unwrap_or_default();
            let inside = moments.into_iter().filter(|moment| moment.at >= since && moment.at < until);
            found.extend(inside.take(limit - found.len()));
            Ok(if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    /// Of each reading of a row only what is asked for: all else would cost as much again.
    fn moments<T: DeserializeOwned>(&self, table: &'static str, key: &[u8], sealed: &[u8]) -> Option<Vec<T>> {
        let packed = self.open(table, key, &[], sealed).ok();
        let moments = packed.and_then(|packed| unpack(&packed)).and_then(|plain| from_cbor(&plain));
        if moments.is_none() {
            tracing::error!(table, "a row is damaged and was passed over");
        }
        moments
    }
}
