//! From format 2, which kept the latest of each signal in a row of its own.

use std::collections::BTreeMap;

use super::super::roll::VEHICLE_LATEST_1;
use super::super::tables::{ALL, Record, Typed};
use super::super::tellings::{Latest, Latests};
use super::super::{StoreError, Tables};

/// The row of a signal, as it was.
#[derive(serde::Serialize, serde::Deserialize)]
struct OldLatest(Latest);

impl Record for OldLatest {
    const TABLE: &'static str = VEHICLE_LATEST_1;
}

/// Brings all together that is told of a vehicle.
pub(super) fn bring_up(tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let mut vehicles: BTreeMap<u32, Latests> = BTreeMap::new();
    for (key, OldLatest(latest)) in tables.list(ALL, false, usize::MAX)? {
        if let Some((vehicle, signal)) = rows(&key) {
            vehicles.entry(vehicle).or_default().signals.insert(signal, latest);
        }
    }
    for key in tables.keys(VEHICLE_LATEST_1, ALL, usize::MAX)? {
        tables.remove_raw(VEHICLE_LATEST_1, &key)?;
    }
    vehicles.iter().try_for_each(|(vehicle, latests)| tables.put(*vehicle, latests))
}

fn rows(key: &[u8]) -> Option<(u32, u32)> {
    let (vehicle, signal) = key.split_first_chunk()?;
    Some((u32::from_be_bytes(*vehicle), u32::from_be_bytes(signal.try_into().ok()?)))
}
