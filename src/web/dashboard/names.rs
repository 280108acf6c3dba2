//! What cars are called.

use super::signals::Latest;
use crate::model::VehicleId;
use crate::vehicles::VehicleView;

/// The name that was given to it here, else in the car, else make, model and year.
pub(super) fn name(vehicle: &VehicleView) -> String {
    let own = Latest(&vehicle.signals).text("vehicleidentification-nickname");
    let named = [vehicle.nickname.as_deref(), own.as_deref()].into_iter().flatten().map(str::trim).find(|name| !name.is_empty());
    named.map(str::to_owned).or_else(|| make(vehicle)).unwrap_or_else(|| "A car".to_owned())
}

/// Make, model and year, as far as they are known.
pub(super) fn make(vehicle: &VehicleView) -> Option<String> {
    let make = vehicle.make.as_deref().map(calm);
    let parts: Vec<String> =
        [make, vehicle.model.clone(), vehicle.year.map(|year| year.to_string())].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// The name that the car with this id has now, or a piece of the id.
pub(super) fn of(vehicles: &[VehicleView], id: &VehicleId) -> String {
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
