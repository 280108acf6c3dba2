use serde::Deserialize;

use crate::model::vehicle::VehicleFacts;
use crate::model::{VehicleId, lenient};

/// A vehicle: flat in webhooks and in API v2.0, in `attributes` in API v3.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VehicleWire {
    /// The id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    make: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    model: Option<String>,
    #[serde(deserialize_with = "lenient::integer")]
    year: Option<i64>,
    #[serde(deserialize_with = "lenient::text")]
    vin: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    mode: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    powertrain_type: Option<String>,
    #[serde(deserialize_with = "lenient::map")]
    attributes: Option<Box<VehicleWire>>,
}

impl VehicleWire {
    /// Whether it tells nothing but perhaps the id.
    pub fn is_empty(&self) -> bool {
        self.clone().facts(VehicleId::new("")) == VehicleFacts::unknown(VehicleId::new(""))
    }

    /// What it tells of the vehicle `id`.
    pub fn facts(self, id: VehicleId) -> VehicleFacts {
        let inner = self.attributes.map(|inner| *inner).unwrap_or_default();
        let mode = inner.mode.or(self.mode);
        VehicleFacts {
            make: inner.make.or(self.make),
            model: inner.model.or(self.model),
            year: inner.year.or(self.year).and_then(|year| i32::try_from(year).ok()),
            vin: inner.vin.or(self.vin),
            mode: mode.map(|mode| mode.to_ascii_lowercase()),
            powertrain: inner.powertrain_type.or(self.powertrain_type),
            ..VehicleFacts::unknown(id)
        }
    }
}
