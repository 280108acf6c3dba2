//! The connections that there are. When there is room for no more, somebody who keeps us waiting has to go: a client
//! that opens many and finishes nothing shall not keep the others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use super::super::Peer;

/// Whose turn it is on a connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    began: Instant,
    /// Since when we wait for the client, in nanoseconds from `began`; or [`OURS`].
    theirs_since: Arc<AtomicU64>,
    origin: Arc<Mutex<Origin>>,
}

/// A request is whole and its answer is not there yet.
const OURS: u64 = u64::MAX;

impl Turn {
    /// Whose connection it is, when that is known better than by where it comes from.
    pub(super) fn is_of(&self, peer: Peer) {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = origin(peer);
    }

    fn origin(&self) -> Origin {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ours(&self) {
        self.theirs_since.store(OURS, Ordering::Relaxed);
    }

    pub(super) fn theirs(&self) {
        let since = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(OURS - 1);
        self.theirs_since.store(since, Ordering::Relaxed);
    }
}

/// The body of a request, at whose end it is our turn.
#[derive(Debug)]
pub(super) struct Heard {
    body: Incoming,
    turn: Turn,
}

impl Heard {
    pub(super) fn new(body: Incoming, turn: &Turn) -> Heard {
        let heard = Heard { body, turn: turn.clone() };
        heard.note();
        heard
    }

    fn note(&self) {
        if self.body.is_end_stream() {
            self.turn.ours();
        }
    }
}

impl Body for Heard {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.note();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where a connection comes from.
type Origin = Option<IpAddr>;

/// All connections of a listener.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    began: Instant,
    tasks: JoinSet<()>,
    guests: HashMap<Id, (AbortHandle, Turn)>,
}

impl Crowd {
    /// Room for so many, at least one.
    pub(super) fn new(most: usize) -> Crowd {
        Crowd { most: most.max(1), began: Instant::now(), tasks: JoinSet::new(), guests: HashMap::new() }
    }

    /// Lets one in. There must be [room](Crowd::room).
    pub(super) fn admit<F: Future<Output = ()> + Send + 'static>(&mut self, peer: Peer, talk: impl FnOnce(Turn) -> F) {
        let turn = Turn { began: self.began, theirs_since: Arc::default(), origin: Arc::new(Mutex::new(origin(peer))) };
        turn.theirs();
        let handle = self.tasks.spawn(talk(turn.clone()));
        self.guests.insert(handle.id(), (handle, turn));
    }

    /// Returns when there is room for one more: at once, unless everybody waits for us.
    pub(super) async fn room(&mut self) {
        while self.tasks.len() >= self.most {
            if !self.part_with_one().await {
                self.gone().await;
            }
        }
    }

    /// Sends one away; false if everybody waits for us.
    pub(super) async fn part_with_one(&mut self) -> bool {
        let Some(guest) = self.most_tiresome() else { return false };
        guest.abort();
        self.gone().await;
        true
    }

    /// Of whom there are most, who has kept us waiting longest.
    fn most_tiresome(&self) -> Option<&AbortHandle> {
        let mut of_origin: HashMap<Origin, usize> = HashMap::new();
        let guests: Vec<_> = self.guests.values().map(|(handle, turn)| (handle, turn, turn.origin())).collect();
        for (_, _, origin) in &guests {
            *of_origin.entry(*origin).or_default() += 1;
        }
        let waiting = guests.into_iter().filter_map(|(handle, turn, origin)| {
            let since = turn.theirs_since.load(Ordering::Relaxed);
            (since != OURS).then_some((of_origin[&origin], u64::MAX - since, handle))
        });
        waiting.max_by_key(|(count, waits, _)| (*count, *waits)).map(|(_, _, handle)| handle)
    }

    /// Waits until one has gone; for ever, if there is none.
    pub(super) async fn gone(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return std::future::pending().await,
        };
        self.guests.remove(&id);
    }

    /// Returns when the last has gone.
    pub(super) async fn empty(&mut self) {
        while !self.tasks.is_empty() {
            self.gone().await;
        }
    }

    /// Sends those away who keep us waiting.
    pub(super) fn leave_waiting(&self) {
        for (handle, turn) in self.guests.values() {
            if turn.theirs_since.load(Ordering::Relaxed) != OURS {
                handle.abort();
            }
        }
    }

    /// Sends everybody away.
    pub(super) async fn disperse(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// An address, or the network that a provider gives to one customer.
fn origin(peer: Peer) -> Origin {
    match peer {
        Peer::Local { .. } => None,
        Peer::Remote { address, .. } | Peer::Passed { address, .. } => Some(match address {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
            address @ IpAddr::V4(_) => address,
        }),
    }
}
