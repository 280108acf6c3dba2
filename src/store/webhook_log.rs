//! The webhook log: a ring of deliveries, and the window of event ids behind it.
//!
//! Appending to a full ring drops the oldest entries in the same commit, but never one that the projector
//! has not read. Event ids outlive the ring: at least `dedupe_for`, in a window ordered by seq, whose
//! hashes are all in memory.

use std::collections::{HashMap, VecDeque};
use std::ops::{Bound, ControlFlow, Range};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tables::{ALL, EVENT_IDS, Kind, META, Typed, WEBHOOK_LOGS, from_cbor, to_cbor};
use super::vehicle_data::projector_cursor;
use super::{Change, Rows, Snapshot, StoreError, Tables};
use crate::model::vehicle::Vehicle;
use crate::model::{Blob, Seq, Timestamp, VehicleId};

/// What became of a delivery, as the log says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryResult {
    /// Understood, of a vehicle that is known.
    Accepted,
    /// Of a vehicle that is not connected here (yet).
    UnknownVehicle,
    /// Of a type that is not known here (yet).
    UnknownType,
    /// A test sent from Smartcar's dashboard.
    Test,
    /// Properly signed, but not readable.
    NotUnderstood,
}

impl DeliveryResult {
    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryResult::Accepted => "accepted",
            DeliveryResult::UnknownVehicle => "unknown_vehicle",
            DeliveryResult::UnknownType => "unknown_type",
            DeliveryResult::Test => "test",
            DeliveryResult::NotUnderstood => "not_understood",
        }
    }
}

/// The clear part of an entry: for filters, and telling nothing of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// When it came in.
    pub received_at: Timestamp,
    /// The event's type, as Smartcar says it.
    pub kind: String,
    /// What became of it.
    pub result: DeliveryResult,
    /// The vehicle's row.
    pub vehicle: Option<u32>,
    /// Length of the body in bytes.
    pub bytes: u32,
}

/// How much the ring holds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ring {
    /// At most so many entries.
    pub events: u64,
    /// At most so many bytes of bodies.
    pub bytes: u64,
    /// How long event ids are remembered at least.
    pub dedupe_for: Duration,
}

/// Appends a delivery.
#[derive(Debug, Serialize, Deserialize)]
pub struct RecordDelivery {
    /// What makes it the same as an earlier one: Smartcar's event id, or a hash of the body.
    pub event: String,
    /// The event's type.
    pub kind: String,
    /// `Accepted`, unless something is known against it before the store is asked.
    pub result: DeliveryResult,
    /// The vehicle, by Smartcar's id.
    pub vehicle: Option<VehicleId>,
    /// The body as received.
    pub body: Blob,
    /// Now.
    pub received_at: Timestamp,
    /// How much the ring holds.
    pub ring: Ring,
}

/// What came of [`RecordDelivery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is in the log now.
    New(Seq, DeliveryResult),
    /// It was recorded before.
    Duplicate(Seq),
    /// The ring is full of entries that the projector has not read: try again in a moment.
    Full,
}

impl Change for RecordDelivery {
    type Outcome = Recorded;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<Recorded, StoreError> {
        let event = tables.places().hash(Kind::Event, &self.event);
        if let Some(seq) = tables.window.seq_of(&event) {
            return Ok(Recorded::Duplicate(seq));
        }
        let mut head: Head = tables.clear(META, HEAD)?.unwrap_or_default();
        if !make_room(tables, &mut head, self)? {
            tables.put_clear(META, HEAD, &head)?;
            return Ok(Recorded::Full);
        }
        let vehicle = self.vehicle.as_ref().map(|id| tables.row_or_new(Kind::Vehicle, id.as_str())).transpose()?;
        let known = match vehicle.map(|row| tables.get::<Vehicle>(row)) {
            Some(Ok(None)) => false,
            // A damaged vehicle is a known one; only the label hangs on it.
            None | Some(Ok(Some(_)) | Err(StoreError::Damaged { .. })) => true,
            Some(Err(error)) => return Err(error),
        };
        let result = if self.result == DeliveryResult::Accepted && !known { DeliveryResult::UnknownVehicle } else { self.result };
        let bytes = u32::try_from(self.body.0.len()).unwrap_or(u32::MAX);
        let header = Header { received_at: self.received_at, kind: self.kind.clone(), result, vehicle, bytes };
        let seq = head.newest.next();
        head = Head { newest: seq, oldest: head.oldest, entries: head.entries + 1, bytes: head.bytes + u64::from(bytes) };

        let key = seq.0.to_be_bytes();
        let header = to_cbor(&header);
        let sealed = tables.seal(WEBHOOK_LOGS, &key, &header, &self.body.0);
        let length = u16::try_from(header.len()).map_err(|_| StoreError::Damaged { table: WEBHOOK_LOGS })?;
        tables.put_raw(WEBHOOK_LOGS, &key, &[&length.to_be_bytes()[..], &header, &sealed].concat())?;
        tables.put_clear(META, HEAD, &head)?;
        remember(tables, &head, event, self)?;
        Ok(Recorded::New(seq, result))
    }
}

/// Notes that a VERIFY was answered.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoteVerify {
    /// When.
    pub at: Timestamp,
    /// Whether it bore a valid signature.
    pub signed: bool,
}

impl Change for NoteVerify {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.put_clear(META, VERIFY, &(self.at, self.signed))
    }
}

const VERIFY: &str = "verify";

/// Where the ring begins and ends. Erased entries leave holes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Head {
    /// The newest entry; 0 before the first.
    newest: Seq,
    /// The first place that may hold an entry.
    oldest: Seq,
    entries: u64,
    bytes: u64,
}

impl Default for Head {
    fn default() -> Head {
        Head { newest: Seq(0), oldest: Seq(1), entries: 0, bytes: 0 }
    }
}

impl Head {
    /// Takes an entry out, given by its value.
    fn drop_entry(&mut self, value: &[u8]) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(split(value).map_or(0, |(header, ..)| u64::from(header.bytes)));
    }
}

const HEAD: &str = "log";

/// Drops the oldest entries until one more fits; `false` if the projector has not read them.
fn make_room(tables: &mut Tables<'_>, head: &mut Head, delivery: &RecordDelivery) -> Result<bool, StoreError> {
    let more = delivery.body.0.len() as u64;
    let mut cursor = None;
    while head.entries > 0 && (head.entries + 1 > delivery.ring.events || head.bytes + more > delivery.ring.bytes) {
        let read_up_to = match cursor {
            Some(cursor) => cursor,
            None => *cursor.insert(projector_cursor(tables)?),
        };
        if head.oldest > read_up_to {
            return Ok(false);
        }
        let key = head.oldest.0.to_be_bytes();
        if let Some(value) = tables.raw(WEBHOOK_LOGS, &key)? {
            head.drop_entry(&value);
            tables.remove_raw(WEBHOOK_LOGS, &key)?;
        }
        head.oldest = head.oldest.next();
    }
    Ok(true)
}

/// Notes the event's id, and forgets ids that are older than the window and the ring.
fn remember(tables: &mut Tables<'_>, head: &Head, event: [u8; 16], delivery: &RecordDelivery) -> Result<(), StoreError> {
    tables.put_clear(EVENT_IDS, head.newest.0, &(event, delivery.received_at))?;
    tables.window.add(head.newest, event, delivery.received_at);
    let before = delivery.received_at.before(delivery.ring.dedupe_for);
    // An id from the future was noted while the clock was wrong; its age cannot be known.
    let beyond = delivery.received_at.after(CLOCK_ERROR);
    while let Some(seq) = tables.window.drop_oldest(before..beyond, head.oldest) {
        tables.remove_mark(EVENT_IDS, seq.0)?;
    }
    Ok(())
}

/// How far a clock may be off before its times count as nonsense.
const CLOCK_ERROR: Duration = Duration::from_secs(3600);

/// Removes the entries about a vehicle.
pub(super) fn erase_entries(tables: &mut Tables<'_>, vehicle: u32) -> Result<(), StoreError> {
    let mut head: Head = tables.clear(META, HEAD)?.unwrap_or_default();
    let mut keys = Vec::new();
    tables.walk(WEBHOOK_LOGS, ALL, false, &mut |key, value| {
        if split(value).is_some_and(|(header, ..)| header.vehicle == Some(vehicle)) {
            head.drop_entry(value);
            keys.push(key.to_vec());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    for key in keys {
        tables.remove_raw(WEBHOOK_LOGS, &key)?;
    }
    tables.put_clear(META, HEAD, &head)
}

/// The event ids in memory. What a transaction adds or drops counts only after [`Window::keep`].
#[derive(Debug, Default)]
pub(super) struct Window {
    seqs: HashMap<[u8; 16], Seq>,
    order: VecDeque<(Seq, Timestamp, [u8; 16])>,
    newest: Seq,
    added: Vec<(Seq, Timestamp, [u8; 16])>,
    dropped: usize,
}

impl Window {
    /// Reads the window from the store.
    pub(super) fn load(snapshot: &Snapshot<'_>) -> Result<Window, StoreError> {
        let mut window = Window { newest: snapshot.log_head()?.newest, ..Window::default() };
        snapshot.walk(EVENT_IDS, ALL, false, &mut |key, value| {
            let seq = key.try_into().map(|key| Seq(u64::from_be_bytes(key)));
            let entry = from_cbor::<([u8; 16], Timestamp)>(value);
            let (Ok(seq), Some((event, at))) = (seq, entry) else {
                tracing::error!(table = EVENT_IDS, "a row is damaged and was passed over");
                return Ok(ControlFlow::Continue(()));
            };
            window.seqs.insert(event, seq);
            window.order.push_back((seq, at, event));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(window)
    }

    /// The newest entry of the log.
    pub(super) fn newest(&self) -> Seq {
        self.newest
    }

    /// What the transaction did has become durable.
    pub(super) fn keep(&mut self) {
        for (_, _, event) in self.order.drain(..self.dropped) {
            self.seqs.remove(&event);
        }
        self.dropped = 0;
        for (seq, at, event) in self.added.drain(..) {
            self.newest = seq;
            self.seqs.insert(event, seq);
            self.order.push_back((seq, at, event));
        }
    }

    /// What the transaction did has come to nothing.
    pub(super) fn forget(&mut self) {
        self.added.clear();
        self.dropped = 0;
    }

    fn seq_of(&self, event: &[u8; 16]) -> Option<Seq> {
        let added = || self.added.iter().find(|(_, _, known)| known == event).map(|(seq, ..)| *seq);
        self.seqs.get(event).copied().or_else(added)
    }

    fn add(&mut self, seq: Seq, event: [u8; 16], at: Timestamp) {
        self.added.push((seq, at, event));
    }

    fn drop_oldest(&mut self, remembered: Range<Timestamp>, ring_begins: Seq) -> Option<Seq> {
        let (seq, at, _) = *self.order.get(self.dropped)?;
        (!remembered.contains(&at) && seq < ring_begins).then(|| {
            self.dropped += 1;
            seq
        })
    }
}

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place.
    pub seq: Seq,
    /// The clear part.
    pub header: Header,
    /// The body as received.
    pub body: Blob,
}

/// A stretch of the log.
#[derive(Clone, Debug)]
pub struct LogPart {
    /// The entries that were asked for.
    pub entries: Vec<Entry>,
    /// How far the stretch reaches.
    pub up_to: Seq,
    /// Entries that do not open.
    pub damaged: u64,
}

/// The log as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogExtent {
    /// The newest entry; 0 before the first.
    pub newest: Seq,
    /// How many there are.
    pub entries: u64,
    /// Length of their bodies.
    pub bytes: u64,
}

impl Snapshot<'_> {
    /// The entries after a place that `wanted` picks by their header, oldest first: at most `limit`, and
    /// about a mebibyte. A damaged entry is passed over: it must not stop the follower.
    pub fn log_after(&self, after: Seq, limit: usize, wanted: impl Fn(&Header) -> bool) -> Result<LogPart, StoreError> {
        let mut part = LogPart { entries: Vec::new(), up_to: after, damaged: 0 };
        let mut bytes = 0;
        let begin = Bound::Excluded(after.0.to_be_bytes().to_vec());
        self.walk(WEBHOOK_LOGS, (begin, Bound::Unbounded), false, &mut |key, value| {
            part.up_to = key.try_into().map_or(part.up_to.next(), |key| Seq(u64::from_be_bytes(key)));
            match split(value).filter(|(header, ..)| !wanted(header)) {
                Some(_) => {}
                None => match self.entry(key, value) {
                    Ok(entry) => {
                        bytes += entry.body.0.len();
                        part.entries.push(entry);
                    }
                    Err(_) => part.damaged += 1,
                },
            }
            Ok(if part.entries.len() < limit && bytes < 1 << 20 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(part)
    }

    /// The entries before a place that `wanted` picks by their header, newest first: at most `limit`, and
    /// about a mebibyte; and whether there may be more. Damaged ones are passed over.
    pub fn log_before(
        &self,
        before: Option<Seq>,
        limit: usize,
        wanted: impl Fn(&Header) -> bool,
    ) -> Result<(Vec<Entry>, bool), StoreError> {
        let end = before.map_or(Bound::Unbounded, |seq| Bound::Excluded(seq.0.to_be_bytes().to_vec()));
        let (mut found, mut bytes, mut more) = (Vec::new(), 0, false);
        self.walk(WEBHOOK_LOGS, (Bound::Unbounded, end), true, &mut |key, value| {
            if split(value).is_none_or(|(header, ..)| !wanted(&header)) {
                return Ok(ControlFlow::Continue(()));
            }
            if found.len() >= limit || bytes >= 1 << 20 {
                more = true;
                return Ok(ControlFlow::Break(()));
            }
            if let Ok(entry) = self.entry(key, value) {
                bytes += entry.body.0.len();
                found.push(entry);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((found, more))
    }

    /// One entry.
    pub fn log_entry(&self, seq: Seq) -> Result<Option<Entry>, StoreError> {
        let key = seq.0.to_be_bytes();
        self.raw(WEBHOOK_LOGS, &key)?.map(|value| self.entry(&key, &value)).transpose()
    }

    /// How far the log reaches.
    pub fn log_extent(&self) -> Result<LogExtent, StoreError> {
        let head = self.log_head()?;
        Ok(LogExtent { newest: head.newest, entries: head.entries, bytes: head.bytes })
    }

    /// The last VERIFY that was noted: when, and whether it was signed.
    pub fn last_verify(&self) -> Result<Option<(Timestamp, bool)>, StoreError> {
        self.clear(META, VERIFY)
    }

    /// The row that stands for a vehicle in headers, whether it is linked or not.
    pub fn vehicle_row(&self, id: &VehicleId) -> Result<Option<u32>, StoreError> {
        self.row(Kind::Vehicle, id.as_str())
    }

    fn log_head(&self) -> Result<Head, StoreError> {
        Ok(self.clear(META, HEAD)?.unwrap_or_default())
    }

    fn entry(&self, key: &[u8], value: &[u8]) -> Result<Entry, StoreError> {
        let damaged = StoreError::Damaged { table: WEBHOOK_LOGS };
        let (header, context, sealed) = split(value).ok_or(damaged.clone())?;
        let body = Blob(self.open(WEBHOOK_LOGS, key, context, sealed)?.to_vec());
        let seq = Seq(u64::from_be_bytes(key.try_into().map_err(|_| damaged)?));
        Ok(Entry { seq, header, body })
    }
}

/// Header, the header's bytes, sealed body.
fn split(value: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let (length, rest) = value.split_first_chunk::<2>()?;
    let (header, sealed) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((from_cbor(header)?, header, sealed))
}
