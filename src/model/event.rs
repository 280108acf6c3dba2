//! Webhook events: what Smartcar posts.
//!
//! Two readings of the same bytes. [`Event::parse`] is the light one, made before the delivery is
//! acknowledged: it looks at names and ids and into no signal. [`project`] is the full one, a pure
//! function from the bytes to what they say of vehicles, so that a kept delivery can be read again by
//! later code. Both take every variation that is documented or was seen; what is missing or of an
//! unexpected type stays out.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{EventId, SmartcarUserId, Timestamp, VehicleId, lenient};

mod distinct;
mod projection;

use distinct::Distinct;
pub use projection::{ErrorChange, Grammar, Projection, VehicleProjection, project};

/// The head of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Smartcar's id, the same on every retry.
    pub id: Option<EventId>,
    /// What kind of event it is.
    pub kind: EventKind,
    /// The vehicle it is about; the first one, if a legacy event is about several.
    pub vehicle: Option<VehicleId>,
    /// Whether it is about other vehicles, too.
    pub is_about_others: bool,
    /// The Smartcar user it is about.
    pub user: Option<SmartcarUserId>,
    /// The webhook that sent it.
    pub webhook_id: Option<String>,
    /// The id of this delivery; another one on every retry.
    pub delivery_id: Option<String>,
    /// When Smartcar sent it, by its own clock.
    pub delivered_at: Option<Timestamp>,
    /// Whether it was sent for a test from the dashboard.
    pub test: bool,
    /// The challenge of a `VERIFY`, if it is a text.
    pub challenge: Option<String>,
    /// Whether it has the form of v2.0.
    pub legacy: bool,
}

/// What kind of event it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The handshake; wants an answer to its challenge.
    Verify,
    /// Signals of a vehicle (v4).
    VehicleState,
    /// A problem of a vehicle began or ended (v4).
    VehicleError,
    /// Answers of endpoints, sent by schedule (v2.0: `schedule`, `scheduled`, `dynamic`).
    Scheduled,
    /// Charging began, stopped or ended (v2.0).
    ChargeEvent,
    /// Anything else, by its first 64 characters.
    Unknown(String),
}

impl EventKind {
    /// All that are known, as the log has them.
    pub const NAMES: [&str; 5] = ["VEHICLE_STATE", "VEHICLE_ERROR", "VERIFY", "scheduled", "eventBased"];

    /// The name as Smartcar says it.
    pub fn as_str(&self) -> &str {
        match self {
            EventKind::Verify => "VERIFY",
            EventKind::VehicleState => "VEHICLE_STATE",
            EventKind::VehicleError => "VEHICLE_ERROR",
            EventKind::Scheduled => "scheduled",
            EventKind::ChargeEvent => "eventBased",
            EventKind::Unknown(name) => name,
        }
    }

    fn v4(name: &str) -> EventKind {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if is("VERIFY") => EventKind::Verify,
            () if is("VEHICLE_STATE") => EventKind::VehicleState,
            () if is("VEHICLE_ERROR") => EventKind::VehicleError,
            () => EventKind::unknown(name),
        }
    }

    fn legacy(name: &str) -> EventKind {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if is("verify") => EventKind::Verify,
            () if is("schedule") || is("scheduled") || is("dynamic") => EventKind::Scheduled,
            () if is("eventBased") => EventKind::ChargeEvent,
            () => EventKind::unknown(name),
        }
    }

    fn unknown(name: &str) -> EventKind {
        EventKind::Unknown(name.chars().take(64).collect())
    }
}

/// Why a body is no event. It is kept all the same if its signature was good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotUnderstood {
    /// The first byte other than white space is not `{`.
    #[error("not a JSON object")]
    NotAnObject,
    /// The text is no JSON, or a key stands twice at its top or in its `data`.
    #[error("not well-formed JSON")]
    Malformed,
    /// Nested deeper than any event is.
    #[error("nested too deep")]
    TooDeep,
    /// Neither `eventType` nor `eventName` is a text.
    #[error("without eventType and eventName")]
    NoType,
}

impl Event {
    /// Reads the head of an event.
    pub fn parse(body: &[u8]) -> Result<Event, NotUnderstood> {
        let head: Head = envelope(body)?;
        if let Some(name) = head.event_type {
            let vehicle = head.data.vehicle.id.or(head.vehicle_id);
            return Ok(Event {
                id: head.event_id.map(EventId::new),
                kind: EventKind::v4(&name),
                vehicle: vehicle.map(VehicleId::new),
                is_about_others: false,
                user: head.data.user.id.map(SmartcarUserId::new),
                webhook_id: head.meta.webhook_id.or(head.webhook_id),
                delivery_id: head.meta.delivery_id,
                delivered_at: head.meta.delivered_at.or(head.meta.delivery_time),
                test: is_test(head.meta.mode.or(head.mode)),
                challenge: head.data.challenge,
                legacy: false,
            });
        }
        let name = head.event_name.ok_or(NotUnderstood::NoType)?;
        let is_about_others = head.payload.vehicles.len() > 1;
        let first = head.payload.vehicles.into_iter().find_map(|vehicle| vehicle.vehicle_id);
        let vehicle = head.payload.vehicle_id.or(first).or(head.vehicle_id);
        Ok(Event {
            id: head.payload.event_id.or(head.event_id).map(EventId::new),
            kind: EventKind::legacy(&name),
            vehicle: vehicle.map(VehicleId::new),
            is_about_others,
            user: head.payload.user_id.map(SmartcarUserId::new),
            webhook_id: head.webhook_id.or(head.meta.webhook_id),
            delivery_id: head.meta.delivery_id,
            delivered_at: head.meta.delivered_at.or(head.meta.delivery_time),
            test: is_test(head.mode.or(head.meta.mode)),
            challenge: head.payload.challenge,
            legacy: true,
        })
    }
}

/// What makes a delivery the same as an earlier one: Smartcar's event id, else a hash of the body.
pub fn identity(event: Option<&Event>, body: &[u8]) -> String {
    let by_body = || format!("body:{}", data_encoding::HEXLOWER.encode(&Sha256::digest(body)));
    event.and_then(|event| event.id.as_ref()).map_or_else(by_body, |id| id.as_str().to_owned())
}

fn is_test(mode: Option<String>) -> bool {
    mode.is_some_and(|mode| mode.eq_ignore_ascii_case("test"))
}

/// Reads the outermost object of a delivery.
fn envelope<'a, T: Deserialize<'a> + Default>(body: &'a [u8]) -> Result<T, NotUnderstood> {
    let text = std::str::from_utf8(body).map_err(|_| NotUnderstood::Malformed)?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(NotUnderstood::NotAnObject);
    }
    if lenient::is_too_deep(text) {
        return Err(NotUnderstood::TooDeep);
    }
    serde_json::from_str::<Distinct<T>>(text).map(|Distinct(read)| read).map_err(|_| NotUnderstood::Malformed)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Head {
    #[serde(deserialize_with = "lenient::text")]
    event_type: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    event_name: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    event_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    vehicle_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    webhook_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    mode: Option<String>,
    #[serde(deserialize_with = "distinct::distinct")]
    data: Data,
    #[serde(deserialize_with = "lenient::object")]
    payload: Payload,
    #[serde(deserialize_with = "lenient::object")]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    #[serde(deserialize_with = "lenient::text")]
    challenge: Option<String>,
    #[serde(deserialize_with = "lenient::object")]
    vehicle: Named,
    #[serde(deserialize_with = "lenient::object")]
    user: Named,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    #[serde(deserialize_with = "lenient::text")]
    id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Payload {
    #[serde(deserialize_with = "lenient::text")]
    challenge: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    event_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    vehicle_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    user_id: Option<String>,
    #[serde(deserialize_with = "lenient::list")]
    vehicles: Vec<LegacyVehicle>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LegacyVehicle {
    #[serde(deserialize_with = "lenient::text")]
    vehicle_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    #[serde(deserialize_with = "lenient::text")]
    webhook_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    delivery_id: Option<String>,
    #[serde(deserialize_with = "lenient::time")]
    delivered_at: Option<Timestamp>,
    /// Seen once in place of `deliveredAt`.
    #[serde(deserialize_with = "lenient::time")]
    delivery_time: Option<Timestamp>,
    #[serde(deserialize_with = "lenient::text")]
    mode: Option<String>,
    #[serde(deserialize_with = "lenient::integer")]
    sequence: Option<i64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::lenient::tests::any_json;

    macro_rules! fixture {
        ($name:literal) => {
            Event::parse(include_bytes!(concat!("../../tests/fixtures/webhook-", $name, ".json"))).unwrap()
        };
    }

    fn parse(body: &str) -> Result<Event, NotUnderstood> {
        Event::parse(body.as_bytes())
    }

    #[test]
    fn states_and_errors_have_the_same_head() {
        let event = fixture!("v4-vehicle-state-signal-updated");
        assert_eq!(
            event,
            Event {
                id: Some(EventId::new("0a8c1b2d-2222-4f3e-9a4b-5c6d7e8f9a02")),
                kind: EventKind::VehicleState,
                vehicle: Some(VehicleId::new("b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a")),
                is_about_others: false,
                user: Some(SmartcarUserId::new("6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b")),
                webhook_id: Some("d9a6e4c3-1f5a-4182-87d3-3b4a5f6e7d8c".to_owned()),
                delivery_id: Some("f1c9b7e6-4d8e-44b5-8a06-6e7d8c9b0a1f".to_owned()),
                delivered_at: Some(Timestamp::from_millis(1_760_000_002_000)),
                test: false,
                challenge: None,
                legacy: false,
            }
        );
        for same in [
            fixture!("v4-vehicle-state-first-delivery"),
            fixture!("v4-vehicle-state-triggers-in-data"),
            fixture!("v4-vehicle-state-first-delivery-in-data"),
        ] {
            assert_eq!(Event { id: event.id.clone(), ..same }, event);
        }
        for error in [
            fixture!("v4-vehicle-error-compatibility"),
            fixture!("v4-vehicle-error-permission-two-errors"),
            fixture!("v4-vehicle-error-resolved"),
        ] {
            assert_eq!(error, Event { id: error.id.clone(), kind: EventKind::VehicleError, ..event.clone() });
        }
        assert!(fixture!("v4-vehicle-state-test-mode").test);
    }

    #[test]
    fn challenges() {
        let event = fixture!("v4-verify");
        assert_eq!(event.kind, EventKind::Verify);
        assert_eq!(event.challenge.as_deref(), Some("3f9a7c1e5b2d4860a1c3e5f7092b4d6e"));
        assert_eq!(event.delivered_at, Some(Timestamp::from_millis(1_760_000_002_000)));
        let event = fixture!("v4-verify-minimal");
        assert_eq!((event.kind, event.challenge.as_deref(), event.id), (EventKind::Verify, Some("any-abcd"), None));
        let event = fixture!("v2-verify");
        assert_eq!((event.kind, event.challenge.as_deref(), event.legacy), (EventKind::Verify, Some("b64d2f70c1a94e38"), true));
        for odd in ["7", "null", "{}", r#"["a"]"#] {
            let event = parse(&format!(r#"{{"eventType":"VERIFY","data":{{"challenge":{odd}}}}}"#)).unwrap();
            assert_eq!(event.challenge, None);
        }
    }

    #[test]
    fn legacy_heads() {
        let event = fixture!("v2-scheduled");
        assert_eq!((event.kind, event.legacy, event.test, event.id), (EventKind::Scheduled, true, false, None));
        assert_eq!(event.vehicle, Some(VehicleId::new("b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a")));
        assert_eq!(event.webhook_id.as_deref(), Some("d9a6e4c3-1f5a-4182-87d3-3b4a5f6e7d8c"));
        let event = fixture!("v2-event-based");
        assert_eq!((event.kind, event.id), (EventKind::ChargeEvent, Some(EventId::new("bb22cc33-dd44-4e55-8f66-007788990011"))));
        assert_eq!(event.vehicle, Some(VehicleId::new("b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a")));
        assert_eq!(parse(r#"{"eventName":"scheduled"}"#).unwrap().kind, EventKind::Scheduled);
        assert!(parse(r#"{"eventName":"dynamic","mode":"test"}"#).unwrap().test);
    }

    #[test]
    fn odd_fields_are_missing_fields() {
        let odd = r#"{"eventType":"VEHICLE_CONNECTED","eventId":null,"vehicleId":"top","data":{"vehicle":[1],"user":"x"},
            "meta":{"deliveredAt":"soon","deliveryTime":1760000000,"mode":7}}"#;
        let event = parse(odd).unwrap();
        assert_eq!(event.kind, EventKind::Unknown("VEHICLE_CONNECTED".to_owned()));
        assert_eq!(event.kind.as_str(), "VEHICLE_CONNECTED");
        assert_eq!((event.id, event.vehicle, event.user), (None, Some(VehicleId::new("top")), None));
        assert_eq!((event.delivered_at, event.test), (Some(Timestamp::from_millis(1_760_000_000_000)), false));
    }

    #[test]
    fn what_is_no_event() {
        for (body, why) in [
            ("", NotUnderstood::NotAnObject),
            (" [1]", NotUnderstood::NotAnObject),
            (r#""eventType""#, NotUnderstood::NotAnObject),
            ("{", NotUnderstood::Malformed),
            (r#"{"eventType":NaN}"#, NotUnderstood::Malformed),
            (r#"{"eventType":"VERIFY"} x"#, NotUnderstood::Malformed),
            (r#"{"eventType":"VERIFY","eventType":"VERIFY"}"#, NotUnderstood::Malformed),
            // Keys that only one of the readings knows, or none.
            (r#"{"eventType":"VEHICLE_STATE","webhookId":"a","webhookId":"b"}"#, NotUnderstood::Malformed),
            (r#"{"triggers":[],"triggers":[]}"#, NotUnderstood::Malformed),
            (r#"{"eventName":"scheduled","\u0061":1,"a":1}"#, NotUnderstood::Malformed),
            ("{}", NotUnderstood::NoType),
            (r#"{"eventType":7,"eventName":null}"#, NotUnderstood::NoType),
        ] {
            assert_eq!(parse(body), Err(why), "{body}");
            assert_eq!(project(body.as_bytes()), Err(why), "{body}");
        }
        let deep = format!(r#"{{"eventType":"VERIFY","data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(parse(&deep), Err(NotUnderstood::TooDeep));
        assert_eq!(Event::parse(b"{\"a\":\"\xff\"}"), Err(NotUnderstood::Malformed));
    }

    proptest! {
        #[test]
        fn never_panics_on_bytes(body in any::<Vec<u8>>()) {
            let _ = Event::parse(&body);
        }

        #[test]
        fn never_panics_on_json_and_agrees_with_the_full_reading(body in any_json()) {
            prop_assert_eq!(Event::parse(body.as_bytes()).err(), project(body.as_bytes()).err());
        }
    }
}
