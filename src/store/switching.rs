//! Switching a connection from one generation of Smartcar's API to the other, with all that it serves.
//!
//! Going to v3, the tokens of v2 stay beside it, so that it can go back; a connection of v3 that has tokens of its own
//! is one that has come from v2.

use serde::{Deserialize, Serialize};

use super::connections::by_identity;
use super::tables::{Kind, Typed};
use super::tokens::{SealedTokens, drop_tokens};
use super::vehicles::{merge, served_by};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::ConnectionId;
use crate::model::connection::{Cause, Connection, ConnectionStatus};
use crate::model::token::Generation;
use crate::model::vehicle::VehicleFacts;

/// Switches a connection. Its id, its vehicles and their history stay.
#[derive(Debug, Serialize, Deserialize)]
pub struct SwitchGeneration {
    /// Which.
    pub id: ConnectionId,
    /// To which API.
    pub to: Generation,
    /// What Smartcar told of its vehicles there.
    pub vehicles: Vec<VehicleFacts>,
    /// What the owner granted there; empty leaves what is known.
    pub scope: Vec<String>,
}

/// What came of [`SwitchGeneration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switched {
    /// Done, or it was so before.
    Done,
    /// It was ended meanwhile.
    Gone,
    /// It has no tokens of v2 to go back to.
    NoTokens,
}

impl Change for SwitchGeneration {
    type Outcome = Switched;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<Switched, StoreError> {
        let Some(mut connection) = tables.get::<Connection>(self.id)? else { return Ok(Switched::Gone) };
        match connection.status {
            ConnectionStatus::Disconnected => return Ok(Switched::Gone),
            _ if connection.generation == self.to => return Ok(Switched::Done),
            _ => {}
        }
        if self.to == Generation::V2 && tables.get_sound::<SealedTokens>(self.id)?.is_none() {
            return Ok(Switched::NoTokens);
        }
        let before = connection.identity();
        connection.generation = self.to;
        if self.to == Generation::V3 {
            // Dead tokens of v2 are no hindrance any more, nor a way back.
            connection.mended(Cause::Tokens);
            // What is listed there was not taken back.
            if !self.vehicles.is_empty() {
                connection.mended(Cause::Access);
            }
            if tables.get_sound::<SealedTokens>(self.id)?.is_some_and(|tokens| tokens.due_at.is_none()) {
                drop_tokens(tables, self.id)?;
            }
        }
        if !self.scope.is_empty() {
            connection.scope.clone_from(&self.scope);
        }
        // Whoever is known by an identity stays so.
        if let Some(before) = before
            && by_identity(tables, &before)? == Some(self.id)
        {
            tables.remove_index(Kind::Connection, &before)?;
        }
        if let Some(identity) = connection.identity() {
            let taken = by_identity(tables, &identity)?.map_or(Ok(None), |id| tables.get::<Connection>(id))?;
            if taken.is_none() {
                tables.put_index(Kind::Connection, &identity, self.id)?;
            }
        }
        for (row, mut vehicle) in served_by(tables, &connection)? {
            if let Some(told) = self.vehicles.iter().find(|told| told.id == vehicle.facts.id) {
                merge(&mut vehicle.facts, told);
                tables.put(row, &vehicle)?;
            }
        }
        tables.put(self.id, &connection)?;
        Ok(Switched::Done)
    }
}

/// The tokens of v2 are of no more use to a connection of v3.
#[derive(Debug, Serialize, Deserialize)]
pub struct DropSpare {
    /// Whose.
    pub connection: ConnectionId,
}

impl Change for DropSpare {
    /// Whether it has them no more; not if they are all it has.
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let is_spare = is_spare(tables, self.connection)?;
        if is_spare {
            drop_tokens(tables, self.connection)?;
        }
        Ok(is_spare)
    }
}

/// Whether the tokens of a connection are kept only so that it can go back.
pub(super) fn is_spare(rows: &impl super::Rows, id: ConnectionId) -> Result<bool, StoreError> {
    Ok(rows.get_sound::<Connection>(id)?.is_some_and(|connection| connection.generation == Generation::V3))
}

impl Snapshot<'_> {
    /// Whether the tokens of a connection are kept only so that it can go back to v2.
    pub fn has_spare_tokens(&self, id: ConnectionId) -> Result<bool, StoreError> {
        is_spare(self, id)
    }
}
