//! A directory whose flushes and bytes are counted, and whose flushes can be made slow.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redb::StorageBackend;

/// Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    flushes: AtomicU64,
    delay_ms: AtomicU64,
}

impl Disk {
    // BEFORE-MERGE
    pub(crate) fn origin(&self) -> carport::store::Origin {
        let disk = self.clone();
        carport::store::Origin::custom(move |builder| builder.create_with_backend(disk.open("carport.redb")?))
    }

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

    pub(crate) fn open(&self, name: &str) -> io::Result<DiskFile> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(DiskFile { file, disk: self.clone() })
    }
}

#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
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
        let Shared { flushes, delay_ms } = &*self.disk.shared;
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
        self.file.write_all_at(data, offset)
    }
}

/// How many bytes this process has caused to be written, by whole pages: what wears out a card.
pub(crate) fn bytes_written() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.parse().ok()).ok_or_else(|| io::Error::other("no write_bytes in /proc/self/io"))
}
