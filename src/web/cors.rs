//! Pages of other origins (CORS, as the Fetch standard has it): those in `api.allowed_origins` may use the API
//! with a bearer token. Cookies are never meant: nothing here says that they may be used, and one that
//! comes with such a request does not count.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response};

use super::router::Route;
use super::{Body, Services, Settings, answer};

/// The origin that a request comes from, if it is one that may use the API. It is compared to the letter:
/// browsers write origins in one way only.
pub(super) fn origin<'a>(headers: &'a HeaderMap, settings: &Settings) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(ORIGIN).iter();
    let (Some(origin), None) = (lines.next(), lines.next()) else { return None };
    settings.allowed_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then_some(origin)
}

/// Who may read the answer to a request, on a route whose policy lets other origins in.
#[derive(Debug)]
pub(super) struct Readers(Option<HeaderValue>);

impl Readers {
    /// By the request; `None` where no other origin is let in.
    pub(super) fn of(route: Route, headers: &HeaderMap, settings: &Settings) -> Option<Readers> {
        let lets_in = route.policy().cors && !settings.allowed_origins.is_empty();
        lets_in.then(|| Readers(origin(headers, settings).cloned()))
    }

    /// Says so in the answer, errors too.
    pub(super) fn show(self, headers: &mut HeaderMap) {
        // Whatever the origin is: a cache must not give one page what was meant for another.
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.0 {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }
}

/// The answer to a browser that asks whether it may; `None` if that is not what it does, or it may not.
pub(super) fn preflight(services: &Services, head: &Parts, allow: &str) -> Option<Response<Body>> {
    let Services { settings, face, .. } = services;
    if head.method != Method::OPTIONS {
        return None;
    }
    origin(&head.headers, settings)?;
    let asked = Method::from_bytes(head.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()?;
    let found = Route::parse(settings, face, &asked, head.uri.path()).ok()?;
    let readers = Readers::of(found.route, &head.headers, settings)?;
    let mut response = answer::done();
    let headers = response.headers_mut();
    readers.show(headers);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::try_from(allow).ok()?);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    Some(response)
}

const ALLOWED: &str = "authorization, cache-control, content-type, sc-unit-system, sc-user-id";
const EXPOSED: &str = "location, ratelimit, ratelimit-policy, retry-after, x-request-id, sc-data-age, sc-fetched-at, \
                       sc-request-id, sc-unit-system";
