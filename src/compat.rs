//! Smartcar's own API, answered from what is stored: which signals answer which endpoint, how old they may be, and when
//! Smartcar is asked instead.
//!
//! What must stay true: nothing out of a caller's reach is told or called about, a call is made only with a permit, and
//! every failure is one of Smartcar's own errors. `web` puts this behind routes.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::commands::{CommandView, Commands};
use crate::model::api_error::ApiError;
use crate::model::audit::Actor;
use crate::model::budget::Reason;
use crate::model::command::Command;
use crate::model::reach::Reach;
use crate::model::reading::SignalReport;
use crate::model::token::Generation;
use crate::model::{SmartcarUserId, Timestamp, VehicleId};
use crate::smartcar::{HandedOn, PATIENCE};
use crate::vehicles::known::Known;
use crate::vehicles::{History, Note, Vehicles};
use crate::world::World;

mod application;
mod asked;
pub mod connections;
mod errors;
mod history;
mod kept;
mod lacking;
mod older;
mod reading;
mod signals;
mod stored;

use asked::Asked;
pub use errors::of_outcome;
use errors::{of_call, of_command, of_store};
pub use history::Question;
use kept::Kept;

/// What this room needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How old stored values may be that are answered; `None`: any age.
    pub max_age: Option<Duration>,
}

/// What a client wants of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// How old they may be, if the client says so.
    pub max_age: Option<Duration>,
    /// In miles, gallons and psi.
    pub imperial: bool,
    /// The client may only read: it cannot spend what others need.
    pub is_reader: bool,
}

impl Wish {
    /// Why Smartcar is asked.
    pub fn reason(self) -> Reason {
        if self.is_reader { Reason::Reader } else { Reason::Compat }
    }
}

/// A body, and what stands in the headers beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The body.
    pub body: Value,
    /// When the car recorded the oldest of its values.
    pub oem_updated_at: Option<Timestamp>,
    /// When Smartcar fetched the oldest of them.
    pub fetched_at: Option<Timestamp>,
}

impl Reply {
    fn plain(body: Value) -> Reply {
        Reply { body, oem_updated_at: None, fetched_at: None }
    }
}

/// A part of a list, as API v2.0 asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// At most so many.
    pub limit: usize,
    /// After so many.
    pub offset: usize,
}

/// Smartcar's own API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Compat {
    settings: Settings,
    vehicles: Vehicles,
    world: World,
    commands: Commands,
    asked: Asked,
    /// Of the application.
    kept: Kept<HandedOn>,
    /// Services of days further back than what is stored.
    services: Kept<SignalReport>,
}

impl Compat {
    /// Answers from `vehicles`, and tells them things through `commands`.
    pub fn new(settings: Settings, vehicles: Vehicles, commands: Commands, world: World) -> Compat {
        Compat { settings, vehicles, world, commands, asked: Asked::default(), kept: Kept::default(), services: Kept::default() }
    }

    // === API v2.0 ===

    /// `GET /user`: the Smartcar user of the owner that the caller acts for.
    pub async fn smartcar_user(&self, reach: &Reach) -> Result<SmartcarUserId, ApiError> {
        let all = self.vehicles.all_known(reach).await.map_err(of_store)?;
        let mut owners: Vec<_> = all.iter().map(|known| &known.vehicle.user).collect();
        owners.sort();
        owners.dedup();
        if owners.len() > 1 {
            let text = "This token is bound to no user, and there are several: make one that is bound, with \
                        `carport token create --scope read --user ID`.";
            return Err(ApiError::of("VALIDATION", None).because(text));
        }
        let connections = all.into_iter().filter_map(|known| known.connection);
        let newest = connections.filter(|connection| connection.smartcar_user.is_some()).max_by_key(|one| one.connected_at);
        let smartcar_user = newest.and_then(|connection| connection.smartcar_user);
        smartcar_user.ok_or_else(|| ApiError::permission().because("No car is connected for this token."))
    }

    /// `GET /vehicles`: the ids, and how many there are in all.
    pub async fn vehicles(&self, reach: &Reach, slice: Slice) -> Result<(Vec<VehicleId>, usize), ApiError> {
        let all = self.vehicles.all_known(reach).await.map_err(of_store)?;
        let ids = all.iter().map(|known| known.id().clone());
        Ok((ids.skip(slice.offset).take(slice.limit).collect(), all.len()))
    }

    /// `GET /vehicles/{id}/permissions`: as the owner granted them, and how many there are in all.
    pub async fn permissions(&self, reach: &Reach, id: &VehicleId, slice: Slice) -> Result<(Vec<String>, usize), ApiError> {
        let known = self.connected(reach, id).await?;
        let all = known.permissions().unwrap_or_default();
        Ok((all.iter().skip(slice.offset).take(slice.limit).cloned().collect(), all.len()))
    }

    /// `GET /vehicles/{id}/{path}`: one endpoint.
    pub async fn endpoint(&self, reach: &Reach, id: &VehicleId, question: Question, wish: Wish) -> Result<Reply, ApiError> {
        let known = self.connected(reach, id).await?;
        let mut replies = self.answers(reach, known, &[question], wish).await?;
        replies.pop().unwrap_or_else(|| Err(ApiError::path()))
    }

    /// `POST /vehicles/{id}/batch`: many endpoints, with one call at most, and one for each of the older spans of services.
    pub async fn batch(
        &self,
        reach: &Reach,
        id: &VehicleId,
        questions: &[Question],
        wish: Wish,
    ) -> Result<Vec<Result<Reply, ApiError>>, ApiError> {
        let known = self.connected(reach, id).await?;
        self.answers(reach, known, questions, wish).await
    }

    // === Both generations ===

    /// Tells a car something, as done by `by`. Waits for what really came of it, as Smartcar does; [`of_outcome`] is the
    /// error of one that has failed.
    pub async fn tell(
        &self,
        reach: &Reach,
        id: &VehicleId,
        smartcar_user: Option<&str>,
        command: Command,
        by: (Actor, Option<IpAddr>),
    ) -> Result<CommandView, ApiError> {
        of_smartcar_user(&self.connected(reach, id).await?, smartcar_user)?;
        self.commands.give(reach, id, command, by, PATIENCE).await.map_err(|error| of_command(&error))
    }

    /// Disconnects a vehicle at Smartcar, and here; what is known of it stays.
    pub async fn disconnect(&self, reach: &Reach, id: &VehicleId, note: &Note) -> Result<(), ApiError> {
        self.connected(reach, id).await?;
        let ended = self.vehicles.disconnect(reach, id, (History::Keep, false), note).await;
        ended.map_err(|error| errors::of_vehicles(&error))
    }

    /// Subscribes a vehicle to a webhook, or takes it from there. For one that is connected through v3 by the ways of v3,
    /// with the answer of v2.0.
    pub async fn subscribe(
        &self,
        reach: &Reach,
        id: &VehicleId,
        webhook: &str,
        ends: bool,
        reason: Reason,
    ) -> Result<Value, ApiError> {
        let known = self.connected(reach, id).await?;
        let of_v3 = known.connection.as_ref().filter(|connection| connection.generation == Generation::V3);
        let answer = if let Some(smartcar_user) = of_v3.and_then(|connection| connection.smartcar_user.as_ref()) {
            self.subscribe_v3(id, smartcar_user, webhook, ends, reason).await?;
            Value::Null
        } else {
            let told = self.vehicles.subscribe_v2(&known, webhook, ends, reason).await;
            told.map_err(|error| of_call(&error))?.body.value()
        };
        Ok(match answer {
            Value::Null if ends => json!({ "status": "success" }),
            Value::Null => json!({ "webhookId": webhook, "vehicleId": id }),
            body => body,
        })
    }

    /// A vehicle within reach that is connected.
    async fn connected(&self, reach: &Reach, id: &VehicleId) -> Result<Known, ApiError> {
        let known = self.vehicles.known(reach, id).await.map_err(of_store)?.ok_or_else(ApiError::no_vehicle)?;
        if known.connection.is_none() {
            return Err(ApiError::permission().because("This car is not connected any more."));
        }
        Ok(known)
    }
}

fn is_granted(known: &Known, permission: &str) -> bool {
    known.permissions().is_none_or(|granted| granted.iter().any(|own| own == permission))
}

/// `sc-user-id`, if it came, must be that of the vehicle.
fn of_smartcar_user(known: &Known, smartcar_user: Option<&str>) -> Result<(), ApiError> {
    let own = known.connection.as_ref().and_then(|connection| connection.smartcar_user.as_ref());
    match smartcar_user {
        Some(smartcar_user) if own.is_none_or(|own| own.as_str() != smartcar_user) => Err(ApiError::no_vehicle()),
        _ => Ok(()),
    }
}
