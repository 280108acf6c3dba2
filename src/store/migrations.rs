//! The store's format, by number: making a new store, checking the key, and bringing an old one up.

use redb::ReadableDatabase;
use zeroize::Zeroizing;

use super::StoreError;
use super::database::disk;
use super::tables::{META, definition, from_cbor, to_cbor};
use crate::vault::{KeyId, Row, Vault};
use crate::world::World;

/// Each function brings a store from the format of its place to the next, within one transaction.
const MIGRATIONS: &[Migration] = &[];

type Migration = fn(&redb::WriteTransaction) -> Result<(), StoreError>;

/// The format that this Carport writes.
#[expect(clippy::cast_possible_truncation, reason = "there will never be four billion formats")]
const FORMAT: u32 = 1 + MIGRATIONS.len() as u32;

/// Checks the key, migrates, and returns the index key. An empty file becomes an empty store.
/// With a wrong key, a newer format or tables of another program nothing is touched.
pub(super) fn prepare(database: &redb::Database, vault: &Vault, world: &World) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    let Some(format) = get(database, "format")? else { return create(database, vault, world) };
    let format: u32 = from_cbor(&format).ok_or(StoreError::Damaged { table: META })?;
    if format > FORMAT {
        return Err(StoreError::Newer { found: format, known: FORMAT });
    }
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

fn check_key(database: &redb::Database, vault: &Vault) -> Result<Zeroizing<[u8; 32]>, StoreError> {
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
    if transaction.list_tables().map_err(|error| disk(&error))?.next().is_some() {
        return Err(StoreError::NotAStore("it holds the tables of another program".to_owned()));
    }
    put(&transaction, "format", &to_cbor(&FORMAT))?;
    put(&transaction, "key", vault.key_id().as_bytes())?;
    put(&transaction, "index_key", &vault.seal(INDEX_KEY, &*index_key))?;
    transaction.commit().map_err(|error| disk(&error))?;
    Ok(index_key)
}

const INDEX_KEY: Row<'_> = Row { table: META, key: b"index_key", context: b"" };

fn get(database: &redb::Database, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
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
