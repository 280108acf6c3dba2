//! Following the webhook log: turning events into vehicle data.
//!
//! Data and place move in one commit, so that each event counts exactly once, also across a crash. What an
//! entry says is a pure function of its bytes, so the log can be read again: for a vehicle that was linked
//! after its first events came in, by a Carport that understands more, and on request.

use std::collections::btree_map::{self, BTreeMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::event::{EventKind, Grammar, Projection, VehicleProjection};
use crate::model::reading::Source;
use crate::model::vehicle::{Resolved, Vehicle, VehicleError};
use crate::model::{Seq, Timestamp};
use crate::store::tellings::{ApplyReadings, NoteGrammar, Telling};
use crate::store::webhook_log::{DeliveryResult, Entry, Filed, Header, LogPart};
use crate::store::{Snapshot, Store, StoreError};

/// The follower of the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Projector {
    store: Store,
    grammar: Grammar,
    wake: Arc<Notify>,
    place: watch::Sender<Seq>,
}

/// How many entries are read together.
const PART: usize = 64;

/// How many entries are turned into data in one commit, if there are so many: a car costs the same however much is
/// told of it.
const SLICE: usize = 192;

/// How many bytes of bodies, about, at most.
const SLICE_BYTES: usize = 1 << 20;

/// How long what comes in gathers after a commit. What comes alone is turned into data at once.
const GATHER: Duration = Duration::from_millis(50);

/// After how many entries others have their turn.
const TURN: usize = 16;

impl Projector {
    /// A follower of the log in `store`, which it reads by `grammar`.
    pub fn new(store: Store, grammar: Grammar) -> Projector {
        Projector { store, grammar, wake: Arc::new(Notify::new()), place: watch::Sender::default() }
    }

    /// Follows the log until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut grew = self.store.grew();
        loop {
            grew.mark_unchanged();
            if let Err(error) = self.catch_up().await {
                tracing::warn!(%error, "the projector waits for the store");
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_secs(1)) => continue,
                }
            }
            let caught_up_at = Instant::now();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wake.notified() => {}
                changed = grew.changed() => if changed.is_err() { return },
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep_until(caught_up_at + GATHER) => {}
                () = self.store.unread_reaches(SLICE as u64) => {}
            }
        }
    }

    /// Reads the log to what is its end now, and again by a grammar that is new and for vehicles that are.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let end = *self.store.grew().borrow();
        let (mut cursor, grammar) = self.store.read(|snapshot| Ok((snapshot.projector_cursor()?, snapshot.grammar()?))).await?;
        let mut again = (grammar < self.grammar.version).then(Seq::default);
        if grammar > self.grammar.version || again.is_some() && cursor == Seq::default() {
            // What comes now is read by this one: a newer one that comes back must know. Or nothing was read by another.
            self.note_grammar().await?;
            again = None;
        }
        loop {
            // What comes in has precedence.
            while cursor < end
                && let Some(further) = self.follow(cursor).await?
            {
                cursor = further;
                self.place.send_replace(cursor);
            }
            self.place.send_replace(cursor);
            let Some(place) = again else { break };
            again = self.read_again(place).await?;
        }
        while let Some(vehicle) = self.store.read(|snapshot| Ok(snapshot.vehicles_to_revisit(1)?.pop())).await? {
            self.revisit(vehicle).await?;
        }
        Ok(())
    }

    /// How far the log has become vehicle data, as that goes on; 0 before it has looked.
    pub fn place(&self) -> watch::Receiver<Seq> {
        self.place.subscribe()
    }

    /// Vehicles were linked: looks through the log for what came in about them before.
    pub fn vehicles_were_linked(&self) {
        self.wake.notify_one();
    }

    /// Turns one entry into data again; `false` if it is not in the log.
    pub async fn replay(&self, seq: Seq) -> Result<bool, StoreError> {
        let Some(entry) = self.store.read(move |snapshot| snapshot.log_entry(seq)).await? else { return Ok(false) };
        let tellings = self.tellings(self.told(&entry), None).await?;
        self.store.commit(ApplyReadings { tellings, cursor: None, revisited: None }).await?;
        Ok(true)
    }

    /// One slice; `None` at the end of the log.
    async fn follow(&self, cursor: Seq) -> Result<Option<Seq>, StoreError> {
        let (tellings, up_to) = self.slice(cursor, None).await?;
        if up_to == cursor {
            return Ok(None);
        }
        self.store.commit(ApplyReadings { tellings, cursor: Some(up_to), revisited: None }).await?;
        Ok(Some(up_to))
    }

    /// One slice of the log again; `None` at its end.
    async fn read_again(&self, from: Seq) -> Result<Option<Seq>, StoreError> {
        let (mut tellings, up_to) = self.slice(from, None).await?;
        // What is told of a vehicle itself has no time: it may be known better since.
        for telling in &mut tellings {
            (telling.facts, telling.errors, telling.resolved) = (None, Vec::new(), Vec::new());
        }
        if up_to == from {
            tracing::info!("the log has been read again: this Carport reads events otherwise than the one before");
            self.note_grammar().await?;
            return Ok(None);
        }
        self.store.commit(ApplyReadings { tellings, cursor: None, revisited: None }).await?;
        Ok(Some(up_to))
    }

    /// All has been read by the grammar.
    async fn note_grammar(&self) -> Result<(), StoreError> {
        self.store.commit(NoteGrammar { version: self.grammar.version }).await
    }

    async fn revisit(&self, vehicle: u32) -> Result<(), StoreError> {
        let mut cursor = Seq::default();
        loop {
            let (tellings, up_to) = self.slice(cursor, Some(vehicle)).await?;
            let revisited = (up_to == cursor).then_some(vehicle);
            self.store.commit(ApplyReadings { tellings, cursor: None, revisited }).await?;
            if revisited.is_some() {
                return Ok(());
            }
            cursor = up_to;
        }
    }

    /// What the entries after `after` tell (of one vehicle, or of all), and how far was read.
    async fn slice(&self, after: Seq, vehicle: Option<u32>) -> Result<(Vec<Telling>, Seq), StoreError> {
        let (mut all, mut up_to) = (Vec::new(), after);
        let (mut entries, mut bytes) = (0, 0);
        while entries < SLICE && bytes < SLICE_BYTES {
            let part = self.part(up_to, vehicle).await?;
            if part.up_to == up_to {
                break;
            }
            up_to = part.up_to;
            // Not while a snapshot lasts: what is committed meanwhile could use no page again.
            for entry in part.entries.into_iter().filter_map(Filed::unpack) {
                bytes += entry.body.0.len();
                all.extend(self.told(&entry));
                entries += 1;
                // Often enough for the deliveries that wait, and no more: under a burst each turn is a long one.
                if entries % TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        // In the order in which it was told, be it that deliveries overtook each other: what is late costs the most.
        all.sort_by_key(|said| said.told_at);
        Ok((self.tellings(all, vehicle).await?, up_to))
    }

    async fn part(&self, after: Seq, vehicle: Option<u32>) -> Result<LogPart, StoreError> {
        // A legacy event may tell of several vehicles; its header names the first.
        let is_about = move |header: &Header| header.vehicle == vehicle || header.kind == EventKind::Scheduled.as_str();
        let read = move |snapshot: &Snapshot<'_>| {
            // A vehicle that is linked later has the log read again: until then nothing is lost by not looking.
            let is_linked = |row| snapshot.is_linked(row).unwrap_or(true);
            let wanted = |_, header: &Header| match vehicle {
                Some(_) => is_about(header),
                None => header.kind == EventKind::Scheduled.as_str() || header.vehicle.is_none_or(is_linked),
            };
            snapshot.log_after(after, PART, wanted)
        };
        let part = self.store.read(read).await?;
        if part.damaged > 0 {
            tracing::error!(entries = part.damaged, "entries of the webhook log are damaged and were passed over");
        }
        Ok(part)
    }

    /// What was told of vehicles that are linked. Of others the log keeps it, until they are.
    async fn tellings(&self, told: Vec<Said>, vehicle: Option<u32>) -> Result<Vec<Telling>, StoreError> {
        if told.is_empty() {
            return Ok(Vec::new());
        }
        let of_linked = move |snapshot: &Snapshot<'_>| {
            let (mut tellings, mut linked) = (Vec::with_capacity(told.len()), Linked { snapshot, known: BTreeMap::new() });
            for told in told {
                let Some(row) = linked.row_of(&told)?.filter(|row| vehicle.is_none_or(|vehicle| vehicle == *row)) else {
                    continue;
                };
                if linked.at(row)?.is_some_and(|linked| told.is_about(row, linked)) {
                    tellings.push(told.telling(row));
                }
            }
            Ok(tellings)
        };
        self.store.read(of_linked).await
    }

    /// A pure function of the entry.
    fn told(&self, entry: &Entry) -> Vec<Said> {
        if entry.header.result == DeliveryResult::Test {
            return Vec::new();
        }
        let Projection { vehicles, delivered_at, sequence, .. } = (self.grammar.project)(&entry.body.0).unwrap_or_default();
        let at = entry.header.received_at;
        // A retry has a new `deliveredAt` but keeps its `sequence`, which is a time where it is sent at all.
        let sequence = sequence.filter(|sequence| *sequence > 1_000_000_000_000).map(Timestamp::from_millis);
        let told_at = sequence.or(delivered_at).unwrap_or(at).min(at);
        let filed_under = entry.header.vehicle;
        let seq = entry.seq;
        vehicles.into_iter().map(|vehicle| Said { vehicle, seq, filed_under, at, told_at }).collect()
    }
}

/// The vehicles of rows, each read once.
struct Linked<'s> {
    snapshot: &'s Snapshot<'s>,
    known: BTreeMap<u32, Option<Vehicle>>,
}

impl Linked<'_> {
    fn at(&mut self, row: u32) -> Result<Option<&Vehicle>, StoreError> {
        Ok(match self.known.entry(row) {
            btree_map::Entry::Occupied(known) => known.into_mut().as_ref(),
            btree_map::Entry::Vacant(place) => place.insert(self.snapshot.sound_vehicle_at(row)?).as_ref(),
        })
    }

    /// SECURITY: what came in while somebody had the car is theirs, whoever has it when it is read.
    fn row_of(&mut self, told: &Said) -> Result<Option<u32>, StoreError> {
        if let Some(row) = told.filed_under
            && self.at(row)?.is_some_and(|vehicle| vehicle.facts.id == told.vehicle.id)
        {
            return Ok(Some(row));
        }
        self.snapshot.vehicle_row(&told.vehicle.id)
    }
}

/// What one entry tells of one vehicle.
struct Said {
    vehicle: VehicleProjection,
    /// The place of the entry.
    seq: Seq,
    /// The row that the vehicle had when the entry was made; the first one's, if it tells of several.
    filed_under: Option<u32>,
    at: Timestamp,
    told_at: Timestamp,
}

impl Said {
    /// SECURITY: a car that has changed hands has another row since. What was told before belongs to whoever had it then,
    /// be it that it was told together with another car.
    fn is_about(&self, row: u32, vehicle: &Vehicle) -> bool {
        if !vehicle.takes(self.seq) {
            // The owner has taken the car away; Smartcar may not have heard of it yet.
            return false;
        }
        self.filed_under == Some(row) || !vehicle.had_by_others || self.at > vehicle.linked_at
    }

    fn telling(self, vehicle: u32) -> Telling {
        let Said { vehicle: VehicleProjection { reports, facts, errors, .. }, at, told_at, .. } = self;
        let (resolved, errors): (Vec<_>, Vec<_>) = errors.into_iter().partition(|change| change.resolved);
        Telling {
            vehicle,
            reports,
            source: Source::Webhook,
            at,
            told_at,
            facts: Some(facts),
            errors: errors.into_iter().map(|change| VehicleError { since: told_at, ..change.error }).collect(),
            resolved: resolved.into_iter().map(|change| ended(change.error, told_at)).collect(),
        }
    }
}

fn ended(error: VehicleError, at: Timestamp) -> Resolved {
    Resolved { kind: error.kind, code: error.code, at }
}
