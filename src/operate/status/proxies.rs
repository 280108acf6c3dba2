//! Who passes requests on without being believed, or connections on without saying whose.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Missing;

/// The proxies that are believed, and those that seem to want it.
#[derive(Debug)]
pub(super) struct Proxies(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    trusted: Vec<String>,
    untrusted: BTreeSet<IpAddr>,
    silent: BTreeSet<IpAddr>,
    /// Who has spoken since the start: what else comes from there is not the proxy.
    spoken: BTreeSet<IpAddr>,
}

impl Proxies {
    /// Those that are believed, as one writes them.
    pub(super) fn trusting(trusted: Vec<String>) -> Proxies {
        Proxies(Mutex::new(State { trusted, ..State::default() }))
    }

    /// Others are believed from now on.
    pub(super) fn trust(&self, trusted: Vec<String>) {
        let mut state = self.locked();
        if state.trusted != trusted {
            *state = State { trusted, ..State::default() };
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

    /// One that is believed began a connection with what `proxy_protocol` expects, or with something else; the log tells of
    /// each once.
    pub(super) fn heard(&self, address: IpAddr, is_introduced: bool) {
        let mut state = self.locked();
        if is_introduced {
            state.silent.remove(&address);
            if state.spoken.len() < MOST {
                state.spoken.insert(address);
            }
        } else if !state.spoken.contains(&address) && state.silent.len() < MOST && state.silent.insert(address) {
            tracing::warn!("{address} {SILENT}; {SPEAK}");
        }
    }

    /// What the operator is told of them.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let state = self.locked();
        let setting = state.with(state.untrusted.iter().copied());
        let trust = format!("if it is your proxy, write {setting} and reload (SIGHUP)");
        let tell = |code, addresses: &BTreeSet<IpAddr>, what, remedy| {
            let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            (!names.is_empty()).then(|| Missing { code, what: format!("{} {what}", names.join(", ")), remedy })
        };
        let untrusted = tell("untrusted_proxy", &state.untrusted, WHAT, trust);
        untrusted.into_iter().chain(tell("silent_proxy", &state.silent, SILENT, SPEAK.to_owned())).collect()
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
const SILENT: &str = "does not say by the PROXY protocol for whom it connects: what comes from it is closed";
const SPEAK: &str =
    "have it say so (nginx: proxy_protocol on; HAProxy: send-proxy-v2), or set proxy_protocol = false and restart";

/// Of each kind.
const MOST: usize = 8;
