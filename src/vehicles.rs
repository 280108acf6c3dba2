//! What owners have: users, vehicles and their signals, for API, dashboard and command line.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::model::reach::{Page, PageRequest, Reach};
use crate::model::reading::{SignalFailure, Source};
use crate::model::vehicle::VehicleError;
use crate::model::{AppUserId, ConnectionId, Json, Timestamp, VehicleId};

pub mod connections;
pub mod users;

/// A vehicle, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct VehicleView {
    /// Smartcar's id.
    pub id: VehicleId,
    /// Such as `VOLKSWAGEN`.
    pub make: Option<String>,
    /// Such as `ID.4`.
    pub model: Option<String>,
    /// The model year.
    pub year: Option<i32>,
    /// When granted.
    pub vin: Option<String>,
    /// The owner's own name for it.
    pub nickname: Option<String>,
    /// `live` or `simulated`.
    pub mode: Option<String>,
    /// The owner.
    pub user: AppUserId,
    /// The connection; null after it was disconnected.
    pub connection: Option<ConnectionId>,
    /// The latest of each signal, by code.
    pub signals: BTreeMap<String, SignalView>,
    /// When the newest delivery about it came in.
    pub last_event_at: Option<Timestamp>,
    /// Two lights.
    pub lights: Lights,
    /// What Smartcar reports as wrong.
    pub errors: Vec<VehicleError>,
}

/// The two lights of a vehicle.
#[derive(Clone, Debug, Serialize)]
pub struct Lights {
    /// Do data come in?
    pub data_flow: Light,
    /// May we still ask?
    pub authority: Light,
}

/// A light, with the words that go with it.
#[derive(Clone, Debug, Serialize)]
pub struct Light {
    /// `green`, `yellow`, `red` or `grey`.
    pub color: &'static str,
    /// One sentence.
    pub text: String,
}

/// The latest of a signal, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct SignalView {
    /// Smartcar's code.
    pub code: String,
    /// Its group.
    pub group: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The last good value as received; null if there never was one.
    pub body: Option<Json>,
    /// `SUCCESS`, or the status of the newest report if that failed.
    pub status: String,
    /// Why the newest report has no value; `body` is then the last good one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<SignalFailure>,
    /// When the car recorded the value.
    pub oem_updated_at: Option<Timestamp>,
    /// When Smartcar fetched it.
    pub retrieved_at: Option<Timestamp>,
    /// How it came here.
    pub source: Option<Source>,
}

/// A row of history.
#[derive(Clone, Debug, Serialize)]
pub struct HistoryView {
    /// The signal.
    pub signal: String,
    /// The value as received.
    pub body: Json,
    /// The time that orders it.
    pub at: Timestamp,
    /// When the car recorded it.
    pub oem_updated_at: Option<Timestamp>,
    /// When Smartcar fetched it.
    pub retrieved_at: Option<Timestamp>,
    /// How it came here.
    pub source: Source,
}

/// Which history.
#[derive(Clone, Debug)]
pub struct HistoryQuery {
    /// Only this signal.
    pub signal: Option<String>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Which part.
    pub page: PageRequest,
}

/// What happens to the data of a vehicle that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    #[error("the owner must connect again: {0}")]
    Reconnect(String),
    /// Smartcar did not do what was asked.
    #[error("Smartcar: {0}")]
    Upstream(String),
    /// The store is in trouble.
    #[error("the store cannot take it now")]
    Store,
}

/// Users, vehicles and vehicle data. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vehicles {
    shared: Arc<()>,
}

impl Vehicles {
    /// Vehicles within reach, oldest first.
    pub async fn list(
        &self,
        reach: &Reach,
        user: Option<&AppUserId>,
        mode: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<VehicleView>, VehiclesError> {
        let _ = (&self.shared, reach, user, mode, page);
        todo!()
    }

    /// One vehicle.
    pub async fn show(&self, reach: &Reach, id: &VehicleId) -> Result<VehicleView, VehiclesError> {
        let _ = (reach, id);
        todo!()
    }

    /// The latest of one signal.
    pub async fn signal(&self, reach: &Reach, id: &VehicleId, code: &str) -> Result<SignalView, VehiclesError> {
        let _ = (reach, id, code);
        todo!()
    }

    /// Changes of signals, oldest first.
    pub async fn history(&self, reach: &Reach, id: &VehicleId, query: HistoryQuery) -> Result<Page<HistoryView>, VehiclesError> {
        let _ = (reach, id, query);
        todo!()
    }

    /// Gives a vehicle the owner's own name; `None` takes it away.
    pub async fn rename(&self, reach: &Reach, id: &VehicleId, nickname: Option<String>) -> Result<VehicleView, VehiclesError> {
        let _ = (reach, id, nickname);
        todo!()
    }

    /// Disconnects a vehicle at Smartcar, then here. With `force` also when Smartcar refuses.
    pub async fn disconnect(&self, reach: &Reach, id: &VehicleId, history: History, force: bool) -> Result<(), VehiclesError> {
        let _ = (reach, id, history, force);
        todo!()
    }

    /// Reads a first (or fresh) picture of a vehicle from Smartcar and returns it.
    pub async fn sync(&self, reach: &Reach, id: &VehicleId) -> Result<VehicleView, VehiclesError> {
        let _ = (reach, id);
        todo!()
    }
}
