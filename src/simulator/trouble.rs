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
            "suggestedUserMessage": self.message.unwrap_or("Something is wrong with your car's connection."),
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
