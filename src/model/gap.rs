//! Gaps: times in which deliveries may have been lost.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A time in which deliveries may have been lost, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When it began, as far as that is known.
    pub since: Timestamp,
    /// When it ended.
    pub until: Timestamp,
    /// Why.
    pub cause: GapCause,
    /// How many vehicles are read from Smartcar because of it, once each.
    pub vehicles: u32,
}

/// Why deliveries may have been lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// Carport did not run.
    Down,
    /// Proven deliveries were refused, because the store could not take them.
    Refused,
    /// Nothing came in, though it did before.
    Silent,
}
