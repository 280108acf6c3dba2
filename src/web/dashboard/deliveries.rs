//! The webhook log and one entry of it.

use askama::Template;

use super::format::{self, When};
use super::{DeliveryPage, Shell, WebhooksPage, finish, names};
use crate::model::gap::GapCause;
use crate::model::{Seq, Timestamp};
use crate::operate::deliveries::DeliveryView;
use crate::operate::status::WebhookStatus;
use crate::vehicles::VehicleView;
use crate::web::answer::path_part;

#[derive(Template)]
#[template(path = "webhooks.html")]
struct View<'a> {
    shell: Shell<'a>,
    rows: Vec<Row>,
    older: Option<Seq>,
    later_part: bool,
    status: &'a WebhookStatus,
    gaps: Vec<GapRow>,
    to_read: Option<String>,
    refused: Vec<RefusedRow>,
    webhook_url: &'a str,
    verified: Option<When>,
    delivered: Option<When>,
    kept: String,
    kept_size: String,
    behind: Option<String>,
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct OneView<'a> {
    shell: Shell<'a>,
    delivery: &'a DeliveryView,
    vehicle: Option<(String, String)>,
    payload: Option<String>,
    result: (&'static str, &'static str),
    received: When,
    date: String,
    size: String,
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
pub(super) fn rows(deliveries: &[DeliveryView], vehicles: &[VehicleView], now: Timestamp) -> Vec<Row> {
    let rows = deliveries.iter().map(|delivery| Row {
        seq: delivery.seq,
        kind: kind(&delivery.kind),
        vehicle: delivery.vehicle.as_ref().map(|id| names::of(vehicles, id)),
        when: When::ago(now, delivery.received_at),
        result: result(delivery.result),
    });
    rows.collect()
}

impl WebhooksPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let (status, now) = (self.status, self.shell.now);
        let refused = self.refused.iter().map(|refusal| RefusedRow {
            when: When::ago(now, refusal.at),
            reason: refusal.reason,
            code: refusal.code,
            size: bytes(refusal.bytes),
        });
        let gaps = status.gaps.iter().rev().map(|gap| GapRow {
            since: When::ago(now, gap.since),
            lasted: format::duration(gap.until.since(gap.since)),
            cause: match gap.cause {
                GapCause::Down => "Carport did not run",
                GapCause::Refused => "the store could not take deliveries",
                GapCause::Silent => "Smartcar delivered nothing",
            },
            vehicles: gap.vehicles,
        });
        finish(&View {
            shell: self.shell,
            rows: rows(self.deliveries, self.vehicles, now),
            older: self.older,
            later_part: self.later_part,
            status,
            gaps: gaps.collect(),
            to_read: (status.to_read > 0).then(|| format::count(status.to_read as u64)),
            refused: refused.collect(),
            webhook_url: self.webhook_url,
            verified: status.last_verify.as_ref().map(|verify| When::ago(now, verify.at)),
            delivered: status.last_delivery_at.map(|at| When::ago(now, at)),
            kept: format::count(status.entries),
            kept_size: format::size(status.bytes),
            behind: (status.projector_lag > 0).then(|| format::count(status.projector_lag)),
        })
    }
}

impl DeliveryPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let delivery = self.delivery;
        let known = self.vehicle.map(|vehicle| (names::name(vehicle), vehicle.id.as_str()));
        let vehicle = known.or_else(|| delivery.vehicle.as_ref().map(|id| (names::short(id.as_str()), "")));
        finish(&OneView {
            shell: self.shell,
            delivery,
            vehicle: vehicle.map(|(name, id)| (name, path_part(id))),
            payload: delivery.payload.as_ref().map(|payload| format::indented(payload.as_str())),
            result: result(delivery.result),
            received: When::ago(self.shell.now, delivery.received_at),
            date: format::date(delivery.received_at),
            size: bytes(delivery.bytes),
        })
    }
}

fn bytes(length: usize) -> String {
    format::size(u64::try_from(length).unwrap_or(u64::MAX))
}

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
        "unknown_type" => ("yellow", "unknown type"),
        "test" => ("grey", "test"),
        "not_understood" => ("red", "not understood"),
        _ => ("grey", "other"),
    }
}
