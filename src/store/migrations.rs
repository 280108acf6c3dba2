//! The store's format, by number: making a new store, checking the key, and bringing an old one up.

use redb::{ReadableDatabase, TableHandle};
use zeroize::Zeroizing;

use super::checkpoint::{self, Checkpoint};
use super::database::{disk, guarded};
use super::files::Part;
use super::journal::RowCopy;
use super::log_head::{self, Log};
use super::places::{FORMAT as FORMAT_ROW, KEY, KEY_BEFORE};
use super::recovery::{Findings, Site, open_tables};
use super::reseal;
use super::tables::{self, META, Places, Rows, Tables, definition, from_cbor, to_cbor};
use super::{Inspected, Snapshot, StoreError};
use crate::vault::{KeyId, Row, Vault};

mod from_1;
mod from_2;
mod from_3;

/// The format that this Carport writes. It reads 4 as it is, which wrote readings with the names of their fields.
const FORMAT: u32 = 5;

/// The last format that had no journal: a store of it is made anew. Later ones are brought up where they are.
const WITHOUT_JOURNAL: u32 = 1;

const INDEX_KEY: Row<'_> = Row { table: META, key: b"index_key", context: b"" };

/// Makes an empty store, whole from the first moment it has its name.
pub(super) fn create(site: &Site<'_>) -> Result<(), StoreError> {
    site.files.remove_rescue().map_err(|error| disk(&error))?;
    let tables = open_tables(site, Part::Rescue)?.tables;
    guarded(|| {
        let mut index_key = Zeroizing::new([0; 32]);
        site.world.entropy.fill(&mut *index_key);
        let sealed = site.vault.seal(INDEX_KEY, &*index_key);
        let places = Places::new(site.vault.clone(), index_key);
        let mut log = Log::default();
        let transaction = checkpoint::begin(&tables)?;
        let mut into = Tables::new(&transaction, &places, &mut log);
        into.put_raw(META, FORMAT_ROW, &to_cbor(&FORMAT))?;
        into.put_raw(META, KEY, site.vault.key_id().as_bytes())?;
        into.put_raw(META, INDEX_KEY.key, &sealed)?;
        drop(into);
        checkpoint::commit(transaction, &places, &mut log, Checkpoint { generation: 1, is_clean: true, findings: Vec::new() })
    })?;
    drop(tables);
    site.files.replace_tables("old").map_err(|error| disk(&error)).map(drop)
}

/// Brings a store of a format without journal up: a new file is made beside and takes its place, the old one is kept.
pub(super) fn migrate(old: &redb::Database, site: &Site<'_>, findings: &mut Findings) -> Result<(), StoreError> {
    let places = key_fits(old, site)?;
    site.files.remove_rescue().map_err(|error| disk(&error))?;
    let tables = open_tables(site, Part::Rescue)?.tables;
    let damaged = guarded(|| {
        let reading = old.begin_read().map_err(|error| disk(&error))?;
        let mut log = Log::default();
        let transaction = checkpoint::begin(&tables)?;
        let mut into = Tables::new(&transaction, &places, &mut log);
        let damaged = from_1::bring_over(&Snapshot::new(&reading, &places), &mut into)?;
        from_2::bring_up(&mut into)?;
        into.put_raw(META, FORMAT_ROW, &to_cbor(&FORMAT))?;
        log_head::mend(&mut into)?;
        if damaged > 0 {
            findings.add(format!("{damaged} rows were damaged and are left behind in the file of the old format"));
        }
        drop(into);
        let checkpoint = Checkpoint { generation: 1, is_clean: true, findings: findings.list() };
        checkpoint::commit(transaction, &places, &mut log, checkpoint)?;
        Ok(damaged)
    })?;
    drop(tables);
    let kept = site.files.replace_tables("format-1").map_err(|error| disk(&error))?.unwrap_or_default();
    if damaged > 0 {
        findings.add(format!("the file of the old format is kept as {kept}"));
    }
    tracing::info!(from = 1, to = FORMAT, kept, "the store was brought to a newer format; the old file is kept");
    Ok(())
}

/// Brings tables of an older format up, in one transaction that is the same checkpoint.
pub(super) fn bring_up(database: &redb::Database, places: &Places, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    let from = format(database)?;
    if from == FORMAT {
        return Ok(());
    }
    let mut log = Log::load(&Snapshot::new(&database.begin_read().map_err(|error| disk(&error))?, places))?;
    let transaction = checkpoint::begin(database)?;
    let mut tables = Tables::new(&transaction, places, &mut log);
    bring_up_rows(&mut tables)?;
    log_head::load_event_ids(&mut tables)?;
    drop(tables);
    checkpoint::commit(transaction, places, &mut log, checkpoint.clone())?;
    tracing::info!(from, to = FORMAT, "the store was brought to a newer format");
    Ok(())
}

/// Brings rows up that came out of older tables, or out of a copy that the journal held of them.
pub(super) fn bring_up_rows(tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let format: Option<u32> = tables.raw(META, FORMAT_ROW)?.and_then(|format| from_cbor(&format));
    // What is newer is refused when it is opened. Tables may be older than the copy says that took the place of others.
    if format.is_some_and(|format| format <= FORMAT) {
        from_2::bring_up(tables)?;
        from_3::bring_up(tables)?;
        tables.put_raw(META, FORMAT_ROW, &to_cbor(&FORMAT))?;
    }
    Ok(())
}

/// Looks at a store without journal.
pub(super) fn inspect(old: &redb::Database, places: &Places) -> Result<Inspected, StoreError> {
    let transaction = old.begin_read().map_err(|error| disk(&error))?;
    let (rows, damaged) = from_1::count(&Snapshot::new(&transaction, places))?;
    let mut findings = vec![format!("it has format 1, and will be brought to format {FORMAT}; the old file will be kept")];
    if damaged > 0 {
        findings.push(format!("{damaged} of its rows are damaged and will be left behind"));
    }
    Ok(Inspected { rows, findings, ..Inspected::default() })
}

/// The format; `Foreign` if it is no store of ours.
pub(super) fn format(database: &redb::Database) -> Result<u32, StoreError> {
    let Some(format) = get(database, FORMAT_ROW)? else {
        let transaction = database.begin_read().map_err(|error| disk(&error))?;
        let mut others = transaction.list_tables().map_err(|error| StoreError::NotAStore(error.to_string()))?;
        let is_foreign = others.next().is_some_and(|table| tables::all().all(|ours| ours != table.name()));
        let empty = StoreError::NotAStore("it holds nothing".to_owned());
        return Err(if is_foreign { StoreError::Foreign } else { empty });
    };
    let format: u32 = from_cbor(&format).ok_or(StoreError::Damaged { table: META })?;
    if format > FORMAT { Err(StoreError::Newer { found: format, known: FORMAT }) } else { Ok(format) }
}

/// Whether a store is to be made anew.
pub(super) fn is_without_journal(database: &redb::Database) -> Result<bool, StoreError> {
    Ok(format(database)? <= WITHOUT_JOURNAL)
}

/// Checks format and key; returns what turns values into rows.
pub(super) fn prepare(database: &redb::Database, site: &Site<'_>) -> Result<Places, StoreError> {
    format(database)?;
    key_fits(database, site)
}

fn key_fits(database: &redb::Database, site: &Site<'_>) -> Result<Places, StoreError> {
    let damaged = StoreError::Damaged { table: META };
    let id = |name: &'static [u8]| -> Result<Option<KeyId>, StoreError> {
        Ok(get(database, name)?.and_then(|id| id.try_into().ok()).map(KeyId::from_bytes))
    };
    reseal::key_fits(id(KEY)?.ok_or(damaged.clone())?, id(KEY_BEFORE)?, site.vault)?;
    // The id fits, so a row that does not open is damage and not a wrong key.
    let sealed = get(database, INDEX_KEY.key)?.ok_or(damaged.clone())?;
    places(&sealed, site.vault).ok_or(damaged)
}

/// The same out of the journal's copy of the small tables.
pub(super) fn places_of_copy(rows: &[RowCopy], site: &Site<'_>) -> Option<Places> {
    let row = rows.iter().find(|RowCopy(table, key, _)| table == META && key.0 == INDEX_KEY.key)?;
    places(&row.2.0, site.vault)
}

fn places(sealed: &[u8], vault: &Vault) -> Option<Places> {
    let opened = vault.open(INDEX_KEY, sealed).ok()?;
    Some(Places::new(vault.clone(), Zeroizing::new(opened.as_slice().try_into().ok()?)))
}

fn get(database: &redb::Database, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let transaction = database.begin_read().map_err(|error| disk(&error))?;
    match transaction.open_table(definition(META)) {
        Ok(table) => Ok(table.get(key).map_err(|error| disk(&error))?.map(|value| value.value().to_vec())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(disk(&error)),
    }
}
