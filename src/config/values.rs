//! What single values mean. A refusal never repeats a secret.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{self, HeaderName};
use url::Url;

use super::written::Raw;
use super::{Listen, Mode, Network, Quota, Scope};
use crate::model::normal::Units;
use crate::model::{Secret, span};

/// Why a value cannot be taken: what is wrong, and the one thing to do. Neither ends in a full stop.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) wrong: String,
    pub(super) remedy: String,
}

pub(super) type Taken<T> = Result<T, Wrong>;

pub(super) fn wrong<T>(wrong: impl Into<String>, remedy: impl Into<String>) -> Taken<T> {
    Err(Wrong { wrong: wrong.into(), remedy: remedy.into() })
}

// === texts and lists ===

pub(super) fn text(raw: &Raw) -> Taken<String> {
    match raw {
        Raw::Text(text) if text.trim().is_empty() => wrong("is empty", "Give it a value, or leave the key out"),
        Raw::Text(text) => Ok(text.trim().to_owned()),
        Raw::List(items) if items.len() == 1 => text(&items[0]),
        other => wrong(format!("is {}, not a text", kind(other)), "Write one value in quotes"),
    }
}

/// A list, or one value, or several in one text, separated by commas (as the environment has to).
pub(super) fn list(raw: &Raw) -> Taken<Vec<String>> {
    match raw {
        Raw::List(items) => items.iter().map(text).collect(),
        Raw::Text(text) if text.contains(',') => {
            Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
        }
        other => Ok(vec![text(other)?]),
    }
}

/// Takes every item of a list; what is wrong with any of them is told at once.
pub(super) fn each<T>(items: Vec<String>, take: impl Fn(String) -> Taken<T>) -> Taken<Vec<T>> {
    let (mut taken, mut faults, mut remedies) = (Vec::new(), Vec::new(), Vec::new());
    for outcome in items.into_iter().map(take) {
        match outcome {
            Ok(item) => taken.push(item),
            Err(Wrong { wrong, remedy }) => {
                faults.push(wrong);
                remedies.extend(Some(remedy).filter(|remedy| !remedies.contains(remedy)));
            }
        }
    }
    if faults.is_empty() { Ok(taken) } else { wrong(faults.join("; "), remedies.join("; ")) }
}

pub(super) fn flag(raw: &Raw) -> Taken<bool> {
    match raw {
        Raw::Bool(value) => Ok(*value),
        Raw::Text(text) if text == "true" => Ok(true),
        Raw::Text(text) if text == "false" => Ok(false),
        _ => wrong("is neither true nor false", "Write true or false"),
    }
}

/// Whether something is done by itself.
pub(super) fn auto(raw: &Raw) -> Taken<bool> {
    match text(raw)?.as_str() {
        "auto" => Ok(true),
        "off" => Ok(false),
        other => wrong(format!("{other:?} is neither auto nor off"), "Write \"auto\" or \"off\""),
    }
}

pub(super) fn secret(raw: &Raw) -> Taken<Secret> {
    match raw {
        Raw::Text(text) if text.trim().is_empty() => wrong("is empty", "Give it a value, or leave the key out"),
        Raw::Text(text) => Ok(Secret::new(text.trim())),
        Raw::List(items) if items.len() == 1 => secret(&items[0]),
        Raw::List(_) => wrong("is a list", "Give it one value; while a secret is being replaced, the new one"),
        other => wrong(format!("is {}, not a text", kind(other)), "Write the value in quotes"),
    }
}

pub(super) fn secrets(raw: &Raw) -> Taken<Vec<Secret>> {
    match raw {
        Raw::List(items) if items.is_empty() => wrong("is an empty list", "Give it a value, or leave the key out"),
        Raw::List(items) => items.iter().map(secret).collect(),
        Raw::Text(text) if text.contains(',') => text.split(',').map(|item| secret(&Raw::Text(item.to_owned()))).collect(),
        other => Ok(vec![secret(other)?]),
    }
}

fn kind(raw: &Raw) -> &'static str {
    match raw {
        Raw::Text(_) => "a text",
        Raw::Integer(_) => "a number",
        Raw::Bool(_) => "true or false",
        Raw::List(_) => "a list",
        Raw::Other(kind) => kind,
    }
}

// === numbers with units ===

/// A size in bytes, such as `500`, `64KiB`, `16MiB`, `1GiB`.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A quota, such as `60/m`.
pub fn quota(text: &str) -> Option<Quota> {
    let (count, unit) = text.split_once('/')?;
    let count = count.trim().parse().ok().filter(|count| *count > 0)?;
    let per = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(Quota::new(count, Duration::from_secs(per)))
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

pub(super) fn time(raw: &Raw) -> Taken<Duration> {
    let text = number_or_text(raw)?;
    match span(&text) {
        Some(time) if time.is_zero() => wrong("is zero", "Write a duration such as 30s, 10m, 12h or 5d"),
        Some(time) => Ok(time),
        None => wrong(format!("{text:?} is not a duration"), "Write 30s, 10m, 12h or 5d"),
    }
}

pub(super) fn bytes(raw: &Raw) -> Taken<u64> {
    let text = number_or_text(raw)?;
    size(&text).map_or_else(|| wrong(format!("{text:?} is not a size"), "Write 500, 64KiB, 16MiB or 1GiB"), Ok)
}

pub(super) fn rate(raw: &Raw) -> Taken<Quota> {
    let text = number_or_text(raw)?;
    quota(&text).map_or_else(|| wrong(format!("{text:?} is not a rate"), "Write 60/m; per s, m or h"), Ok)
}

pub(super) fn count(raw: &Raw) -> Taken<u64> {
    let text = number_or_text(raw)?;
    match text.parse() {
        Ok(0) => wrong("is zero", "Write a number from 1 on"),
        Ok(count) => Ok(count),
        Err(_) => wrong(format!("{text:?} is not a whole number"), "Write a number from 1 on"),
    }
}

/// A number of calls, or `unlimited`.
pub(super) fn calls(raw: &Raw) -> Taken<Option<u32>> {
    let text = number_or_text(raw)?;
    match text.parse() {
        _ if text == "unlimited" => Ok(None),
        Ok(calls) if calls > 0 => Ok(Some(calls)),
        _ => wrong(format!("{text:?} is not a number of calls"), "Write what your plan allows, such as 500, or \"unlimited\""),
    }
}

pub(super) fn reserve(raw: &Raw) -> Taken<u32> {
    let text = number_or_text(raw)?;
    text.parse().or_else(|_| wrong(format!("{text:?} is not a whole number"), "Write a number from 0 on"))
}

pub(super) fn day(raw: &Raw) -> Taken<i8> {
    let text = number_or_text(raw)?;
    let day = text.parse().ok().filter(|day| (1..=28).contains(day));
    day.map_or_else(|| wrong(format!("{text:?} is not a day that every month has"), "Write a number from 1 to 28"), Ok)
}

/// A duration, or `any`.
pub(super) fn max_age(raw: &Raw) -> Taken<Option<Duration>> {
    match raw {
        Raw::Text(text) if text.trim() == "any" => Ok(None),
        _ => time(raw).map(Some).map_err(|mistake| Wrong { remedy: format!("{}, or \"any\"", mistake.remedy), ..mistake }),
    }
}

/// A duration, or `off`.
pub(super) fn every(raw: &Raw) -> Taken<Option<Duration>> {
    match raw {
        Raw::Text(text) if text.trim() == "off" => Ok(None),
        _ => time(raw).map(Some).map_err(|mistake| Wrong { remedy: format!("{}, or \"off\"", mistake.remedy), ..mistake }),
    }
}

fn number_or_text(raw: &Raw) -> Taken<String> {
    match raw {
        Raw::Integer(number) => Ok(number.to_string()),
        other => text(other),
    }
}

// === addresses ===

/// An origin: scheme and host, perhaps a port.
pub(super) fn origin(raw: &Raw) -> Taken<Url> {
    let text = text(raw)?;
    let remedy = "Write scheme and host only, such as https://cars.example.org";
    let Ok(url) = Url::parse(&text) else {
        return wrong(format!("{text:?} is not a URL"), remedy);
    };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return wrong(format!("{text:?} is not an http or https address"), remedy);
    }
    // SECURITY: not repeated, a password may be in it.
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("has a user name or password in it", remedy);
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return wrong(format!("{text:?} has more than scheme and host"), remedy);
    }
    Ok(url)
}

/// The name of a header that a proxy writes a user's name into, or `off`.
pub(super) fn forward_header(raw: &Raw) -> Taken<Option<HeaderName>> {
    const REMEDY: &str = "Write the header that your proxy sets, such as Remote-User, or off";
    let text = text(raw)?;
    if text == "off" {
        return Ok(None);
    }
    let Ok(name) = HeaderName::try_from(&text) else { return wrong(format!("{text:?} is not the name of a header"), REMEDY) };
    let means_something_else = OTHERWISE_USED.contains(&name) || name.as_str().starts_with("x-forwarded-");
    if means_something_else { wrong(format!("{name} says something else already"), REMEDY) } else { Ok(Some(name)) }
}

const OTHERWISE_USED: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::FORWARDED,
    header::HOST,
    header::ORIGIN,
];

/// Origins of web pages, as browsers write them: no slash, no usual port, in lower case.
pub(super) fn origins(raw: &Raw) -> Taken<Vec<String>> {
    each(list(raw)?, page_origin)
}

fn page_origin(text: String) -> Taken<String> {
    if ["*", "null"].contains(&text.as_str()) {
        return wrong(format!("{text:?} would be any page"), "List the origin of each, such as https://app.example.org");
    }
    Ok(origin(&Raw::Text(text))?.origin().ascii_serialization())
}

/// An origin of Smartcar's. The Python SDK's `SMARTCAR_AUTH_ORIGIN` is the whole address of the token
/// endpoint; its path is dropped.
pub(super) fn smartcar_origin(raw: &Raw) -> Taken<Url> {
    let text = text(raw)?;
    let trimmed = text.trim_end_matches('/').trim_end_matches("/oauth/token");
    origin(&Raw::Text(trimmed.to_owned()))
}

/// The browser callback.
pub(super) fn callback(raw: &Raw) -> Taken<Url> {
    let text = text(raw)?;
    let remedy = "Write the redirect URI as registered at Smartcar, such as https://cars.example.org/api/smartcar/callback";
    match Url::parse(&text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            wrong(format!("{text:?} is not an http or https address"), "List URIs of apps in smartcar.redirect_uris instead")
        }
        // SECURITY: not repeated, a password may be in it.
        Ok(url) if !url.username().is_empty() || url.password().is_some() => wrong("has a user name or password in it", remedy),
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            wrong(format!("{text:?} has a query or a fragment"), remedy)
        }
        Ok(url) => Ok(url),
        Err(_) => wrong(format!("{text:?} is not a URL"), remedy),
    }
}

/// Redirect URIs of apps: any scheme, to the letter.
pub(super) fn uris(raw: &Raw) -> Taken<Vec<String>> {
    let is_uri = |item: &str| Url::parse(item).is_ok();
    each(list(raw)?, |item| {
        if is_uri(&item) { Ok(item) } else { wrong(format!("{item:?} is not a URI"), "Write each as registered at Smartcar") }
    })
}

pub(super) fn hosts(raw: &Raw) -> Taken<Vec<String>> {
    let remedy = "Write names without scheme and port, such as cars.home.arpa";
    each(list(raw)?, |item| match url::Host::parse(&item) {
        Ok(host) if host.to_string() == item.to_ascii_lowercase() && !item.contains('*') => Ok(item.to_ascii_lowercase()),
        _ => wrong(format!("{item:?} is not a host name"), remedy),
    })
}

pub(super) fn listen(raw: &Raw, base: &Path) -> Taken<Vec<Listen>> {
    if let Raw::Integer(port) = raw {
        return wrong("is a port alone", format!("Write IP:PORT in quotes, such as \"127.0.0.1:{port}\""));
    }
    let items = list(raw)?;
    if items.is_empty() {
        return wrong("is an empty list", "Write an address such as 127.0.0.1:8000");
    }
    each(items, |item| listen_at(&item, base))
}

/// One address with its port, or "off".
pub(super) fn address_or_off(raw: &Raw) -> Taken<Option<SocketAddr>> {
    let text = text(raw)?;
    if text == "off" {
        return Ok(None);
    }
    match listen_at(&text, Path::new(""))? {
        Listen::Tcp(address) => Ok(Some(address)),
        Listen::Unix(_) => wrong("is a socket file", "Write IP:PORT such as [::]:80, or \"off\""),
    }
}

fn listen_at(text: &str, base: &Path) -> Taken<Listen> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => wrong("\"unix:\" lacks its path", "Write unix:/run/carport/http.sock"),
            path => Ok(Listen::Unix(absolute(base, path))),
        };
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Listen::Tcp(address));
    }
    let port = text.trim_start_matches("localhost").trim_start_matches('*').trim_start_matches(':');
    let remedy = match port.parse::<u16>() {
        Ok(port) if text.starts_with(':') || text.starts_with('*') => format!("Write [::]:{port}"),
        Ok(port) => format!("Write 127.0.0.1:{port}"),
        Err(_) => "Write IP:PORT such as 127.0.0.1:8000, [::]:8000 for every address, or unix:PATH".to_owned(),
    };
    wrong(format!("{text:?} is not an IP address and a port"), remedy)
}

pub(super) fn networks(raw: &Raw) -> Taken<Vec<Network>> {
    each(list(raw)?, |item| network(&item))
}

fn network(text: &str) -> Taken<Network> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let remedy = "Write an address such as 127.0.0.1, or a network such as 10.0.0.0/8";
    let Ok(address) = address.parse::<IpAddr>() else {
        return wrong(format!("{text:?} is not an address or network"), remedy);
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let network = prefix.map_or(Some(most), |prefix| prefix.parse().ok()).and_then(|prefix| Network::new(address, prefix));
    network.map_or_else(|| wrong(format!("{text:?} has a prefix that is not 0 to {most}"), remedy), Ok)
}

// === words ===

pub(super) fn mode(raw: &Raw) -> Taken<Mode> {
    match text(raw)?.as_str() {
        "live" => Ok(Mode::Live),
        "simulated" => Ok(Mode::Simulated),
        "test" => wrong("\"test\" is a mode that Smartcar has given up", "Write \"simulated\""),
        other => wrong(format!("{other:?} is not a mode"), "Write \"live\" or \"simulated\""),
    }
}

pub(super) fn units(raw: &Raw) -> Taken<Units> {
    let text = text(raw)?;
    let unknown = || wrong(format!("{text:?} is no system of units"), "Write \"metric\" or \"imperial\"");
    Units::parse(&text).map_or_else(unknown, Ok)
}

/// Where our own certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    Off,
    Files,
    Acme,
    SelfSigned,
}

pub(super) fn tls_mode(raw: &Raw) -> Taken<TlsMode> {
    match text(raw)?.as_str() {
        "off" => Ok(TlsMode::Off),
        "files" => Ok(TlsMode::Files),
        "acme" => Ok(TlsMode::Acme),
        "self-signed" => Ok(TlsMode::SelfSigned),
        other => wrong(format!("{other:?} is not a mode of TLS"), "Write \"off\", \"files\", \"acme\" or \"self-signed\""),
    }
}

pub(super) fn scope(raw: &Raw) -> Taken<Scope> {
    let items = match raw {
        // As OAuth and the SDKs write it.
        Raw::Text(text) if text.contains(' ') && !text.contains(',') => text.split_whitespace().map(str::to_owned).collect(),
        other => list(other)?,
    };
    if items == ["dashboard"] {
        return Ok(Scope::Dashboard);
    }
    let is_permission = |item: &String| {
        let name = item.strip_prefix("required:").unwrap_or(item);
        (name.starts_with("read_") || name.starts_with("control_"))
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if items.is_empty() {
        return wrong("is an empty list", "Write \"dashboard\" to leave the choice to Smartcar's dashboard");
    }
    let remedy = "Write permissions such as read_battery, or \"dashboard\"";
    let permission = |item| if is_permission(&item) { Ok(item) } else { wrong(format!("{item:?} is not a permission"), remedy) };
    each(items, permission).map(Scope::Permissions)
}

/// The path of a route.
pub(super) fn route(raw: &Raw) -> Taken<String> {
    let text = text(raw)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    if !text.starts_with('/') || text.len() < 2 || !text.bytes().all(fits) || text.contains("//") {
        return wrong(format!("{text:?} is not a path"), "Write a path such as /api/webhooks/smartcar");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

pub(super) fn path(raw: &Raw, base: &Path) -> Taken<PathBuf> {
    Ok(absolute(base, &text(raw)?))
}

/// `path` from `base`, without `.` in it.
pub(super) fn absolute(base: &Path, path: &str) -> PathBuf {
    base.join(path).components().collect()
}
