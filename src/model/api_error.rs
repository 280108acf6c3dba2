//! An error as Smartcar's APIs show it: the object of v2.0, and the list of v3.

use std::time::Duration;

use serde_json::{Value, json};

/// An error in Smartcar's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// Such as `VEHICLE_STATE`.
    pub kind: Box<str>,
    /// Such as `ASLEEP`.
    pub code: Option<Box<str>>,
    /// What happened, for developers.
    pub description: Box<str>,
    /// What can be done, such as `RETRY_LATER`.
    pub resolution: Option<&'static str>,
    /// Where it can be done.
    pub url: Option<Box<str>>,
    /// When to try again, for the header `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The parts of the request that are wrong, or that failed: a field, and what about it.
    pub detail: Box<[(Box<str>, Box<str>)]>,
}

impl ApiError {
    /// The error of a type and a code, with the status and the resolution that Smartcar's pages give it
    /// (`errors/api-errors`).
    pub fn of(kind: &str, code: Option<&str>) -> ApiError {
        let known = KNOWN
            .iter()
            .find(|(own, codes, ..)| *own == kind && (codes.is_empty() || code.is_some_and(|code| codes.contains(&code))));
        let known = known.or_else(|| KNOWN.iter().find(|(own, ..)| *own == kind));
        let (status, resolution, description) =
            known.map_or((500, "", "Smartcar reports an error."), |known| (known.2, known.3, known.4));
        ApiError {
            status,
            kind: kind.into(),
            code: code.map(Into::into),
            description: description.into(),
            resolution: Some(resolution).filter(|word| !word.is_empty()),
            url: None,
            retry_after: None,
            detail: Box::default(),
        }
    }

    /// Whether this is one of Smartcar's types.
    pub fn is_type(word: &str) -> bool {
        KNOWN.iter().any(|(kind, ..)| *kind == word)
    }

    /// The token is missing or not good.
    pub fn authentication() -> ApiError {
        ApiError::of("AUTHENTICATION", None)
    }

    /// The owner has not permitted it.
    pub fn permission() -> ApiError {
        ApiError::of("PERMISSION", None)
    }

    /// The caller's own token does not open it: nothing that the owner of a car could mend.
    pub fn forbidden() -> ApiError {
        ApiError { resolution: None, ..ApiError::permission() }
    }

    /// There is nothing at this path.
    pub fn path() -> ApiError {
        ApiError::of("RESOURCE_NOT_FOUND", Some("PATH"))
    }

    /// There is no such vehicle, or none that the caller may see.
    pub fn no_vehicle() -> ApiError {
        ApiError::missing("VEHICLE_NOT_FOUND")
    }

    /// There is no such thing.
    pub fn missing(code: &str) -> ApiError {
        ApiError::of("RESOURCE_NOT_FOUND", Some(code)).because("There is none of this id.")
    }

    /// A part of the request is wrong.
    pub fn parameter(field: &str, description: impl Into<Box<str>>) -> ApiError {
        let description = description.into();
        let detail = [(field.into(), description.clone())].into();
        ApiError { detail, ..ApiError::of("VALIDATION", Some("PARAMETER")).because(description) }
    }

    /// Smartcar or the car does not offer it.
    pub fn not_capable(code: &str) -> ApiError {
        ApiError::of("COMPATIBILITY", Some(code))
    }

    /// The same in other words.
    #[must_use]
    pub fn because(self, description: impl Into<Box<str>>) -> ApiError {
        ApiError { description: description.into(), ..self }
    }

    /// The same, to be tried again after a while.
    #[must_use]
    pub fn after(self, wait: Duration) -> ApiError {
        ApiError { retry_after: Some(wait), ..self }
    }

    /// As API v2.0 shows it.
    pub fn v2(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": self.kind,
            "code": self.code,
            "description": self.description,
            "docURL": self.documentation(),
            "statusCode": self.status,
            "requestId": request_id,
            "resolution": self.resolution(),
        });
        if let Some(message) = self.message() {
            body["suggestedUserMessage"] = message.into();
        }
        if !self.detail.is_empty() {
            body["detail"] = self.detail.iter().map(|(field, text)| json!({ "field": field, "message": text })).collect();
        }
        body
    }

    /// As API v3 shows it.
    pub fn v3(&self, request_id: &str) -> Value {
        let code = match (&*self.kind, self.code.as_deref()) {
            ("AUTHENTICATION", None) => Some("UNAUTHORIZED"),
            ("PERMISSION", None) => Some("ACCESS_DENIED"),
            ("RESOURCE_NOT_FOUND", Some("PATH")) => Some("INVALID_PATH"),
            ("VALIDATION", None | Some("PARAMETER")) => Some("INVALID_INPUT_FORMAT"),
            (_, code) => code,
        };
        let mut error = json!({
            "status": self.status.to_string(),
            "type": self.kind,
            "code": code,
            "title": http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error"),
            "detail": self.description,
            "links": { "about": self.documentation() },
            "meta": { "debug": { "requestId": request_id } },
        });
        if self.resolution.is_some() {
            error["resolution"] = self.resolution();
        }
        if let Some(message) = self.message() {
            error["suggestedUserMessage"] = message.into();
        }
        json!({ "errors": [error] })
    }

    fn resolution(&self) -> Value {
        let mut resolution = json!({ "type": self.resolution });
        if let Some(url) = &self.url {
            resolution["url"] = json!(url);
        }
        resolution
    }

    /// What an owner may be told; nothing of what is no owner's business.
    fn message(&self) -> Option<&'static str> {
        match (&*self.kind, self.resolution) {
            (_, Some("REAUTHENTICATE")) => Some("Please connect your car again."),
            ("COMPATIBILITY", _) => Some("Your car cannot do this."),
            ("CONNECTED_SERVICES_ACCOUNT", _) => Some("Please look after your account at your car's manufacturer."),
            ("VEHICLE_STATE", _) => Some("Your car cannot do this at the moment. Please try again later."),
            ("UPSTREAM" | "SERVER" | "RATE_LIMIT", _) => {
                Some("Your car cannot be reached at the moment. Please try again later.")
            }
            _ => None,
        }
    }

    fn documentation(&self) -> String {
        let word = |text: &str| text.to_ascii_lowercase().replace('_', "-");
        let page = format!("https://smartcar.com/docs/errors/api-errors/{}-errors", word(&self.kind));
        self.code.as_ref().map_or(page.clone(), |code| format!("{page}#{}", word(code)))
    }
}

/// Type, codes (none: whatever the code), status, resolution, and what it means. The first row that fits counts.
type Known = (&'static str, &'static [&'static str], u16, &'static str, &'static str);

const KNOWN: &[Known] = &[
    (
        "AUTHENTICATION",
        &[],
        401,
        "",
        "The authorization header is missing or malformed, or the token in it is invalid or expired.",
    ),
    ("BILLING", &["ACCOUNT_SUSPENDED"], 430, "FINANCE", "The application's account at Smartcar is suspended."),
    ("BILLING", &[], 430, "CONTACT_SUPPORT", "The application's plan at Smartcar does not cover this request."),
    ("COMPATIBILITY", &["SMARTCAR_NOT_CAPABLE"], 501, "CONTACT_SUPPORT", "Smartcar does not offer this for the vehicle."),
    ("COMPATIBILITY", &[], 501, "", "The vehicle is not capable of this."),
    (
        "CONNECTED_SERVICES_ACCOUNT",
        &["VIRTUAL_KEY_REQUIRED"],
        400,
        "ACTION_REQUIRED",
        "The owner must add a virtual key to the vehicle.",
    ),
    (
        "CONNECTED_SERVICES_ACCOUNT",
        &["AUTHENTICATION_FAILED", "PERMISSION"],
        400,
        "REAUTHENTICATE",
        "The owner must connect the vehicle again.",
    ),
    ("CONNECTED_SERVICES_ACCOUNT", &[], 400, "", "Something is wrong with the owner's account at the manufacturer."),
    ("PERMISSION", &[], 403, "REAUTHENTICATE", "The application lacks a permission of the owner for this."),
    ("RATE_LIMIT", &["VEHICLE"], 429, "RETRY_LATER", "The vehicle was asked too often. See the header Retry-After."),
    ("RATE_LIMIT", &[], 429, "RETRY_LATER", "Too many requests. See the header Retry-After."),
    ("RESOURCE_NOT_FOUND", &[], 404, "", "There is nothing at this path."),
    (
        "SERVER",
        &["RECORD_NOT_FOUND", "MULTIPLE_RECORDS_FOUND"],
        500,
        "CONTACT_SUPPORT",
        "Smartcar's records of the vehicle are not in order.",
    ),
    ("SERVER", &[], 500, "RETRY_LATER", "Something went wrong."),
    ("UPSTREAM", &[], 502, "RETRY_LATER", "Smartcar or the manufacturer does not answer as it should."),
    ("VALIDATION", &[], 400, "", "The request is not valid."),
    ("VEHICLE_STATE", &["UNKNOWN"], 409, "RETRY_LATER", "The vehicle cannot do this now."),
    ("VEHICLE_STATE", &[], 409, "", "The vehicle cannot do this now."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_codes_have_the_documented_status() {
        for (kind, code, status, resolution) in [
            ("BILLING", Some("VEHICLE_REQUEST_LIMIT"), 430, Some("CONTACT_SUPPORT")),
            ("BILLING", Some("ACCOUNT_SUSPENDED"), 430, Some("FINANCE")),
            ("COMPATIBILITY", Some("VEHICLE_NOT_CAPABLE"), 501, None),
            ("CONNECTED_SERVICES_ACCOUNT", Some("ACCOUNT_ISSUE"), 400, None),
            ("CONNECTED_SERVICES_ACCOUNT", Some("PERMISSION"), 400, Some("REAUTHENTICATE")),
            ("PERMISSION", None, 403, Some("REAUTHENTICATE")),
            ("RATE_LIMIT", Some("SMARTCAR_API"), 429, Some("RETRY_LATER")),
            ("VEHICLE_STATE", Some("ASLEEP"), 409, None),
            ("VEHICLE_STATE", Some("UNKNOWN"), 409, Some("RETRY_LATER")),
            ("SOMETHING_NEW", Some("ODD"), 500, None),
        ] {
            let error = ApiError::of(kind, code);
            assert_eq!((error.status, error.resolution), (status, resolution), "{kind}:{code:?}");
        }
    }

    #[test]
    fn owners_are_told_what_concerns_them() {
        for (kind, code, message) in [
            ("VEHICLE_STATE", Some("ASLEEP"), "at the moment"),
            ("UPSTREAM", Some("NO_RESPONSE"), "cannot be reached"),
            ("COMPATIBILITY", Some("VEHICLE_NOT_CAPABLE"), "cannot do this"),
            ("CONNECTED_SERVICES_ACCOUNT", Some("SUBSCRIPTION"), "account"),
            ("CONNECTED_SERVICES_ACCOUNT", Some("AUTHENTICATION_FAILED"), "connect your car again"),
            ("PERMISSION", None, "connect your car again"),
        ] {
            let error = ApiError::of(kind, code);
            for shown in [error.v2("id"), error.v3("id")["errors"][0].clone()] {
                assert!(shown["suggestedUserMessage"].as_str().unwrap().contains(message), "{shown}");
            }
        }
        for kind in ["VALIDATION", "AUTHENTICATION", "BILLING", "RESOURCE_NOT_FOUND"] {
            let error = ApiError::of(kind, None);
            for shown in [error.v2("id"), error.v3("id")["errors"][0].clone()] {
                assert_eq!(shown.get("suggestedUserMessage"), None, "{shown}");
            }
        }
    }

    #[test]
    fn both_shapes_have_every_field() {
        let error = ApiError::parameter("limit", "limit is a number.");
        let v2 = error.v2("id-1");
        assert_eq!(
            (&v2["statusCode"], &v2["requestId"], &v2["resolution"]),
            (&json!(400), &json!("id-1"), &json!({ "type": null }))
        );
        assert_eq!(v2["detail"], json!([{ "field": "limit", "message": "limit is a number." }]));
        assert_eq!(v2["docURL"], "https://smartcar.com/docs/errors/api-errors/validation-errors#parameter");
        let v3 = &error.v3("id-1")["errors"][0];
        assert_eq!((&v3["status"], &v3["code"]), (&json!("400"), &json!("INVALID_INPUT_FORMAT")));
        assert_eq!(v3["meta"]["debug"]["requestId"], "id-1");
    }
}
