//! Vehicles.

use serde::{Deserialize, Serialize};

use super::access::drop_api_tokens;
use super::former::{erase_row, is_lost, marks_of, newest_of};
use super::tables::{ALL, Kind, Record, Typed, VEHICLES_BY_USER, VEHICLES_TO_READ, VEHICLES_TO_REVISIT, under};
use super::users::rows_after;
use super::{Change, Rows, Snapshot, StoreError, Tables, users};
use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::vehicle::{Vehicle, VehicleFacts};
use crate::model::{AppUserId, ConnectionId, Timestamp, VehicleId};

impl Record for Vehicle {
    const TABLE: &'static str = "vehicles-1";
    const IS_SECRET: bool = false;
}

/// Gives a vehicle the owner's own name.
#[derive(Debug, Serialize, Deserialize)]
pub struct RenameVehicle {
    /// Which.
    pub id: VehicleId,
    /// The name; `None` takes it away.
    pub nickname: Option<String>,
    /// Only if it is still this user's. A journal of an earlier Carport names none.
    #[serde(default)]
    pub user: Option<AppUserId>,
}

impl Change for RenameVehicle {
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let Some((row, mut vehicle)) = vehicle(tables, &self.id)? else { return Ok(false) };
        if self.user.as_ref().is_some_and(|user| vehicle.user != *user) {
            return Ok(false);
        }
        vehicle.nickname.clone_from(&self.nickname);
        tables.put(row, &vehicle)?;
        Ok(true)
    }
}

/// Notes what Smartcar told of a vehicle.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoteFacts {
    /// What it told. What it did not tell stays as it was.
    pub facts: VehicleFacts,
    /// Through which connection: one that serves it no more tells of a time that is over. A journal of an earlier Carport
    /// names none.
    #[serde(default)]
    pub connection: Option<ConnectionId>,
}

impl Change for NoteFacts {
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let Some((row, mut vehicle)) = vehicle(tables, &self.facts.id)? else { return Ok(false) };
        // SECURITY: somebody else may have the car by now.
        if self.connection.is_some() && vehicle.connection != self.connection {
            return Ok(false);
        }
        merge(&mut vehicle.facts, &self.facts);
        tables.put(row, &vehicle)?;
        Ok(true)
    }
}

/// A first picture of a vehicle was read, or cannot be had.
#[derive(Debug, Serialize, Deserialize)]
pub struct PictureTaken {
    /// The vehicle's row.
    pub vehicle: u32,
    /// Only if this connection still serves it, and was not connected again since this time. A journal of an earlier Carport
    /// does not say.
    #[serde(default)]
    pub served_by: Option<(ConnectionId, Timestamp)>,
}

impl Change for PictureTaken {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        if let Some(served_by) = self.served_by
            && let Some(vehicle) = tables.get_sound::<Vehicle>(self.vehicle)?
            && !is_served_by(tables, &vehicle, served_by)?
        {
            return Ok(());
        }
        tables.remove_mark(VEHICLES_TO_READ, self.vehicle)
    }
}

/// Takes a vehicle from its connection, and if it is to be erased its data too, and the tokens that are bound to it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ForgetVehicle {
    /// Which.
    pub id: VehicleId,
    /// Whether vehicle and data go; else they stay readable.
    pub erase: bool,
    /// Whether it is remembered that it was erased. A journal of an earlier Carport does not say so, and what came
    /// after it was done without.
    #[serde(default)]
    pub is_remembered: bool,
    /// Only if it is still this user's. A journal of an earlier Carport names none.
    #[serde(default)]
    pub user: Option<AppUserId>,
    /// Now. A journal of an earlier Carport does not say.
    #[serde(default)]
    pub at: Timestamp,
    /// Its owner has taken it back at Smartcar: only if this connection still serves it, and was not connected again since this
    /// time. A journal of an earlier Carport does not say.
    #[serde(default)]
    pub served_by: Option<(ConnectionId, Timestamp)>,
}

impl ForgetVehicle {
    /// Does it, and remembers it, if the vehicle is still this user's.
    pub fn of(user: AppUserId, id: VehicleId, erase: bool, at: Timestamp) -> ForgetVehicle {
        ForgetVehicle { id, erase, is_remembered: true, user: Some(user), at, served_by: None }
    }
}

impl Change for ForgetVehicle {
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let Some((row, mut vehicle)) = vehicle(tables, &self.id)? else { return Ok(false) };
        if self.user.as_ref().is_some_and(|user| vehicle.user != *user) {
            return Ok(false);
        }
        if let Some(served_by) = self.served_by
            && !is_served_by(tables, &vehicle, served_by)?
        {
            return Ok(false);
        }
        if self.erase {
            let place = tables.places().index_entry(Kind::Vehicle, self.id.as_str());
            super::budget::erase(tables, row, &place)?;
            erase_row(tables, row, &vehicle)?;
            // SECURITY: whoever could see it must not see it again when somebody connects it anew.
            drop_api_tokens(tables, |_, token| token.vehicle.as_ref() == Some(&self.id))?;
            // What still comes about it is not kept.
            if self.is_remembered {
                tables.put_gone(Kind::Vehicle, self.id.as_str())?;
            } else {
                tables.remove_index(Kind::Vehicle, self.id.as_str())?;
            }
        } else {
            vehicle.end(tables.log.head.newest, self.at);
            (vehicle.taken_back_from, vehicle.taken_back_at) = self.served_by.map(|(from, _)| (from, self.at)).unzip();
            tables.put(row, &vehicle)?;
        }
        tables.log.memo.connection_changed();
        Ok(true)
    }
}

/// Whether a connection still serves a vehicle, and was not connected again since.
fn is_served_by(rows: &impl Rows, vehicle: &Vehicle, (id, since): (ConnectionId, Timestamp)) -> Result<bool, StoreError> {
    let connection = rows.get_sound::<Connection>(id)?.filter(|_| vehicle.connection == Some(id));
    Ok(connection.is_some_and(|connection| connection.connected_at == since))
}

/// A vehicle and its row.
pub(super) fn vehicle(rows: &impl Rows, id: &VehicleId) -> Result<Option<(u32, Vehicle)>, StoreError> {
    let Some(row) = rows.row(Kind::Vehicle, id.as_str())? else { return Ok(None) };
    Ok(rows.get::<Vehicle>(row)?.map(|vehicle| (row, vehicle)))
}

/// Links a vehicle to a connection: a new one is made and the log looked through for it, a known one keeps
/// name, data and history; one that comes back to a user also those of the time before, if it `takes_back`.
pub(super) fn link_vehicle(
    tables: &mut Tables<'_>,
    facts: &VehicleFacts,
    connection: &Connection,
    at: Timestamp,
    takes_back: bool,
) -> Result<(), StoreError> {
    let (id, user) = (&facts.id, &connection.user);
    let held = tables.row(Kind::Vehicle, id.as_str())?;
    let known = held.map_or(Ok(None), |row| tables.get_sound::<Vehicle>(row))?;
    let (row, mut vehicle) = match (held, known) {
        (Some(row), Some(vehicle)) if vehicle.user == *user => (row, vehicle),
        // Only events about it came in so far, or the user's own vehicle was lost in a repair. What is damaged was somebody's.
        (Some(row), None) if !takes_back || !(tables.has::<Vehicle>(row)? || is_taken(tables, row, id, user)?) => {
            super::budget::carry_over(tables, None, row, id)?;
            tables.put_mark(VEHICLES_TO_REVISIT, row)?;
            // SECURITY: whether others had it before was lost as well.
            let had_by_others = takes_back && is_lost(tables, row)?;
            (row, Vehicle { had_by_others, ..unheard_of(id, user, at) })
        }
        (held, former) => {
            if let (Some(before), Some(mut former)) = (held, former) {
                former.end(tables.log.head.newest, at);
                tables.put(before, &former)?;
            }
            // SECURITY: a car that changes hands begins anew; its past, also that in the log, belongs to whoever had it
            // then. So does one that was erased, or what is to be gone would come back.
            let had_by_others = held.is_some() || tables.is_gone(Kind::Vehicle, id.as_str())?;
            let own = if takes_back { newest_of(tables, id, user)? } else { None };
            let (row, vehicle) = if let Some((row, vehicle)) = own {
                tables.put_index(Kind::Vehicle, id.as_str(), row)?;
                (row, Vehicle { linked_at: at, had_by_others: true, ..vehicle })
            } else {
                let row = tables.new_row(Kind::Vehicle, id.as_str())?;
                if !had_by_others {
                    tables.put_mark(VEHICLES_TO_REVISIT, row)?;
                }
                (row, Vehicle { had_by_others, ..unheard_of(id, user, at) })
            };
            super::budget::carry_over(tables, held, row, id)?;
            (row, vehicle)
        }
    };
    merge(&mut vehicle.facts, facts);
    vehicle.resume(tables.log.head.newest);
    vehicle.connection = Some(connection.id);
    let user = users::row_or_new(tables, user)?;
    tables.put_mark(VEHICLES_BY_USER, (user, row))?;
    tables.put_mark(VEHICLES_TO_READ, row)?;
    tables.put(row, &vehicle)
}

/// Whether a row that has no vehicle is not the user's to take: it was somebody else's, or the index had lost the one with
/// the user's history, and events made another.
fn is_taken(rows: &impl Rows, row: u32, id: &VehicleId, user: &AppUserId) -> Result<bool, StoreError> {
    Ok(was_anothers(rows, row, user)? || !is_lost(rows, row)? && newest_of(rows, id, user)?.is_some())
}

/// Whether a row has lost its vehicle in a repair, and was somebody else's: what is kept under it, and its mark, survive.
fn was_anothers(rows: &impl Rows, row: u32, user: &AppUserId) -> Result<bool, StoreError> {
    let own = users::row_of(rows, user)?.map(u32::to_be_bytes);
    Ok(marks_of(rows, row)?.iter().any(|mark| own.is_none_or(|own| !mark.starts_with(&own))))
}

/// A vehicle that nobody had.
fn unheard_of(id: &VehicleId, user: &AppUserId, at: Timestamp) -> Vehicle {
    Vehicle {
        facts: VehicleFacts::unknown(id.clone()),
        nickname: None,
        user: user.clone(),
        connection: None,
        linked_at: at,
        ended_after: None,
        called: None,
        had_by_others: false,
        last_event_at: None,
        errors: Vec::new(),
        taken_back_at: None,
        taken_back_from: None,
        absences: Vec::new(),
        resolved: Vec::new(),
    }
}

/// Takes a connection's vehicles from it, but for those to `keep`.
pub(super) fn unlink_vehicles_of(
    tables: &mut Tables<'_>,
    connection: &Connection,
    at: Timestamp,
    keep: impl Fn(&Vehicle) -> bool,
) -> Result<(), StoreError> {
    for (row, mut vehicle) in served_by(tables, connection)? {
        if !keep(&vehicle) {
            vehicle.end(tables.log.head.newest, at);
            tables.put(row, &vehicle)?;
        }
    }
    Ok(())
}

/// Whether a connection serves any vehicle. A row to which its id leads no more is nobody's.
pub(super) fn serves_any(rows: &impl Rows, connection: &Connection) -> Result<bool, StoreError> {
    for (row, vehicle) in served_by(rows, connection)? {
        let current = rows.row(Kind::Vehicle, vehicle.facts.id.as_str());
        if matches!(current, Err(StoreError::Damaged { .. })) || current? == Some(row) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn served_by(rows: &impl Rows, connection: &Connection) -> Result<Vec<(u32, Vehicle)>, StoreError> {
    let mut vehicles = of_user(rows, &connection.user)?;
    vehicles.retain(|(_, vehicle)| vehicle.connection == Some(connection.id));
    Ok(vehicles)
}

/// All vehicles of a user, former ones too, with their rows, oldest first.
pub(super) fn of_user(rows: &impl Rows, user: &AppUserId) -> Result<Vec<(u32, Vehicle)>, StoreError> {
    let Some(user) = users::row_of(rows, user)? else { return Ok(Vec::new()) };
    let mut vehicles = Vec::new();
    for row in rows_of_user(rows, user)? {
        vehicles.extend(rows.get_sound::<Vehicle>(row)?.map(|vehicle| (row, vehicle)));
    }
    Ok(vehicles)
}

fn marked_rows(rows: &impl Rows, table: &'static str, limit: usize) -> Result<Vec<u32>, StoreError> {
    let keys = rows.keys(table, ALL, limit)?;
    Ok(keys.into_iter().filter_map(|key| Some(u32::from_be_bytes(key.try_into().ok()?))).collect())
}

pub(super) fn rows_of_user(rows: &impl Rows, user: u32) -> Result<Vec<u32>, StoreError> {
    let keys = rows.keys(VEHICLES_BY_USER, under(&user.to_be_bytes()), usize::MAX)?;
    Ok(keys.into_iter().filter_map(|key| Some(u32::from_be_bytes(key.get(4..)?.try_into().ok()?))).collect())
}

pub(super) fn merge(known: &mut VehicleFacts, told: &VehicleFacts) {
    fn newer<T: Clone>(known: &mut Option<T>, told: Option<&T>) {
        if told.is_some() {
            *known = told.cloned();
        }
    }
    newer(&mut known.make, told.make.as_ref());
    newer(&mut known.model, told.model.as_ref());
    newer(&mut known.year, told.year.as_ref());
    newer(&mut known.vin, told.vin.as_ref());
    newer(&mut known.mode, told.mode.as_ref());
    newer(&mut known.powertrain, told.powertrain.as_ref());
    newer(&mut known.smartcar_connection_id, told.smartcar_connection_id.as_ref());
    newer(&mut known.permissions, told.permissions.as_ref());
}

impl Snapshot<'_> {
    /// A vehicle and its row.
    pub fn vehicle(&self, id: &VehicleId) -> Result<Option<(u32, Vehicle)>, StoreError> {
        vehicle(self, id)
    }

    /// Whether a row stands for a vehicle that was linked, and not only for one that events came in about.
    pub fn is_linked(&self, row: u32) -> Result<bool, StoreError> {
        self.has::<Vehicle>(row)
    }

    /// The vehicle of a row.
    pub fn vehicle_at(&self, row: u32) -> Result<Option<Vehicle>, StoreError> {
        self.get(row)
    }

    /// The same for whoever can do without: a damaged one is as good as none.
    pub fn sound_vehicle_at(&self, row: u32) -> Result<Option<Vehicle>, StoreError> {
        self.get_sound(row)
    }

    /// Vehicles after a row, oldest first, with their rows.
    pub fn vehicles(&self, after: u32, limit: usize) -> Result<Vec<(u32, Vehicle)>, StoreError> {
        rows_after(self, after, limit)
    }

    /// All vehicles of a user, with their rows: also those that are another user's by now.
    pub fn vehicles_of_user(&self, user: &AppUserId) -> Result<Vec<(u32, Vehicle)>, StoreError> {
        of_user(self, user)
    }

    /// When the owner was found to have taken the access to a vehicle back; `None` if it is nobody's matter any more, for
    /// nothing else of the account is connected.
    pub fn taken_back(&self, row: u32, vehicle: &Vehicle) -> Result<Option<Timestamp>, StoreError> {
        let Some(at) = vehicle.taken_back_at.filter(|_| vehicle.connection.is_none()) else { return Ok(None) };
        // What a former owner took back is another's by now.
        if self.is_former(row, vehicle)? {
            return Ok(None);
        }
        for (_, other) in self.vehicles_of_user(&vehicle.user)? {
            let of_account = other.connection.filter(|id| vehicle.taken_back_from.is_none_or(|from| from == *id));
            let connection = of_account.map_or(Ok(None), |id| self.sound_connection(id))?;
            if connection.is_some_and(|connection| connection.status != ConnectionStatus::Disconnected) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Rows of vehicles that were linked after events about them had come in.
    pub fn vehicles_to_revisit(&self, limit: usize) -> Result<Vec<u32>, StoreError> {
        marked_rows(self, VEHICLES_TO_REVISIT, limit)
    }

    /// Rows of vehicles of which a first picture is to be read.
    pub fn vehicles_to_read(&self, limit: usize) -> Result<Vec<u32>, StoreError> {
        marked_rows(self, VEHICLES_TO_READ, limit)
    }
}
