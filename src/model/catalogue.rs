//! The signals that Smartcar lists: each by its code, with group, name, and what kind of thing it tells.
//!
//! One table, after Smartcar's API reference, "Signals". What is not in it is kept and shown all the same: by its own
//! name, and by the shape of its body. Nothing here is needed to keep a signal, only to understand it.

use serde::Serialize;

use super::wrong_letters;

mod table;

pub use table::CATALOGUE;

/// A signal that Smartcar lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Smartcar's code: group and name in lower case.
    pub code: &'static str,
    /// The group.
    pub group: &'static str,
    /// The name within the group.
    pub name: &'static str,
    /// What it tells.
    pub kind: Kind,
}

/// What kind of thing a signal tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of something.
    Amount(Quantity),
    /// Yes or no, in the words for either.
    State(&'static str, &'static str),
    /// One of a few words of Smartcar's.
    Word,
    /// A text.
    Text,
    /// A system of the car, and whether it is well.
    Health,
    /// Something that opens, and may lock.
    Opening,
    /// Several of them, each with its place.
    Openings,
    /// The pressures of the tires, each with its place.
    Tires,
    /// Up to which level is charged.
    Limit,
    /// What the battery holds.
    Capacity,
    /// A place on earth.
    Location,
    /// Several texts.
    List,
    /// Several records of many fields.
    Records,
}

/// What a number counts, and so in which units it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// From 0 to 100.
    Percent,
    /// Kilometers or miles.
    Distance,
    /// Kilometers or miles per hour.
    Speed,
    /// Kilowatt-hours.
    Energy,
    /// Kilowatts.
    Power,
    /// Amperes.
    Current,
    /// Volts.
    Voltage,
    /// Bar or pounds per square inch.
    Pressure,
    /// Degrees of Celsius or Fahrenheit.
    Temperature,
    /// Liters or gallons of the United States.
    Volume,
    /// Minutes.
    Time,
    /// Pieces.
    Count,
}

impl Kind {
    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Amount(quantity) => quantity.as_str(),
            Kind::State(..) => "state",
            Kind::Word => "word",
            Kind::Text => "text",
            Kind::Health => "health",
            Kind::Opening => "opening",
            Kind::Openings => "openings",
            Kind::Tires => "pressures",
            Kind::Limit => "limit",
            Kind::Capacity => "capacity",
            Kind::Location => "location",
            Kind::List => "list",
            Kind::Records => "records",
        }
    }

    /// What its numbers count, if it tells any.
    pub fn quantity(self) -> Option<Quantity> {
        match self {
            Kind::Amount(quantity) => Some(quantity),
            Kind::Limit => Some(Quantity::Percent),
            Kind::Capacity => Some(Quantity::Energy),
            Kind::Tires => Some(Quantity::Pressure),
            _ => None,
        }
    }
}

impl Quantity {
    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Quantity::Percent => "percent",
            Quantity::Distance => "distance",
            Quantity::Speed => "speed",
            Quantity::Energy => "energy",
            Quantity::Power => "power",
            Quantity::Current => "current",
            Quantity::Voltage => "voltage",
            Quantity::Pressure => "pressure",
            Quantity::Temperature => "temperature",
            Quantity::Volume => "volume",
            Quantity::Time => "time",
            Quantity::Count => "count",
        }
    }
}

/// The signal of a code, if Smartcar lists it.
pub fn known(code: &str) -> Option<&'static Known> {
    CATALOGUE.binary_search_by(|known| known.code.cmp(code)).ok().map(|place| &CATALOGUE[place])
}

/// Up to three codes that what is none was probably meant to be, the nearest first: a misspelt one, a name such as
/// `Odometer.TraveledDistance`, or a part, misspelt or not.
pub fn alike(text: &str) -> Vec<&'static str> {
    let word = text.to_ascii_lowercase().replace(['.', '_', ' '], "-");
    let like = |is_like: &dyn Fn(&str, usize) -> bool| {
        let scored = CATALOGUE.iter().map(|known| (wrong_letters(&word, known.code), known.code));
        let mut found: Vec<_> = scored.filter(|(wrong, code)| is_like(code, *wrong)).collect();
        found.sort_unstable();
        found.into_iter().take(3).map(|(_, code)| code).collect::<Vec<_>>()
    };
    let parts = || word.split('-').filter(|part| part.len() >= LONG_ENOUGH);
    let near = like(&|code, wrong| wrong <= word.len() / 4 || word.len() >= LONG_ENOUGH && code.contains(&word));
    let held = || like(&|code, _| parts().any(|part| code.contains(part)));
    let is_misspelt = |part: &str, own: &str| wrong_letters(part, own) <= part.len() / 4;
    let misspelt = || like(&|code, _| parts().any(|part| code.split('-').any(|own| is_misspelt(part, own))));
    let found = if near.is_empty() { held() } else { near };
    if found.is_empty() { misspelt() } else { found }
}

/// Fewer letters say nothing.
const LONG_ENOUGH: usize = 4;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::wire::code_of;

    /// What the reference lists: group, code and the shape of the body, one signal a line.
    const REFERENCE: &str = include_str!("../../tests/fixtures/catalogue.txt");

    #[test]
    fn every_signal_of_the_reference_is_known_and_no_other() {
        let mut listed = BTreeMap::new();
        for line in REFERENCE.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.splitn(3, ' ');
            let (group, code, shape) = (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
            assert!(listed.insert(code, (group, shape)).is_none(), "{code} stands there twice");
        }
        let codes: Vec<&str> = CATALOGUE.iter().map(|known| known.code).collect();
        assert_eq!(codes, listed.keys().copied().collect::<Vec<_>>(), "in the order of their codes");
        for known in CATALOGUE {
            let (group, shape) = listed[known.code];
            assert_eq!(group, known.group, "{}", known.code);
            assert_eq!(expected(known.kind), shape.split(' ').next().unwrap(), "{}", known.code);
        }
    }

    /// The reference's word for the body of a kind.
    fn expected(kind: Kind) -> &'static str {
        match kind {
            Kind::Amount(Quantity::Percent) => "percent",
            Kind::Amount(Quantity::Distance) => "km",
            Kind::Amount(Quantity::Speed) => "kph",
            Kind::Amount(Quantity::Energy) => "kWh",
            Kind::Amount(Quantity::Power) => "watts",
            Kind::Amount(Quantity::Current) => "ampere",
            Kind::Amount(Quantity::Voltage) => "volts",
            Kind::Amount(Quantity::Pressure) => "kPa",
            Kind::Amount(Quantity::Temperature) => "celsius",
            Kind::Amount(Quantity::Volume) => "liters",
            Kind::Amount(Quantity::Time) => "minutes",
            Kind::Amount(Quantity::Count) => "count",
            Kind::State(..) => "bool",
            Kind::Word => "word",
            Kind::Text => "string",
            Kind::Health => "status",
            Kind::Opening => "opening",
            Kind::Openings => "openings",
            Kind::Tires => "tires",
            Kind::Limit => "limits",
            Kind::Capacity => "capacity",
            Kind::Location => "location",
            Kind::List => "list",
            Kind::Records => "records",
        }
    }

    #[test]
    fn codes_are_group_and_name() {
        for signal in CATALOGUE {
            assert_eq!(code_of(Some(signal.group), Some(signal.name)).as_deref(), Some(signal.code));
            assert_eq!(known(signal.code), Some(signal));
        }
        assert_eq!(known("charge-nothing"), None);
    }

    #[test]
    fn what_is_no_code_has_some_that_are_like_it() {
        for (text, like) in [
            ("odometer-traveledistance", "odometer-traveleddistance"),
            ("Odometer.TraveledDistance", "odometer-traveleddistance"),
            ("odometer", "odometer-traveleddistance"),
            ("tractionbattery-stateofcharg", "tractionbattery-stateofcharge"),
            ("battery-stateofcharge", "tractionbattery-stateofcharge"),
        ] {
            assert_eq!(alike(text).first(), Some(&like), "{text}");
        }
        assert_eq!(alike("charge-level").len(), 3);
        for text in ["", "-", "x", "bogus", &"x".repeat(9000)] {
            assert!(alike(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_endpoints_of_v2_tell_is_in_it() {
        for signal in crate::model::mapping::endpoints().iter().flat_map(|endpoint| endpoint.signals) {
            let known = known(signal.code).unwrap_or_else(|| panic!("{} is not in the catalogue", signal.code));
            assert_eq!((known.group, known.name), (signal.group, signal.name));
        }
    }
}
