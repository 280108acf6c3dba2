//! Secrets in files of their own.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
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
    let warning = exposed(path);
    Ok(SecretFile { lines, warning })
}

/// The secret that a file holds by now; `None` while it holds none that can be used.
pub fn reread(path: &Path) -> Option<Secret> {
    match read(path).ok()?.lines.as_slice() {
        [secret] => Some(Secret::new(secret.clone())),
        _ => None,
    }
}

/// What to say of a file with a secret that others may read or replace. A file of root that its group may read was
/// meant for that group; what is handed in by systemd or Docker looks open, and only this service sees it.
pub(super) fn exposed(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    let (mode, shown) = (metadata.permissions().mode() & 0o777, path.display());
    let is_meant = metadata.uid() == 0 && mode & 0o077 == 0o040;
    let is_handed_in = ["/run/secrets", "/run/credentials"].iter().any(|place| path.starts_with(place));
    let others = mode & 0o007;
    let whose = if others == 0 { "the group" } else { "everybody on this machine" };
    (mode & 0o077 != 0 && !is_meant && !is_handed_in)
        .then(|| format!("{shown} holds a secret and is open to {whose} (mode {mode:o}): chmod 600 {shown}"))
}
