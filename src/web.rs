//! Everything HTTP: routes, guards, pages and answers. Handlers read the request, make one call down,
//! and dress the answer.
//!
//! [`handle`] is the whole gateway as one function; it never needs a socket. [`server`] puts it on
//! listeners. What must stay true: no limiter stands before the proof of a delivery, nothing that came
//! with a request is shown unescaped, and no answer leaves without the security headers.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;

use crate::connect::Connect;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::operate::access::Access;
use crate::operate::deliveries::Deliveries;
use crate::operate::status::Status;
use crate::vehicles::Vehicles;
use crate::world::World;

mod dashboard;
pub mod server;
mod settings;
mod time;

pub use settings::{Limits, Network, Quota, Settings};

/// The body of an answer. Boxed, so that an answer may also be a stream.
pub type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The user that runs Carport, over its own socket or in the same process: may do everything.
    Local,
    /// Somebody on the network.
    Remote {
        /// The address of the connection: the client's, or a proxy's.
        address: IpAddr,
        /// Whether we speak TLS on this connection ourselves.
        tls: bool,
    },
}

/// What the handlers call, and what they were configured to do. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    /// How the edge was configured.
    pub settings: Arc<Settings>,
    /// Clock and chance.
    pub world: World,
    /// The way in for deliveries.
    pub ingest: Ingest,
    /// The owner's journey.
    pub connect: Connect,
    /// Users, connections and vehicles.
    pub vehicles: Vehicles,
    /// Tokens, sign-in links and sessions.
    pub access: Access,
    /// The webhook log.
    pub deliveries: Deliveries,
    /// How everything fares.
    pub status: Status,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// The rooms below, by name, so that building [`Services`] cannot mix them up.
#[derive(Debug)]
pub struct Rooms {
    /// The way in for deliveries.
    pub ingest: Ingest,
    /// The owner's journey.
    pub connect: Connect,
    /// Users, connections and vehicles.
    pub vehicles: Vehicles,
    /// Tokens, sign-in links and sessions.
    pub access: Access,
    /// The webhook log.
    pub deliveries: Deliveries,
    /// How everything fares.
    pub status: Status,
}

impl Services {
    /// Puts the edge together.
    pub fn new(settings: Settings, world: World, metrics: Arc<Metrics>, rooms: Rooms) -> Services {
        let Rooms { ingest, connect, vehicles, access, deliveries, status } = rooms;
        Services { settings: Arc::new(settings), world, ingest, connect, vehicles, access, deliveries, status, metrics }
    }
}

/// Answers one request. Everything that the gateway does over HTTP goes through here.
pub async fn handle<B>(services: &Services, peer: Peer, request: Request<B>) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let _ = (services, peer, request);
    todo!()
}
