//! The makes and models that are simulated, with what each cannot tell.

use super::chance::Chance;

/// What moves a car.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Powertrain {
    Electric,
    PluginHybrid,
    Combustion,
}

impl Powertrain {
    /// Smartcar's word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Powertrain::Electric => "BEV",
            Powertrain::PluginHybrid => "PHEV",
            Powertrain::Combustion => "ICE",
        }
    }
}

/// A model as the manufacturer sells it.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) make: &'static str,
    pub(super) name: &'static str,
    /// First year on sale; a car is up to four years younger.
    pub(super) since: u32,
    pub(super) powertrain: Powertrain,
    /// Usable kWh; zero without a traction battery.
    pub(super) battery: f64,
    /// kWh for 100 km.
    pub(super) electric_use: f64,
    /// kW it takes from a wall box.
    pub(super) charger: f64,
    /// Litres; zero without an engine.
    pub(super) tank: f64,
    /// Litres for 100 km.
    pub(super) fuel_use: f64,
    /// Codes of signals this model does not give.
    pub(super) gaps: &'static [&'static str],
}

impl Model {
    /// A model of `make` by chance; of any make when there is none of that.
    pub(super) fn of_make(make: Option<&str>, chance: &mut Chance) -> &'static Model {
        let fits = |model: &&Model| make.is_none_or(|make| model.make.eq_ignore_ascii_case(make));
        let fitting: Vec<&'static Model> = MODELS.iter().filter(fits).collect();
        if fitting.is_empty() { chance.pick(MODELS) } else { chance.pick::<&Model>(&fitting) }
    }

    /// The model of this name.
    pub(super) fn named(name: &str) -> Option<&'static Model> {
        MODELS.iter().find(|model| model.name == name)
    }

    /// Whether its cars do not give the signal of this code.
    pub(super) fn lacks(&self, code: &str) -> bool {
        let few = FEW.iter().find(|(known, _)| *known == code);
        self.gaps.contains(&code) || few.is_some_and(|(_, makes)| !makes.contains(&self.make))
    }

    pub(super) fn all() -> &'static [Model] {
        MODELS
    }

    /// All makes, in order, each once.
    pub(super) fn makes() -> Vec<&'static str> {
        let mut makes: Vec<&'static str> = MODELS.iter().map(|model| model.make).collect();
        makes.sort_unstable();
        makes.dedup();
        makes
    }
}

const fn electric(
    make: &'static str,
    name: &'static str,
    since: u32,
    battery: f64,
    electric_use: f64,
    gaps: &'static [&'static str],
) -> Model {
    let powertrain = Powertrain::Electric;
    Model { make, name, since, powertrain, battery, electric_use, charger: 11.0, tank: 0.0, fuel_use: 0.0, gaps }
}

const fn hybrid(
    make: &'static str,
    name: &'static str,
    since: u32,
    battery: f64,
    tank: f64,
    gaps: &'static [&'static str],
) -> Model {
    let powertrain = Powertrain::PluginHybrid;
    Model { make, name, since, powertrain, battery, electric_use: 21.0, charger: 3.68, tank, fuel_use: 6.8, gaps }
}

const fn combustion(
    make: &'static str,
    name: &'static str,
    since: u32,
    tank: f64,
    fuel_use: f64,
    gaps: &'static [&'static str],
) -> Model {
    let powertrain = Powertrain::Combustion;
    Model { make, name, since, powertrain, battery: 0.0, electric_use: 0.0, charger: 0.0, tank, fuel_use, gaps }
}

/// What only cars of these makes tell.
const FEW: &[(&str, &[&str])] = &[
    ("charge-amperagerequested", &["TESLA"]),
    ("charge-chargeportstatuscolor", &["TESLA", "VOLKSWAGEN"]),
    ("charge-chargerecords", &["TESLA", "VOLKSWAGEN", "VOLVO"]),
    ("charge-chargerphases", &["TESLA", "VOLKSWAGEN"]),
    ("charge-ischargingportflapopen", &["HYUNDAI", "KIA", "TESLA", "VOLKSWAGEN"]),
    ("closure-fronttrunk", &["HYUNDAI", "TESLA"]),
    ("closure-sunroof", &["BMW", "HYUNDAI", "KIA", "VOLVO"]),
    ("closure-tailgate", &["FORD", "TOYOTA", "VOLVO"]),
    ("connectivitystatus-isdigitalkeypaired", &["BMW", "TESLA"]),
    ("diagnostics-tirepressure", &["BMW", "FORD", "KIA"]),
    ("diagnostics-waterinfuel", &["FORD"]),
    ("hvac-issteeringheateractive", &["HYUNDAI", "KIA", "TESLA"]),
    ("surveillance-brand", &["TESLA"]),
    ("surveillance-isenabled", &["TESLA"]),
    ("tractionbattery-isheateractive", &["HYUNDAI", "TESLA"]),
    ("tractionbattery-maxrangechargecounter", &["TESLA"]),
    ("transmission-drivemode", &["BMW", "VOLVO"]),
    ("vehicleidentification-packages", &["BMW", "FORD"]),
    ("vehicleuseraccount-permissions", &["BMW", "TESLA"]),
    ("vehicleuseraccount-role", &["BMW", "TESLA"]),
    ("wheel-style", &["TESLA"]),
];

/// What a Leaf does not tell.
const LEAF: &[&str] = &[
    "location-preciselocation",
    "wheel-tires",
    "charge-chargelimits",
    "service-records",
    "diagnostics-mil",
    "diagnostics-dtclist",
];

static MODELS: &[Model] = &[
    electric("HYUNDAI", "IONIQ 5", 2021, 72.6, 17.9, &["wheel-tires"]),
    electric("NISSAN", "Leaf", 2020, 39.0, 16.4, LEAF),
    electric("TESLA", "Model 3", 2020, 75.0, 14.9, &["closure-windows", "service-records", "diagnostics-mil"]),
    electric("VOLKSWAGEN", "ID.4", 2021, 77.0, 18.2, &["vehicleidentification-nickname"]),
    hybrid("KIA", "Niro", 2019, 11.1, 42.0, &["location-preciselocation", "service-records"]),
    hybrid("TOYOTA", "RAV4", 2021, 18.1, 55.0, &["charge-wattage", "charge-chargelimits"]),
    hybrid("VOLVO", "XC60", 2020, 18.8, 71.0, &["internalcombustionengine-oillife"]),
    combustion("BMW", "118i", 2020, 50.0, 6.1, &["internalcombustionengine-oillife", "diagnostics-dtclist"]),
    combustion("FORD", "F-150", 2019, 98.0, 11.8, &[]),
    combustion("VOLKSWAGEN", "Golf", 2019, 50.0, 5.6, &["wheel-tires", "service-records"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::car::Car;
    use crate::simulator::signals::signals;

    #[test]
    fn every_powertrain_is_on_sale_and_gaps_are_real_codes() {
        for word in ["BEV", "PHEV", "ICE"] {
            assert!(MODELS.iter().any(|model| model.powertrain.word() == word));
        }
        assert_eq!(Model::makes().len(), 9);
        let car = |model| Car::new(model, Chance::of(0, ""), 0);
        let codes: Vec<String> = MODELS.iter().flat_map(|model| signals(&car(model))).map(|signal| signal.code).collect();
        for gap in MODELS.iter().flat_map(|model| model.gaps).chain(FEW.iter().map(|(code, _)| code)) {
            assert!(codes.iter().any(|code| code == gap), "{gap}");
        }
        assert!(FEW.iter().flat_map(|(_, makes)| *makes).all(|make| Model::makes().contains(make)));
        assert_eq!(Model::of_make(Some("tesla"), &mut Chance::of(0, "")).name, "Model 3");
    }
}
