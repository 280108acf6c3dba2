//! What the owner should do something about: broken connections and errors of cars.

use super::format::When;
use crate::model::Timestamp;
use crate::smartcar::in_two;
use crate::vehicles::VehicleView;
use crate::vehicles::connections::ConnectionView;

/// The state of a car's connection, if it is worth a word.
#[derive(Debug)]
pub(super) enum Link<'a> {
    /// Only the owner can mend it.
    Broken {
        /// Why.
        reason: &'a str,
    },
    /// There is none any more.
    Gone,
    /// Nothing to say.
    Fine,
}

impl<'a> Link<'a> {
    /// Of a car.
    pub(super) fn of(vehicle: &VehicleView, connection: Option<&'a ConnectionView>) -> Link<'a> {
        match connection {
            Some(connection) if connection.status == "needs_reconnect" => Link::Broken {
                reason: in_two(connection.reason.as_deref().unwrap_or("Smartcar no longer accepts what the owner agreed to")).0,
            },
            Some(connection) if connection.status == "disconnected" => Link::Gone,
            None if vehicle.connection.is_none() && !vehicle.former => Link::Gone,
            _ => Link::Fine,
        }
    }
}

/// An error of a car.
#[derive(Debug)]
pub(super) struct Alert {
    /// For the owner.
    pub(super) sentence: String,
    /// Since when.
    pub(super) since: When,
    /// Smartcar's words.
    pub(super) code: String,
}

/// The errors of a car, in sentences for the owner.
pub(super) fn of(vehicle: &VehicleView, now: Timestamp) -> Vec<Alert> {
    let told = vehicle.errors.iter().map(|error| {
        let said = [&error.message, &error.description].into_iter().flatten().find(|text| !text.trim().is_empty());
        Alert {
            sentence: said.cloned().unwrap_or_else(|| "Smartcar reports a problem with this car.".to_owned()),
            since: When::ago(now, error.since),
            code: [Some(error.kind.as_str()), error.code.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" / "),
        }
    });
    told.collect()
}

/// The class of a light; an unknown color is grey.
pub(super) fn light(color: &str) -> &'static str {
    match color {
        "green" => "green",
        "yellow" => "yellow",
        "red" => "red",
        _ => "grey",
    }
}
