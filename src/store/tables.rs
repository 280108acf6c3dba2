//! The schema, and the only place that seals and opens rows.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta-1` | name | format, key ids, index key, checkpoint, census, counters, the ends of log and history, the last VERIFY, the certificate, the ACME account, settings made on the set-up page |
//! | `index-1` | kind, keyed hash of an id | the row or key it stands for |
//! | `users-1` | row | an owner |
//! | `connections-1` | connection id | one owner's authority over one Smartcar user |
//! | `smartcar_tokens-1` | connection id | sealed token set (sealed twice: by `tokens` and here) |
//! | `tokens_by_due-1` | due time, connection id | nothing: the order of the refresh loop |
//! | `refresh_intents-1`, `previous_tokens-1` | connection id; time and it | a refresh under way; the set before |
//! | `vehicles-1` | row | a vehicle |
//! | `vehicles_by_user-1` | user row, vehicle row | nothing |
//! | `vehicle_latest-2` | vehicle row | the latest of all its signals |
//! | `vehicle_changes-1` | vehicle row, number | what has just changed of all its signals, and is not yet in blocks |
//! | `vehicle_data-1` | vehicle row, signal row, time of its first | a block: up to 64 changes of a signal on one day |
//! | `vehicle_rollups-1` | vehicle row, signal row, span, time | what is left of old numbers: the hours of a day, or 32 days |
//! | `vehicles_to_revisit-1` | vehicle row | nothing: newly linked, so the log is read again for it |
//! | `vehicles_to_read-1`; `subscriptions-1` | vehicle row | nothing: a first picture of it is to be read; its webhook |
//! | `webhook_logs-1` | seq | clear header, then the sealed payload |
//! | `event_ids-2` | first seq | keyed hashes of up to 128 events' ids and when they came, in clear, then a seal that covers them: the dedupe window |
//! | `attempts-1`, `invites-1` | hash of state, of link | a trip through Connect, an invitation; `..._by_expiry-1`: what to drop first |
//! | `api_tokens-1`, `sessions-1`, `sign_in_links-1` | hash of the secret | who may do what |
//! | `notices-1`; `audit-1` | subject; ring, number | a notice that is not over; who changed what |
//! | `cursors-1`; `budget-1`; `commands-1` | follower; vehicle row, or 0, or keyed hash of an id; vehicle row, id | its place in the log; calls that count, of all if 0, of an erased vehicle by its hash; a command |
//!
//! Every value is sealed, bound to table and key, so that a changed, moved or swapped row does not open;
//! records are CBOR, packed before they are sealed. In clear stand the keys, format and key ids in `meta`, and what
//! the seal of its row covers: event ids, and the header of a log entry. A row without a value is a sealed nothing.

use std::fmt;
use std::ops::{Bound, ControlFlow};

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::StoreError;
use super::database::disk;
use super::key::Key;
use super::log_head::Log;
use super::opened::{Opened, OpenedToRead};
use super::packing::{pack, unpack};
pub(super) use super::places::{Kind, Places};
pub(super) use super::roll::{LARGE, SMALL, all};
use crate::vault::Row;

pub(super) const META: &str = "meta-1";
pub(super) const INDEX: &str = "index-1";
pub(super) const TOKENS_BY_DUE: &str = "tokens_by_due-1";
pub(super) const VEHICLES_BY_USER: &str = "vehicles_by_user-1";
pub(super) const VEHICLES_TO_REVISIT: &str = "vehicles_to_revisit-1";
pub(super) const VEHICLES_TO_READ: &str = "vehicles_to_read-1";
pub(super) const WEBHOOK_LOGS: &str = "webhook_logs-1";
pub(super) const EVENT_IDS: &str = "event_ids-2";
pub(super) const ATTEMPTS_BY_EXPIRY: &str = "attempts_by_expiry-1";
pub(super) const INVITES_BY_EXPIRY: &str = "invites_by_expiry-1";
pub(super) const CURSORS: &str = "cursors-1";

/// A value that is packed as well as sealed.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// The table it lives in.
    const TABLE: &'static str;
    /// Whether it may say what opens anything. To wipe what does not would cost more than to read it.
    const IS_SECRET: bool = true;
}

/// Looks at one row, by key and value, and says whether to go on.
pub(super) type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError> + 'v;

/// Looking at rows: what a snapshot and a transaction have in common.
pub(super) trait Rows {
    fn places(&self) -> &Places;
    fn raw(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits rows of a range in order (or backwards) until told to stop.
    fn walk(
        &self,
        table: &'static str,
        range: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        backwards: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;
}

/// The typed side of [`Rows`], within the store.
pub(super) trait Typed: Rows {
    fn get<R: Record>(&self, key: impl Key) -> Result<Option<R>, StoreError> {
        let key = key.bytes();
        self.raw(R::TABLE, &key)?.map(|sealed| self.decode::<R>(&key, &sealed)).transpose()
    }

    fn decode<R: Record>(&self, key: &[u8], sealed: &[u8]) -> Result<R, StoreError> {
        let damaged = StoreError::Damaged { table: R::TABLE };
        let packed = self.open(R::TABLE, key, &[], sealed)?;
        let plain = unpack(&packed).ok_or(damaged.clone())?;
        let record = from_cbor(&plain).ok_or(damaged);
        let_go::<R>([packed, plain]);
        record
    }

    fn open(&self, table: &'static str, key: &[u8], context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        self.places().vault.open(Row { table, key, context }, sealed).map_err(|_| StoreError::Damaged { table })
    }

    /// A record; one that is damaged is reported and counts as missing. For rows whose loss must cost
    /// nothing but themselves.
    fn get_sound<R: Record>(&self, key: impl Key) -> Result<Option<R>, StoreError> {
        match self.get(key) {
            Err(StoreError::Damaged { table }) => {
                tracing::error!(table, "a row is damaged and counts as missing");
                Ok(None)
            }
            result => result,
        }
    }

    /// Records of a range, with their keys, at most `limit`. Damaged ones are reported and passed over.
    fn list<R: Record>(
        &self,
        range: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, R)>, StoreError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        self.walk(R::TABLE, range, backwards, &mut |key, sealed| {
            if let Ok(record) = self.decode(key, sealed) {
                found.push((key.to_vec(), record));
            } else {
                tracing::error!(table = R::TABLE, "a row is damaged and was passed over");
            }
            Ok(if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    /// The keys of a range, until `limit`.
    fn keys(
        &self,
        table: &'static str,
        range: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        self.walk(table, range, false, &mut |key, _| {
            found.push(key.to_vec());
            Ok(if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    /// Whether there is such a record, sound or not.
    fn has<R: Record>(&self, key: impl Key) -> Result<bool, StoreError> {
        Ok(self.raw(R::TABLE, &key.bytes())?.is_some())
    }

    /// What an id stands for.
    fn indexed(&self, kind: Kind, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.places().index_entry(kind, id);
        self.raw(INDEX, &key)?.map(|sealed| Ok(self.open(INDEX, &key, &[], &sealed)?.to_vec())).transpose()
    }

    /// Whether an id is one of something that is gone for good.
    fn is_gone(&self, kind: Kind, id: &str) -> Result<bool, StoreError> {
        Ok(self.indexed(kind, id)?.is_some_and(|target| target.is_empty()))
    }

    /// The row of an id; `None` also if what had it is gone.
    fn row(&self, kind: Kind, id: &str) -> Result<Option<u32>, StoreError> {
        Ok(self.indexed(kind, id)?.and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?))))
    }

    /// A small value that has no type of row to itself.
    fn value<T: DeserializeOwned>(&self, table: &'static str, key: impl Key) -> Result<Option<T>, StoreError> {
        let key = key.bytes();
        let Some(sealed) = self.raw(table, &key)? else { return Ok(None) };
        from_cbor(&self.open(table, &key, &[], &sealed)?).ok_or(StoreError::Damaged { table }).map(Some)
    }
}

impl<T: Rows> Typed for T {}

/// Lets go of a record's bytes: only those of a secret are wiped.
fn let_go<R: Record>(bytes: [Zeroizing<Vec<u8>>; 2]) {
    if !R::IS_SECRET {
        drop(bytes.map(|mut bytes| std::mem::take(&mut *bytes)));
    }
}

/// The state at one moment. Never keep it across an await: it holds back the reuse of pages.
pub struct Snapshot<'a> {
    opened: OpenedToRead<'a>,
    places: &'a Places,
}

impl<'a> Snapshot<'a> {
    pub(super) fn new(transaction: &'a ReadTransaction, places: &'a Places) -> Snapshot<'a> {
        Snapshot { opened: OpenedToRead::new(transaction), places }
    }
}

impl fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Snapshot<'_> {
    /// How many rows a table has, by its own count.
    pub(super) fn len(&self, table: &'static str) -> Result<u64, StoreError> {
        self.opened.get(table)?.map_or(Ok(0), |table| table.len().map_err(|error| disk(&error)))
    }
}

impl Rows for Snapshot<'_> {
    fn places(&self) -> &Places {
        self.places
    }

    fn raw(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.opened.get(table)?.map_or(Ok(None), |table| get(table, key))
    }

    fn walk(
        &self,
        table: &'static str,
        range: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        backwards: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.opened.get(table)?.map_or(Ok(()), |table| walk(table, &range, backwards, visit))
    }
}

/// The tables within a transaction.
#[expect(missing_debug_implementations, reason = "redb's transaction has none")]
pub struct Tables<'a> {
    opened: Opened<'a>,
    places: &'a Places,
    pub(super) log: &'a mut Log,
}

impl<'a> Tables<'a> {
    pub(super) fn new(transaction: &'a WriteTransaction, places: &'a Places, log: &'a mut Log) -> Tables<'a> {
        Tables { opened: Opened::new(transaction), places, log }
    }

    pub(super) fn put<R: Record>(&mut self, key: impl Key, record: &R) -> Result<(), StoreError> {
        let key = key.bytes();
        let plain = Zeroizing::new(to_cbor(record));
        let packed = Zeroizing::new(pack(&plain));
        let sealed = self.seal(R::TABLE, &key, &[], &packed);
        let_go::<R>([packed, plain]);
        self.put_raw(R::TABLE, &key, &sealed)
    }

    /// Puts a record that is CBOR already.
    pub(super) fn put_packed(&mut self, table: &'static str, key: &[u8], plain: &[u8]) -> Result<(), StoreError> {
        let sealed = self.seal(table, key, &[], &Zeroizing::new(pack(plain)));
        self.put_raw(table, key, &sealed)
    }

    pub(super) fn seal(&self, table: &'static str, key: &[u8], context: &[u8], plain: &[u8]) -> Vec<u8> {
        self.places.vault.seal(Row { table, key, context }, plain)
    }

    pub(super) fn remove<R: Record>(&mut self, key: impl Key) -> Result<(), StoreError> {
        self.remove_raw(R::TABLE, &key.bytes())
    }

    pub(super) fn put_value<T: Serialize>(&mut self, table: &'static str, key: impl Key, value: &T) -> Result<(), StoreError> {
        let key = key.bytes();
        let sealed = self.seal(table, &key, &[], &to_cbor(value));
        self.put_raw(table, &key, &sealed)
    }

    /// An entry whose key says it all.
    pub(super) fn put_mark(&mut self, table: &'static str, key: impl Key) -> Result<(), StoreError> {
        let key = key.bytes();
        let sealed = self.seal(table, &key, &[], &[]);
        self.put_raw(table, &key, &sealed)
    }

    pub(super) fn remove_mark(&mut self, table: &'static str, key: impl Key) -> Result<(), StoreError> {
        self.remove_raw(table, &key.bytes())
    }

    pub(super) fn put_index(&mut self, kind: Kind, id: &str, target: impl Key) -> Result<(), StoreError> {
        let entry = self.places.index_entry(kind, id);
        let sealed = self.seal(INDEX, &entry, &[], &target.bytes());
        self.put_raw(INDEX, &entry, &sealed)
    }

    /// The id leads nowhere any more, and is known for that.
    pub(super) fn put_gone(&mut self, kind: Kind, id: &str) -> Result<(), StoreError> {
        self.put_index(kind, id, &[][..])
    }

    pub(super) fn remove_index(&mut self, kind: Kind, id: &str) -> Result<(), StoreError> {
        let entry = self.places.index_entry(kind, id);
        self.remove_raw(INDEX, &entry)
    }

    /// The row of an id; a new one if it has none (any more).
    pub(super) fn row_or_new(&mut self, kind: Kind, id: &str) -> Result<u32, StoreError> {
        self.row(kind, id)?.map_or_else(|| self.new_row(kind, id), Ok)
    }

    /// A new row for an id, which leads there from now on.
    pub(super) fn new_row(&mut self, kind: Kind, id: &str) -> Result<u32, StoreError> {
        let counter = match kind {
            Kind::User => "users",
            Kind::Vehicle => "vehicles",
            Kind::Signal => "signals",
            Kind::Connection | Kind::Event => unreachable!("connections and events have no rows of their own"),
        };
        let row = self.value::<u32>(META, counter)?.unwrap_or(0) + 1;
        self.put_value(META, counter, &row)?;
        self.put_index(kind, id, row)?;
        Ok(row)
    }

    pub(super) fn put_raw(&mut self, name: &'static str, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.opened.get_mut(name)?.insert(key, value).map_err(|error| disk(&error))?;
        self.log.memo.follow(name, key, true);
        Ok(())
    }

    pub(super) fn remove_raw(&mut self, name: &'static str, key: &[u8]) -> Result<(), StoreError> {
        self.opened.get_mut(name)?.remove(key).map_err(|error| disk(&error))?;
        self.log.memo.follow(name, key, false);
        Ok(())
    }

    /// Drops the rows from `first` to `last` that `visit` takes. One pass: row by row, every page would be looked
    /// up again.
    pub(super) fn drop_rows(
        &mut self,
        table: &'static str,
        first: &[u8],
        last: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let table = self.opened.get_mut(table)?;
        table.retain_in::<&[u8], _>(first..=last, |key, value| !visit(key, value)).map_err(|error| disk(&error))
    }

    pub(super) fn len(&self, table: &'static str) -> Result<u64, StoreError> {
        self.opened.get(table)?.len().map_err(|error| disk(&error))
    }
}

impl Rows for Tables<'_> {
    fn places(&self) -> &Places {
        self.places
    }

    fn raw(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        get(self.opened.get(table)?, key)
    }

    fn walk(
        &self,
        table: &'static str,
        range: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        backwards: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        walk(self.opened.get(table)?, &range, backwards, visit)
    }
}

/// All keys that begin with `prefix`.
pub(super) fn under(prefix: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return (Bound::Included(prefix.to_vec()), Bound::Excluded(end));
        }
    }
    (Bound::Included(prefix.to_vec()), Bound::Unbounded)
}

/// The whole table.
pub(super) const ALL: (Bound<Vec<u8>>, Bound<Vec<u8>>) = (Bound::Unbounded, Bound::Unbounded);

pub(super) fn definition(table: &'static str) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table)
}

pub(super) fn to_cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    ciborium::into_writer(value, &mut bytes).expect("our records are serialisable and memory does not fail");
    bytes
}

pub(super) fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    ciborium::from_reader(bytes).ok()
}

pub(super) type Bytes = &'static [u8];

fn get(table: &impl ReadableTable<Bytes, Bytes>, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(table.get(key).map_err(|error| disk(&error))?.map(|value| value.value().to_vec()))
}

fn walk(
    table: &impl ReadableTable<Bytes, Bytes>,
    range: &(Bound<Vec<u8>>, Bound<Vec<u8>>),
    backwards: bool,
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    let bounds = (range.0.as_ref().map(Vec::as_slice), range.1.as_ref().map(Vec::as_slice));
    let mut rows = table.range::<&[u8]>(bounds).map_err(|error| disk(&error))?;
    while let Some(row) = if backwards { rows.next_back() } else { rows.next() } {
        let (key, value) = row.map_err(|error| disk(&error))?;
        if visit(key.value(), value.value())?.is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        assert_eq!(under(&[1, 2]), (Bound::Included(vec![1, 2]), Bound::Excluded(vec![1, 3])));
        assert_eq!(under(&[1, 255]), (Bound::Included(vec![1, 255]), Bound::Excluded(vec![2])));
        assert_eq!(under(&[255]), (Bound::Included(vec![255]), Bound::Unbounded));
    }
}
