//! Following the webhook log: turning events into vehicle data.
//!
//! Data and place move in one commit, and what is applied a second time changes nothing, so that each event counts once,
//! also across a crash. What an entry says is a pure function of its bytes, so the log can be read again: for a vehicle that was linked
//! after its first events came in, by a Carport that understands more, and on request.

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

/// What is told of how many vehicles is held back for the next slice: deliveries that are on their way at once overtake
/// each other by about as many.
const HELD: usize = 64;

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
        let mut precedence = Precedence::new(self.store.clone(), self.ring.patience());
        loop {
            grew.mark_unchanged();
            if let Err(error) = self.read_on(Some(&mut precedence)).await {
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
        self.read_on(None).await
    }

    async fn read_on(&self, mut precedence: Option<&mut Precedence>) -> Result<(), StoreError> {
        let (cursor, grammar) = self.store.read(|snapshot| Ok((snapshot.projector_cursor()?, snapshot.grammar()?))).await?;
        let mut again = (grammar < self.grammar.version).then(Seq::default);
        if grammar > self.grammar.version || again.is_some() && cursor == Seq::default() {
            // What comes now is read by this one: a newer one that comes back must know. Or nothing was read by another.
            self.note_grammar().await?;
            again = None;
        }
        let mut bookmark = Bookmark { cursor, read: cursor, held: Vec::new() };
        loop {
            // What is new comes before what was read.
            self.go_on(&mut bookmark, &mut precedence).await?;
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
        let tellings = self.tellings(Said::by(self.grammar, &entry), None).await?;
        self.store.commit(ApplyReadings { tellings, cursor: None, after: None, revisited: None }).await?;
        Ok(true)
    }

    /// To what is the end of the log once deliveries have gone first.
    async fn go_on(&self, bookmark: &mut Bookmark, precedence: &mut Option<&mut Precedence>) -> Result<(), StoreError> {
        if let Some(precedence) = precedence {
            precedence.give_way().await;
        }
        let end = *self.store.grew().borrow();
        let mut is_more = bookmark.read < end;
        while is_more {
            is_more = self.follow(bookmark, end).await?;
            self.place.send_replace(bookmark.cursor);
            if is_more && let Some(precedence) = precedence {
                precedence.give_way().await;
            }
        }
        self.place.send_replace(bookmark.cursor);
        Ok(())
    }

    /// One slice, and what was held back of the one before. Up to `end`, the youngest of it are held back in turn, for the
    /// next may hold what was told before them. `false` at the end.
    async fn follow(&self, bookmark: &mut Bookmark, end: Seq) -> Result<bool, StoreError> {
        let (mut said, up_to) = self.slice(bookmark.read, None).await?;
        let is_more = up_to > bookmark.read && up_to < end;
        let held = if is_more { said.split_off(said.len().saturating_sub(HELD)) } else { Vec::new() };
        let mut ready = std::mem::replace(&mut bookmark.held, held);
        ready.append(&mut said);
        ready.sort_by_key(|said| said.told_at);
        let tellings = self.tellings(ready, None).await?;
        // What has been applied beyond it is so again if it must be read again.
        let held = bookmark.held.iter().map(|said| said.seq.0).min();
        let cursor = held.map_or(up_to, |held| Seq(held.saturating_sub(1)));
        let after = std::mem::replace(&mut bookmark.cursor, cursor);
        bookmark.read = up_to;
        let change = ApplyReadings { tellings, cursor: Some(cursor), after: Some(after), revisited: None };
        if (cursor > after || !change.tellings.is_empty()) && !self.store.commit(change).await? {
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
        self.store.commit(ApplyReadings { tellings, cursor: None, after: None, revisited: None }).await?;
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
            let revisited = (up_to == cursor).then_some(vehicle);
            self.store.commit(ApplyReadings { tellings, cursor: None, after: None, revisited }).await?;
            if revisited.is_some() {
                return Ok(());
            }
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

/// Where the reading of the log stands.
struct Bookmark {
    /// All up to here has become vehicle data.
    cursor: Seq,
    /// Up to here it was read.
    read: Seq,
    /// What was read and is held back, in the order in which it was told.
    held: Vec<Said>,
}
