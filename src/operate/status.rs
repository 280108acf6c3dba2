//! How everything fares, and what is missing.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::proxies::Proxies;
use self::today::Today;
use self::unheard::Unheard;
use super::notices::NoticeView;
use crate::budget::{Budget, BudgetView, VehicleBudget};
use crate::ingest::{Ingest, LastVerify};
use crate::metrics::Metrics;
use crate::model::event::EventKind;
use crate::model::gap::Gap;
use crate::model::notice::{Notice, Subject};
use crate::model::reach::Reach;
use crate::model::token::Generation;
use crate::model::{ConnectionId, Current, Seq, Timestamp, VehicleId};
use crate::smartcar::Smartcar;
use crate::smartcar::sunset::Cars;
use crate::store::tokens::SealedTokens;
use crate::store::webhook_log::{DeliveryResult, Header, LogExtent};
use crate::store::{Store, StoreError};
use crate::tokens::Tokens;
use crate::world::World;

mod checklist;
mod doubt;
mod figures;
mod missing;
mod nameless;
mod proxies;
mod today;
mod unheard;

pub use checklist::checks;

/// `GET /api/v1/status`.
#[derive(Clone, Debug, Serialize)]
pub struct StatusView {
    /// Carport's version.
    pub version: &'static str,
    /// When this run began.
    pub started_at: Timestamp,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// The store.
    pub store: StoreStatus,
    /// The webhook log.
    pub webhooks: WebhookStatus,
    /// The refresh loop.
    pub refresh: RefreshStatus,
    /// Calls that count against the plan; null if the ledger cannot be read.
    pub budget: Option<BudgetStatus>,
    /// What is still missing, one thing to do each.
    pub missing: Vec<Missing>,
    /// What happened and is not over; at most a hundred.
    pub notices: Vec<NoticeView>,
}

/// The store's part of the status.
#[derive(Clone, Debug, Serialize)]
pub struct StoreStatus {
    /// Whether it takes changes.
    pub healthy: bool,
    /// Size of its files in bytes.
    pub bytes: u64,
    /// How many of them are the journal: what was changed since the tables were written last.
    pub journal_bytes: u64,
    /// How many bytes were written since the start: what wears out a card.
    pub written_bytes: u64,
    /// How many of them were written since midnight UTC.
    pub written_today_bytes: u64,
    /// What was found damaged or lost since the start, in words.
    pub findings: Vec<String>,
    /// How many bytes the disk has left, if it can tell.
    pub free_bytes: Option<u64>,
    /// Whether that is too little: then refreshes and webhooks wait.
    pub low: bool,
}

/// The webhook log's part of the status.
#[derive(Clone, Debug, Serialize)]
pub struct WebhookStatus {
    /// The last VERIFY that was answered.
    pub last_verify: Option<LastVerify>,
    /// The newest place.
    pub newest: Seq,
    /// Entries in the ring.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// How many entries the projector is behind.
    pub projector_lag: u64,
    /// When the newest delivery came in, be it a test.
    pub last_delivery_at: Option<Timestamp>,
    /// When the newest one came in that is no test from Smartcar's dashboard.
    pub last_live_at: Option<Timestamp>,
    /// The last times in which deliveries may have been lost, oldest first: at most twenty.
    pub gaps: Vec<Gap>,
    /// How many vehicles are still to be read from Smartcar: because of a gap, or for a first picture.
    pub to_read: usize,
}

/// The refresh loop's part of the status.
#[derive(Clone, Debug, Serialize)]
pub struct RefreshStatus {
    /// Active connections.
    pub active: u64,
    /// Connections that wait for their owner.
    pub needs_reconnect: u64,
    /// When the next one is due.
    pub next_due_at: Option<Timestamp>,
    /// A fault that stops all refreshes, such as a wrong client secret.
    pub stopped: Option<String>,
}

/// What of the plan's calls is left.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetStatus {
    /// Calls for each vehicle and month; null: as many as one likes.
    pub calls_per_vehicle_month: Option<u32>,
    /// When the month of the plan ends.
    pub until: Timestamp,
    /// How many calls were made this month, about all vehicles.
    pub used: u64,
    /// How many vehicles have none left but the reserve.
    pub spent: u64,
    /// How many calls the application's bucket holds now.
    pub application_left: u64,
}

impl BudgetStatus {
    fn of(view: &BudgetView) -> BudgetStatus {
        let is_spent = |vehicle: &&VehicleBudget| vehicle.spent.is_some();
        BudgetStatus {
            calls_per_vehicle_month: view.calls_per_vehicle_month,
            until: view.until,
            used: view.items.iter().map(|vehicle| u64::from(vehicle.used)).sum(),
            spent: view.items.iter().filter(is_spent).count() as u64,
            application_left: view.application.as_ref().map_or(0, |application| application.left),
        }
    }
}

/// Something that is missing.
#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    /// A stable name, such as `management_token`.
    pub code: &'static str,
    /// What is missing, in one sentence.
    pub what: String,
    /// The one thing to do.
    pub remedy: String,
}

/// Whether Carport is ready: `GET /readyz`.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// All is well.
    pub ready: bool,
    /// What is not.
    pub reasons: Vec<String>,
}

/// What is configured, as far as it decides what is missing.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Smartcar and browsers find us.
    pub public_url: String,
    /// Where Smartcar posts.
    pub webhook_url: String,
    /// Where people open the dashboard.
    pub dashboard_url: String,
    /// Whether metrics tell of single vehicles.
    pub vehicle_metrics: bool,
    /// `trusted_proxies`, as one writes them.
    pub trusted_proxies: Vec<String>,
}

/// How everything fares. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Status {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Current<Settings>,
    store: Store,
    ingest: Ingest,
    tokens: Tokens,
    smartcar: Smartcar,
    budget: Budget,
    world: World,
    metrics: Arc<Metrics>,
    started_at: Timestamp,
    today: Today,
    proxies: Proxies,
}

impl Status {
    /// A view of all rooms.
    #[expect(clippy::too_many_arguments, reason = "one for each room that is looked at")]
    pub fn new(
        settings: Settings,
        store: Store,
        ingest: Ingest,
        tokens: Tokens,
        smartcar: Smartcar,
        budget: Budget,
        world: World,
        metrics: Arc<Metrics>,
    ) -> Status {
        let started_at = world.now();
        let (today, proxies) = (Today::since(started_at), Proxies::trusting(settings.trusted_proxies.clone()));
        let settings = Current::new(settings);
        let shared = Shared { settings, store, ingest, tokens, smartcar, budget, world, metrics, started_at, today, proxies };
        Status { shared: Arc::new(shared) }
    }

    /// Sees each day begin, so that it is known what was written on it.
    pub async fn run(&self, shutdown: CancellationToken) {
        let Shared { today, store, world, .. } = &*self.shared;
        shutdown.run_until_cancelled(today.run(|| store.written(), world)).await;
    }

    /// A peer in a private network passes requests on, but is no trusted proxy.
    pub fn saw_untrusted_proxy(&self, address: IpAddr) {
        self.shared.proxies.saw(address);
    }

    /// A trusted proxy said by the PROXY protocol for whom it connects, or did not.
    pub fn heard_proxy(&self, address: IpAddr, is_introduced: bool) {
        self.shared.proxies.heard(address, is_introduced);
    }

    /// Other addresses, and whom `trusted_proxies` names, from now on.
    pub fn replace_settings(&self, settings: Settings) {
        self.shared.proxies.trust(settings.trusted_proxies.clone());
        self.shared.settings.replace(settings);
    }

    /// The status.
    pub async fn show(&self) -> StatusView {
        self.view(self.shared.facts_or_none().await).await
    }

    /// A store in trouble shows as such; the rest of the status must still be told.
    async fn view(&self, facts: Facts) -> StatusView {
        let shared = &self.shared;
        let now = shared.world.now();
        let store = StoreStatus {
            healthy: shared.store.is_healthy(),
            bytes: shared.store.bytes(),
            journal_bytes: shared.store.journal_bytes(),
            written_bytes: shared.store.written(),
            written_today_bytes: shared.today.of(shared.store.written(), now),
            findings: shared.store.findings(),
            free_bytes: shared.store.free(),
            low: !shared.store.has_room(),
        };
        let webhooks = WebhookStatus {
            last_verify: shared.ingest.last_verify(),
            newest: facts.log.newest,
            entries: facts.log.entries,
            bytes: facts.log.bytes,
            projector_lag: facts.log.newest.0.saturating_sub(facts.projector.0),
            last_delivery_at: facts.last_delivery_at,
            last_live_at: facts.last_live_at,
            gaps: facts.gaps.clone(),
            to_read: facts.to_read,
        };
        let stopped: Vec<String> =
            [Generation::V2, Generation::V3].into_iter().filter_map(|one| shared.tokens.stopped(one)).collect();
        let refresh = RefreshStatus {
            active: facts.active,
            needs_reconnect: facts.needs_reconnect,
            next_due_at: facts.next_due_at,
            stopped: (!stopped.is_empty()).then(|| stopped.join("; ")),
        };
        let missing = shared.missing(&facts, &stopped);
        let dashboard = &shared.settings.get().dashboard_url;
        let notices = facts.notices.into_iter().take(NOTICES);
        let notices = notices.map(|(notice, vehicle)| NoticeView::of(notice, vehicle.as_ref(), dashboard, now)).collect();
        StatusView {
            version: env!("CARGO_PKG_VERSION"),
            started_at: shared.started_at,
            uptime_seconds: now.since(shared.started_at).as_secs(),
            store,
            webhooks,
            refresh,
            budget: shared.budget.show(&Reach::All).await.ok().as_ref().map(BudgetStatus::of),
            missing,
            notices,
        }
    }

    /// Whether Carport is ready.
    pub async fn ready(&self) -> Readiness {
        let mut reasons = Vec::new();
        if !self.shared.store.is_healthy() {
            reasons.push("the store is closed because the disk refused; it is being opened again".to_owned());
        } else if let Err(error) = self.shared.store.read(|snapshot| snapshot.log_extent()).await {
            reasons.push(format!("the store cannot be read: {error}"));
        }
        if !self.shared.store.has_room() {
            let free = self.shared.store.free().map(|free| format!(" ({} MiB left)", free >> 20)).unwrap_or_default();
            reasons.push(format!(
                "the disk has less free space than store.min_free{free}: refreshes and webhooks wait; make room on it"
            ));
        }
        Readiness { ready: reasons.is_empty(), reasons }
    }
}

/// How many notices the status holds at most.
const NOTICES: usize = 100;

/// What one look at the store tells.
#[derive(Default)]
struct Facts {
    log: LogExtent,
    projector: Seq,
    last_delivery_at: Option<Timestamp>,
    last_live_at: Option<Timestamp>,
    gaps: Vec<Gap>,
    to_read: usize,
    active: u64,
    needs_reconnect: u64,
    disconnected: u64,
    /// Each with the vehicle that it is about, or one of those that its connection serves.
    notices: Vec<(Notice, Option<VehicleId>)>,
    next_due_at: Option<Timestamp>,
    tokens: Vec<(ConnectionId, SealedTokens)>,
    /// Cars that are not known to be subscribed, and of which no delivery has come in.
    unsubscribed: Unheard,
    /// Other cars of which none has come in.
    unheard: Unheard,
    /// How they are connected.
    cars: Cars,
}

impl Shared {
    /// A store in trouble tells nothing; that it is in trouble shows elsewhere.
    async fn facts_or_none(&self) -> Facts {
        self.facts().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the store tells nothing for the status");
            Facts::default()
        })
    }

    async fn facts(&self) -> Result<Facts, StoreError> {
        let facts = self.store.read(|snapshot| {
            let log = snapshot.log_extent()?;
            let connections = snapshot.connections(None, usize::MAX)?;
            let count =
                |status: &str| connections.iter().filter(|connection| connection.status.as_str() == status).count() as u64;
            let mut tokens = Vec::new();
            // Those that a connection of v3 has kept from v2 open nothing.
            let of_v2 = connections.iter().filter(|connection| connection.generation == Generation::V2);
            let ids = of_v2.map(|connection| connection.id).chain([ConnectionId::APPLICATION]);
            for id in ids {
                tokens.extend(snapshot.sound_tokens(id)?.map(|set| (id, set)));
            }
            let mut notices: Vec<(Notice, Option<VehicleId>)> =
                snapshot.notices(usize::MAX)?.into_iter().map(|notice| (notice, None)).collect();
            let (mut unsubscribed, mut unheard, mut cars) = (Unheard::default(), Unheard::default(), Cars::None);
            for (row, vehicle) in snapshot.vehicles(0, usize::MAX)? {
                let is_its = |notice: &Notice| notice.subject.concerns(row, vehicle.connection);
                for (_, known) in notices.iter_mut().take(NOTICES).filter(|(notice, _)| is_its(notice)) {
                    known.get_or_insert_with(|| vehicle.facts.id.clone());
                }
                let connection = connections.iter().find(|connection| Some(connection.id) == vehicle.connection);
                cars = cars.max(connection.map_or(Cars::None, Cars::of));
                if let Some(connection) = connection.filter(|_| vehicle.last_event_at.is_none()) {
                    let is_subscribed = snapshot.subscription(row, connection)?.is_some();
                    let of = if is_subscribed { &mut unheard } else { &mut unsubscribed };
                    of.add(&vehicle, || snapshot.latest(row))?;
                }
            }
            notices.retain(|(notice, _)| notice.subject != Subject::V2Ended || cars == Cars::ByV2);
            // A signed VERIFY is in the log as well, but delivers nothing.
            let last = |tests: bool| -> Result<Option<Timestamp>, StoreError> {
                let is_it = |_, header: &Header| {
                    header.kind != EventKind::Verify.as_str() && (tests || header.result != DeliveryResult::Test)
                };
                Ok(snapshot.log_before(None, 1, usize::MAX, is_it)?.0.first().map(|entry| entry.header.received_at))
            };
            Ok(Facts {
                log,
                projector: snapshot.projector_cursor()?,
                last_delivery_at: last(true)?,
                last_live_at: last(false)?,
                gaps: snapshot.gaps()?,
                to_read: snapshot.vehicles_to_read(usize::MAX)?.len(),
                active: count("active"),
                needs_reconnect: count("needs_reconnect"),
                disconnected: count("disconnected"),
                notices,
                next_due_at: snapshot.next_due(1)?.first().map(|(due_at, _)| *due_at),
                tokens,
                unsubscribed,
                unheard,
                cars,
            })
        });
        facts.await
    }
}
