//! What a car with a traction battery has to say of it: the battery itself, the plug, and what flows.

use serde_json::json;

use super::{Builder, charging_state, measured};
use crate::simulator::units::{currency, rounded};

impl Builder<'_> {
    pub(super) fn battery(&mut self) {
        let (car, when, group, permission) = (self.car, self.car.updated.energy, "TractionBattery", "read_battery");
        self.add(group, "StateOfCharge", permission, when, measured(car.charge, 0, "percent"));
        let mut range = measured(car.electric_range(), 0, "km");
        range["additionalValues"] = json!([]);
        self.add(group, "Range", permission, when, range);
        let capacity = rounded(car.model.battery, 1);
        let choices = json!([{ "capacity": capacity, "description": car.model.name }]);
        let body = json!({ "capacity": capacity, "source": "SMARTCAR", "availableCapacities": choices, "unit": "kWh" });
        self.add(group, "NominalCapacity", permission, car.updated.built, body);
        // A cold battery is warmed for the charger.
        let heated = car.charging() && car.weather() < 8.0;
        self.add(group, "IsHeaterActive", permission, when, json!({ "value": heated }));
        let full = car.number() % 30;
        self.add(group, "MaxRangeChargeCounter", permission, car.updated.built, json!({ "value": full, "unit": "count" }));
    }

    pub(super) fn charging(&mut self) {
        let (car, when, group, permission) = (self.car, self.car.updated.energy, "Charge", "read_charge");
        let (fast, built) = (car.at_fast_charger(), car.updated.built);
        let volts = if fast { 400.0 } else { 230.0 };
        let phases: u8 = if car.model.charger > 7.4 { 3 } else { 1 };
        // Per phase; a fast charger's current is direct.
        let wires = if fast { 1.0 } else { f64::from(phases) };
        let amperes = |power: f64| power * 1000.0 / (volts * wires);
        let most = amperes(if fast { car.session.most(car.model) } else { car.model.charger }).round();
        let flowing = amperes(car.power);
        let asked = flowing.ceil().min(most);
        let color = match charging_state(car) {
            "CHARGING" => "GREEN",
            "FULLY_CHARGED" => "BLUE",
            _ if car.plugged => "WHITE",
            _ => "OFF",
        };
        let connector = if car.plugged { car.session.connector() } else { "NONE" };
        // Kilometers of range in an hour.
        let rate = if car.model.electric_use > 0.0 { car.power / car.model.electric_use * 100.0 } else { 0.0 };
        self.add(group, "IsCharging", permission, when, json!({ "value": car.charging() }));
        self.add(group, "IsChargingCableConnected", permission, when, json!({ "value": car.plugged }));
        self.add(group, "IsChargingCableLatched", permission, when, json!({ "value": car.plugged }));
        self.add(group, "IsChargingPortFlapOpen", permission, when, json!({ "value": car.port_open }));
        self.add(group, "ChargePortStatusColor", permission, when, json!({ "value": color }));
        self.add(group, "ChargingConnectorType", permission, when, json!({ "value": connector }));
        self.add(group, "IsFastChargerPresent", permission, when, json!({ "value": fast }));
        self.add(group, "FastChargerType", permission, when, json!({ "value": if fast { "CCS" } else { "NONE" } }));
        self.add(group, "DetailedChargingStatus", permission, when, json!({ "value": charging_state(car) }));
        let limit = rounded(car.limit, 0);
        let values = json!([{ "type": "GLOBAL", "limit": limit, "condition": null }]);
        let body = json!({ "values": values, "activeLimit": limit, "unit": "percent" });
        self.add(group, "ChargeLimits", permission, when, body);
        self.add(group, "Wattage", permission, when, measured(car.power * 1000.0, 0, "watts"));
        self.add(group, "Voltage", permission, when, measured(if car.charging() { volts } else { 0.0 }, 0, "volts"));
        self.add(group, "Amperage", permission, when, measured(flowing, 1, "ampere"));
        self.add(group, "AmperageMax", permission, when, measured(most, 0, "ampere"));
        self.add(group, "AmperageRequested", permission, when, measured(asked, 0, "ampere"));
        self.add(group, "ChargerPhases", permission, when, json!({ "value": phases }));
        self.add(group, "ChargeRate", permission, when, measured(rate, 0, "km/h"));
        self.add(group, "EnergyAdded", permission, when, measured(car.session.added, 2, "kWh"));
        self.add(group, "ChargeRecords", "read_charge_records", when, car.sessions.records(currency(car.region())));
        self.add(group, "ChargeTimers", permission, built, json!({ "values": car.timers() }));
        self.add(group, "TimeToComplete", permission, when, json!({ "value": rounded(car.minutes_to_limit(), 0) }));
    }
}
