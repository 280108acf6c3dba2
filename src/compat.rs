//! Smartcar's own API, answered from what is stored: which signals answer which endpoint, how old they may be, and when
//! Smartcar is asked instead.
//!
//! What must stay true: nothing out of a caller's reach is told or called about, a call is made only with a permit, and
//! every failure is one of Smartcar's own errors. `web` puts this behind routes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::budget::Reason;
use crate::model::command::Command;
use crate::model::fault::Fault;
use crate::model::mapping::{self, Endpoint};
use crate::model::reach::Reach;
use crate::model::{SmartcarUserId, Timestamp, VehicleId};
use crate::smartcar::Told;
use crate::vehicles::known::Known;
use crate::vehicles::{History, Vehicles};
use crate::world::World;

pub mod connections;
mod faults;
mod signals;
mod stored;

use faults::{of_call, of_store};
use stored::{failure, usable};

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
    /// When Smartcar was last asked for an endpoint of a vehicle: it need not have told anything new.
    asked: Arc<Mutex<HashMap<(VehicleId, &'static str), Timestamp>>>,
}

impl Compat {
    /// Answers from `vehicles`.
    pub fn new(settings: Settings, vehicles: Vehicles, world: World) -> Compat {
        Compat { settings, vehicles, world, asked: Arc::default() }
    }

    // === API v2.0 ===

    /// `GET /user`: the Smartcar user of the owner that the caller acts for.
    pub async fn user(&self, reach: &Reach) -> Result<SmartcarUserId, Fault> {
        let all = self.vehicles.all_known(reach).await.map_err(of_store)?;
        let mut owners: Vec<_> = all.iter().map(|known| &known.vehicle.user).collect();
        owners.sort();
        owners.dedup();
        if owners.len() > 1 {
            let text = "This token is bound to no user, and there are several: make one that is bound, with \
                        `carport token create --scope read --user ID`.";
            return Err(Fault::of("VALIDATION", None).because(text));
        }
        let connections = all.into_iter().filter_map(|known| known.connection);
        let newest = connections.filter(|connection| connection.smartcar_user.is_some()).max_by_key(|one| one.connected_at);
        let user = newest.and_then(|connection| connection.smartcar_user);
        user.ok_or_else(|| Fault::permission().because("No car is connected for this token."))
    }

    /// `GET /vehicles`: the ids, and how many there are in all.
    pub async fn vehicles(&self, reach: &Reach, slice: Slice) -> Result<(Vec<VehicleId>, usize), Fault> {
        let all = self.vehicles.all_known(reach).await.map_err(of_store)?;
        let ids = all.iter().map(|known| known.id().clone());
        Ok((ids.skip(slice.offset).take(slice.limit).collect(), all.len()))
    }

    /// `GET /vehicles/{id}/permissions`: as the owner granted them, and how many there are in all.
    pub async fn permissions(&self, reach: &Reach, id: &VehicleId, slice: Slice) -> Result<(Vec<String>, usize), Fault> {
        let known = self.connected(reach, id).await?;
        let all = known.permissions().unwrap_or_default();
        Ok((all.iter().skip(slice.offset).take(slice.limit).cloned().collect(), all.len()))
    }

    /// `GET /vehicles/{id}/{path}`: one endpoint.
    pub async fn endpoint(&self, reach: &Reach, id: &VehicleId, path: &str, wish: Wish) -> Result<Reply, Fault> {
        let known = self.connected(reach, id).await?;
        let mut replies = self.answers(reach, known, &[path.to_owned()], wish).await?;
        replies.pop().unwrap_or_else(|| Err(Fault::path()))
    }

    /// `POST /vehicles/{id}/batch`: many endpoints, with one call at most.
    pub async fn batch(
        &self,
        reach: &Reach,
        id: &VehicleId,
        paths: &[String],
        wish: Wish,
    ) -> Result<Vec<Result<Reply, Fault>>, Fault> {
        let known = self.connected(reach, id).await?;
        self.answers(reach, known, paths, wish).await
    }

    async fn answers(
        &self,
        reach: &Reach,
        known: Known,
        paths: &[String],
        wish: Wish,
    ) -> Result<Vec<Result<Reply, Fault>>, Fault> {
        let endpoints: Vec<_> = paths.iter().filter_map(|path| mapping::endpoint(path)).collect();
        let missing = endpoints.into_iter().filter(|endpoint| self.is_to_be_read(&known, endpoint, wish));
        let mut missing: Vec<&'static str> = missing.map(|endpoint| endpoint.path).collect();
        missing.sort_unstable();
        missing.dedup();
        let (known, failed) = if missing.is_empty() { (known, None) } else { self.read(reach, known, &missing).await? };
        let answer = |path: &String| {
            let trimmed = path.trim_matches('/');
            let failed = failed.as_ref().filter(|_| missing.iter().any(|missing| missing.trim_matches('/') == trimmed));
            match trimmed {
                "" => attributes(&known),
                "permissions" => {
                    let all = known.permissions().unwrap_or_default();
                    Ok(Reply::plain(json!({ "permissions": all, "paging": { "count": all.len(), "offset": 0 } })))
                }
                _ => stored::answer(&known, mapping::endpoint(trimmed).ok_or_else(Fault::path)?, wish, failed),
            }
        };
        Ok(paths.iter().map(answer).collect())
    }

    /// Asks Smartcar; returns the vehicle as it is known then, and why nothing new is.
    async fn read(&self, reach: &Reach, known: Known, paths: &[&'static str]) -> Result<(Known, Option<Fault>), Fault> {
        let only: Vec<&'static str> = paths.iter().copied().filter(|path| mapping::endpoint(path).is_some()).collect();
        let read = self.vehicles.read(&known, Some(&only), Reason::Compat).await;
        let failed = read.err().map(|error| of_call(&error));
        if failed.is_none() {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.world.now();
            asked.extend(paths.iter().map(|path| ((known.id().clone(), *path), now)));
        }
        Ok((self.connected(reach, known.id()).await?, failed))
    }

    fn is_to_be_read(&self, known: &Known, endpoint: &Endpoint, wish: Wish) -> bool {
        if !is_granted(known, endpoint.permission) {
            return false;
        }
        let asked = self.asked_at(known.id(), endpoint.path);
        let latest = || endpoint.signals.iter().filter_map(|signal| known.latest.get(signal.code));
        let oldest = latest().filter_map(usable).map(|reading| reading.retrieved_at.unwrap_or(reading.at)).min();
        let can_never = latest().any(|latest| failure(known, latest).is_some_and(|failure| stored::lasts(&failure)));
        self.is_too_old(oldest, asked, can_never, wish)
    }

    fn asked_at(&self, id: &VehicleId, path: &'static str) -> Option<Timestamp> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).get(&(id.clone(), path)).copied()
    }

    fn is_too_old(&self, told: Option<Timestamp>, asked: Option<Timestamp>, can_never: bool, wish: Wish) -> bool {
        let max_age = wish.max_age.or(self.settings.max_age);
        let is_older = |at: Timestamp, age: Duration| age.is_zero() || self.world.now().since(at) > age;
        match (told, max_age) {
            (Some(_), None) => false,
            (Some(told), Some(age)) => is_older(told.max(asked.unwrap_or(told)), age),
            (None, _) if can_never && wish.max_age.is_none() => false,
            (None, age) => asked.is_none_or(|asked| is_older(asked, age.unwrap_or(NOTHING_THERE))),
        }
    }

    // === Both generations ===

    /// Tells a car something.
    pub async fn tell(&self, reach: &Reach, id: &VehicleId, user: Option<&str>, command: Command) -> Result<Told, Fault> {
        let known = self.connected(reach, id).await?;
        of_user(&known, user)?;
        if !is_granted(&known, command.permission()) {
            return Err(Fault::permission());
        }
        self.vehicles.tell(&known, command).await.map_err(|error| of_call(&error))
    }

    /// Disconnects a vehicle at Smartcar, and here; what is known of it stays.
    pub async fn disconnect(&self, reach: &Reach, id: &VehicleId) -> Result<(), Fault> {
        self.connected(reach, id).await?;
        self.vehicles.disconnect(reach, id, History::Keep, false).await.map_err(|error| faults::of_vehicles(&error))
    }

    /// Subscribes a vehicle to a webhook, or takes it from there.
    pub async fn subscribe(&self, reach: &Reach, id: &VehicleId, webhook: &str, ends: bool) -> Result<Value, Fault> {
        let known = self.connected(reach, id).await?;
        if known.connection.as_ref().is_some_and(|connection| connection.generation == crate::model::token::Generation::V3) {
            let text = "This car is connected through API v3: its subscriptions are at /v3/subscriptions.";
            return Err(Fault::not_capable("SMARTCAR_NOT_CAPABLE").because(text));
        }
        let answer = self.vehicles.subscribe_v2(&known, webhook, ends).await.map_err(|error| of_call(&error))?;
        Ok(match answer.body.value() {
            Value::Null if ends => json!({ "status": "success" }),
            Value::Null => json!({ "webhookId": webhook, "vehicleId": id }),
            body => body,
        })
    }

    /// `GET /compatibility` and its matrix, as Smartcar answers.
    pub async fn compatibility(&self, path: &str, query: &str) -> Result<Value, Fault> {
        let answer = self.vehicles.compatibility(path, query).await.map_err(|error| of_call(&error))?;
        Ok(answer.body.value())
    }

    /// A vehicle within reach that is connected.
    async fn connected(&self, reach: &Reach, id: &VehicleId) -> Result<Known, Fault> {
        let known = self.vehicles.known(reach, id).await.map_err(of_store)?.ok_or_else(Fault::no_vehicle)?;
        if known.connection.is_none() {
            return Err(Fault::permission().because("This car is not connected any more."));
        }
        Ok(known)
    }
}

/// After so long Smartcar is asked again for what it had nothing of.
const NOTHING_THERE: Duration = Duration::from_secs(3600);

fn is_granted(known: &Known, permission: &str) -> bool {
    known.permissions().is_none_or(|granted| granted.iter().any(|own| own == permission))
}

/// `sc-user-id`, if it came, must be that of the vehicle.
fn of_user(known: &Known, user: Option<&str>) -> Result<(), Fault> {
    let own = known.connection.as_ref().and_then(|connection| connection.smartcar_user.as_ref());
    match user {
        Some(user) if own.is_none_or(|own| own.as_str() != user) => Err(Fault::no_vehicle()),
        _ => Ok(()),
    }
}

fn attributes(known: &Known) -> Result<Reply, Fault> {
    if !is_granted(known, "read_vehicle_info") {
        return Err(Fault::permission());
    }
    let facts = &known.vehicle.facts;
    let make = facts.make.as_ref().map(|make| make.to_uppercase());
    Ok(Reply::plain(json!({ "id": facts.id, "make": make, "model": facts.model, "year": facts.year })))
}
