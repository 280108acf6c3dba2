//! The window of event ids, by which a redelivery is known.
//!
//! Ids outlive the log: each is remembered for at least as long as the ring says, and while its entry is
//! there. All are in memory, as keyed hashes in the order of the log; at each checkpoint the new ones go
//! to the table in rows of many, so that neither cost nor file grow with random keys. Between checkpoints
//! the journal brings them back.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::thread;

use hashbrown::HashTable;

use super::log_head::{HEAD, Head};
use super::tables::{ALL, EVENT_IDS, META, Typed};
use super::{Rows, StoreError, Tables};
use crate::model::{Seq, Timestamp};
use crate::vault::Vault;

/// How many ids one row holds at most: as many as fit a page.
const ROW: usize = 128;

/// An id in a row: its hash and when it came.
const ENTRY: usize = 24;

/// For how many there is room from the beginning.
const MOST_AT_ONCE: u64 = 1 << 22;

/// How many are handed over at once: to wake a thread for each row takes longer than the row.
const SENT_AT_ONCE: usize = 8_192;

type Hash = [u8; 16];

#[derive(Clone, Copy, Debug)]
struct Id {
    seq: Seq,
    at: Timestamp,
    hash: Hash,
}

/// The event ids in memory. What a transaction adds or drops counts only after [`Window::keep`].
#[derive(Debug, Default)]
pub(super) struct Window {
    /// In the order of the log.
    ids: VecDeque<Id>,
    /// Places among all ids that ever were in `ids`, by hash.
    places: HashTable<u32>,
    /// The place of the first of `ids`.
    first: u32,
    /// How many at the end the running transaction has added.
    added: usize,
    /// How many at the beginning it has dropped.
    dropped: usize,
    /// How many at the beginning are in the table.
    stored: usize,
    /// First and last seq of the table's rows.
    rows: VecDeque<(Seq, Seq)>,
}

impl Window {
    /// Reads the window from the table. Its first row may hold ids that were forgotten, before `remembered`.
    pub(super) fn load(rows: &impl Rows, remembered: Seq) -> Result<Window, StoreError> {
        let mut window = Window::default();
        let head: Head = rows.value(META, HEAD)?.unwrap_or_default();
        let expected = head.newest.0.saturating_sub(remembered.0).saturating_add(1).min(MOST_AT_ONCE);
        let expected = usize::try_from(expected).unwrap_or_default();
        // There may be a million: to move them while they grow would take as long as to read them, and so does to
        // find each its place, which is done meanwhile.
        let mut ids = Vec::with_capacity(expected);
        let (read, found) = mpsc::channel::<Vec<u64>>();
        let places = thread::Builder::new().spawn(move || {
            let (mut places, mut hashes) = (HashTable::with_capacity(expected), Vec::with_capacity(expected));
            let mut place = 0_u32;
            for some in found {
                for hash in some {
                    hashes.push(hash);
                    places.insert_unique(hash, place, |other| hashes[*other as usize]);
                    place += 1;
                }
            }
            places
        });
        let places = places.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let mut unsent = Vec::new();
        rows.walk(EVENT_IDS, ALL, false, &mut |key, value| {
            let Some((first, plain)) = ids_of(rows, key, value) else {
                tracing::error!(table = EVENT_IDS, "a row is damaged and was passed over");
                return Ok(ControlFlow::Continue(()));
            };
            let (mut seq, mut last, new) = (Seq(first), Seq(first), ids.len());
            for entry in plain.chunks_exact(ENTRY) {
                let (hash, at) = entry.split_at(16);
                let hash = hash.try_into().unwrap_or_default();
                let at = Timestamp::from_millis(i64::from_be_bytes(at.try_into().unwrap_or_default()));
                if seq >= remembered {
                    ids.push(Id { seq, at, hash });
                }
                last = seq;
                seq = seq.next();
            }
            window.rows.push_back((Seq(first), last));
            unsent.extend(ids[new..].iter().map(|id| short(&id.hash)));
            if unsent.len() >= SENT_AT_ONCE {
                // It listens until there are no more.
                let _ = read.send(std::mem::replace(&mut unsent, Vec::with_capacity(SENT_AT_ONCE + ROW)));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let _ = read.send(unsent);
        drop(read);
        window.places = places.join().unwrap_or_else(|panic| resume_unwind(panic));
        window.ids = VecDeque::from(ids);
        window.stored = window.ids.len();
        Ok(window)
    }

    /// Writes what is new to the table, and takes from it what is no longer remembered.
    pub(super) fn store(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        let oldest = self.oldest();
        while let Some((first, last)) = self.rows.front().copied()
            && oldest.is_none_or(|oldest| last < oldest)
        {
            tables.remove_mark(EVENT_IDS, first.0)?;
            self.rows.pop_front();
        }
        let new: Vec<Id> = self.ids.iter().skip(self.stored).copied().collect();
        for row in new.chunks(ROW).flat_map(|ids| ids.chunk_by(|a, b| a.seq.next() == b.seq)) {
            put_row(tables, row)?;
            self.rows.push_back((row[0].seq, row[row.len() - 1].seq));
        }
        self.stored = self.ids.len();
        Ok(())
    }

    /// The first entry whose id is remembered.
    pub(super) fn oldest(&self) -> Option<Seq> {
        self.ids.get(self.dropped).map(|id| id.seq)
    }

    /// What the transaction did has become durable.
    pub(super) fn keep(&mut self) {
        for _ in 0..self.dropped {
            let Some(id) = self.ids.pop_front() else { break };
            let place = self.first;
            if let Ok(entry) = self.places.find_entry(short(&id.hash), |other| *other == place) {
                entry.remove();
            }
            self.first = self.first.wrapping_add(1);
        }
        self.stored = self.stored.saturating_sub(self.dropped);
        (self.added, self.dropped) = (0, 0);
    }

    /// What the transaction did has come to nothing.
    pub(super) fn forget(&mut self) {
        for _ in 0..self.added {
            self.pop();
        }
        (self.added, self.dropped) = (0, 0);
    }

    /// The id of the last entry, which the transaction added, is gone with it.
    pub(super) fn forget_last(&mut self, last: Seq) {
        if self.added > 0 && self.ids.back().is_some_and(|id| id.seq == last) {
            self.pop();
            self.added -= 1;
        }
    }

    fn pop(&mut self) {
        let Some(id) = self.ids.pop_back() else { return };
        let place = self.place(self.ids.len());
        if let Ok(entry) = self.places.find_entry(short(&id.hash), |other| *other == place) {
            entry.remove();
        }
    }

    /// What was dropped is forgotten at once: a replay, which is one transaction, must decide as the many did
    /// that it replays.
    pub(super) fn seq_of(&self, hash: &Hash) -> Option<Seq> {
        let id = |place: &u32| {
            let index = place.wrapping_sub(self.first) as usize;
            self.ids.get(index).filter(|id| index >= self.dropped && id.hash == *hash)
        };
        self.places.find(short(hash), |place| id(place).is_some()).and_then(id).map(|id| id.seq)
    }

    pub(super) fn add(&mut self, seq: Seq, hash: Hash, at: Timestamp) {
        self.push(Id { seq, at, hash });
        self.added += 1;
    }

    /// Drops the ids at the beginning that are of another time than `remembered`, and not of the ring.
    pub(super) fn drop_oldest(&mut self, remembered: Range<Timestamp>, ring_begins: Seq) {
        while let Some(id) = self.ids.get(self.dropped)
            && !remembered.contains(&id.at)
            && id.seq < ring_begins
        {
            self.dropped += 1;
        }
    }

    fn push(&mut self, id: Id) {
        let (ids, first) = (&self.ids, self.first);
        let hash_of = |place: &u32| ids.get(place.wrapping_sub(first) as usize).map_or(0, |id| short(&id.hash));
        self.places.insert_unique(short(&id.hash), self.place(self.ids.len()), hash_of);
        if self.ids.len() == self.ids.capacity() {
            // Not twice as much: there may be many, and they are not so many again soon.
            self.ids.reserve_exact(self.ids.len() / 8 + ROW);
        }
        self.ids.push_back(id);
    }

    #[expect(clippy::cast_possible_truncation, reason = "places wrap; there are never four billion at once")]
    fn place(&self, index: usize) -> u32 {
        self.first.wrapping_add(index as u32)
    }
}

/// Adds ids of entries to the table, unless it has them.
pub(super) fn add_missing(tables: &mut Tables<'_>, ids: Vec<(Seq, Hash, Timestamp)>) -> Result<(), StoreError> {
    let mut known = Vec::new();
    tables.walk(EVENT_IDS, ALL, false, &mut |key, value| {
        if let Some((first, plain)) = ids_of(tables, key, value) {
            known.push(first..first + (plain.len() / ENTRY) as u64);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    for (seq, hash, at) in ids {
        let before = known.partition_point(|row| row.start <= seq.0);
        if before.checked_sub(1).is_some_and(|row| known[row].contains(&seq.0)) {
            continue;
        }
        put_row(tables, &[Id { seq, at, hash }])?;
    }
    Ok(())
}

/// Writes ids that follow one another: at least one.
fn put_row(tables: &mut Tables<'_>, row: &[Id]) -> Result<(), StoreError> {
    let mut plain = Vec::with_capacity(row.len() * ENTRY);
    for id in row {
        plain.extend_from_slice(&id.hash);
        plain.extend_from_slice(&id.at.as_millis().to_be_bytes());
    }
    put(tables, &row[0].seq.0.to_be_bytes(), &plain)
}

/// Writes a row: ids in clear, for they are keyed hashes, and a seal of nothing that covers them. To decrypt a
/// million would take longer than all the rest of a start.
pub(super) fn put(tables: &mut Tables<'_>, key: &[u8], plain: &[u8]) -> Result<(), StoreError> {
    let seal = tables.seal(EVENT_IDS, key, plain, &[]);
    tables.put_raw(EVENT_IDS, key, &[plain, &seal].concat())
}

/// The ids of a row, and the seal that covers them.
pub(super) fn parts(value: &[u8]) -> Option<(&[u8], &[u8])> {
    value.split_at_checked(value.len().checked_sub(Vault::OVERHEAD)?)
}

/// The first place and the ids of a row whose seal is unbroken.
fn ids_of<'a>(rows: &impl Rows, key: &[u8], value: &'a [u8]) -> Option<(u64, &'a [u8])> {
    let first = key.try_into().map(u64::from_be_bytes).ok()?;
    rows.places().is_sound(EVENT_IDS, key, value).then(|| parts(value))?.map(|(ids, _)| (first, ids))
}

/// The hash is keyed and even: a part of it serves the table in memory.
fn short(hash: &Hash) -> u64 {
    u64::from_be_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> Hash {
        let mut hash = [0; 16];
        hash[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        hash
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(i64::try_from(millis).unwrap())
    }

    #[test]
    fn what_comes_to_nothing_leaves_no_trace() {
        let mut window = Window::default();
        for number in 1..=1000 {
            window.add(Seq(number), hash(number), at(number));
        }
        window.keep();
        window.add(Seq(1001), hash(1001), at(1001));
        window.drop_oldest(at(500)..at(2000), Seq(100));
        assert_eq!(window.seq_of(&hash(1001)), Some(Seq(1001)));
        window.forget();
        assert_eq!(window.seq_of(&hash(1001)), None);
        assert_eq!(window.seq_of(&hash(1)), Some(Seq(1)));

        window.drop_oldest(at(500)..at(2000), Seq(100));
        window.keep();
        assert_eq!(window.seq_of(&hash(99)), None);
        // Older than what is remembered, but the ring has it still.
        assert_eq!(window.seq_of(&hash(100)), Some(Seq(100)));
        window.add(Seq(1001), hash(99), at(1001));
        window.keep();
        assert_eq!(window.seq_of(&hash(99)), Some(Seq(1001)));
        assert_eq!((window.ids.len(), window.places.len()), (902, 902));
    }
}
