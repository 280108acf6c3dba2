//! Where the webhook log begins and ends: what the writer holds of it in memory, beside the event ids.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::bookmark::projector_cursor;
use super::event_ids::Window;
use super::memo::Memo;
use super::ring::Backlog;
use super::tables::{ALL, META, Typed, WEBHOOK_LOGS};
use super::webhook_log::Header;
use super::{Rows, StoreError, Tables};
use crate::model::Seq;

/// Where the ring begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The newest entry; 0 before the first.
    pub(super) newest: Seq,
    /// The first place that holds an entry, be it an erased one.
    pub(super) oldest: Seq,
    /// How many there are, without the erased ones.
    pub(super) entries: u64,
    /// Length of their bodies.
    pub(super) bytes: u64,
}

impl Default for Head {
    fn default() -> Head {
        Head { newest: Seq(0), oldest: Seq(1), entries: 0, bytes: 0 }
    }
}

impl Head {
    /// Takes an entry out, given by its value.
    pub(super) fn drop_entry(&mut self, value: &[u8]) {
        if !is_erased(value) {
            self.entries = self.entries.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(split(value).map_or(0, |(header, ..)| u64::from(header.bytes)));
        }
    }
}

pub(super) const HEAD: &str = "log";

/// The first entry whose event id is remembered.
const REMEMBERED: &str = "event_ids";

/// What the writer holds of the log in memory. What a transaction does to it counts only after [`Log::keep`].
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) head: Head,
    kept: Head,
    /// How far the projector has read.
    pub(super) read: Seq,
    kept_read: Seq,
    pub(super) window: Window,
    pub(super) memo: Memo,
}

impl Log {
    pub(super) fn load(rows: &impl Rows) -> Result<Log, StoreError> {
        let head = rows.value(META, HEAD)?.unwrap_or_default();
        let read = projector_cursor(rows)?;
        Ok(Log { head, kept: head, read, kept_read: read, window: window(rows)?, memo: Memo::default() })
    }

    /// The newest entry.
    pub(super) fn newest(&self) -> Seq {
        self.kept.newest
    }

    /// What the projector has not read.
    pub(super) fn backlog(&self) -> Backlog {
        let unread = self.kept.newest.0.saturating_sub(self.kept_read.0);
        Backlog { unread, entries: self.kept.entries, bytes: self.kept.bytes }
    }

    /// Length of all bodies.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.bytes
    }

    /// What the transaction did has become durable.
    pub(super) fn keep(&mut self) {
        (self.kept, self.kept_read) = (self.head, self.read);
        self.window.keep();
    }

    /// What the transaction did has come to nothing.
    pub(super) fn forget(&mut self) {
        (self.head, self.read) = (self.kept, self.kept_read);
        self.window.forget();
        self.memo.forget();
    }
}

/// Writes the log's head, once for all the changes of a transaction.
pub(super) fn finish(tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let head = tables.log.head;
    if head == tables.log.kept { Ok(()) } else { tables.put_value(META, HEAD, &head) }
}

/// Makes the log end where it once did, however it came to be otherwise by a replay of less than there was.
/// Entries that are missing count as erased, and those after them keep their own places.
pub(super) fn end_at(tables: &mut Tables<'_>, newest: Seq) -> Result<(), StoreError> {
    while tables.log.head.newest < newest {
        tables.log.head.newest = tables.log.head.newest.next();
        let key = tables.log.head.newest.0.to_be_bytes();
        put_erased(tables, &key)?;
    }
    // What the tables held before the replay stays.
    while tables.log.head.newest > newest.max(tables.log.kept.newest) {
        let last = tables.log.head.newest;
        let key = last.0.to_be_bytes();
        if let Some(value) = tables.raw(WEBHOOK_LOGS, &key)? {
            tables.log.head.drop_entry(&value);
            tables.remove_raw(WEBHOOK_LOGS, &key)?;
        }
        tables.log.window.forget_last(last);
        tables.log.head.newest = Seq(last.0 - 1);
        tables.log.head.oldest = tables.log.head.oldest.min(last);
    }
    Ok(())
}

/// Makes the log's head, which may be that of another time, fit the entries that are there. The places of
/// those that were lost count as erased.
pub(super) fn mend(tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let head: Head = tables.value(META, HEAD)?.unwrap_or_default();
    let mut head = Head { entries: 0, bytes: 0, ..head };
    let (mut found, mut holes) = (None, Vec::new());
    tables.walk(WEBHOOK_LOGS, ALL, false, &mut |key, value| {
        let seq = Seq(key.try_into().map_or(0, u64::from_be_bytes));
        let (first, last) = found.unwrap_or((seq, seq));
        holes.extend((last.0 + 1..seq.0).map(Seq));
        found = Some((first, seq));
        if let Some((header, ..)) = split(value) {
            (head.entries, head.bytes) = (head.entries + 1, head.bytes + u64::from(header.bytes));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let (first, last) = found.unwrap_or((head.newest.next(), head.newest));
    holes.extend((last.0 + 1..=head.newest.0).map(Seq));
    (head.oldest, head.newest) = (first, head.newest.max(last));
    for hole in holes {
        let key = hole.0.to_be_bytes();
        put_erased(tables, &key)?;
    }
    tables.log.head = head;
    Ok(())
}

fn window(rows: &impl Rows) -> Result<Window, StoreError> {
    Window::load(rows, rows.value(META, REMEMBERED)?.unwrap_or_default())
}

/// Takes the event ids from their table, which has been filled otherwise.
pub(super) fn load_event_ids(tables: &mut Tables<'_>) -> Result<(), StoreError> {
    tables.log.window = window(tables)?;
    Ok(())
}

/// Writes what is otherwise only in memory and in the journal.
pub(super) fn store_event_ids(tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let mut window = std::mem::take(&mut tables.log.window);
    let stored = window.store(tables);
    let remembered = window.oldest().unwrap_or(tables.log.head.newest.next());
    tables.log.window = window;
    tables.put_value(META, REMEMBERED, &remembered)?;
    stored
}

/// Erases an entry. Its place stays taken, so that a place without a row means damage.
pub(super) fn put_erased(tables: &mut Tables<'_>, key: &[u8]) -> Result<(), StoreError> {
    let sealed = tables.seal(WEBHOOK_LOGS, key, &[], &[]);
    tables.put_raw(WEBHOOK_LOGS, key, &[&[0, 0][..], &sealed].concat())
}

pub(super) fn is_erased(value: &[u8]) -> bool {
    value.starts_with(&[0, 0])
}

/// Header, the header's bytes, sealed body.
pub(super) fn split(value: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let (header, sealed) = parts(value)?;
    Some((Header::from_bytes(header)?, header, sealed))
}

/// The header's bytes, which the seal covers, and the sealed body.
pub(super) fn parts(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = value.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}
