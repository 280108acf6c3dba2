//! What a car can be told, and how each generation of Smartcar's API says it.

use serde_json::{Value, json};

use super::api_error::ApiError;

mod record;

pub use record::{CommandFailure, CommandOutcome, CommandRecord, Ended};

/// What a car can be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command {
    /// Start charging.
    StartCharge,
    /// Stop charging.
    StopCharge,
    /// Charge up to so many percent.
    LimitCharge(f64),
    /// Open the charge port.
    OpenPort,
    /// Close it.
    ClosePort,
    /// Lock the doors.
    Lock,
    /// Unlock them.
    Unlock,
    /// Send a destination to the navigation.
    Navigate {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
    },
}

impl Command {
    /// The names of all commands.
    pub const NAMES: [&str; 8] = [
        "charge/start",
        "charge/stop",
        "charge/set-limit",
        "charge-port/open",
        "charge-port/close",
        "security/lock",
        "security/unlock",
        "navigation/set-destination",
    ];

    /// The command of a `POST` in API v2.0, by the path below the vehicle and the body.
    pub fn of_v2(path: &str, body: &Value) -> Result<Command, ApiError> {
        let action = body["action"].as_str().unwrap_or_default();
        match (path, action) {
            ("charge", "START") => Ok(Command::StartCharge),
            ("charge", "STOP") => Ok(Command::StopCharge),
            ("security", "LOCK") => Ok(Command::Lock),
            ("security", "UNLOCK") => Ok(Command::Unlock),
            ("charge", _) => Err(ApiError::parameter("action", "action must be START or STOP.")),
            ("security", _) => Err(ApiError::parameter("action", "action must be LOCK or UNLOCK.")),
            ("charge/limit", _) => {
                // The official SDK for Node sends it as a text.
                let limit = body["limit"].as_f64().or_else(|| body["limit"].as_str()?.parse().ok());
                let limit = limit.filter(|limit| (0.5..=1.0).contains(limit));
                let wrong = || ApiError::parameter("limit", "limit must be a number from 0.5 to 1.");
                limit.map(|limit| Command::LimitCharge((limit * 1e4).round() / 100.0)).ok_or_else(wrong)
            }
            ("navigation/destination", _) => destination(body),
            _ => Err(ApiError::path()),
        }
    }

    /// The command of a `POST` in API v3, by the path below `commands`.
    pub fn of_v3(path: &str, body: &Value) -> Result<Command, ApiError> {
        let attributes = &body["data"]["attributes"];
        match path {
            "charge/start" => Ok(Command::StartCharge),
            "charge/stop" => Ok(Command::StopCharge),
            "charge/set-limit" | "navigation/set-destination" if !attributes.is_object() => Err(wrong_shape(path)),
            "charge/set-limit" => {
                let percent = attributes["percent"].as_u64().filter(|percent| (50..=100).contains(percent));
                let percent = percent.and_then(|percent| u8::try_from(percent).ok());
                let wrong = || ApiError::parameter("percent", "percent must be a whole number from 50 to 100.");
                percent.map(|percent| Command::LimitCharge(percent.into())).ok_or_else(wrong)
            }
            "charge-port/open" => Ok(Command::OpenPort),
            "charge-port/close" => Ok(Command::ClosePort),
            "security/lock" => Ok(Command::Lock),
            "security/unlock" => Ok(Command::Unlock),
            "navigation/set-destination" => destination(attributes),
            _ => Err(ApiError::path()),
        }
    }

    /// What goes with the command of a name in API v3.
    pub fn fields(name: &str) -> &'static [&'static str] {
        match name {
            "charge/set-limit" => &["percent"],
            "navigation/set-destination" => &["latitude", "longitude"],
            _ => &[],
        }
    }

    /// Its name: the path below `commands` in API v3.
    pub fn name(self) -> &'static str {
        self.v3().0
    }

    /// The permission it needs.
    pub fn permission(self) -> &'static str {
        match self {
            Command::Lock | Command::Unlock => "control_security",
            Command::Navigate { .. } => "control_navigation",
            Command::StartCharge | Command::StopCharge | Command::LimitCharge(_) | Command::OpenPort | Command::ClosePort => {
                "control_charge"
            }
        }
    }

    /// Path below the vehicle and body in API v2.0; `None`: v2.0 cannot say it.
    pub fn v2(self) -> Option<(&'static str, Value)> {
        Some(match self {
            Command::StartCharge => ("charge", json!({ "action": "START" })),
            Command::StopCharge => ("charge", json!({ "action": "STOP" })),
            Command::LimitCharge(percent) => ("charge/limit", json!({ "limit": percent / 100.0 })),
            Command::Lock => ("security", json!({ "action": "LOCK" })),
            Command::Unlock => ("security", json!({ "action": "UNLOCK" })),
            Command::Navigate { latitude, longitude } => {
                ("navigation/destination", json!({ "latitude": latitude, "longitude": longitude }))
            }
            Command::OpenPort | Command::ClosePort => return None,
        })
    }

    /// Path below `commands` and body in API v3, where percent are whole.
    pub fn v3(self) -> (&'static str, Option<Value>) {
        let attributes = |attributes: Value| Some(json!({ "data": { "attributes": attributes } }));
        match self {
            Command::StartCharge => ("charge/start", None),
            Command::StopCharge => ("charge/stop", None),
            #[expect(clippy::cast_possible_truncation, reason = "from 50 to 100")]
            Command::LimitCharge(percent) => ("charge/set-limit", attributes(json!({ "percent": percent.round() as i64 }))),
            Command::OpenPort => ("charge-port/open", None),
            Command::ClosePort => ("charge-port/close", None),
            Command::Lock => ("security/lock", None),
            Command::Unlock => ("security/unlock", None),
            Command::Navigate { latitude, longitude } => {
                ("navigation/set-destination", attributes(json!({ "latitude": latitude, "longitude": longitude })))
            }
        }
    }
}

/// A body of API v3 without attributes, such as the flat one of v2.0.
fn wrong_shape(path: &str) -> ApiError {
    let (fields, example) = match Command::fields(path) {
        fields @ ["percent"] => (fields, json!({ "percent": 80 })),
        fields => (fields, json!({ "latitude": 47.6, "longitude": -122.3 })),
    };
    let field = format!("data.attributes.{}", fields.first().copied().unwrap_or_default());
    let example = json!({ "data": { "attributes": example } });
    ApiError::parameter(&field, format!("{field} is missing: the body must be such as {example}"))
}

fn destination(body: &Value) -> Result<Command, ApiError> {
    let degrees = |name: &str, most: f64| {
        let degrees = body[name].as_f64().filter(|degrees| degrees.abs() <= most);
        degrees.ok_or_else(|| ApiError::parameter(name, format!("{name} must be a number from -{most} to {most}.")))
    };
    Ok(Command::Navigate { latitude: degrees("latitude", 90.0)?, longitude: degrees("longitude", 180.0)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_say_the_same() {
        let place = Command::Navigate { latitude: 47.6, longitude: -122.3 };
        let all = [Command::StartCharge, Command::StopCharge, Command::LimitCharge(70.0), Command::Lock, Command::Unlock, place];
        for command in all.into_iter().chain([Command::OpenPort, Command::ClosePort]) {
            let (path, body) = command.v3();
            assert!(Command::NAMES.contains(&path));
            assert_eq!(Command::of_v3(path, &body.unwrap_or_default()), Ok(command));
            if let Some((path, body)) = command.v2() {
                assert_eq!(Command::of_v2(path, &body), Ok(command));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let field = |error: Result<Command, ApiError>| error.unwrap_err().detail.first().map(|(field, _)| field.clone());
        assert_eq!(Command::of_v2("charge/limit", &json!({ "limit": "0.7" })), Ok(Command::LimitCharge(70.0)));
        assert_eq!(field(Command::of_v2("charge/limit", &json!({ "limit": 0.2 }))).as_deref(), Some("limit"));
        assert_eq!(field(Command::of_v2("security", &json!({ "action": "DANCE" }))).as_deref(), Some("action"));
        for flat in [json!({}), Value::Null, json!({ "percent": 80 }), json!({ "data": { "percent": 80 } })] {
            let error = Command::of_v3("charge/set-limit", &flat).unwrap_err();
            let said = r#"data.attributes.percent is missing: the body must be such as {"data":{"attributes":{"percent":80}}}"#;
            assert_eq!((&*error.detail[0].0, &*error.description), ("data.attributes.percent", said), "{flat}");
        }
        assert_eq!(
            field(Command::of_v3("navigation/set-destination", &json!({ "latitude": 1 }))).as_deref(),
            Some("data.attributes.latitude")
        );
        let within = json!({ "data": { "attributes": { "percent": 8 } } });
        assert_eq!(field(Command::of_v3("charge/set-limit", &within)).as_deref(), Some("percent"));
        assert_eq!(field(Command::of_v2("navigation/destination", &json!({ "latitude": 1 }))).as_deref(), Some("longitude"));
        assert_eq!(Command::of_v2("odometer", &json!({})), Err(ApiError::path()));
        assert_eq!(Command::of_v3("climate/start", &json!({})), Err(ApiError::path()));
    }
}
