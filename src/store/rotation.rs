//! What stands beside a token set while it is rotated, and shortly after.
//!
//! An intent is on disk before a refresh token is spent: whoever finds one knows that Smartcar may have replaced
//! the pair, and sends the same token again. The pair before is kept until nobody could want it back.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::switching::is_spare;
use super::tables::{ALL, Record, Rows, Typed};
use super::tokens::{SealedTokens, drop_tokens, put_tokens};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::connection::{Cause, Connection, ConnectionStatus};
use crate::model::{ConnectionId, Timestamp};

/// How long the token set before is kept.
pub const KEPT: Duration = Duration::from_secs(600);

/// That a token set is about to be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its version.
    pub version: u64,
    /// When the refresh was to be sent, by the wall clock.
    pub started_at: Timestamp,
}

impl Record for Intent {
    const TABLE: &'static str = "refresh_intents-1";
}

/// The token set before.
#[derive(Debug, Serialize, Deserialize)]
struct Previous(SealedTokens);

impl Record for Previous {
    const TABLE: &'static str = "previous_tokens-1";
}

/// Notes that a refresh is about to be sent. Until its answer is stored, the connection is due.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BeginRefresh {
    /// Whose tokens.
    pub connection: ConnectionId,
    /// Which of them, and when.
    pub intent: Intent,
}

impl Change for BeginRefresh {
    /// Whether these are still its tokens.
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let Some(tokens) = current(tables, self.connection, self.intent.version)? else { return Ok(false) };
        tables.put(self.connection, &self.intent)?;
        let at = self.intent.started_at;
        if tokens.due_at.is_some_and(|due_at| due_at > at) {
            put_tokens(tables, self.connection, &SealedTokens { due_at: Some(at), ..tokens })?;
        }
        Ok(true)
    }
}

/// A refresh gave nothing: the next try comes later. What is lost of it costs one try too early, so it needs no
/// flush of its own.
#[derive(Debug, Serialize, Deserialize)]
pub struct PostponeRefresh {
    /// Whose.
    pub connection: ConnectionId,
    /// The version that was tried; nothing happens to another one.
    pub version: u64,
    /// When to try again.
    pub due_at: Timestamp,
    /// The refresh token was certainly not spent, so the intent goes.
    pub unspent: bool,
}

impl Change for PostponeRefresh {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        let Some(tokens) = current(tables, self.connection, self.version)? else { return Ok(()) };
        if self.unspent {
            tables.remove::<Intent>(self.connection)?;
        }
        // What Smartcar has refused meanwhile stays without a due time.
        if tokens.due_at.is_none() {
            return Ok(());
        }
        put_tokens(tables, self.connection, &SealedTokens { due_at: Some(self.due_at), ..tokens })
    }

    fn is_derived(&self) -> bool {
        true
    }
}

/// Smartcar has refused a refresh token for good: asking again would be in vain, the owner must connect again.
#[derive(Debug, Serialize, Deserialize)]
pub struct RefuseTokens {
    /// Whose.
    pub connection: ConnectionId,
    /// The version that was refused; nothing happens to another one.
    pub version: u64,
    /// Why, in words.
    pub reason: String,
}

/// What came of [`RefuseTokens`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The owner is to be told.
    Marked,
    /// That was known before.
    Known,
    /// Others are stored by now: read again.
    Superseded,
}

impl Change for RefuseTokens {
    type Outcome = Refused;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<Refused, StoreError> {
        let Some(tokens) = current(tables, self.connection, self.version)? else { return Ok(Refused::Superseded) };
        // Its connection does without, but cannot go back any more.
        if is_spare(tables, self.connection)? {
            drop_tokens(tables, self.connection)?;
            return Ok(Refused::Known);
        }
        tables.remove::<Intent>(self.connection)?;
        put_tokens(tables, self.connection, &SealedTokens { due_at: None, ..tokens })?;
        let Some(mut connection) = tables.get_sound::<Connection>(self.connection)? else { return Ok(Refused::Known) };
        match &connection.status {
            ConnectionStatus::Disconnected | ConnectionStatus::NeedsReconnect { cause: Cause::Tokens, .. } => Ok(Refused::Known),
            ConnectionStatus::Active | ConnectionStatus::NeedsReconnect { .. } => {
                connection.status =
                    ConnectionStatus::NeedsReconnect { reason: self.reason.clone(), cause: Cause::Tokens, since: None };
                connection.last_error = Some(self.reason.clone());
                tables.put(self.connection, &connection)?;
                Ok(Refused::Marked)
            }
        }
    }
}

/// A set replaces `before`, which is kept for a while. Nothing is kept of the application's.
pub(super) fn replaced(
    tables: &mut Tables<'_>,
    connection: ConnectionId,
    before: SealedTokens,
    at: Timestamp,
) -> Result<(), StoreError> {
    forget(tables, connection, &before)?;
    if connection == ConnectionId::APPLICATION {
        return Ok(());
    }
    // At most as many are added as go, so that the table holds those of the last minutes.
    let first = tables.keys(Previous::TABLE, ALL, 2)?;
    let outlived = |key: &Vec<u8>| until(key).is_some_and(|until| until <= at);
    for key in first.into_iter().filter(outlived).chain(from_the_future(tables, at)?) {
        tables.remove_raw(Previous::TABLE, &key)?;
    }
    tables.put((at.after(KEPT), connection), &Previous(before))
}

/// Nothing of a refresh of `tokens`, and of the set before it, is left.
pub(super) fn forget(tables: &mut Tables<'_>, connection: ConnectionId, tokens: &SealedTokens) -> Result<(), StoreError> {
    tables.remove::<Intent>(connection)?;
    tables.remove::<Previous>((tokens.issued_at.after(KEPT), connection))
}

/// One that was put aside while the clock was ahead would stay for ever.
fn from_the_future(tables: &Tables<'_>, at: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
    let mut found = None;
    tables.walk(Previous::TABLE, ALL, true, &mut |key, _| {
        found = until(key).filter(|until| *until > at.after(2 * KEPT)).map(|_| key.to_vec());
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// The table of the sets before.
pub(super) const PREVIOUS: &str = Previous::TABLE;

/// Reseals a set before, as it is sealed within its row too. False if there is nothing to do.
pub(super) fn reseal(tables: &mut Tables<'_>, key: &[u8], value: &[u8]) -> Result<bool, StoreError> {
    let id = key.get(8..).and_then(|id| uuid::Uuid::from_slice(id).ok());
    let Some(id) = id else { return Ok(false) };
    let Previous(mut tokens) = tables.decode(key, value)?;
    match tokens.reseal(ConnectionId(id), &tables.places().vault) {
        Ok(true) => tables.put(key, &Previous(tokens)).map(|()| true),
        // One that does not open is of no more use to anybody.
        Ok(false) | Err(_) => Ok(false),
    }
}

fn until(key: &[u8]) -> Option<Timestamp> {
    let millis = u64::from_be_bytes(*key.first_chunk::<8>()?);
    i64::try_from(millis).ok().map(Timestamp::from_millis)
}

fn current(rows: &impl Rows, connection: ConnectionId, version: u64) -> Result<Option<SealedTokens>, StoreError> {
    Ok(rows.get_sound::<SealedTokens>(connection)?.filter(|tokens| tokens.version == version))
}

impl Snapshot<'_> {
    /// The refresh of a connection that was begun and has no answer yet.
    pub fn intent(&self, connection: ConnectionId) -> Result<Option<Intent>, StoreError> {
        self.get_sound(connection)
    }

    /// Refreshes that were begun and have no answer yet.
    pub fn intents(&self, limit: usize) -> Result<Vec<(ConnectionId, Intent)>, StoreError> {
        let found = self.list::<Intent>(ALL, false, limit)?;
        let with_id = |(key, intent): (Vec<u8>, Intent)| Some((ConnectionId(uuid::Uuid::from_slice(&key).ok()?), intent));
        Ok(found.into_iter().filter_map(with_id).collect())
    }

    /// The token set that `tokens` has replaced, while it is kept.
    pub fn previous(&self, connection: ConnectionId, tokens: &SealedTokens) -> Result<Option<SealedTokens>, StoreError> {
        let previous = self.get_sound::<Previous>((tokens.issued_at.after(KEPT), connection))?;
        Ok(previous.map(|Previous(tokens)| tokens))
    }
}
