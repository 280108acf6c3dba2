//! File descriptors: each connection takes one. Were none left, nobody could be let in, and Smartcar not be asked.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Asks the system for as many as may be needed at once. Where it allows fewer, fewer connections are let in.
pub(super) fn provide(config: &mut Config) {
    // One is our own socket.
    let listeners = config.listen.len() + config.private_listen.len() + usize::from(config.http_listen.is_some()) + 1;
    let wanted = config.limits.connections;
    let allowed = ask_for(listeners.saturating_mul(wanted).saturating_add(OURS));
    let room = (allowed.saturating_sub(OURS) / listeners).max(1);
    if room < wanted {
        tracing::warn!(
            "limits.connections is taken for {room}, not {wanted}: the system allows this process {allowed} open files; \
             raise that (LimitNOFILE, ulimit -n), or lower the setting"
        );
        config.limits.connections = room;
    }
}

/// How many the system allows, after it was asked for so many.
fn ask_for(wanted: usize) -> usize {
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current, ..limit }) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

/// What we open ourselves: the store, the log, calls to Smartcar.
const OURS: usize = 64;
