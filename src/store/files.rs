//! The files of a store, and where they lie: a directory, or a disk of a test's own making.
//!
//! | part | file | what |
//! |---|---|---|
//! | [`Part::Tables`] | `carport.redb` | everything up to the last checkpoint |
//! | [`Part::JournalA`], [`Part::JournalB`] | `carport.journal-a`, `-b` | every change since, used in turn |
//! | [`Part::Rescue`] | `carport.redb.new` | tables in the making, until they take their place |

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::StorageBackend;

/// A file of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The tables: redb's file.
    Tables,
    /// The journal of every even generation.
    JournalA,
    /// The journal of every odd generation.
    JournalB,
    /// New tables, before they take the place of the old.
    Rescue,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 4] = [Part::Tables, Part::JournalA, Part::JournalB, Part::Rescue];

    /// What its file is called.
    pub fn name(self) -> &'static str {
        match self {
            Part::Tables => "carport.redb",
            Part::JournalA => "carport.journal-a",
            Part::JournalB => "carport.journal-b",
            Part::Rescue => "carport.redb.new",
        }
    }
}

/// Where the files of a store lie.
pub trait Files: fmt::Debug + Send + Sync + 'static {
    /// Whether there is such a file.
    fn is_there(&self, part: Part) -> io::Result<bool>;

    /// Opens a part for this process alone; makes it, empty, if it is missing. An error of kind
    /// `ResourceBusy` says that another process has it, `Unsupported` that nobody can tell.
    fn open(&self, part: Part) -> io::Result<Box<dyn StorageBackend>>;

    /// Removes what is left of a rescue.
    fn remove_rescue(&self) -> io::Result<()>;

    /// Puts [`Part::Rescue`] in the place of the tables, in one durable step. Tables that were there are
    /// kept under a name that tells `why`, which is returned.
    fn replace_tables(&self, why: &str) -> io::Result<Option<String>>;

    /// How many bytes a part has; none if it is not there.
    fn bytes(&self, part: Part) -> u64;

    /// How many bytes were written to them since they were opened first: what wears out a card.
    fn written(&self) -> u64 {
        0
    }

    /// How many bytes the disk has left, if it can tell.
    fn free(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// Files in a directory.
pub fn directory(path: &Path) -> Arc<dyn Files> {
    Arc::new(Directory { path: path.to_owned(), written: Arc::default() })
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    written: Arc<AtomicU64>,
}

impl Directory {
    fn path(&self, part: Part) -> PathBuf {
        self.path.join(part.name())
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Files for Directory {
    fn is_there(&self, part: Part) -> io::Result<bool> {
        // A path that cannot be looked at is not a path where nothing is.
        self.path(part).try_exists()
    }

    fn open(&self, part: Part) -> io::Result<Box<dyn StorageBackend>> {
        let is_new = !self.is_there(part)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(self.path(part))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if is_new {
            self.sync()?;
        }
        Ok(Box::new(OpenFile { file, written: self.written.clone() }))
    }

    fn remove_rescue(&self) -> io::Result<()> {
        match fs::remove_file(self.path(Part::Rescue)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn replace_tables(&self, why: &str) -> io::Result<Option<String>> {
        let kept = if self.is_there(Part::Tables)? { Some(self.keep_tables(why)?) } else { None };
        fs::rename(self.path(Part::Rescue), self.path(Part::Tables))?;
        self.sync()?;
        Ok(kept)
    }

    fn bytes(&self, part: Part) -> u64 {
        fs::metadata(self.path(part)).map_or(0, |file| file.len())
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn free(&self) -> io::Result<Option<u64>> {
        let disk = rustix::fs::statvfs(&self.path)?;
        // Some network file systems tell no sizes at all.
        Ok((disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize)))
    }
}

impl Directory {
    /// Gives the tables a second name: there is no moment in which they have none.
    fn keep_tables(&self, why: &str) -> io::Result<String> {
        for number in 1.. {
            let name = format!("{}.{why}-{number}", Part::Tables.name());
            match fs::hard_link(self.path(Part::Tables), self.path.join(&name)) {
                Ok(()) => return Ok(name),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("a directory holds finitely many files")
    }
}

/// A file of which every written byte is counted: what wears out a card.
#[derive(Debug)]
struct OpenFile {
    file: File,
    written: Arc<AtomicU64>,
}

impl StorageBackend for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(data, offset)
    }
}

/// Lets redb work on a part, until it is cut off. redb makes everything durable when it is closed, even what
/// was committed to be lost with the process; but that is for the journal to bring back, and for nobody else.
#[derive(Debug)]
pub(super) struct Tables {
    file: Box<dyn StorageBackend>,
    is_cut_off: Arc<AtomicBool>,
}

/// Cuts redb off from its file.
#[derive(Clone, Debug)]
pub(super) struct Scissors(Arc<AtomicBool>);

impl Scissors {
    pub(super) fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Tables {
    pub(super) fn new(file: Box<dyn StorageBackend>) -> (Tables, Scissors) {
        let is_cut_off = Arc::new(AtomicBool::new(false));
        (Tables { file, is_cut_off: is_cut_off.clone() }, Scissors(is_cut_off))
    }

    fn for_writing(&self) -> io::Result<&dyn StorageBackend> {
        if self.is_cut_off.load(Ordering::Relaxed) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(&*self.file) }
    }
}

impl StorageBackend for Tables {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.for_writing()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.for_writing()?.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.for_writing()?.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
