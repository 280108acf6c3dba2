//! Sealed token sets and the order in which they are due.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::rotation;
use super::tables::{ALL, Record, Rows, TOKENS_BY_DUE, Typed, to_cbor};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::connection::{Cause, Connection};
use crate::model::{Blob, ConnectionId, Timestamp};
use crate::vault::{Row, Vault};

/// A token set as it is kept. The tokens were sealed by the `tokens` room; nothing here can open them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedTokens {
    /// Grows with every rotation.
    pub version: u64,
    /// The tokens.
    pub sealed: Blob,
    /// When the access token dies.
    pub access_expires_at: Timestamp,
    /// When the refresh token dies if it is not used; `None` for the application token.
    pub refresh_expires_at: Option<Timestamp>,
    /// When Smartcar issued them.
    pub issued_at: Timestamp,
    /// When an access token was last asked for, to the day.
    pub used_at: Timestamp,
    /// When they are to be renewed; `None` if that would be in vain.
    pub due_at: Option<Timestamp>,
}

impl Record for SealedTokens {
    const TABLE: &'static str = "smartcar_tokens-1";
}

/// Replaces a token set by the next one. Compare and set: two rotations cannot both win.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RotateTokens {
    /// Whose.
    pub connection: ConnectionId,
    /// The version that the new set came from; 0 if there was none.
    pub from_version: u64,
    /// The new set.
    pub tokens: SealedTokens,
}

/// What came of [`RotateTokens`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// Stored.
    Stored,
    /// Somebody else rotated first: read again.
    Superseded,
    /// The connection has gone.
    Gone,
}

impl Change for RotateTokens {
    type Outcome = Rotated;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<Rotated, StoreError> {
        let before = tables.get_sound::<SealedTokens>(self.connection)?;
        let version = before.as_ref().map_or(0, |tokens| tokens.version);
        if version == 0 && self.from_version != 0 {
            return Ok(Rotated::Gone);
        }
        if version != self.from_version {
            return Ok(Rotated::Superseded);
        }
        put_tokens(tables, self.connection, &self.tokens)?;
        if let Some(before) = before {
            rotation::replaced(tables, self.connection, before, self.tokens.issued_at)?;
        }
        if let Some(mut connection) = tables.get_sound::<Connection>(self.connection)?
            && connection.mended(Cause::Tokens)
        {
            tables.put(self.connection, &connection)?;
        }
        Ok(Rotated::Stored)
    }
}

/// Changes when a token set is due, or notes that it was used.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reschedule {
    /// Whose.
    pub connection: ConnectionId,
    /// The version that was looked at; nothing happens to another one.
    pub version: u64,
    /// When an access token was last asked for.
    pub used_at: Timestamp,
    /// When it is due.
    pub due_at: Option<Timestamp>,
}

impl Change for Reschedule {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        match tables.get_sound::<SealedTokens>(self.connection)? {
            Some(mut tokens) if tokens.version == self.version => {
                tokens.used_at = self.used_at;
                tokens.due_at = self.due_at;
                put_tokens(tables, self.connection, &tokens)
            }
            _ => Ok(()),
        }
    }
}

/// Takes a due time out of the order that its connection does not have (any more).
#[derive(Debug, Serialize, Deserialize)]
pub struct DropDue {
    /// The time.
    pub due_at: Timestamp,
    /// The connection.
    pub connection: ConnectionId,
}

impl Change for DropDue {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.remove_mark(TOKENS_BY_DUE, (self.due_at, self.connection))
    }
}

/// Drops the tokens of a connection that was lost in a repair: nothing here leads to them any more. One that is damaged is
/// there still, and keeps its own.
#[derive(Debug, Serialize, Deserialize)]
pub struct DropOrphaned {
    /// Whose they were.
    pub connection: ConnectionId,
}

impl Change for DropOrphaned {
    /// Whether they were orphaned.
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let are_orphaned = are_orphaned(tables, self.connection)?;
        if are_orphaned {
            drop_tokens(tables, self.connection)?;
        }
        Ok(are_orphaned)
    }
}

/// Whether there are tokens, sound or not, whose connection has no row at all. The application's own have none.
fn are_orphaned(rows: &impl Rows, id: ConnectionId) -> Result<bool, StoreError> {
    Ok(id != ConnectionId::APPLICATION && rows.has::<SealedTokens>(id)? && !rows.has::<Connection>(id)?)
}

impl SealedTokens {
    /// Reseals what `tokens` has sealed. `false` if there was nothing to do.
    pub(super) fn reseal(&mut self, connection: ConnectionId, vault: &Vault) -> Result<bool, StoreError> {
        let key = seal_key(connection, self.version);
        let resealed = vault.reseal(seal_row(&key), &self.sealed.0);
        let resealed = resealed.map_err(|_| StoreError::Damaged { table: SealedTokens::TABLE })?;
        Ok(resealed.map(|resealed| self.sealed = Blob(resealed)).is_some())
    }
}

pub(super) fn put_tokens(tables: &mut Tables<'_>, connection: ConnectionId, tokens: &SealedTokens) -> Result<(), StoreError> {
    let mut tokens = tokens.clone();
    // They may have been sealed in the moment before the key was replaced, and its rows were resealed since.
    if let Err(error) = tokens.reseal(connection, &tables.places().vault) {
        tracing::error!(connection.id = %connection, %error, "a new token set does not open");
    }
    if let Some(before) = tables.get_sound::<SealedTokens>(connection)? {
        unmark(tables, connection, before.due_at)?;
    }
    if let Some(due_at) = tokens.due_at {
        tables.put_mark(TOKENS_BY_DUE, (due_at, connection))?;
    }
    tables.put(connection, &tokens)
}

pub(super) fn drop_tokens(tables: &mut Tables<'_>, connection: ConnectionId) -> Result<(), StoreError> {
    if let Some(tokens) = tables.get_sound::<SealedTokens>(connection)? {
        unmark(tables, connection, tokens.due_at)?;
        rotation::forget(tables, connection, &tokens)?;
    }
    tables.remove::<SealedTokens>(connection)
}

fn unmark(tables: &mut Tables<'_>, connection: ConnectionId, due_at: Option<Timestamp>) -> Result<(), StoreError> {
    due_at.map_or(Ok(()), |due_at| tables.remove_mark(TOKENS_BY_DUE, (due_at, connection)))
}

impl Snapshot<'_> {
    /// The token set of a connection. A damaged application token is as good as none: it is minted anew.
    pub fn tokens(&self, connection: ConnectionId) -> Result<Option<SealedTokens>, StoreError> {
        if connection == ConnectionId::APPLICATION { self.sound_tokens(connection) } else { self.get(connection) }
    }

    /// The same for whoever has something to say of all connections: a damaged set is as good as none.
    pub fn sound_tokens(&self, connection: ConnectionId) -> Result<Option<SealedTokens>, StoreError> {
        self.get_sound(connection)
    }

    /// Whether a connection was lost in a repair and its tokens were not.
    pub fn has_orphaned_tokens(&self, connection: ConnectionId) -> Result<bool, StoreError> {
        are_orphaned(self, connection)
    }

    /// Which connections come last in the order of their due times.
    pub fn last_due(&self, limit: usize) -> Result<Vec<(Timestamp, ConnectionId)>, StoreError> {
        let mut keys = Vec::new();
        self.walk(TOKENS_BY_DUE, ALL, true, &mut |key, _| {
            keys.extend(due_key(key));
            Ok(if keys.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(keys)
    }

    /// Which connections come first in the order of their due times.
    pub fn next_due(&self, limit: usize) -> Result<Vec<(Timestamp, ConnectionId)>, StoreError> {
        let keys = self.keys(TOKENS_BY_DUE, ALL, limit)?;
        Ok(keys.iter().filter_map(|key| due_key(key)).collect())
    }
}

fn due_key(key: &[u8]) -> Option<(Timestamp, ConnectionId)> {
    let (due_at, connection) = key.split_first_chunk::<8>()?;
    let millis = i64::try_from(u64::from_be_bytes(*due_at)).ok()?;
    Some((Timestamp::from_millis(millis), ConnectionId(uuid::Uuid::from_slice(connection).ok()?)))
}

/// The key under which tokens are sealed: connection and version, so that no older set passes for a newer.
pub fn seal_key(connection: ConnectionId, version: u64) -> Vec<u8> {
    to_cbor(&(connection, version))
}

/// The place that sealed tokens are bound to, by its [key](seal_key).
pub fn seal_row(key: &[u8]) -> Row<'_> {
    Row { table: "smartcar_tokens", key, context: b"" }
}
