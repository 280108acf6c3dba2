//! The store's format, by number: making a new store, checking the key, and bringing an old one up.

use std::path::Path;

use redb::{DatabaseError, ReadOnlyDatabase, ReadableDatabase};
use zeroize::Zeroizing;

use super::StoreError;
use super::database::{disk, not_opened};
use super::tables::{META, definition, from_cbor, to_cbor};
use crate::vault::{KeyId, Row, Vault};
use crate::world::World;

/// Each function brings a store from the format of its place to the next, within one transaction.
const MIGRATIONS: &[Migration] = &[];

type Migration = fn(&redb::WriteTransaction) -> Result<(), StoreError>;

/// The format that this Carport writes.
#[expect(clippy::cast_possible_truncation, reason = "there will never be four billion formats")]
const FORMAT: u32 = 1 + MIGRATIONS.len() as u32;

/// Looks at a file before anything writes to it, which opening it for use would do at once: refuses one that
/// is no store, is sealed under another key, or was written by a newer Carport.
pub(super) fn look(path: &Path, vault: &Vault) -> Result<(), StoreError> {
    match ReadOnlyDatabase::open(path) {
        Ok(database) => match format(&database)? {
            Some(_) => check_key(&database, vault).map(drop),
            None => Ok(()),
        },
        // It was not closed: only after the repair can it be looked at, by `prepare`.
        Err(DatabaseError::RepairAborted) => Ok(()),
        Err(error) => Err(not_opened(error)),
    }
}

/// Checks the key, migrates, and returns the index key. A file without tables becomes an empty store.
pub(super) fn prepare(database: &redb::Database, vault: &Vault, world: &World) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    let Some(format) = format(database)? else { return create(database, vault, world) };
    let index_key = check_key(database, vault)?;
    if format < FORMAT {
        let transaction = database.begin_write().map_err(|error| disk(&error))?;
        for migration in MIGRATIONS.iter().skip(format as usize - 1) {
            migration(&transaction)?;
        }
        put(&transaction, "format", &to_cbor(&FORMAT))?;
        transaction.commit().map_err(|error| disk(&error))?;
        tracing::info!(from = format, to = FORMAT, "the store was brought to a newer format");
    }
    Ok(index_key)
}

/// The format, if Carport can read it; none if there is nothing at all yet.
fn format(database: &impl ReadableDatabase) -> Result<Option<u32>, StoreError> {
    let Some(format) = get(database, "format")? else {
        let transaction = database.begin_read().map_err(|error| disk(&error))?;
        let others = transaction.list_tables().map_err(|error| disk(&error))?.next().is_some();
        return if others { Err(StoreError::NotAStore("it belongs to another program".to_owned())) } else { Ok(None) };
    };
    let format: u32 = from_cbor(&format).ok_or(StoreError::Damaged { table: META })?;
    if format > FORMAT { Err(StoreError::Newer { found: format, known: FORMAT }) } else { Ok(Some(format)) }
}

fn check_key(database: &impl ReadableDatabase, vault: &Vault) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    let damaged = StoreError::Damaged { table: META };
    let id = get(database, "key")?.and_then(|id| id.try_into().ok()).ok_or(damaged.clone())?;
    let store = KeyId::from_bytes(id);
    if store != vault.key_id() {
        return Err(StoreError::WrongKey { store, given: vault.key_id() });
    }
    // The id fits, so a row that does not open is damage and not a wrong key.
    let sealed = get(database, "index_key")?.ok_or(damaged.clone())?;
    let opened = vault.open(INDEX_KEY, &sealed).map_err(|_| damaged.clone())?;
    Ok(Zeroizing::new(opened.as_slice().try_into().map_err(|_| damaged)?))
}

fn create(database: &redb::Database, vault: &Vault, world: &World) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    let mut index_key = Zeroizing::new([0; 32]);
    world.entropy.fill(&mut *index_key);
    let transaction = database.begin_write().map_err(|error| disk(&error))?;
    put(&transaction, "format", &to_cbor(&FORMAT))?;
    put(&transaction, "key", vault.key_id().as_bytes())?;
    put(&transaction, "index_key", &vault.seal(INDEX_KEY, &*index_key))?;
    transaction.commit().map_err(|error| disk(&error))?;
    Ok(index_key)
}

const INDEX_KEY: Row<'_> = Row { table: META, key: b"index_key", context: b"" };

fn get(database: &impl ReadableDatabase, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let transaction = database.begin_read().map_err(|error| disk(&error))?;
    match transaction.open_table(definition(META)) {
        Ok(table) => Ok(table.get(key.as_bytes()).map_err(|error| disk(&error))?.map(|value| value.value().to_vec())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(disk(&error)),
    }
}

fn put(transaction: &redb::WriteTransaction, key: &str, value: &[u8]) -> Result<(), StoreError> {
    let mut table = transaction.open_table(definition(META)).map_err(|error| disk(&error))?;
    table.insert(key.as_bytes(), value).map_err(|error| disk(&error))?;
    Ok(())
}
