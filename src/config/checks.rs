//! What single values cannot tell: keys that contradict each other (mistakes), and identifiers that look
//! mixed up (warnings: `client_` is Smartcar's habit, not its promise).

use std::time::Duration;

use url::{Host, Url};

use super::secrets::exposed;
use super::sources::Collected;
use super::{Config, Listen, Scope};
use crate::model::Secret;
use crate::smartcar::is_known_permission;
use crate::tls::{Files, Source};
use crate::web;

/// What Carport has, or may come to have, for itself with everything below. Single addresses are asked of the
/// table of routes.
const RESERVED: &[&str] = &[
    "/connect/",
    "/assets/",
    "/vehicles/",
    "/webhooks/",
    "/connections/",
    "/setup/",
    "/api/v1/",
    "/oauth/",
    "/oauth2/",
    "/v2.0/",
    "/v3/",
    "/.well-known/",
];

pub(super) fn check(config: &mut Config, collected: &mut Collected) {
    routes(config, collected);
    limits(config, collected);
    forwarding(config, collected);
    listeners(config, collected);
    ourselves(config, collected);
    budget(config, collected);
    polling(config, collected);
    let mut warnings = Vec::new();
    open_proxies(config, collected, &mut warnings);
    identifiers(config);
    permissions(config);
    warnings.extend(config.mixed_up.iter().cloned());
    if config.smartcar.v3.is_some() && config.smartcar.application_id.is_none() {
        warnings.push("smartcar.application_id is not set: nobody can connect a car without it".to_owned());
    }
    addresses(config, &mut warnings);
    transport(config, collected, &mut warnings);
    config.warnings.append(&mut warnings);
}

fn routes(config: &Config, collected: &mut Collected) {
    let callback = config.smartcar.redirect_uri.path().trim_end_matches('/');
    for (key, path) in [("smartcar.redirect_uri", callback), ("webhooks.path", &config.webhooks.path)] {
        let is_below = |taken: &&&str| path == taken.trim_end_matches('/') || path.starts_with(**taken);
        if let Some(taken) = RESERVED.iter().find(is_below).copied().or_else(|| web::own_route(path)) {
            let origin = origin(collected, key);
            let remedy = "Choose another path; /api/smartcar/callback and /api/webhooks/smartcar are the usual ones";
            collected.mistake(key, origin, format!("takes the path {path:?}, but {taken} is Carport's own"), remedy);
        }
    }
    if callback.is_empty() {
        let origin = origin(collected, "smartcar.redirect_uri");
        let remedy = "Give it a path of its own, such as /api/smartcar/callback, and register it in Smartcar's dashboard";
        collected.mistake("smartcar.redirect_uri", origin, "has no path: the dashboard lies there", remedy);
    }
    if callback == config.webhooks.path {
        let origin = origin(collected, "webhooks.path");
        let remedy = "Give the webhook a path of its own, such as /api/webhooks/smartcar";
        collected.mistake("webhooks.path", origin, "is the path of smartcar.redirect_uri too", remedy);
    }
}

fn listeners(config: &Config, collected: &mut Collected) {
    if let Some(twice) = config.private_listen.iter().find(|listen| config.listen.contains(listen) && !is_any_port(listen)) {
        let origin = origin(collected, "private_listen");
        collected.mistake("private_listen", origin, format!("{twice} is in listen too"), "Give it a port of its own");
    }
    if config.public_api && config.private_listen.is_empty() {
        let origin = origin(collected, "public_api");
        let remedy = "Set private_listen, or leave public_api out: without it, listen shows everything";
        collected.mistake("public_api", origin, "is of no use without private_listen", remedy);
    }
}

/// Smartcar is not to be looked for here: an environment that was meant for an SDK is taken for ours most easily.
fn ourselves(config: &Config, collected: &mut Collected) {
    let origins = &config.smartcar.origins;
    let origins = [
        ("smartcar.origins.connect", &origins.connect),
        ("smartcar.origins.auth", &origins.auth),
        ("smartcar.origins.iam", &origins.iam),
        ("smartcar.origins.api", &origins.api),
        ("smartcar.origins.vehicle", &origins.vehicle),
        ("smartcar.origins.management", &origins.management),
        ("smartcar.origins.management_v3", &origins.management_v3),
    ];
    for (key, url) in origins.into_iter().filter(|(_, url)| is_here(config, url)) {
        let origin = origin(collected, key);
        let wrong = format!("is {}, where Carport itself is to be found", url.as_str().trim_end_matches('/'));
        collected.mistake(key, origin, wrong, "Leave it out; what is set for Smartcar's SDKs belongs into another shell");
    }
}

/// Whether a URL leads to this Carport, as far as addresses tell it.
fn is_here(config: &Config, url: &Url) -> bool {
    if [&config.public_url, &config.private_url].into_iter().any(|own| own.origin() == url.origin()) {
        return true;
    }
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let is_at = |listen: &Listen| match listen {
        Listen::Tcp(at) if Some(at.port()) != url.port_or_known_default() => false,
        Listen::Tcp(at) if at.ip().is_loopback() || at.ip().is_unspecified() => is_loopback,
        Listen::Tcp(at) => url.host_str().is_some_and(|host| host.trim_matches(['[', ']']) == at.ip().to_string()),
        Listen::Unix(_) => false,
    };
    config.listen.iter().chain(&config.private_listen).any(is_at)
}

fn budget(config: &Config, collected: &mut Collected) {
    let told = is_told(collected, &["budget.calls_per_vehicle_month", "budget.reserve"]);
    if let Some(calls) = config.budget.calls_per_vehicle_month.filter(|calls| *calls <= config.budget.reserve && !told) {
        let origin = origin(collected, "budget.reserve");
        let remedy = "Keep fewer in reserve than budget.calls_per_vehicle_month has";
        collected.mistake("budget.reserve", origin, format!("leaves nothing of {calls} calls for reading"), remedy);
    }
}

/// Manufacturers want to be asked every half an hour at most, and answer no more often than that.
fn polling(config: &Config, collected: &mut Collected) {
    if config.poll_every.is_some_and(|every| every < Duration::from_secs(1800)) {
        let origin = origin(collected, "poll.every");
        let remedy = "Write 30m or more: a car that charges is read more often by itself";
        collected.mistake("poll.every", origin, "is less than half an hour", remedy);
    }
}

/// Port 0 is another one each time.
fn is_any_port(listen: &Listen) -> bool {
    matches!(listen, Listen::Tcp(address) if address.port() == 0)
}

fn limits(config: &Config, collected: &mut Collected) {
    // A VERIFY may have 4 KiB; a whole vehicle's signals fit 16 MiB many times over.
    if !(4096..=16 << 20).contains(&config.webhooks.max_body) {
        let origin = origin(collected, "webhooks.max_body");
        collected.mistake("webhooks.max_body", origin, "is not between 4KiB and 16MiB", "Write 64KiB");
    }
    if config.webhooks.keep_bytes < config.webhooks.max_body && !is_told(collected, &["webhooks.keep_bytes", "webhooks.max_body"])
    {
        let origin = origin(collected, "webhooks.keep_bytes");
        collected.mistake("webhooks.keep_bytes", origin, "is less than one webhook may have", "Write 64MiB");
    }
    if config.history.points < Duration::from_secs(86_400) {
        let origin = origin(collected, "history.keep");
        collected.mistake("history.keep", origin, "is less than a day", "Write 1d or more");
    }
    if config.session.idle > config.session.max && !is_told(collected, &["session.idle", "session.max"]) {
        let (key, wrong, remedy) = if collected.values.contains_key("session.idle") {
            ("session.idle", "is longer than session.max", "Write a shorter time")
        } else {
            ("session.max", "is shorter than session.idle is by default", "Write session.idle too, no longer than this")
        };
        let origin = origin(collected, key);
        collected.mistake(key, origin, wrong, remedy);
    }
}

/// Whether one of these keys has a mistake already: what is wrong by itself has its default in its place, and comparing
/// that with another would tell of a second mistake that nobody made.
fn is_told(collected: &Collected, keys: &[&str]) -> bool {
    collected.mistakes.iter().any(|mistake| keys.contains(&mistake.key.as_str()))
}

fn forwarding(config: &Config, collected: &mut Collected) {
    let keys = [("auth.forward_header", config.forward_header.is_some()), ("proxy_protocol", config.proxy_protocol)];
    for (key, _) in keys.into_iter().filter(|(_, is_set)| *is_set && config.trusted_proxies.is_empty()) {
        if is_told(collected, &["trusted_proxies"]) {
            continue;
        }
        let origin = origin(collected, key);
        let remedy = "Write the address of the proxy into trusted_proxies";
        collected.mistake(key, origin, "counts from nobody, as trusted_proxies is empty", remedy);
    }
}

/// Networks in which strangers may be: whoever is there speaks as a proxy.
fn open_proxies(config: &Config, collected: &mut Collected, warnings: &mut Vec<String>) {
    let open: Vec<String> = config.trusted_proxies.iter().filter(|network| network.is_open()).map(ToString::to_string).collect();
    if open.is_empty() {
        return;
    }
    let open = open.join(" and ");
    if config.forward_header.is_some() {
        let origin = origin(collected, "trusted_proxies");
        let what = format!("trusts {open}, where strangers may be: each of them could sign in by auth.forward_header");
        collected.mistake(
            "trusted_proxies",
            origin,
            what,
            "Write the address of the proxy alone, or leave auth.forward_header out",
        );
    } else {
        warnings.push(format!(
            "trusted_proxies trusts {open}, where strangers may be: whoever comes from there says themselves who they are; \
             write the address of the proxy alone if you can"
        ));
    }
}

/// What stands in another's place.
fn identifiers(config: &mut Config) {
    let (smartcar, warnings) = (&config.smartcar, &mut config.mixed_up);
    if smartcar.v2.as_ref().is_some_and(|v2| v2.client_id.starts_with("client_")) {
        warnings.push("smartcar.v2.client_id begins with client_, as ids for smartcar.v3.client_id do".to_owned());
    }
    if let Some(id) = smartcar.v3.as_ref().map(|v3| &v3.client_id)
        && !id.starts_with("client_")
    {
        let also = if smartcar.application_id.as_ref() == Some(id) { " and is the Application ID" } else { "" };
        warnings
            .push(format!("smartcar.v3.client_id does not begin with client_{also}: Smartcar may refuse it as invalid_client"));
    }
    if smartcar.application_id.as_ref().is_some_and(|id| id.starts_with("client_")) {
        warnings.push("smartcar.application_id begins with client_, but Connect wants the Application ID (a UUID)".to_owned());
    }
    let secrets = [("smartcar.v2.client_secret", &smartcar.v2), ("smartcar.v3.client_secret", &smartcar.v3)];
    let secrets = secrets.into_iter().filter_map(|(key, given)| Some((key, given.as_ref()?.client_secret.expose())));
    let secrets: Vec<(&str, &str)> = secrets.collect();
    for (key, _) in secrets.iter().filter(|(_, secret)| secret.starts_with("client_")) {
        warnings.push(format!("{key} begins with client_, as the Client ID does, not its secret"));
    }
    let tokens: Vec<&str> = smartcar.management_tokens.iter().map(Secret::expose).collect();
    if tokens.iter().any(|token| uuid::Uuid::try_parse(token).is_err()) {
        warnings.push("smartcar.application_management_token is no UUID, as Smartcar's are: is it another value?".to_owned());
    }
    if smartcar.webhook_id.as_deref().is_some_and(|id| tokens.contains(&id) || smartcar.application_id.as_deref() == Some(id)) {
        warnings.push("smartcar.webhook_id is the same as another value: it is the ID on the webhook's own page".to_owned());
    }
    if secrets.iter().any(|(_, secret)| tokens.contains(secret)) {
        warnings
            .push("smartcar.application_management_token is the same as a client secret: they are different things".to_owned());
    }
}

fn permissions(config: &mut Config) {
    let Scope::Permissions(permissions) = &config.smartcar.scope else { return };
    let unknown: Vec<&str> = permissions.iter().map(String::as_str).filter(|name| !is_known_permission(name)).collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        config
            .mixed_up
            .push(format!("smartcar.scope has {unknown}, which Smartcar does not list as a permission: is it misspelt?"));
    }
}

fn addresses(config: &Config, warnings: &mut Vec<String>) {
    let callback = &config.smartcar.redirect_uri;
    if callback.origin() != config.public_url.origin() {
        warnings.push(format!(
            "smartcar.redirect_uri ({callback}) is not below public_url ({}): owners may not come back here",
            config.public_url
        ));
    }
    if callback.path().trim_end_matches('/').ends_with(&config.webhooks.path) || config.webhooks.path.contains("callback") {
        warnings.push("webhooks.path looks like the browser callback: Smartcar has two fields for the two".to_owned());
    }
    let origins = &config.smartcar.origins;
    for (name, url) in [("auth", &origins.auth), ("iam", &origins.iam), ("api", &origins.api), ("vehicle", &origins.vehicle)] {
        if is_plain_and_far(url) {
            warnings.push(format!("smartcar.origins.{name} is plain http: secrets would travel in the clear"));
        }
    }
    let everybody = config.listen.iter().any(|listen| matches!(listen, Listen::Tcp(address) if !address.ip().is_loopback()));
    if everybody && is_plain_and_far(&config.public_url) {
        warnings.push("public_url is plain http: Smartcar sends webhooks to https only".to_owned());
    }
}

fn transport(config: &Config, collected: &Collected, warnings: &mut Vec<String>) {
    let source = config.tls.as_ref().map(|tls| &tls.source);
    let others = [
        ("tls.acme.", "acme", matches!(source, Some(Source::Acme(_)))),
        ("tls.cert", "files", matches!(source, Some(Source::Files(_)))),
        ("tls.key", "files", matches!(source, Some(Source::Files(_)))),
    ];
    for (prefix, mode, _) in others.into_iter().filter(|(.., is_used)| !is_used) {
        for key in collected.values.keys().filter(|key| key.starts_with(prefix)) {
            warnings.push(format!("{key} is not used: it belongs to tls.mode {mode:?}"));
        }
    }
    let Some(tls) = &config.tls else { return };
    if let (Source::Acme(_), Some(Host::Domain(name))) = (&tls.source, config.public_url.host())
        && !tls.names.iter().any(|own| is_within(name, own))
    {
        warnings.push(format!("tls.acme.domains does not hold {name}, the name in public_url: nobody will take the certificate"));
    }
    if config.public_url.scheme() == "http" {
        warnings.push(format!(
            "public_url is {}, but with tls.mode only https is spoken there: links that are given out will not work",
            config.public_url
        ));
    }
    if let Source::Files(Files { key, .. }) = &tls.source {
        // Of a file that holds none the reason is told when it is read.
        let has_a_key = std::fs::metadata(key).is_ok_and(|file| file.is_file() && file.len() < 1 << 20)
            && std::fs::read_to_string(key).is_ok_and(|text| text.contains("PRIVATE KEY"));
        warnings.extend(exposed(key).filter(|_| has_a_key).map(|warning| format!("tls.key: {warning}")));
    }
}

/// Whether a name is one of those that a certificate's name stands for.
fn is_within(name: &str, own: &str) -> bool {
    match own.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => name == own,
    }
}

/// Plain http to a name out in the world: names without a dot and `.local` stay in the house.
fn is_plain_and_far(url: &Url) -> bool {
    let far = |name: &str| name.rsplit_once('.').is_some_and(|(_, last)| last != "local");
    url.scheme() == "http" && matches!(url.host(), Some(Host::Domain(name)) if far(name))
}

fn origin(collected: &Collected, key: &str) -> String {
    collected.values.get(key).map_or_else(|| "default".to_owned(), |written| written.origin.to_string())
}
