//! The audit log: three rings, numbered together. An entry about a request is there before the request changes anything.

use std::ops::{Bound, ControlFlow};

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::tables::{Record, Rows, Typed};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::audit::{AuditEntry, Ring};

impl Record for AuditEntry {
    const TABLE: &'static str = "audit-1";
    const IS_SECRET: bool = false;
}

/// Appends an entry; the oldest of a full ring goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NoteAudit {
    /// Where.
    pub ring: Ring,
    /// What.
    pub entry: AuditEntry,
}

impl Change for NoteAudit {
    /// Its number.
    type Outcome = u64;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<u64, StoreError> {
        let mut newest = 0;
        for ring in Ring::ALL {
            tables.walk(AuditEntry::TABLE, before(ring, u64::MAX), true, &mut |key, _| {
                newest = newest.max(number(key));
                Ok(ControlFlow::Break(()))
            })?;
        }
        tables.put(key(self.ring, newest + 1), &self.entry)?;
        let kept = tables.keys(AuditEntry::TABLE, before(self.ring, u64::MAX), usize::MAX)?;
        for key in &kept[..kept.len().saturating_sub(self.ring.keeps())] {
            tables.remove_raw(AuditEntry::TABLE, key)?;
        }
        Ok(newest + 1)
    }
}

/// Ends an entry that was begun. One that its ring has dropped meanwhile stays away.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndAudit {
    /// Where.
    pub ring: Ring,
    /// Its number.
    pub number: u64,
    /// What came of it; `None`: nothing was changed, and it is taken back.
    pub entry: Option<AuditEntry>,
}

impl Change for EndAudit {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        let key = key(self.ring, self.number);
        match &self.entry {
            None => tables.remove::<AuditEntry>(key),
            Some(entry) if tables.get_sound::<AuditEntry>(key)?.is_some() => tables.put(key, entry),
            Some(_) => Ok(()),
        }
    }
}

impl Snapshot<'_> {
    /// Entries with their numbers, newest first: at most `limit`, all numbered below `before`.
    pub fn audit(&self, before: u64, limit: usize) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        let mut found = Vec::new();
        for ring in Ring::ALL {
            found.extend(self.list::<AuditEntry>(self::before(ring, before), true, limit)?);
        }
        let mut found: Vec<(u64, AuditEntry)> = found.into_iter().map(|(key, entry)| (number(&key), entry)).collect();
        found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        found.truncate(limit);
        Ok(found)
    }
}

fn key(ring: Ring, number: u64) -> (u32, u64) {
    let place = match ring {
        Ring::Administration => 0,
        Ring::Use => 1,
        Ring::Refusals => 2,
    };
    (place, number)
}

fn number(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |number| u64::from_be_bytes(*number))
}

/// The entries of a ring that are numbered below `end`.
fn before(ring: Ring, end: u64) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (Bound::Included(key(ring, 0).bytes()), Bound::Excluded(key(ring, end).bytes()))
}
