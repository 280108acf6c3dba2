//! What is configured while the gateway runs: read again by SIGHUP, or made on the set-up page. Both are put in force
//! the same way. What was built once and cannot be taken apart counts from the next start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{App, settings};
use crate::config::{Config, Fingerprint, MADE, Made};
use crate::connect::Connect;
use crate::ingest::Ingest;
use crate::model::token::Generation;
use crate::model::{ConnectionId, Current, Secret};
use crate::operate::audit::{Audit, AuditError, Done, Ring};
use crate::operate::probes::Probes;
use crate::operate::status::Status;
use crate::smartcar::Smartcar;
use crate::store::Store;
use crate::tls::{Source, Tls};
use crate::tokens::Tokens;
use crate::vehicles::Vehicles;
use crate::web;
use crate::world::World;

/// Everything that can be told of another configuration.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) edge: Current<web::Settings>,
    pub(super) smartcar: Smartcar,
    pub(super) tokens: Tokens,
    pub(super) ingest: Ingest,
    pub(super) connect: Connect,
    pub(super) vehicles: Vehicles,
    pub(super) status: Status,
    pub(super) probes: Probes,
    pub(super) store: Store,
    pub(super) world: World,
    pub(super) tls: OnceLock<Tls>,
    pub(super) state: Mutex<State>,
    /// One change after the other.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// What is configured at present.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// What was written, by itself.
    pub(super) written: Config,
    /// What was made on the set-up page.
    pub(super) made: Made,
    /// What is in force.
    pub(super) running: Config,
    /// The same by key. What was left for the next start is told each time.
    fingerprints: BTreeMap<&'static str, Fingerprint>,
}

impl State {
    /// `running` came of `written` and `made`.
    pub(super) fn new(written: Config, made: Made, running: Config) -> State {
        let fingerprints = running.fingerprints().collect();
        State { written, made, running, fingerprints }
    }
}

/// What became of a configuration that was read again, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// In force from now on.
    pub taken: Vec<&'static str>,
    /// Other than before, but from the next start on only.
    pub left: Vec<&'static str>,
    /// What was made on the set-up page and does not fit any more.
    pub left_out: Vec<String>,
}

/// The keys that are taken over besides those of the set-up page, with those that they are worth nothing without.
const TAKEN: &[(&str, &[&str])] = &[
    ("hosts", &[]),
    ("private_url", &[]),
    ("trusted_proxies", &[]),
    ("api.allowed_origins", &[]),
    ("tls.acme.duckdns_token", &["tls.mode", "tls.acme.dns"]),
];

/// Where Carport is found: a certificate of our own is made for these names at the start, and where it listens does not
/// change before the next.
const ADDRESSES: &[&str] = &["public_url", "private_url", "smartcar.redirect_uri"];
const LISTENERS: &[&str] = &["listen", "private_listen", "tls.mode"];

impl Live {
    /// What is configured at present.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What would become of it.
    fn plan(&self, written: &Config, made: &Made) -> (Config, Reloaded) {
        let (new, left_out) = written.with_what_fits(made);
        let state = self.state();
        let changed: Vec<_> =
            new.fingerprints().filter(|(key, print)| state.fingerprints.get(key) != Some(print)).map(|(key, _)| key).collect();
        let can_be = |key: &&str| {
            let waits = has_names_of_its_own(&state.running) || LISTENERS.iter().any(|listener| changed.contains(listener));
            if ADDRESSES.contains(key) && waits {
                return false;
            }
            let rule = TAKEN.iter().find(|(name, _)| name == key);
            MADE.contains(key) || rule.is_some_and(|(_, needs)| !needs.iter().any(|need| changed.contains(need)))
        };
        let (taken, left) = changed.iter().copied().partition(can_be);
        (new, Reloaded { taken, left, left_out })
    }

    /// Puts in force what can be of `written` and `made`.
    pub(super) fn put_in_force(&self, written: Config, made: Made) -> Reloaded {
        let (new, reloaded) = self.plan(&written, &made);
        let next = {
            let mut state = self.state();
            let next = state.running.taking(&new, !reloaded.left.iter().any(|key| ADDRESSES.contains(key)));
            state.fingerprints.extend(new.fingerprints().filter(|(key, _)| reloaded.taken.contains(key)));
            (state.written, state.made, state.running) = (written, made, next.clone());
            next
        };
        self.smartcar.replace_settings(settings::smartcar(&next));
        self.ingest.replace_management_tokens(next.smartcar.management_tokens.clone());
        self.connect.replace_settings(settings::connect(&next));
        self.vehicles.replace_settings(settings::vehicles(&next));
        self.status.replace_settings(settings::status(&next));
        self.edge.replace(settings::web(&next));
        self.probes.replace(settings::probes(&next));
        let is_taken = |part: &str| reloaded.taken.iter().any(|key| key.starts_with(part));
        if let (true, Some(tls), Some(new)) = (is_taken("tls.acme.duckdns_token"), self.tls.get(), &new.tls) {
            tls.replace_dns_token(new);
        }
        for (generation, part) in [(Generation::V2, "smartcar.v2."), (Generation::V3, "smartcar.v3.")] {
            if is_taken(part) {
                self.tokens.try_again(generation);
            }
        }
        if is_taken("smartcar.v3.client_id") && next.smartcar.v3.is_some() {
            // The token that there is was another client's.
            let tokens = self.tokens.clone();
            self.tokens.tasks().spawn(async move {
                if let Err(error) = tokens.renew(ConnectionId::APPLICATION, None).await {
                    tracing::warn!(%error, "the new client has no application token yet");
                }
            });
        }
        reloaded
    }
}

/// Whether our own certificate is made, or ordered, for the names that we are found by.
pub(super) fn has_names_of_its_own(config: &Config) -> bool {
    config.tls.as_ref().is_some_and(|tls| !matches!(tls.source, Source::Files(_)))
}

/// The settings that a store has kept. A row that does not open costs itself: the page asks for them again.
pub(super) async fn kept(store: &Store) -> Made {
    match store.read(|snapshot| snapshot.settings()).await {
        Ok(kept) => made(kept),
        Err(error) => {
            tracing::error!(%error, "the settings made on the set-up page cannot be read: make them again");
            Made::default()
        }
    }
}

/// What was kept of the set-up page.
pub(crate) fn made(kept: Vec<crate::store::made::KeptSetting>) -> Made {
    kept.into_iter().fold(Made::default(), |made, (key, text)| made.and(&key, String::from_utf8(text.0).ok().map(Secret::new)))
}

/// The way to a running gateway for a configuration that was read again.
#[derive(Debug)]
pub struct Reload {
    live: Arc<Live>,
    audit: Audit,
}

impl Reload {
    /// That of an application.
    pub fn of(app: &App) -> Reload {
        Reload { live: app.live.clone(), audit: app.services.rooms.audit.clone() }
    }

    /// Looks for a new certificate, whatever else was written.
    pub fn certificate(&self) {
        self.live.tls.get().into_iter().for_each(Tls::reread);
    }

    /// Takes over what can be. An error means that nothing was: it could not be noted who did it.
    pub async fn take(&self, written: &Config) -> Result<Reloaded, AuditError> {
        let _turn = self.live.turn.lock().await;
        let made = self.live.state().made.clone();
        let (_, Reloaded { taken, .. }) = self.live.plan(written, &made);
        if !taken.is_empty() {
            let ids = taken.iter().map(ToString::to_string).collect();
            self.audit.begin(Ring::Administration, Done { ids, ..Done::locally("SIGHUP") }).await?;
        }
        Ok(self.live.put_in_force(written.clone(), made))
    }
}
