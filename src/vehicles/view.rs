//! What is kept, dressed to be shown.

use std::time::Duration;

use super::{HistoryView, Light, Lights, SignalView, VehicleView};
use crate::model::Timestamp;
use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::reading::Reading;
use crate::model::vehicle::Vehicle;
use crate::store::vehicle_data::Latest;
use crate::store::{Snapshot, StoreError};

pub(super) fn vehicle(snapshot: &Snapshot<'_>, row: u32, vehicle: Vehicle, now: Timestamp) -> Result<VehicleView, StoreError> {
    let latest = snapshot.latest(row)?;
    let connection = vehicle.connection.map_or(Ok(None), |id| snapshot.connection(id))?;
    let lights = Lights { data_flow: data_flow(&vehicle, &latest, now), authority: authority(&vehicle, connection.as_ref()) };
    let Vehicle { facts, nickname, user, connection, last_event_at, errors, .. } = vehicle;
    Ok(VehicleView {
        id: facts.id,
        make: facts.make,
        model: facts.model,
        year: facts.year,
        vin: facts.vin.or_else(|| told_vin(&latest)),
        nickname,
        mode: facts.mode,
        user,
        connection,
        signals: latest.into_iter().map(|latest| (latest.code.clone(), signal(latest))).collect(),
        last_event_at,
        lights,
        errors,
    })
}

/// The VIN as a reading: a v3 vehicle that was read before its first event has it only there.
fn told_vin(latest: &[Latest]) -> Option<String> {
    let reading = latest.iter().find(|latest| latest.code == "vehicleidentification-vin")?.reading.as_ref()?;
    reading.body.value()["value"].as_str().map(str::to_owned)
}

pub(super) fn signal(latest: Latest) -> SignalView {
    let error = latest.failure.map(|(failure, _)| failure);
    let (body, oem_updated_at, retrieved_at, source) = match latest.reading {
        Some(reading) => (Some(reading.body), reading.oem_updated_at, reading.retrieved_at, Some(reading.source)),
        None => (None, None, None, None),
    };
    SignalView {
        code: latest.code,
        group: latest.group,
        name: latest.name,
        body,
        status: error.as_ref().map_or_else(|| "SUCCESS".to_owned(), |failure| failure.status.clone()),
        error,
        oem_updated_at,
        retrieved_at,
        source,
    }
}

pub(super) fn history(signal: String, reading: Reading) -> HistoryView {
    let Reading { body, at, oem_updated_at, retrieved_at, source } = reading;
    HistoryView { signal, body, at, oem_updated_at, retrieved_at, source }
}

fn light(color: &'static str, text: impl Into<String>) -> Light {
    Light { color, text: text.into() }
}

fn data_flow(vehicle: &Vehicle, latest: &[Latest], now: Timestamp) -> Light {
    const DAY: Duration = Duration::from_secs(86_400);
    let newest = latest.iter().filter_map(|latest| latest.reading.as_ref()).map(|reading| reading.at).max();
    let Some(newest) = newest.max(vehicle.last_event_at) else {
        return light("grey", "Nothing has come in about this car yet.");
    };
    match now.since(newest) {
        age if age < DAY => light("green", "Data come in."),
        age if age < 7 * DAY => light("yellow", "Nothing has come in for a day or more."),
        _ => light("red", "Nothing has come in for a week or more."),
    }
}

fn authority(vehicle: &Vehicle, connection: Option<&Connection>) -> Light {
    let Some(connection) = connection else { return light("grey", "This car is not connected.") };
    match &connection.status {
        ConnectionStatus::Disconnected => light("grey", "This car is not connected."),
        ConnectionStatus::NeedsReconnect { .. } => light("red", "The owner must connect this car again."),
        ConnectionStatus::Active => {
            let error =
                vehicle.errors.iter().find(|error| error.kind == "CONNECTED_SERVICES_ACCOUNT" || error.kind == "PERMISSION");
            match (error, &connection.last_error) {
                (Some(error), _) => light(
                    "red",
                    error.message.clone().unwrap_or_else(|| "The manufacturer refuses us: the owner must act.".to_owned()),
                ),
                (None, Some(_)) => light("yellow", "The last attempt to renew our access failed; it is tried again."),
                (None, None) => light("green", "We may ask for this car's data."),
            }
        }
    }
}
