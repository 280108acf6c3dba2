//! `GET /api/v1/events`: server-sent events, as the HTML standard has them, one for each delivery once it has become
//! vehicle data.
//!
//! A stream is a follower of the webhook log that remembers nothing: the id of an event is its place, and whoever comes
//! back names the last one it saw. What must stay true: a part of the log is read only when the one before was taken, so
//! that who reads slowly costs no memory; and a stream shows nothing that its caller could not ask for at that moment.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::{self, Answer};
use super::client::Client;
use super::guard::Household;
use super::input::Fields;
use super::problem::Problem;
use super::router::Route;
use super::session::Identity;
use super::{Call, CutOff, Services};
use crate::model::Seq;
use crate::model::reach::Reach;
use crate::operate::access::Caller;
use crate::operate::audit::Refused;

/// The streams there are, and the tickets for others.
#[derive(Debug, Default)]
pub(super) struct Events {
    open: Mutex<HashMap<Option<Household>, usize>>,
    tickets: Mutex<HashMap<[u8; 32], Ticket>>,
}

#[derive(Debug)]
struct Ticket {
    caller: Caller,
    until: Instant,
}

/// Streams of one client at a time: several pages in several browsers of one household.
const PER_CLIENT: usize = 8;

/// Streams at a time: the other connections are for those who come and go.
const IN_ALL: usize = 64;

/// Tickets that nobody has used yet.
const TICKETS: usize = 1_000;

/// How long a ticket is good.
const TICKET_LIFE: Duration = Duration::from_secs(30);

/// After how long something is said, if there is nothing to say: proxies end connections that are silent.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a stream lasts: a little less than a connection. Clients come back by themselves.
const LONGEST: Duration = Duration::from_secs(14 * 60);

// === Tickets ===

/// `POST events/ticket`: an `EventSource` of another origin can bear no token, so it gets a word for its address.
pub(super) fn give_ticket(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let secret = call.services.world.random_key();
    let now = Instant::now();
    let ticket = Ticket { caller: call.caller()?.clone(), until: now + TICKET_LIFE };
    let mut tickets = call.services.events.tickets.lock().unwrap_or_else(PoisonError::into_inner);
    tickets.retain(|_, ticket| ticket.until > now);
    if tickets.len() >= TICKETS {
        return Err(Problem::crowded("There are too many tickets that nobody uses. Wait half a minute."));
    }
    tickets.insert(hash(&secret), ticket);
    answer::json(StatusCode::CREATED, &json!({ "ticket": secret, "expires_in": TICKET_LIFE.as_secs() }))
}

/// The ticket in a query.
pub(super) fn ticket(head: &Parts) -> Option<String> {
    Fields::parse(head.uri.query().unwrap_or_default().as_bytes()).ok()?.take("ticket")
}

/// Whoever comes with a ticket is who asked for it; it is spent by that.
pub(super) fn admit(services: &Services, client: Client, head: &Parts) -> Result<Identity, Problem> {
    let spent = {
        let mut tickets = services.events.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        ticket(head).and_then(|ticket| tickets.remove(&hash(&ticket)))
    };
    if let Some(Ticket { caller, .. }) = spent.filter(|ticket| ticket.until > Instant::now()) {
        return Ok(Identity { caller, cookie: None });
    }
    services.rooms.audit.refuse(Refused::Token, client.address());
    services.take_for_proof(Route::Events, client)?;
    Err(Problem::unauthorized())
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

// === Streams ===

/// `GET events`
pub(super) async fn stream(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    query.take("ticket");
    let after = query.take("after");
    query.finish()?;
    let deliveries = &call.services.rooms.deliveries;
    // Whoever comes back does so by the same address, with the newer place in the header.
    let from = match (call.head.headers.get(LAST_EVENT_ID), after) {
        (Some(id), _) => place("Last-Event-ID", id.to_str().unwrap_or_default())?,
        (None, Some(id)) => place("after", &id)?,
        (None, None) => deliveries.newest().await?,
    };
    let place = Place::take(&call.services.events, call.client)?;
    let now = Instant::now();
    let follower = Follower {
        services: call.services.clone(),
        caller: call.caller()?.clone(),
        grew: deliveries.place(),
        up_to: from,
        ends_at: now + LONGEST,
        silent_until: now + SILENCE,
        has_begun: false,
        _place: place,
    };
    let parts = stream::unfold(follower, |follower| async {
        let (part, follower) = follower.next().await?;
        Some((Ok::<_, CutOff>(Frame::data(Bytes::from(part))), follower))
    });
    let mut response = Response::new(StreamBody::new(parts).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx would keep events back until it has many of them.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn place(name: &str, id: &str) -> Result<Seq, Problem> {
    let wrong = || Problem::bad_request(format!("`{name}` must be the id of an event of this stream."));
    id.parse().map(Seq).map_err(|_| wrong())
}

/// One stream.
struct Follower {
    services: Services,
    caller: Caller,
    grew: watch::Receiver<Seq>,
    up_to: Seq,
    ends_at: Instant,
    silent_until: Instant,
    has_begun: bool,
    _place: Place,
}

impl Follower {
    /// The next words, once there are any; `None` at the end.
    async fn next(mut self) -> Option<(String, Follower)> {
        if !std::mem::replace(&mut self.has_begun, true) {
            // At once, so that the client knows that it is heard; how long it is to wait before it comes back, and from where
            // on, should that be before the first event. How much comes in of other cars is nobody's business.
            let from = if self.caller.reach == Reach::All { format!("id: {}\n", self.up_to) } else { String::new() };
            return Some((format!("retry: {RETRY_MS}\n{from}\n"), self));
        }
        let stop = self.services.stop.clone();
        loop {
            self.grew.mark_unchanged();
            // What was read cannot be told to somebody whose token was revoked meanwhile.
            let news = self.services.rooms.deliveries.after(&self.caller.reach, self.up_to).await.ok()?;
            if !news.items.is_empty() || news.is_missed {
                if !self.services.rooms.access.still_may(&self.caller).await.ok()? {
                    return None;
                }
                self.up_to = news.up_to;
                self.silent_until = Instant::now() + SILENCE;
                let mut part = String::new();
                if news.is_missed {
                    // Before the rest: whoever shows a picture has to make it anew.
                    part.push_str("event: missed\ndata: {}\n\n");
                }
                for item in &news.items {
                    let data = serde_json::to_string(item).ok()?;
                    // JSON on one line; writing to a String cannot fail.
                    let _ = write!(part, "id: {}\nevent: delivery\ndata: {data}\n\n", item.seq);
                }
                return Some((part, self));
            }
            if news.up_to > self.up_to {
                self.up_to = news.up_to;
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep_until(self.ends_at) => return None,
                changed = self.grew.changed() => changed.ok()?,
                () = tokio::time::sleep_until(self.silent_until) => {
                    if !self.services.rooms.access.still_may(&self.caller).await.ok()? {
                        return None;
                    }
                    self.silent_until = Instant::now() + SILENCE;
                    return Some((":\n\n".to_owned(), self));
                }
            }
        }
    }
}

/// A place among the streams, given back at the end.
struct Place {
    events: Arc<Events>,
    of: Option<Household>,
}

impl Place {
    fn take(events: &Arc<Events>, client: Client) -> Result<Place, Problem> {
        let of = client.address().map(Household::of);
        let mut open = events.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= IN_ALL || open.get(&of).is_some_and(|own| *own >= PER_CLIENT) {
            return Err(Problem::crowded("There are too many streams of events. End one, or ask again later."));
        }
        *open.entry(of).or_default() += 1;
        Ok(Place { events: events.clone(), of })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.events.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.of) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.of);
            }
        }
    }
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

const RETRY_MS: u32 = 3_000;
