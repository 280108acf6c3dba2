//! Checkpoints: the moments at which the tables themselves are durable.
//!
//! A checkpoint is a two-phase commit with quick repair, so that a store that was killed opens at once. It
//! names the generation of the journal that continues it, and counts the rows of every table, so that a
//! table or a row that a disk has lost is missed.

use redb::{ReadableDatabase, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::database::disk;
use super::journal::{Journal, RowCopy};
use super::log_head::{self, Log};
use super::places::KEY_BEFORE;
use super::tables::{self, META, Places, Rows, SMALL, Snapshot, Tables, Typed};
use crate::model::Blob;

/// What a checkpoint says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The generation of the journal that continues it.
    pub(super) generation: u64,
    /// Whether the store was closed with it.
    pub(super) is_clean: bool,
    /// What was found lost when it was made by a recovery. Nobody may have been told before the power failed
    /// again.
    pub(super) findings: Vec<String>,
}

const CHECKPOINT: &str = "checkpoint";
const CENSUS: &str = "census";

/// A transaction whose commit is a checkpoint.
pub(super) fn begin(database: &redb::Database) -> Result<WriteTransaction, StoreError> {
    let mut transaction = database.begin_write().map_err(|error| disk(&error))?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Writes what is otherwise only in memory, and commits.
pub(super) fn commit(
    transaction: WriteTransaction,
    places: &Places,
    log: &mut Log,
    checkpoint: Checkpoint,
) -> Result<(), StoreError> {
    let mut tables = Tables::new(&transaction, places, log);
    log_head::finish(&mut tables)?;
    log_head::store_event_ids(&mut tables)?;
    tables.put_value(META, CHECKPOINT, &checkpoint)?;
    // Both rows of a new store count.
    tables.put_value(META, CENSUS, &Vec::<u64>::new())?;
    let census: Vec<u64> = tables::all().map(|table| tables.len(table)).collect::<Result<_, _>>()?;
    tables.put_value(META, CENSUS, &census)?;
    drop(tables);
    transaction.commit().map_err(|error| disk(&error))?;
    log.keep();
    Ok(())
}

/// The last checkpoint; `Damaged` if the tables are not as it left them.
pub(super) fn read(database: &redb::Database, places: &Places) -> Result<Checkpoint, StoreError> {
    let transaction = database.begin_read().map_err(|error| disk(&error))?;
    let snapshot = Snapshot::new(&transaction, places);
    let damaged = StoreError::Damaged { table: META };
    let checkpoint = snapshot.value(META, CHECKPOINT)?.ok_or(damaged.clone())?;
    let census: Vec<u64> = snapshot.value(META, CENSUS)?.ok_or(damaged)?;
    for (table, counted) in tables::all().zip(census) {
        if snapshot.len(table)? != counted {
            return Err(StoreError::Damaged { table });
        }
    }
    Ok(checkpoint)
}

/// The last checkpoint, as far as it can be told.
pub(super) fn last(rows: &impl Rows) -> Option<Checkpoint> {
    rows.value(META, CHECKPOINT).ok()?
}

/// How many rows each table had at the last checkpoint, as far as that can be told.
pub(super) fn census(rows: &impl Rows) -> Option<Vec<u64>> {
    rows.value(META, CENSUS).ok()?
}

/// Begins a generation of the journal with a copy of the small tables.
pub(super) fn begin_generation(
    database: &redb::Database,
    places: &Places,
    journal: &mut Journal,
    generation: u64,
) -> Result<u64, StoreError> {
    let transaction = database.begin_read().map_err(|error| disk(&error))?;
    let snapshot = Snapshot::new(&transaction, places);
    let copies = SMALL.iter().flat_map(|table| match rows_of(&snapshot, table) {
        Ok(rows) => rows.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    });
    // Once the key has been replaced, what the old one sealed would pass for damage.
    let key_is_being_replaced = snapshot.raw(META, KEY_BEFORE)?.is_some();
    journal.begin(generation, key_is_being_replaced, copies)
}

fn rows_of(snapshot: &Snapshot<'_>, table: &'static str) -> Result<Vec<RowCopy>, StoreError> {
    let mut rows = Vec::new();
    snapshot.walk(table, tables::ALL, false, &mut |key, value| {
        rows.push(RowCopy(table.to_owned(), Blob(key.to_vec()), Blob(value.to_vec())));
        Ok(std::ops::ControlFlow::Continue(()))
    })?;
    Ok(rows)
}
