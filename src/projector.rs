//! Following the webhook log: turning events into vehicle data.
//!
//! Data and place move in one commit, so that each event counts once, also across a crash. What an entry says is a pure
//! function of its bytes, so the log can be read again: for a vehicle that was linked after its first events came in, by a
//! Carport that understands more, and on request.

mod precedence;
mod told;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::precedence::Precedence;
use self::told::{Linked, Said};
use crate::model::Seq;
use crate::model::event::{EventKind, Grammar};
use crate::store::bookmark::Bookmark;
use crate::store::tellings::{ApplyReadings, NoteGrammar, Telling};
use crate::store::webhook_log::{Filed, Header, LogPart, Ring};
use crate::store::{Snapshot, Store, StoreError};

/// The follower of the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Projector {
    store: Store,
    ring: Ring,
    grammar: Grammar,
    wake: Arc<Notify>,
    place: watch::Sender<Seq>,
}

/// How many entries are read together.
const PART: usize = 64;

/// How many entries are turned into data in one commit, if there are so many: a car costs the same however much is
/// told of it.
const SLICE: usize = 192;

/// What is told of how many vehicles is held back: deliveries that are on their way at once overtake each other by about
/// as many.
const HELD: usize = 192;

/// What came in so many entries ago is held back no longer: the ring keeps all that came after it.
const REACH: u64 = 512;

/// How many bytes of bodies, about, at most.
const SLICE_BYTES: usize = 1 << 20;

/// How long what comes in gathers after a commit. What comes alone is turned into data at once.
const GATHER: Duration = Duration::from_millis(50);

/// After how many entries others have their turn.
const TURN: usize = 16;

impl Projector {
    /// A follower of the log in `store`, a ring of this size, which it reads by `grammar`.
    pub fn new(store: Store, ring: Ring, grammar: Grammar) -> Projector {
        Projector { store, ring, grammar, wake: Arc::new(Notify::new()), place: watch::Sender::default() }
    }

    /// Follows the log until `shutdown`, and lets deliveries go first.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut grew = self.store.grew();
        let mut precedence = Precedence::new(self.store.clone(), self.ring);
        loop {
            grew.mark_unchanged();
            let read = tokio::select! {
                () = shutdown.cancelled() => return,
                read = self.read_on(Some(&mut precedence)) => read,
            };
            if let Err(error) = read {
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
                () = self.store.backlog_is(|backlog| backlog.unread >= SLICE as u64) => {}
            }
        }
    }

    /// Reads the log to what is its end now, and again by a grammar that is new and for vehicles that are.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        self.read_on(None).await
    }

    async fn read_on(&self, mut precedence: Option<&mut Precedence>) -> Result<(), StoreError> {
        let (place, grammar) = self.store.read(|snapshot| Ok((snapshot.bookmark()?, snapshot.grammar()?))).await?;
        let mut again = (grammar < self.grammar.version).then(Seq::default);
        if grammar > self.grammar.version || again.is_some() && place == Bookmark::default() {
            // What comes now is read by this one: a newer one that comes back must know. Or nothing was read by another.
            self.note_grammar().await?;
            again = None;
        }
        let mut course = self.take_up(place).await?;
        loop {
            // What is new comes before what was read.
            self.go_on(&mut course, precedence.as_deref_mut()).await?;
            let Some(place) = again else { break };
            again = self.read_again(place).await?;
        }
        while let Some(vehicle) = self.store.read(|snapshot| Ok(snapshot.vehicles_to_revisit(1)?.pop())).await? {
            self.revisit(vehicle).await?;
        }
        Ok(())
    }

    /// How far the log has become vehicle data; 0 before it has looked.
    pub fn seen(&self) -> Seq {
        *self.place.borrow()
    }

    /// The same, as it goes on.
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
        let tellings = self.tellings(Said::by(self.grammar, &entry), None).await?;
        self.store.commit(ApplyReadings::of(tellings)).await?;
        Ok(true)
    }

    /// Goes on where an earlier reading stood, with what it held back.
    async fn take_up(&self, place: Bookmark) -> Result<Course, StoreError> {
        let (mut held, mut up_to) = (Vec::new(), place.cursor());
        while place.held.last().is_some_and(|last| up_to < *last) {
            let wanted = place.held.clone();
            let is_held = move |seq, _: &Header| wanted.binary_search(&seq).is_ok();
            let part = self.store.read(move |snapshot| snapshot.log_after(up_to, PART, is_held)).await?;
            if part.up_to == up_to {
                break;
            }
            up_to = part.up_to;
            held.extend(part.entries.into_iter().filter_map(Filed::unpack).flat_map(|entry| Said::by(self.grammar, &entry)));
        }
        Ok(Course { place, held })
    }

    /// To what is the end of the log once deliveries have gone first.
    async fn go_on(&self, course: &mut Course, mut precedence: Option<&mut Precedence>) -> Result<(), StoreError> {
        if let Some(precedence) = &mut precedence {
            precedence.give_way().await;
        }
        let end = *self.store.grew().borrow();
        loop {
            let is_more = course.place.cursor() < end && self.follow(course, end).await?;
            self.place.send_replace(course.place.cursor());
            if !is_more {
                return Ok(());
            }
            if let Some(precedence) = &mut precedence {
                precedence.give_way().await;
            }
        }
    }

    /// One slice, and what was held back before. Up to `end`, the youngest of both are held back, for the next slice may
    /// hold what was told before them. `false` at the end.
    async fn follow(&self, course: &mut Course, end: Seq) -> Result<bool, StoreError> {
        let (said, up_to) = self.slice(course.place.read, None).await?;
        let is_more = up_to > course.place.read && up_to < end;
        let mut ready = std::mem::take(&mut course.held);
        ready.extend(said);
        ready.sort_by_key(|said| said.told_at);
        if is_more {
            course.held = youngest(&mut ready, up_to);
        }
        let mut held: Vec<Seq> = course.held.iter().map(|said| said.seq).collect();
        held.sort_unstable();
        held.dedup();
        let tellings = self.tellings(ready, None).await?;
        let to = Bookmark { read: up_to, held };
        let from = std::mem::replace(&mut course.place, to.clone());
        if from != to && !self.store.commit(ApplyReadings::of(tellings).moving(from, to)).await? {
            return Err(StoreError::Unavailable(
                "it was opened anew, and what was read of its log must be read again".to_owned(),
            ));
        }
        Ok(is_more)
    }

    /// One slice of the log again; `None` at its end.
    async fn read_again(&self, from: Seq) -> Result<Option<Seq>, StoreError> {
        let (said, up_to) = self.slice(from, None).await?;
        let mut tellings = self.tellings(said, None).await?;
        // What is told of a vehicle itself has no time: it may be known better since.
        for telling in &mut tellings {
            (telling.facts, telling.errors, telling.resolved) = (None, Vec::new(), Vec::new());
        }
        if up_to == from {
            tracing::info!("the log has been read again: this Carport reads events otherwise than the one before");
            self.note_grammar().await?;
            return Ok(None);
        }
        self.store.commit(ApplyReadings::of(tellings)).await?;
        Ok(Some(up_to))
    }

    /// All has been read by the grammar.
    async fn note_grammar(&self) -> Result<(), StoreError> {
        self.store.commit(NoteGrammar { version: self.grammar.version }).await
    }

    async fn revisit(&self, vehicle: u32) -> Result<(), StoreError> {
        let mut cursor = Seq::default();
        loop {
            let (said, up_to) = self.slice(cursor, Some(vehicle)).await?;
            let tellings = self.tellings(said, Some(vehicle)).await?;
            let change = ApplyReadings::of(tellings);
            if up_to == cursor {
                self.store.commit(change.revisiting(vehicle)).await?;
                return Ok(());
            }
            self.store.commit(change).await?;
            cursor = up_to;
        }
    }

    /// What the entries after `after` tell (of one vehicle, or of all), in the order in which it was told, and how far was
    /// read.
    async fn slice(&self, after: Seq, vehicle: Option<u32>) -> Result<(Vec<Said>, Seq), StoreError> {
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
                all.extend(Said::by(self.grammar, &entry));
                entries += 1;
                // Often enough for the deliveries that wait, and no more: under a burst each turn is a long one.
                if entries % TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        // Deliveries overtake each other, and what is late costs the most.
        all.sort_by_key(|said| said.told_at);
        Ok((all, up_to))
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
            let (mut tellings, mut linked) = (Vec::with_capacity(told.len()), Linked::new(snapshot));
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
}

/// A reading of the log.
struct Course {
    place: Bookmark,
    /// What it holds back, in the order in which it was told.
    held: Vec<Said>,
}

/// Takes the last [`HELD`] of what was told, and with them all of an entry that tells of several vehicles, but for what
/// came in long before `up_to`.
fn youngest(said: &mut Vec<Said>, up_to: Seq) -> Vec<Said> {
    let mut bytes = 0;
    let is_small = |said: &&Said| {
        bytes += said.bytes;
        bytes <= SLICE_BYTES
    };
    let mut first = said.len() - said.iter().rev().take(HELD).take_while(is_small).count();
    while first > 0 && first < said.len() && said[first - 1].seq == said[first].seq {
        first -= 1;
    }
    let (held, old) = said.split_off(first).into_iter().partition(|said| said.seq.0 + REACH > up_to.0);
    said.extend::<Vec<Said>>(old);
    held
}
