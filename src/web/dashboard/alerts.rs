//! What the owner should do something about: broken connections and errors of cars.

use super::format::{When, page_link};
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
            Some(_) => Link::Fine,
            None => match vehicle.broken {
                Some(reason) => Link::Broken { reason },
                None if vehicle.connection.is_none() && !vehicle.former => Link::Gone,
                None => Link::Fine,
            },
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
    /// The page that mends it.
    pub(super) link: Option<String>,
    /// It ends when the owner connects the car again.
    needs_owner: bool,
}

impl Alert {
    /// Whether the state of the connection says the same already.
    pub(super) fn is_said_by(&self, link: &Link<'_>) -> bool {
        self.needs_owner && matches!(link, Link::Broken { .. })
    }
}

/// The errors of a car, in sentences for the owner.
pub(super) fn of(vehicle: &VehicleView, now: Timestamp) -> Vec<Alert> {
    let told = vehicle.errors.iter().map(|error| Alert {
        sentence: error.sentence().unwrap_or_else(|| "Smartcar reports a problem with this car.".to_owned()),
        since: When::ago(now, error.since),
        code: [Some(error.kind.as_str()), error.code.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" / "),
        link: error.resolution_url.as_deref().and_then(page_link).map(str::to_owned),
        needs_owner: error.resolution.as_deref() == Some("REAUTHENTICATE"),
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

#[cfg(test)]
mod tests {
    use super::super::samples::{NOW, vehicles};
    use super::*;

    #[test]
    fn an_error_says_what_mends_it_once() {
        let mut vehicle = vehicles().remove(1);
        let error = &mut vehicle.errors[0];
        error.message = Some("Sign in again so that <app name> can go on.".to_owned());
        error.resolution_url = Some("https://connect.smartcar.com/oauth/reauthenticate?vehicle_id=1".to_owned());
        let alert = &of(&vehicle, NOW)[0];
        assert_eq!(alert.sentence, "Sign in again so that Carport can go on.");
        assert_eq!(alert.link, vehicle.errors[0].resolution_url);
        assert!(alert.is_said_by(&Link::Broken { reason: "" }) && !alert.is_said_by(&Link::Fine));
        let error = &mut vehicle.errors[0];
        (error.message, error.resolution_url) = (Some(" ".to_owned()), Some("javascript:alert(1)".to_owned()));
        error.resolution = Some("ACTION_REQUIRED".to_owned());
        let alert = &of(&vehicle, NOW)[0];
        assert!(alert.sentence.starts_with("Smartcar was unable") && alert.link.is_none());
        assert!(!alert.is_said_by(&Link::Broken { reason: "" }));
    }
}
