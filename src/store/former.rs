//! Rows of cars that have changed hands. The id leads to the row of whoever has the car now; what somebody had of it
//! before stays in a row of its own, to which no id leads, and is taken again should the car come back.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::access::drop_api_tokens;
use super::tables::{ALL, INDEX, Kind, Record, Typed, VEHICLES_BY_USER, VEHICLES_TO_READ, VEHICLES_TO_REVISIT, under};
use super::vehicle_data::erase_data;
use super::vehicles::{of_user, rows_of_user};
use super::webhook_log::erase_entries;
use super::{Change, Rows, Snapshot, StoreError, Tables, users};
use crate::model::user::User;
use crate::model::vehicle::Vehicle;
use crate::model::{AppUserId, VehicleId};

/// Erases what those had of a vehicle who have it no more. Whoever has it now is not touched, nor is what it has cost
/// this month: that went to the present row when it changed hands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EraseFormer {
    /// Which.
    pub id: VehicleId,
    /// Only what was this user's.
    pub user: Option<AppUserId>,
}

impl Change for EraseFormer {
    /// Whether there was anything.
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let former = former_rows(tables, &self.id, self.user.as_ref())?;
        for (row, vehicle) in &former {
            super::budget::erase_former(tables, *row)?;
            erase_row(tables, *row, vehicle)?;
        }
        Ok(!former.is_empty())
    }
}

/// Erases rows of vehicles that cannot be read, and what is kept under rows that were lost in a repair. What a row is of
/// stands in the row itself, so only who has or had it, or the id of whoever has it now, leads there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EraseUnreadable {
    /// The row that this id leads to.
    pub id: Option<VehicleId>,
    /// All of this user's.
    pub user: Option<AppUserId>,
}

impl Change for EraseUnreadable {
    /// How many.
    type Outcome = usize;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<usize, StoreError> {
        let mut rows = self.user.as_ref().map_or(Ok(Vec::new()), |user| unreadable_of(tables, user))?;
        if let Some(id) = &self.id
            && let Some(row) = tables.row(Kind::Vehicle, id.as_str())?
            && is_unreadable(tables, row)?
            && !rows.contains(&row)
        {
            rows.push(row);
        }
        // What still comes about these cars is not kept, and their month goes on.
        for (entry, row) in entries_of(tables, &rows)? {
            // SECURITY: whoever connects the car next is nobody whom a token of now may see.
            drop_api_tokens(tables, |tables, token| {
                let bound = token.vehicle.as_ref().map(|id| tables.places().index_entry(Kind::Vehicle, id.as_str()));
                bound.is_some_and(|bound| bound == entry)
            })?;
            super::budget::erase(tables, row, &entry)?;
            let nowhere = tables.seal(INDEX, &entry, &[], &[]);
            tables.put_raw(INDEX, &entry, &nowhere)?;
        }
        for row in &rows {
            super::budget::erase_former(tables, *row)?;
            for mark in marks_of(tables, *row)? {
                tables.remove_raw(VEHICLES_BY_USER, &mark)?;
            }
            erase_kept(tables, *row)?;
        }
        Ok(rows.len())
    }
}

/// Removes a vehicle's row, and all that is kept under it but for its ledger.
pub(super) fn erase_row(tables: &mut Tables<'_>, row: u32, vehicle: &Vehicle) -> Result<(), StoreError> {
    if let Some(user) = users::row_of(tables, &vehicle.user)? {
        tables.remove_mark(VEHICLES_BY_USER, (user, row))?;
    }
    erase_kept(tables, row)
}

fn erase_kept(tables: &mut Tables<'_>, row: u32) -> Result<(), StoreError> {
    erase_data(tables, row)?;
    super::commands::erase(tables, row)?;
    super::subscriptions::erase(tables, row)?;
    erase_entries(tables, row)?;
    tables.remove_mark(VEHICLES_TO_REVISIT, row)?;
    tables.remove_mark(VEHICLES_TO_READ, row)?;
    tables.remove::<Vehicle>(row)
}

/// What a user had of a vehicle before: the newest row, should an earlier Carport have made several.
pub(super) fn newest_of(rows: &impl Rows, id: &VehicleId, user: &AppUserId) -> Result<Option<(u32, Vehicle)>, StoreError> {
    let current = rows.row(Kind::Vehicle, id.as_str())?;
    let mut of_user = of_user(rows, user)?;
    of_user.retain(|(row, vehicle)| vehicle.facts.id == *id && Some(*row) != current);
    Ok(of_user.pop())
}

fn former_rows(rows: &impl Rows, id: &VehicleId, user: Option<&AppUserId>) -> Result<Vec<(u32, Vehicle)>, StoreError> {
    let mut found = rows_of(rows, id)?;
    let current = rows.row(Kind::Vehicle, id.as_str())?;
    found.retain(|(row, vehicle)| Some(*row) != current && user.is_none_or(|user| vehicle.user == *user));
    Ok(found)
}

/// All rows of a vehicle, oldest first. No index leads to former ones, so that all are looked at.
fn rows_of(rows: &impl Rows, id: &VehicleId) -> Result<Vec<(u32, Vehicle)>, StoreError> {
    let mut found = Vec::new();
    rows.walk(Vehicle::TABLE, ALL, false, &mut |key, sealed| {
        match rows.decode::<Vehicle>(key, sealed) {
            Ok(vehicle) if vehicle.facts.id == *id => {
                found.extend(key.try_into().map(|row| (u32::from_be_bytes(row), vehicle)));
            }
            Ok(_) => {}
            Err(_) => tracing::error!(table = Vehicle::TABLE, "a row is damaged and was passed over"),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// The entries of the index that lead to some rows of vehicles, and to which.
fn entries_of(rows: &impl Rows, those: &[u32]) -> Result<Vec<(Vec<u8>, u32)>, StoreError> {
    let mut found = Vec::new();
    rows.walk(INDEX, under(&[Kind::Vehicle as u8]), false, &mut |key, sealed| {
        let row = rows.open(INDEX, key, &[], sealed).ok().and_then(|row| Some(u32::from_be_bytes(row[..].try_into().ok()?)));
        found.extend(row.filter(|row| those.contains(row)).map(|row| (key.to_vec(), row)));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Whether a row is damaged, or was lost.
fn is_unreadable(rows: &impl Rows, row: u32) -> Result<bool, StoreError> {
    Ok(is_damaged(rows, row)? || is_lost(rows, row)?)
}

fn is_damaged(rows: &impl Rows, row: u32) -> Result<bool, StoreError> {
    match rows.get::<Vehicle>(row) {
        Err(StoreError::Damaged { .. }) => Ok(true),
        found => found.map(|_| false),
    }
}

/// Whether a row had a vehicle that is gone since a repair: then the mark of its user is there still. One that only events
/// came in about has none.
pub(super) fn is_lost(rows: &impl Rows, row: u32) -> Result<bool, StoreError> {
    Ok(!rows.has::<Vehicle>(row)? && !marks_of(rows, row)?.is_empty())
}

/// The marks that say whose a row is.
pub(super) fn marks_of(rows: &impl Rows, row: u32) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut marks = rows.keys(VEHICLES_BY_USER, ALL, usize::MAX)?;
    marks.retain(|mark| mark.ends_with(&row.to_be_bytes()));
    Ok(marks)
}

fn unreadable_of(rows: &impl Rows, user: &AppUserId) -> Result<Vec<u32>, StoreError> {
    let Some(user) = users::row_of(rows, user)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for row in rows_of_user(rows, user)? {
        if is_unreadable(rows, row)? {
            found.push(row);
        }
    }
    Ok(found)
}

impl Snapshot<'_> {
    /// How many rows of vehicles cannot be read, so that nobody knows what they are of; or how many of one user's. Those that
    /// were lost in a repair count: their history is still there, and is taken again by its owner, or erased with them.
    pub fn unreadable_vehicles(&self, user: Option<&AppUserId>) -> Result<usize, StoreError> {
        Ok(self.unreadable_rows(user)?.len())
    }

    /// Whose the rows are that cannot be read and may be of this vehicle: no other id leads to them. Each user once; `None`
    /// for one who is not known any more. With a user, only theirs are looked at.
    pub fn unreadable_beside(
        &self,
        id: &VehicleId,
        user: Option<&AppUserId>,
    ) -> Result<(usize, BTreeSet<Option<AppUserId>>), StoreError> {
        let mut rows = self.unreadable_rows(user)?;
        let own = self.places().index_entry(Kind::Vehicle, id.as_str());
        for (entry, row) in entries_of(self, &rows)? {
            if entry != own {
                rows.retain(|other| *other != row);
            }
        }
        let mut owners = BTreeSet::new();
        for row in &rows {
            let marks = marks_of(self, *row)?;
            let user = marks.first().and_then(|mark| mark.first_chunk()).map(|user| u32::from_be_bytes(*user));
            let user = user.map_or(Ok(None), |user| self.get_sound::<User>(user))?;
            owners.insert(user.map(|user| user.id));
        }
        Ok((rows.len(), owners))
    }

    fn unreadable_rows(&self, user: Option<&AppUserId>) -> Result<Vec<u32>, StoreError> {
        if let Some(user) = user {
            return unreadable_of(self, user);
        }
        let mut found = BTreeSet::new();
        self.walk(Vehicle::TABLE, ALL, false, &mut |key, sealed| {
            if self.decode::<Vehicle>(key, sealed).is_err() {
                found.insert(key.to_vec());
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for mark in self.keys(VEHICLES_BY_USER, ALL, usize::MAX)? {
            if let Some(row) = mark.get(size_of::<u32>()..)
                && self.raw(Vehicle::TABLE, row)?.is_none()
            {
                found.insert(row.to_vec());
            }
        }
        Ok(found.into_iter().filter_map(|row| Some(u32::from_be_bytes(row.try_into().ok()?))).collect())
    }

    /// Whether a vehicle of a user's is damaged, so that nobody knows what serves it. What was lost is served by nothing.
    pub fn has_damaged_vehicles(&self, user: &AppUserId) -> Result<bool, StoreError> {
        let is_lost = matches!(self.row(Kind::User, user.as_str()), Err(StoreError::Damaged { .. }));
        if is_lost && users::row_of(self, user)?.is_none() {
            return Ok(true);
        }
        for row in unreadable_of(self, user)? {
            if is_damaged(self, row)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the row that a vehicle's id leads to is damaged, and is this user's. Where the index is damaged nobody can tell.
    pub fn is_damaged_of(&self, id: &VehicleId, user: &AppUserId) -> Result<bool, StoreError> {
        let row = match self.row(Kind::Vehicle, id.as_str()) {
            Err(StoreError::Damaged { .. }) => None,
            row => row?,
        };
        let Some(row) = row else { return Ok(false) };
        Ok(unreadable_of(self, user)?.contains(&row) && is_damaged(self, row)?)
    }

    /// Whether a vehicle's row is a former one: somebody's history of a car that has changed hands. An index that is
    /// damaged must not take the whole list with it.
    pub fn is_former(&self, row: u32, vehicle: &Vehicle) -> Result<bool, StoreError> {
        match self.row(Kind::Vehicle, vehicle.facts.id.as_str()) {
            Err(StoreError::Damaged { table }) => {
                tracing::error!(table, "a row is damaged, so that nothing tells whether another user has a car by now");
                Ok(false)
            }
            current => Ok(current? != Some(row)),
        }
    }

    /// All rows of a vehicle, former ones too, oldest first. For what is rare: it looks at every vehicle.
    pub fn rows_of_vehicle(&self, id: &VehicleId) -> Result<Vec<(u32, Vehicle)>, StoreError> {
        rows_of(self, id)
    }
}
