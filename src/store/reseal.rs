//! Replacing the master key: everything is sealed anew while the store is in use.
//!
//! `meta` names the key that is sealed under and, until the last row has been resealed, the one before. Both
//! are written by a checkpoint, so that nothing is sealed under the new key before the tables say so. The walk
//! keeps no place: begun again, it passes over what is resealed already.

use std::ops::{Bound, ControlFlow};

use super::places::{KEY, KEY_BEFORE};
use super::tables::{self, META, Record, Rows, Tables, Typed};
use super::tokens::SealedTokens;
use super::{Snapshot, StoreError, rotation};
use crate::model::ConnectionId;
use crate::vault::{KeyId, Vault};

/// How many rows one slice looks at,
const SLICE: usize = 128;

/// or how many bytes.
const SLICE_BYTES: usize = 256 * 1024;

/// So many bytes count as one change more.
const CHANGE: usize = 2_048;

/// Under which keys a store is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyIds {
    /// What is sealed, is sealed under this one.
    pub present: KeyId,
    /// Some of it may be sealed under this one still.
    pub before: Option<KeyId>,
}

/// How far a walk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Rows that were looked at.
    pub rows: u64,
    /// Rows that there are, about.
    pub of: u64,
    /// Rows that do not open, and stay as they are.
    pub damaged: u64,
}

impl Resealed {
    pub(super) fn add(&mut self, slice: &Slice) {
        self.rows += slice.rows;
        self.damaged += slice.damaged;
        self.of = self.of.max(self.rows);
    }
}

/// What a checkpoint does about keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Stay,
    /// This key is the present one from now on; the one before is needed too.
    To(KeyId),
    /// The one before is not needed any more.
    End,
}

impl Turn {
    /// Writes it down.
    pub(super) fn note(self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        let KeyIds { present, before } = key_ids(tables)?;
        match self {
            Turn::To(id) if present != id => {
                let vault = &tables.places().vault;
                if before.is_some() || !vault.knows(id) {
                    return Err(StoreError::WrongKey { store: present, given: id });
                }
                tables.put_raw(META, KEY, id.as_bytes())?;
                tables.put_raw(META, KEY_BEFORE, present.as_bytes())
            }
            Turn::End => tables.remove_raw(META, KEY_BEFORE),
            Turn::To(_) | Turn::Stay => Ok(()),
        }
    }

    /// It is durable: seals by it.
    pub(super) fn take(self, vault: &Vault) {
        if let Turn::To(id) = self {
            vault.turn_to(id);
        }
    }
}

/// Where a walk goes on.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Among all tables.
    table: usize,
    after: Option<Vec<u8>>,
}

/// What one step did.
#[derive(Debug, Default)]
pub(super) struct Slice {
    /// Where the next one begins; `None` at the end.
    pub(super) next: Option<Place>,
    pub(super) rows: u64,
    pub(super) damaged: u64,
    /// What was resealed, in changes of the usual size.
    pub(super) weight: u64,
}

/// Reseals some rows.
pub(super) fn slice(tables: &mut Tables<'_>, from: &Place) -> Result<Slice, StoreError> {
    let Some(table) = tables::all().nth(from.table) else { return Ok(Slice::default()) };
    let (mut rows, mut bytes, mut is_whole) = (Vec::new(), 0, true);
    let after = from.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
    tables.walk(table, (after, Bound::Unbounded), false, &mut |key, value| {
        bytes += key.len() + value.len();
        rows.push((key.to_vec(), value.to_vec()));
        is_whole = rows.len() < SLICE && bytes < SLICE_BYTES;
        Ok(if is_whole { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    let mut slice = Slice { rows: rows.len() as u64, ..Slice::default() };
    for (key, value) in &rows {
        match reseal(tables, table, key, value) {
            Ok(true) => slice.weight += 1 + (value.len() / CHANGE) as u64,
            Ok(false) => {}
            Err(StoreError::Damaged { .. }) => slice.damaged += 1,
            Err(error) => return Err(error),
        }
    }
    // A key that is damaged may lead back to where the slice began.
    let goes_on = |last: &Vec<u8>| !is_whole && from.after.as_ref().is_none_or(|after| last > after);
    let next = match rows.pop().filter(|(last, _)| goes_on(last)) {
        Some((last, _)) => Place { table: from.table, after: Some(last) },
        None => Place { table: from.table + 1, after: None },
    };
    slice.next = (next.table < tables::all().count()).then_some(next);
    Ok(slice)
}

fn reseal(tables: &mut Tables<'_>, table: &'static str, key: &[u8], value: &[u8]) -> Result<bool, StoreError> {
    if table == SealedTokens::TABLE
        && let Ok(id) = uuid::Uuid::from_slice(key)
    {
        let mut tokens = tables.decode::<SealedTokens>(key, value)?;
        // Tokens that do not open cost themselves, not what is known about them.
        if let Ok(true) = tokens.reseal(ConnectionId(id), &tables.places().vault) {
            return tables.put(key, &tokens).map(|()| true);
        }
    }
    if table == rotation::PREVIOUS && rotation::reseal(tables, key, value)? {
        return Ok(true);
    }
    let resealed = tables.places().resealed(table, key, value).map_err(|_| StoreError::Damaged { table })?;
    resealed.map_or(Ok(false), |value| tables.put_raw(table, key, &value).map(|()| true))
}

/// How many rows there are.
pub(super) fn rows(snapshot: &Snapshot<'_>) -> Result<u64, StoreError> {
    tables::all().map(|table| snapshot.len(table)).sum()
}

/// Which keys a store says it is sealed under.
pub(super) fn key_ids(rows: &impl Rows) -> Result<KeyIds, StoreError> {
    let id = |name| Ok(rows.raw(META, name)?.and_then(|id| id_of(&id)));
    Ok(KeyIds { present: id(KEY)?.ok_or(StoreError::Damaged { table: META })?, before: id(KEY_BEFORE)? })
}

/// Refuses a store unless every key that it needs is known; then seals as it does.
pub(super) fn key_fits(store: KeyId, before: Option<KeyId>, vault: &Vault) -> Result<(), StoreError> {
    let given = vault.key_id();
    match before {
        Some(from) if !(vault.knows(store) && vault.knows(from)) => Err(StoreError::HalfRotated { from, to: store, given }),
        None if !vault.knows(store) => Err(StoreError::WrongKey { store, given }),
        _ => {
            vault.turn_to(store);
            Ok(())
        }
    }
}

/// Seals as a store does whose row `key` is this.
pub(super) fn follow(key: &[u8], vault: &Vault) {
    if let Some(id) = id_of(key) {
        vault.turn_to(id);
    }
}

fn id_of(bytes: &[u8]) -> Option<KeyId> {
    bytes.try_into().ok().map(KeyId::from_bytes)
}
