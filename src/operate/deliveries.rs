//! The webhook log, for people.

use std::sync::Arc;

use serde::Serialize;

use crate::ingest::Refusal;
use crate::model::reach::{Page, Reach};
use crate::model::{Json, Seq, Timestamp, VehicleId};

/// An entry of the log, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct DeliveryView {
    /// Its place.
    pub seq: Seq,
    /// When it came in.
    pub received_at: Timestamp,
    /// The event's type, as Smartcar says it.
    #[serde(rename = "type")]
    pub kind: String,
    /// `accepted`, `unknown_vehicle`, `unknown_type`, `test` or `not_understood`.
    pub result: &'static str,
    /// Smartcar's id of the vehicle.
    pub vehicle: Option<VehicleId>,
    /// Smartcar's id of the event.
    pub event_id: Option<String>,
    /// Smartcar's id of the delivery.
    pub delivery_id: Option<String>,
    /// Length of the body in bytes.
    pub bytes: usize,
    /// The payload as received (text if it is not JSON): only in the view of one entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Json>,
}

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveriesError {
    /// There is no such entry, or it is out of the caller's reach.
    #[error("there is no such entry, or the ring has dropped it")]
    NotFound,
    /// The store is in trouble.
    #[error("the store cannot take it now")]
    Store,
}

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct DeliveryQuery {
    /// Only about this vehicle.
    pub vehicle: Option<VehicleId>,
    /// Only of this type.
    pub kind: Option<String>,
    /// Only with this result.
    pub result: Option<String>,
    /// Only before this place.
    pub before: Option<Seq>,
    /// At most so many.
    pub limit: usize,
}

/// The webhook log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Deliveries {
    shared: Arc<()>,
}

impl Deliveries {
    /// Entries within reach, newest first; `next` is the `before` of the next part.
    pub async fn list(&self, reach: &Reach, query: DeliveryQuery) -> Result<Page<DeliveryView>, DeliveriesError> {
        let _ = (&self.shared, reach, query);
        todo!()
    }

    /// One entry, with its payload.
    pub async fn show(&self, reach: &Reach, seq: Seq) -> Result<DeliveryView, DeliveriesError> {
        let _ = (reach, seq);
        todo!()
    }

    /// Turns an entry into vehicle data again.
    pub async fn replay(&self, seq: Seq) -> Result<DeliveryView, DeliveriesError> {
        let _ = seq;
        todo!()
    }

    /// The last 100 refused deliveries, newest first.
    pub fn refused(&self) -> Vec<Refusal> {
        todo!()
    }

    /// Wakes when the log has grown; the value is the newest place.
    pub fn grew(&self) -> tokio::sync::watch::Receiver<Seq> {
        todo!()
    }
}
