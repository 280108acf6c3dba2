//! What every delivery and every reading asks, in memory: the tables answer in a microsecond or in many, by how much
//! of them the page cache holds. They have the truth; this follows what is written to them.

use std::collections::HashMap;

use super::StoreError;
use super::log_head::Log;
use super::tables::{INDEX, Kind, Places, Record, Rows, Tables, Typed};
use crate::model::VehicleId;
use crate::model::connection::Connection;
use crate::model::vehicle::Vehicle;

/// Rows by the hash of their vehicle's id, none if it was erased, and which of them are linked; rows of signals by their code.
#[derive(Debug, Default)]
pub(super) struct Memo {
    rows: HashMap<[u8; 16], Option<u32>>,
    linked: HashMap<u32, bool>,
    signals: HashMap<String, u32>,
    /// How often a connection was written or removed, or lost a car.
    connections: u64,
}

/// How many vehicles it remembers: about a megabyte, if there are so many.
const VEHICLES: usize = 16_384;

/// How many signals.
const SIGNALS: usize = 1_024;

impl Memo {
    /// A row of some table is written or removed.
    pub(super) fn follow(&mut self, table: &str, key: &[u8], is_there: bool) {
        if table == Vehicle::TABLE
            && let Ok(row) = key.try_into().map(u32::from_be_bytes)
        {
            self.linked.entry(row).and_modify(|linked| *linked = is_there);
        }
        if table == Connection::TABLE {
            self.connections += 1;
        }
        if table == INDEX {
            match key.split_first() {
                Some((&VEHICLE, hash)) => drop(self.rows.remove(hash)),
                Some((&SIGNAL, _)) => self.signals.clear(),
                _ => {}
            }
        }
    }

    /// Whether a vehicle, by the hash of its id, is known to be erased.
    pub(super) fn is_gone(&self, vehicle: &[u8; 16]) -> bool {
        self.rows.get(vehicle) == Some(&None)
    }

    /// A connection has lost a car.
    pub(super) fn connection_changed(&mut self) {
        self.connections += 1;
    }

    /// Another number each time that something has happened to a connection.
    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    /// What a transaction did has come to nothing.
    pub(super) fn forget(&mut self) {
        *self = Memo { connections: self.connections, ..Memo::default() };
    }
}

const VEHICLE: u8 = Kind::Vehicle as u8;
const SIGNAL: u8 = Kind::Signal as u8;

/// What the writer knows without the tables, all of it durable.
#[derive(Debug)]
pub struct Known<'a> {
    pub(super) places: &'a Places,
    pub(super) log: &'a Log,
}

/// The row that stands for a vehicle, linked or not; a new one if it has none. `None` if it was erased.
pub(super) fn row_of(tables: &mut Tables<'_>, id: &VehicleId) -> Result<Option<u32>, StoreError> {
    let hash = tables.places().hash(Kind::Vehicle, id.as_str());
    if let Some(row) = tables.log.memo.rows.get(&hash) {
        return Ok(*row);
    }
    let is_gone = tables.is_gone(Kind::Vehicle, id.as_str())?;
    let row = if is_gone { None } else { Some(tables.row_or_new(Kind::Vehicle, id.as_str())?) };
    let rows = &mut tables.log.memo.rows;
    if rows.len() < VEHICLES {
        rows.insert(hash, row);
    }
    Ok(row)
}

/// The row of a signal; a new one if it has none.
pub(super) fn row_of_signal(tables: &mut Tables<'_>, code: &str) -> Result<u32, StoreError> {
    if let Some(row) = tables.log.memo.signals.get(code) {
        return Ok(*row);
    }
    let row = tables.row_or_new(Kind::Signal, code)?;
    let signals = &mut tables.log.memo.signals;
    if signals.len() < SIGNALS {
        signals.insert(code.to_owned(), row);
    }
    Ok(row)
}

/// Whether a row stands for a vehicle that was linked.
pub(super) fn is_linked(tables: &mut Tables<'_>, row: u32) -> Result<bool, StoreError> {
    if let Some(is_linked) = tables.log.memo.linked.get(&row) {
        return Ok(*is_linked);
    }
    let is_linked = tables.has::<Vehicle>(row)?;
    let linked = &mut tables.log.memo.linked;
    if linked.len() < VEHICLES {
        linked.insert(row, is_linked);
    }
    Ok(is_linked)
}
