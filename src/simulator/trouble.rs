//! Everything Smartcar can complain about, and the three shapes it complains in: the v2.0 object, the v3
//! `errors` list, and the `errors` of a VEHICLE_ERROR event.

use http::StatusCode;
use serde_json::{Value, json};

/// One complaint.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) description: String,
    pub(super) resolution: Option<&'static str>,
    pub(super) url: Option<Box<str>>,
    /// What to tell the owner.
    pub(super) message: Option<&'static str>,
    /// Seconds, for the header.
    pub(super) retry_after: Option<u32>,
}

impl Trouble {
    pub(super) fn new(status: u16, kind: &'static str, code: Option<&'static str>, description: impl Into<String>) -> Trouble {
        let description = description.into();
        Trouble { status, kind, code, description, resolution: None, url: None, message: None, retry_after: None }
    }

    pub(super) fn authentication() -> Trouble {
        let text = "The authorization header is missing or malformed, or the credentials in it are invalid or expired.";
        Trouble::new(401, "AUTHENTICATION", None, text)
    }

    pub(super) fn permission() -> Trouble {
        Trouble {
            resolution: Some("REAUTHENTICATE"),
            message: Some("Your permission to read this from your car is missing."),
            ..Trouble::new(403, "PERMISSION", None, "The application lacks a permission of the owner for this.")
        }
    }

    pub(super) fn not_capable() -> Trouble {
        Trouble {
            message: Some("Your car cannot do this."),
            ..Trouble::new(501, "COMPATIBILITY", Some("VEHICLE_NOT_CAPABLE"), "The vehicle cannot do this.")
        }
    }

    pub(super) fn path() -> Trouble {
        Trouble::new(404, "RESOURCE_NOT_FOUND", Some("PATH"), "There is nothing at this path.")
    }

    pub(super) fn validation(description: impl Into<String>) -> Trouble {
        Trouble::new(400, "VALIDATION", Some("PARAMETER"), description)
    }

    pub(super) fn throttled(seconds: Option<u32>) -> Trouble {
        let text = "The rate limit of the application was reached.";
        Trouble {
            resolution: Some("RETRY_LATER"),
            retry_after: seconds,
            ..Trouble::new(429, "RATE_LIMIT", Some("SMARTCAR_API"), text)
        }
    }

    pub(super) fn internal() -> Trouble {
        let text = "Something went wrong on the simulated side.";
        Trouble { resolution: Some("RETRY_LATER"), ..Trouble::new(500, "SERVER", Some("INTERNAL"), text) }
    }

    pub(super) fn unreachable() -> Trouble {
        let text = "The vehicle cannot be reached.";
        Trouble { message: Some("Your car cannot be reached at the moment."), ..vehicle_state("UNREACHABLE", text) }
    }

    pub(super) fn asleep() -> Trouble {
        Trouble { message: Some("Your car is asleep."), ..vehicle_state("ASLEEP", "The vehicle is asleep.") }
    }

    /// The manufacturer no longer takes the owner's password; `url` leads to re-authentication.
    pub(super) fn signed_out(url: String) -> Trouble {
        let text = "Sign-in at the manufacturer failed. The user must connect again.";
        Trouble {
            resolution: Some("REAUTHENTICATE"),
            url: Some(url.into()),
            message: Some("Your car got disconnected."),
            ..Trouble::new(400, "CONNECTED_SERVICES_ACCOUNT", Some("AUTHENTICATION_FAILED"), text)
        }
    }

    /// The trouble of this name, `TYPE` or `TYPE.CODE` in any case, as Smartcar documents it.
    pub(super) fn named(name: &str) -> Option<Trouble> {
        let (kind, code) = name.split_once('.').map_or((name, None), |(kind, code)| (kind, Some(code)));
        let of_kind = |known: &&Known| known.0.eq_ignore_ascii_case(kind);
        let (known, code) = KNOWN.iter().filter(of_kind).find_map(|known| match code {
            Some(code) => Some((known, Some(*known.3.iter().find(|other| other.eq_ignore_ascii_case(code))?))),
            None => Some((known, None)),
        })?;
        let (kind, status, resolution, _) = known;
        let description = format!("The simulator was asked for {}.", name.to_ascii_uppercase());
        Some(Trouble { resolution: *resolution, message: Some(COMMON_MESSAGE), ..Trouble::new(*status, kind, code, description) })
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// As the v2.0 API says it.
    pub(super) fn v2(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": self.kind,
            "code": self.code,
            "description": self.description,
            "docURL": self.documentation(),
            "statusCode": self.status,
            "requestId": request_id,
            "resolution": self.resolution(),
        });
        if let Some(message) = self.message {
            body["suggestedUserMessage"] = json!(message);
        }
        body
    }

    /// As the v3 API says it.
    pub(super) fn v3(&self, request_id: &str) -> Value {
        let mut error = json!({
            "status": self.status.to_string(),
            "type": self.kind,
            "code": self.code,
            "title": self.status().canonical_reason().unwrap_or("Smartcar error"),
            "detail": self.description,
            "meta": { "debug": { "requestId": request_id } },
        });
        if self.resolution.is_some() {
            error["resolution"] = self.resolution();
        }
        if let Some(message) = self.message {
            error["suggestedUserMessage"] = json!(message);
        }
        json!({ "errors": [error] })
    }

    /// As a VEHICLE_ERROR event says it: that it began, or with `resolved` that it is over.
    pub(super) fn event(&self, resolved: bool, signals: Value) -> Value {
        if resolved {
            let text = "The vehicle can be read again.";
            return json!({ "type": self.kind, "code": self.code, "state": "RESOLVED", "description": text, "signals": signals });
        }
        json!({
            "type": self.kind,
            "code": self.code,
            "state": "ERROR",
            "description": self.description,
            "suggestedUserMessage": self.message.unwrap_or(COMMON_MESSAGE),
            "docURL": self.documentation(),
            "resolution": self.resolution(),
            "signals": signals,
        })
    }

    fn resolution(&self) -> Value {
        let mut resolution = json!({ "type": self.resolution });
        if let Some(url) = &self.url {
            resolution["url"] = json!(url);
        }
        resolution
    }

    fn documentation(&self) -> String {
        let dashed = |word: &str| word.to_ascii_lowercase().replace('_', "-");
        let code = self.code.map(|code| format!("#{}", dashed(code))).unwrap_or_default();
        format!("https://smartcar.com/docs/errors/api-errors/{}-errors{code}", dashed(self.kind))
    }
}

fn vehicle_state(code: &'static str, description: &str) -> Trouble {
    Trouble::new(409, "VEHICLE_STATE", Some(code), description)
}

const COMMON_MESSAGE: &str = "Something is wrong with your car's connection.";

type Known = (&'static str, u16, Option<&'static str>, &'static [&'static str]);

/// Type, status, resolution, codes.
const KNOWN: &[Known] = &[
    ("AUTHENTICATION", 401, None, &[]),
    ("BILLING", 430, Some("CONTACT_SUPPORT"), &["VEHICLE_LIMIT", "VEHICLE_REQUEST_LIMIT", "INVALID_PLAN"]),
    ("COMPATIBILITY", 501, None, &["MAKE_NOT_COMPATIBLE", "SMARTCAR_NOT_CAPABLE", "VEHICLE_NOT_CAPABLE"]),
    ("CONNECTED_SERVICES_ACCOUNT", 400, Some("REAUTHENTICATE"), &["AUTHENTICATION_FAILED", "PERMISSION"]),
    (
        "CONNECTED_SERVICES_ACCOUNT",
        400,
        None,
        &["ACCOUNT_ISSUE", "NO_VEHICLES", "SUBSCRIPTION", "VEHICLE_MISSING", "VIRTUAL_KEY_REQUIRED"],
    ),
    ("PERMISSION", 403, Some("REAUTHENTICATE"), &[]),
    ("RATE_LIMIT", 429, Some("RETRY_LATER"), &["SMARTCAR_API", "VEHICLE"]),
    ("SERVER", 500, Some("RETRY_LATER"), &["INTERNAL"]),
    ("UPSTREAM", 502, Some("RETRY_LATER"), &["INVALID_DATA", "KNOWN_ISSUE", "NO_RESPONSE", "RATE_LIMIT", "UNKNOWN_ISSUE"]),
    (
        "VEHICLE_STATE",
        409,
        None,
        &[
            "ASLEEP",
            "CHARGING_PLUG_CONNECTED",
            "CHARGING_PLUG_NOT_CONNECTED",
            "FULLY_CHARGED",
            "IN_MOTION",
            "NOT_CHARGING",
            "REMOTE_ACCESS_DISABLED",
            "UNREACHABLE",
            "VEHICLE_OFFLINE_FOR_SERVICE",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_documented_names() {
        let known = |name: &str| Trouble::named(name).map(|trouble| (trouble.status, trouble.kind, trouble.code));
        assert_eq!(known("vehicle_state.asleep"), Some((409, "VEHICLE_STATE", Some("ASLEEP"))));
        assert_eq!(known("BILLING.VEHICLE_LIMIT"), Some((430, "BILLING", Some("VEHICLE_LIMIT"))));
        assert_eq!(known("PERMISSION"), Some((403, "PERMISSION", None)));
        assert_eq!(known("CONNECTED_SERVICES_ACCOUNT.NO_VEHICLES").map(|known| known.0), Some(400));
        assert_eq!(known("ada"), None);
        assert_eq!(known("VEHICLE_STATE.BORED"), None);
    }
}
