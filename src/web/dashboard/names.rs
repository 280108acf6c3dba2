//! What cars are called.

use crate::model::VehicleId;
use crate::vehicles::{VehicleName, VehicleView};

/// Something that has the names of a car.
pub(super) trait Named {
    /// The name that was given to it here, and the one that it has in the car itself.
    fn given(&self) -> [Option<&str>; 2];
    /// Make, model and year.
    fn built(&self) -> (Option<&str>, Option<&str>, Option<i32>);
}

impl Named for VehicleView {
    fn given(&self) -> [Option<&str>; 2] {
        [self.nickname.as_deref(), self.called.as_deref()]
    }

    fn built(&self) -> (Option<&str>, Option<&str>, Option<i32>) {
        (self.make.as_deref(), self.model.as_deref(), self.year)
    }
}

impl Named for VehicleName {
    fn given(&self) -> [Option<&str>; 2] {
        [self.nickname.as_deref(), self.called.as_deref()]
    }

    fn built(&self) -> (Option<&str>, Option<&str>, Option<i32>) {
        (self.make.as_deref(), self.model.as_deref(), self.year)
    }
}

/// The name that was given to it here, else in the car, else make, model and year.
pub(super) fn name(vehicle: &impl Named) -> String {
    let named = vehicle.given().into_iter().flatten().map(str::trim).find(|name| !name.is_empty());
    named.map(str::to_owned).or_else(|| make(vehicle)).unwrap_or_else(|| "A car".to_owned())
}

/// Make, model and year, as far as they are known.
pub(super) fn make(vehicle: &impl Named) -> Option<String> {
    let (make, model, year) = vehicle.built();
    let parts = [make.map(calm), model.map(str::to_owned), year.map(|year| year.to_string())];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// The name that the car with this id has now, or a piece of the id.
pub(super) fn of(vehicles: &[VehicleName], id: &VehicleId) -> String {
    vehicles.iter().find(|vehicle| vehicle.id == *id && !vehicle.former).map_or_else(|| short(id.as_str()), name)
}

/// The beginning of a long id.
pub(super) fn short(id: &str) -> String {
    let beginning: String = id.chars().take(8).collect();
    if beginning.len() < id.len() { format!("{beginning}\u{2026}") } else { beginning }
}

/// `VOLKSWAGEN` as `Volkswagen`; `BMW` stays.
fn calm(make: &str) -> String {
    let mut letters = make.chars();
    match letters.next() {
        Some(first) if make.len() > 3 && make.chars().all(|letter| letter.is_ascii_uppercase()) => {
            format!("{first}{}", letters.as_str().to_ascii_lowercase())
        }
        _ => make.to_owned(),
    }
}
