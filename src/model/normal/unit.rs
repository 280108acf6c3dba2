//! Units by the names under which they come, and as they are shown.

use super::Units;
use crate::model::catalogue::Quantity;

const KILOMETERS: f64 = 1.609_344;
const BAR: f64 = 0.068_947_572_931_683_6;
const LITERS: f64 = 3.785_411_784;

/// What a number of a unit counts, and how many of our own units it is; `None` if the unit is not known.
/// Ours are km, km/h, kWh, kW, A, V, bar, degrees of Celsius, liters and minutes.
pub(super) fn read(unit: &str, value: f64) -> Option<(Quantity, f64)> {
    use Quantity::{Count, Current, Distance, Energy, Percent, Power, Pressure, Speed, Temperature, Time, Voltage, Volume};
    Some(match unit.to_ascii_lowercase().as_str() {
        "percent" | "%" => (Percent, value),
        "km" | "kilometer" | "kilometers" | "kilometre" | "kilometres" => (Distance, value),
        "mi" | "mile" | "miles" => (Distance, value * KILOMETERS),
        "kph" | "km/h" | "kmh" => (Speed, value),
        "mph" | "mi/h" => (Speed, value * KILOMETERS),
        "kwh" | "kilowatt_hours" | "kilowatthours" => (Energy, value),
        "wh" => (Energy, value / 1000.0),
        "kw" | "kilowatt" | "kilowatts" => (Power, value),
        "w" | "watt" | "watts" => (Power, value / 1000.0),
        "a" | "amp" | "amps" | "ampere" | "amperes" => (Current, value),
        "v" | "volt" | "volts" => (Voltage, value),
        "bar" | "bars" => (Pressure, value),
        "kpa" | "kilopascal" | "kilopascals" => (Pressure, value / 100.0),
        "psi" => (Pressure, value * BAR),
        "c" | "celsius" => (Temperature, value),
        "f" | "fahrenheit" => (Temperature, (value - 32.0) / 1.8),
        "l" | "liter" | "liters" | "litre" | "litres" => (Volume, value),
        "gal" | "gallon" | "gallons" => (Volume, value * LITERS),
        "min" | "minute" | "minutes" => (Time, value),
        "s" | "second" | "seconds" => (Time, value / 60.0),
        "h" | "hour" | "hours" => (Time, value * 60.0),
        "count" => (Count, value),
        _ => return None,
    })
}

/// How many of our own units a number is that came without any: Smartcar's are watts and kPa.
pub(super) fn usual(quantity: Quantity, value: f64) -> f64 {
    match quantity {
        Quantity::Power => value / 1000.0,
        Quantity::Pressure => value / 100.0,
        _ => value,
    }
}

/// A number of our own units as people have it, with the unit.
pub(super) fn shown(quantity: Quantity, value: f64, units: Units) -> (f64, &'static str) {
    let is_imperial = units == Units::Imperial;
    match quantity {
        Quantity::Distance if is_imperial => (value / KILOMETERS, "mi"),
        Quantity::Speed if is_imperial => (value / KILOMETERS, "mph"),
        Quantity::Pressure if is_imperial => (value / BAR, "psi"),
        Quantity::Temperature if is_imperial => (value * 1.8 + 32.0, "\u{b0}F"),
        Quantity::Volume if is_imperial => (value / LITERS, "gal"),
        Quantity::Percent => (value, "%"),
        Quantity::Distance => (value, "km"),
        Quantity::Speed => (value, "km/h"),
        Quantity::Energy => (value, "kWh"),
        Quantity::Power => (value, "kW"),
        Quantity::Current => (value, "A"),
        Quantity::Voltage => (value, "V"),
        Quantity::Pressure => (value, "bar"),
        Quantity::Temperature => (value, "\u{b0}C"),
        Quantity::Volume => (value, "l"),
        Quantity::Time => (value, "min"),
        Quantity::Count => (value, ""),
    }
}
