//! For whoever runs Carport: health, metrics, and the description of the API.

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::answer::{self, Answer};
use super::dashboard;
use super::problem::Problem;
use super::{Body, Call};

/// The description of the API, OpenAPI 3.1.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// `GET /healthz`: the process is up.
pub(super) fn healthz() -> Answer {
    answer::ok(&json!({ "status": "ok" }))
}

/// `GET /readyz`: store, key and listeners.
pub(super) async fn readyz(call: &Call<'_>) -> Answer {
    let readiness = call.services.rooms.status.ready().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, &readiness)
}

/// `GET /metrics`. It names connections and counts everybody's deliveries.
pub(super) async fn metrics(call: &Call<'_>) -> Answer {
    let text = call.services.rooms.status.metrics().await;
    Ok(answer::text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}

/// `GET /openapi.json`.
pub(super) fn openapi() -> Response<Body> {
    answer::bytes(StatusCode::OK, "application/json", OPENAPI)
}

/// `GET /assets/{name}`. Pages name them with a hash of the content, so they never change.
pub(super) fn asset(call: &Call<'_>) -> Answer {
    let (content_type, bytes) = dashboard::asset(call.named(0)?).ok_or_else(Problem::not_found)?;
    let mut response = answer::bytes(StatusCode::OK, content_type, bytes);
    let is_named_by_hash = call.head.uri.query().is_some_and(|query| query.starts_with("v="));
    let cache = if is_named_by_hash { "public, max-age=31536000, immutable" } else { "no-cache" };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}
