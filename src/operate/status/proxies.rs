//! Who passes requests on without being believed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Missing;

/// The proxies that are believed, and those that seem to want it.
#[derive(Debug)]
pub(super) struct Proxies(Mutex<State>);

#[derive(Debug)]
struct State {
    trusted: Vec<String>,
    untrusted: BTreeSet<IpAddr>,
}

impl Proxies {
    /// Those that are believed, as one writes them.
    pub(super) fn trusting(trusted: Vec<String>) -> Proxies {
        Proxies(Mutex::new(State { trusted, untrusted: BTreeSet::new() }))
    }

    /// Others are believed from now on.
    pub(super) fn trust(&self, trusted: Vec<String>) {
        let mut state = self.locked();
        if state.trusted != trusted {
            *state = State { trusted, untrusted: BTreeSet::new() };
        }
    }

    /// One that is not believed passes requests on; the log tells of each once.
    pub(super) fn saw(&self, address: IpAddr) {
        let mut state = self.locked();
        // Anybody in the house can play a proxy; this must not become a way to fill the memory.
        if state.untrusted.len() < MOST && state.untrusted.insert(address) {
            let setting = state.with([address]);
            tracing::warn!("{address} {WHAT}; if it is your proxy, write {setting}");
        }
    }

    /// What the operator is told of them.
    pub(super) fn missing(&self) -> Option<Missing> {
        let state = self.locked();
        let addresses: Vec<String> = state.untrusted.iter().map(ToString::to_string).collect();
        let setting = state.with(state.untrusted.iter().copied());
        let what = format!("{} {WHAT}", addresses.join(", "));
        let remedy = format!("if it is your proxy, write {setting} and reload (SIGHUP)");
        (!addresses.is_empty()).then_some(Missing { code: "untrusted_proxy", what, remedy })
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The setting with these added, to be pasted.
    fn with(&self, more: impl IntoIterator<Item = IpAddr>) -> String {
        let all = self.trusted.iter().cloned().chain(more.into_iter().map(|address| address.to_string()));
        format!("trusted_proxies = [{}]", all.map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", "))
    }
}

const WHAT: &str = "passes requests on, but is no trusted proxy: its clients share their limits, and their https does not count";
const MOST: usize = 8;
