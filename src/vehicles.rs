//! What owners have: users, vehicles and their signals, for API, dashboard and command line.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::model::budget::Reason;
use crate::model::catalogue::known;
use crate::model::normal::Units;
use crate::model::reach::{Page, PageRequest, Reach};
use crate::model::vehicle::Vehicle;
use crate::model::{AppUserId, Current, VehicleId};
use crate::smartcar::Smartcar;
use crate::store::gists::Gists;
use crate::store::vehicles::RenameVehicle;
use crate::store::{Snapshot, Store, StoreError};
use crate::tokens::{CallError, TokenError, Tokens};
use crate::world::World;

pub mod connections;
mod courses;
mod derived;
mod ending;
mod error;
pub mod known;
mod limits;
mod names;
mod past;
mod picture;
mod polling;
mod refused;
mod revoked;
mod schedule;
mod series;
mod subscribing;
pub mod users;
mod view;

pub use courses::{Course, Point};
pub use derived::{ChargeView, TripView};
pub use error::VehiclesError;
pub use names::VehicleName;
pub use past::{Export, HistoryQuery, RollupView, Whose};
pub use schedule::PollingView;
pub use series::{Past, PastError};
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

/// Told of each car as it goes, so that whoever notes them knows of those before when the rest fails, or nobody waits for it.
pub type Note = Arc<dyn Fn(&VehicleId) + Send + Sync>;

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
    /// The webhook may be there now.
    webhook_may_work: Notify,
    /// When the webhook was said to be verified, as far as that was heard.
    verified_at: Mutex<Option<Instant>>,
    /// Smartcar's id of the webhook, once it was learnt.
    webhook: Mutex<Option<String>>,
    /// Rows of vehicles that the schedule passes over until then.
    resting: Mutex<HashMap<u32, polling::Rest>>,
    /// Signals of vehicles that Smartcar counts, but does not have.
    absent: Mutex<HashSet<(VehicleId, &'static str)>>,
    gists: Arc<Gists>,
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
                webhook_may_work: Notify::new(),
                verified_at: Mutex::default(),
                webhook: Mutex::default(),
                resting: Mutex::default(),
                absent: Mutex::default(),
                gists: Arc::default(),
            }),
        }
    }

    /// Another webhook, or other addresses, from now on. What was learnt of the webhook before is forgotten.
    pub fn replace_settings(&self, settings: Settings) {
        self.shared.settings.replace(settings);
        *self.shared.webhook.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.webhook_may_work.notify_one();
    }

    /// What values are shown in, unless somebody asks for others.
    pub fn units(&self) -> Units {
        self.shared.settings.get().units
    }

    /// Vehicles within reach, oldest first; also what is left of cars that are another user's by now.
    pub async fn list(
        &self,
        reach: &Reach,
        user: Option<&AppUserId>,
        mode: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<VehicleView>, VehiclesError> {
        let (reach, user, mode, now) = (reach.clone(), user.cloned(), mode.map(str::to_owned), self.shared.world.now());
        let (shared, after) = (self.shared.clone(), row_cursor(page.cursor.as_deref())?);
        let found = self.shared.store.read(move |snapshot| {
            if let Some(user) = &user
                && !users::is_known(snapshot, &reach, user)?
            {
                return Ok(Err(VehiclesError::UnknownUser));
            }
            let (mut items, mut next, mut last) = (Vec::new(), None, after);
            each_within(snapshot, &reach, after, |row, vehicle| {
                let wanted = user.as_ref().is_none_or(|user| vehicle.user == *user)
                    && mode.as_ref().is_none_or(|mode| vehicle.facts.mode.as_deref().unwrap_or("live") == mode);
                if wanted && items.len() == page.limit {
                    next = Some(last.to_string());
                    return Ok(ControlFlow::Break(()));
                }
                if wanted {
                    items.push(view::vehicle(&shared, snapshot, row, vehicle, now)?);
                }
                last = row;
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(Ok(Page { items, next }))
        });
        found.await?
    }

    /// One vehicle.
    pub async fn show(&self, reach: &Reach, id: &VehicleId) -> Result<VehicleView, VehiclesError> {
        let (id, reach, now) = (id.clone(), reach.clone(), self.shared.world.now());
        let shared = self.shared.clone();
        let found = self.shared.store.read(move |snapshot| match readable(snapshot, &reach, &id)? {
            Ok((row, vehicle)) => view::vehicle(&shared, snapshot, row, vehicle, now).map(Ok),
            Err(error) => Ok(Err(error)),
        });
        found.await?
    }

    /// The latest of one signal.
    pub async fn signal(&self, reach: &Reach, id: &VehicleId, code: &str) -> Result<SignalView, VehiclesError> {
        let (row, vehicle) = self.within(reach, id).await?;
        self.shared.check_signal(Some(code)).await?;
        let code = code.to_owned();
        let latest = self.shared.store.read(move |snapshot| {
            let Some(latest) = snapshot.latest_of(row, &code)? else { return Ok(None) };
            let connection = vehicle.connection.map_or(Ok(None), |id| snapshot.sound_connection(id))?;
            Ok(view::as_of_now(latest, connection.as_ref()))
        });
        let units = self.shared.settings.get().units;
        latest.await?.map(|latest| view::signal(latest, units)).ok_or_else(|| VehiclesError::Untold(id.clone()))
    }

    /// Gives a vehicle the owner's own name; `None` takes it away.
    pub async fn rename(&self, reach: &Reach, id: &VehicleId, nickname: Option<String>) -> Result<VehicleView, VehiclesError> {
        let (_, Vehicle { user, .. }) = self.within(reach, id).await?;
        let nickname = nickname.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        if nickname.as_ref().is_some_and(|name| name.chars().count() > 100) {
            return Err(VehiclesError::BadRequest("a nickname has at most 100 characters"));
        }
        // Somebody else may have connected the car by now.
        if !self.shared.store.commit(RenameVehicle { id: id.clone(), nickname, user: Some(user) }).await? {
            return Err(VehiclesError::NotFound);
        }
        self.show(reach, id).await
    }

    /// Reads a first (or fresh) picture of a vehicle from Smartcar and returns it.
    pub async fn sync(&self, reach: &Reach, id: &VehicleId) -> Result<VehicleView, VehiclesError> {
        let (row, vehicle) = self.within(reach, id).await?;
        let read = picture::read(&self.shared, row, &vehicle, None, Reason::Request).await;
        if let Err(error) = read {
            let refusal = self.shared.refusal(row, &error).await;
            return Err(refusal.map_or_else(|| VehiclesError::of_read(error).about(id), VehiclesError::OverBudget));
        }
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
        let (reach, id) = (reach.clone(), id.clone());
        self.shared.store.read(move |snapshot| readable(snapshot, &reach, &id)).await?
    }
}

/// A vehicle within reach and its row. Only the operator is told of one that is damaged: nobody knows whose it is.
fn readable(snapshot: &Snapshot<'_>, reach: &Reach, id: &VehicleId) -> Result<Result<(u32, Vehicle), VehiclesError>, StoreError> {
    Ok(match snapshot.vehicle(id) {
        Err(StoreError::Damaged { .. }) if *reach == Reach::All => Err(VehiclesError::Damaged),
        Err(StoreError::Damaged { .. }) => Err(VehiclesError::NotFound),
        found => found?.filter(|(_, vehicle)| reach.covers(vehicle)).ok_or(VehiclesError::NotFound),
    })
}

impl Shared {
    /// Whether somebody asks for a signal that Smartcar lists, or that a car has told all the same: a mistyped one must not
    /// look like one of which nothing is known.
    async fn check_signal(&self, code: Option<&str>) -> Result<(), VehiclesError> {
        let Some(code) = code.filter(|code| known(code).is_none()).map(str::to_owned) else { return Ok(()) };
        let unknown = self.store.read(move |snapshot| unknown(snapshot, Some(&code))).await?;
        unknown.map_or(Ok(()), Err)
    }
}

/// What is wrong with asking for a signal, if anything is.
fn unknown(snapshot: &Snapshot<'_>, code: Option<&str>) -> Result<Option<VehiclesError>, StoreError> {
    let Some(code) = code.filter(|code| known(code).is_none()) else { return Ok(None) };
    let is_told = snapshot.knows_signal(code)?;
    Ok((!is_told).then(|| VehiclesError::UnknownSignal(code.to_owned())))
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

/// Whether a row exists for the caller. A car's former owner still has what was; who may see one car sees it as it is now.
fn is_within(snapshot: &Snapshot<'_>, reach: &Reach, row: u32, vehicle: &Vehicle) -> Result<bool, StoreError> {
    let as_it_is = matches!(reach, Reach::Vehicle(_));
    Ok(reach.covers(vehicle) && (!as_it_is || !snapshot.is_former(row, vehicle)?))
}

/// Visits the vehicles within reach after a row, oldest first, until told to stop.
fn each_within(
    snapshot: &Snapshot<'_>,
    reach: &Reach,
    mut after: u32,
    mut visit: impl FnMut(u32, Vehicle) -> Result<ControlFlow<()>, StoreError>,
) -> Result<(), StoreError> {
    loop {
        let vehicles = snapshot.vehicles(after, SCAN)?;
        let end = vehicles.len() < SCAN;
        for (row, vehicle) in vehicles {
            after = row;
            if is_within(snapshot, reach, row, &vehicle)? && visit(row, vehicle)?.is_break() {
                return Ok(());
            }
        }
        if end {
            return Ok(());
        }
    }
}

/// How many rows are looked at in one go: a page shows a dozen.
const SCAN: usize = 16;

/// Lists that are ordered by row hand out the last row as cursor.
fn row_cursor(cursor: Option<&str>) -> Result<u32, VehiclesError> {
    cursor.map_or(Ok(0), |cursor| cursor.parse().map_err(|_| VehiclesError::BadRequest("the cursor is not one of this list")))
}
