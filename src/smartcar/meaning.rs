//! What an answer means.
//!
//! Smartcar uses 400 for "the owner must act", 430 for the bill and 409 for a car asleep, so its words
//! (`type`, `code`, `resolution`) decide first and the status only where they are silent. A token is
//! never declared dead on a guess: that takes the very words of OAuth.

use bytes::Bytes;
use http::Response;

use super::call::Audience;
use super::grant::EXCHANGE;
use super::said::Said;
use super::{Failure, SmartcarError};
use crate::world::TransportError;

/// No answer came.
pub(super) fn from_transport(endpoint: &'static str, error: &TransportError) -> SmartcarError {
    let may_have_acted = !matches!(error, TransportError::Unreachable(_));
    let what = Failure { endpoint, note: Some(error.to_string().into()), may_have_acted, ..Failure::default() };
    match error {
        TransportError::Unreachable(cause) if cause.contains("certificate") => {
            let note = format!("{error}: check the clock and smartcar.origins; something may stand between here and Smartcar");
            SmartcarError::Configuration { what: Failure { note: Some(note.into()), ..what } }
        }
        _ => SmartcarError::Later { after: None, what },
    }
}

/// Whether an answer of API v2.0 says that this has come to its end.
pub fn tells_the_end(answer: &Response<Bytes>) -> bool {
    Said::of("v2.any", answer).tells_the_end()
}

/// A data call was refused.
#[expect(clippy::match_same_arms, reason = "the order of the rows is what decides")]
pub(super) fn from_answer(said: Said, audience: Audience) -> SmartcarError {
    let kind = said.failure.kind.clone().unwrap_or_default();
    match (&*kind, said.resolution.as_deref()) {
        _ if said.tells_the_end() => SmartcarError::Ended { what: said.failure },
        ("AUTHENTICATION", _) => SmartcarError::Unauthorized { what: said.failure },
        ("BILLING", Some("FINANCE")) => said.configuration("the account is suspended: see Smartcar's dashboard"),
        ("BILLING", _) => said.configuration("the plan does not cover this: see Smartcar's dashboard"),
        (_, Some("REAUTHENTICATE")) | ("CONNECTED_SERVICES_ACCOUNT" | "PERMISSION", _) => said.reconnect(audience),
        ("COMPATIBILITY" | "RESOURCE_NOT_FOUND" | "VALIDATION", _) => said.not_possible(),
        ("RATE_LIMIT" | "UPSTREAM" | "VEHICLE_STATE", _) | (_, Some("RETRY_LATER")) => said.later(),
        // A record that is missing or doubled at Smartcar does not mend itself.
        ("SERVER", Some("CONTACT_SUPPORT")) => said.not_possible(),
        ("SERVER", _) => said.later(),
        (_, Some("ACTION_REQUIRED" | "USER_ACTION_REQUIRED")) => said.reconnect(audience),
        (_, Some("FINANCE" | "CONTACT_SUPPORT")) => said.configuration("ask Smartcar's support"),
        _ => from_status(said, audience),
    }
}

/// Smartcar's words do not decide: they are unknown or missing, or a proxy answered.
fn from_status(said: Said, audience: Audience) -> SmartcarError {
    match said.status {
        401 => SmartcarError::Unauthorized { what: said.failure },
        403 if said.understood => said.reconnect(audience),
        300..=399 => said.configuration(REDIRECTED),
        408 | 409 | 425 | 429 => said.later(),
        404 | 405 | 410 | 501 => said.not_possible(),
        430 => said.configuration("the plan does not cover this: see Smartcar's dashboard"),
        400..=499 if said.understood => said.not_possible(),
        _ => said.later(),
    }
}

/// A token endpoint refused.
pub(super) fn from_token_answer(said: Said, audience: Audience) -> SmartcarError {
    let kind = said.failure.kind.clone().unwrap_or_default();
    let description = said.description.as_deref().unwrap_or_default().to_ascii_lowercase();
    let redirect =
        said.failure.endpoint == EXCHANGE && ["redirect_uri", "redirect uri"].iter().any(|word| description.contains(word));
    match (said.status, &*kind) {
        (300..=399, _) => said.configuration(REDIRECTED),
        (408 | 429, _) => said.later(),
        (400..=499, "invalid_grant" | "invalid_request") if redirect => said.configuration(REDIRECT_URI),
        (400..=499, "invalid_grant" | "invalid_request") if audience == Audience::OwnerToken => {
            SmartcarError::Rejected { what: said.failure }
        }
        (
            400..=499,
            "invalid_client"
            | "unauthorized_client"
            | "unsupported_grant_type"
            | "invalid_scope"
            | "invalid_grant"
            | "invalid_request"
            | "AUTHENTICATION",
        )
        | (401, _) => said.configuration(if audience == Audience::OwnerToken { V2_CREDENTIALS } else { V3_CREDENTIALS }),
        (_, "BILLING") | (430, _) => said.configuration("the plan does not cover this: see Smartcar's dashboard"),
        // Anything else may be a bad day of Smartcar or of a proxy. Waiting costs nothing, while a token
        // that is given up costs the owner another trip through Connect.
        _ => said.later(),
    }
}

impl Said {
    /// Whether API v2.0 has come to its end: there is no such version any more, or all of it is gone. How Smartcar will say
    /// so is not documented; what any other path that is not found answers is not that.
    fn tells_the_end(&self) -> bool {
        let Failure { endpoint, kind, code, .. } = &self.failure;
        let is_of_version = match (kind.as_deref(), code.as_deref()) {
            (Some("RESOURCE_NOT_FOUND"), Some("VERSION")) => true,
            (None | Some("RESOURCE_NOT_FOUND"), None) => self.status == 410,
            _ => false,
        };
        endpoint.starts_with("v2.") && is_of_version
    }

    fn later(self) -> SmartcarError {
        let may_have_acted = self.status >= 500 || self.status < 300;
        SmartcarError::Later { after: self.retry_after, what: Failure { may_have_acted, ..self.failure } }
    }

    fn configuration(self, note: &str) -> SmartcarError {
        SmartcarError::Configuration { what: Failure { note: Some(note.into()), ..self.failure } }
    }

    fn not_possible(self) -> SmartcarError {
        SmartcarError::NotPossible { what: self.failure }
    }

    fn reconnect(self, audience: Audience) -> SmartcarError {
        if audience == Audience::Owner {
            SmartcarError::Reconnect { what: self.failure, url: self.url }
        } else {
            self.configuration("the application may not ask this: check its credentials and its plan in Smartcar's dashboard")
        }
    }
}

const REDIRECTED: &str = "a redirect, which is not followed: check smartcar.origins";
const REDIRECT_URI: &str = "register exactly this redirect URI (smartcar.redirect_uri) in Smartcar's dashboard";
const V2_CREDENTIALS: &str = "check smartcar.v2.client_id and smartcar.v2.client_secret";
const V3_CREDENTIALS: &str = "check smartcar.v3.client_id and smartcar.v3.client_secret";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Secret, VehicleId};
    use crate::smartcar::TOKEN;
    use crate::smartcar::script::{Script, answer, run};

    /// What an answer to a data call means to its caller.
    fn ask(status: u16, headers: &[(&str, &str)], body: &str) -> SmartcarError {
        let script = Script::new([answer(status, headers, body)]);
        run(script.client().disconnect(&Secret::new("t"), &VehicleId::new("v"))).unwrap_err()
    }

    fn name(error: &SmartcarError) -> String {
        format!("{error:?}").split_whitespace().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn every_row_of_the_table_of_errors() {
        let table = [
            ("AUTHENTICATION", "null", 401, "null", "Unauthorized"),
            ("BILLING", "VEHICLE_LIMIT", 430, "CONTACT_SUPPORT", "Configuration"),
            ("BILLING", "VEHICLE_REQUEST_LIMIT", 430, "CONTACT_SUPPORT", "Configuration"),
            ("BILLING", "INVALID_PLAN", 430, "CONTACT_SUPPORT", "Configuration"),
            ("BILLING", "ACCOUNT_SUSPENDED", 430, "FINANCE", "Configuration"),
            ("COMPATIBILITY", "MAKE_NOT_COMPATIBLE", 501, "null", "NotPossible"),
            ("COMPATIBILITY", "SMARTCAR_NOT_CAPABLE", 501, "CONTACT_SUPPORT", "NotPossible"),
            ("COMPATIBILITY", "VEHICLE_NOT_CAPABLE", 501, "null", "NotPossible"),
            ("COMPATIBILITY", "PLATFORM_NOT_CAPABLE", 501, "null", "NotPossible"),
            ("CONNECTED_SERVICES_ACCOUNT", "AUTHENTICATION_FAILED", 400, "REAUTHENTICATE", "Reconnect"),
            ("CONNECTED_SERVICES_ACCOUNT", "PERMISSION", 400, "REAUTHENTICATE", "Reconnect"),
            ("CONNECTED_SERVICES_ACCOUNT", "ACCOUNT_ISSUE", 400, "null", "Reconnect"),
            ("CONNECTED_SERVICES_ACCOUNT", "NO_VEHICLES", 400, "null", "Reconnect"),
            ("CONNECTED_SERVICES_ACCOUNT", "SUBSCRIPTION", 400, "null", "Reconnect"),
            ("CONNECTED_SERVICES_ACCOUNT", "VEHICLE_MISSING", 400, "null", "Reconnect"),
            ("CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED", 400, "ACTION_REQUIRED", "Reconnect"),
            ("PERMISSION", "null", 403, "REAUTHENTICATE", "Reconnect"),
            ("PERMISSION", "null", 403, "null", "Reconnect"),
            ("RATE_LIMIT", "SMARTCAR_API", 429, "RETRY_LATER", "Later"),
            ("RATE_LIMIT", "VEHICLE", 429, "RETRY_LATER", "Later"),
            ("RESOURCE_NOT_FOUND", "PATH", 404, "null", "NotPossible"),
            ("RESOURCE_NOT_FOUND", "VERSION", 404, "null", "Ended"),
            ("SERVER", "INTERNAL", 500, "RETRY_LATER", "Later"),
            ("SERVER", "INTERNAL", 500, "null", "Later"),
            ("SERVER", "RECORD_NOT_FOUND", 500, "CONTACT_SUPPORT", "NotPossible"),
            ("SERVER", "MULTIPLE_RECORDS_FOUND", 500, "CONTACT_SUPPORT", "NotPossible"),
            ("UPSTREAM", "INVALID_DATA", 502, "RETRY_LATER", "Later"),
            ("UPSTREAM", "RATE_LIMIT", 502, "RETRY_LATER", "Later"),
            ("UPSTREAM", "UNKNOWN_ISSUE", 502, "null", "Later"),
            ("VALIDATION", "null", 400, "null", "NotPossible"),
            ("VALIDATION", "PARAMETER", 400, "null", "NotPossible"),
            ("VEHICLE_STATE", "ASLEEP", 409, "null", "Later"),
            ("VEHICLE_STATE", "UNKNOWN", 409, "RETRY_LATER", "Later"),
            ("SOMETHING_NEW", "null", 418, "RETRY_LATER", "Later"),
            ("SOMETHING_NEW", "null", 418, "REAUTHENTICATE", "Reconnect"),
            ("SOMETHING_NEW", "null", 418, "USER_ACTION_REQUIRED", "Reconnect"),
            ("SOMETHING_NEW", "null", 418, "FINANCE", "Configuration"),
            ("SOMETHING_NEW", "null", 418, "null", "NotPossible"),
        ];
        for (kind, code, status, resolution, meaning) in table {
            let quoted = |word: &str| if word == "null" { word.to_owned() } else { format!("{word:?}") };
            let (code, word) = (quoted(code), quoted(resolution));
            for resolution in [word.clone(), format!(r#"{{"type":{word},"url":null}}"#)] {
                let v2 = format!(r#"{{"type":"{kind}","code":{code},"statusCode":{status},"resolution":{resolution}}}"#);
                let v3 =
                    format!(r#"{{"errors":[{{"type":"{kind}","code":{code},"status":"{status}","resolution":{resolution}}}]}}"#);
                for body in [v2, v3] {
                    assert_eq!(name(&ask(status, &[], &body)), meaning, "{body}");
                    assert_eq!(name(&ask(200, &[], &body)), meaning, "as 200: {body}");
                }
            }
        }
    }

    #[test]
    fn where_words_are_missing_the_status_decides() {
        let table = [
            (302, "", "Configuration"),
            (401, "", "Unauthorized"),
            (403, "<html>", "Later"),
            (404, "", "NotPossible"),
            (400, "<html>", "Later"),
            (429, "", "Later"),
            (430, "", "Configuration"),
            (500, "<html>", "Later"),
            (501, "", "NotPossible"),
            (410, "<html>", "Ended"),
            (404, "<html>", "NotPossible"),
            (504, "{}", "Later"),
            (401, r#"{"errors":[{"code":"unauthorized","status":"401"}]}"#, "Unauthorized"),
            (403, r#"{"errors":[{"code":"ACCESS_DENIED","status":"403"}]}"#, "Reconnect"),
            (400, r#"{"errors":[{"code":"bad_request"}]}"#, "NotPossible"),
            (500, r#"{"errors":[{"code":"internal_error"}]}"#, "Later"),
            (404, include_str!("../../tests/fixtures/v3-error-vehicle-not-found.json"), "NotPossible"),
            (429, include_str!("../../tests/fixtures/v3-error-rate-limit.json"), "Later"),
        ];
        for (status, body, meaning) in table {
            assert_eq!(name(&ask(status, &[], body)), meaning, "{status} {body}");
        }
    }

    #[test]
    fn an_application_is_not_reconnected() {
        let script = Script::new([answer(403, &[], r#"{"errors":[{"code":"ACCESS_DENIED"}]}"#)]);
        let error = run(script.client().disconnect_v3(&Secret::new("t"), "c")).unwrap_err();
        assert_eq!(name(&error), "Configuration");
    }

    #[test]
    fn the_owner_is_sent_where_smartcar_says() {
        let error = ask(400, &[], include_str!("../../tests/fixtures/v2-error-reauthenticate.json"));
        let SmartcarError::Reconnect { what, url: Some(url) } = error else { panic!("reconnect") };
        assert!(url.starts_with("https://connect.smartcar.com/oauth/reauthenticate?"));
        assert_eq!(
            what.to_string(),
            "v2.disconnect: Smartcar answered 400 CONNECTED_SERVICES_ACCOUNT:AUTHENTICATION_FAILED (request ff660077-1188-4299-83aa-440099887766)"
        );
        let evil = ask(400, &[], r#"{"type":"PERMISSION","resolution":{"type":"REAUTHENTICATE","url":"javascript:alert(1)"}}"#);
        assert!(matches!(evil, SmartcarError::Reconnect { url: None, .. }));
    }

    #[test]
    fn plain_words_come_first() {
        let script = Script::new([answer(401, &[], r#"{"error":"invalid_client"}"#)]);
        let refused = run(script.client().refresh(&Secret::new("t"), TOKEN)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Smartcar refuses our credentials: check smartcar.v2.client_id and smartcar.v2.client_secret \
             (token.refresh: Smartcar answered 401 invalid_client)"
        );
        let unreachable = from_transport("token.refresh", &TransportError::Unreachable("nobody is there".to_owned()));
        assert!(unreachable.to_string().starts_with("Smartcar cannot be reached (token.refresh: "), "{unreachable}");
        let told = ask(429, &[], "").to_string();
        assert_eq!(told, "Smartcar asks us to slow down (v2.disconnect: Smartcar answered 429)");
        assert!(ask(503, &[], "").to_string().starts_with("Smartcar is having trouble ("));
        assert!(ask(409, &[], r#"{"type":"VEHICLE_STATE","code":"ASLEEP"}"#).to_string().starts_with("the car cannot be read"));
    }

    #[test]
    fn waits_in_all_forms() {
        let date = ("Date", "Thu, 09 Oct 2025 08:53:20 GMT");
        for (said, seconds) in [
            ("30", Some(30)),
            (" 30 ", Some(30)),
            ("0", Some(0)),
            ("-7", Some(0)),
            ("99999999", Some(3600)),
            ("1e300", Some(3600)),
            ("Thu, 09 Oct 2025 08:54:00 GMT", Some(40)),
            ("Thu, 09 Oct 2025 08:00:00 GMT", Some(0)),
            ("Fri, 09 Oct 2026 08:54:00 GMT", Some(3600)),
            ("soon", None),
            ("", None),
            ("NaN", None),
        ] {
            let error =
                ask(429, &[("Retry-After", said), date], include_str!("../../tests/fixtures/v2-error-rate-limit-vehicle.json"));
            let SmartcarError::Later { after, .. } = error else { panic!("later") };
            assert_eq!(after, seconds.map(Duration::from_secs), "{said}");
        }
        assert!(matches!(ask(429, &[date], ""), SmartcarError::Later { after: None, .. }));
        let no_date = ask(503, &[("Retry-After", "Thu, 09 Oct 2025 08:54:00 GMT")], "");
        assert!(matches!(no_date, SmartcarError::Later { after: None, .. }));
    }

    #[test]
    fn failures_carry_words_and_no_values() {
        let body =
            r#"{"type":"0SCTESTVIN0000001","code":"Bearer abc","requestId":"a b","detail":"canary","description":"canary"}"#;
        let error = ask(400, &[("SC-Request-Id", "req-1")], body);
        assert_eq!(error.failure().to_string(), "v2.disconnect: Smartcar answered 400 (request req-1)");
        assert!(!format!("{error:?}").contains("canary"));
    }

    #[test]
    fn the_observer_sees_every_exchange() {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let script = Script::new([answer(503, &[], ""), Err(TransportError::TooLarge)]);
        let log = seen.clone();
        let client =
            script.client().observed(std::sync::Arc::new(move |endpoint, status| log.lock().unwrap().push((endpoint, status))));
        for _ in 0..2 {
            let _ = run(client.user(&Secret::new("t")));
        }
        assert_eq!(*seen.lock().unwrap(), [("v2.user", 503), ("v2.user", 0)]);
    }
}
