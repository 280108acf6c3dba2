//! Plays Smartcar: Connect, the token endpoints, API v2.0 and v3, the webhook sender, and the cars behind
//! them. For tests (in-process, as a [`Transport`]), `carport simulate` and `carport demo` (over HTTP).
//!
//! It shares no parsing, no types and no HMAC code with the gateway, so that the two cannot be wrong together.
//! All hosts live in one origin and are told apart by their paths. What happens is a function of the seed,
//! the clock of its [`World`] and the requests it gets. Every secret in it is pretence.
//!
//! Connect in a browser is `GET /oauth/authorize?..`; scripts add `&simulator_account=EMAIL` and get the last
//! redirect at once, or call [`Simulator::consent`]. Control routes for scripts are below `/simulator`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri};
use tokio::sync::Notify;

use crate::model::Timestamp;
use crate::world::{Transport, TransportError, World};

mod car;
mod chance;
mod commands;
mod compatibility;
mod connect;
mod control;
mod counters;
mod endpoints;
mod events;
mod exchange;
mod faults;
mod knobs;
mod legacy;
mod limits;
mod model;
mod oauth;
mod pages;
mod past;
mod sender;
mod server;
mod session;
mod settings;
mod signals;
mod state;
mod store;
mod trouble;
mod units;
mod v2;
mod v3;
mod words;
mod workshop;

pub use counters::{Counters, EventCount};
pub use faults::{Complaint, Fault, FaultKind, FaultSyntax, Faults};
pub use knobs::{
    Challenge, ClientAuth, CommandStatus, Habits, IdPlace, Knob, Limits, ResolutionForm, Scheduled, SecondRefresh, SignalMeta,
    Times, TriggerForm, TriggerPlace,
};
pub use settings::{Application, Settings, WebhookSettings};
pub use state::Generation;

use exchange::{Exchange, Fields, Later, Reply};
use state::{State, Webhook};
use trouble::Trouble;

/// One account, as listed for tests and the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    /// What its owner signs in with.
    pub email: String,
    /// What its owner gets from Connect.
    pub generation: Generation,
    /// Smartcar's id of it.
    pub user_id: String,
    /// Its vehicles.
    pub vehicle_ids: Vec<String>,
}

/// A simulated Smartcar. Clones are handles on the same one.
#[derive(Clone)]
pub struct Simulator {
    shared: Arc<Shared>,
}

struct Shared {
    world: World,
    settings: Settings,
    state: Mutex<State>,
    /// Wakes the sender.
    wake: Notify,
}

impl Simulator {
    /// A simulator whose clock starts now. Its [`World::transport`] carries its webhooks.
    pub fn new(world: World, settings: Settings) -> Simulator {
        let state = Mutex::new(State::new(&settings, world.now()));
        Simulator { shared: Arc::new(Shared { world, settings, state, wake: Notify::new() }) }
    }

    /// What it was told at its start.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Answers one request to any of Smartcar's hosts. An answer that a fault loses becomes a 502.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let lost = |_| exchange::typed(StatusCode::BAD_GATEWAY, "text/plain; charset=utf-8", "The answer was lost.");
        late(self.exchange(&request).await.unwrap_or_else(lost)).await
    }

    /// An owner goes through Connect and allows everything. Returns where Connect redirects to.
    pub async fn consent(&self, authorize_url: &str, account_email: &str) -> Result<String, String> {
        let path = connect::direct_path(authorize_url, account_email)?;
        let uri: Uri = path.parse().map_err(|_| "not a URL that can be asked for".to_owned())?;
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri;
        connect::location(&self.handle(request).await)
    }

    /// All accounts.
    pub fn accounts(&self) -> Vec<AccountSummary> {
        self.with(|state, _| {
            let summary = |account: &state::Account| AccountSummary {
                email: account.email.clone(),
                generation: account.generation,
                user_id: account.user_id.clone(),
                vehicle_ids: account.vehicles.clone(),
            };
            state.accounts.iter().map(summary).collect()
        })
    }

    /// What was asked and sent so far.
    pub fn counters(&self) -> Counters {
        self.with(|state, _| state.counters.clone())
    }

    /// Whether there is a webhook that answered VERIFY rightly.
    pub fn webhook_verified(&self) -> bool {
        self.with(|state, _| state.webhooks.iter().any(|webhook| webhook.verified))
    }

    /// Whether every steady flow has sent all that it was to.
    pub fn has_flowed(&self) -> bool {
        self.with(|state, _| !state.webhooks.is_empty() && state.webhooks.iter().all(Webhook::has_had_all))
    }

    /// Turns a knob, written as `NAME=VALUE`.
    pub fn turn(&self, knob: &str) -> Result<(), String> {
        self.with(|state, _| Knob::turn(Arc::make_mut(&mut state.settings), knob))
    }

    /// Sets the one webhook, or removes all. A new one must be verified first.
    pub fn set_webhook(&self, webhook: Option<WebhookSettings>) {
        self.with(|state, _| state.set_webhook(webhook));
        self.shared.wake.notify_one();
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Faults) {
        self.with(|state, _| state.faults = faults);
    }

    /// Ends every token of an account, as Smartcar does when an owner revokes access.
    pub fn revoke(&self, account_email: &str) {
        self.with(|state, _| {
            let account = state.accounts.iter().find(|account| account.email == account_email);
            if let Some(user_id) = account.map(|account| account.user_id.clone()) {
                state.tokens.revoke(&user_id);
            }
        });
    }

    /// An owner takes all access back in Smartcar's own application: connections and tokens end.
    pub fn take_back(&self, account_email: &str) {
        self.revoke(account_email);
        self.with(|state, _| {
            let account = state.accounts.iter().find(|account| account.email == account_email);
            if let Some(user_id) = account.map(|account| account.user_id.clone()) {
                state.disconnect(|connection| connection.user_id == user_id);
            }
        });
    }

    /// Another account has this vehicle too, as when it was sold and its seller has not signed out.
    pub fn share(&self, vehicle_id: &str, account_email: &str) {
        self.with(|state, _| {
            let account = state.accounts.iter_mut().find(|account| account.email == account_email);
            if let Some(account) = account {
                account.vehicles.push(vehicle_id.to_owned());
            }
        });
    }

    /// Puts a vehicle into trouble (`TYPE` or `TYPE.CODE`, as `CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED`)
    /// until it is taken out of it again, by none or by its owner's signing in again. v2.0 reads fail with it,
    /// and the next round of deliveries tells of it.
    pub fn set_trouble(&self, vehicle_id: &str, name: Option<&str>) -> Result<(), String> {
        let set = self.with(|state, _| state.set_trouble(vehicle_id, name));
        self.shared.wake.notify_one();
        set
    }

    /// One exchange, with the faults of the day.
    async fn exchange(&self, request: &Request<Bytes>) -> Result<Reply, TransportError> {
        let path = request.uri().path();
        if !["/oauth/token", "/oauth2/", "/v2.0/", "/v3/"].iter().any(|api| path.starts_with(api)) {
            return Ok(self.answer(request));
        }
        let refresh = self.refresh_begins(request);
        let spoiled = self.with(|state, _| {
            state.counters.requests += 1;
            let (faults, luck) = (&mut state.faults, &mut state.luck);
            let spoiled = Spoiled {
                refused: faults.strikes(FaultKind::Refuse, luck),
                hangs: faults.strikes(FaultKind::Hang, luck),
                trouble: faults.complaint(luck),
                delay: faults.delay(luck),
                lost: faults.strikes(FaultKind::LoseAnswer, luck),
                garbled: faults.garbling(luck),
                cut: faults.strikes(FaultKind::Cut, luck),
            };
            let Spoiled { refused, hangs, trouble, delay, lost, garbled, cut } = &spoiled;
            let count = [*refused, *hangs, trouble.is_some(), delay.is_some(), *lost, garbled.is_some(), *cut];
            state.counters.faults += count.into_iter().map(u64::from).sum::<u64>();
            spoiled
        });
        if spoiled.refused {
            return Err(TransportError::Unreachable("the simulator refuses".to_owned()));
        }
        if spoiled.hangs {
            return std::future::pending().await;
        }
        let mut reply = match &spoiled.trouble {
            Some(trouble) => self.complain(request, trouble),
            None => self.answer(request),
        };
        if let Some(delay) = spoiled.delay {
            tokio::time::sleep(delay).await;
        }
        let lost = spoiled.lost || (refresh.is_some() && reply.status().is_success() && self.rotated_in_vain());
        if lost {
            return Err(TransportError::Lost("the simulator lost it".to_owned()));
        }
        if spoiled.cut {
            let half = reply.body().slice(..reply.body().len() / 2);
            *reply.body_mut() = half;
        }
        Ok(spoiled.garbled.map_or(reply, garbage))
    }

    /// Answers without faults.
    fn answer(&self, request: &Request<Bytes>) -> Reply {
        self.exchanged(request, route)
    }

    fn complain(&self, request: &Request<Bytes>, trouble: &Trouble) -> Reply {
        self.exchanged(request, |exchange| exchange.trouble(trouble))
    }

    fn exchanged(&self, request: &Request<Bytes>, answer: impl FnOnce(&mut Exchange<'_>) -> Reply) -> Reply {
        let raw_query = request.uri().query().unwrap_or_default();
        let (reply, wake) = self.with(|state, now| {
            let (request_id, settings) = (state.chance.uuid(), state.settings.clone());
            let mut exchange = Exchange {
                settings: &settings,
                state,
                now,
                method: request.method(),
                path: request.uri().path(),
                raw_query,
                query: Fields::parse(raw_query.as_bytes()),
                headers: request.headers(),
                body: request.body(),
                request_id,
                wake: false,
                later: None,
            };
            let mut reply = match exchange.count() {
                Ok(()) => answer(&mut exchange),
                Err(trouble) => exchange.trouble(&trouble),
            };
            if let Some(time) = exchange.later {
                reply.extensions_mut().insert(Later(time));
            }
            exchange::header(&mut reply, "sc-request-id", &exchange.request_id);
            (reply, exchange.wake)
        });
        if wake {
            self.shared.wake.notify_one();
        }
        reply
    }

    fn rotated_in_vain(&self) -> bool {
        self.with(|state, _| {
            let struck = state.faults.strikes(FaultKind::RotateThenLose, &mut state.luck);
            state.counters.faults += u64::from(struck);
            struck
        })
    }

    /// Counts a refresh, and for as long as the guard lives that it is under way.
    fn refresh_begins(&self, request: &Request<Bytes>) -> Option<Refreshing<'_>> {
        if request.uri().path().trim_end_matches('/') != "/oauth/token" {
            return None;
        }
        let form = Fields::parse(request.body());
        let token = form.get("refresh_token").filter(|_| form.get("grant_type") == Some("refresh_token"))?;
        self.with(|state, _| {
            state.counters.refreshes += 1;
            let grant = state.tokens.grant_of_refresh(token)?;
            let at_once = state.refreshing.entry(grant).or_default();
            *at_once += 1;
            state.counters.most_refreshes_at_once = state.counters.most_refreshes_at_once.max(*at_once);
            Some(Refreshing { simulator: self, grant })
        })
    }

    /// Looks at the state as it is now.
    fn with<T>(&self, look: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let now = self.shared.world.now();
        // A panic elsewhere leaves pretended cars at worst.
        let mut state: MutexGuard<'_, State> = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance(now);
        look(&mut state, now)
    }
}

impl Transport for Simulator {
    fn send(&self, request: Request<Bytes>, deadline: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        async move {
            let answer = tokio::time::timeout(deadline, async { Ok(late(self.exchange(&request).await?).await) }).await;
            answer.unwrap_or(Err(TransportError::TooSlow(deadline)))
        }
        .boxed()
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("seed", &self.shared.settings.seed).finish_non_exhaustive()
    }
}

/// What the faults decided for one request.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct Spoiled {
    refused: bool,
    hangs: bool,
    trouble: Option<Trouble>,
    delay: Option<Duration>,
    lost: bool,
    garbled: Option<u16>,
    cut: bool,
}

/// A refresh under way.
struct Refreshing<'a> {
    simulator: &'a Simulator,
    grant: u64,
}

impl Drop for Refreshing<'_> {
    fn drop(&mut self) {
        self.simulator.with(|state, _| {
            if let Some(at_once) = state.refreshing.get_mut(&self.grant) {
                *at_once -= 1;
                if *at_once == 0 {
                    state.refreshing.remove(&self.grant);
                }
            }
        });
    }
}

/// Every path of every host; a slash at the end changes nothing.
fn route(exchange: &mut Exchange<'_>) -> Reply {
    let path = exchange.path;
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let page = exchange.method == Method::GET || exchange.method == Method::POST;
    match segments.as_slice() {
        [] if exchange.method == Method::GET => pages::front(exchange),
        ["oauth", "authorize"] if page => connect::authorize(exchange),
        ["oauth", "reauthenticate"] if page => connect::reauthenticate(exchange),
        ["oauth", "token"] => oauth::user_token(exchange),
        ["oauth2", "token"] => oauth::application_token(exchange),
        ["v2.0", path @ ..] => v2::answer(exchange, path),
        ["v3", path @ ..] => v3::answer(exchange, path),
        ["simulator", path @ ..] => control::answer(exchange, path),
        [version, ..] if version.starts_with('v') => {
            let trouble = Trouble::new(404, "RESOURCE_NOT_FOUND", Some("VERSION"), "There is no such version of the API.");
            exchange.v2_trouble(&trouble)
        }
        _ => {
            let token = exchange.form().get("grant_type").is_some();
            let hint = if token { " The token endpoints are /oauth/token (v2) and /oauth2/token (v3)." } else { "" };
            let text = format!("There is nothing at {} {path}.{hint}", exchange.method);
            exchange.v2_trouble(&Trouble::new(404, "RESOURCE_NOT_FOUND", Some("PATH"), text))
        }
    }
}

/// What a proxy in the way says.
fn garbage(status: u16) -> Reply {
    let page = "<html><head><title>Welcome</title></head><body>Please sign in to this network";
    exchange::html(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), page.to_owned())
}

/// An answer with its body, for whoever takes it as a whole.
async fn late(reply: Reply) -> Reply {
    if let Some(Later(time)) = reply.extensions().get::<Later>() {
        tokio::time::sleep(*time).await;
    }
    reply
}
