//! Everything Smartcar can complain about, and the three shapes it complains in: the v2.0 object, the v3
//! `errors` list, and the `errors` of a VEHICLE_ERROR event.

use http::StatusCode;
use serde_json::{Value, json};

use super::Settings;
use super::connect::reauthentication_url;

/// One complaint.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) description: Box<str>,
    pub(super) resolution: Option<&'static str>,
    pub(super) url: Option<Box<str>>,
    /// What to tell the owner.
    pub(super) message: Option<&'static str>,
    /// Seconds, for the header.
    pub(super) retry_after: Option<u32>,
    /// Which field of the request is wrong, and how.
    detail: Option<Box<(String, String)>>,
}

impl Trouble {
    pub(super) fn new(status: u16, kind: &'static str, code: Option<&'static str>, description: impl Into<String>) -> Trouble {
        let description = description.into().into_boxed_str();
        Trouble { status, kind, code, description, resolution: None, url: None, message: None, retry_after: None, detail: None }
    }

    pub(super) fn authentication() -> Trouble {
        let text = "The authorization header is missing or malformed, or the credentials in it are invalid or expired.";
        Trouble::new(401, "AUTHENTICATION", None, text)
    }

    pub(super) fn permission() -> Trouble {
        Trouble {
            resolution: Some("REAUTHENTICATE"),
            message: Some("Your permission for this is missing."),
            ..Trouble::new(403, "PERMISSION", None, "The application lacks a permission of the owner for this.")
        }
    }

    pub(super) fn not_capable() -> Trouble {
        Trouble {
            message: Some("Your car cannot do this."),
            ..Trouble::new(501, "COMPATIBILITY", Some("VEHICLE_NOT_CAPABLE"), "The vehicle cannot do this.")
        }
    }

    /// Smartcar does not offer it for this make.
    pub(super) fn not_offered() -> Trouble {
        let text = "Smartcar does not offer this for the vehicle.";
        Trouble { resolution: Some("CONTACT_SUPPORT"), ..Trouble::new(501, "COMPATIBILITY", Some("SMARTCAR_NOT_CAPABLE"), text) }
    }

    pub(super) fn path() -> Trouble {
        Trouble::new(404, "RESOURCE_NOT_FOUND", Some("PATH"), "There is nothing at this path.")
    }

    pub(super) fn validation(description: impl Into<String>) -> Trouble {
        Trouble::new(400, "VALIDATION", Some("PARAMETER"), description)
    }

    /// One field of the request is wrong: `what` goes on after its name.
    pub(super) fn parameter(field: &str, what: &str) -> Trouble {
        let detail = Some(Box::new((field.to_owned(), format!("{field} {what}"))));
        Trouble { detail, ..Trouble::validation(format!("The request is not valid: {field} {what}.")) }
    }

    /// Too often for one vehicle.
    pub(super) fn vehicle_throttled(seconds: u32) -> Trouble {
        let text = "The throttling limit of this vehicle was reached. See the retry-after header.";
        Trouble {
            resolution: Some("RETRY_LATER"),
            retry_after: Some(seconds),
            message: Some("Your car cannot be reached at the moment."),
            ..Trouble::new(429, "RATE_LIMIT", Some("VEHICLE"), text)
        }
    }

    /// The plan's calls for this vehicle are used up for this month.
    pub(super) fn used_up() -> Trouble {
        let text = "The plan has no more requests for this vehicle in this month.";
        Trouble { resolution: Some("CONTACT_SUPPORT"), ..Trouble::new(430, "BILLING", Some("VEHICLE_REQUEST_LIMIT"), text) }
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

    /// A car in this state cannot do what it is told to.
    pub(super) fn not_now(code: &'static str, text: &str) -> Trouble {
        Trouble { message: Some("Your car cannot do this now."), ..vehicle_state(code, text) }
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

    /// All of them by their names, `TYPE` or `TYPE.CODE`.
    pub(super) fn names() -> Vec<String> {
        let of = |kind: &str, code: &str| format!("{kind}.{code}");
        let all = KNOWN.iter().flat_map(|(kind, _, _, codes)| match codes {
            [] => vec![(*kind).to_owned()],
            codes => codes.iter().map(|code| of(kind, code)).collect(),
        });
        all.collect()
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
        let url = (*resolution == Some("ACTION_REQUIRED")).then(|| "https://www.tesla.com/_ak/carport.example".into());
        let retry_after = (*kind == "RATE_LIMIT" && code == Some("VEHICLE")).then_some(30);
        let trouble = Trouble::new(*status, kind, code, description);
        Some(Trouble { resolution: *resolution, message: Some(COMMON_MESSAGE), url, retry_after, ..trouble })
    }

    /// The same about one vehicle: where its owner must sign in again, with the link for that.
    pub(super) fn about(mut self, settings: &Settings, vehicle_id: &str) -> Trouble {
        if self.resolution == Some("REAUTHENTICATE") && self.url.is_none() {
            self.url = Some(reauthentication_url(settings, vehicle_id).into());
        }
        self
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
        if let Some((field, message)) = self.detail.as_deref() {
            body["detail"] = json!([{ "field": field, "message": message }]);
        }
        body
    }

    /// As the older description of v3 has it: fewer fields, a code in lower case.
    pub(super) fn v3_plain(&self) -> Value {
        let code = match self.status {
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not_found",
            500.. => "internal_error",
            _ => "bad_request",
        };
        let title = self.status().canonical_reason().unwrap_or("Smartcar error");
        let links = json!({ "about": self.documentation() });
        let error = json!({
            "links": links, "status": self.status.to_string(), "code": code, "title": title, "detail": self.description,
        });
        json!({ "errors": [error] })
    }

    /// As the v3 API says it.
    pub(super) fn v3(&self, request_id: &str) -> Value {
        // The same troubles have codes of their own here.
        let code = match (self.kind, self.code) {
            ("VALIDATION", Some("PARAMETER") | None) => Some("INVALID_INPUT_FORMAT"),
            ("AUTHENTICATION", None) => Some("UNAUTHORIZED"),
            ("PERMISSION", None) => Some("ACCESS_DENIED"),
            (_, code) => code,
        };
        let mut error = json!({
            "status": self.status.to_string(),
            "type": self.kind,
            "code": code,
            "title": self.status().canonical_reason().unwrap_or("Smartcar error"),
            "detail": self.description,
            "links": { "about": self.documentation() },
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

    /// As the status of a signal says it.
    pub(super) fn signal(&self) -> Value {
        json!({ "type": self.kind, "code": self.code, "description": self.description, "resolution": self.resolution() })
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
    ("BILLING", 430, Some("FINANCE"), &["ACCOUNT_SUSPENDED"]),
    ("COMPATIBILITY", 501, None, &["MAKE_NOT_COMPATIBLE", "VEHICLE_NOT_CAPABLE"]),
    ("COMPATIBILITY", 501, Some("CONTACT_SUPPORT"), &["SMARTCAR_NOT_CAPABLE"]),
    ("CONNECTED_SERVICES_ACCOUNT", 400, Some("REAUTHENTICATE"), &["AUTHENTICATION_FAILED", "PERMISSION"]),
    ("CONNECTED_SERVICES_ACCOUNT", 400, None, &["ACCOUNT_ISSUE", "NO_VEHICLES", "SUBSCRIPTION", "VEHICLE_MISSING"]),
    ("CONNECTED_SERVICES_ACCOUNT", 400, Some("ACTION_REQUIRED"), &["VIRTUAL_KEY_REQUIRED"]),
    ("PERMISSION", 403, Some("REAUTHENTICATE"), &[]),
    ("RATE_LIMIT", 429, Some("RETRY_LATER"), &["SMARTCAR_API", "VEHICLE"]),
    ("RESOURCE_NOT_FOUND", 404, None, &["PATH", "VERSION"]),
    ("SERVER", 500, Some("RETRY_LATER"), &["INTERNAL"]),
    ("SERVER", 500, Some("CONTACT_SUPPORT"), &["RECORD_NOT_FOUND", "MULTIPLE_RECORDS_FOUND"]),
    ("UPSTREAM", 502, Some("RETRY_LATER"), &["INVALID_DATA", "KNOWN_ISSUE", "NO_RESPONSE", "RATE_LIMIT", "UNKNOWN_ISSUE"]),
    ("VALIDATION", 400, None, &["PARAMETER"]),
    ("VEHICLE_STATE", 409, Some("RETRY_LATER"), &["UNKNOWN"]),
    (
        "VEHICLE_STATE",
        409,
        None,
        &[
            "ASLEEP",
            "CHARGING_IN_PROGRESS",
            "CHARGING_PLUG_CONNECTED",
            "CHARGING_PLUG_NOT_CONNECTED",
            "CHARGE_FAULT",
            "DOOR_OPEN",
            "FULLY_CHARGED",
            "HOOD_OPEN",
            "IGNITION_ON",
            "IN_MOTION",
            "NOT_CHARGING",
            "REMOTE_ACCESS_DISABLED",
            "TRUNK_OPEN",
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
