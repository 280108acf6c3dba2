//! Everything HTTP: routes, guards, pages and answers. Handlers read the request, make one call down,
//! and dress the answer.
//!
//! [`handle`] is the whole gateway as one function; it never needs a socket. [`server`] puts it on
//! listeners. What must stay true: no limiter stands before the proof of a delivery, nothing that came
//! with a request is shown unescaped, and no answer leaves without the security headers.

use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;

use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Instant;

use self::allowance::Allowance;
use self::answer::Answer;
use self::audit::{Noting, UnderWay};
use self::client::Client;
use self::compat::Dialect;
use self::problem::Problem;
use self::router::{Auth, Bucket, Lost, Route};
use self::viewer::Reader;
use crate::operate::audit::{Actor, Done};

mod allowance;
mod answer;
mod api;
mod audit;
mod call;
mod client;
mod compat;
mod connect;
mod cookies;
mod cors;
mod dashboard;
mod dispatch;
mod events;
mod exchange;
mod face;
mod flash;
mod forward_auth;
mod framing;
mod guard;
mod input;
mod ops;
mod pages;
mod peer;
mod problem;
mod request_id;
mod router;
pub mod server;
mod services;
mod session;
mod settings;
mod viewer;
mod webhook;

use self::call::Call;

pub use face::Face;
pub use peer::Peer;
pub use router::{LONGEST_FORM, own_route};
pub use services::{Rooms, Services};
pub use settings::{Limits, Network, Quota, Settings};

/// Every address of the gateway, by method and pattern. Webhook and callback stand as they are by default.
pub fn routes() -> impl Iterator<Item = (&'static Method, &'static str)> {
    router::TABLE.iter().map(|(method, pattern, _)| (method, *pattern))
}

/// The body of an answer. Boxed, so that an answer may also be a stream.
pub type Body = UnsyncBoxBody<Bytes, CutOff>;

/// An answer that was begun cannot be finished: its end must not look like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer was cut off")]
pub struct CutOff;

/// Tells with an answer what is left of a limit, unless it tells of another.
fn tell(allowance: Option<Allowance>, answer: Answer) -> Answer {
    match answer {
        Ok(mut response) => {
            if let Some(allowance) = allowance {
                allowance.show(response.headers_mut());
            }
            Ok(response)
        }
        Err(problem) => Err(problem.within(allowance)),
    }
}

/// Answers one request. Everything that the gateway does over HTTP goes through here.
pub async fn handle<B>(services: &Services, peer: Peer, request: Request<B>) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let began = Instant::now();
    let changed = services.if_changed();
    let services = changed.as_ref().unwrap_or(services);
    let request_id = services.request_id();
    let (head, body) = request.into_parts();
    // Handed down from future to future, each of which would keep room for all of it.
    let head = Box::new(head);
    let is_head = head.method == Method::HEAD;
    let prefers_html = prefers_html(&head);
    let dialect = Dialect::of(head.uri.path());
    let found = Route::parse(&services.settings, &services.face, &head.method, head.uri.path());
    let route = found.as_ref().ok().map(|found| found.route);
    let is_for_people = route.map_or_else(|| !head.uri.path().starts_with("/api/"), Route::is_for_people);
    let is_for_a_person = prefers_html && is_for_people;
    // The head goes on to its handler.
    let asked = is_for_a_person.then(|| (head.headers.clone(), head.uri.clone(), session::is_unsafe(&head.method)));
    let readers = route.and_then(|route| cors::Readers::of(route, &head.headers, &services.settings));

    let answer = async {
        framing::check(&head)?;
        let client = Client::of(peer, &head.headers, &services.settings);
        client::notice_proxy(services, peer, &head.headers);
        if !client.is_local() {
            client::check_host(&client::host(&head.headers, &head.uri)?, &services.settings)?;
        }
        match found {
            _ if services.face.is_way() => face::way(&services.face, &head, &services.settings),
            Ok(found) => serve(services, client, found, (head, &request_id), body).await,
            Err(lost) => astray(services, client, &head, body, lost).await,
        }
    };
    // A mistake of ours costs this request, not those of others. All state that requests share is behind
    // locks that mend themselves, or in the store, whose changes are whole or not at all.
    let answer = AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(route = route.map_or("unknown", Route::name), request.id = %request_id, "a handler panicked");
        Err(Problem::internal())
    });
    let mut response = match answer {
        Ok(response) => response,
        Err(problem) if let Some(dialect) = dialect => dialect.respond(&problem, &request_id),
        // A browser that is not signed in is shown how to, when it came for a page.
        Err(problem) if problem.code() == "unauthorized" && is_for_a_person => session::show_the_way(),
        Err(problem) => match asked {
            Some((headers, uri, is_form)) => {
                let client = Client::of(peer, &headers, &services.settings);
                let is_host_ours =
                    client::host(&headers, &uri).is_ok_and(|host| client::check_host(&host, &services.settings).is_ok());
                let asked = (headers, uri.path().to_owned(), is_form);
                let reader = Reader::of(services, client, asked, is_host_ours).await;
                problem.respond_to(&reader, services, &request_id)
            }
            None => problem.respond(&request_id),
        },
    };
    response = finish(services, peer, route, response, &request_id);
    if let (Some(_), Ok(id)) = (dialect, HeaderValue::try_from(&request_id)) {
        response.headers_mut().insert(compat::SC_REQUEST_ID, id);
    }
    if let Some(readers) = readers {
        readers.show(response.headers_mut());
    }
    if is_head {
        response = answer::without_body(response);
    }

    let (name, status) = (route.map_or("unknown", Route::name), response.status().as_u16());
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    // A card must not wear out by its log: what is counted, and went well many times or was refused many times, is
    // not told each time.
    let is_told = if route == Some(Route::Webhook) { status >= 400 && status != 401 && status != 429 } else { status != 429 };
    if is_told {
        tracing::info!(route = name, status, duration_ms, request.id = %request_id, "request");
    } else {
        tracing::debug!(route = name, status, duration_ms, request.id = %request_id, "request");
    }
    response
}

/// What every answer bears, and that it is counted.
fn finish(
    services: &Services,
    peer: Peer,
    route: Option<Route>,
    mut response: Response<Body>,
    request_id: &str,
) -> Response<Body> {
    answer::dress(&mut response, request_id);
    if services.settings.hsts && matches!(peer, Peer::Remote { tls: true, .. } | Peer::Passed { tls: true, .. }) {
        answer::insist_on_tls(&mut response);
    }
    services.metrics.http_request(route.map_or("unknown", Route::name), response.status().as_u16());
    response
}

/// A request whose route is known: how often, who, how much, and then its handler.
async fn serve<B>(
    services: &Services,
    client: Client,
    found: router::Found,
    (head, request_id): (Box<Parts>, &str),
    body: B,
) -> Answer
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let policy = found.route.policy();
    let cap = policy.body_cap.map(|cap| cap.bytes(&services.settings));
    if policy.auth == Auth::Signature {
        return webhook::receive(services, client, head, body, cap.unwrap_or_default()).await;
    }
    let allowance = policy.bucket.map(|bucket| services.take(bucket, client)).transpose()?.flatten();
    // Large, and a connection that only delivers need not have room for it.
    let answer = Box::pin(respond(services, client, found, (head, request_id), body, cap)).await;
    match policy.bucket {
        Some(bucket) => services.settle(bucket, client, allowance, answer),
        None => answer,
    }
}

/// Who calls, whether they may, and what they get.
async fn respond<B>(
    services: &Services,
    client: Client,
    found: router::Found,
    (head, request_id): (Box<Parts>, &str),
    body: B,
    cap: Option<usize>,
) -> Answer
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let router::Found { route, named } = found;
    let policy = route.policy();
    let who = || session::identify(services, client, route, &head);
    let identity = match policy.auth {
        Auth::Open if policy.greets => who().await.unwrap_or_default(),
        Auth::Open | Auth::Signature => None,
        _ if policy.ticket && events::ticket(&head).is_some() => Some(events::admit(services, client, &head)?),
        Auth::Scope(_) | Auth::Page(_) => who().await?,
    };
    // SECURITY: what another origin may read, it reads with a token of its own.
    let is_elsewhere = policy.cors
        && cors::origin(&head.headers, &services.settings).is_some()
        && !session::is_same_origin(&head.headers, client, &services.settings);
    let identity = identity.filter(|identity| identity.cookie.is_none() || !is_elsewhere);
    session::admit(policy, client, identity.as_ref())?;
    let changes = session::is_unsafe(&head.method);
    let by_cookie = identity.as_ref().and_then(|identity| identity.cookie.as_deref()).filter(|_| changes);
    if by_cookie.is_some() && !session::is_same_origin(&head.headers, client, &services.settings) {
        return Err(Problem::cross_site());
    }
    let body = match cap {
        Some(cap) => input::body(&head.headers, body, cap, services.settings.limits.body_time).await?,
        None => Bytes::new(),
    };
    let cookie_kind = cookies::Kind::of(client, &head.headers);
    let identity = identity.as_ref();
    let form_token = identity.and_then(|identity| identity.cookie.as_deref()).map(session::form_token);
    let actor = identity.map_or(Actor::Link, |identity| identity.caller.actor.clone());
    let done = Done { actor, address: client.address(), action: route.name(), ids: named.clone(), status: None };
    let noting = Noting::of(route, &services.rooms.audit, done);
    let (left, noted, seen) = (OnceLock::new(), noting.clone(), services.rooms.deliveries.seen());
    let call = Call {
        services,
        client,
        cookie_kind,
        route,
        named,
        head: &head,
        request_id,
        body,
        identity,
        form_token,
        noting: noted,
        seen,
        left,
    };
    if let Some(cookie) = by_cookie {
        call.check_form_token(cookie)?;
    }
    let under_way = UnderWay::begin(route, noting).await?;
    let answer = dispatch::to_handler(route, &call).await;
    let answer = tell(call.left.get().copied(), answer);
    let status = answer.as_ref().map_or_else(Problem::status, Response::status);
    under_way.end(status).await;
    answer
}

/// A request that found no route.
async fn astray<B>(services: &Services, client: Client, head: &Parts, body: B, lost: Lost) -> Answer
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let allowance = services.take(Bucket::Api, client);
    let is_delivery = head.method == Method::POST && head.headers.contains_key(webhook::SC_SIGNATURE);
    match lost {
        // Perhaps a wrong path in Smartcar's dashboard, or none at all.
        _ if is_delivery => {
            webhook::stray(services, client, head, body).await;
            Err(Problem::not_found())
        }
        Lost::NotFound => services.settle(Bucket::Api, client, allowance?, Err(Problem::not_found())),
        Lost::WrongMethod { allow, webhook: true } if prefers_html(head) => pages::webhook_address(services, &allow),
        Lost::WrongMethod { allow, .. } => {
            if let Some(allowed) = cors::preflight(services, head, &allow) {
                return services.settle(Bucket::Api, client, allowance?, Ok(allowed));
            }
            services.settle(Bucket::Api, client, allowance?, Err(Problem::method_not_allowed(allow)))
        }
    }
}

/// Whether a person looks at the answer.
fn prefers_html(head: &Parts) -> bool {
    let mut accepted = head.headers.get_all(http::header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    accepted.any(|line| line.split(',').any(|kind| kind.trim().to_ascii_lowercase().starts_with("text/html")))
}
