//! The one table between signals and endpoints of API v2.0.

use serde_json::Value;

use super::Timestamp;
use super::reading::SignalReport;

/// One endpoint of API v2.0 that reads.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// The path below the vehicle, such as `/battery`.
    pub path: &'static str,
    /// The permission it needs.
    pub permission: &'static str,
}

/// What the headers of an answer tell of its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// When the car recorded it (`SC-Data-Age`).
    pub oem_updated_at: Option<Timestamp>,
    /// When Smartcar fetched it (`SC-Fetched-At`).
    pub retrieved_at: Option<Timestamp>,
    /// Whether the body is in miles, gallons and psi (`SC-Unit-System`). Signals are metric.
    pub imperial: bool,
}

/// The endpoints, in the order in which they are read.
pub fn endpoints() -> &'static [Endpoint] {
    &[]
}

/// The signals that the body of an endpoint holds. What is null gives no signal.
pub fn reports(path: &str, body: &Value, provenance: Provenance) -> Vec<SignalReport> {
    let _ = (path, body, provenance);
    Vec::new()
}
