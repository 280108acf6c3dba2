//! What the handlers call, put together, and its rate limits.

use std::sync::Arc;

use http::Response;
use tokio_util::sync::CancellationToken;

use super::allowance::Allowance;
use super::answer::Answer;
use super::client::Client;
use super::events::Events;
use super::face::Face;
use super::flash::Flashes;
use super::forward_auth::ForwardAuth;
use super::guard::Guard;
use super::problem::Problem;
use super::request_id::RequestIds;
use super::router::{Bucket, Route};
use super::settings::Settings;
use super::tell;
use crate::budget::Budget;
use crate::commands::Commands;
use crate::compat::Compat;
use crate::connect::Connect;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::model::Current;
use crate::operate::access::Access;
use crate::operate::audit::Audit;
use crate::operate::deliveries::Deliveries;
use crate::operate::probes::Probes;
use crate::operate::rotation::Rotation;
use crate::operate::settings::Making;
use crate::operate::status::Status;
use crate::vehicles::Vehicles;
use crate::world::World;

/// What the handlers call, and what they were configured to do. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    /// The rooms below.
    pub rooms: Arc<Rooms>,
    /// How the edge was configured.
    pub settings: Arc<Settings>,
    /// Clock and chance.
    pub world: World,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The settings as they are now.
    pub(super) latest: Current<Settings>,
    pub(super) guard: Arc<Guard>,
    pub(super) request_ids: Arc<RequestIds>,
    pub(super) face: Face,
    pub(super) forward_auth: Option<Arc<ForwardAuth>>,
    pub(super) events: Arc<Events>,
    pub(super) flashes: Arc<Flashes>,
    /// When streams are to end, so that they keep no connection from ending.
    pub(super) stop: CancellationToken,
}

/// The rooms below the edge.
#[derive(Debug)]
pub struct Rooms {
    /// The way in for deliveries.
    pub ingest: Ingest,
    /// The owner's journey.
    pub connect: Connect,
    /// Users, connections and vehicles.
    pub vehicles: Vehicles,
    /// What cars are told to do.
    pub commands: Commands,
    /// The ledger of calls.
    pub budget: Budget,
    /// Smartcar's own API.
    pub compat: Compat,
    /// Tokens, sign-in links and sessions.
    pub access: Access,
    /// Who changed what.
    pub audit: Audit,
    /// The webhook log.
    pub deliveries: Deliveries,
    /// How everything fares.
    pub status: Status,
    /// The master key.
    pub rotation: Rotation,
    /// What can be wrong outside.
    pub probes: Probes,
    /// Who makes settings.
    pub making: Arc<dyn Making>,
}

impl Services {
    /// What the next request is called.
    pub(super) fn request_id(&self) -> String {
        self.request_ids.next(self.world.now()).to_string()
    }

    /// Puts the edge together.
    pub fn new(latest: Current<Settings>, world: World, metrics: Arc<Metrics>, rooms: Rooms) -> Services {
        let settings = latest.get();
        let guard = Arc::new(Guard::new(&settings.limits, &*world.entropy));
        let forward_auth = settings.forward_header.clone().map(|header| Arc::new(ForwardAuth::new(header, world.random_key())));
        let request_ids = Arc::new(RequestIds::new(&*world.entropy));
        let (face, events, flashes, stop) = (Face::Whole, Arc::default(), Arc::default(), CancellationToken::new());
        let rooms = Arc::new(rooms);
        Services { rooms, settings, world, metrics, latest, guard, request_ids, face, forward_auth, events, flashes, stop }
    }

    /// The same by the settings as they are now.
    pub(super) fn of_now(&self) -> Services {
        Services { settings: self.latest.get(), ..self.clone() }
    }

    /// The same, if the settings are others by now.
    pub(super) fn if_changed(&self) -> Option<Services> {
        (!Arc::ptr_eq(&self.settings, &self.latest.get())).then(|| self.of_now())
    }

    /// The same, whose streams end by `stop`.
    pub fn until(self, stop: CancellationToken) -> Services {
        Services { stop, ..self }
    }

    /// The same behind another face.
    pub fn facing(self, face: Face) -> Services {
        Services { face, ..self }
    }

    /// Takes one from a client's bucket.
    pub(super) fn take(&self, bucket: Bucket, client: Client) -> Result<Option<Allowance>, Problem> {
        let Some(address) = client.address() else { return Ok(None) };
        self.guard.take(bucket, address).map(Some).map_err(|refused| {
            self.metrics.rate_limited(bucket.name());
            Problem::slow_down(refused)
        })
    }

    /// Takes one for a proof that failed on a route, or that can be guessed.
    pub(super) fn take_for_proof(&self, route: Route, client: Client) -> Result<Option<Allowance>, Problem> {
        route.policy().proofs.map_or(Ok(None), |bucket| self.take(bucket, client))
    }

    /// Tells a client what it has left. What failed costs more: who guesses is slowed down before who asks.
    pub(super) fn settle(&self, bucket: Bucket, client: Client, allowance: Option<Allowance>, answer: Answer) -> Answer {
        let status = answer.as_ref().map_or_else(Problem::status, Response::status);
        let failed = status.is_client_error() && status != http::StatusCode::TOO_MANY_REQUESTS;
        let charged = client.address().filter(|_| failed).map(|address| self.guard.charge(bucket, address));
        let allowance = charged.or(allowance);
        tell(allowance, answer)
    }
}
