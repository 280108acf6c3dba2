//! Looking at a store without changing it: before it is opened, and for the doctor.

use std::ops::ControlFlow;

use redb::{Builder, ReadableDatabase, StorageBackend};

use super::changes::Named;
use super::checkpoint;
use super::database::{disk, guarded};
use super::files::Part;
use super::heads::Head;
use super::journal::{self, Entry, Journal};
use super::look::Look;
use super::made::{KeepSettings, KeptSetting};
use super::migrations;
use super::recovery::{Findings, Site, not_opened};
use super::tables::{self, ALL, Places, Rows, from_cbor};
use super::{Snapshot, StoreError};

/// A file below this is looked at as a whole when it is opened; a larger one is walked through afterwards.
pub(super) const LOOKED_AT_WHOLE: u64 = 128 * 1024 * 1024;

/// How much is looked at before a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Nothing: it was open a moment ago.
    None,
    /// What a start can wait for.
    Start,
    /// Every row, however long it takes.
    Everything,
}

/// Looks at the tables before anything writes to them, which opening them for use would do at once: refuses
/// what is no store, is sealed under another key, or was written by a newer Carport, and finds damage.
pub(super) fn look(site: &Site<'_>, depth: Depth, findings: &mut Findings) -> Result<(), StoreError> {
    // redb may panic even while it closes what is damaged.
    guarded(|| {
        let (mut tables, length) = look_at_tables(site, None)?;
        let is_old = migrations::is_without_journal(&tables);
        // Another program's tables are whole; ours may only look like them after a card has lied.
        if matches!(is_old, Err(StoreError::Foreign)) && !matches!(tables.check_integrity(), Ok(true)) {
            return Err(StoreError::NotAStore("its tables are damaged".to_owned()));
        }
        if is_old? {
            return migrations::migrate(&tables, site, findings);
        }
        let places = migrations::prepare(&tables, site)?;
        if length < LOOKED_AT_WHOLE || depth == Depth::Everything {
            tables.check_integrity().map_err(not_opened)?;
        }
        checkpoint::read(&tables, &places)?;
        if depth == Depth::Everything { every_row(&tables, &places).map(drop) } else { Ok(()) }
    })
}

/// What an inspection found in a store that is sound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// How many rows there are.
    pub rows: u64,
    /// How many changes the journal holds that a start would replay.
    pub changes: u64,
    /// What is not as it should be, in words for the operator.
    pub findings: Vec<String>,
    /// Settings made on the set-up page.
    pub settings: Vec<KeptSetting>,
}

/// Looks at everything, and changes nothing.
pub(super) fn inspect(site: &Site<'_>) -> Result<Inspected, StoreError> {
    let is_there = |part| site.files.is_there(part).map_err(|error| disk(&error));
    if !is_there(Part::Tables)? {
        return Err(StoreError::NotAStore("the tables are missing".to_owned()));
    }
    guarded(|| {
        let (mut tables, _) = look_at_tables(site, None)?;
        let places = migrations::prepare(&tables, site)?;
        tables.check_integrity().map_err(not_opened)?;
        if migrations::is_without_journal(&tables)? {
            return migrations::inspect(&tables, &places);
        }
        let checkpoint = checkpoint::read(&tables, &places)?;
        let settings = Snapshot::new(&tables.begin_read().map_err(|error| disk(&error))?, &places).settings()?;
        let mut inspected = Inspected { rows: every_row(&tables, &places)?, settings, ..Inspected::default() };
        if !is_there(Part::JournalA)? || !is_there(Part::JournalB)? {
            if !checkpoint.is_clean {
                inspected.findings.push("the journal is missing".to_owned());
            }
            return Ok(inspected);
        }
        let journal = Journal::open(site.files, site.vault)?;
        if !checkpoint.is_clean && journal.is_older_than(checkpoint.generation) {
            inspected.findings.push("the journal is older than the tables: are they from two backups?".to_owned());
        }
        let mut expected = checkpoint.generation;
        for generation in journal.generations().into_iter().filter(|held| *held >= checkpoint.generation) {
            if generation != expected {
                inspected.findings.push("the journal does not continue these tables: are they from a backup?".to_owned());
            }
            expected = generation + 1;
            let end = journal.read(generation, |entry| {
                match entry {
                    Entry::Changes(_, changes) => {
                        inspected.changes += changes.len() as u64;
                        let kept = changes.iter().rev().find(|change| change.0 == KeepSettings::NAME);
                        if let Some(KeepSettings { settings }) = kept.and_then(|change| from_cbor(&change.1.0)) {
                            inspected.settings = settings;
                        }
                    }
                    Entry::Gap => inspected.findings.push("a part of the journal does not open".to_owned()),
                    Entry::Begin { .. } | Entry::Copy(_) => {}
                }
                Ok(())
            })?;
            if end.unfinished {
                inspected.findings.push("the end of the journal holds an unfinished record".to_owned());
            }
        }
        Ok(inspected)
    })
}

/// Opens every row; `Damaged` for the first table with one that does not. Returns how many there are.
fn every_row(tables: &redb::Database, places: &Places) -> Result<u64, StoreError> {
    let transaction = tables.begin_read().map_err(|error| disk(&error))?;
    let snapshot = Snapshot::new(&transaction, places);
    let mut rows = 0;
    for table in tables::all() {
        snapshot.walk(table, ALL, false, &mut |key, value| {
            rows += 1;
            if places.is_sound(table, key, value) { Ok(ControlFlow::Continue(())) } else { Err(StoreError::Damaged { table }) }
        })?;
    }
    Ok(rows)
}

/// Opens the tables so that nothing can change their file, under another head if theirs may be damaged.
pub(super) fn look_at_tables(site: &Site<'_>, head: Option<Head>) -> Result<(redb::Database, u64), StoreError> {
    let file = site.files.open(Part::Tables).map_err(|error| journal::not_opened(&error))?;
    let look = Look::new(file).map_err(|error| disk(&error))?;
    let length = look.len().map_err(|error| disk(&error))?;
    if length == 0 {
        return Err(StoreError::NotAStore("the file is empty".to_owned()));
    }
    head.map_or(Ok(()), |head| head.put(&look)).map_err(|error| disk(&error))?;
    let tables = guarded(|| Builder::new().set_cache_size(site.cache).create_with_backend(look).map_err(not_opened))?;
    Ok((tables, length))
}
