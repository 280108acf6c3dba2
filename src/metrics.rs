//! Counters and histograms, written as Prometheus text 0.0.4.
//!
//! One struct, made once and handed around; nothing is global. Names are the contract's.

use std::time::Duration;

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics {}

impl Metrics {
    /// A token refresh ended.
    pub fn refreshed(&self, generation: crate::model::token::Generation, ok: bool) {
        let _ = (generation, ok);
    }

    /// A batch of changes became durable.
    pub fn committed(&self, changes: usize, took: Duration) {
        let _ = (changes, took);
    }
}
