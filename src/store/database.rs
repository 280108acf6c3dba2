//! The open store: tables and journal together, and how they are closed and opened again.
//!
//! redb's handle is poisoned by the first failed write, and a journal whose flush failed may hold anything.
//! The only way on is to drop both, to open the files anew and to replay; the lock here makes sure that no
//! reader holds the old handle meanwhile.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use redb::{Durability, ReadableDatabase, WriteTransaction};

use super::checkpoint::{self, Checkpoint};
use super::files::{Files, Scissors};
use super::flusher::Flusher;
use super::inspection::Depth;
use super::journal::{Journal, Record};
use super::log_head::{self, Log};
use super::recovery::{self, Findings, Handle, Opened};
use super::reseal::Turn;
use super::tables::{Places, Snapshot, Tables};
use super::{Known, Settings, StoreError};
use crate::vault::Vault;
use crate::world::World;

pub(super) struct Database {
    files: Arc<dyn Files>,
    cache: usize,
    repair: bool,
    vault: Vault,
    world: World,
    flusher: Flusher,
    open: RwLock<Option<Open>>,
    /// A read has failed: redb refuses everything until it is opened anew.
    poisoned: AtomicBool,
    /// What was found may be damage: look at everything when it is opened anew.
    suspect: AtomicBool,
    /// Nothing was committed since the last checkpoint.
    is_at_checkpoint: AtomicBool,
    /// Everything was looked at when it was opened.
    was_looked_at: AtomicBool,
    findings: Mutex<Findings>,
}

struct Open {
    tables: redb::Database,
    scissors: Scissors,
    journal: Arc<Mutex<Journal>>,
    places: Places,
}

impl Database {
    /// Opens or makes the store.
    pub(super) fn open(
        files: Arc<dyn Files>,
        settings: &Settings,
        vault: Vault,
        world: &World,
    ) -> Result<(Database, Log), StoreError> {
        let database = Database {
            files,
            cache: settings.cache,
            repair: settings.repair,
            vault,
            world: world.clone(),
            flusher: Flusher::start(settings.inline)?,
            open: RwLock::new(None),
            poisoned: AtomicBool::new(false),
            suspect: AtomicBool::new(true),
            is_at_checkpoint: AtomicBool::new(true),
            was_looked_at: AtomicBool::new(false),
            findings: Mutex::default(),
        };
        let log = database.reopen()?;
        Ok((database, log))
    }

    /// Closes what is open, opens the files and replays the journal. Returns what the writer keeps in memory.
    pub(super) fn reopen(&self) -> Result<Log, StoreError> {
        self.close();
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Opening can take long, and the status must not wait for it.
        let mut findings = self.findings().clone();
        let depth = match (self.suspect.load(Ordering::Relaxed), self.repair) {
            (false, _) => Depth::None,
            (true, false) => Depth::Start,
            (true, true) => Depth::Everything,
        };
        // redb may panic even while it closes what is damaged.
        let opened = guarded(|| recovery::open(&*self.files, self.cache, &self.vault, &self.world, depth, &mut findings));
        self.findings().join(findings);
        let Opened { handle: Handle { tables, scissors, .. }, journal, places, log, is_whole } = opened?;
        *open = Some(Open { tables, scissors, journal: Arc::new(Mutex::new(journal)), places });
        self.poisoned.store(false, Ordering::Relaxed);
        self.suspect.store(false, Ordering::Relaxed);
        self.is_at_checkpoint.store(true, Ordering::Relaxed);
        self.was_looked_at.store(depth != Depth::None && is_whole, Ordering::Relaxed);
        Ok(log)
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let result = self.with(|open| {
            let transaction = open.tables.begin_read().map_err(|error| disk(&error))?;
            read(&Snapshot::new(&transaction, &open.places))
        });
        match result {
            Err(StoreError::Unavailable(_)) => self.poisoned.store(true, Ordering::Relaxed),
            Err(StoreError::NotAStore(_)) => self.is_suspect(),
            _ => {}
        }
        result
    }

    /// Lets something be looked up in what needs no tables.
    pub(super) fn known(&self, log: &Log, look: impl FnOnce(&Known<'_>)) -> Result<(), StoreError> {
        self.with(|open| {
            look(&Known { places: &open.places, log });
            Ok(())
        })
    }

    /// Applies changes and journals them at the same time; both succeed, or nothing is visible. Without
    /// `records` nothing is journalled. Returns how many bytes of the journal are used.
    pub(super) fn commit(
        &self,
        records: Vec<Record>,
        log: &mut Log,
        apply: impl FnOnce(&mut Tables<'_>) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let result = self.with(|open| {
            let mut transaction = open.tables.begin_write().map_err(|error| disk(&error))?;
            transaction.set_durability(Durability::None).map_err(|error| disk(&error))?;
            let flushing = (!records.is_empty()).then(|| self.flusher.begin(&open.journal, log.newest(), records));
            let applied = guarded(|| applied(&transaction, &open.places, log, apply));
            // What is under way is waited for, whatever became of the tables.
            flushing.map_or(Ok(()), |flushing| flushing.wait())?;
            applied?;
            self.is_at_checkpoint.store(false, Ordering::Relaxed);
            transaction.commit().map_err(|error| disk(&error))?;
            Ok(open.journal.lock().unwrap_or_else(PoisonError::into_inner).bytes())
        });
        match result {
            Ok(_) => log.keep(),
            Err(_) => log.forget(),
        }
        if let Err(StoreError::NotAStore(_)) = result {
            self.is_suspect();
        }
        result
    }

    /// Makes the tables durable, and begins a new generation of the journal. `deferred` changes, which only the
    /// tables hold, are journalled all the same: the disk may lie about the tables. Returns how many bytes the
    /// copy of the small tables takes.
    pub(super) fn checkpoint(&self, deferred: Vec<Record>, log: &mut Log, turn: Turn, is_last: bool) -> Result<u64, StoreError> {
        let begun = self.with(|open| {
            let mut journal = open.journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.note(log.newest(), deferred)?;
            let generation = journal.generation() + 1;
            let transaction = checkpoint::begin(&open.tables)?;
            turn.note(&mut Tables::new(&transaction, &open.places, log))?;
            checkpoint::commit(
                transaction,
                &open.places,
                log,
                Checkpoint { generation, is_clean: is_last, findings: Vec::new() },
            )?;
            self.is_at_checkpoint.store(true, Ordering::Relaxed);
            turn.take(&open.places.vault);
            checkpoint::begin_generation(&open.tables, &open.places, &mut journal, generation)
        });
        if begun.is_err() {
            log.forget();
        }
        begun
    }

    pub(super) fn is_open(&self) -> bool {
        // Never waits: while somebody closes or opens the files, they are not open.
        !self.poisoned.load(Ordering::Relaxed) && self.open.try_read().is_ok_and(|open| open.is_some())
    }

    /// Waits for readers, then closes the files. What no checkpoint holds is left to the journal.
    pub(super) fn close(&self) {
        let closed = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(open) = &closed
            && !self.is_at_checkpoint.load(Ordering::Relaxed)
        {
            open.scissors.cut();
        }
        // redb may panic while it closes a file whose disk is failing; the file is as safe without.
        let _ = guarded(|| {
            drop(closed);
            Ok(())
        });
    }

    pub(super) fn files(&self) -> &dyn Files {
        &*self.files
    }

    /// Notes damage.
    pub(super) fn found(&self, finding: String) {
        self.findings().add(finding);
    }

    /// Whether all of it was looked at when it was opened.
    pub(super) fn was_looked_at(&self) -> bool {
        self.was_looked_at.load(Ordering::Relaxed)
    }

    pub(super) fn findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
        self.poisoned.store(true, Ordering::Relaxed);
    }

    fn with<T>(&self, work: impl FnOnce(&Open) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let guard = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open = guard.as_ref().ok_or_else(closed)?;
        guarded(|| work(open))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Applies within a transaction; what memory keeps of the log is written with it.
pub(super) fn applied(
    transaction: &WriteTransaction,
    places: &Places,
    log: &mut Log,
    apply: impl FnOnce(&mut Tables<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut tables = Tables::new(transaction, places, log);
    apply(&mut tables)?;
    log_head::finish(&mut tables)
}

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// redb can panic on a damaged file; that must cost one answer, not the process.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let was_guarded = IS_GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(was_guarded);
    done.unwrap_or_else(|_| Err(StoreError::NotAStore("redb stopped in the middle".to_owned())))
}

/// Has panics that the store catches told by the log alone, in one line: to whoever reads standard error, they look like
/// a crash. For the whole process.
pub fn log_caught_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match (IS_GUARDED.get(), panic.location()) {
        (true, Some(location)) => {
            let payload = panic.payload();
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let what = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
            tracing::warn!(%location, what, "a panic inside the store was caught");
        }
        _ => others(panic),
    }));
}

pub(super) fn disk(error: &dyn fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is being opened again".to_owned())
}
