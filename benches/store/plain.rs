//! Reference: the obvious design. One redb file, and one durable commit for each batch: log, dedupe keys by
//! the hash of the event's id, head. Rows are sealed one by one, as the store seals them.

use std::sync::Arc;

use anyhow::Context;
use carport::model::Timestamp;
use carport::store::Settings;
use carport::store::tellings::Latest;
use carport::vault::{Row, Vault};
use hmac::{Hmac, KeyInit, Mac};
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::Sha256;

use crate::disk::Disk;
use crate::event::{Event, KIND};
use crate::queue::Queue;

type Bytes = &'static [u8];

const LOG: TableDefinition<'_, u64, Bytes> = TableDefinition::new("log");
const IDS: TableDefinition<'_, Bytes, u64> = TableDefinition::new("ids");
const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");
const LATEST: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("latest");

#[derive(Clone)]
pub(crate) struct Plain {
    database: Arc<Database>,
    vault: Vault,
}

/// The clear part of a row of the log: hash of the id, time, kind, vehicle, length of the body.
#[derive(Serialize, Deserialize)]
pub(crate) struct Clear([u8; 16], Timestamp, String, u32, u32);

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Head {
    newest: u64,
    entries: u64,
}

impl Plain {
    pub(crate) fn open(disk: &Disk, vault: Vault) -> anyhow::Result<Plain> {
        let cache = Settings::default().cache;
        let database = Builder::new().set_cache_size(cache).create_with_backend(disk.file("plain.redb")?)?;
        Ok(Plain { database: Arc::new(database), vault })
    }

    /// The writer behind the queue; keeps the newest `ring` events.
    pub(crate) fn start(&self, ring: u64) -> Queue {
        let plain = self.clone();
        let mut head = Head::default();
        Queue::start(move |batch| {
            let transaction = plain.database.begin_write()?;
            {
                let (mut log, mut ids) = (transaction.open_table(LOG)?, transaction.open_table(IDS)?);
                for (event, _) in batch {
                    let hash = hash(&event.id);
                    if ids.get(&hash[..])?.is_some() {
                        continue;
                    }
                    if head.entries >= ring {
                        let oldest = log.remove(head.newest + 1 - head.entries)?.context("the log has a hole")?;
                        ids.remove(&split(oldest.value())?.0.0[..])?;
                        head.entries -= 1;
                    }
                    head = Head { newest: head.newest + 1, entries: head.entries + 1 };
                    log.insert(head.newest, &plain.row(head.newest, hash, event)?[..])?;
                    ids.insert(&hash[..], head.newest)?;
                }
                transaction.open_table(META)?.insert("head", &to_cbor(&head)?[..])?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn row(&self, seq: u64, hash: [u8; 16], event: &Event) -> anyhow::Result<Vec<u8>> {
        let bytes = u32::try_from(event.body.len())?;
        let clear = to_cbor(&Clear(hash, event.received_at, KIND.to_owned(), 1, bytes))?;
        let sealed = self.vault.seal(Row { table: "log", key: &seq.to_be_bytes(), context: &clear }, &event.body);
        Ok([&u16::try_from(clear.len())?.to_be_bytes()[..], &clear, &sealed].concat())
    }

    /// Puts the latest signals of cars, a row each.
    pub(crate) fn put_latest(&self, rows: impl Iterator<Item = ((u32, u32), Latest)>) -> anyhow::Result<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(LATEST)?;
            for ((car, signal), latest) in rows {
                let key = [car.to_be_bytes(), signal.to_be_bytes()].concat();
                let sealed = self.vault.seal(Row { table: "latest", key: &key, context: &[] }, &to_cbor(&latest)?);
                table.insert(&key[..], &sealed[..])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Reads from a snapshot, off the reactor, as the store does it.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Plain, &ReadTransaction) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let plain = self.clone();
        tokio::task::spawn_blocking(move || read(&plain, &plain.database.begin_read()?)).await?
    }

    /// The newest entries of the log, with their bodies.
    pub(crate) fn newest(&self, transaction: &ReadTransaction, limit: usize) -> anyhow::Result<Vec<(u64, Clear, Vec<u8>)>> {
        let mut found = Vec::with_capacity(limit);
        for row in transaction.open_table(LOG)?.range::<u64>(..)?.rev().take(limit) {
            let (key, value) = row?;
            let (clear, context, sealed) = split(value.value())?;
            let body = self.vault.open(Row { table: "log", key: &key.value().to_be_bytes(), context }, sealed)?;
            found.push((key.value(), clear, body.to_vec()));
        }
        Ok(found)
    }

    /// The latest of every signal of a car.
    pub(crate) fn latest(&self, transaction: &ReadTransaction, car: u32) -> anyhow::Result<Vec<Latest>> {
        let (first, end) = ([car.to_be_bytes(), [0; 4]].concat(), (car + 1).to_be_bytes());
        let mut found = Vec::new();
        for row in transaction.open_table(LATEST)?.range(&first[..]..&end[..])? {
            let (key, value) = row?;
            let plain = self.vault.open(Row { table: "latest", key: key.value(), context: &[] }, value.value())?;
            found.push(from_cbor(&plain)?);
        }
        Ok(found)
    }
}

/// Clear part, its bytes, sealed body.
fn split(value: &[u8]) -> anyhow::Result<(Clear, &[u8], &[u8])> {
    let (length, rest) = value.split_first_chunk::<2>().context("a row is too short")?;
    let (clear, sealed) = rest.split_at_checked(u16::from_be_bytes(*length).into()).context("a row is too short")?;
    Ok((from_cbor(clear)?, clear, sealed))
}

fn hash(id: &str) -> [u8; 16] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).expect("HMAC takes keys of any length");
    mac.update(id.as_bytes());
    let mut hash = [0; 16];
    hash.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    hash
}

fn to_cbor<T: Serialize>(value: &T) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes)?;
    Ok(bytes)
}

fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    Ok(ciborium::from_reader(bytes)?)
}
