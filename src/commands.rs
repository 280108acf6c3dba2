//! What cars are told to do, one thing at a time, and what really came of it.
//!
//! A command is on disk before it is sent and is never sent again by itself: it could act twice. It is waited for in
//! a task of its own, for as long as Smartcar may take, whoever goes away meanwhile. If Carport ends before the
//! answer is here, nobody can know, and that is what is told.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::budget::{Budget, Refused};
use crate::model::audit::Actor;
use crate::model::budget::{Permit, Reason};
use crate::model::command::{Command, CommandFailure, CommandRecord};
use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::reach::Reach;
use crate::model::token::Generation;
use crate::model::vehicle::Vehicle;
use crate::model::{Timestamp, VehicleId};
use crate::smartcar::SmartcarError;
use crate::store::commands::BeginCommand;
use crate::store::{Store, StoreError};
use crate::tokens::Tokens;
use crate::world::World;

mod order;
mod words;

pub use order::ENDED;
use order::Order;

/// Why a command was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such vehicle, or it is out of the caller's reach.
    #[error("there is no car of this id: `carport vehicles list` shows them all")]
    NotFound,
    /// The vehicle was told no such command, or so long ago that it is not kept.
    #[error("there is no such command of this car, or it is too old to be kept")]
    UnknownCommand,
    /// Its row in the store is damaged.
    #[error("it is damaged in the store: stop carport and run `carport check --repair`, which saves what can be read")]
    Damaged,
    /// The vehicle has no connection.
    #[error("this car is not connected: connect it again (`carport connect --vehicle {0}`)")]
    NotConnected(VehicleId),
    /// Only a new Connect helps.
    #[error("the owner must connect again (Reconnect on the dashboard, or `carport connect --vehicle {vehicle}`): {why}")]
    Reconnect {
        /// The vehicle.
        vehicle: VehicleId,
        /// What is wrong.
        why: String,
    },
    /// The owner has not granted it.
    #[error(
        "the owner has not granted {permission}: `carport connect --vehicle {vehicle} --add-scope {permission}` makes a link to ask \
         for it"
    )]
    NoPermission {
        /// The vehicle.
        vehicle: VehicleId,
        /// Smartcar's word for it.
        permission: &'static str,
    },
    /// The connection cannot do it.
    #[error("this car is connected through API v2.0, which cannot open or close the charge port")]
    NotPossible,
    /// One at a time.
    #[error("{name} is under way for this car: wait for it, or look at its outcome ({id})")]
    UnderWay {
        /// Which command.
        name: String,
        /// Its id.
        id: Uuid,
    },
    /// Smartcar has ended the API by which the car is connected.
    #[error("{0}")]
    Ended(SmartcarError),
    /// No call may be made now.
    #[error("{0}")]
    OverBudget(Refused),
    /// The store is in trouble.
    #[error("the store cannot take it now")]
    Store,
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> CommandError {
        if matches!(error, StoreError::Damaged { .. }) { CommandError::Damaged } else { CommandError::Store }
    }
}

/// A command, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct CommandView {
    /// Our id.
    pub id: String,
    /// The vehicle.
    pub vehicle: VehicleId,
    /// Such as `security/lock`.
    pub command: String,
    /// `pending`, `success`, `failed`, or `unknown` when nobody can know.
    pub status: &'static str,
    /// When it was given.
    pub requested_at: Timestamp,
    /// When we heard how it ended.
    pub ended_at: Option<Timestamp>,
    /// Why the car did not do it, or why nobody knows.
    pub error: Option<CommandFailure>,
}

/// What cars are told. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Commands {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    tokens: Tokens,
    budget: Budget,
    world: World,
    /// This run of Carport.
    run: Uuid,
    /// What is under way, by the row of the vehicle.
    under_way: Mutex<HashMap<u32, (Uuid, &'static str)>>,
    /// When each vehicle last did something, or may have.
    done: Mutex<HashMap<VehicleId, Timestamp>>,
    tasks: TaskTracker,
    /// Carport stops: answers are waited for no longer.
    closing: CancellationToken,
}

impl Commands {
    /// Commands through `tokens`, counted by `budget`.
    pub fn new(store: Store, tokens: Tokens, budget: Budget, world: World) -> Commands {
        let run = world.uuid();
        let (under_way, done) = (Mutex::default(), Mutex::default());
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        Commands { shared: Arc::new(Shared { store, tokens, budget, world, run, under_way, done, tasks, closing }) }
    }

    /// Tells a car what to do. Returns how it ended, or after `patience` that it is under way; then the outcome is kept
    /// under the command's id, and goes to the audit log as done by `actor`.
    pub async fn give(
        &self,
        reach: &Reach,
        id: &VehicleId,
        command: Command,
        (actor, address): (Actor, Option<IpAddr>),
        patience: Duration,
    ) -> Result<CommandView, CommandError> {
        let shared = &self.shared;
        let (row, vehicle, connection) = shared.within(reach, id).await?;
        let connection = may(&vehicle, connection, command)?;
        if let Some(error) = shared.tokens.ended().filter(|_| connection.generation == Generation::V2) {
            return Err(CommandError::Ended(error));
        }
        let record = CommandRecord {
            id: shared.world.uuid(),
            name: command.name().to_owned(),
            actor,
            requested_at: shared.world.now(),
            run: shared.run,
            ended: None,
        };
        let turn = Turn::take(shared, row, record.id, command)?;
        let order = Order { car: vehicle.facts.id, row, connection, command, record: record.clone(), address };
        // In a task of its own: what is on disk must be sent, though its client may hang up before it hears of that.
        let begun = shared.tasks.spawn(begin(shared.clone(), order, turn)).await;
        let under_way = begun.unwrap_or(Err(CommandError::Store))?;
        self.wait(id, record, under_way, patience).await
    }

    /// When a vehicle last did what it was told, in this run of Carport: what it said before may no longer be so.
    pub fn done_at(&self, vehicle: &VehicleId) -> Option<Timestamp> {
        self.shared.done.lock().unwrap_or_else(PoisonError::into_inner).get(vehicle).copied()
    }

    async fn wait(
        &self,
        vehicle: &VehicleId,
        record: CommandRecord,
        (told, mut task): (Told, JoinHandle<CommandRecord>),
        patience: Duration,
    ) -> Result<CommandView, CommandError> {
        // What cannot be kept yet is told all the same: it is what happened.
        let ended = match tokio::time::timeout(patience, &mut task).await {
            Ok(ended) => Some(ended),
            // It has just ended, and leaves it to us to tell.
            Err(_) if told.0.swap(true, Ordering::AcqRel) => Some(task.await),
            Err(_) => None,
        };
        match ended {
            Some(Ok(ended)) => Ok(self.view(vehicle, ended)),
            Some(Err(_)) => Err(CommandError::Store),
            None => Ok(self.view(vehicle, record)),
        }
    }

    /// A command of a vehicle.
    pub async fn show(&self, reach: &Reach, vehicle: &VehicleId, id: &str) -> Result<CommandView, CommandError> {
        let (row, ..) = self.shared.within(reach, vehicle).await?;
        let id = Uuid::parse_str(id).map_err(|_| CommandError::UnknownCommand)?;
        let found = self.shared.store.read(move |snapshot| snapshot.command(row, id)).await?;
        found.map(|record| self.view(vehicle, record)).ok_or(CommandError::UnknownCommand)
    }

    /// Ends what an earlier run left behind, and at `shutdown` waits a little for what is under way.
    pub async fn run(&self, shutdown: CancellationToken) {
        let shared = &self.shared;
        while let Err(error) = order::end_forsaken(shared).await {
            tracing::warn!(%error, "commands that a stop cut off wait for the store");
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
        }
        shutdown.cancelled().await;
        shared.tasks.close();
        if tokio::time::timeout(GRACE, shared.tasks.wait()).await.is_err() {
            shared.closing.cancel();
            shared.tasks.wait().await;
        }
    }

    fn view(&self, vehicle: &VehicleId, record: CommandRecord) -> CommandView {
        let CommandRecord { id, name, requested_at, run, ended, .. } = record;
        let (status, ended_at, error) = match ended {
            Some(ended) => (ended.outcome.as_str(), Some(ended.at), ended.outcome.failure().cloned()),
            None if run == self.shared.run => ("pending", None, None),
            // Nobody waits for it any more.
            None => ("unknown", None, Some(words::cut_off())),
        };
        CommandView { id: id.to_string(), vehicle: vehicle.clone(), command: name, status, requested_at, ended_at, error }
    }
}

impl Shared {
    async fn within(&self, reach: &Reach, id: &VehicleId) -> Result<(u32, Vehicle, Option<Connection>), CommandError> {
        let (id, is_all) = (id.clone(), *reach == Reach::All);
        let found = self.store.read(move |snapshot| {
            let found = match snapshot.vehicle(&id) {
                // SECURITY: nobody knows whose it is.
                Err(StoreError::Damaged { .. }) if !is_all => None,
                found => found?,
            };
            let Some((row, vehicle)) = found else { return Ok(None) };
            let connection = vehicle.connection.map_or(Ok(None), |id| snapshot.sound_connection(id))?;
            Ok(Some((row, vehicle, connection)))
        });
        found.await?.filter(|(_, vehicle, _)| reach.covers(vehicle)).ok_or(CommandError::NotFound)
    }
}

/// Whether a command may be sent at all: what can be known is asked before a call is spent.
fn may(vehicle: &Vehicle, connection: Option<Connection>, command: Command) -> Result<Connection, CommandError> {
    let id = || vehicle.facts.id.clone();
    let connection = connection.ok_or_else(|| CommandError::NotConnected(id()))?;
    match &connection.status {
        ConnectionStatus::Disconnected => return Err(CommandError::NotConnected(id())),
        ConnectionStatus::NeedsReconnect { reason, .. } => {
            return Err(CommandError::Reconnect { vehicle: id(), why: reason.clone() });
        }
        ConnectionStatus::Active => {}
    }
    let needed = command.permission();
    // Where Smartcar has not told what was granted, it decides itself.
    let granted = vehicle.facts.permissions.as_deref().or(Some(&*connection.scope).filter(|scope| !scope.is_empty()));
    if granted.is_some_and(|granted| !granted.iter().any(|granted| granted == needed)) {
        return Err(CommandError::NoPermission { vehicle: id(), permission: needed });
    }
    if connection.generation == Generation::V2 && command.v2().is_none() {
        return Err(CommandError::NotPossible);
    }
    Ok(connection)
}

/// Counts a command, notes it, and has it sent.
async fn begin(shared: Arc<Shared>, order: Order, turn: Turn) -> Result<(Told, JoinHandle<CommandRecord>), CommandError> {
    let permit = shared.budget.permit(order.row, Reason::Command).await.map_err(|refused| match refused {
        Refused::Store(_) => CommandError::Store,
        refused => CommandError::OverBudget(refused),
    })?;
    if let Err(error) = shared.store.commit(BeginCommand { vehicle: order.row, command: order.record.clone() }).await {
        shared.budget.settle(&permit, None).await;
        return Err(error.into());
    }
    let told = Told(Arc::default());
    let task = shared.tasks.spawn(order::carry_out(shared.clone(), order, permit, turn, told.0.clone()));
    Ok((told, task))
}

/// That a command of a vehicle is under way, until it is dropped.
#[derive(Debug)]
struct Turn {
    shared: Arc<Shared>,
    row: u32,
}

impl Turn {
    fn take(shared: &Arc<Shared>, row: u32, id: Uuid, command: Command) -> Result<Turn, CommandError> {
        let mut under_way = shared.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((id, name)) = under_way.get(&row) {
            return Err(CommandError::UnderWay { name: (*name).to_owned(), id: *id });
        }
        under_way.insert(row, (id, command.name()));
        Ok(Turn { shared: shared.clone(), row })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.row);
    }
}

/// Whether somebody has been told, or is gone: whoever comes second does not tell again.
#[derive(Debug)]
struct Told(Arc<AtomicBool>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// How long a stop waits for what is under way.
const GRACE: Duration = Duration::from_secs(10);
