//! Where the master key comes from.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config;
use crate::vault::{MasterKey, VaultError};
use crate::world::Entropy;

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
    #[error("the master key {} can be read by others (mode {mode:o}): chmod 600 it", path.display())]
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
    #[error("the master key {}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The configured key; the key file's; or a new one in that file, if there is no store yet.
pub(super) fn master(config: &config::Key, there_is_a_store: bool, entropy: &dyn Entropy) -> Result<MasterKey, KeyError> {
    if let Some(key) = find(config)? {
        return Ok(key);
    }
    let path = &config.file;
    if there_is_a_store {
        return Err(KeyError::Missing(path.clone()));
    }
    let key = MasterKey::generate(entropy);
    write(path, &key).map_err(|error| KeyError::NotMade { path: path.clone(), error })?;
    tracing::info!(key.id = %key.id(), "a master key was made: keep a copy of the file away from this machine");
    Ok(key)
}

/// The configured key, or the key file's; `None` if there is no such file.
pub(super) fn find(config: &config::Key) -> Result<Option<MasterKey>, KeyError> {
    if let Some(secret) = &config.secret {
        let key = MasterKey::parse(secret.expose());
        return key.map(Some).map_err(|error| KeyError::NotAKey { origin: "key.secret".to_owned(), error });
    }
    match read(&config.file) {
        Err(KeyError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn read(path: &Path) -> Result<MasterKey, KeyError> {
    let io = |error| KeyError::Io { path: path.to_owned(), error };
    let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
    // Group access is what systemd and Docker secrets may need; everybody is never right.
    if mode & 0o007 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(io)?);
    MasterKey::parse(&text).map_err(|error| KeyError::NotAKey { origin: path.display().to_string(), error })
}

/// Whole and on disk before it has its name: a store sealed under a key that a power cut takes away is lost.
/// Never writes over a key that another process has made meanwhile.
fn write(path: &Path, key: &MasterKey) -> io::Result<()> {
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(key.print().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let named = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    named?;
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => fs::File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}
