//! Rows of cars that have changed hands. The id leads to the row of whoever has the car now; what somebody had of it
//! before stays in a row of its own, to which no id leads, and is taken again should the car come back.

use serde::{Deserialize, Serialize};

use super::tables::{ALL, Kind, Record, Typed, VEHICLES_BY_USER, VEHICLES_TO_READ, VEHICLES_TO_REVISIT};
use super::vehicle_data::erase_data;
use super::vehicles::of_user;
use super::webhook_log::erase_entries;
use super::{Change, Rows, Snapshot, StoreError, Tables};
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

/// Removes a vehicle's row, and all that is kept under it but for its ledger.
pub(super) fn erase_row(tables: &mut Tables<'_>, row: u32, vehicle: &Vehicle) -> Result<(), StoreError> {
    erase_data(tables, row)?;
    super::commands::erase(tables, row)?;
    super::subscriptions::erase(tables, row)?;
    erase_entries(tables, row)?;
    if let Some(user) = tables.row(Kind::User, vehicle.user.as_str())? {
        tables.remove_mark(VEHICLES_BY_USER, (user, row))?;
    }
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
        Ok(std::ops::ControlFlow::Continue(()))
    })?;
    Ok(found)
}

impl Snapshot<'_> {
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
