//! Dressing answers: bodies, redirects, and the headers that every answer bears.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;

use super::problem::Problem;
use super::{Body, CutOff};

/// What a handler returns.
pub(super) type Answer = Result<Response<Body>, Problem>;

/// Any bytes.
pub(super) fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = bare(status, Full::new(body.into()).map_err(never).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Text of any kind.
pub(super) fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    bytes(status, content_type, body)
}

/// A page.
pub(super) fn html(status: StatusCode, page: String) -> Response<Body> {
    text(status, "text/html; charset=utf-8", page)
}

/// JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // Our own types always serialise; only a map with odd keys could not.
    let body = serde_json::to_vec(value).map_err(|_| Problem::internal())?;
    Ok(bytes(status, "application/json", body))
}

/// JSON with 200.
pub(super) fn ok(value: &impl Serialize) -> Answer {
    json(StatusCode::OK, value)
}

/// A body that comes part by part, each asked for when the one before was taken. A part that fails cuts the answer off.
pub(super) fn stream(
    content_type: &'static str,
    parts: impl Stream<Item = Result<Bytes, CutOff>> + Send + 'static,
) -> Response<Body> {
    let mut response = bare(StatusCode::OK, StreamBody::new(parts.map(|part| part.map(Frame::data))).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn nothing() -> Body {
    Empty::new().map_err(never).boxed_unsync()
}

fn never(never: Infallible) -> CutOff {
    match never {}
}

/// Nothing more to say.
pub(super) fn done() -> Response<Body> {
    empty(StatusCode::NO_CONTENT)
}

/// A status alone.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    bare(status, nothing())
}

/// With room for what every answer bears.
fn bare(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().reserve(USUAL);
    response
}

/// How many headers an answer has at most, usually.
const USUAL: usize = 12;

/// "Look there, with GET."
pub(super) fn see_other(location: &str) -> Answer {
    redirect(StatusCode::SEE_OTHER, location)
}

/// A redirect. Callers only name addresses that the operator or we made.
pub(super) fn redirect(status: StatusCode, location: &str) -> Answer {
    let location = HeaderValue::try_from(location).map_err(|_| Problem::not_found())?;
    let mut response = empty(status);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Any text as one part of a path.
pub(super) fn path_part(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Adds what every answer bears. A header that the handler set stays.
pub(super) fn dress(response: &mut Response<Body>, request_id: &str) {
    let headers = response.headers_mut();
    add(headers, CONTENT_SECURITY_POLICY, CSP);
    add(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Not `no-referrer`: with it browsers send `Origin: null` with our own forms.
    add(headers, REFERRER_POLICY, "same-origin");
    add(headers, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    add(headers, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    add(headers, X_FRAME_OPTIONS, "DENY");
    add(headers, CACHE_CONTROL, "no-store");
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}

/// Tells a browser to come with TLS only, for two years from now on.
pub(super) fn insist_on_tls(response: &mut Response<Body>) {
    add(response.headers_mut(), STRICT_TRANSPORT_SECURITY, "max-age=63072000");
}

fn add(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}

/// For HEAD: the same head, with the length that the body would have.
pub(super) fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let length = hyper::body::Body::size_hint(&body).exact();
    if let Some(length) = length.filter(|_| head.status != StatusCode::NO_CONTENT) {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, nothing())
}

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                   frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_added_and_never_replaced() {
        let mut response = empty(StatusCode::OK);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
        dress(&mut response, "id-1");
        assert_eq!(response.headers()[CACHE_CONTROL], "max-age=5");
        assert_eq!(response.headers()["x-request-id"], "id-1");
        assert_eq!(response.headers()[X_FRAME_OPTIONS], "DENY");
        assert_eq!(response.headers()[REFERRER_POLICY], "same-origin");
        assert!(response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'; "));
    }

    #[tokio::test]
    async fn head_keeps_the_length_and_drops_the_body() {
        let response = without_body(text(StatusCode::OK, "text/plain", "four".to_owned()));
        assert_eq!(response.headers()[CONTENT_LENGTH], "4");
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    }

    #[test]
    fn a_redirect_cannot_smuggle_headers() {
        assert!(see_other("/a\r\nset-cookie: x").is_err());
    }
}
