//! Events of v2.0: answers of endpoints by schedule, and charging that began or ended.

use serde::Deserialize;
use serde_json::json;

use super::{Projection, VehicleProjection, distinct, facts};
use crate::model::event::{EventKind, NotUnderstood, envelope};
use crate::model::mapping::Provenance;
use crate::model::reading::{Outcome, SignalReport};
use crate::model::wire::{Part, VehicleWire, code_of};
use crate::model::{Json, SmartcarUserId, Timestamp, VehicleId, lenient};

pub(super) fn project(kind: &EventKind, body: &[u8]) -> Result<Projection, NotUnderstood> {
    let Envelope { payload } = envelope(body)?;
    Ok(match kind {
        EventKind::Scheduled => Projection {
            vehicles: payload.scheduled().into_iter().filter_map(Scheduled::vehicle).collect(),
            ..Projection::default()
        },
        EventKind::ChargeEvent => payload.charge(),
        _ => Projection::default(),
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    #[serde(deserialize_with = "lenient::object")]
    payload: Payload,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Payload {
    #[serde(deserialize_with = "lenient::list")]
    vehicles: Vec<Scheduled>,
    #[serde(deserialize_with = "lenient::text")]
    vehicle_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    user_id: Option<String>,
    #[serde(deserialize_with = "lenient::list")]
    data: Vec<Part>,
    #[serde(deserialize_with = "lenient::text")]
    event_type: Option<String>,
    #[serde(deserialize_with = "lenient::time")]
    event_time: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Scheduled {
    #[serde(deserialize_with = "lenient::text")]
    vehicle_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    user_id: Option<String>,
    #[serde(deserialize_with = "lenient::list")]
    data: Vec<Part>,
}

impl Payload {
    /// The vehicles; a single one may stand in the payload itself.
    fn scheduled(self) -> Vec<Scheduled> {
        let mut vehicles = self.vehicles;
        if self.vehicle_id.is_some() && !self.data.is_empty() {
            vehicles.push(Scheduled { vehicle_id: self.vehicle_id, user_id: self.user_id, data: self.data });
        }
        vehicles
    }

    fn charge(self) -> Projection {
        let (charging, status) = match self.event_type.as_deref() {
            Some("CHARGING_STARTED") => (true, "CHARGING"),
            Some("CHARGING_STOPPED") => (false, "NOT_CHARGING"),
            Some("CHARGING_COMPLETED") => (false, "FULLY_CHARGED"),
            _ => return Projection::default(),
        };
        let Some(id) = self.vehicle_id.map(VehicleId::new) else { return Projection::default() };
        let report = |name: &str, value| SignalReport {
            code: code_of(Some("Charge"), Some(name)).unwrap_or_default(),
            group: Some("Charge".to_owned()),
            name: Some(name.to_owned()),
            outcome: Outcome::Value(Json::of(&json!({ "value": value }))),
            oem_updated_at: self.event_time,
            retrieved_at: None,
        };
        let reports = vec![report("IsCharging", json!(charging)), report("DetailedChargingStatus", json!(status))];
        Projection {
            triggers: distinct(reports.iter().map(|report| report.code.clone())),
            vehicles: vec![VehicleProjection {
                facts: facts(VehicleWire::default(), id.clone(), &reports),
                id,
                user: self.user_id.map(SmartcarUserId::new),
                reports,
                errors: Vec::new(),
            }],
            ..Projection::default()
        }
    }
}

impl Scheduled {
    fn vehicle(self) -> Option<VehicleProjection> {
        let id = VehicleId::new(self.vehicle_id?);
        let reports: Vec<SignalReport> = self.data.iter().flat_map(|part| part.reports(Provenance::default())).collect();
        // The path `/` means the attributes of the vehicle.
        let attributes = self.data.iter().find(|part| part.path.as_deref() == Some("/"));
        let wire = attributes.and_then(Part::body).map(|body| body.to_string());
        let wire = wire.and_then(|text| lenient::document(text.as_bytes())).unwrap_or_default();
        Some(VehicleProjection {
            facts: facts(wire, id.clone(), &reports),
            id,
            user: self.user_id.map(SmartcarUserId::new),
            reports,
            errors: Vec::new(),
        })
    }
}
