//! Commands to a car, of both generations. They really change it, and fail where Smartcar says a car's state
//! forbids them.

use serde_json::Value;

use super::car::Car;
use super::trouble::Trouble;

/// What a car can be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Command {
    StartCharge,
    StopCharge,
    /// Percent.
    LimitCharge(f64),
    OpenPort,
    ClosePort,
    Lock,
    Unlock,
    Navigate,
}

impl Command {
    /// `POST /v2.0/vehicles/{id}/{path}`; none when that is no command.
    pub(super) fn v2(path: &[&str], body: &Value) -> Option<Result<Command, Trouble>> {
        let action = body["action"].as_str().unwrap_or_default();
        Some(match (path, action) {
            (["charge"], "START") => Ok(Command::StartCharge),
            (["charge"], "STOP") => Ok(Command::StopCharge),
            (["security"], "LOCK") => Ok(Command::Lock),
            (["security"], "UNLOCK") => Ok(Command::Unlock),
            (["charge" | "security"], _) => Err(Trouble::parameter("action", "is not one of this endpoint's")),
            (["charge", "limit"], _) => {
                // The Node SDK sends it as a text.
                let limit = body["limit"].as_f64().or_else(|| body["limit"].as_str()?.parse().ok());
                let limit = limit.filter(|limit| (0.5..=1.0).contains(limit));
                limit
                    .map(|limit| Command::LimitCharge(limit * 100.0))
                    .ok_or_else(|| Trouble::parameter("limit", "is not a number from 0.5 to 1"))
            }
            (["navigation", "destination"], _) => destination(body),
            _ => return None,
        })
    }

    /// The permission that `POST /v2.0/vehicles/{id}/{path}` needs; none when that is no command.
    pub(super) fn v2_permission(path: &[&str]) -> Option<&'static str> {
        match path {
            ["charge"] | ["charge", "limit"] => Some("control_charge"),
            ["security"] => Some("control_security"),
            ["navigation", "destination"] => Some("control_navigation"),
            _ => None,
        }
    }

    /// The permission that `POST /v3/vehicles/{id}/commands/{path}` needs; none when that is no command.
    pub(super) fn v3_permission(path: &[&str]) -> Option<&'static str> {
        match path {
            ["charge", "start" | "stop" | "set-limit"] | ["charge-port", "open" | "close"] => Some("control_charge"),
            ["security", "lock" | "unlock"] => Some("control_security"),
            ["navigation", "set-destination"] => Some("control_navigation"),
            _ => None,
        }
    }

    /// `POST /v3/vehicles/{id}/commands/{path}`; none when that is no command.
    pub(super) fn v3(path: &[&str], body: &Value) -> Option<Result<Command, Trouble>> {
        let attributes = &body["data"]["attributes"];
        Some(match path {
            ["charge", "start"] => Ok(Command::StartCharge),
            ["charge", "stop"] => Ok(Command::StopCharge),
            ["charge", "set-limit"] if !attributes.is_object() => Err(flat("percent", r#"{"percent":80}"#)),
            ["navigation", "set-destination"] if !attributes.is_object() => {
                Err(flat("latitude", r#"{"latitude":47.6,"longitude":-122.3}"#))
            }
            ["charge", "set-limit"] => {
                let percent = attributes["percent"].as_u64().and_then(|percent| u32::try_from(percent).ok());
                let percent = percent.filter(|percent| (50..=100).contains(percent)).map(f64::from);
                percent
                    .map(Command::LimitCharge)
                    .ok_or_else(|| Trouble::parameter("percent", "is not a whole number from 50 to 100"))
            }
            ["charge-port", "open"] => Ok(Command::OpenPort),
            ["charge-port", "close"] => Ok(Command::ClosePort),
            ["security", "lock"] => Ok(Command::Lock),
            ["security", "unlock"] => Ok(Command::Unlock),
            ["navigation", "set-destination"] => destination(attributes),
            _ => return None,
        })
    }

    /// Does it, at `now` (wall milliseconds). A vehicle connected as simulated goes on with its trip all the same.
    pub(super) fn obey(self, car: &mut Car, simulated: bool, now: i64) -> Result<(), Trouble> {
        if let Some(trouble) = &car.trouble {
            return Err(trouble.clone());
        }
        let electric = car.model.battery > 0.0;
        let state = |code, text| Err(Trouble::not_now(code, text));
        match self {
            Command::Lock | Command::Unlock if car.driving() => state("IN_MOTION", "The vehicle is in motion."),
            Command::Lock | Command::Unlock if simulated => Ok(()),
            Command::Lock | Command::Unlock => {
                car.locked = self == Command::Lock;
                car.updated.closure = now;
                Ok(())
            }
            Command::Navigate => Ok(()),
            _ if !electric => Err(Trouble::not_capable()),
            Command::StartCharge | Command::StopCharge if !car.plugged => {
                state("CHARGING_PLUG_NOT_CONNECTED", "The charging plug is not connected.")
            }
            Command::LimitCharge(_) if simulated && car.charging() => Err(Trouble::not_offered()),
            Command::StartCharge | Command::StopCharge | Command::LimitCharge(_) if simulated => Ok(()),
            Command::StartCharge if car.charge >= car.limit => state("FULLY_CHARGED", "The vehicle is charged to its limit."),
            Command::StopCharge if !car.charging() => state("NOT_CHARGING", "The vehicle is not charging."),
            Command::StartCharge | Command::StopCharge => {
                car.hold_charge(self == Command::StopCharge, now);
                Ok(())
            }
            Command::LimitCharge(percent) => {
                car.limit_charge(percent, now);
                Ok(())
            }
            Command::OpenPort | Command::ClosePort if car.plugged => {
                state("CHARGING_PLUG_CONNECTED", "The charging plug is connected.")
            }
            Command::OpenPort if car.driving() => state("IN_MOTION", "The vehicle is in motion."),
            Command::OpenPort | Command::ClosePort if simulated => Ok(()),
            Command::OpenPort | Command::ClosePort => {
                car.port_open = self == Command::OpenPort;
                // It is told with the charge, and with what else is open.
                (car.updated.energy, car.updated.closure) = (now, now);
                Ok(())
            }
        }
    }
}

/// A body of v3 without attributes, such as the flat one of v2.0.
fn flat(field: &str, example: &str) -> Trouble {
    let what = format!(r#"is missing: the body must be such as {{"data":{{"attributes":{example}}}}}"#);
    Trouble::parameter(&format!("data.attributes.{field}"), &what)
}

fn destination(body: &Value) -> Result<Command, Trouble> {
    let within = |name: &str, most: f64| body[name].as_f64().is_some_and(|degrees| degrees.abs() <= most);
    let place = within("latitude", 90.0) && within("longitude", 180.0);
    if place { Ok(Command::Navigate) } else { Err(Trouble::parameter("latitude", "and longitude are not a place on Earth")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulator::chance::Chance;
    use crate::simulator::model::Model;

    fn told(car: &mut Car, command: Command) -> Option<&'static str> {
        command.obey(car, false, 1).err().and_then(|trouble| trouble.code)
    }

    #[test]
    fn a_command_changes_the_car_or_says_why_not() {
        let mut car = Car::new(Model::named("ID.4").unwrap(), Chance::of(5, "commands"), 0);
        car.step(60_000);
        assert!(car.charging() && car.locked);
        assert_eq!(told(&mut car, Command::StopCharge), None);
        assert!(!car.charging());
        car.step(120_000);
        assert!(!car.charging());
        assert_eq!(told(&mut car, Command::StopCharge), Some("NOT_CHARGING"));
        let why = Command::StopCharge.obey(&mut car, false, 1).unwrap_err().description;
        assert_eq!(&*why, "The vehicle is not charging.", "the car's own reason, asked for by nobody");
        assert_eq!(told(&mut car, Command::StartCharge), None);
        assert!(car.charging());
        assert_eq!(told(&mut car, Command::OpenPort), Some("CHARGING_PLUG_CONNECTED"));
        assert_eq!(told(&mut car, Command::Unlock), None);
        assert!(!car.locked);
        car.limit = 20.0;
        assert_eq!(told(&mut car, Command::StartCharge), Some("FULLY_CHARGED"));
        car.limit = 90.0;
        assert!(Command::Lock.obey(&mut car, true, 1).is_ok() && !car.locked, "its trip does not change");
        assert_eq!(Command::LimitCharge(70.0).obey(&mut car, true, 1).unwrap_err().code, Some("SMARTCAR_NOT_CAPABLE"));
        let mut golf = Car::new(Model::named("Golf").unwrap(), Chance::of(5, "commands"), 0);
        assert_eq!(told(&mut golf, Command::LimitCharge(80.0)), Some("VEHICLE_NOT_CAPABLE"));
    }

    #[test]
    fn reads_both_generations() {
        assert_eq!(Command::v2(&["charge", "limit"], &json!({ "limit": "0.7" })).unwrap().unwrap(), Command::LimitCharge(70.0));
        assert!(Command::v2(&["charge"], &json!({})).unwrap().is_err());
        assert!(Command::v2(&["odometer"], &json!({})).is_none());
        let body = json!({ "data": { "attributes": { "percent": 80 } } });
        assert!(matches!(Command::v3(&["charge", "set-limit"], &body), Some(Ok(Command::LimitCharge(80.0)))));
        for (path, field) in [(["charge", "set-limit"], "percent"), (["navigation", "set-destination"], "latitude")] {
            let why = Command::v3(&path, &json!({ field: 80 })).unwrap().unwrap_err().description;
            let said =
                format!("The request is not valid: data.attributes.{field} is missing: the body must be such as {{\"data\":");
            assert!(why.starts_with(&said), "{why}");
        }
        assert!(Command::v3(&["climate", "start"], &json!({})).is_none());
    }
}
