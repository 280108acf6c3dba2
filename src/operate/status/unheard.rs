//! Cars of which no delivery has come in: how many, which is the first, and when that was read.

use crate::model::reading::Source;
use crate::model::vehicle::Vehicle;
use crate::model::{Timestamp, VehicleId, in_words};
use crate::store::StoreError;
use crate::store::tellings::Latest;

#[derive(Default)]
pub(super) struct Unheard {
    /// How many.
    pub(super) cars: usize,
    /// The first of them.
    pub(super) first: Option<VehicleId>,
    /// When Carport read it last.
    read_at: Option<Timestamp>,
}

impl Unheard {
    /// One more. What is known of it is asked of the first one only.
    pub(super) fn add(
        &mut self,
        vehicle: &Vehicle,
        latest: impl FnOnce() -> Result<Vec<Latest>, StoreError>,
    ) -> Result<(), StoreError> {
        self.cars += 1;
        if self.first.is_none() {
            self.first = Some(vehicle.facts.id.clone());
            let latest = latest()?;
            let is_read = |latest: &&Latest| latest.reading.as_ref().is_some_and(|reading| reading.source == Source::Read);
            self.read_at = latest.iter().filter(is_read).filter_map(|latest| latest.reading_told_at.or(latest.told_at)).max();
        }
        Ok(())
    }

    /// That no delivery has come in, as the beginning of a sentence.
    pub(super) fn in_words(&self, now: Timestamp) -> String {
        let read = |whom: &str| self.read_at.map(|at| format!(" (Carport read {whom} {} ago)", in_words(now.since(at))));
        match self.cars {
            1 => format!("no delivery has come in of a car yet{}", read("it").unwrap_or_default()),
            cars => format!("no delivery has come in of {cars} cars yet{}", read("the first of them").unwrap_or_default()),
        }
    }
}
