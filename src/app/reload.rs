//! What a running gateway takes over of a configuration that was read again: secrets, and who is believed and known.
//! What was built once and cannot be taken apart counts from the next start.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{App, settings};
use crate::config::{Config, Fingerprint};
use crate::model::token::Generation;
use crate::operate::audit::{AuditError, Done, Ring};
use crate::smartcar::Smartcar;
use crate::tls::Tls;
use crate::tokens::Tokens;
use crate::web::Services;

/// The way to a running gateway for a configuration that was read again.
#[derive(Debug)]
pub struct Reload {
    services: Services,
    smartcar: Smartcar,
    tokens: Tokens,
    tls: Option<Tls>,
    /// What is in force, by key.
    running: Mutex<BTreeMap<&'static str, Fingerprint>>,
}

/// What became of a configuration that was read again, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// In force from now on.
    pub taken: Vec<&'static str>,
    /// Other than before, but from the next start on only.
    pub left: Vec<&'static str>,
}

/// The keys that are taken over, with those that they are worth nothing without: a secret belongs to its id.
const TAKEN: &[(&str, &[&str])] = &[
    ("hosts", &[]),
    ("trusted_proxies", &[]),
    ("api.allowed_origins", &[]),
    ("tls.acme.duckdns_token", &["tls.mode", "tls.acme.dns"]),
    ("smartcar.v3.client_secret", &["smartcar.v3.client_id"]),
    ("smartcar.v2.client_secret", &["smartcar.v2.client_id"]),
    ("smartcar.application_management_token", &[]),
];

impl Reload {
    /// That of an application that was built with `config`.
    pub fn of(app: &App, config: &Config) -> Reload {
        Reload {
            services: app.services.clone(),
            smartcar: app.smartcar.clone(),
            tokens: app.tokens.clone(),
            tls: app.tls.clone(),
            running: Mutex::new(config.fingerprints().collect()),
        }
    }

    /// Looks for a new certificate, whatever else was written.
    pub fn certificate(&self) {
        self.tls.iter().for_each(Tls::reread);
    }

    /// Takes over what can be. An error means that nothing was: it could not be noted who did it.
    pub async fn take(&self, config: &Config) -> Result<Reloaded, AuditError> {
        let reloaded = self.compare(config);
        let Reloaded { taken, .. } = &reloaded;
        if !taken.is_empty() {
            let ids = taken.iter().map(ToString::to_string).collect();
            self.services.audit.begin(Ring::Administration, Done { ids, ..Done::locally("SIGHUP") }).await?;
        }
        let secret = |given: &Option<crate::config::Credentials>| given.as_ref().map(|given| given.client_secret.clone());
        for key in taken {
            match *key {
                "smartcar.v3.client_secret" => self.client_secret(Generation::V3, secret(&config.smartcar.v3)),
                "smartcar.v2.client_secret" => self.client_secret(Generation::V2, secret(&config.smartcar.v2)),
                "smartcar.application_management_token" => {
                    let tokens = config.smartcar.management_tokens.clone();
                    self.smartcar.replace_management_token(tokens.first().cloned());
                    self.services.ingest.replace_management_tokens(tokens);
                }
                "tls.acme.duckdns_token" => {
                    self.tls.iter().zip(&config.tls).for_each(|(tls, new)| tls.replace_dns_token(new));
                }
                _ => {}
            }
        }
        self.services.replace_settings(settings::web(config));
        self.services.probes.replace(settings::probes(config));
        let new: BTreeMap<_, _> = config.fingerprints().collect();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.extend(taken.iter().filter_map(|key| Some((*key, *new.get(key)?))));
        Ok(reloaded)
    }

    fn client_secret(&self, generation: Generation, secret: Option<crate::model::Secret>) {
        if let Some(secret) = secret {
            self.smartcar.replace_secret(generation, secret);
            self.tokens.try_again(generation);
        }
    }

    fn compare(&self, config: &Config) -> Reloaded {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let changed: Vec<_> =
            config.fingerprints().filter(|(key, new)| running.get(key) != Some(new)).map(|(key, _)| key).collect();
        let can_be = |key: &&str| {
            let rule = TAKEN.iter().find(|(name, _)| name == key);
            rule.is_some_and(|(_, needs)| !needs.iter().any(|need| changed.contains(need)))
        };
        let (taken, left) = changed.iter().copied().partition(can_be);
        Reloaded { taken, left }
    }
}
