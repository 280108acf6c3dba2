//! Signals: what Smartcar reports of a vehicle.

use serde::{Deserialize, Serialize};

use super::unnamed::unnamed;
use super::{Json, Timestamp};

/// One signal, as one answer or one delivery reported it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalReport {
    /// Smartcar's code, such as `tractionbattery-stateofcharge`: what identifies the signal.
    pub code: String,
    /// The group, such as `TractionBattery`.
    pub group: Option<String>,
    /// The name within the group; sometimes wrong, so only for display.
    pub name: Option<String>,
    /// The value, or why there is none.
    pub outcome: Outcome,
    /// When the car recorded the value.
    pub oem_updated_at: Option<Timestamp>,
    /// When Smartcar fetched it.
    pub retrieved_at: Option<Timestamp>,
}

unnamed!(SignalReport {
    code: String,
    group: Option<String>,
    name: Option<String>,
    outcome: Outcome,
    oem_updated_at: Option<Timestamp>,
    retrieved_at: Option<Timestamp>,
});

/// The two ways a report can go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The body as received.
    Value(Json),
    /// No value this time; says nothing about the last good one.
    Failed(SignalFailure),
}

/// Why a signal has no value, in Smartcar's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalFailure {
    /// `ERROR`, `UNAVAILABLE`, or another status than `SUCCESS`.
    pub status: String,
    /// Such as `COMPATIBILITY` or `PERMISSION`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Such as `VEHICLE_NOT_CAPABLE`.
    pub code: Option<String>,
}

/// One row of vehicle data: a value of a signal at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The value as received.
    pub body: Json,
    /// The time that orders readings: the car's own, else when Smartcar fetched it, else when it came here.
    pub at: Timestamp,
    /// When the car recorded it, if Smartcar said so.
    pub oem_updated_at: Option<Timestamp>,
    /// When Smartcar fetched it, if it said so.
    pub retrieved_at: Option<Timestamp>,
    /// How it came here.
    pub source: Source,
}

unnamed!(Reading {
    body: Json,
    at: Timestamp,
    oem_updated_at: Option<Timestamp>,
    retrieved_at: Option<Timestamp>,
    source: Source,
});

/// How a reading came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In a webhook.
    Webhook,
    /// By a read from Smartcar.
    Read,
}

impl Source {
    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Webhook => "webhook",
            Source::Read => "read",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn cbor(value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    }

    /// A reading as it was written when its fields had names.
    #[derive(Serialize)]
    pub(crate) struct Named<'a> {
        pub(crate) body: &'a Json,
        pub(crate) at: Timestamp,
        pub(crate) oem_updated_at: Option<Timestamp>,
        pub(crate) retrieved_at: Option<Timestamp>,
        pub(crate) source: Source,
    }

    #[test]
    fn what_was_written_with_names_is_read() {
        let at = Timestamp::from_millis(1_760_000_000_000);
        let body = Json::received(br#"{"value":64}"#);
        let reading = Reading { body: body.clone(), at, oem_updated_at: Some(at), retrieved_at: None, source: Source::Read };
        let named = Named { body: &body, at, oem_updated_at: Some(at), retrieved_at: None, source: Source::Read };
        for written in [cbor(&named), cbor(&reading)] {
            assert_eq!(ciborium::from_reader::<Reading, _>(&written[..]).unwrap(), reading);
        }
        // What is stored is told apart by nothing but its order.
        assert_eq!(cbor(&reading), cbor(&(&body, at, Some(at), None::<Timestamp>, Source::Read)));
    }

    #[derive(Serialize)]
    struct NamedReport<'a> {
        code: &'a str,
        group: Option<&'a str>,
        name: Option<&'a str>,
        outcome: &'a Outcome,
        oem_updated_at: Option<Timestamp>,
        retrieved_at: Option<Timestamp>,
    }

    #[test]
    fn a_report_that_was_written_with_names_is_read() {
        let at = Timestamp::from_millis(1_760_000_000_000);
        let failure = SignalFailure { status: "ERROR".to_owned(), kind: None, code: Some("UPSTREAM".to_owned()) };
        for outcome in [Outcome::Value(Json::received(br#"{"value":64}"#)), Outcome::Failed(failure)] {
            let named = NamedReport {
                code: "tractionbattery-stateofcharge",
                group: Some("TractionBattery"),
                name: None,
                outcome: &outcome,
                oem_updated_at: None,
                retrieved_at: Some(at),
            };
            let report = SignalReport {
                code: named.code.to_owned(),
                group: named.group.map(str::to_owned),
                name: None,
                outcome: outcome.clone(),
                oem_updated_at: None,
                retrieved_at: Some(at),
            };
            let (code, group) = (named.code, named.group);
            assert_eq!(cbor(&report), cbor(&(code, group, None::<&str>, &outcome, None::<Timestamp>, Some(at))));
            for written in [cbor(&named), cbor(&report)] {
                assert_eq!(ciborium::from_reader::<SignalReport, _>(&written[..]).unwrap(), report);
            }
        }
    }
}
