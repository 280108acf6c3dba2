//! What owners have: users, vehicles and their signals, for API, dashboard and command line.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::budget::{Budget, Refused};
use crate::model::budget::{Permit, Reason};
use crate::model::normal::Units;
use crate::model::reach::{Page, PageRequest, Reach};
use crate::model::token::Generation;
use crate::model::vehicle::Vehicle;
use crate::model::{AppUserId, ConnectionId, Current, SmartcarUserId, VehicleId};
use crate::smartcar::{ConnectionFilter, Smartcar, SmartcarError};
use crate::store::connections::EndConnection;
use crate::store::vehicles::{ForgetVehicle, RenameVehicle};
use crate::store::{Store, StoreError};
use crate::tokens::{CallError, TokenError, Tokens};
use crate::world::World;

pub mod connections;
mod courses;
mod derived;
pub mod known;
mod past;
mod picture;
mod polling;
mod refused;
mod revoked;
mod subscribing;
pub mod users;
mod view;

pub use courses::{Course, Point};
pub use derived::{ChargeView, TripView};
pub use past::{Export, HistoryQuery, RollupView};
pub use view::{CapabilityView, HistoryView, Light, Lights, SignalView, VehicleView};

/// What happens to the data of a vehicle that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Stays readable.
    Keep,
    /// Goes too.
    Erase,
}

/// Why something about vehicles or users cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VehiclesError {
    /// There is none, or it is out of the caller's reach.
    #[error("there is none of that id")]
    NotFound,
    /// The id is taken.
    #[error("there is one of that id already")]
    Exists,
    /// The request does not make sense.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Only a new Connect helps.
    #[error("the owner must connect again (Reconnect on the dashboard, or `carport connect --vehicle ID`): {0}")]
    Reconnect(String),
    /// Smartcar cannot be asked now.
    #[error("{what}")]
    Later {
        /// What happened.
        what: String,
        /// When to try again.
        after: Duration,
    },
    /// No call may be made now.
    #[error("{0}")]
    OverBudget(Refused),
    /// Smartcar did not do what was asked.
    #[error("Smartcar: {0}")]
    Upstream(String),
    /// Only the operator can help.
    #[error("{0}")]
    NotConfigured(String),
    /// Of several vehicles some were disconnected and some were not. To ask again is to ask for these alone.
    #[error("{} of {of} vehicles could not be disconnected", failed.len())]
    Partly {
        /// How many were to be.
        of: usize,
        /// Which are still there, and why: one at least.
        failed: Vec<(VehicleId, VehiclesError)>,
    },
    /// The store is in trouble.
    #[error("the store cannot take it now")]
    Store,
}

impl From<StoreError> for VehiclesError {
    fn from(_: StoreError) -> VehiclesError {
        VehiclesError::Store
    }
}

impl From<CallError> for VehiclesError {
    fn from(error: CallError) -> VehiclesError {
        match error {
            CallError::Token(TokenError::NeedsReconnect(what)) => VehiclesError::Reconnect(what),
            CallError::Token(TokenError::Gone) => VehiclesError::BadRequest("its connection has ended: connect it again"),
            CallError::Token(TokenError::Store(_)) | CallError::Budget(Refused::Store(_)) => VehiclesError::Store,
            CallError::Token(TokenError::Later { what, after }) => VehiclesError::Later { what, after },
            CallError::Budget(refused) => VehiclesError::OverBudget(refused),
            CallError::Smartcar(SmartcarError::Reconnect { what, .. }) => VehiclesError::Reconnect(what.to_string()),
            CallError::Token(TokenError::Configuration(what)) => VehiclesError::NotConfigured(what),
            CallError::Smartcar(SmartcarError::Configuration { what }) => VehiclesError::NotConfigured(what.to_string()),
            other => VehiclesError::Upstream(other.to_string()),
        }
    }
}

/// What this room needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where people open the dashboard, without a slash at the end.
    pub dashboard_url: String,
    /// In which values are shown.
    pub units: Units,
    /// Where Smartcar posts.
    pub webhook_url: String,
    /// Smartcar's id of the webhook; learnt if it is not given.
    pub webhook_id: Option<String>,
    /// Whether each car that is connected is subscribed to the webhook.
    pub subscribes: bool,
    /// How often a car is read that webhooks do not tell of; `None`: never.
    pub polls_every: Option<Duration>,
}

/// Users, vehicles and vehicle data. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vehicles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Current<Settings>,
    store: Store,
    tokens: Tokens,
    smartcar: Smartcar,
    budget: Budget,
    world: World,
    linked: Arc<Notify>,
    /// There may be new cars to subscribe.
    unsubscribed: Notify,
    /// Smartcar's id of the webhook, once it was learnt.
    webhook: Mutex<Option<String>>,
    /// Signals of vehicles that Smartcar counts, but does not have.
    absent: Mutex<HashSet<(VehicleId, &'static str)>>,
}

impl Vehicles {
    /// The vehicles in `store`. `linked` wakes the loop that reads first pictures.
    pub fn new(
        settings: Settings,
        store: Store,
        tokens: Tokens,
        smartcar: Smartcar,
        budget: Budget,
        world: World,
        linked: Arc<Notify>,
    ) -> Vehicles {
        let settings = Current::new(settings);
        Vehicles {
            shared: Arc::new(Shared {
                settings,
                store,
                tokens,
                smartcar,
                budget,
                world,
                linked,
                unsubscribed: Notify::new(),
                webhook: Mutex::default(),
                absent: Mutex::default(),
            }),
        }
    }

    /// Another webhook, or other addresses, from now on. What was learnt of the webhook before is forgotten.
    pub fn replace_settings(&self, settings: Settings) {
        self.shared.settings.replace(settings);
        *self.shared.webhook.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What values are shown in, unless somebody asks for others.
    pub fn units(&self) -> Units {
        self.shared.settings.get().units
    }

    /// Vehicles within reach, oldest first.
    pub async fn list(
        &self,
        reach: &Reach,
        user: Option<&AppUserId>,
        mode: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<VehicleView>, VehiclesError> {
        let (reach, user, mode, now) = (reach.clone(), user.cloned(), mode.map(str::to_owned), self.shared.world.now());
        let mut after = row_cursor(page.cursor.as_deref())?;
        let shared = self.shared.clone();
        let found = self.shared.store.read(move |snapshot| {
            let mut items = Vec::new();
            loop {
                let vehicles = snapshot.vehicles(after, SCAN)?;
                let end = vehicles.len() < SCAN;
                for (row, vehicle) in vehicles {
                    let wanted = reach.covers(&vehicle)
                        && user.as_ref().is_none_or(|user| vehicle.user == *user)
                        && mode.as_ref().is_none_or(|mode| vehicle.facts.mode.as_deref().unwrap_or("live") == mode);
                    if wanted && items.len() == page.limit {
                        return Ok(Page { items, next: Some(after.to_string()) });
                    }
                    if wanted {
                        items.push(view::vehicle(&shared, snapshot, row, vehicle, now)?);
                    }
                    after = row;
                }
                if end {
                    return Ok(Page { items, next: None });
                }
            }
        });
        Ok(found.await?)
    }

    /// One vehicle.
    pub async fn show(&self, reach: &Reach, id: &VehicleId) -> Result<VehicleView, VehiclesError> {
        let (id, reach, now) = (id.clone(), reach.clone(), self.shared.world.now());
        let shared = self.shared.clone();
        let found = self.shared.store.read(move |snapshot| match snapshot.vehicle(&id)? {
            Some((row, vehicle)) if reach.covers(&vehicle) => view::vehicle(&shared, snapshot, row, vehicle, now).map(Some),
            _ => Ok(None),
        });
        found.await?.ok_or(VehiclesError::NotFound)
    }

    /// The latest of one signal.
    pub async fn signal(&self, reach: &Reach, id: &VehicleId, code: &str) -> Result<SignalView, VehiclesError> {
        let (row, _) = self.within(reach, id).await?;
        let code = code.to_owned();
        let latest = self.shared.store.read(move |snapshot| snapshot.latest_of(row, &code)).await?;
        latest.map(|latest| view::signal(latest, self.shared.settings.get().units)).ok_or(VehiclesError::NotFound)
    }

    /// Gives a vehicle the owner's own name; `None` takes it away.
    pub async fn rename(&self, reach: &Reach, id: &VehicleId, nickname: Option<String>) -> Result<VehicleView, VehiclesError> {
        self.within(reach, id).await?;
        let nickname = nickname.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        if nickname.as_ref().is_some_and(|name| name.chars().count() > 100) {
            return Err(VehiclesError::BadRequest("a nickname has at most 100 characters"));
        }
        self.shared.store.commit(RenameVehicle { id: id.clone(), nickname }).await?;
        self.show(reach, id).await
    }

    /// Disconnects a vehicle at Smartcar, then here. With `force` also when Smartcar refuses.
    pub async fn disconnect(&self, reach: &Reach, id: &VehicleId, history: History, force: bool) -> Result<(), VehiclesError> {
        let (_, vehicle) = self.within(reach, id).await?;
        let shared = self.shared.clone();
        to_its_end(async move { shared.disconnect(&vehicle, history, force).await }).await
    }

    /// Disconnects several. One that cannot be stops none of the others, unless the store is in trouble: then nobody
    /// could note what has happened.
    async fn disconnect_all(&self, ids: &[VehicleId], history: History, force: bool) -> Result<(), VehiclesError> {
        let mut failed = Vec::new();
        for id in ids {
            match self.disconnect(&Reach::All, id, history, force).await {
                // Somebody else was faster.
                Ok(()) | Err(VehiclesError::NotFound) => {}
                Err(VehiclesError::Store) => return Err(VehiclesError::Store),
                Err(error) => failed.push((id.clone(), error)),
            }
        }
        let Some((_, first)) = failed.first() else { return Ok(()) };
        // Where nothing has changed, and for one reason, that is all there is to say.
        let reason = std::mem::discriminant(first);
        let is_one = failed.len() == ids.len() && failed.iter().all(|(_, error)| std::mem::discriminant(error) == reason);
        Err(if is_one { failed.swap_remove(0).1 } else { VehiclesError::Partly { of: ids.len(), failed } })
    }

    /// Reads a first (or fresh) picture of a vehicle from Smartcar and returns it.
    pub async fn sync(&self, reach: &Reach, id: &VehicleId) -> Result<VehicleView, VehiclesError> {
        let (row, vehicle) = self.within(reach, id).await?;
        picture::read(&self.shared, row, &vehicle, None, Reason::Request).await?;
        self.show(reach, id).await
    }

    /// Reads first pictures of newly linked vehicles, subscribes them to the webhook, and reads those on a schedule
    /// that it does not tell of, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        tokio::join!(
            picture::run(&self.shared, shutdown.clone()),
            subscribing::run(&self.shared, shutdown.clone()),
            polling::run(&self.shared, shutdown)
        );
    }

    async fn within(&self, reach: &Reach, id: &VehicleId) -> Result<(u32, Vehicle), VehiclesError> {
        let id = id.clone();
        let found = self.shared.store.read(move |snapshot| snapshot.vehicle(&id)).await?;
        found.filter(|(_, vehicle)| reach.covers(vehicle)).ok_or(VehiclesError::NotFound)
    }
}

impl Shared {
    /// Keeps what a permitted call has cost and taught.
    async fn settle<T>(&self, permit: &Permit, result: &Result<T, CallError>) {
        let error = match result {
            Err(CallError::Smartcar(error)) => Some(error),
            _ => None,
        };
        self.budget.settle(permit, error).await;
    }

    async fn disconnect(&self, vehicle: &Vehicle, history: History, force: bool) -> Result<(), VehiclesError> {
        if let Some(connection) = vehicle.connection {
            let gone = self.disconnect_upstream(vehicle, connection).await;
            if !force {
                gone?;
            }
        }
        self.store.commit(ForgetVehicle::new(vehicle.facts.id.clone(), history == History::Erase)).await?;
        if let Some(connection) = vehicle.connection {
            self.store.commit(EndConnection { id: connection, erase: false, if_empty: true }).await?;
        }
        Ok(())
    }

    /// A vehicle that Smartcar lists no more is as good as disconnected: the answer to an earlier try may have been lost.
    async fn disconnect_upstream(&self, vehicle: &Vehicle, connection: ConnectionId) -> Result<(), VehiclesError> {
        let id = &vehicle.facts.id;
        let row = self.store.read(move |snapshot| snapshot.connection(connection)).await?;
        let Some(row) = row else { return Ok(()) };
        let result = match row.generation {
            Generation::V2 => {
                self.tokens.call(connection, |smartcar, access| async move { smartcar.disconnect(&access, id).await }).await
            }
            Generation::V3 => self.disconnect_v3(vehicle, row.smartcar_user.clone()).await,
        };
        match result {
            Err(CallError::Token(TokenError::Gone)) => Ok(()),
            // What a refusal means is not documented, and a wrong address or the end of an API refuses as well: only a list
            // that Smartcar gives to the same token shows that the vehicle is gone.
            Err(CallError::Smartcar(SmartcarError::NotPossible { .. } | SmartcarError::Reconnect { .. }))
                if revoked::listed(self, &row).await.is_ok_and(|listed| !listed.contains(id)) =>
            {
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// Smartcar's id of a connection may have changed since it was noted, so it is asked for again.
    async fn disconnect_v3(&self, vehicle: &Vehicle, user: Option<SmartcarUserId>) -> Result<(), CallError> {
        let filter = ConnectionFilter { vehicle: Some(vehicle.facts.id.clone()), user, ..ConnectionFilter::default() };
        let application = ConnectionId::APPLICATION;
        let filter = &filter;
        let listed = self
            .tokens
            .call(application, |smartcar, access| async move { smartcar.connections(&access, filter.clone()).await })
            .await?;
        for connection in listed.iter().filter(|connection| connection.vehicle.as_ref() == Some(&vehicle.facts.id)) {
            self.tokens
                .call(application, |smartcar, access| async move { smartcar.disconnect_v3(&access, &connection.id).await })
                .await?;
        }
        Ok(())
    }
}

/// In a task of its own: a client that goes away must not waste a call that is paid for, nor what came of it, nor leave
/// what is done at Smartcar undone here.
async fn to_its_end<T, E>(call: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<CallError> + Send + 'static,
{
    let cut_off = || TokenError::Later { after: Duration::from_secs(1), what: "the call was cut off".to_owned() };
    tokio::spawn(call).await.unwrap_or_else(|_| Err(E::from(cut_off().into())))
}

/// How many rows are looked at in one go.
const SCAN: usize = 256;

/// Lists that are ordered by row hand out the last row as cursor.
fn row_cursor(cursor: Option<&str>) -> Result<u32, VehiclesError> {
    cursor.map_or(Ok(0), |cursor| cursor.parse().map_err(|_| VehiclesError::BadRequest("the cursor is not one of this list")))
}
