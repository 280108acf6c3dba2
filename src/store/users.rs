//! Owners.

use serde::{Deserialize, Serialize};

use super::access::drop_api_tokens;
use super::attempts::drop_invites_of;
use super::tables::{ALL, Kind, Record, Typed};
use super::{Change, Rows, Snapshot, StoreError, Tables};
use crate::model::AppUserId;
use crate::model::user::User;

impl Record for User {
    const TABLE: &'static str = "users-1";
}

/// Makes a user, or changes one.
#[derive(Debug, Serialize, Deserialize)]
pub struct PutUser {
    /// The user.
    pub user: User,
    /// Whether it may be there already, may be missing, or either.
    pub when: When,
}

/// What must be so for [`PutUser`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// There is none of that id.
    New,
    /// There is one of that id.
    There,
}

/// What came of [`PutUser`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserPut {
    /// Done.
    Stored,
    /// What must be so was not so.
    Refused,
}

impl Change for PutUser {
    type Outcome = UserPut;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<UserPut, StoreError> {
        let there = user(tables, &self.user.id)?.is_some();
        if there != (self.when == When::There) {
            return Ok(UserPut::Refused);
        }
        let row = row_or_new(tables, &self.user.id)?;
        tables.put(row, &self.user)?;
        Ok(UserPut::Stored)
    }
}

/// Removes a user, and with it every way in: invites, attempts, and tokens that are bound to it.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemoveUser {
    /// Whom.
    pub id: AppUserId,
}

impl Change for RemoveUser {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        drop_invites_of(tables, &self.id)?;
        drop_api_tokens(tables, |_, token| token.user.as_ref() == Some(&self.id))?;
        if let Some(row) = row_of(tables, &self.id)? {
            tables.remove::<User>(row)?;
        }
        Ok(())
    }
}

/// A user.
pub(super) fn user(rows: &impl Rows, id: &AppUserId) -> Result<Option<User>, StoreError> {
    row_of(rows, id)?.map_or(Ok(None), |row| rows.get(row))
}

/// The row of a user. Where the index is damaged all users are looked through, so that it takes nothing whole with it; only
/// the row of one who was removed is not found then.
pub(super) fn row_of(rows: &impl Rows, id: &AppUserId) -> Result<Option<u32>, StoreError> {
    match rows.row(Kind::User, id.as_str()) {
        Err(StoreError::Damaged { table }) => {
            tracing::error!(table, "a row is damaged, so that a user is looked for among all");
            let users = rows_after::<User>(rows, 0, usize::MAX)?;
            Ok(users.into_iter().find(|(_, user)| user.id == *id).map(|(row, _)| row))
        }
        row => row,
    }
}

/// The same; a new row if the user has none (any more).
pub(super) fn row_or_new(tables: &mut Tables<'_>, id: &AppUserId) -> Result<u32, StoreError> {
    match row_of(tables, id)? {
        Some(row) => Ok(row),
        None => tables.row_or_new(Kind::User, id.as_str()),
    }
}

impl Snapshot<'_> {
    /// A user.
    pub fn user(&self, id: &AppUserId) -> Result<Option<User>, StoreError> {
        user(self, id)
    }

    /// Users after a row, in order of their making, with their rows.
    pub fn users(&self, after: u32, limit: usize) -> Result<Vec<(u32, User)>, StoreError> {
        rows_after(self, after, limit)
    }
}

/// Records keyed by row number, after a row.
pub(super) fn rows_after<R: Record>(rows: &impl Rows, after: u32, limit: usize) -> Result<Vec<(u32, R)>, StoreError> {
    use std::ops::Bound::Excluded;
    let range = (Excluded(after.to_be_bytes().to_vec()), ALL.1);
    let found = rows.list::<R>(range, false, limit)?;
    Ok(found.into_iter().filter_map(|(key, record)| Some((u32::from_be_bytes(key.try_into().ok()?), record))).collect())
}
