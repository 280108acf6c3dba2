//! Settings made on the set-up page. They stand below everything that was written, and above the defaults.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::keys::KEYS;
use super::sources::Collected;
use super::written::{Origin, Raw, Written};
use super::{Config, Mistakes, Smartcar, meaning};
use crate::model::Secret;

/// What can be made on the set-up page: what Smartcar's dashboard has, and the addresses that it is told.
pub const MADE: &[&str] = &[
    "smartcar.application_id",
    "smartcar.v3.client_id",
    "smartcar.v3.client_secret",
    "smartcar.v2.client_id",
    "smartcar.v2.client_secret",
    "smartcar.application_management_token",
    "smartcar.webhook_id",
    "smartcar.mode",
    "smartcar.scope",
    "smartcar.single_select",
    "public_url",
    "smartcar.redirect_uri",
    "smartcar.redirect_uris",
];

/// The origin of what was made there.
pub const PAGE: &str = "set-up page";

/// Settings made on the set-up page: each as one would write it into the environment.
#[derive(Clone, Debug, Default)]
pub struct Made(BTreeMap<&'static str, Secret>);

impl Made {
    /// Makes a setting, or takes it back. A key that cannot be made there is passed over: another version knew it.
    #[must_use]
    pub fn and(mut self, key: &str, value: Option<Secret>) -> Made {
        if let Some(key) = MADE.iter().find(|known| **known == key) {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(key),
            };
        }
        self
    }

    /// What was made, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Secret)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    /// Everything that was written, with these where nothing was.
    pub(super) fn below(&self, written: &Collected) -> Collected {
        let mut all = written.clone();
        for (key, value) in &self.0 {
            let made = || Written { value: Raw::Text(value.expose().to_owned()), origin: Origin::Page };
            all.values.entry(key).or_insert_with(made);
        }
        all
    }
}

impl Config {
    /// The same with other settings made on the set-up page.
    pub fn with(&self, made: &Made) -> Result<Config, Mistakes> {
        // The system may allow less than was written.
        meaning::understand(Arc::clone(&self.written), made).map(|config| Config { limits: self.limits.clone(), ..config })
    }

    /// The same with those of them that fit what was written; what was left out is told.
    pub fn with_what_fits(&self, made: &Made) -> (Config, Vec<String>) {
        let (mut made, mut left_out) = (made.clone(), Vec::new());
        loop {
            let mistakes = match self.with(&made) {
                Ok(config) => return (config, left_out),
                Err(Mistakes(mistakes)) => mistakes,
            };
            left_out.extend(mistakes.iter().map(ToString::to_string));
            let before = made.0.len();
            made.0.retain(|key, _| !mistakes.iter().any(|mistake| mistake.key == *key && mistake.origin == PAGE));
            if made.0.len() == before {
                // Something else is wrong only together with one of them, or with more.
                let without = |key: &'static str| self.with(&made.clone().and(key, None)).ok();
                let whole = MADE.iter().find_map(|key| without(key)).unwrap_or_else(|| self.clone());
                return (whole, left_out);
            }
        }
    }

    /// The same with what a running gateway can take over of another: identifiers and secrets, who is believed and
    /// known, and, if wanted, where it is found.
    #[must_use]
    pub fn taking(&self, new: &Config, addresses: bool) -> Config {
        let found_at = if addresses { new } else { self };
        Config {
            public_url: found_at.public_url.clone(),
            private_url: found_at.private_url.clone(),
            hosts: new.hosts.clone(),
            trusted_proxies: new.trusted_proxies.clone(),
            allowed_origins: new.allowed_origins.clone(),
            smartcar: Smartcar {
                redirect_uri: found_at.smartcar.redirect_uri.clone(),
                origins: self.smartcar.origins.clone(),
                ..new.smartcar.clone()
            },
            warnings: new.warnings.clone(),
            mixed_up: new.mixed_up.clone(),
            shown: new.shown.clone(),
            ..self.clone()
        }
    }

    /// Where a value is fixed above the set-up page, if it is.
    pub fn fixed(&self, key: &str) -> Option<String> {
        self.written.values.get(key).map(|written| written.origin.to_string())
    }

    /// Whether a value is a secret.
    pub fn is_secret(key: &str) -> bool {
        KEYS.iter().any(|known| known.name == key && known.secret)
    }
}
