//! The webhook log: a ring of deliveries.
//!
//! Appending to a full ring drops the oldest entries in the same commit, some more than are in the way,
//! but never one that the projector has not read.

use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bookmark::projector_cursor;
use super::log_head::{HEAD, Head, is_erased, put_erased, split};
use super::memo::{is_linked, row_of};
use super::packing::Packed;
pub use super::ring::{Backlog, Ring};
use super::tables::{ALL, Kind, META, Typed, WEBHOOK_LOGS, from_cbor, to_cbor};
use super::{Change, Known, Rows, Snapshot, StoreError, Tables};
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
    /// Understood, of a vehicle that was not connected (any more) when it came in: nothing is made of it. The log itself does
    /// not say so, for it follows from the vehicle.
    NotConnected,
}

impl DeliveryResult {
    /// All of the contract's words.
    pub const WORDS: [&str; 6] = [
        DeliveryResult::Accepted.as_str(),
        DeliveryResult::UnknownVehicle.as_str(),
        DeliveryResult::NotConnected.as_str(),
        DeliveryResult::UnknownType.as_str(),
        DeliveryResult::Test.as_str(),
        DeliveryResult::NotUnderstood.as_str(),
    ];

    /// The contract's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryResult::Accepted => "accepted",
            DeliveryResult::UnknownVehicle => "unknown_vehicle",
            DeliveryResult::UnknownType => "unknown_type",
            DeliveryResult::Test => "test",
            DeliveryResult::NotUnderstood => "not_understood",
            DeliveryResult::NotConnected => "not_connected",
        }
    }
}

/// The clear part of an entry: for filters, and telling nothing of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl Header {
    /// Without names: there is one for every entry.
    fn to_bytes(&self) -> Vec<u8> {
        to_cbor(&(self.received_at, &self.kind, self.result, self.vehicle, self.bytes))
    }

    /// Writes an entry.
    pub(super) fn put(&self, tables: &mut Tables<'_>, key: &[u8], body: &Packed) -> Result<(), StoreError> {
        let header = self.to_bytes();
        let sealed = tables.seal(WEBHOOK_LOGS, key, &header, body.as_bytes());
        let length = u16::try_from(header.len()).map_err(|_| StoreError::Damaged { table: WEBHOOK_LOGS })?;
        tables.put_raw(WEBHOOK_LOGS, key, &[&length.to_be_bytes()[..], &header, &sealed].concat())
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Header> {
        let (received_at, kind, result, vehicle, bytes) = from_cbor(bytes)?;
        Some(Header { received_at, kind, result, vehicle, bytes })
    }
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
    /// Whether it tells of other vehicles, too.
    #[serde(default)]
    pub is_about_others: bool,
    /// The body as received.
    pub body: Packed,
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
    /// It is about a vehicle that was erased, and was not kept.
    Erased,
    /// The ring is full of entries that the projector has not read: try again in a moment.
    Full,
}

impl Change for RecordDelivery {
    type Outcome = Recorded;

    fn settled(&self, known: &Known<'_>) -> Option<Recorded> {
        let event = known.places.hash(Kind::Event, &self.event);
        let seq = known.log.window.seq_of(&event);
        let is_gone = |id: &VehicleId| known.log.memo.is_gone(&known.places.hash(Kind::Vehicle, id.as_str()));
        let erased = || (!self.is_about_others && self.vehicle.as_ref().is_some_and(is_gone)).then_some(Recorded::Erased);
        seq.map(Recorded::Duplicate).or_else(erased)
    }

    fn is_packed(&self) -> bool {
        true
    }

    fn apply(&self, tables: &mut Tables<'_>) -> Result<Recorded, StoreError> {
        // First, whatever the log knows: after a rescue it may know more than the small tables, and the replay
        // must give the vehicles the rows that they had.
        let vehicle = self.vehicle.as_ref().map(|id| row_of(tables, id)).transpose()?;
        let event = tables.places().hash(Kind::Event, &self.event);
        if let Some(seq) = tables.log.window.seq_of(&event) {
            return Ok(Recorded::Duplicate(seq));
        }
        if vehicle == Some(None) && !self.is_about_others {
            return Ok(Recorded::Erased);
        }
        let vehicle = vehicle.flatten();
        if !make_room(tables, self)? {
            return Ok(Recorded::Full);
        }
        let known = vehicle.map_or(Ok(true), |row| is_linked(tables, row))?;
        let result = if self.result == DeliveryResult::Accepted && !known { DeliveryResult::UnknownVehicle } else { self.result };
        let bytes = u32::try_from(self.body.plain_len()).unwrap_or(u32::MAX);
        let header = Header { received_at: self.received_at, kind: self.kind.clone(), result, vehicle, bytes };
        let head = &mut tables.log.head;
        let seq = head.newest.next();
        (head.newest, head.entries, head.bytes) = (seq, head.entries + 1, head.bytes + u64::from(bytes));

        header.put(tables, &seq.0.to_be_bytes(), &self.body)?;
        tables.log.window.add(seq, event, self.received_at);
        // An id from the future was noted while the clock was wrong; its age cannot be known.
        let remembered = self.received_at.before(self.ring.dedupe_for)..self.received_at.after(CLOCK_ERROR);
        tables.log.window.drop_oldest(remembered, tables.log.head.oldest);
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
        tables.put_value(META, VERIFY, &(self.at, self.signed))
    }
}

const VERIFY: &str = "verify";

/// Drops the oldest entries until one more fits; `false` if the projector has not read them. When it drops
/// any, it drops some more: the next deliveries need not.
fn make_room(tables: &mut Tables<'_>, delivery: &RecordDelivery) -> Result<bool, StoreError> {
    let ring = &delivery.ring;
    let fits = |head: &Head, events: u64| {
        head.entries == 0 || (head.entries < events && head.bytes + delivery.body.plain_len() as u64 <= ring.bytes)
    };
    if fits(&tables.log.head, ring.events) {
        return Ok(true);
    }
    let read_up_to = projector_cursor(tables)?;
    let wanted = ring.events - (ring.events / 128).min(RUN);
    let mut head = tables.log.head;
    while !fits(&head, wanted) && head.oldest <= read_up_to {
        let end = read_up_to.min(Seq(head.oldest.0 + RUN));
        let first = head.oldest.0.to_be_bytes();
        tables.drop_rows(WEBHOOK_LOGS, &first, &end.0.to_be_bytes(), |key, value| {
            let is_dropped = !fits(&head, wanted);
            if is_dropped {
                head.drop_entry(value);
                head.oldest = Seq(key.try_into().map_or(head.oldest.0, u64::from_be_bytes)).next();
            }
            is_dropped
        })?;
        // Places without a row are damage, and nothing to wait for.
        if !fits(&head, wanted) {
            head.oldest = end.next();
        }
    }
    tables.log.head = head;
    Ok(fits(&head, ring.events))
}

/// How many entries are dropped at once: others wait meanwhile.
const RUN: u64 = 256;

/// How far a clock may be off before its times count as nonsense.
const CLOCK_ERROR: Duration = Duration::from_secs(3600);

/// Erases the entries about a vehicle. Their places stay taken, so that a place without a row means damage.
pub(super) fn erase_entries(tables: &mut Tables<'_>, vehicle: u32) -> Result<(), StoreError> {
    let mut found = Vec::new();
    let mut head = tables.log.head;
    tables.walk(WEBHOOK_LOGS, ALL, false, &mut |key, value| {
        if split(value).is_some_and(|(header, ..)| header.vehicle == Some(vehicle)) {
            head.drop_entry(value);
            found.push(key.to_vec());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    for key in found {
        put_erased(tables, &key)?;
    }
    tables.log.head = head;
    Ok(())
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

/// An entry as it is filed: small, so that many can leave a snapshot, which must not last.
#[derive(Clone, Debug)]
pub struct Filed {
    /// Its place.
    pub seq: Seq,
    /// The clear part.
    pub header: Header,
    body: Packed,
}

impl Filed {
    /// The entry; `None` if its body was never packed.
    pub fn unpack(self) -> Option<Entry> {
        let body = Blob(std::mem::take(&mut *self.body.unpack()?));
        Some(Entry { seq: self.seq, header: self.header, body })
    }
}

/// A stretch of the log.
#[derive(Clone, Debug)]
pub struct LogPart {
    /// The entries that were asked for.
    pub entries: Vec<Filed>,
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
    /// The oldest that the ring still has; meaningless while there is none.
    pub oldest: Seq,
    /// How many there are.
    pub entries: u64,
    /// Length of their bodies.
    pub bytes: u64,
}

/// How long a stretch is at most, with what nobody asked for.
const LOOKED_AT: usize = 2_048;

fn seq_of(key: &[u8]) -> Option<Seq> {
    Some(Seq(u64::from_be_bytes(key.try_into().ok()?)))
}

impl Snapshot<'_> {
    /// The entries after a place that `wanted` picks by place and header, oldest first: at most `limit`, and
    /// about a mebibyte, of a stretch that is not too long for a snapshot. A damaged entry is passed over: it must
    /// not stop the follower.
    pub fn log_after(&self, after: Seq, limit: usize, wanted: impl Fn(Seq, &Header) -> bool) -> Result<LogPart, StoreError> {
        let mut part = LogPart { entries: Vec::new(), up_to: after, damaged: 0 };
        let (mut bytes, mut looked_at) = (0, 0);
        let begin = Bound::Excluded(after.0.to_be_bytes().to_vec());
        self.walk(WEBHOOK_LOGS, (begin, Bound::Unbounded), false, &mut |key, value| {
            part.up_to = seq_of(key).unwrap_or_else(|| part.up_to.next());
            match split(value).filter(|(header, ..)| !wanted(part.up_to, header)) {
                Some(_) => {}
                None if is_erased(value) => {}
                None => match self.filed(key, value) {
                    Ok(entry) => {
                        bytes += entry.body.as_bytes().len();
                        part.entries.push(entry);
                    }
                    Err(_) => part.damaged += 1,
                },
            }
            looked_at += 1;
            let goes_on = part.entries.len() < limit && bytes < 1 << 20 && looked_at < LOOKED_AT;
            Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(part)
    }

    /// The entries before a place that `wanted` picks by place and header, newest first: at most `limit`, and
    /// about a mebibyte, of `looks` that are looked at; and before which place there may be more. Damaged ones are
    /// passed over.
    pub fn log_before(
        &self,
        before: Option<Seq>,
        limit: usize,
        looks: usize,
        wanted: impl Fn(Seq, &Header) -> bool,
    ) -> Result<(Vec<Entry>, Option<Seq>), StoreError> {
        let end = before.map_or(Bound::Unbounded, |seq| Bound::Excluded(seq.0.to_be_bytes().to_vec()));
        let (mut found, mut bytes, mut looked) = (Vec::<Entry>::new(), 0, 0);
        let (mut last, mut more) = (None, None);
        self.walk(WEBHOOK_LOGS, (Bound::Unbounded, end), true, &mut |key, value| {
            if looked == looks {
                more = last;
                return Ok(ControlFlow::Break(()));
            }
            (looked, last) = (looked + 1, seq_of(key));
            let is_wanted = |(header, ..): (Header, _, _)| last.is_some_and(|seq| wanted(seq, &header));
            if !split(value).is_some_and(is_wanted) {
                return Ok(ControlFlow::Continue(()));
            }
            if found.len() >= limit || bytes >= 1 << 20 {
                more = found.last().map(|entry| entry.seq);
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
        self.raw(WEBHOOK_LOGS, &key)?.filter(|value| !is_erased(value)).map(|value| self.entry(&key, &value)).transpose()
    }

    /// How far the log reaches.
    pub fn log_extent(&self) -> Result<LogExtent, StoreError> {
        let head = self.log_head()?;
        Ok(LogExtent { newest: head.newest, oldest: head.oldest, entries: head.entries, bytes: head.bytes })
    }

    /// The last VERIFY that was noted: when, and whether it was signed.
    pub fn last_verify(&self) -> Result<Option<(Timestamp, bool)>, StoreError> {
        self.value(META, VERIFY)
    }

    /// The row that stands for a vehicle in headers, whether it is linked or not.
    pub fn vehicle_row(&self, id: &VehicleId) -> Result<Option<u32>, StoreError> {
        self.row(Kind::Vehicle, id.as_str())
    }

    /// The first and the last place that an entry, erased or not, must be at.
    pub(super) fn log_places(&self) -> Result<(u64, u64), StoreError> {
        let head = self.log_head()?;
        Ok((head.oldest.0, head.newest.0))
    }

    fn log_head(&self) -> Result<Head, StoreError> {
        Ok(self.value(META, HEAD)?.unwrap_or_default())
    }

    fn entry(&self, key: &[u8], value: &[u8]) -> Result<Entry, StoreError> {
        self.filed(key, value)?.unpack().ok_or(StoreError::Damaged { table: WEBHOOK_LOGS })
    }

    fn filed(&self, key: &[u8], value: &[u8]) -> Result<Filed, StoreError> {
        let damaged = StoreError::Damaged { table: WEBHOOK_LOGS };
        let (header, context, sealed) = split(value).ok_or(damaged.clone())?;
        let body = Packed::from_bytes(std::mem::take(&mut *self.open(WEBHOOK_LOGS, key, context, sealed)?));
        let seq = Seq(u64::from_be_bytes(key.try_into().map_err(|_| damaged)?));
        Ok(Filed { seq, header, body })
    }
}
