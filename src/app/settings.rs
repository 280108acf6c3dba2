//! The configuration, handed out to the rooms: each gets its own settings and nothing else.

use std::sync::Arc;

use url::Url;

use crate::config::{self, Config, Mode};
use crate::model::token::Generation;
use crate::store::webhook_log::Ring;
use crate::vault::MasterKey;
use crate::web::server::Listen;
use crate::{budget, compat, connect, ingest, operate, smartcar, tls, tokens, vehicles, web};

pub(super) fn smartcar(config: &Config) -> smartcar::Settings {
    let config::Smartcar { application_id, v2, v3, management_tokens, scope, single_select, origins, .. } =
        config.smartcar.clone();
    let credentials =
        |given: config::Credentials| smartcar::Credentials { client_id: given.client_id, client_secret: given.client_secret };
    smartcar::Settings {
        application_id,
        v2: v2.map(credentials),
        v3: v3.map(credentials),
        management_token: management_tokens.into_iter().next(),
        scope: match scope {
            config::Scope::Dashboard => smartcar::Scope::Dashboard,
            config::Scope::Permissions(permissions) => smartcar::Scope::List(permissions),
        },
        single_select,
        origins: smartcar::Origins {
            connect: origin(&origins.connect),
            auth: origin(&origins.auth),
            iam: origin(&origins.iam),
            api: origin(&origins.api),
            vehicle: origin(&origins.vehicle),
            management: origin(&origins.management),
            management_v3: origin(&origins.management_v3),
        },
    }
}

/// Reads client secrets again that stand in files of their own.
pub(super) fn client_secrets(config: &Config) -> smartcar::Reread {
    let file = |given: &Option<config::Credentials>| given.as_ref().and_then(|given| given.client_secret_file.clone());
    let (v2, v3) = (file(&config.smartcar.v2), file(&config.smartcar.v3));
    Arc::new(move |generation| {
        let file = match generation {
            Generation::V2 => v2.as_deref(),
            Generation::V3 => v3.as_deref(),
        };
        config::reread(file?)
    })
}

pub(super) fn tokens(config: &Config) -> tokens::Settings {
    let config::Refresh { access_margin, refresh_margin, idle_renewal } = config.refresh;
    tokens::Settings { access_margin, refresh_margin, idle_renewal, ..tokens::Settings::default() }
}

pub(super) fn rotation(config: &Config, key: &MasterKey) -> operate::rotation::Settings {
    operate::rotation::Settings {
        file: config.key.file.clone(),
        next: super::keys::next(config),
        is_given: config.key.secret.is_some(),
        configured: key.id(),
    }
}

pub(super) fn ingest(config: &Config) -> ingest::Settings {
    ingest::Settings { management_tokens: config.smartcar.management_tokens.clone(), ring: ring(config) }
}

pub(super) fn ring(config: &Config) -> Ring {
    let config::Webhooks { keep_events, keep_bytes, dedupe_for, .. } = config.webhooks;
    Ring { events: keep_events, bytes: keep_bytes, dedupe_for }
}

pub(super) fn connect(config: &Config) -> connect::Settings {
    connect::Settings {
        public_url: origin(&config.public_url),
        redirect_uri: config.smartcar.redirect_uri.to_string(),
        redirect_uris: config.smartcar.redirect_uris.clone(),
        mode: (config.smartcar.mode != Mode::Live).then(|| config.smartcar.mode.as_str().to_owned()),
    }
}

pub(super) fn vehicles(config: &Config) -> vehicles::Settings {
    vehicles::Settings {
        dashboard_url: origin(&config.private_url),
        units: config.units,
        webhook_url: format!("{}{}", origin(&config.public_url), config.webhooks.path),
        webhook_id: config.smartcar.webhook_id.clone(),
        subscribes: config.webhooks.subscribe,
        polls_every: config.poll_every,
    }
}

pub(super) fn budget(config: &Config) -> budget::Settings {
    let config::Budget { calls_per_vehicle_month, reserve, reset_day } = config.budget;
    budget::Settings { calls_per_vehicle_month, reserve, reset_day }
}

pub(super) fn compat(config: &Config) -> compat::Settings {
    compat::Settings { max_age: config.compat_max_age }
}

pub(super) fn access(config: &Config) -> operate::access::Settings {
    operate::access::Settings { idle: config.session.idle, max: config.session.max }
}

pub(super) fn status(config: &Config) -> operate::status::Settings {
    operate::status::Settings {
        public_url: origin(&config.public_url),
        webhook_url: format!("{}{}", origin(&config.public_url), config.webhooks.path),
        dashboard_url: origin(&config.private_url),
        vehicle_metrics: config.vehicle_metrics,
        trusted_proxies: config.trusted_proxies.iter().map(ToString::to_string).collect(),
    }
}

/// What the probes try; for `carport check` too, which may run where no server does.
pub(crate) fn probes(config: &Config) -> operate::probes::Settings {
    const TOLD: &[&str] = &["public_url", "private_url", "webhooks.path"];
    let is_told = |key: &str| TOLD.contains(&key) || key.starts_with("smartcar.") && !key.starts_with("smartcar.origins");
    let shown = config.shown().iter().filter(|shown| is_told(shown.key));
    operate::probes::Settings {
        smartcar: smartcar(config),
        public_url: origin(&config.public_url),
        webhook_url: format!("{}{}", origin(&config.public_url), config.webhooks.path),
        redirect_uri: config.smartcar.redirect_uri.to_string(),
        mode: (config.smartcar.mode != Mode::Live).then(|| config.smartcar.mode.as_str().to_owned()),
        warnings: config.warnings.clone(),
        is_self_signed: is_self_signed(config),
        data_dir: config.data_dir.clone(),
        shown: shown
            .map(|shown| operate::probes::Shown { key: shown.key, value: shown.value.clone(), origin: shown.origin.clone() })
            .collect(),
    }
}

fn is_self_signed(config: &Config) -> bool {
    config.tls.as_ref().is_some_and(|tls| matches!(tls.source, tls::Source::SelfSigned))
}

pub(super) fn web(config: &Config) -> web::Settings {
    // The names that a certificate is ordered for lead here.
    let ordered = config.tls.iter().filter(|tls| matches!(tls.source, tls::Source::Acme(_))).flat_map(|tls| &tls.names);
    web::Settings {
        public_url: config.public_url.clone(),
        private_url: Some(config.private_url.clone()),
        hosts: config.hosts.iter().chain(ordered).cloned().collect(),
        trusted_proxies: config.trusted_proxies.clone(),
        proxy_protocol: config.proxy_protocol,
        forward_header: config.forward_header.clone(),
        allowed_origins: config.allowed_origins.clone(),
        webhook_path: config.webhooks.path.clone(),
        webhook_max_body: usize::try_from(config.webhooks.max_body).unwrap_or(usize::MAX),
        redirect_uri: config.smartcar.redirect_uri.to_string(),
        callback_path: config.smartcar.redirect_uri.path().to_owned(),
        limits: config.limits.clone(),
        permissions: match &config.smartcar.scope {
            config::Scope::Dashboard => Vec::new(),
            config::Scope::Permissions(permissions) => permissions.clone(),
        },
        lan_only: config.lan,
        // Who trusts no such certificate could not even decide to come in.
        hsts: config.tls.is_some() && !is_self_signed(config),
        session_max: config.session.max,
    }
}

pub(super) fn listen(listen: &config::Listen) -> Listen {
    match listen {
        config::Listen::Tcp(address) => Listen::Tcp(*address),
        config::Listen::Unix(path) => Listen::Unix(path.clone()),
    }
}

/// A place to listen at, in words.
pub(super) fn place(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) | Listen::Control(path) => format!("unix:{}", path.display()),
    }
}

/// An origin as text, without a slash at the end.
fn origin(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}
