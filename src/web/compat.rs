//! Smartcar's own API at the edge: what a request in its words asks, and answers and errors in its shapes.

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::problem::Problem;
use super::{Body, Call};
use crate::commands::CommandView;
use crate::compat::{Reply, Wish, of_outcome};
use crate::model::api_error::ApiError;
use crate::model::budget::Reason;
use crate::model::command::Command;
use crate::model::{Timestamp, VehicleId};
use crate::operate::access::Scope;

pub(super) mod tokens;
pub(super) mod v2;
pub(super) mod v3;

/// Whose words an address speaks. That of Carport's own API is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `/v2.0`
    V2,
    /// `/v3`
    V3,
    /// The token endpoints.
    OAuth,
}

impl Dialect {
    /// By the path, or by the pattern of a route.
    pub(super) fn of(path: &str) -> Option<Dialect> {
        match path.split('/').nth(1)? {
            "v2.0" => Some(Dialect::V2),
            "v3" => Some(Dialect::V3),
            "oauth" | "oauth2" => Some(Dialect::OAuth),
            _ => None,
        }
    }

    /// A problem, as Smartcar would say it.
    pub(super) fn respond(self, problem: &Problem, request_id: &str) -> Response<Body> {
        problem.log(request_id);
        let mut error = problem.error().cloned().unwrap_or_else(|| of_problem(problem));
        if self == Dialect::OAuth && error.status == 404 {
            error = error.because(NO_CONNECT);
        }
        let body = match self {
            Dialect::V2 => error.v2(request_id),
            Dialect::V3 => error.v3(request_id),
            Dialect::OAuth => {
                let word = match (error.code.as_deref(), error.status) {
                    (Some(code), _) if code.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()) => code,
                    (_, 401) => "invalid_client",
                    (_, 429 | 500..) => "temporarily_unavailable",
                    _ => "invalid_request",
                };
                json!({ "error": word, "error_description": error.description })
            }
        };
        // Smartcar's 430 is on nobody's list.
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = answer::bytes(status, "application/json", body.to_string());
        problem.show(response.headers_mut());
        response
    }
}

const NO_CONNECT: &str = "Carport does not serve Connect here: its links come from `carport connect`, the dashboard, or \
                          POST /api/v1/connect. The token endpoints are POST /oauth/token and POST /oauth2/token.";

/// What went wrong before Smartcar's API was reached.
fn of_problem(problem: &Problem) -> ApiError {
    let error = match problem.status().as_u16() {
        401 => return ApiError::authentication().because(problem.sentence()),
        403 => ApiError::forbidden(),
        404 | 405 => ApiError::path(),
        429 => ApiError::of("RATE_LIMIT", Some("SMARTCAR_API")),
        400..500 => ApiError::of("VALIDATION", None),
        _ => ApiError::of("SERVER", Some("INTERNAL")),
    };
    ApiError { status: problem.status().as_u16(), ..error }.because(problem.sentence())
}

/// Tells a car something; whatever really came of it is noted, and what went wrong is an error.
async fn tell(call: &Call<'_>, smartcar_user: Option<&str>, command: Command) -> Result<CommandView, Problem> {
    let by = (call.caller()?.actor.clone(), call.client.address());
    let view = call.services.rooms.compat.tell(call.reach()?, &vehicle(call)?, smartcar_user, command, by).await?;
    call.noting.command(&view);
    call.noting.has_happened();
    of_outcome(&view).map_or(Ok(view), |error| Err(error.into()))
}

/// Why Smartcar is asked, if it is.
fn reason(call: &Call<'_>) -> Result<Reason, Problem> {
    Ok(Wish { is_reader: is_reader(call)?, ..Wish::default() }.reason())
}

fn is_reader(call: &Call<'_>) -> Result<bool, Problem> {
    Ok(call.caller()?.scope == Scope::Read)
}

/// What the head says of the values that are wanted. What cannot be read of `Cache-Control` is passed over (RFC 9111, 4.2.1).
fn wish(call: &Call<'_>) -> Result<Wish, Problem> {
    let imperial = match text(&call.head.headers, &SC_UNIT_SYSTEM).map(str::trim) {
        Some(units) if units.eq_ignore_ascii_case("imperial") => true,
        Some(units) if !units.eq_ignore_ascii_case("metric") => {
            return Err(ApiError::parameter("sc-unit-system", "sc-unit-system must be metric or imperial.").into());
        }
        _ => false,
    };
    let lines = call.head.headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let age = |word: &str| match word.trim().to_ascii_lowercase().split_once('=') {
        Some(("max-age", seconds)) => seconds.trim_matches('"').parse().ok().map(Duration::from_secs),
        None if word.trim().eq_ignore_ascii_case("no-cache") => Some(Duration::ZERO),
        _ => None,
    };
    let max_age = lines.flat_map(|line| line.split(',')).filter_map(age).min();
    Ok(Wish { max_age, imperial, is_reader: is_reader(call)? })
}

/// The headers beside a body.
fn provenance(reply: &Reply, wish: Wish) -> Vec<(HeaderName, String)> {
    let mut headers = vec![(SC_UNIT_SYSTEM, if wish.imperial { "imperial" } else { "metric" }.to_owned())];
    let time = |name: HeaderName, at: Option<Timestamp>| at.map(|at| (name, at.to_string()));
    headers.extend(time(SC_DATA_AGE, reply.oem_updated_at));
    headers.extend(time(SC_FETCHED_AT, reply.fetched_at));
    headers
}

fn show(reply: &Reply, wish: Wish) -> Answer {
    let mut response = answer::ok(&reply.body)?;
    for (name, value) in provenance(reply, wish) {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// The query. Names that are not known are passed over, as at Smartcar.
fn query(call: &Call<'_>) -> Vec<(String, String)> {
    let query = call.head.uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn value_of(query: &[(String, String)], name: &str) -> Option<String> {
    query.iter().find(|(own, value)| own == name && !value.is_empty()).map(|(_, value)| value.clone())
}

/// A number in the query.
fn number(query: &[(String, String)], name: &str, usual: usize, least: usize, most: usize) -> Result<usize, Problem> {
    let Some(text) = value_of(query, name) else { return Ok(usual) };
    let number = text.parse::<usize>().ok().filter(|number| *number >= least);
    let wrong = || ApiError::parameter(name, format!("{name} must be a whole number from {least} on."));
    Ok(number.ok_or_else(wrong)?.min(most))
}

/// The body as JSON, whatever it says of itself; null if there is none.
fn body(call: &Call<'_>) -> Result<Value, Problem> {
    if call.body.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    let wrong = |_| Problem::from(ApiError::of("VALIDATION", None).because("The body is not JSON."));
    serde_json::from_slice(&call.body).map_err(wrong)
}

fn vehicle(call: &Call<'_>) -> Result<VehicleId, Problem> {
    call.named(0).map(VehicleId::new)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(super) const SC_REQUEST_ID: HeaderName = HeaderName::from_static("sc-request-id");
const SC_UNIT_SYSTEM: HeaderName = HeaderName::from_static("sc-unit-system");
const SC_DATA_AGE: HeaderName = HeaderName::from_static("sc-data-age");
const SC_FETCHED_AT: HeaderName = HeaderName::from_static("sc-fetched-at");
const SC_USER_ID: HeaderName = HeaderName::from_static("sc-user-id");
