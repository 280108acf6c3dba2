//! The table of keys: the one list that file, environment, example and `config show` go by.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::written::{Raw, flatten};

/// The example file. Its commented lines are the defaults.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// Such as `smartcar.mode`.
    pub(super) name: &'static str,
    /// What stands in the example.
    pub(super) sample: Sample,
    /// Shown as `***`; has a `_file` form; may be a systemd credential.
    pub(super) secret: bool,
    /// A name of the SDKs for the same thing.
    pub(super) alias: Option<&'static str>,
}

/// What the line in the example is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// The default.
    Default,
    /// The default in the usual case; it follows from other keys.
    Derived,
    /// Only an example.
    Example,
}

use Sample::{Default, Derived, Example};

/// Every key, in the order of `config show`.
pub(super) const KEYS: &[Key] = &[
    plain("public_url", Derived),
    plain("private_url", Derived),
    plain("hosts", Default),
    plain("data_dir", Default),
    plain("units", Default),
    plain("listen", Default),
    plain("private_listen", Example),
    plain("public_api", Default),
    plain("trusted_proxies", Default),
    plain("tls.mode", Default),
    plain("tls.cert", Example),
    plain("tls.key", Example),
    plain("tls.http_listen", Derived),
    plain("tls.acme.directory", Default),
    plain("tls.acme.email", Example),
    plain("tls.acme.domains", Derived),
    plain("tls.acme.ca_file", Example),
    plain("tls.acme.challenge", Default),
    plain("tls.acme.dns", Example),
    secret("tls.acme.duckdns_token", None),
    plain("smartcar.application_id", Example),
    plain("smartcar.v3.client_id", Example),
    secret("smartcar.v3.client_secret", None),
    plain("smartcar.v2.client_id", Example),
    secret("smartcar.v2.client_secret", None),
    secret("smartcar.application_management_token", Some("SMARTCAR_APPLICATION_MANAGEMENT_TOKEN")),
    plain("smartcar.mode", Default),
    Key { alias: Some("SMARTCAR_REDIRECT_URI"), ..plain("smartcar.redirect_uri", Derived) },
    plain("smartcar.redirect_uris", Default),
    plain("smartcar.scope", Default),
    plain("smartcar.single_select", Default),
    plain("smartcar.webhook_id", Example),
    Key { alias: Some("SMARTCAR_CONNECT_ORIGIN"), ..plain("smartcar.origins.connect", Default) },
    Key { alias: Some("SMARTCAR_AUTH_ORIGIN"), ..plain("smartcar.origins.auth", Default) },
    Key { alias: Some("SMARTCAR_IAM_ORIGIN"), ..plain("smartcar.origins.iam", Default) },
    Key { alias: Some("SMARTCAR_API_ORIGIN"), ..plain("smartcar.origins.api", Default) },
    Key { alias: Some("SMARTCAR_API_V3_ORIGIN"), ..plain("smartcar.origins.vehicle", Default) },
    Key { alias: Some("SMARTCAR_MANAGEMENT_API_ORIGIN"), ..plain("smartcar.origins.management", Default) },
    Key { alias: Some("SMARTCAR_MANAGEMENT_V3_ORIGIN"), ..plain("smartcar.origins.management_v3", Default) },
    plain("webhooks.path", Default),
    plain("webhooks.max_body", Default),
    plain("webhooks.keep_events", Default),
    plain("webhooks.keep_bytes", Default),
    plain("webhooks.dedupe_for", Default),
    plain("history.keep", Default),
    plain("history.keep_bytes", Default),
    plain("history.keep_hours", Default),
    plain("history.keep_days", Default),
    plain("webhooks.subscribe", Default),
    plain("refresh.access_margin", Default),
    plain("refresh.refresh_margin", Default),
    plain("refresh.idle_renewal", Default),
    plain("budget.calls_per_vehicle_month", Default),
    plain("budget.reserve", Default),
    plain("budget.reset_day", Default),
    plain("poll.every", Default),
    plain("compat.max_age", Default),
    plain("metrics.vehicles", Default),
    plain("proxy_protocol", Default),
    plain("api.allowed_origins", Default),
    plain("auth.forward_header", Default),
    plain("session.idle", Default),
    plain("session.max", Default),
    plain("limits.webhook_failures", Default),
    plain("limits.callback", Default),
    plain("limits.login", Default),
    plain("limits.api", Default),
    plain("limits.connections", Default),
    plain("limits.header_time", Default),
    plain("limits.body_time", Default),
    plain("key.file", Derived),
    secret("key.secret", None),
    plain("store.min_free", Default),
];

const fn plain(name: &'static str, sample: Sample) -> Key {
    Key { name, sample, secret: false, alias: None }
}

const fn secret(name: &'static str, alias: Option<&'static str>) -> Key {
    Key { name, sample: Example, secret: true, alias }
}

/// A key, as a file or the environment may name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) key: &'static Key,
    /// It is the `_file` form: the value is the path of a file that holds the secret.
    pub(super) in_file: bool,
}

impl Key {
    /// `CARPORT_SMARTCAR_MODE`.
    pub(super) fn variable(&self) -> String {
        variable(self.name)
    }
}

/// The key of a dotted name.
pub(super) fn by_name(name: &str) -> Option<Named> {
    find(name, "_file", |key| key.name.to_owned())
}

/// The key of an environment variable `CARPORT_...`.
pub(super) fn by_variable(name: &str) -> Option<Named> {
    find(name, "_FILE", Key::variable)
}

/// The key of an SDK's environment variable. `SMARTCAR_CLIENT_ID` and its secret are no part of this:
/// which key they are depends on their value.
pub(super) fn by_alias(name: &str) -> Option<Named> {
    find(name, "_FILE", |key| key.alias.unwrap_or_default().to_owned())
}

fn find(name: &str, file_suffix: &str, spelled: impl Fn(&Key) -> String) -> Option<Named> {
    KEYS.iter().find_map(|key| {
        let own = spelled(key);
        if own.is_empty() {
            None
        } else if name == own {
            Some(Named { key, in_file: false })
        } else if key.secret && name.strip_suffix(file_suffix) == Some(own.as_str()) {
            Some(Named { key, in_file: true })
        } else {
            None
        }
    })
}

/// Whether there are keys below `section`.
pub(super) fn is_section(section: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')))
}

/// The key of a section that people mean who write the section itself: the one that chooses, or the first.
pub(super) fn chief(section: &str) -> String {
    let mode = format!("{section}.mode");
    let below = |key: &&Key| key.name.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
    let first = KEYS.iter().find(below).map(|key| key.name.to_owned());
    if by_name(&mode).is_some() { mode } else { first.unwrap_or(mode) }
}

/// The environment form of a dotted name.
fn variable(name: &str) -> String {
    format!("CARPORT_{}", name.replace('.', "_").to_ascii_uppercase())
}

/// The known name that `unknown` was probably meant to be.
pub(super) fn nearest(unknown: &str) -> Option<String> {
    let sections = KEYS.iter().filter_map(|key| key.name.rsplit_once('.')).map(|(section, _)| section);
    let names: Vec<String> = KEYS.iter().map(|key| key.name).chain(sections).map(str::to_owned).collect();
    // The right name in the wrong section, such as `webhook.path` or `client_id`.
    let last = unknown.rsplit('.').next().unwrap_or(unknown);
    closest(unknown, &names).or_else(|| names.iter().find(|name| name.rsplit('.').next() == Some(last)).cloned())
}

/// The known variable that `unknown` was probably meant to be.
pub(super) fn nearest_variable(unknown: &str) -> Option<String> {
    let names: Vec<String> = KEYS.iter().map(Key::variable).collect();
    closest(unknown, &names)
}

fn closest(unknown: &str, names: &[String]) -> Option<String> {
    let allowed = (unknown.len() / 5).clamp(1, 3);
    let scored = names.iter().map(|name| (strsim::levenshtein(unknown, name), name));
    scored.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, name)| name.clone())
}

/// The values of the example, by key.
pub(super) static SAMPLES: LazyLock<BTreeMap<String, Raw>> = LazyLock::new(|| {
    let (entries, _) = flatten(&uncommented(EXAMPLE));
    entries.into_iter().map(|entry| (entry.name, entry.value)).collect()
});

/// The example with every key in force: lines of `#` and a letter are keys, others are explanations.
pub(super) fn uncommented(example: &str) -> String {
    let mut text = String::with_capacity(example.len());
    for line in example.lines() {
        let key = line.strip_prefix('#').filter(|rest| rest.starts_with(|first: char| first.is_ascii_lowercase()));
        text.push_str(key.unwrap_or(line));
        text.push('\n');
    }
    text
}
