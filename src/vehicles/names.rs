//! What cars are called, for lists that need to know no more.

use std::ops::ControlFlow;

use super::{VehicleView, Vehicles, VehiclesError, each_within};
use crate::model::reach::{PageRequest, Reach};
use crate::model::vehicle::Vehicle;
use crate::model::{AppUserId, VehicleId};

/// What a car is called, and whose it is.
#[derive(Clone, Debug)]
pub struct VehicleName {
    /// Smartcar's id.
    pub id: VehicleId,
    /// The owner's own name for it.
    pub nickname: Option<String>,
    /// What it is called in the car itself.
    pub called: Option<String>,
    /// Such as `VOLKSWAGEN`.
    pub make: Option<String>,
    /// Such as `ID.4`.
    pub model: Option<String>,
    /// The model year.
    pub year: Option<i32>,
    /// The owner.
    pub user: AppUserId,
    /// Whether this is what a former owner had of the car.
    pub former: bool,
    /// Its place in lists of vehicles.
    pub row: u32,
}

impl VehicleName {
    fn of(row: u32, former: bool, vehicle: Vehicle) -> VehicleName {
        let Vehicle { facts, nickname, called, user, .. } = vehicle;
        let (id, make, model, year) = (facts.id, facts.make, facts.model, facts.year);
        VehicleName { id, nickname, called, make, model, year, user, former, row }
    }
}

impl Vehicles {
    /// The names of vehicles within reach, oldest first: at most `limit`.
    pub async fn names(&self, reach: &Reach, limit: usize) -> Result<Vec<VehicleName>, VehiclesError> {
        let reach = reach.clone();
        let found = self.shared.store.read(move |snapshot| {
            let mut names = Vec::new();
            each_within(snapshot, &reach, 0, |row, vehicle| {
                let former = snapshot.is_former(row, &vehicle)?;
                names.push(VehicleName::of(row, former, vehicle));
                Ok(if names.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            Ok(names)
        });
        Ok(found.await?)
    }

    /// The vehicles of such a list that stand together in it.
    pub async fn named(&self, reach: &Reach, names: &[VehicleName]) -> Result<Vec<VehicleView>, VehiclesError> {
        let Some(first) = names.first() else { return Ok(Vec::new()) };
        let page = PageRequest { cursor: Some((first.row.saturating_sub(1)).to_string()), limit: names.len() };
        Ok(self.list(reach, None, None, page).await?.items)
    }
}
