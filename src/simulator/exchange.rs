//! One request being answered, and the few ways to answer.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde_json::Value;
use url::form_urlencoded;

use super::Settings;
use super::state::State;
use super::trouble::Trouble;
use super::units::Units;
use crate::model::Timestamp;

pub(super) type Reply = Response<Bytes>;

/// A request with everything needed to answer it.
pub(super) struct Exchange<'a> {
    pub(super) settings: &'a Settings,
    pub(super) state: &'a mut State,
    pub(super) now: Timestamp,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) raw_query: &'a str,
    pub(super) query: Fields,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    pub(super) request_id: String,
    /// Something happened that the sender must hear of.
    pub(super) wake: bool,
    /// The body of the answer comes this much later than its head.
    pub(super) later: Option<Duration>,
}

/// On an answer whose body comes this much later than its head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Later(pub(super) Duration);

impl Exchange<'_> {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// The token of `Authorization: Bearer`.
    pub(super) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header(AUTHORIZATION.as_str())?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// User and password of `Authorization: Basic`.
    pub(super) fn basic(&self) -> Option<(String, String)> {
        let (scheme, value) = self.header(AUTHORIZATION.as_str())?.split_once(' ')?;
        let text = data_encoding::BASE64.decode(value.trim().as_bytes()).ok()?;
        let (user, password) = std::str::from_utf8(&text).ok()?.split_once(':')?;
        scheme.eq_ignore_ascii_case("basic").then(|| (user.to_owned(), password.to_owned()))
    }

    pub(super) fn form(&self) -> Fields {
        Fields::parse(self.body)
    }

    /// A trouble in the shape of the API that was asked, about the vehicle that was asked for.
    pub(super) fn trouble(&self, trouble: &Trouble) -> Reply {
        let about = vehicle_id(self.path).map(|id| trouble.clone().about(self.settings, id));
        let trouble = about.as_ref().unwrap_or(trouble);
        if self.path.starts_with("/v3/") { self.v3_trouble(trouble) } else { self.v2_trouble(trouble) }
    }

    /// Counts the request towards the limits. Err: it is one too many.
    pub(super) fn count(&mut self) -> Result<(), Trouble> {
        if !["/v2.0/", "/v3/"].iter().any(|api| self.path.starts_with(api)) {
            return Ok(());
        }
        // Of others there may be any number.
        let vehicle_id = vehicle_id(self.path).filter(|id| self.state.cars.contains_key(*id));
        let (limits, habits) = (&self.settings.limits, &self.settings.habits);
        let is_list = self.path.starts_with("/v3/") && self.path.trim_end_matches('/').ends_with("/signals");
        let cost = if is_list { habits.signals_cost } else { 1 };
        self.state.meter.count(limits, habits, vehicle_id, cost, self.now)
    }

    pub(super) fn v2_trouble(&self, trouble: &Trouble) -> Reply {
        let body = self.settings.habits.resolution.write(trouble.v2(&self.request_id));
        self.with_retry_after(json(trouble.status(), &body), trouble)
    }

    pub(super) fn v3_trouble(&self, trouble: &Trouble) -> Reply {
        let plain = self.settings.habits.plain_errors;
        let body = if plain { trouble.v3_plain() } else { trouble.v3(&self.request_id) };
        self.with_retry_after(json(trouble.status(), &body), trouble)
    }

    /// `Retry-After`, if there is something to wait for: seconds, or the date of RFC 9110.
    pub(super) fn retry_after(&self, trouble: &Trouble) -> Option<String> {
        let seconds = trouble.retry_after?;
        if !self.settings.habits.retry_date {
            return Some(seconds.to_string());
        }
        let at = self.now.after(Duration::from_secs(seconds.into())).as_millis();
        let at = jiff::Timestamp::from_millisecond(at).ok()?;
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()
    }

    fn with_retry_after(&self, mut reply: Reply, trouble: &Trouble) -> Reply {
        if let Some(value) = self.retry_after(trouble) {
            header(&mut reply, "retry-after", &value);
        }
        reply
    }

    /// What `sc-unit-system` asks for.
    pub(super) fn units(&self) -> Result<Units, Trouble> {
        let Some(asked) = self.header("sc-unit-system") else { return Ok(Units::Metric) };
        Units::named(asked).ok_or_else(|| Trouble::parameter("sc-unit-system", "is neither metric nor imperial"))
    }

    /// The body of a request, which must be JSON if there is one.
    pub(super) fn json_body(&self) -> Result<Value, Trouble> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(self.body).map_err(|_| Trouble::parameter("body", "is not JSON"))
    }
}

/// The vehicle that a path is about.
fn vehicle_id(path: &str) -> Option<&str> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["v2.0" | "v3", "vehicles", id, ..] => Some(*id),
        _ => None,
    }
}

/// Fields of a query or a form, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn parse(text: &[u8]) -> Fields {
        Fields(form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first field of this name; an empty one counts as missing.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str, default: usize) -> Result<usize, Trouble> {
        let Some(text) = self.get(name) else { return Ok(default) };
        text.parse().map_err(|_| Trouble::parameter(name, "is not a whole number"))
    }

    pub(super) fn insert(&mut self, name: &str, value: String) {
        self.0.push((name.to_owned(), value));
    }
}

pub(super) fn json(status: StatusCode, body: &Value) -> Reply {
    typed(status, "application/json; charset=utf-8", body.to_string())
}

/// One page of a JSON:API list, by `page[number]` and `page[size]`. Its links keep the filters.
pub(super) fn v3_page(exchange: &Exchange<'_>, name: &str, usual: usize, all: Vec<Value>) -> Result<Reply, Trouble> {
    let number = exchange.query.number("page[number]", 1)?;
    let size = exchange.query.number("page[size]", usual)?;
    if number == 0 {
        return Err(Trouble::parameter("page[number]", "begins at 1"));
    }
    if !(1..=100).contains(&size) {
        return Err(Trouble::parameter("page[size]", "is from 1 to 100"));
    }
    let (total, last) = (all.len(), all.len().div_ceil(size).max(1));
    let filters: String =
        exchange.query.0.iter().filter(|(name, _)| name.starts_with("filter[")).fold(String::new(), |filters, (name, value)| {
            let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            format!("{filters}&{name}={value}")
        });
    let link = |number: usize| format!("/v3/{name}?page[number]={number}&page[size]={size}{filters}");
    let data: Vec<Value> = all.into_iter().skip(size.saturating_mul(number - 1)).take(size).collect();
    let older = exchange.settings.habits.older_pages;
    let (page, previous) = if older { ("page", "previous") } else { ("pageNumber", "prev") };
    let body = serde_json::json!({
        "data": data,
        "meta": { page: number, "pageSize": size, "totalCount": total },
        "links": {
            "self": link(number),
            "first": link(1),
            previous: (number > 1).then(|| link((number - 1).min(last))),
            "next": (number < last).then(|| link(number + 1)),
            "last": link(last),
        },
    });
    Ok(json(StatusCode::OK, &body))
}

pub(super) fn html(status: StatusCode, body: String) -> Reply {
    let mut reply = typed(status, "text/html; charset=utf-8", body);
    let policy = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'";
    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

pub(super) fn typed(status: StatusCode, kind: &'static str, body: impl Into<Cow<'static, str>>) -> Reply {
    let body = match body.into() {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    };
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

pub(super) fn redirect(location: &str) -> Reply {
    let mut reply = Response::new(Bytes::new());
    let Ok(location) = HeaderValue::from_str(location) else {
        return typed(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", "The redirect URI cannot be a header.");
    };
    *reply.status_mut() = StatusCode::FOUND;
    reply.headers_mut().insert(LOCATION, location);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Adds a header whose value was made here.
pub(super) fn header(reply: &mut Reply, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}
