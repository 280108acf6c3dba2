//! How signals went, with no more of each reading than charts and sums need.

use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::gists::Gists;
use super::packing::unpack;
use super::tables::{Kind, Record, Rows, Typed, from_cbor, under};
use super::vehicle_data::{Block, LOOSE, all_blocks, block_key, blocks_within};
use super::{Snapshot, StoreError};
use crate::model::gist::Gist;
use crate::model::{Json, Timestamp};

/// What a signal said, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// The time that orders readings.
    pub at: Timestamp,
    /// What it said.
    pub gist: Gist,
}

/// Of a reading as it is stored, with the names of its fields or without, what a moment is made of.
#[derive(Clone, Debug)]
struct Told {
    body: Json,
    at: Timestamp,
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Told, D::Error> {
        deserializer.deserialize_any(TellsWhenAndWhat)
    }
}

struct TellsWhenAndWhat;

impl<'de> Visitor<'de> for TellsWhenAndWhat {
    type Value = Told;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reading")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Told, A::Error> {
        let (Some(body), Some(at)) = (list.next_element()?, list.next_element()?) else {
            return Err(A::Error::custom("a reading has more fields"));
        };
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Told { body, at })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Told, A::Error> {
        #[derive(Deserialize)]
        struct Named {
            body: Json,
            at: Timestamp,
        }
        let Named { body, at } = Named::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Told { body, at })
    }
}

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
