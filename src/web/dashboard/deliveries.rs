//! The webhook log and one entry of it.

use askama::Template;

use super::format::{self, When, words};
use super::numbers::Numbers;
use super::signals;
use super::{DeliveryPage, Filters, Shell, WebhooksPage, finish, names};
use crate::model::capability::in_words;
use crate::model::event::{ErrorChange, VehicleProjection};
use crate::model::gap::GapCause;
use crate::model::normal::Normal;
use crate::model::reading::{Outcome, SignalReport};
use crate::model::taste::Taste;
use crate::model::{Seq, Timestamp, VehicleId, count};
use crate::operate::deliveries::DeliveryView;
use crate::operate::status::WebhookStatus;
use crate::vehicles::VehicleName;
use crate::web::answer::path_part;

#[derive(Template)]
#[template(path = "webhooks.html")]
struct View<'a> {
    shell: Shell<'a>,
    rows: Vec<Row>,
    /// The address of the next part.
    next: Option<String>,
    /// The query of the first part.
    same: String,
    later_part: bool,
    filters: &'a Filters,
    filtered: bool,
    cars: Vec<Choice>,
    kinds: Vec<Choice>,
    results: Vec<Choice>,
    log: Option<Log<'a>>,
    gaps: Vec<GapRow>,
    refused: Vec<RefusedRow>,
    webhook_url: &'a str,
}

/// How the whole log fares.
struct Log<'a> {
    status: &'a WebhookStatus,
    to_read: Option<String>,
    verified: Option<When>,
    delivered: Option<When>,
    kept: String,
    kept_size: String,
    behind: Option<String>,
}

impl Log<'_> {
    fn of<'a>(status: &'a WebhookStatus, numbers: &Numbers, now: Timestamp) -> Log<'a> {
        Log {
            status,
            to_read: (status.to_read > 0).then(|| numbers.count(status.to_read as u64)),
            verified: status.last_verify.as_ref().map(|verify| When::ago(now, verify.at)),
            delivered: status.last_delivery_at.map(|at| When::ago(now, at)),
            kept: numbers.count(status.entries),
            kept_size: numbers.size(status.bytes),
            behind: (status.projector_lag > 0).then(|| numbers.count(status.projector_lag)),
        }
    }
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct OneView<'a> {
    shell: Shell<'a>,
    delivery: &'a DeliveryView,
    vehicle: Option<(String, String)>,
    payload: Option<String>,
    made: Vec<MadeOf>,
    misunderstood: Option<String>,
    nothing: &'static str,
    triggers: String,
    result: (&'static str, &'static str),
    received: When,
    date: When,
    size: String,
}

/// One of the values of a filter.
struct Choice {
    value: String,
    text: String,
    chosen: bool,
}

/// What was made of a delivery for one car.
struct MadeOf {
    name: String,
    count: String,
    signals: Vec<Signal>,
    errors: Vec<(String, &'static str)>,
}

/// A signal that a delivery tells.
struct Signal {
    code: String,
    label: String,
    lines: Vec<String>,
    when: Option<When>,
}

/// An entry of the log, in a list.
#[derive(Debug)]
pub(super) struct Row {
    /// Its place.
    pub(super) seq: Seq,
    /// Its type in words.
    pub(super) kind: String,
    /// Its car.
    pub(super) vehicle: Option<String>,
    /// When it came in.
    pub(super) when: When,
    /// What became of it: a class and words.
    pub(super) result: (&'static str, &'static str),
}

/// A time in which deliveries may have been lost, in a list.
struct GapRow {
    since: When,
    lasted: String,
    cause: &'static str,
    vehicles: u32,
}

/// A refused delivery, in a list.
struct RefusedRow {
    when: When,
    reason: &'static str,
    code: &'static str,
    size: String,
}

/// Entries, with the names of their cars.
pub(super) fn rows(deliveries: &[DeliveryView], names: &[VehicleName], now: Timestamp) -> Vec<Row> {
    let rows = deliveries.iter().map(|delivery| Row {
        seq: delivery.seq,
        kind: kind(&delivery.kind),
        vehicle: delivery.vehicle.as_ref().map(|id| names::of(names, id)),
        when: When::ago(now, delivery.received_at),
        result: result(delivery.result),
    });
    rows.collect()
}

impl WebhooksPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let (status, now, numbers) = (self.status, self.shell.now, &Numbers::of(self.shell.language));
        let refused = self.refused.iter().map(|refusal| RefusedRow {
            when: When::ago(now, refusal.at),
            reason: refusal.reason,
            code: refusal.code,
            size: numbers.size(refusal.bytes as u64),
        });
        let gaps = status.iter().flat_map(|status| status.gaps.iter().rev()).map(|gap| GapRow {
            since: When::ago(now, gap.since),
            lasted: format::duration(gap.until.since(gap.since)),
            cause: match gap.cause {
                GapCause::Down => "Carport did not run",
                GapCause::Refused => "deliveries were refused",
                GapCause::Silent => "Smartcar delivered nothing",
            },
            vehicles: gap.vehicles,
        });
        let filters = self.filters;
        let of_cars =
            self.names.iter().filter(|vehicle| !vehicle.former).map(|vehicle| (vehicle.id.to_string(), names::name(vehicle)));
        let of_kinds = KINDS.iter().map(|one| ((*one).to_owned(), kind(one)));
        let of_results = RESULTS.iter().map(|one| ((*one).to_owned(), format::capital(result(one).1)));
        finish(&View {
            shell: self.shell,
            rows: rows(self.deliveries, self.names, now),
            next: self.older.map(|older| format!("/webhooks{}", query(filters, Some(older)))),
            same: query(filters, None),
            later_part: self.later_part,
            filters,
            filtered: !query(filters, None).is_empty(),
            cars: choices(of_cars, filters.vehicle.as_deref()),
            kinds: choices(of_kinds, filters.kind.as_deref()),
            results: choices(of_results, filters.result.as_deref()),
            log: status.map(|status| Log::of(status, numbers, now)),
            gaps: gaps.collect(),
            refused: refused.collect(),
            webhook_url: self.webhook_url,
        })
    }
}

impl DeliveryPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let delivery = self.delivery;
        let known = self.vehicle.map(|vehicle| (names::name(vehicle), vehicle.id.as_str()));
        let vehicle = known.or_else(|| delivery.vehicle.as_ref().map(|id| (names::short(id.as_str()), "")));
        let (now, numbers) = (self.shell.now, &Numbers::of(self.shell.language));
        let told = self.made.and_then(|made| made.as_ref().ok());
        let misunderstood = self.made.and_then(|made| made.as_ref().err()).map(|error| format::capital(&error.to_string()));
        let name = |id: &VehicleId| match self.vehicle {
            Some(vehicle) if vehicle.id == *id => names::name(vehicle),
            _ => names::short(id.as_str()),
        };
        let cars = told.iter().filter(|_| delivery.result != NOT_CONNECTED).flat_map(|told| &told.vehicles);
        let made = cars.map(|car| made_of(car, name(&car.id), self.taste, numbers, now));
        finish(&OneView {
            shell: self.shell,
            delivery,
            made: made.collect(),
            misunderstood: misunderstood.filter(|_| delivery.result != "test" && !is_verify(&delivery.kind)),
            nothing: match delivery.kind.as_str() {
                kind if is_verify(kind) => "It was answered with the HMAC of its challenge. It tells nothing of a car.",
                _ if self.made.is_none() => "That is not shown to you: it tells of other cars, too.",
                _ if delivery.result == NOT_CONNECTED => "Nothing: the car was not connected here when it came in.",
                _ => "Nothing: it tells nothing of a car.",
            },
            triggers: told
                .map(|told| told.triggers.iter().map(|code| signals::name(code, None)).collect::<Vec<_>>().join(", "))
                .unwrap_or_default(),
            vehicle: vehicle.map(|(name, id)| (name, path_part(id))),
            payload: delivery.payload.as_ref().map(|payload| masked(&format::indented(payload.as_str()))),
            result: result(delivery.result),
            received: When::ago(now, delivery.received_at),
            date: When::date(delivery.received_at),
            size: numbers.size(delivery.bytes as u64),
        })
    }
}

fn made_of(car: &VehicleProjection, name: String, taste: Taste, numbers: &Numbers, now: Timestamp) -> MadeOf {
    let (signals, errors) = (count(car.reports.len(), "signal"), count(car.errors.len(), "error"));
    let count = match (car.reports.len(), car.errors.len()) {
        (_, 0) => signals,
        (0, _) => errors,
        _ => format!("{signals}, {errors}"),
    };
    let error = |change: &ErrorChange| {
        let ids = [Some(change.error.kind.as_str()), change.error.code.as_deref()];
        (ids.into_iter().flatten().map(words).collect::<Vec<_>>().join(": "), if change.resolved { "over" } else { "began" })
    };
    let signals = car.reports.iter().map(|report| signal(report, taste, numbers, now)).collect();
    MadeOf { name, count, signals, errors: car.errors.iter().map(error).collect() }
}

fn signal(report: &SignalReport, taste: Taste, numbers: &Numbers, now: Timestamp) -> Signal {
    let lines = match &report.outcome {
        Outcome::Failed(failure) => vec![in_words(failure)],
        Outcome::Value(body) => match taste.normal(&report.code, &body.value()) {
            Normal::Body => vec!["kept as it was received".to_owned()],
            normal => vec![format::capital(&signals::words(&normal, numbers))],
        },
    };
    let when = report.oem_updated_at.or(report.retrieved_at).map(|at| When::ago(now, at));
    Signal { label: signals::name(&report.code, report.name.as_deref()), code: report.code.clone(), lines, when }
}

fn choices(all: impl Iterator<Item = (String, String)>, chosen: Option<&str>) -> Vec<Choice> {
    let mut choices: Vec<Choice> =
        all.map(|(value, text)| Choice { chosen: chosen == Some(value.as_str()), value, text }).collect();
    // What came in the address is shown as it is, so that nobody wonders what is left out.
    if let Some(unknown) = chosen.filter(|_| choices.iter().all(|choice| !choice.chosen)) {
        choices.push(Choice { value: unknown.to_owned(), text: names::short(unknown), chosen: true });
    }
    choices
}

/// The query of a part of the log; empty if all is shown from its beginning.
fn query(filters: &Filters, before: Option<Seq>) -> String {
    let Filters { vehicle, kind, result, find } = filters;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("vehicle", vehicle), ("type", kind), ("result", result), ("find", find)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if let Some(before) = before {
        query.append_pair("before", &before.to_string());
    }
    let query = query.finish();
    if query.is_empty() { query } else { format!("?{query}") }
}

/// Indented JSON in which no value stands under a name that promises a secret.
fn masked(json: &str) -> String {
    let masked = json.lines().map(|line| {
        let secret = |name: &str| SECRETS.iter().any(|secret| name.to_ascii_lowercase().contains(secret));
        match line.split_once("\": \"") {
            Some((name, value)) if secret(name) => {
                format!("{name}\": \"***\"{}", if value.ends_with(',') { "," } else { "" })
            }
            _ => line.to_owned(),
        }
    });
    masked.collect::<Vec<_>>().join("\n")
}

fn is_verify(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("verify")
}

const SECRETS: [&str; 4] = ["token", "secret", "challenge", "authorization"];
const KINDS: [&str; 3] = ["VEHICLE_STATE", "VEHICLE_ERROR", "VERIFY"];
const RESULTS: [&str; 6] = ["accepted", "unknown_vehicle", NOT_CONNECTED, "unknown_type", "test", "not_understood"];
const NOT_CONNECTED: &str = "not_connected";

/// The type of an event in words; one that we do not know stays as it is.
fn kind(kind: &str) -> String {
    match kind {
        "VEHICLE_STATE" => "Vehicle state",
        "VEHICLE_ERROR" => "Vehicle error",
        "VERIFY" | "verify" => "Verify",
        "" => "Unknown type",
        other => other,
    }
    .to_owned()
}

/// A result's class and words.
fn result(result: &str) -> (&'static str, &'static str) {
    match result {
        "accepted" => ("green", "accepted"),
        "unknown_vehicle" => ("yellow", "unknown car"),
        NOT_CONNECTED => ("grey", "car not connected"),
        "unknown_type" => ("yellow", "unknown type"),
        "test" => ("grey", "test"),
        "not_understood" => ("red", "not understood"),
        _ => ("grey", "other"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else() {
        let shown = |json| masked(&format::indented(json));
        assert_eq!(
            shown(r#"{"data":{"challenge":"abc","n":1},"refreshToken":"x","a":["token"],"name":"a secret"}"#),
            "{\n  \"data\": {\n    \"challenge\": \"***\",\n    \"n\": 1\n  },\n  \"refreshToken\": \"***\",\n  \"a\": [\n    \"token\"\n  ],\n  \"name\": \"a secret\"\n}"
        );
    }

    #[test]
    fn filters_stay_from_part_to_part() {
        assert_eq!(query(&Filters::default(), None), "");
        let filters = Filters { vehicle: Some("a&b".to_owned()), result: Some("test".to_owned()), ..Filters::default() };
        assert_eq!(query(&filters, Some(Seq(7))), "?vehicle=a%26b&result=test&before=7");
    }
}
