//! Whether others can look into the files, and whether they are all of one user.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Finding;
use crate::store::Part;

const CHECK: &str = "permissions";

/// Looks at the data directory and the store in it; nothing if there is none.
pub fn permissions(directory: &Path) -> Option<Finding> {
    if !directory.is_dir() {
        return None;
    }
    let Ok(of_directory) = fs::metadata(directory) else {
        let text = format!("{} cannot be looked at", directory.display());
        return Some(Finding::fail(CHECK, text, "run this as the server's user"));
    };
    // The key is looked at where it is read.
    let files = Part::ALL.iter().map(|part| directory.join(part.name()));
    let files: Vec<(PathBuf, Metadata)> = files.filter_map(|path| Some((path.clone(), fs::metadata(path).ok()?))).collect();
    let mode = |metadata: &Metadata| metadata.permissions().mode() & 0o777;
    if let Some((path, metadata)) = files.iter().find(|(_, metadata)| mode(metadata) & 0o077 != 0) {
        let text = format!("others can read {} (mode {:o})", path.display(), mode(metadata));
        return Some(Finding::warn(CHECK, text, format!("chmod 600 {}", path.display())));
    }
    if let Some((path, _)) = files.iter().find(|(_, metadata)| metadata.uid() != of_directory.uid()) {
        let text = format!("{} belongs to another user than its directory", path.display());
        return Some(Finding::warn(CHECK, text, format!("chown --reference={} {}", directory.display(), path.display())));
    }
    if mode(&of_directory) & 0o077 != 0 {
        let text = format!("others may look into {} (mode {:o})", directory.display(), mode(&of_directory));
        return Some(Finding::warn(CHECK, text, format!("chmod 700 {}", directory.display())));
    }
    Some(Finding::ok(CHECK, format!("only their user can read the store in {}", directory.display())))
}
