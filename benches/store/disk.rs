//! A directory whose flushes and bytes are counted, and whose flushes can be made slow.
//!
//! Bytes are counted by whole pages, as they reach the disk. The kernel's own count (`write_bytes` in
//! `/proc/self/io`) is of no use: it takes each write for as large as the piece of its cache that it falls
//! into, which may be a megabyte.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use carport::store::{Files, Part};
use redb::StorageBackend;

const PAGE: u64 = 4096;

/// Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    flushes: AtomicU64,
    /// Bytes written to any file.
    written: AtomicU64,
    /// Bytes written to the store's journals.
    journal: AtomicU64,
    delay_ms: AtomicU64,
}

impl Disk {
    pub(crate) fn new(path: &Path) -> Disk {
        Disk { path: path.to_owned(), shared: Arc::default() }
    }

    /// From now on, each flush takes so much longer.
    pub(crate) fn slow_down(&self, delay_ms: u64) {
        self.shared.delay_ms.store(delay_ms, Ordering::Relaxed);
    }

    pub(crate) fn flushes(&self) -> u64 {
        self.shared.flushes.load(Ordering::Relaxed)
    }

    /// How many bytes were written.
    pub(crate) fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// How many of them to the store's journals.
    pub(crate) fn journal(&self) -> u64 {
        self.shared.journal.load(Ordering::Relaxed)
    }

    pub(crate) fn file(&self, name: &str) -> io::Result<DiskFile> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(DiskFile { file, is_journal: false, disk: self.clone() })
    }
}

impl Files for Disk {
    fn is_there(&self, part: Part) -> io::Result<bool> {
        self.path.join(part.name()).try_exists()
    }

    fn open(&self, part: Part) -> io::Result<Box<dyn StorageBackend>> {
        let is_journal = [Part::JournalA, Part::JournalB].contains(&part);
        Ok(Box::new(DiskFile { is_journal, ..self.file(part.name())? }))
    }

    fn remove_rescue(&self) -> io::Result<()> {
        if self.is_there(Part::Rescue)? { fs::remove_file(self.path.join(Part::Rescue.name())) } else { Ok(()) }
    }

    fn replace_tables(&self, _: &str) -> io::Result<Option<String>> {
        fs::rename(self.path.join(Part::Rescue.name()), self.path.join(Part::Tables.name()))?;
        Ok(None)
    }

    fn bytes(&self, part: Part) -> u64 {
        fs::metadata(self.path.join(part.name())).map_or(0, |file| file.len())
    }
}

#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    is_journal: bool,
    disk: Disk,
}

impl StorageBackend for DiskFile {
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
        let Shared { flushes, delay_ms, .. } = &*self.disk.shared;
        flushes.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()?;
        let delay = Duration::from_millis(delay_ms.load(Ordering::Relaxed));
        if !delay.is_zero() {
            #[expect(clippy::disallowed_methods, reason = "a slow disk holds up the thread that flushes")]
            std::thread::sleep(delay);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        let bytes = end.next_multiple_of(PAGE) - offset / PAGE * PAGE;
        self.disk.shared.written.fetch_add(bytes, Ordering::Relaxed);
        if self.is_journal {
            self.disk.shared.journal.fetch_add(bytes, Ordering::Relaxed);
        }
        self.file.write_all_at(data, offset)
    }
}
