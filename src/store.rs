//! What is kept, and the only ways to change it.
//!
//! A [`Change`] is plain data whose `apply` is a function of itself, the tables, and what the writer keeps of them
//! in memory: the log's head, and the ids of all events by which a redelivery is known. One writer thread takes
//! what has queued, appends it to the journal with one flush, applies it to the tables (one redb file) meanwhile,
//! and answers when both are done; now and then a checkpoint makes the tables durable, the ids with them, and the
//! journal begins anew with a copy of the small tables. Opening replays the journal over the last checkpoint.
//!
//! Reads see a snapshot, copy out what they need, and never live across an await. They see nothing that a power
//! cut could take back, but derived changes, which are made again. What goes wrong for a reason is an `Outcome`; an
//! `Err` means that the disk or a file is in trouble: then files are closed, opened and replayed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::model::Seq;
use crate::vault::{KeyId, Vault};
use crate::world::World;

pub mod access;
pub mod attempts;
pub mod audit;
mod blocks;
pub mod bookmark;
pub mod budget;
pub mod certificates;
mod changes;
mod checkpoint;
pub mod commands;
pub mod connections;
mod database;
mod event_ids;
mod files;
mod flusher;
pub mod former;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod gaps;
pub mod gists;
mod heads;
mod inspection;
mod integrity;
mod journal;
mod key;
mod log_head;
mod look;
pub mod made;
mod memo;
mod migrations;
pub mod moments;
mod news;
pub mod notices;
mod opened;
mod packing;
mod places;
mod recovery;
mod rescue;
mod reseal;
pub mod retention;
mod ring;
mod roll;
mod rollups;
mod room;
pub mod rotation;
mod scattered;
pub mod subscriptions;
pub mod switching;
mod tables;
pub mod tellings;
pub mod tokens;
pub mod users;
pub mod vehicle_data;
pub mod vehicles;
pub mod webhook_log;
mod writer;

pub use changes::Named;
pub use database::log_caught_panics;
pub use files::{Files, Part, directory};
pub use inspection::Inspected;
pub use packing::Packed;
pub use reseal::{KeyIds, Resealed};
pub use tables::{Snapshot, Tables};

use database::Database;
use integrity::Walk;
pub use memo::Known;
use news::News;
use recovery::Site;
use reseal::{Place, Turn};
use ring::Backlog;
use room::Room;
use tables::Rows;
use writer::Writer;

/// Something that can happen to stored state.
pub trait Change: Named + Serialize + DeserializeOwned + Send + 'static {
    /// Everything that may legitimately come of it.
    type Outcome: Send + 'static;

    /// Applies it. Called again on fresh tables when another change of its batch failed. Must decide by
    /// the change and the tables alone: no clock, no chance.
    fn apply(&self, tables: &mut Tables<'_>) -> Result<Self::Outcome, StoreError>;

    /// What comes of it, if it has come already and nothing is left to do: then nothing is written.
    fn settled(&self, _known: &Known<'_>) -> Option<Self::Outcome> {
        None
    }

    /// Whether it follows from what the store holds and would be made again if it were lost. Such a change
    /// needs no flush of its own: it becomes durable with the next one.
    fn is_derived(&self) -> bool {
        false
    }

    /// Whether most of it is packed.
    fn is_packed(&self) -> bool {
        false
    }
}

/// Why the store cannot do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk refuses, or the store is being reopened: try again in a moment.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// More changes are queued than the disk can take: try again in a moment.
    #[error("the store is busy")]
    Busy,
    /// Another process has the store open.
    #[error("the store is in use by another process: is carport running already?")]
    Locked,
    /// The file system cannot tell whether another process has the store open.
    #[error("the file system of the data directory has no locks, so that two carports could write to it: use a local disk")]
    NoLocks,
    /// The master key is another one.
    #[error(
        "the store was sealed under master key {store}, but the key given is {given}: put the right key in place (key.file or key.secret)"
    )]
    WrongKey {
        /// The key it was sealed under.
        store: KeyId,
        /// The key that was given.
        given: KeyId,
    },
    /// The master key is being replaced, and one of the two is missing.
    #[error(
        "the rotation from master key {from} to {to} is not finished and needs both, but the key given is {given}: put \
         the old key back in place (key.file or key.secret), and the new one into master.key.next in the data directory"
    )]
    HalfRotated {
        /// The key that some of the store is sealed under still.
        from: KeyId,
        /// The key that the rest is sealed under.
        to: KeyId,
        /// The key that was given.
        given: KeyId,
    },
    /// The store was written by a newer Carport.
    #[error("the store has format {found}, this carport knows up to {known}: install the newer version again")]
    Newer {
        /// The store's format.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// The file is another program's.
    #[error("the file belongs to another program: move it away, or set data_dir to another directory")]
    Foreign,
    /// The file is no store, or its innermost parts are damaged.
    #[error("the file is no carport store or is damaged: {0}")]
    NotAStore(String),
    /// A row does not open or does not read.
    #[error("a row of {table} is damaged")]
    Damaged {
        /// The table.
        table: &'static str,
    },
}

/// A handle to the store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    writer: Writer,
    grew: watch::Receiver<Seq>,
    backlog: watch::Receiver<Backlog>,
    connections: watch::Receiver<u64>,
    is_verified: AtomicBool,
    room: Room,
}

/// How long a walk rests after each step.
const PAUSE: Duration = Duration::from_millis(5);

/// What a store is opened with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The page cache, in bytes. redb's own default is a gigabyte.
    pub cache: usize,
    /// With less free space on the disk, in bytes, there is no [room](Store::has_room).
    pub min_free: u64,
    /// Commit on the caller's thread instead of the writer's: for tests with simulated time.
    pub inline: bool,
    /// Look at every row before opening, and save what can be read if any is damaged.
    pub repair: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { cache: 1536 * 1024, min_free: 0, inline: false, repair: false }
    }
}

impl Store {
    /// Opens the store in a directory, or makes an empty one if there is none.
    pub fn open(
        directory: &Path,
        settings: Settings,
        vault: Vault,
        world: &World,
        metrics: Arc<Metrics>,
    ) -> Result<Store, StoreError> {
        Store::open_at(files::directory(directory), settings, vault, world, metrics)
    }

    /// Opens the store at any place: a directory, or a disk of a test's own making.
    pub fn open_at(
        files: Arc<dyn Files>,
        settings: Settings,
        vault: Vault,
        world: &World,
        metrics: Arc<Metrics>,
    ) -> Result<Store, StoreError> {
        let (database, log) = Database::open(files, &settings, vault, world)?;
        let database = Arc::new(database);
        let news = News::new();
        let (grew, backlog, connections) = (news.grew.subscribe(), news.backlog.subscribe(), news.connections.subscribe());
        let writer = Writer::start(database.clone(), log, news, metrics, settings.inline)?;
        let (is_verified, room) = (AtomicBool::new(false), Room::new(settings.min_free));
        let shared = Shared { database, writer, grew, backlog, connections, is_verified, room };
        shared.room.look(shared.database.files());
        Ok(Store { shared: Arc::new(shared) })
    }

    /// Looks at all that a store holds, and changes nothing. An `Err` says what damage there is.
    pub fn inspect(directory: &Path, vault: &Vault, world: &World) -> Result<Inspected, StoreError> {
        let files = files::directory(directory);
        inspection::inspect(&Site { files: &*files, cache: Settings::default().cache, vault, world })
    }

    /// Applies a change; returns when it is durable; one that is derived, at once.
    pub fn commit<C: Change>(&self, change: C) -> impl Future<Output = Result<C::Outcome, StoreError>> + Send {
        self.shared.writer.commit(change)
    }

    /// Reads from a snapshot, off the reactor. `read` must copy out what it needs and bound what it takes.
    pub async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Snapshot<'_>) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let database = self.shared.database.clone();
        if self.shared.writer.is_inline() {
            return database.read(read);
        }
        off_reactor(move || database.read(read)).await
    }

    /// Wakes when the webhook log has grown; the value is its newest place.
    pub fn grew(&self) -> watch::Receiver<Seq> {
        self.shared.grew.clone()
    }

    /// Wakes when something has happened to a connection.
    pub fn connections_changed(&self) -> watch::Receiver<u64> {
        self.shared.connections.clone()
    }

    /// What of the log is still to be followed.
    pub fn backlog(&self) -> Backlog {
        *self.shared.backlog.borrow()
    }

    /// Returns when that is as it should be.
    pub async fn backlog_is(&self, right: impl Fn(Backlog) -> bool) {
        // An error means that the writer has gone, and with it whatever there was to wait for.
        let _ = self.shared.backlog.clone().wait_for(|backlog| right(*backlog)).await;
    }

    /// Whether the store takes changes.
    pub fn is_healthy(&self) -> bool {
        self.shared.database.is_open()
    }

    /// Whether the disk has room for what can wait or come again. The store itself takes changes as long as it
    /// can: whoever brings new events or spends a token asks first.
    pub fn has_room(&self) -> bool {
        !self.shared.room.is_low(self.shared.database.files())
    }

    /// Opens the store again if it was closed by a failure, makes the checkpoint that age asks for, and looks
    /// whether there is room. Call it about once a second.
    pub async fn tend(&self) {
        if self.shared.writer.is_inline() {
            self.shared.room.look(self.shared.database.files());
        } else {
            let shared = self.shared.clone();
            let look = move || {
                shared.room.look(shared.database.files());
                Ok(())
            };
            let _ = off_reactor(look).await;
        }
        let _ = self.shared.writer.tend().await;
    }

    /// Makes everything so far durable in the tables, so that the next start has nothing to replay.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        self.shared.writer.checkpoint(Turn::Stay).await
    }

    /// Under which keys it is sealed.
    pub async fn key_ids(&self) -> Result<KeyIds, StoreError> {
        self.read(|snapshot| reseal::key_ids(snapshot)).await
    }

    /// Seals everything anew under the key `to`, which its vault must have learnt; begins or goes on, and
    /// may be broken off at any moment. Afterwards no file of the store needs the old key. In small steps:
    /// reads and commits go on. `told` hears how far it is.
    pub async fn reseal(&self, to: KeyId, mut told: impl FnMut(Resealed)) -> Result<Resealed, StoreError> {
        let writer = &self.shared.writer;
        writer.checkpoint(Turn::To(to)).await?;
        let mut done = Resealed { of: self.read(reseal::rows).await?, ..Resealed::default() };
        let mut place = Some(Place::default());
        while let Some(from) = place {
            told(done);
            let slice = writer.reseal(from).await?;
            done.add(&slice);
            place = slice.next;
            if slice.weight > 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        told(done);
        // Two, for either file of the journal; then the old key is not needed any more; then, should the tables be
        // lost, neither copy in the journal asks for it.
        for turn in [Turn::Stay, Turn::Stay, Turn::End, Turn::Stay] {
            writer.checkpoint(turn).await?;
        }
        Ok(done)
    }

    /// Whether all that the store holds has been looked at since it was opened.
    pub fn is_verified(&self) -> bool {
        self.shared.is_verified.load(Ordering::Relaxed) || self.shared.database.was_looked_at()
    }

    /// Walks over everything that is kept, in small steps, and notes what is damaged or missing among the
    /// findings. Takes minutes for gigabytes; reads and commits go on.
    pub async fn verify(&self) -> Result<(), StoreError> {
        let mut walk = Walk::new();
        loop {
            let database = self.shared.database.clone();
            let step = move || walk.step(&database).map(|goes_on| (walk, goes_on));
            let (walked, goes_on) = if self.shared.writer.is_inline() { step()? } else { off_reactor(step).await? };
            if !goes_on {
                self.shared.is_verified.store(true, Ordering::Relaxed);
                return Ok(());
            }
            walk = walked;
            // A card is slow, and others wait for it.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What was found damaged or lost since the store was opened, in words for the operator.
    pub fn findings(&self) -> Vec<String> {
        self.shared.database.findings().list()
    }

    /// Size of the files in bytes.
    pub fn bytes(&self) -> u64 {
        Part::ALL.into_iter().map(|part| self.shared.database.files().bytes(part)).sum()
    }

    /// How many of them are the journal.
    pub fn journal_bytes(&self) -> u64 {
        [Part::JournalA, Part::JournalB].into_iter().map(|part| self.shared.database.files().bytes(part)).sum()
    }

    /// How many bytes the disk has left, if it can tell.
    pub fn free(&self) -> Option<u64> {
        self.shared.database.files().free().ok().flatten()
    }

    /// How many bytes were written to the files since the store was opened.
    pub fn written(&self) -> u64 {
        self.shared.database.files().written()
    }

    /// Commits what is queued, makes a checkpoint and closes the files; afterwards every call answers `Unavailable`.
    pub async fn close(&self) {
        self.shared.writer.stop().await;
        self.shared.database.close();
    }
}

/// Waits for work on the disk without holding up others.
async fn off_reactor<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(StoreError::Unavailable("a read was cut off".to_owned())))
}
