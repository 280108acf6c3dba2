//! Rows of the log and of the history to which a damaged file no longer leads.
//!
//! Every page is read as if it were a leaf of redb's trees (`docs/design.md` of redb). What is none shows no row
//! that opens, for each is sealed for its table and its key. A page that is free by now may hold a row as it once
//! was: so nothing that is there is replaced, and nothing comes back of a vehicle that is gone.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use redb::StorageBackend;

use super::StoreError;
use super::database::disk;
use super::event_ids;
use super::log_head::{HEAD, Head, is_erased, split};
use super::packing::unpack;
use super::retention;
use super::tables::{ALL, INDEX, Kind, META, Record, Rows, Tables, Typed, VEHICLES_BY_USER, WEBHOOK_LOGS, under};
use super::vehicle_data::{self, Block};
use crate::model::event::{Event, identity};
use crate::model::vehicle::Vehicle;
use crate::model::{Seq, Timestamp};

/// What is read at once: redb's page, or a longer leaf as a whole.
const PAGE: usize = 4096;

/// The longest leaf that is read.
const LONGEST: usize = 1 << 20;

/// How much was found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Entries of the log.
    pub(super) entries: u64,
    /// Blocks of readings.
    pub(super) blocks: u64,
}

/// What has been found so far.
struct Gathered<'a, 'b> {
    into: &'a mut Tables<'b>,
    /// The vehicles that have a name, linked or not.
    named: BTreeSet<u32>,
    /// The vehicles that are somebody's, or were, and have not been erased; those too that were lost in a repair.
    owned: BTreeSet<u32>,
    /// Where the log begins and ends: what comes after it is replayed.
    head: Head,
    /// Before when no history is kept.
    end: Timestamp,
    entries: BTreeSet<Vec<u8>>,
    blocks: BTreeSet<Vec<u8>>,
}

/// Adds what is missing.
pub(super) fn gather(file: &dyn StorageBackend, into: &mut Tables<'_>) -> Result<Found, StoreError> {
    let head = into.value(META, HEAD)?.unwrap_or_default();
    let (named, owned) = (named_vehicles(into)?, owned_vehicles(into)?);
    let end = retention::end(into)?;
    let mut found = Gathered { into, named, owned, head, end, entries: BTreeSet::new(), blocks: BTreeSet::new() };
    let pages = file.len().map_err(|error| disk(&error))? / PAGE as u64;
    for number in 0..pages {
        // A sector that cannot be read costs what it held.
        let Some(leaf) = leaf(file, number * PAGE as u64) else { continue };
        for (key, value) in pairs(&leaf).into_iter().flatten() {
            // A disk may say something else the second time.
            if let (Some(key), Some(value)) = (leaf.get(key), leaf.get(value)) {
                found.see(key, value)?;
            }
        }
    }
    let Gathered { into, entries, blocks, .. } = found;
    let ids = entries.iter().filter_map(|key| id_of(into, key)).collect();
    event_ids::add_missing(into, ids)?;
    blocks.iter().try_for_each(|key| vehicle_data::end_before_the_next(into, key))?;
    Ok(Found { entries: entries.len() as u64, blocks: blocks.len() as u64 })
}

impl Gathered<'_, '_> {
    fn see(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        match key.len() {
            8 if self.into.places().is_sound(WEBHOOK_LOGS, key, value) => self.see_entry(key, value),
            vehicle_data::KEY => match self.into.decode(key, value) {
                Ok(block) => self.see_block(key, value, &block),
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn see_entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let vehicle = split(value).and_then(|(header, ..)| header.vehicle);
        let is_gone = match vehicle {
            Some(row) => !self.named.contains(&row) && !self.owned.contains(&row),
            None => false,
        };
        let seq = key.try_into().map(|key| Seq(u64::from_be_bytes(key)));
        if is_gone || !seq.is_ok_and(|seq| (self.head.oldest..=self.head.newest).contains(&seq)) {
            return Ok(());
        }
        // Once erased, always erased.
        let is_better = if self.entries.contains(key) { is_erased(value) } else { self.into.raw(WEBHOOK_LOGS, key)?.is_none() };
        if is_better {
            self.entries.insert(key.to_vec());
            self.into.put_raw(WEBHOOK_LOGS, key, value)?;
        }
        Ok(())
    }

    fn see_block(&mut self, key: &[u8], value: &[u8], block: &Block) -> Result<(), StoreError> {
        let is_owned = key.first_chunk().is_some_and(|row| self.owned.contains(&u32::from_be_bytes(*row)));
        if !is_owned || vehicle_data::time_of(key) < self.end {
            return Ok(());
        }
        // Blocks grow.
        let is_better = if self.blocks.contains(key) {
            self.into.get::<Block>(key)?.is_none_or(|known| known.len() < block.len())
        } else {
            !self.into.has::<Block>(key)?
        };
        if is_better {
            self.blocks.insert(key.to_vec());
            self.into.put_raw(Block::TABLE, key, value)?;
        }
        Ok(())
    }
}

/// What an entry is known by when it comes again.
fn id_of(into: &Tables<'_>, key: &[u8]) -> Option<(Seq, [u8; 16], Timestamp)> {
    let value = into.raw(WEBHOOK_LOGS, key).ok()??;
    let (header, context, sealed) = split(&value)?;
    let body = unpack(&into.open(WEBHOOK_LOGS, key, context, sealed).ok()?)?;
    let id = identity(Event::parse(&body).ok().as_ref(), &body);
    let seq = Seq(u64::from_be_bytes(key.try_into().ok()?));
    Some((seq, into.places().hash(Kind::Event, &id), header.received_at))
}

fn named_vehicles(rows: &impl Rows) -> Result<BTreeSet<u32>, StoreError> {
    let mut named = BTreeSet::new();
    rows.walk(INDEX, under(&[Kind::Vehicle as u8]), false, &mut |key, sealed| {
        let row = rows.open(INDEX, key, &[], sealed).ok().and_then(|row| Some(u32::from_be_bytes(row[..].try_into().ok()?)));
        named.extend(row);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(named)
}

fn owned_vehicles(rows: &impl Rows) -> Result<BTreeSet<u32>, StoreError> {
    let linked = rows.keys(Vehicle::TABLE, ALL, usize::MAX)?;
    let marked = rows.keys(VEHICLES_BY_USER, ALL, usize::MAX)?;
    let rows = linked.iter().chain(&marked).filter_map(|key| key.last_chunk());
    Ok(rows.map(|row| u32::from_be_bytes(*row)).collect())
}

/// What may be a leaf at a place of the file.
fn leaf(file: &dyn StorageBackend, at: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; PAGE];
    file.read(at, &mut bytes).ok()?;
    let end = pairs(&bytes)?.last()?.1.end;
    if end > PAGE {
        bytes.resize(Some(end).filter(|end| *end <= LONGEST)?, 0);
        file.read(at, &mut bytes).ok()?;
    }
    Some(bytes)
}

/// Where the keys and values of a leaf lie, if all follow one another: the kind, a byte that does not matter, the number of pairs, the ends
/// of the keys, the ends of the values, keys, values. All numbers are little-endian.
fn pairs(leaf: &[u8]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let (&[LEAF, _, low, high], _) = leaf.split_first_chunk()? else { return None };
    let count = usize::from(u16::from_le_bytes([low, high]));
    let ends: Vec<usize> = leaf
        .get(4..4 + 8 * count)?
        .chunks_exact(4)
        .map(|end| usize::try_from(u32::from_le_bytes([end[0], end[1], end[2], end[3]])).unwrap_or(usize::MAX))
        .collect();
    let begins = std::iter::once(4 + 8 * count).chain(ends.iter().copied());
    let all: Vec<Range<usize>> = begins.zip(ends.iter().copied()).map(|(begin, end)| begin..end).collect();
    let follow = all.iter().all(|piece| piece.start <= piece.end);
    let (keys, values) = all.split_at(count);
    // Only the last value may reach beyond a page.
    (follow && count > 0).then(|| keys.iter().cloned().zip(values.iter().cloned()).collect())
}

/// The kind of a page that is a leaf.
const LEAF: u8 = 1;
