//! The words that an application may use, and which of them a misspelt one was probably meant to be.

/// Every permission that Smartcar lists (docs: api-reference/permissions), and one that it grants all the same.
pub(super) const PERMISSIONS: &[&str] = &[
    "control_charge",
    "control_climate",
    "control_ignition",
    "control_navigation",
    "control_pin",
    "control_security",
    "control_trunk",
    "read_alerts",
    "read_battery",
    "read_charge",
    "read_charge_events",
    "read_charge_locations",
    "read_charge_records",
    "read_climate",
    "read_compass",
    "read_diagnostics",
    "read_engine_oil",
    "read_extended_vehicle_info",
    "read_fuel",
    "read_location",
    "read_odometer",
    "read_security",
    "read_service_history",
    "read_speedometer",
    "read_thermometer",
    "read_tires",
    "read_user_profile",
    "read_vehicle_info",
    "read_vin",
];

/// What to say after a word that is not among `known`: the one that is meant, or all there are.
pub(super) fn instead(word: &str, known: &[&str]) -> String {
    let word = word.to_lowercase();
    let scored = known.iter().map(|name| (strsim::levenshtein(&word, &name.to_lowercase()), *name));
    match scored.min().filter(|(letters, _)| *letters <= MOST_WRONG) {
        Some((_, name)) => format!("{name}, perhaps?"),
        None => format!("there are {}", known.join(", ")),
    }
}

/// How many letters of a misspelt word may be wrong.
const MOST_WRONG: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_or_all() {
        assert_eq!(instead("read_odometr", PERMISSIONS), "read_odometer, perhaps?");
        assert_eq!(instead("tessla", &["FORD", "TESLA"]), "TESLA, perhaps?");
        assert_eq!(instead("AUDI", &["FORD", "TESLA"]), "there are FORD, TESLA");
    }
}
