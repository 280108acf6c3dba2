//! Commands, and requests whose answers are handed on as they come.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::call::{Answer, Audience, Call, PATIENCE, join, segment};
use super::{Failure, Smartcar, SmartcarError};
use crate::model::budget::Permit;
use crate::model::command::Command;
use crate::model::{Json, Secret, SmartcarUserId, VehicleId};

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The car has done it.
    Done,
    /// It was accepted, and nothing more was heard.
    Pending,
}

/// An answer to hand on.
#[derive(Clone, Debug)]
pub struct HandedOn {
    /// The status.
    pub status: StatusCode,
    /// The body; null if there is none.
    pub body: Json,
}

impl Smartcar {
    /// Tells a car something through API v2.0.
    pub async fn command_v2(
        &self,
        access: &Secret,
        vehicle: &VehicleId,
        command: Command,
        permit: &Permit,
    ) -> Result<Told, SmartcarError> {
        const NAME: &str = "v2.command";
        let Some((path, body)) = command.v2() else {
            let note = Some("API v2.0 does not know this command".into());
            let (kind, code) = (Some("COMPATIBILITY".into()), Some("SMARTCAR_NOT_CAPABLE".into()));
            return Err(SmartcarError::NotPossible { what: Failure { endpoint: NAME, kind, code, note, ..Failure::default() } });
        };
        let path = format!("/vehicles/{}/{path}", segment(NAME, vehicle.as_str())?);
        let call = self.v2(NAME, Method::POST, &path, access).within(PATIENCE).json(&body);
        told(&self.permitted(call, permit).await?)
    }

    /// Tells a car something through API v3. What comes after a 202 comes in the same answer.
    pub async fn command_v3(
        &self,
        app: &Secret,
        user: &SmartcarUserId,
        vehicle: &VehicleId,
        command: Command,
        permit: &Permit,
    ) -> Result<Told, SmartcarError> {
        const NAME: &str = "v3.command";
        let (path, body) = command.v3();
        let path = format!("/vehicles/{}/commands/{path}", segment(NAME, vehicle.as_str())?);
        let call = self.v3(NAME, Audience::Owner, Method::POST, &path, app).within(PATIENCE);
        let call = call.header(super::v3::USER, user.as_str().to_owned());
        let call = if let Some(body) = body { call.json(&body) } else { call };
        told(&self.permitted(call, permit).await?)
    }

    /// Subscribes a vehicle to a webhook through API v2.0.
    pub async fn subscribe_v2(&self, access: &Secret, vehicle: &VehicleId, webhook: &str) -> Result<HandedOn, SmartcarError> {
        let path = webhook_path(vehicle, webhook)?;
        handed_on(&self.call(self.v2("v2.subscribe", Method::POST, &path, access)).await?)
    }

    /// Takes a vehicle from a webhook through API v2.0; the management token opens it.
    pub async fn unsubscribe_v2(&self, vehicle: &VehicleId, webhook: &str) -> Result<HandedOn, SmartcarError> {
        const NAME: &str = "v2.unsubscribe";
        let Some(token) = self.settings().management_token.clone() else {
            return Err(unconfigured(NAME, "smartcar.application_management_token is not set"));
        };
        let path = webhook_path(vehicle, webhook)?;
        handed_on(&self.call(self.v2(NAME, Method::DELETE, &path, &token)).await?)
    }

    /// Asks, by the credentials of API v2.0, what a make or a car is capable of. `query` begins with its question mark.
    pub async fn compatibility(&self, path: &str, query: &str, permit: &Permit) -> Result<HandedOn, SmartcarError> {
        const NAME: &str = "v2.compatibility";
        let Some(known) = self.credentials(crate::model::token::Generation::V2) else {
            return Err(unconfigured(NAME, "smartcar.v2.client_id and smartcar.v2.client_secret are not set"));
        };
        let url = format!("{}{path}{query}", join(&self.settings().origins.api, "/v2.0"));
        let call = Call::new(NAME, Audience::Application, Method::GET, url).basic(&known.client_id, &known.client_secret);
        handed_on(&self.permitted(call, permit).await?)
    }

    /// A request of somebody else's to the management API v3.
    pub async fn forward_v3(
        &self,
        app: &Secret,
        method: Method,
        path: &str,
        body: Option<&Value>,
        permit: &Permit,
    ) -> Result<HandedOn, SmartcarError> {
        handed_on(&self.permitted(self.managed("v3.forward", app, method, path, body), permit).await?)
    }

    /// Webhooks and subscriptions of the management API v3.
    pub async fn management_v3(
        &self,
        app: &Secret,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<HandedOn, SmartcarError> {
        handed_on(&self.call(self.managed("v3.management", app, method, path, body)).await?)
    }

    fn managed(&self, endpoint: &'static str, app: &Secret, method: Method, path: &str, body: Option<&Value>) -> Call {
        let url = format!("{}{path}", join(&self.settings().origins.management_v3, "/v3"));
        let call = Call::new(endpoint, Audience::Application, method, url).bearer(app);
        if let Some(body) = body { call.json(body) } else { call }
    }
}

fn webhook_path(vehicle: &VehicleId, webhook: &str) -> Result<String, SmartcarError> {
    let endpoint = "v2.subscribe";
    Ok(format!("/vehicles/{}/webhooks/{}", segment(endpoint, vehicle.as_str())?, segment(endpoint, webhook)?))
}

/// The status in the body counts more than that of the head, which had to be sent before the car had answered.
fn told(answer: &Answer) -> Result<Told, SmartcarError> {
    // What nobody can read says nothing of the car.
    let body = if answer.is_empty() { Value::Null } else { answer.read::<Value>()? };
    let resources = [&body["data"]["attributes"], &body["data"], &body["attributes"], &body];
    if let Some(error) = resources.into_iter().find_map(error_in) {
        return Err(answer.refused(error));
    }
    let is_accepted = answer.status() == StatusCode::ACCEPTED;
    match resources.into_iter().find_map(status_in).as_deref() {
        Some(word) if FAILED.iter().any(|failed| word.starts_with(failed)) => Err(answer.failed("the car has not done it")),
        Some(number) if number.parse().is_ok_and(|status: u16| status >= 400) => Err(answer.failed("the car has not done it")),
        Some("PENDING" | "IN_PROGRESS" | "QUEUED" | "ACCEPTED") => Ok(Told::Pending),
        Some(word) if DONE.iter().any(|done| word.starts_with(done)) => Ok(Told::Done),
        // A word that nobody knows is no success of what is only accepted.
        _ if is_accepted => Ok(Told::Pending),
        _ => Ok(Told::Done),
    }
}

/// An error that stands within a resource, or in its place.
fn error_in(resource: &Value) -> Option<&Value> {
    let within = [&resource["error"], &resource["status"]["error"], &resource["errors"][0]];
    let is_error_itself =
        resource["type"].as_str().is_some_and(|kind| kind.bytes().all(|byte| byte == b'_' || byte.is_ascii_uppercase()));
    within.into_iter().find(|error| error.is_object()).or_else(|| Some(resource).filter(|_| is_error_itself))
}

/// Its status in capitals: a word, a number, or an object that holds either.
fn status_in(resource: &Value) -> Option<String> {
    let status = &resource["status"];
    let text =
        |value: &Value| value.as_str().map(str::to_ascii_uppercase).or_else(|| value.as_u64().map(|number| number.to_string()));
    text(status).or_else(|| text(&status["value"]))
}

/// How words begin that say that the car has not done it.
const FAILED: [&str; 8] = ["FAIL", "ERROR", "REJECT", "REFUS", "TIMEOUT", "TIMED_OUT", "CANCEL", "EXPIRE"];

/// How words begin that say that it has.
const DONE: [&str; 5] = ["SUCCESS", "SUCCEED", "COMPLETE", "DONE", "20"];

fn handed_on(answer: &Answer) -> Result<HandedOn, SmartcarError> {
    let status = answer.status();
    let body = if answer.is_empty() { json!(null) } else { answer.read::<Value>()? };
    Ok(HandedOn { status, body: Json::of(&body) })
}

fn unconfigured(endpoint: &'static str, note: &str) -> SmartcarError {
    SmartcarError::Configuration { what: Failure { endpoint, note: Some(note.into()), ..Failure::default() } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::budget::Reason;
    use crate::smartcar::script::{Script, answer, run};

    fn told(status: u16, body: &str) -> Result<Told, SmartcarError> {
        let script = Script::new([answer(status, &[], body)]);
        let permit = Permit::granted(1, Reason::Command, false);
        let (user, car) = (SmartcarUserId::new("u"), VehicleId::new("v"));
        let told = run(script.client().command_v3(&Secret::new("t"), &user, &car, Command::Lock, &permit));
        assert_eq!(permit.sent(), 1);
        told
    }

    #[test]
    fn the_body_says_what_happened() {
        for (status, body) in [
            (200, r#"{"data":{"id":"1","type":"command","attributes":{"status":"SUCCESS"}}}"#),
            (202, r#"{"data":{"attributes":{"status":{"value":"SUCCESS"}}}}"#),
            (200, r#"{"status":"success","message":"Successfully sent request to vehicle"}"#),
            (200, "{}"),
            (204, ""),
        ] {
            assert_eq!(told(status, body), Ok(Told::Done), "{status} {body}");
        }
        for (status, body) in [(202, ""), (202, "{}"), (200, r#"{"status":"PENDING"}"#)] {
            assert_eq!(told(status, body), Ok(Told::Pending), "{status} {body}");
        }
        for status in [200, 202] {
            for word in ["FAILURE", "failed", "REJECTED", "409", "TIMEOUT"] {
                assert!(told(status, &format!(r#"{{"data":{{"attributes":{{"status":"{word}"}}}}}}"#)).is_err(), "{word}");
            }
            for body in [
                r#"{"errors":[{"status":"409","type":"VEHICLE_STATE","code":"ASLEEP"}]}"#,
                r#"{"type":"VEHICLE_STATE","code":"ASLEEP","statusCode":409}"#,
                r#"{"type":"VEHICLE_STATE","code":"ASLEEP","description":"It sleeps.","status":409}"#,
                r#"{"error":{"type":"VEHICLE_STATE","code":"ASLEEP","status":409}}"#,
                r#"{"data":{"type":"command","attributes":{"status":{"value":"ERROR","error":{"type":"VEHICLE_STATE","code":"ASLEEP","status":409}}}}}"#,
                r#"{"data":{"type":"command","attributes":{"status":"PENDING","error":{"type":"VEHICLE_STATE","code":"ASLEEP","status":"409"}}}}"#,
            ] {
                let failed = told(status, body).unwrap_err();
                let what = failed.failure();
                assert_eq!((what.kind.as_deref(), what.code.as_deref()), (Some("VEHICLE_STATE"), Some("ASLEEP")), "{body}");
                assert!(!what.may_have_acted, "{body}");
            }
            // Without words of Smartcar's it has failed all the same.
            let failed = told(status, r#"{"error":{"message":"no"}}"#).unwrap_err();
            assert_eq!(failed.failure().code.as_deref(), Some("UNKNOWN_ISSUE"));
        }
        assert_eq!(told(202, r#"{"data":{"attributes":{"status":"WONDERING"}}}"#), Ok(Told::Pending));
        for status in [200, 502] {
            let unclear = told(status, "<html>").unwrap_err();
            assert!(unclear.failure().may_have_acted && unclear.failure().kind.is_none(), "{status}");
        }
    }
}
