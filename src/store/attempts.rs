//! Invites, and attempts: trips through Connect. Both are found by the hash of a secret.

use std::ops::Bound;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::tables::{ALL, ATTEMPTS_BY_EXPIRY, INVITES_BY_EXPIRY, Record, Typed};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::journey::{Attempt, Ending, Invite};
use crate::model::{AppUserId, Timestamp};

impl Record for Attempt {
    const TABLE: &'static str = "attempts-1";
}

impl Record for Invite {
    const TABLE: &'static str = "invites-1";
}

/// Strangers who hold an invite can begin attempts, and apps can make invites: no more than this are kept
/// of either, those that expire first go first.
const KEPT: usize = 10_000;

/// The shortest time there is.
const MOMENT: Duration = Duration::from_millis(1);

/// Keeps an invite.
#[derive(Debug, Serialize, Deserialize)]
pub struct PutInvite {
    /// Hash of the link.
    pub hash: [u8; 32],
    /// The invite.
    pub invite: Invite,
    /// Now: what has expired for a day is dropped.
    pub at: Timestamp,
}

impl Change for PutInvite {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        let day = Duration::from_secs(86_400);
        make_room::<Invite>(tables, INVITES_BY_EXPIRY, self.at.before(day))?;
        tables.put_mark(INVITES_BY_EXPIRY, (self.invite.expires_at, self.hash))?;
        tables.put(self.hash, &self.invite)
    }
}

/// Drops what expired before a time, and what is too much.
fn make_room<R: Record>(tables: &mut Tables<'_>, by_expiry: &'static str, before: Timestamp) -> Result<(), StoreError> {
    let kept = tables.keys(by_expiry, ALL, KEPT)?;
    let too_many = (kept.len() + 1).saturating_sub(KEPT);
    for (place, key) in kept.iter().enumerate() {
        if place >= too_many && key[..] >= before.bytes()[..] {
            break;
        }
        tables.remove_raw(by_expiry, key)?;
        tables.remove_raw(R::TABLE, key.get(8..).unwrap_or_default())?;
    }
    Ok(())
}

/// Drops the invites of a user, and its attempts.
pub(super) fn drop_invites_of(tables: &mut Tables<'_>, user: &AppUserId) -> Result<(), StoreError> {
    for (key, invite) in tables.list::<Invite>(ALL, false, usize::MAX)? {
        if invite.user == *user {
            tables.remove_mark(INVITES_BY_EXPIRY, (invite.expires_at, key.as_slice()))?;
            tables.remove_raw(Invite::TABLE, &key)?;
        }
    }
    for (key, attempt) in tables.list::<Attempt>(ALL, false, usize::MAX)? {
        if attempt.user == *user {
            tables.remove_mark(ATTEMPTS_BY_EXPIRY, (attempt.expires_at, key.as_slice()))?;
            tables.remove_raw(Attempt::TABLE, &key)?;
        }
    }
    Ok(())
}

/// Notes how a trip ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndTrip {
    /// Hash of the invite's link.
    pub hash: [u8; 32],
    /// How.
    pub ending: Ending,
}

impl Change for EndTrip {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        let Some(mut invite) = tables.get::<Invite>(self.hash)? else { return Ok(()) };
        let connected = matches!(self.ending, Ending::Connected { .. });
        // A late failure of another tab does not undo a connection.
        if connected || !invite.spent {
            invite.spent |= connected;
            invite.ending = self.ending.clone();
            tables.put(self.hash, &invite)?;
        }
        Ok(())
    }
}

/// Begins an attempt.
#[derive(Debug, Serialize, Deserialize)]
pub struct OpenAttempt {
    /// Hash of the state.
    pub hash: [u8; 32],
    /// The attempt.
    pub attempt: Attempt,
    /// Now.
    pub at: Timestamp,
}

impl Change for OpenAttempt {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        make_room::<Attempt>(tables, ATTEMPTS_BY_EXPIRY, self.at)?;
        tables.put_mark(ATTEMPTS_BY_EXPIRY, (self.attempt.expires_at, self.hash))?;
        tables.put(self.hash, &self.attempt)
    }
}

/// Takes an attempt: once, in time, by the browser or for the user that began it.
#[derive(Debug, Serialize, Deserialize)]
pub struct TakeAttempt {
    /// Hash of the state.
    pub hash: [u8; 32],
    /// Hash of the browser's cookie.
    pub browser: Option<[u8; 32]>,
    /// Whose it must be, if that matters.
    pub user: Option<AppUserId>,
    /// What it must have been begun with, if that matters.
    pub redirect_uri: Option<String>,
    /// Now.
    pub at: Timestamp,
}

impl TakeAttempt {
    /// Whether it would take this one, in time or not. What takes nothing need not be committed.
    pub fn fits(&self, attempt: &Attempt) -> bool {
        attempt.browser == self.browser
            && self.user.as_ref().is_none_or(|user| *user == attempt.user)
            && self.redirect_uri.as_ref().is_none_or(|uri| *uri == attempt.redirect_uri)
    }
}

impl Change for TakeAttempt {
    type Outcome = Option<Attempt>;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<Option<Attempt>, StoreError> {
        let Some(attempt) = tables.get::<Attempt>(self.hash)? else { return Ok(None) };
        // SECURITY: another browser or user does not even use it up, or a stranger could spoil the owner's trip.
        if !self.fits(&attempt) {
            return Ok(None);
        }
        tables.remove::<Attempt>(self.hash)?;
        tables.remove_mark(ATTEMPTS_BY_EXPIRY, (attempt.expires_at, self.hash))?;
        Ok((attempt.expires_at > self.at).then_some(attempt))
    }
}

impl Snapshot<'_> {
    /// An attempt, by the hash of its state.
    pub fn attempt(&self, hash: [u8; 32]) -> Result<Option<Attempt>, StoreError> {
        self.get(hash)
    }

    /// The invites that may still be used at a time, those that expire first first.
    pub fn open_invites(&self, at: Timestamp) -> Result<Vec<Invite>, StoreError> {
        let mut found = Vec::new();
        for key in self.keys(INVITES_BY_EXPIRY, (Bound::Included(at.after(MOMENT).bytes()), Bound::Unbounded), KEPT)? {
            let invite: Option<Invite> = self.get_sound(key.get(8..).unwrap_or_default())?;
            found.extend(invite.filter(|invite| !invite.spent));
        }
        Ok(found)
    }

    /// An invite, by the hash of its link.
    pub fn invite(&self, hash: [u8; 32]) -> Result<Option<Invite>, StoreError> {
        self.get(hash)
    }
}
