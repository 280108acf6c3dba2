//! What to tick for the webhook, by the names that Smartcar's dashboard has for signals.

use crate::model::catalogue;

/// What is worth having of one kind of car.
pub(super) struct Ticks {
    /// Which kind, as a heading.
    pub(super) of: &'static str,
    /// When Smartcar sends.
    triggers: &'static [&'static str],
    /// What it then sends.
    signals: &'static [&'static str],
}

pub(super) const TICKS: &[Ticks] = &[
    Ticks {
        of: "For an electric car",
        triggers: &[
            "tractionbattery-stateofcharge",
            "charge-ischarging",
            "charge-ischargingcableconnected",
            "odometer-traveleddistance",
            "closure-islocked",
        ],
        signals: &[
            "tractionbattery-stateofcharge",
            "tractionbattery-range",
            "charge-ischarging",
            "charge-detailedchargingstatus",
            "charge-wattage",
            "charge-timetocomplete",
            "charge-chargelimits",
            "charge-ischargingcableconnected",
            "odometer-traveleddistance",
            "closure-islocked",
            "closure-doors",
            "location-preciselocation",
            "wheel-tires",
            "vehicleidentification-vin",
        ],
    },
    Ticks {
        of: "For a combustion car",
        triggers: &["internalcombustionengine-fuellevel", "odometer-traveleddistance", "closure-islocked"],
        signals: &[
            "internalcombustionengine-fuellevel",
            "internalcombustionengine-range",
            "internalcombustionengine-oillife",
            "odometer-traveleddistance",
            "closure-islocked",
            "closure-doors",
            "location-preciselocation",
            "wheel-tires",
            "vehicleidentification-vin",
        ],
    },
];

impl Ticks {
    /// The names of the triggers.
    pub(super) fn triggers(&self) -> Vec<String> {
        self.triggers.iter().copied().filter_map(name).collect()
    }

    /// The names of the signals.
    pub(super) fn signals(&self) -> Vec<String> {
        self.signals.iter().copied().filter_map(name).collect()
    }
}

/// `TractionBattery.StateOfCharge`.
fn name(code: &str) -> Option<String> {
    catalogue::known(code).map(|known| format!("{}.{}", known.group, known.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smartcar_knows_each_by_name() {
        for ticks in TICKS {
            assert_eq!((ticks.triggers().len(), ticks.signals().len()), (ticks.triggers.len(), ticks.signals.len()));
            assert!(ticks.triggers.iter().all(|code| ticks.signals.contains(code)), "what sends is sent");
        }
        assert_eq!(TICKS[0].triggers()[0], "TractionBattery.StateOfCharge");
    }
}
