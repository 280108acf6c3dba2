//! The webhook log, for people.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use crate::ingest::{Ingest, Refusal};
use crate::model::event::{Event, EventKind, NotUnderstood, Projection, project};
use crate::model::reach::{Page, Reach};
use crate::model::vehicle::Vehicle;
use crate::model::{Json, Seq, Timestamp, VehicleId, nearest, perhaps};
use crate::projector::Projector;
use crate::store::webhook_log::{Entry, Filed, Header};
use crate::store::{Snapshot, Store, StoreError};

pub use crate::store::webhook_log::DeliveryResult;

/// An entry of the log, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct DeliveryView {
    /// Its place.
    pub seq: Seq,
    /// When it came in.
    pub received_at: Timestamp,
    /// The event's type, as Smartcar says it.
    #[serde(rename = "type")]
    pub kind: String,
    /// `accepted`, `unknown_vehicle`, `not_connected`, `unknown_type`, `test` or `not_understood`.
    pub result: &'static str,
    /// Smartcar's id of the vehicle.
    pub vehicle: Option<VehicleId>,
    /// Smartcar's id of the event.
    pub event_id: Option<String>,
    /// Smartcar's id of the delivery.
    pub delivery_id: Option<String>,
    /// Length of the body in bytes.
    pub bytes: usize,
    /// The payload as received (text if it is not JSON): only in the view of one entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Json>,
}

/// What has come in since.
#[derive(Clone, Debug)]
pub struct News {
    /// Oldest first, without payloads.
    pub items: Vec<DeliveryView>,
    /// Something between is not in the log any more.
    pub is_missed: bool,
    /// How far this reaches.
    pub up_to: Seq,
}

/// How many entries at once: whoever reads slowly has no more of them in memory.
const PART: usize = 32;

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveriesError {
    /// There is no such entry, or it is out of the caller's reach.
    #[error("there is no such entry, or the log has dropped it: `carport webhooks list` shows those that are kept")]
    NotFound,
    /// There is no such vehicle, or it is out of the caller's reach.
    #[error("there is no car of this id, and nothing has come in about one: `carport vehicles list` shows them all")]
    UnknownVehicle,
    /// Nothing of such a type is kept, and Smartcar is not known to send it.
    #[error("nothing of this type is kept{}: {} are known", meant(.0), EventKind::NAMES.join(", "))]
    UnknownType(String),
    /// The store is in trouble.
    #[error("the store cannot take it now")]
    Store,
}

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct DeliveryQuery {
    /// Only about this vehicle.
    pub vehicle: Option<VehicleId>,
    /// Only of this type.
    pub kind: Option<String>,
    /// Only with this result.
    pub result: Option<String>,
    /// Only with this id of the event or of the delivery.
    pub id: Option<String>,
    /// What came in from this time on.
    pub since: Option<Timestamp>,
    /// What came in before this time.
    pub until: Option<Timestamp>,
    /// Only before this place.
    pub before: Option<Seq>,
    /// At most so many.
    pub limit: usize,
    /// How many are looked at at most, unless an id is asked for; `None`: all. Fewer than `limit` are no end then.
    pub looks: Option<usize>,
}

fn meant(kind: &str) -> String {
    perhaps(kind, EventKind::NAMES)
}

impl From<StoreError> for DeliveriesError {
    fn from(_: StoreError) -> DeliveriesError {
        DeliveriesError::Store
    }
}

/// The webhook log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Deliveries {
    store: Store,
    ingest: Ingest,
    projector: Projector,
    /// One page is made at a time: however many read, most of the processor is left to what comes in.
    page: Arc<Semaphore>,
}

impl Deliveries {
    /// The log in `store`.
    pub fn new(store: Store, ingest: Ingest, projector: Projector) -> Deliveries {
        Deliveries { store, ingest, projector, page: Arc::new(Semaphore::new(1)) }
    }

    /// Entries within reach, newest first; `next` is the `before` of the next part.
    pub async fn list(&self, reach: &Reach, query: DeliveryQuery) -> Result<Page<DeliveryView>, DeliveriesError> {
        let reach = reach.clone();
        // Only closing it could fail.
        let _turn = self.page.acquire().await;
        let page = self.store.read(move |snapshot| {
            let (rows, results) = (rows_within(snapshot, &reach)?, Results::new(snapshot));
            let vehicle = query.vehicle.as_ref().map(|id| snapshot.vehicle_row(id)).transpose()?;
            let wanted = |seq: Seq, header: &Header| {
                rows.have(seq, header)
                    && vehicle.is_none_or(|row| row.is_some() && header.vehicle == row)
                    && query.since.is_none_or(|since| header.received_at >= since)
                    && query.until.is_none_or(|until| header.received_at < until)
                    && query.kind.as_ref().is_none_or(|kind| header.kind == *kind)
                    && query.result.as_ref().is_none_or(|result| results.of(seq, header).as_str() == result)
            };
            let (entries, more) = match &query.id {
                Some(id) => search(snapshot, id, query.before, query.limit, wanted)?,
                None => snapshot.log_before(query.before, query.limit, query.looks.unwrap_or(usize::MAX), wanted)?,
            };
            let next = more.map(|seq| seq.to_string());
            Ok(Page { items: entries.iter().map(|entry| results.view(entry, false)).collect(), next })
        });
        Ok(page.await?)
    }

    /// Whether there can be such entries at all: what is mistyped must not look like what has not come in.
    pub async fn check(&self, reach: &Reach, query: &DeliveryQuery) -> Result<(), DeliveriesError> {
        let (reach, vehicle) = (reach.clone(), query.vehicle.clone());
        let kind = query.kind.clone().filter(|kind| !EventKind::NAMES.contains(&&**kind));
        if vehicle.is_none() && kind.is_none() {
            return Ok(());
        }
        let _turn = self.page.acquire().await;
        let checked = self.store.read(move |snapshot| {
            let rows = rows_within(snapshot, &reach)?;
            if let Some(id) = vehicle {
                let row = snapshot.vehicle_row(&id)?;
                if !row.is_some_and(|row| rows.0.as_ref().is_none_or(|rows| rows.contains_key(&row))) {
                    return Ok(Err(DeliveriesError::UnknownVehicle));
                }
            }
            let Some(kind) = kind else { return Ok(Ok(())) };
            let (found, _) =
                snapshot.log_before(None, 1, usize::MAX, |seq, header| rows.have(seq, header) && header.kind == kind)?;
            // One that Smartcar may have by now is not in the log yet, or not any more.
            let may_be =
                nearest(&kind, EventKind::NAMES).is_none() && kind.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'_'));
            Ok(if found.is_empty() && !may_be { Err(DeliveriesError::UnknownType(kind)) } else { Ok(()) })
        });
        checked.await?
    }

    /// Where somebody stands who has seen all there is.
    pub async fn newest(&self) -> Result<Seq, DeliveriesError> {
        Ok(self.store.read(|snapshot| snapshot.projector_cursor()).await?)
    }

    /// The next part of the log, of what has become vehicle data. Made so that nothing is waited for.
    pub async fn after(&self, reach: &Reach, after: Seq) -> Result<News, DeliveriesError> {
        let reach = reach.clone();
        let news = self.store.read(move |snapshot| {
            let (extent, followed) = (snapshot.log_extent()?, snapshot.projector_cursor()?);
            // What the ring has dropped by now, or what never was in this store, such as one that was put back.
            let is_missed = extent.entries > 0 && after.next() < extent.oldest || after > extent.newest;
            let after = if after > extent.newest { followed } else { after };
            let (rows, results) = (rows_within(snapshot, &reach)?, Results::new(snapshot));
            let part = snapshot.log_after(after, PART, |seq, header| rows.have(seq, header))?;
            let entries = part.entries.into_iter().filter(|filed| filed.seq <= followed).filter_map(Filed::unpack);
            let items = entries.map(|entry| results.view(&entry, false)).collect();
            Ok(News { items, is_missed, up_to: part.up_to.min(followed).max(after) })
        });
        Ok(news.await?)
    }

    /// Up to where the log has become vehicle data; 0 before that is known.
    pub fn seen(&self) -> Seq {
        self.projector.seen()
    }

    /// Grows when there is more.
    pub fn place(&self) -> watch::Receiver<Seq> {
        self.projector.place()
    }

    /// One entry, with its payload.
    pub async fn show(&self, reach: &Reach, seq: Seq) -> Result<DeliveryView, DeliveriesError> {
        let reach = reach.clone();
        let shown = self.store.read(move |snapshot| {
            let entry = entry(snapshot, &reach, seq)?;
            let with_payload = |entry: &Entry| reach == Reach::All || !tells_of_several(entry);
            Ok(entry.map(|entry| Results::new(snapshot).view(&entry, with_payload(&entry))))
        });
        shown.await?.ok_or(DeliveriesError::NotFound)
    }

    /// What an entry tells, as vehicle data is made of it; `None` if that is more than the caller may see.
    pub async fn made_of(&self, reach: &Reach, seq: Seq) -> Result<Option<Result<Projection, NotUnderstood>>, DeliveriesError> {
        let of = reach.clone();
        let entry = self.store.read(move |snapshot| entry(snapshot, &of, seq)).await?.ok_or(DeliveriesError::NotFound)?;
        Ok((*reach == Reach::All || !tells_of_several(&entry)).then(|| project(&entry.body.0)))
    }

    /// Turns an entry into vehicle data again.
    pub async fn replay(&self, seq: Seq) -> Result<DeliveryView, DeliveriesError> {
        if self.projector.replay(seq).await? { self.show(&Reach::All, seq).await } else { Err(DeliveriesError::NotFound) }
    }

    /// The last 100 refused deliveries, newest first.
    pub fn refused(&self) -> Vec<Refusal> {
        self.ingest.refused()
    }
}

/// The rows of the vehicles within reach, with those that are linked; `None` for all. A car that changed hands has another
/// row since.
struct Rows(Option<BTreeMap<u32, Option<Vehicle>>>);

impl Rows {
    /// Whether an entry is within reach: not what came in about a car while its owner had taken it away.
    fn have(&self, seq: Seq, header: &Header) -> bool {
        let Some(rows) = &self.0 else { return true };
        let vehicle = header.vehicle.and_then(|row| rows.get(&row));
        vehicle.is_some_and(|vehicle| vehicle.as_ref().is_none_or(|vehicle| vehicle.takes(seq)))
    }
}

fn rows_within(snapshot: &Snapshot<'_>, reach: &Reach) -> Result<Rows, StoreError> {
    let rows = match reach {
        Reach::All => return Ok(Rows(None)),
        Reach::Vehicle(id) => match snapshot.vehicle_row(id)? {
            Some(row) => BTreeMap::from([(row, snapshot.vehicle_at(row)?)]),
            None => BTreeMap::new(),
        },
        Reach::User(user) => snapshot.vehicles_of_user(user)?.into_iter().map(|(row, vehicle)| (row, Some(vehicle))).collect(),
    };
    Ok(Rows(Some(rows)))
}

/// One entry, if it is within reach.
fn entry(snapshot: &Snapshot<'_>, reach: &Reach, seq: Seq) -> Result<Option<Entry>, StoreError> {
    let rows = rows_within(snapshot, reach)?;
    Ok(snapshot.log_entry(seq)?.filter(|entry| rows.have(seq, &entry.header)))
}

/// What became of entries: what the log says, but of what came in about a car that was not connected, nothing was made. Each
/// car is read once.
struct Results<'s> {
    snapshot: &'s Snapshot<'s>,
    vehicles: RefCell<BTreeMap<u32, Option<Vehicle>>>,
}

impl<'s> Results<'s> {
    fn new(snapshot: &'s Snapshot<'s>) -> Results<'s> {
        Results { snapshot, vehicles: RefCell::default() }
    }

    fn of(&self, seq: Seq, header: &Header) -> DeliveryResult {
        // Such an event may tell of several cars, of which the header names the first.
        let is_of_one = header.kind != EventKind::Scheduled.as_str();
        match (header.result, header.vehicle) {
            (DeliveryResult::Accepted, Some(row)) if is_of_one && !self.takes(row, seq) => DeliveryResult::NotConnected,
            (result, _) => result,
        }
    }

    fn takes(&self, row: u32, seq: Seq) -> bool {
        let mut vehicles = self.vehicles.borrow_mut();
        let vehicle = vehicles.entry(row).or_insert_with(|| {
            let read = self.snapshot.sound_vehicle_at(row);
            read.inspect_err(|error| tracing::warn!(%error, "what became of a delivery cannot be told for certain"))
                .ok()
                .flatten()
        });
        // An earlier Carport did not keep when a car was disconnected.
        let is_known = |vehicle: &Vehicle| vehicle.connection.is_some() || vehicle.ended_after.is_some();
        vehicle.as_ref().is_none_or(|vehicle| vehicle.takes(seq) || !is_known(vehicle))
    }

    fn view(&self, entry: &Entry, with_payload: bool) -> DeliveryView {
        let event = Event::parse(&entry.body.0).ok();
        let of = |pick: fn(&Event) -> Option<String>| event.as_ref().and_then(pick);
        DeliveryView {
            seq: entry.seq,
            received_at: entry.header.received_at,
            kind: entry.header.kind.clone(),
            result: self.of(entry.seq, &entry.header).as_str(),
            vehicle: event.as_ref().and_then(|event| event.vehicle.clone()),
            event_id: of(|event| event.id.as_ref().map(|id| id.as_str().to_owned())),
            delivery_id: of(|event| event.delivery_id.clone()),
            bytes: entry.body.0.len(),
            payload: with_payload.then(|| Json::received(&entry.body.0)),
        }
    }
}

/// The entries with this id of event or delivery, newest first. The ids are sealed, so that all are opened.
fn search(
    snapshot: &Snapshot<'_>,
    id: &str,
    mut before: Option<Seq>,
    limit: usize,
    wanted: impl Fn(Seq, &Header) -> bool,
) -> Result<(Vec<Entry>, Option<Seq>), StoreError> {
    let mut found = Vec::<Entry>::new();
    loop {
        let (entries, more) = snapshot.log_before(before, SEARCHED_AT_ONCE, usize::MAX, &wanted)?;
        before = more;
        for entry in entries {
            if found.len() == limit {
                let last = found.last().map(|entry| entry.seq);
                return Ok((found, last));
            }
            // Parsing is dear, and nearly all of it would be for nothing.
            if std::str::from_utf8(&entry.body.0).is_ok_and(|body| body.contains(id)) && bears(&entry, id) {
                found.push(entry);
            }
        }
        if more.is_none() {
            return Ok((found, None));
        }
    }
}

fn bears(entry: &Entry, id: &str) -> bool {
    let Ok(event) = Event::parse(&entry.body.0) else { return false };
    event.id.is_some_and(|own| own.as_str() == id) || event.delivery_id.is_some_and(|own| own == id)
}

const SEARCHED_AT_ONCE: usize = 200;

/// Whether an entry tells of several vehicles (only v2.0 does): then its payload is nobody's alone.
fn tells_of_several(entry: &Entry) -> bool {
    project(&entry.body.0).is_ok_and(|projection| projection.vehicles.len() > 1)
}
