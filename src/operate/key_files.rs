//! Master keys in files: reading, making and replacing them.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::vault::{MasterKey, VaultError};

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not a key.
    #[error("{origin}: {error}")]
    NotAKey {
        /// Where it was read.
        origin: String,
        /// What is wrong.
        error: VaultError,
    },
    /// There is a store, but not its key.
    #[error(
        "the master key {} is missing, but there is a store that was sealed under it: put the key back in place (a new one could open nothing)",
        .0.display()
    )]
    Missing(PathBuf),
    /// Others can read it.
    #[error("the master key {path} can be read by others (mode {mode:o}): chmod 600 {path}", path = path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is no place for a new one.
    #[error("a master key cannot be made at {}: {error}", path.display())]
    NotMade {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file cannot be read.
    #[error("the master key {}: {error}{}", path.display(), to_read(error))]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn to_read(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ": run this as the user that owns it (sudo -u carport carport ...)",
        _ => "",
    }
}

/// The key in a file; `None` if there is no such file.
pub fn find(path: &Path) -> Result<Option<MasterKey>, KeyError> {
    match read(path) {
        Err(KeyError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn read(path: &Path) -> Result<MasterKey, KeyError> {
    let io = |error| KeyError::Io { path: path.to_owned(), error };
    let file = File::open(path).map_err(io)?;
    if let Some(mode) = exposed(path).map_err(io)? {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    // Room for all of it at once: a text that grows leaves copies of itself behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST));
    file.take(LONGEST as u64).read_to_string(&mut text).map_err(io)?;
    MasterKey::parse(&text).map_err(|error| KeyError::NotAKey { origin: path.display().to_string(), error })
}

/// The mode of a key file that others can read.
pub fn exposed(path: &Path) -> io::Result<Option<u32>> {
    let metadata = fs::metadata(path)?;
    let mode = metadata.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0 && !is_handed_in(path, mode, metadata.uid())).then_some(mode))
}

/// systemd and Docker hand secrets in as files of root, in a place that only this service sees; the group, or
/// what shows as one where there are access lists, is how the service itself may read them.
fn is_handed_in(path: &Path, mode: u32, owner: u32) -> bool {
    let is_of_root = owner == 0 && !rustix::process::geteuid().is_root();
    ["/run/credentials", "/run/secrets"].iter().any(|place| path.starts_with(place)) || (is_of_root && mode & 0o077 == 0o040)
}

/// Whole and on disk before it has its name: a store sealed under a key that a power cut takes away is lost.
/// Never writes over a key that another process has made meanwhile.
pub fn make(path: &Path, key: &MasterKey) -> Result<(), KeyError> {
    write(path, key).map_err(|error| KeyError::NotMade { path: path.to_owned(), error })
}

fn write(path: &Path, key: &MasterKey) -> io::Result<()> {
    let unfinished = unfinished(path, key)?;
    let named = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    named?;
    sync_directory(path)
}

/// Puts a key in the place of the one at `path`, in one durable step.
pub(super) fn replace(path: &Path, key: &MasterKey) -> io::Result<()> {
    // Not in the place of a link that leads to it.
    let path = fs::canonicalize(path)?;
    fs::rename(unfinished(&path, key)?, &path)?;
    sync_directory(&path)
}

fn unfinished(path: &Path, key: &MasterKey) -> io::Result<PathBuf> {
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(key.print().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    Ok(unfinished)
}

/// Removes what a process that was killed has left of a key it was writing. For whoever has the store to itself.
pub(super) fn sweep(path: &Path) {
    let (Some(directory), Some(stem)) = (path.parent(), path.file_stem().and_then(OsStr::to_str)) else { return };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let writer = name.to_str().and_then(|name| name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(".new"));
        if writer.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "what is left of a master key cannot be removed");
        }
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

/// Longer than any key, however it was copied.
const LONGEST: usize = 4096;
