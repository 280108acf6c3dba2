//! The open redb file, and how it is closed and opened again.
//!
//! redb's handle is poisoned by the first failed write. The only way on is to drop it and to open the
//! file anew; the lock here makes sure that no reader holds the old handle meanwhile.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::{Builder, DatabaseError, ReadableDatabase, StorageError, WriteTransaction};

use super::StoreError;
use super::migrations;
use super::tables::{Places, Snapshot};
use crate::vault::Vault;
use crate::world::World;

/// Where a store lies, and how to open it again and again.
pub struct Origin {
    path: Option<PathBuf>,
    open: Box<Open>,
}

type Open = dyn Fn(&Builder) -> Result<redb::Database, DatabaseError> + Send + Sync;

impl Origin {
    /// A file, made (mode 0600) when the store is opened and it is missing.
    pub fn file(path: &Path) -> Origin {
        let path = path.to_owned();
        let file = path.clone();
        Origin { path: Some(path), open: Box::new(move |builder: &Builder| builder.open(&file)) }
    }

    /// A disk of the caller's own making, such as one that fails.
    pub fn custom(open: impl Fn(&Builder) -> Result<redb::Database, DatabaseError> + Send + Sync + 'static) -> Origin {
        Origin { path: None, open: Box::new(open) }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({:?})", self.path)
    }
}

pub(super) struct Database {
    origin: Origin,
    cache: usize,
    places: Places,
    handle: RwLock<Option<redb::Database>>,
    /// A read has failed: redb refuses everything until it is opened anew.
    poisoned: AtomicBool,
}

impl Database {
    /// Opens or makes the store, checks the key and migrates.
    pub(super) fn open(origin: Origin, cache: usize, vault: Vault, world: &World) -> Result<Database, StoreError> {
        if let Some(path) = &origin.path {
            // A path that cannot be looked at is not a path where nothing is.
            let is_there = path.try_exists().map_err(|error| disk(&error))?;
            guarded(|| if is_there { migrations::look(path, &vault) } else { make(path).map_err(not_opened) })?;
        }
        let handle = open_handle(&origin, cache)?;
        let index_key = guarded(|| migrations::prepare(&handle, &vault, world))?;
        Ok(Database {
            origin,
            cache,
            places: Places::new(vault, index_key),
            handle: RwLock::new(Some(handle)),
            poisoned: AtomicBool::new(false),
        })
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let result = self.with(|handle| {
            let transaction = handle.begin_read().map_err(|error| disk(&error))?;
            read(&Snapshot::new(&transaction, &self.places))
        });
        if let Err(StoreError::Unavailable(_)) = result {
            self.poisoned.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Runs one durable transaction. On an error nothing of it is kept.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&WriteTransaction, &Places) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with(|handle| {
            let mut transaction = handle.begin_write().map_err(|error| disk(&error))?;
            transaction.set_two_phase_commit(true);
            let result = write(&transaction, &self.places)?;
            transaction.commit().map_err(|error| disk(&error))?;
            Ok(result)
        })
    }

    pub(super) fn is_open(&self) -> bool {
        // Never waits: while somebody closes or opens the file, it is not open.
        !self.poisoned.load(Ordering::Relaxed) && self.handle.try_read().is_ok_and(|handle| handle.is_some())
    }

    /// Waits for readers, then closes the file.
    pub(super) fn close(&self) {
        let closed = self.handle.write().unwrap_or_else(PoisonError::into_inner).take();
        // redb may panic while it closes a file whose disk is failing; the file is as safe without.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(closed)));
    }

    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        self.close();
        let handle = open_handle(&self.origin, self.cache)?;
        *self.handle.write().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        self.poisoned.store(false, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.origin.path.as_ref().and_then(|path| fs::metadata(path).ok()).map_or(0, |file| file.len())
    }

    fn with<T>(&self, work: impl FnOnce(&redb::Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let guard = self.handle.read().unwrap_or_else(PoisonError::into_inner);
        let handle = guard.as_ref().ok_or_else(|| StoreError::Unavailable("it is being opened again".to_owned()))?;
        guarded(|| work(handle))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("origin", &self.origin).finish_non_exhaustive()
    }
}

fn open_handle(origin: &Origin, cache: usize) -> Result<redb::Database, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(cache);
    guarded(|| (origin.open)(&builder).map_err(not_opened))
}

/// Makes an empty store, whole from the first moment it has its name: a file that is empty or cut off was
/// never one of ours, and is kept for whoever looks what happened to it.
fn make(path: &Path) -> Result<(), DatabaseError> {
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    drop(Builder::new().create_file(file)?);
    // A link, because it fails where another process was quicker; a rename would take its store away.
    let named = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    match named {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        named => named?,
    }
    if let Some(directory) = path.parent() {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

pub(super) fn not_opened(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked,
        DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => StoreError::NotAStore(error.to_string()),
            _ => StoreError::Unavailable(error.to_string()),
        },
        other => StoreError::NotAStore(other.to_string()),
    }
}

/// redb can panic on a damaged file; that must cost one answer, not the process.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(StoreError::NotAStore("redb stopped in the middle".to_owned())))
}

pub(super) fn disk(error: &dyn fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
