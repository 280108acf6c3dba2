//! How signals went, with no more of each reading than charts and sums need.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::gists::Gists;
use super::packing::unpack;
use super::tables::{Kind, Record, Rows, Typed, from_cbor, under};
use super::vehicle_data::{Block, LOOSE, all_blocks, block_key, blocks_within};
use super::{Snapshot, StoreError};
use crate::model::gist::Gist;
use crate::model::unnamed::read_unnamed;
use crate::model::{Json, Timestamp};

/// What a signal said, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// The time that orders readings.
    pub at: Timestamp,
    /// What it said.
    pub gist: Gist,
}

/// Of a reading as it is stored, what a moment is made of: its first two fields.
#[derive(Clone, Debug)]
struct Told {
    body: Json,
    at: Timestamp,
}

read_unnamed!(Told { body: Json, at: Timestamp });

/// What a vehicle told last of all its signals and is not in blocks yet: to be read once, however many signals are looked
/// at.
#[derive(Clone, Debug, Default)]
pub struct LooseMoments(Vec<(u32, Told)>);

/// A signal of a vehicle.
#[derive(Clone, Debug)]
pub struct OneSignal {
    /// The vehicle's row.
    pub vehicle: u32,
    /// The signal's row.
    pub signal: u32,
    /// Its code.
    pub code: Arc<str>,
}

impl LooseMoments {
    /// Those of a signal, oldest first: each later than all of the signal's blocks.
    pub fn of<'a>(&'a self, signal: &'a OneSignal) -> impl Iterator<Item = Moment> + 'a {
        self.told(signal).map(|told| told.of(&signal.code))
    }

    /// When the last of them before `since` was.
    pub fn before(&self, signal: &OneSignal, since: Timestamp) -> Option<Timestamp> {
        self.told(signal).map(|told| told.at).take_while(|at| *at < since).last()
    }

    fn told(&self, signal: &OneSignal) -> impl Iterator<Item = &Told> {
        let row = signal.signal;
        self.0.iter().filter(move |(of, _)| *of == row).map(|(_, told)| told)
    }
}

impl Told {
    fn of(&self, code: &str) -> Moment {
        Moment { at: self.at, gist: Gist::of(code, &self.body) }
    }
}

impl Snapshot<'_> {
    /// What is not in blocks yet. Damaged rows are reported and passed over.
    pub fn loose_moments(&self, vehicle: u32) -> Result<LooseMoments, StoreError> {
        let mut loose = LooseMoments::default();
        self.walk(LOOSE, under(&vehicle.to_be_bytes()), false, &mut |key, sealed| {
            loose.0.extend(self.told::<(u32, Told)>(LOOSE, key, sealed).into_iter().flatten());
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(loose)
    }

    /// The row that stands for a signal; `None` if no vehicle ever told it.
    pub fn signal_row(&self, code: &str) -> Result<Option<u32>, StoreError> {
        self.row(Kind::Signal, code)
    }

    /// When the last moment before `since` was that is in a block.
    pub fn moment_before(&self, signal: &OneSignal, since: Timestamp, gists: &Gists) -> Result<Option<Timestamp>, StoreError> {
        let mut found = None;
        let rows = (signal.vehicle, signal.signal);
        let before = (all_blocks(rows).0, Bound::Excluded(block_key(rows, since)));
        self.walk(Block::TABLE, before, true, &mut |key, sealed| {
            let moments = self.moments(signal, key, sealed, gists);
            found = moments.iter().map(|moment| moment.at).rfind(|at| *at < since);
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    /// The moments from `since` to before `until` that are in blocks, oldest first: at most `limit`. Damaged blocks are
    /// reported and passed over.
    pub fn moments_in_blocks(
        &self,
        signal: &OneSignal,
        (since, until): (Timestamp, Timestamp),
        limit: usize,
        gists: &Gists,
    ) -> Result<Vec<Moment>, StoreError> {
        let mut found = Vec::new();
        let blocks = blocks_within(self, (signal.vehicle, signal.signal), since, until)?;
        self.walk(Block::TABLE, blocks, false, &mut |key, sealed| {
            let moments = self.moments(signal, key, sealed, gists);
            let first = moments.partition_point(|moment| moment.at < since);
            let inside = moments[first..].iter().take_while(|moment| moment.at < until);
            found.extend(inside.take(limit - found.len()).cloned());
            Ok(if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    /// What a block holds, in order of time.
    fn moments(&self, signal: &OneSignal, key: &[u8], sealed: &[u8], gists: &Gists) -> Arc<[Moment]> {
        if let Some(known) = gists.of(key, sealed) {
            return known;
        }
        let Some(told) = self.told::<Told>(Block::TABLE, key, sealed) else { return Arc::default() };
        let moments: Arc<[Moment]> = told.iter().map(|told| told.of(&signal.code)).collect();
        gists.keep(key, sealed, moments.clone());
        moments
    }

    /// Of each reading of a row only what is asked for: all else would cost as much again. `None` if it is damaged, which
    /// is reported.
    fn told<T: DeserializeOwned>(&self, table: &'static str, key: &[u8], sealed: &[u8]) -> Option<Vec<T>> {
        let packed = self.open(table, key, &[], sealed).ok();
        let told = packed.and_then(|packed| unpack(&packed)).and_then(|plain| from_cbor(&plain));
        if told.is_none() {
            tracing::error!(table, "a row is damaged and was passed over");
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::tests::Named;
    use crate::model::reading::{Reading, Source};
    use crate::store::tables::to_cbor;

    #[test]
    fn moments_are_read_of_readings_with_names_and_without() {
        let at = Timestamp::from_millis(1_760_000_000_000);
        let body = Json::received(br#"{"value":64}"#);
        let reading = Reading { body: body.clone(), at, oem_updated_at: None, retrieved_at: Some(at), source: Source::Webhook };
        let named = Named { body: &body, at, oem_updated_at: None, retrieved_at: Some(at), source: Source::Webhook };
        // Two of each, for the second is misread where the first is not read to its end.
        for written in [to_cbor(&[(7, &named), (8, &named)]), to_cbor(&[(7, &reading), (8, &reading)])] {
            let told: Vec<(u32, Told)> = from_cbor(&written).unwrap();
            let rows: Vec<_> = told.iter().map(|(row, told)| (*row, told.at, told.body.clone())).collect();
            assert_eq!(rows, [(7, at, body.clone()), (8, at, body.clone())]);
        }
    }

    #[test]
    fn a_reading_that_ends_too_early_has_no_moment() {
        assert!(from_cbor::<Told>(&to_cbor(&("{}",))).is_none());
    }
}
