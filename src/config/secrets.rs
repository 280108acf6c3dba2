//! Secrets in files of their own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::model::Secret;

/// What a secret file holds.
pub(super) struct SecretFile {
    /// Its lines that are not empty: a secret that may be a list has one a line.
    pub(super) lines: Vec<String>,
    /// The file can be read by others.
    pub(super) warning: Option<String>,
}

/// No secret of ours is longer; whatever is, is some other file.
const LONGEST: u64 = 16 * 1024;

/// Reads a secret file. The error says what is wrong with it, never what it holds.
pub(super) fn read(path: &Path) -> Result<SecretFile, String> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| format!("its file {shown} cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if metadata.len() > LONGEST {
        return Err(format!("its file {shown} is too long for a secret"));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("its file {shown} cannot be read: {error}"))?;
    let bytes = Zeroizing::new(bytes);
    let text = str::from_utf8(&bytes).map_err(|_| format!("its file {shown} is not text"))?;
    let lines: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(format!("its file {shown} is empty"));
    }
    let warning = readable_by_all(path).then(|| format!("{shown} holds a secret and can be read by everybody: chmod 600 it"));
    Ok(SecretFile { lines, warning })
}

/// The secret that a file holds by now; `None` while it holds none that can be used.
pub fn reread(path: &Path) -> Option<Secret> {
    match read(path).ok()?.lines.as_slice() {
        [secret] => Some(Secret::new(secret.clone())),
        _ => None,
    }
}

/// Whether everybody on this machine can read a file. Container secrets below `/run/secrets` always look
/// so, and only the container sees them.
pub(super) fn readable_by_all(path: &Path) -> bool {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    mode & 0o004 != 0 && !path.starts_with("/run/secrets") && !path.starts_with("/run/credentials")
}
