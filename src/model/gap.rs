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
    /// Deliveries were refused: the store could not take them, or the management token that proves them was a wrong one.
    Refused,
    /// Nothing came in, though it did before.
    Silent,
}

/// Signed deliveries that some tokens did not prove, and none since that could be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unproven {
    /// When the first came in.
    pub since: Timestamp,
    /// A fingerprint of those management tokens.
    pub tokens: [u8; 32],
}
