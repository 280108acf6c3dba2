//! What is kept, dressed to be shown.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Shared;
use super::connections::Hindrance;
use super::schedule::{self, PollingView};
use crate::model::capability::{Ability, Lack, in_words, is_refusal, opened_by, told_otherwise};
use crate::model::catalogue::known;
use crate::model::connection::{Cause, Connection, ConnectionStatus};
use crate::model::normal::{Normal, Units};
use crate::model::reading::{Reading, SignalFailure, Source};
use crate::model::subscription::Hurdle;
use crate::model::vehicle::{Vehicle, VehicleError};
use crate::model::{AppUserId, ConnectionId, Json, Timestamp, VehicleId};
use crate::smartcar::in_two;
use crate::store::tellings::Latest;
use crate::store::{Snapshot, StoreError};

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
    /// What it is called in the car itself, for pages.
    #[serde(skip)]
    pub called: Option<String>,
    /// `live` or `simulated`.
    pub mode: Option<String>,
    /// The owner.
    pub user: AppUserId,
    /// The connection; null after it was disconnected.
    pub connection: Option<ConnectionId>,
    /// Why the owner must connect it again, if it has no connection that says so. For pages, as the lights say it.
    #[serde(skip)]
    pub broken: Option<&'static str>,
    /// Whether this is what a former owner had of the car: it is another user's by now, or nobody's.
    pub former: bool,
    /// The latest of each signal, by code.
    pub signals: BTreeMap<String, SignalView>,
    /// When the newest delivery about it came in.
    pub last_event_at: Option<Timestamp>,
    /// Two lights.
    pub lights: Lights,
    /// What Smartcar reports as wrong.
    pub errors: Vec<VehicleError>,
    /// What is missing until data come in by themselves, and the one thing to do; null when nothing is.
    pub missing: Option<Hurdle>,
    /// Whether it is read by itself, and when.
    pub polling: PollingView,
    /// What it can tell and what it cannot, by code.
    pub capabilities: Vec<CapabilityView>,
}

/// Whether a signal of a vehicle can be had, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct CapabilityView {
    /// The signal.
    pub code: String,
    /// Whether.
    pub state: Ability,
    /// When it last told a value; of what cannot be had, since when.
    pub at: Option<Timestamp>,
    /// Why it cannot be had, in a sentence.
    pub reason: Option<String>,
    /// The permission that opens it, if its owner has not allowed it and it is known by which.
    pub permission: Option<&'static str>,
    /// The same in Smartcar's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<SignalFailure>,
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
    /// What kind of thing it tells; null if the catalogue does not have it.
    pub kind: Option<&'static str>,
    /// The last good value as received; null if there never was one.
    pub body: Option<Json>,
    /// It in the normal form, for display; null also if only the body tells it.
    pub value: Value,
    /// The unit of `value`.
    pub unit: Option<String>,
    /// The normal form, for pages.
    #[serde(skip)]
    pub normal: Normal,
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

impl SignalView {
    /// With its value in units of one's own.
    pub fn in_units(mut self, units: Units) -> SignalView {
        let body = self.body.as_ref().map(Json::value);
        self.normal = body.map_or(Normal::Nothing, |body| Normal::of(&self.code, &body, units));
        self.value = self.normal.value();
        self.unit = self.normal.unit().map(str::to_owned);
        self
    }
}

impl VehicleView {
    /// With the values of its signals in units of one's own.
    pub fn in_units(mut self, units: Units) -> VehicleView {
        self.signals = self.signals.into_iter().map(|(code, signal)| (code, signal.in_units(units))).collect();
        self
    }
}

/// A row of history.
#[derive(Clone, Debug, Serialize)]
pub struct HistoryView {
    /// The signal.
    pub signal: String,
    /// The value in its normal form; null if only the body tells it.
    pub value: Value,
    /// The unit of `value`.
    pub unit: Option<String>,
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

pub(super) fn vehicle(
    shared: &Shared,
    snapshot: &Snapshot<'_>,
    row: u32,
    vehicle: Vehicle,
    now: Timestamp,
) -> Result<VehicleView, StoreError> {
    let connection = vehicle.connection.map_or(Ok(None), |id| snapshot.sound_connection(id))?;
    let latest = snapshot.latest(row)?.into_iter();
    let latest: Vec<Latest> = latest.filter_map(|latest| as_of_now(latest, connection.as_ref())).collect();
    let missing = missing(snapshot, row, &vehicle, connection.as_ref())?;
    let former = snapshot.is_former(row, &vehicle)?;
    let taken_back = snapshot.taken_back(row, &vehicle)?;
    let lights = if former {
        Lights { data_flow: light("grey", FORMER.0), authority: light("grey", FORMER.1) }
    } else {
        let data_flow = data_flow(&vehicle, (connection.as_ref(), missing.as_ref()), &latest, now, shared);
        Lights { data_flow, authority: authority(&vehicle, connection.as_ref(), taken_back, shared) }
    };
    // Nobody reads for a former owner.
    let connection_is_lost = !former && vehicle.connection.is_some() && connection.is_none();
    let serving = if connection_is_lost { Err(LOST) } else { Ok(connection.as_ref().filter(|_| !former)) };
    let broken = match taken_back {
        _ if connection_is_lost => Some("Its connection is damaged in the store."),
        Some(_) => Some("Its owner has taken the access to it back at Smartcar."),
        None => None,
    };
    let polling = schedule::of(shared, snapshot, (row, &vehicle), serving, &latest, now)?;
    let capabilities = capabilities(&vehicle, &latest);
    let units = shared.settings.get().units;
    let Vehicle { facts, nickname, called, user, connection, last_event_at, errors, .. } = vehicle;
    Ok(VehicleView {
        id: facts.id,
        make: facts.make,
        model: facts.model,
        year: facts.year,
        vin: facts.vin.or_else(|| told_vin(&latest)),
        nickname,
        called,
        mode: facts.mode,
        user,
        connection,
        broken,
        former,
        signals: latest.into_iter().map(|latest| (latest.code.clone(), signal(latest, units))).collect(),
        last_event_at,
        lights,
        errors,
        missing,
        polling,
        capabilities,
    })
}

/// What is known of a signal, without a refusal that is over: since the owner has connected again nobody has asked. `None`
/// if nothing is left.
pub(super) fn as_of_now(mut latest: Latest, connection: Option<&Connection>) -> Option<Latest> {
    let since = connection.map_or(Timestamp::default(), |connection| connection.connected_at);
    let is_over = |failure: &SignalFailure, told_at: Timestamp| told_at < since && is_refusal(failure);
    latest.failure.take_if(|(failure, told_at)| is_over(failure, *told_at));
    latest.lack.take_if(|lack| is_over(&lack.failure, lack.told_at));
    (latest.reading.is_some() || latest.failure.is_some()).then_some(latest)
}

/// Of every signal that something is known of. A value that was told since counts for more than an error.
fn capabilities(vehicle: &Vehicle, latest: &[Latest]) -> Vec<CapabilityView> {
    let mut known = BTreeMap::new();
    for latest in latest.iter().filter(|latest| latest.told_at.is_some() || latest.reading.is_some()) {
        let at = latest.told_at.or(latest.reading.as_ref().map(|reading| reading.at));
        known.insert(latest.code.as_str(), (at, None));
    }
    let lacks = latest.iter().filter_map(|latest| Some((latest.code.as_str(), latest.lack.clone()?)));
    for (code, lack) in lacks.chain(told_otherwise(vehicle)) {
        let (at, other) = known.entry(code).or_insert((None, None));
        if at.is_none_or(|at| at < lack.told_at) && other.as_ref().is_none_or(|other: &Lack| other.told_at < lack.told_at) {
            *other = Some(lack);
        }
    }
    known
        .into_iter()
        .map(|(code, (at, lack))| {
            let permission = lack.as_ref().and_then(|lack| opened_by(code, &lack.failure));
            let named = permission.map(|permission| format!(" ({permission})")).unwrap_or_default();
            CapabilityView {
                code: code.to_owned(),
                state: lack.as_ref().map_or(Ability::Seen, Lack::ability),
                at: lack.as_ref().map(|lack| lack.since).or(at),
                reason: lack.as_ref().map(|lack| in_words(&lack.failure) + &named),
                permission,
                error: lack.map(|lack| lack.failure),
            }
        })
        .collect()
}

fn missing(
    snapshot: &Snapshot<'_>,
    row: u32,
    vehicle: &Vehicle,
    connection: Option<&Connection>,
) -> Result<Option<Hurdle>, StoreError> {
    let Some(connection) = connection.filter(|connection| connection.status == ConnectionStatus::Active) else { return Ok(None) };
    let is_subscribed = snapshot.subscription(row, connection)?.is_some();
    let (has_delivered, is_verified) = (vehicle.last_event_at.is_some(), snapshot.last_verify()?.is_some());
    Ok(Hurdle::of(&vehicle.facts.id, has_delivered, is_verified, is_subscribed))
}

/// The VIN as a reading: a v3 vehicle that was read before its first event has it only there.
fn told_vin(latest: &[Latest]) -> Option<String> {
    let reading = latest.iter().find(|latest| latest.code == "vehicleidentification-vin")?.reading.as_ref()?;
    reading.body.value()["value"].as_str().map(str::to_owned)
}

pub(super) fn signal(latest: Latest, units: Units) -> SignalView {
    let error = latest.failure.map(|(failure, _)| failure);
    let (body, oem_updated_at, retrieved_at, source) = match latest.reading {
        Some(reading) => (Some(reading.body), reading.oem_updated_at, reading.retrieved_at, Some(reading.source)),
        None => (None, None, None, None),
    };
    let listed = known(&latest.code);
    let view = SignalView {
        group: latest.group.or_else(|| Some(listed?.group.to_owned())),
        name: latest.name.or_else(|| Some(listed?.name.to_owned())),
        kind: listed.map(|listed| listed.kind.as_str()),
        code: latest.code,
        body,
        value: Value::Null,
        unit: None,
        normal: Normal::Nothing,
        status: error.as_ref().map_or_else(|| "SUCCESS".to_owned(), |failure| failure.status.clone()),
        error,
        oem_updated_at,
        retrieved_at,
        source,
    };
    view.in_units(units)
}

pub(super) fn history(signal: String, reading: Reading, units: Units) -> HistoryView {
    let Reading { body, at, oem_updated_at, retrieved_at, source } = reading;
    let normal = Normal::of(&signal, &body.value(), units);
    let (value, unit) = (normal.value(), normal.unit().map(str::to_owned));
    HistoryView { signal, value, unit, body, at, oem_updated_at, retrieved_at, source }
}

fn light(color: &'static str, text: impl Into<String>) -> Light {
    Light { color, text: text.into() }
}

/// What the lights of a former owner's car say.
const FORMER: (&str, &str) = ("Nothing comes in here any more.", "This is the history of a former owner.");

/// Its row in the store is damaged, or gone since a repair.
const LOST: &str = "The connection of this car is damaged in the store: the owner must connect it again.";

fn data_flow(
    vehicle: &Vehicle,
    (connection, missing): (Option<&Connection>, Option<&Hurdle>),
    latest: &[Latest],
    now: Timestamp,
    shared: &Shared,
) -> Light {
    const DAY: Duration = Duration::from_secs(86_400);
    if vehicle.connection.is_none() || connection.is_some_and(|connection| connection.status == ConnectionStatus::Disconnected) {
        return light("grey", "Nothing comes in any more: this car is not connected.");
    }
    let status = connection.map(|connection| &connection.status);
    if matches!(status, Some(ConnectionStatus::NeedsReconnect { cause: Cause::Access, .. })) {
        return light("grey", "Nothing comes in any more: its owner has taken the access back.");
    }
    let newest = latest.iter().filter_map(|latest| latest.reading.as_ref()).map(|reading| reading.at).max();
    let Some(newest) = newest.max(vehicle.last_event_at) else {
        return light("grey", "Nothing has come in about this car yet.");
    };
    match now.since(newest) {
        age if age < DAY => match missing {
            // Read once, when it was connected: nothing follows by itself.
            Some(hurdle) if shared.settings.get().polls_every.is_none() => {
                light("yellow", format!("It was read; nothing comes in by itself yet. {}", hurdle.what))
            }
            Some(_) => light("green", "It was read; no delivery has come in about it yet."),
            None if vehicle.last_event_at.is_none() => light("yellow", "It was read; nothing comes in by itself yet."),
            None => light("green", "Data come in."),
        },
        age if age < 7 * DAY => light("yellow", "Nothing has come in for a day or more."),
        _ => light("red", "Nothing has come in for a week or more."),
    }
}

fn gone(id: &VehicleId, at: Timestamp) -> String {
    format!(
        "The owner has taken the access to this car back at Smartcar (found on {}): send them the link of \
         `carport connect --vehicle {id}`.",
        at.plain()
    )
}

fn authority(vehicle: &Vehicle, connection: Option<&Connection>, taken_back: Option<Timestamp>, shared: &Shared) -> Light {
    let Some(connection) = connection else {
        return match (vehicle.connection, taken_back) {
            (Some(_), _) => light("red", LOST),
            (None, Some(at)) => light("red", gone(&vehicle.facts.id, at)),
            (None, None) => light("grey", "This car is not connected."),
        };
    };
    match &connection.status {
        ConnectionStatus::Disconnected => light("grey", "This car is not connected."),
        ConnectionStatus::NeedsReconnect { .. } => light("red", "The owner must connect this car again."),
        ConnectionStatus::Active => {
            let error =
                vehicle.errors.iter().find(|error| error.kind == "CONNECTED_SERVICES_ACCOUNT" || error.kind == "PERMISSION");
            if let Some(error) = error {
                let refused = || "The manufacturer refuses us: the owner must act.".to_owned();
                return light("red", error.sentence().unwrap_or_else(refused));
            }
            match shared.hindrance(connection) {
                Some(Hindrance::Ended(what)) => light("red", format!("{}.", in_two(&what).0)),
                Some(Hindrance::Refused(what)) => light("red", format!("Access cannot be renewed: {}.", in_two(&what).0)),
                Some(Hindrance::Passing(what)) => {
                    light("yellow", format!("Access cannot be renewed now: {}. Carport tries again by itself.", in_two(&what).0))
                }
                None => light("green", "We may ask for this car's data."),
            }
        }
    }
}
