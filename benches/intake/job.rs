//! What a measurement tells: numbers by name.

use std::collections::BTreeMap;

/// What came of a measurement.
pub(crate) type Figures = BTreeMap<String, f64>;

pub(crate) fn figures<const N: usize>(named: [(&str, f64); N]) -> Figures {
    named.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect()
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "nothing here counts to 2^52")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}
