//! Connections, and linking vehicles to them.

use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::rotation;
use super::tables::{ALL, Kind, Record, Typed};
use super::tokens::{SealedTokens, drop_tokens, put_tokens};
use super::vehicles::{link_vehicle, serves_any, unlink_vehicles_of};
use super::{Change, Rows, Snapshot, StoreError, Tables};
use crate::model::connection::{Cause, Connection, ConnectionStatus};
use crate::model::token::Generation;
use crate::model::vehicle::{Vehicle, VehicleFacts};
use crate::model::{ConnectionId, Timestamp, VehicleId};

impl Record for Connection {
    const TABLE: &'static str = "connections-1";
}

/// Keeps a fresh pair of tokens before anything else is tried with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdoptConnection {
    /// A new connection, whose Smartcar user is not known yet.
    pub connection: Connection,
    /// Its tokens.
    pub tokens: SealedTokens,
}

impl Change for AdoptConnection {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.put(self.connection.id, &self.connection)?;
        put_tokens(tables, self.connection.id, &self.tokens)
    }
}

/// Links vehicles to a connection and makes it active. Makes the connection if there is none of its id.
#[derive(Debug, Serialize, Deserialize)]
pub struct LinkVehicles {
    /// The connection, complete with its Smartcar user.
    pub connection: Connection,
    /// Its vehicles.
    pub vehicles: Vec<VehicleFacts>,
    /// Now.
    pub at: Timestamp,
    /// Whether a vehicle that comes back to a user comes back to its former row. A journal of an earlier Carport does not
    /// say so, and what came after it went to a new one.
    #[serde(default)]
    pub takes_back: bool,
}

impl LinkVehicles {
    /// Links them, with all that the user had of them before.
    pub fn new(connection: Connection, vehicles: Vec<VehicleFacts>, at: Timestamp) -> LinkVehicles {
        LinkVehicles { connection, vehicles, at, takes_back: true }
    }
}

/// What came of [`LinkVehicles`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linking {
    /// Done.
    Linked,
    /// The same owner has connected the same account before: hand the tokens over to that connection and
    /// link again with its id.
    Existing(ConnectionId),
    /// It was ended, or its tokens were refused, while Smartcar was being asked.
    Gone,
}

impl Change for LinkVehicles {
    type Outcome = Linking;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<Linking, StoreError> {
        // The tokens of v2 are all there is: without good ones there is nothing to link to.
        if self.connection.generation == Generation::V2 {
            let tokens = tables.get_sound::<SealedTokens>(self.connection.id)?;
            if tokens.is_none_or(|tokens| tokens.due_at.is_none()) {
                return Ok(Linking::Gone);
            }
        }
        let mut lost = None;
        if let Some(identity) = self.connection.identity() {
            if let Some(before) = by_identity(tables, &identity)?.filter(|id| *id != self.connection.id) {
                if tables.get_sound::<Connection>(before)?.is_some() {
                    return Ok(Linking::Existing(before));
                }
                // One that is damaged, or was lost in a repair, makes room.
                drop_tokens(tables, before)?;
                tables.remove::<Connection>(before)?;
                lost = Some(before);
            }
            tables.put_index(Kind::Connection, &identity, self.connection.id)?;
        }
        tables.put(self.connection.id, &self.connection)?;
        for facts in &self.vehicles {
            link_vehicle(tables, facts, &self.connection, self.at, self.takes_back)?;
        }
        // The owner chose anew: what was not chosen again is not open to us any more.
        if !self.vehicles.is_empty() {
            let chosen = |vehicle: &Vehicle| self.vehicles.iter().any(|facts| facts.id == vehicle.facts.id);
            unlink_vehicles_of(tables, &self.connection, self.at, chosen)?;
            if let Some(id) = lost {
                unlink_vehicles_of(tables, &Connection { id, ..self.connection.clone() }, self.at, |_| false)?;
            }
        }
        Ok(Linking::Linked)
    }
}

/// Moves tokens from a new connection to the one that the owner had before, and drops the new one.
#[derive(Debug, Serialize, Deserialize)]
pub struct HandOver {
    /// The new connection.
    pub from: ConnectionId,
    /// The one before.
    pub to: ConnectionId,
    /// The version of `to`'s tokens that was seen; something else means that they were rotated meanwhile.
    pub to_version: u64,
    /// The tokens, sealed for `to`.
    pub tokens: SealedTokens,
}

/// What came of [`HandOver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedOver {
    /// Done.
    Done,
    /// The tokens of `to` were changed meanwhile: seal again.
    Superseded,
}

impl Change for HandOver {
    type Outcome = HandedOver;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<HandedOver, StoreError> {
        let before = tables.get_sound::<SealedTokens>(self.to)?;
        if before.as_ref().map_or(0, |tokens| tokens.version) != self.to_version {
            return Ok(HandedOver::Superseded);
        }
        if let Some(before) = before {
            rotation::forget(tables, self.to, &before)?;
        }
        put_tokens(tables, self.to, &self.tokens)?;
        drop_tokens(tables, self.from)?;
        tables.remove::<Connection>(self.from)?;
        Ok(HandedOver::Done)
    }
}

/// Says how a connection fares.
#[derive(Debug, Serialize, Deserialize)]
pub struct MarkConnection {
    /// Which.
    pub id: ConnectionId,
    /// Its new status; `None` leaves it.
    pub status: Option<ConnectionStatus>,
    /// What went wrong; `None` means that all is well.
    pub error: Option<String>,
    /// Only if it was not connected again since this time, when it was connected as far as was known then. A journal of an
    /// earlier Carport does not say.
    #[serde(default)]
    pub seen: Option<Timestamp>,
}

impl Change for MarkConnection {
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let Some(mut connection) = tables.get::<Connection>(self.id)? else { return Ok(false) };
        // What was ended here while Smartcar was being asked stays ended.
        if connection.status == ConnectionStatus::Disconnected {
            return Ok(false);
        }
        // A refusal that comes late is of what was before.
        if self.seen.is_some_and(|seen| seen != connection.connected_at) {
            return Ok(false);
        }
        // A refused account is the least that may be broken: what is worse is not mended by it.
        if cause_of(&connection.status).is_some_and(|known| known != Cause::Account)
            && self.status.as_ref().and_then(cause_of) == Some(Cause::Account)
        {
            return Ok(false);
        }
        if let Some(status) = &self.status {
            connection.status = status.clone();
        }
        connection.last_error.clone_from(&self.error);
        tables.put(self.id, &connection)?;
        Ok(true)
    }
}

fn cause_of(status: &ConnectionStatus) -> Option<Cause> {
    match status {
        ConnectionStatus::NeedsReconnect { cause, .. } => Some(*cause),
        ConnectionStatus::Active | ConnectionStatus::Disconnected => None,
    }
}

/// Notes that Smartcar answered a read, or lists the cars again: what that shows to be mended is mended, and nothing worse that
/// was found meanwhile. Whether all is well then.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoteGoodRead {
    /// Of which connection.
    pub id: ConnectionId,
    /// What is mended. An earlier Carport noted only what the manufacturer had refused.
    #[serde(default = "account")]
    pub cause: Cause,
    /// As in [`MarkConnection`].
    #[serde(default)]
    pub seen: Option<Timestamp>,
}

fn account() -> Cause {
    Cause::Account
}

impl Change for NoteGoodRead {
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let Some(mut connection) = tables.get::<Connection>(self.id)? else { return Ok(false) };
        if self.seen.is_some_and(|seen| seen != connection.connected_at) {
            return Ok(false);
        }
        if connection.mended(self.cause) {
            tables.put(self.id, &connection)?;
        }
        Ok(connection.status == ConnectionStatus::Active)
    }
}

/// Ends a connection here: its tokens go, its vehicles are left without.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndConnection {
    /// Which.
    pub id: ConnectionId,
    /// Whether its row goes too, so that nothing tells of it.
    pub erase: bool,
    /// Only if it serves no vehicle any more.
    pub if_empty: bool,
    /// Now. A journal of an earlier Carport does not say.
    #[serde(default)]
    pub at: Timestamp,
}

impl Change for EndConnection {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        let Some(mut connection) = tables.get::<Connection>(self.id)? else { return Ok(()) };
        if self.if_empty && serves_any(tables, &connection)? {
            return Ok(());
        }
        drop_tokens(tables, self.id)?;
        unlink_vehicles_of(tables, &connection, self.at, |_| false)?;
        if self.erase {
            // Another one may be known by the same since one of them was switched.
            if let Some(identity) = connection.identity()
                && by_identity(tables, &identity)? == Some(self.id)
            {
                tables.remove_index(Kind::Connection, &identity)?;
            }
            return tables.remove::<Connection>(self.id);
        }
        connection.status = ConnectionStatus::Disconnected;
        connection.last_error = None;
        tables.put(self.id, &connection)
    }
}

/// A delivery says that the manufacturer refused the sign-in at this time.
pub(super) fn was_refused(tables: &mut Tables<'_>, id: ConnectionId, at: Timestamp) -> Result<(), StoreError> {
    let Some(mut connection) = tables.get_sound::<Connection>(id)? else { return Ok(()) };
    if connection.status != ConnectionStatus::Active || connection.connected_at > at {
        return Ok(());
    }
    let reason = "the manufacturer refuses the account: AUTHENTICATION_FAILED".to_owned();
    connection.status = ConnectionStatus::NeedsReconnect { reason: reason.clone(), cause: Cause::Account, since: Some(at) };
    connection.last_error = Some(reason);
    tables.put(id, &connection)
}

/// Deliveries show that the manufacturer took the account at this time: what it refused before is mended.
pub(super) fn was_taken(tables: &mut Tables<'_>, id: ConnectionId, at: Timestamp) -> Result<(), StoreError> {
    let Some(mut connection) = tables.get_sound::<Connection>(id)? else { return Ok(()) };
    let is_refused = match &connection.status {
        ConnectionStatus::NeedsReconnect { since: Some(since), .. } => *since < at,
        _ => false,
    };
    if is_refused && connection.mended(Cause::Account) { tables.put(id, &connection) } else { Ok(()) }
}

impl Snapshot<'_> {
    /// A connection.
    pub fn connection(&self, id: ConnectionId) -> Result<Option<Connection>, StoreError> {
        self.get(id)
    }

    /// The same for whoever can do without: a damaged one is as good as none, which it is after a repair.
    pub fn sound_connection(&self, id: ConnectionId) -> Result<Option<Connection>, StoreError> {
        self.get_sound(id)
    }

    /// Connections after an id, oldest first.
    pub fn connections(&self, after: Option<ConnectionId>, limit: usize) -> Result<Vec<Connection>, StoreError> {
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.0.as_bytes().to_vec()));
        Ok(self.list::<Connection>((start, ALL.1), false, limit)?.into_iter().map(|(_, connection)| connection).collect())
    }

    /// The connection of an identity (see [`Connection::identity`]).
    pub fn connection_of(&self, identity: &str) -> Result<Option<ConnectionId>, StoreError> {
        match by_identity(self, identity)? {
            Some(id) => Ok(self.get::<Connection>(id)?.map(|connection| connection.id)),
            None => Ok(None),
        }
    }

    /// The vehicles that a connection serves.
    pub fn vehicles_of(&self, connection: &Connection) -> Result<Vec<VehicleId>, StoreError> {
        let vehicles = self.vehicles_of_user(&connection.user)?.into_iter().map(|(_, vehicle)| vehicle);
        Ok(vehicles.filter(|vehicle| vehicle.connection == Some(connection.id)).map(|vehicle| vehicle.facts.id).collect())
    }
}

pub(super) fn by_identity(rows: &impl Rows, identity: &str) -> Result<Option<ConnectionId>, StoreError> {
    let id = rows.indexed(Kind::Connection, identity)?;
    Ok(id.and_then(|bytes| uuid::Uuid::from_slice(&bytes).ok()).map(ConnectionId))
}
