//! The one table between signals and endpoints of API v2.0.
//!
//! Every row is data: an endpoint, and the signals that its body holds, each with the [`Shape`] that
//! says which field becomes which signal body, and the other way round. Signals are metric and percent counts to 100, whatever
//! unit system the endpoint answered in; a field that is null or missing gives no signal.

use serde_json::Value;

use super::reading::{Outcome, SignalFailure, SignalReport};
use super::{Json, Timestamp};

mod answer;
mod service;
mod shape;
mod units;

pub use answer::Stored;
pub use shape::{CORNERS, Quantity, Shape};
pub use units::imperial;

/// One endpoint of API v2.0 that reads.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// The path below the vehicle, such as `/battery`.
    pub path: &'static str,
    /// The permission it needs.
    pub permission: &'static str,
    /// The signals in its body.
    pub signals: &'static [Signal],
}

/// One signal in the body of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// Smartcar's code.
    pub code: &'static str,
    /// The group.
    pub group: &'static str,
    /// The name within the group.
    pub name: &'static str,
    /// Where it stands in the body, and how.
    pub shape: Shape,
}

/// What the headers of an answer tell of its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// When the car recorded it (`SC-Data-Age`).
    pub oem_updated_at: Option<Timestamp>,
    /// When Smartcar fetched it (`SC-Fetched-At`).
    pub retrieved_at: Option<Timestamp>,
    /// Whether the body is in miles, gallons and psi (`SC-Unit-System`).
    pub imperial: bool,
}

impl Provenance {
    /// From headers, asked for by their names in lower case; what they do not say is as in `outer`.
    pub fn from_headers(header: impl Fn(&str) -> Option<String>, outer: Provenance) -> Provenance {
        let time = |name| header(name).and_then(|text| super::lenient::time_of(&text));
        Provenance {
            oem_updated_at: time("sc-data-age").or(outer.oem_updated_at),
            retrieved_at: time("sc-fetched-at").or(outer.retrieved_at),
            imperial: header("sc-unit-system").map_or(outer.imperial, |units| units.eq_ignore_ascii_case("imperial")),
        }
    }
}

/// The endpoints, in the order in which they are read.
pub fn endpoints() -> &'static [Endpoint] {
    ENDPOINTS
}

/// The endpoint of a path, with or without slashes around it.
pub fn endpoint(path: &str) -> Option<&'static Endpoint> {
    let path = path.trim_matches('/');
    ENDPOINTS.iter().find(|endpoint| &endpoint.path[1..] == path)
}

/// The permission that a signal needs by itself, if it is known: that of its group, whichever endpoint of v2.0 shows it too.
pub fn permission(code: &str) -> Option<&'static str> {
    let of_group = || GROUPS.iter().find(|(group, _)| code.starts_with(group)).map(|(_, permission)| *permission);
    let shown_by = |endpoint: &&Endpoint| endpoint.signals.iter().any(|signal| signal.code == code);
    of_group().or_else(|| ENDPOINTS.iter().find(shown_by).map(|endpoint| endpoint.permission))
}

/// What opens a group whose signals are not all in the table, by what Smartcar's reference says that each permission is for
/// (api-reference/permissions). Of groups that it does not speak of, the permission is not known.
const GROUPS: &[(&str, &str)] = &[
    ("charge-chargerecords", "read_charge_records"),
    ("charge-", "read_charge"),
    ("climate-", "read_thermometer"),
    ("closure-", "read_security"),
    ("diagnostics-", "read_diagnostics"),
    ("hvac-", "read_climate"),
    ("motion-", "read_speedometer"),
    ("tractionbattery-", "read_battery"),
];

/// The endpoints that these permissions open; all of them if the permissions are not known. Of those that hold the
/// same signals only one.
pub fn open_to(permissions: Option<&[String]>) -> Vec<&'static str> {
    let mut codes: Vec<&str> = Vec::new();
    let mut paths = Vec::new();
    for endpoint in endpoints() {
        let is_open = permissions.is_none_or(|list| list.iter().any(|each| each == endpoint.permission));
        if is_open && endpoint.signals.iter().any(|signal| !codes.contains(&signal.code)) {
            codes.extend(endpoint.signals.iter().map(|signal| signal.code));
            paths.push(endpoint.path);
        }
    }
    paths
}

/// The signals that the body of an endpoint holds. What is null gives no signal.
pub fn reports(path: &str, body: &Value, provenance: Provenance) -> Vec<SignalReport> {
    let report = |signal: &Signal| {
        let body = signal.shape.signal(body, provenance.imperial)?;
        Some(signal.report(Outcome::Value(Json::of(&body)), provenance))
    };
    endpoint(path).map(|endpoint| endpoint.signals.iter().filter_map(report).collect()).unwrap_or_default()
}

/// The failure of an endpoint, for each signal that its body would have held.
pub fn failures(path: &str, failure: &SignalFailure, provenance: Provenance) -> Vec<SignalReport> {
    let report = |signal: &Signal| signal.report(Outcome::Failed(failure.clone()), provenance);
    endpoint(path).map(|endpoint| endpoint.signals.iter().map(report).collect()).unwrap_or_default()
}

impl Signal {
    /// Whether its body and that of another signal of the endpoint cannot both be so: two may tell one field.
    pub fn contradicts(&self, told: &Value, other: &Signal, others: &Value) -> bool {
        self.shape.contradicts(told, other.shape, others)
    }

    fn report(&self, outcome: Outcome, provenance: Provenance) -> SignalReport {
        SignalReport {
            code: self.code.to_owned(),
            group: Some(self.group.to_owned()),
            name: Some(self.name.to_owned()),
            outcome,
            oem_updated_at: provenance.oem_updated_at,
            retrieved_at: provenance.retrieved_at,
        }
    }
}

macro_rules! table {
    ($($path:literal $permission:literal { $($code:literal $group:ident.$name:ident $shape:expr;)* })*) => {
        &[$(Endpoint {
            path: $path,
            permission: $permission,
            signals: &[$(Signal {
                code: $code,
                group: stringify!($group),
                name: stringify!($name),
                shape: $shape,
            }),*],
        }),*]
    };
}

const fn value(field: &'static str, quantity: Quantity) -> Shape {
    Shape::Value { field, quantity }
}

const ENDPOINTS: &[Endpoint] = table! {
    "/odometer" "read_odometer" {
        "odometer-traveleddistance" Odometer.TraveledDistance value("distance", Quantity::Distance);
    }
    "/battery" "read_battery" {
        "tractionbattery-stateofcharge" TractionBattery.StateOfCharge value("percentRemaining", Quantity::Percent);
        "tractionbattery-range" TractionBattery.Range value("range", Quantity::Distance);
    }
    "/battery/capacity" "read_battery" {
        "tractionbattery-nominalcapacity" TractionBattery.NominalCapacity Shape::Capacity;
    }
    "/battery/nominal_capacity" "read_battery" {
        "tractionbattery-nominalcapacity" TractionBattery.NominalCapacity Shape::NominalCapacity;
    }
    "/charge" "read_charge" {
        "charge-ischargingcableconnected" Charge.IsChargingCableConnected value("isPluggedIn", Quantity::Plain);
        "charge-detailedchargingstatus" Charge.DetailedChargingStatus value("state", Quantity::Plain);
        "charge-ischarging" Charge.IsCharging Shape::Equals { field: "state", word: "CHARGING" };
    }
    "/charge/limit" "read_charge" {
        "charge-chargelimits" Charge.ChargeLimits Shape::ChargeLimit;
    }
    "/fuel" "read_fuel" {
        "internalcombustionengine-fuellevel" InternalCombustionEngine.FuelLevel value("percentRemaining", Quantity::Percent);
        "internalcombustionengine-amountremaining" InternalCombustionEngine.AmountRemaining value("amountRemaining", Quantity::Volume);
        "internalcombustionengine-range" InternalCombustionEngine.Range value("range", Quantity::Distance);
    }
    "/engine/oil" "read_engine_oil" {
        "internalcombustionengine-oillife" InternalCombustionEngine.OilLife value("lifeRemaining", Quantity::Percent);
    }
    "/location" "read_location" {
        "location-preciselocation" Location.PreciseLocation Shape::Position;
    }
    "/tires/pressure" "read_tires" {
        "wheel-tires" Wheel.Tires Shape::Tires;
    }
    "/security" "read_security" {
        "closure-islocked" Closure.IsLocked value("isLocked", Quantity::Plain);
        "closure-doors" Closure.Doors Shape::Openings { field: "doors", locks: true };
        "closure-windows" Closure.Windows Shape::Openings { field: "windows", locks: false };
        "closure-sunroof" Closure.Sunroof Shape::Opening { field: "sunroof", kind: None, locks: false };
        "closure-fronttrunk" Closure.FrontTrunk Shape::Opening { field: "storage", kind: Some("front"), locks: true };
        "closure-reartrunk" Closure.RearTrunk Shape::Opening { field: "storage", kind: Some("rear"), locks: true };
        "charge-ischargingportflapopen" Charge.IsChargingPortFlapOpen Shape::Flap { field: "chargingPort" };
    }
    "/vin" "read_vin" {
        "vehicleidentification-vin" VehicleIdentification.VIN value("vin", Quantity::Plain);
    }
    "/diagnostics/system_status" "read_diagnostics" {
        "diagnostics-abs" Diagnostics.ABS Shape::System { id: "SYSTEM_ABS" };
        "diagnostics-activesafety" Diagnostics.ActiveSafety Shape::System { id: "SYSTEM_ACTIVE_SAFETY" };
        "diagnostics-airbag" Diagnostics.Airbag Shape::System { id: "SYSTEM_AIRBAG" };
        "diagnostics-brakefluid" Diagnostics.BrakeFluid Shape::System { id: "SYSTEM_BRAKE_FLUID" };
        "diagnostics-driverassistance" Diagnostics.DriverAssistance Shape::System { id: "SYSTEM_DRIVER_ASSISTANCE" };
        "diagnostics-emissions" Diagnostics.Emissions Shape::System { id: "SYSTEM_EMISSIONS" };
        "diagnostics-evbatteryconditioning" Diagnostics.EVBatteryConditioning Shape::System { id: "SYSTEM_EV_BATTERY_CONDITIONING" };
        "diagnostics-evcharging" Diagnostics.EVCharging Shape::System { id: "SYSTEM_EV_CHARGING" };
        "diagnostics-evdriveunit" Diagnostics.EVDriveUnit Shape::System { id: "SYSTEM_EV_DRIVE_UNIT" };
        "diagnostics-evhvbattery" Diagnostics.EVHVBattery Shape::System { id: "SYSTEM_EV_HV_BATTERY" };
        "diagnostics-lighting" Diagnostics.Lighting Shape::System { id: "SYSTEM_LIGHTING" };
        "diagnostics-mil" Diagnostics.MIL Shape::System { id: "SYSTEM_MIL" };
        "diagnostics-oillife" Diagnostics.OilLife Shape::System { id: "SYSTEM_OIL_LIFE" };
        "diagnostics-oilpressure" Diagnostics.OilPressure Shape::System { id: "SYSTEM_OIL_PRESSURE" };
        "diagnostics-oiltemperature" Diagnostics.OilTemperature Shape::System { id: "SYSTEM_OIL_TEMPERATURE" };
        "diagnostics-telematics" Diagnostics.Telematics Shape::System { id: "SYSTEM_TELEMATICS" };
        "diagnostics-tirepressure" Diagnostics.TirePressure Shape::System { id: "SYSTEM_TIRE_PRESSURE" };
        "diagnostics-tirepressuremonitoring" Diagnostics.TirePressureMonitoring Shape::System { id: "SYSTEM_TPMS" };
        "diagnostics-transmission" Diagnostics.Transmission Shape::System { id: "SYSTEM_TRANSMISSION" };
        "diagnostics-washerfluid" Diagnostics.WasherFluid Shape::System { id: "SYSTEM_WASHER_FLUID" };
        "diagnostics-waterinfuel" Diagnostics.WaterInFuel Shape::System { id: "SYSTEM_WATER_IN_FUEL" };
    }
    "/diagnostics/dtcs" "read_diagnostics" {
        "diagnostics-dtclist" Diagnostics.DTCList Shape::TroubleCodes;
    }
    "/service/history" "read_service_history" {
        "service-records" Service.Records Shape::Records;
    }
};

#[cfg(test)]
mod tests;
