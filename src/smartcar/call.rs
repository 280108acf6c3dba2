//! One request and its answer.

/// The address of `path` below `origin`.
pub(super) fn join(origin: &str, path: &str) -> String {
    let origin = origin.trim_end_matches('/');
    if origin.ends_with(path) { origin.to_owned() } else { format!("{origin}{path}") }
}
