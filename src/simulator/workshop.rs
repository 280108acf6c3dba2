//! What a workshop and a car's own checks have to say: service records, the state of its systems, trouble codes.

use std::time::Duration;

use serde_json::{Value, json};

use super::car::Car;
use super::units::{Units, currency, rounded};
use crate::model::Timestamp;

/// One visit to a workshop.
pub(super) struct Service {
    pub(super) at: Timestamp,
    /// Kilometers.
    odometer: f64,
    number: u32,
    currency: &'static str,
}

impl Service {
    /// As the v2.0 API has it.
    pub(super) fn v2(&self, units: Units) -> Value {
        let (id, text) = self.task();
        json!({
            "serviceId": self.number.to_string(),
            "serviceDate": self.at,
            "odometerDistance": rounded(units.distance(self.odometer), 1),
            "serviceTasks": [{ "taskId": id, "taskDescription": text }],
            "serviceDetails": [{ "type": "Service shop", "value": "Simulated garage" }],
            "serviceCost": { "totalCost": self.cost(), "currency": self.currency },
        })
    }

    /// As the signal has it.
    fn signal(&self) -> Value {
        let (id, text) = self.task();
        json!({
            "id": self.number.to_string(),
            "time": self.at,
            "odometer": rounded(self.odometer, 1),
            "cost": { "amount": self.cost(), "currency": self.currency },
            "tasks": [{ "id": id, "description": text }],
            "details": [],
        })
    }

    fn task(&self) -> (&'static str, &'static str) {
        if self.number.is_multiple_of(2) { ("brakes", "Brakes checked") } else { ("inspection", "Regular inspection") }
    }

    fn cost(&self) -> u32 {
        180 + 15 * (self.number % 9)
    }
}

/// All services, the newest first: one every 15 000 km, the last one two months before the simulation began.
pub(super) fn services(car: &Car) -> Vec<Service> {
    let mut list: Vec<Service> = Vec::new();
    let mut odometer = 15_000.0;
    let currency = currency(car.region());
    let service = |odometer, number| Service { at: Timestamp::default(), odometer, number, currency };
    while odometer < car.first_odometer && list.len() < 20 {
        list.push(service(odometer, u32::try_from(list.len()).unwrap_or(0) + 1));
        odometer += 15_000.0;
    }
    if list.is_empty() {
        list.push(service(car.first_odometer, 1));
    }
    list.reverse();
    let newest = Timestamp::from_millis(car.updated.built).before(DAY * 60);
    for (place, service) in (0_u32..).zip(&mut list) {
        service.at = newest.before(DAY * 240 * place);
    }
    list
}

/// The body of `service-records`.
pub(super) fn records(car: &Car) -> Value {
    json!({ "values": services(car).iter().map(Service::signal).collect::<Vec<_>>() })
}

/// One system of the car, by its name in v2.0 and as a signal, and whether it is well.
pub(super) struct System {
    pub(super) id: &'static str,
    pub(super) signal: &'static str,
    pub(super) ok: bool,
}

impl System {
    /// As the v2.0 API has it.
    pub(super) fn v2(&self) -> Value {
        let description = (!self.ok).then_some("Have it checked");
        json!({ "systemId": self.id, "status": self.status(), "description": description })
    }

    /// `OK` or `ALERT`.
    pub(super) fn status(&self) -> &'static str {
        if self.ok { "OK" } else { "ALERT" }
    }

    /// The code of its signal.
    pub(super) fn code(&self) -> String {
        format!("diagnostics-{}", self.signal.to_ascii_lowercase())
    }
}

/// The systems of a car of this kind, those its model does not tell of too.
pub(super) fn systems(car: &Car) -> Vec<System> {
    let soft = car.tires.iter().any(|&tire| tire < 212.0);
    let (electric, engine) = (car.model.battery > 0.0, car.model.tank > 0.0);
    let list = SYSTEMS.iter().filter(|(part, ..)| match part {
        Part::Any => true,
        Part::Electric => electric,
        Part::Engine => engine,
    });
    let ok = |signal: &str| match signal {
        "MIL" => codes(car).is_empty(),
        "TirePressure" | "TirePressureMonitoring" => !soft,
        "OilLife" => car.oil >= 10.0,
        // One car in seven is out of it.
        "WasherFluid" => !car.number().is_multiple_of(7),
        _ => true,
    };
    list.map(|&(_, signal, id)| System { id, signal, ok: ok(signal) }).collect()
}

/// Which cars have a system.
enum Part {
    Any,
    Electric,
    Engine,
}

const SYSTEMS: &[(Part, &str, &str)] = &[
    (Part::Any, "ABS", "SYSTEM_ABS"),
    (Part::Any, "ActiveSafety", "SYSTEM_ACTIVE_SAFETY"),
    (Part::Any, "Airbag", "SYSTEM_AIRBAG"),
    (Part::Any, "BrakeFluid", "SYSTEM_BRAKE_FLUID"),
    (Part::Any, "DriverAssistance", "SYSTEM_DRIVER_ASSISTANCE"),
    (Part::Any, "Lighting", "SYSTEM_LIGHTING"),
    (Part::Any, "MIL", "SYSTEM_MIL"),
    (Part::Any, "Telematics", "SYSTEM_TELEMATICS"),
    (Part::Any, "TirePressure", "SYSTEM_TIRE_PRESSURE"),
    (Part::Any, "TirePressureMonitoring", "SYSTEM_TPMS"),
    (Part::Any, "Transmission", "SYSTEM_TRANSMISSION"),
    (Part::Any, "WasherFluid", "SYSTEM_WASHER_FLUID"),
    (Part::Engine, "Emissions", "SYSTEM_EMISSIONS"),
    (Part::Engine, "OilLife", "SYSTEM_OIL_LIFE"),
    (Part::Engine, "OilPressure", "SYSTEM_OIL_PRESSURE"),
    (Part::Engine, "OilTemperature", "SYSTEM_OIL_TEMPERATURE"),
    (Part::Engine, "WaterInFuel", "SYSTEM_WATER_IN_FUEL"),
    (Part::Electric, "EVBatteryConditioning", "SYSTEM_EV_BATTERY_CONDITIONING"),
    (Part::Electric, "EVCharging", "SYSTEM_EV_CHARGING"),
    (Part::Electric, "EVDriveUnit", "SYSTEM_EV_DRIVE_UNIT"),
    (Part::Electric, "EVHVBattery", "SYSTEM_EV_HV_BATTERY"),
];

/// Active trouble codes with the time they were set: one car in four has one.
pub(super) fn codes(car: &Car) -> Vec<Value> {
    let faulty = car.number().is_multiple_of(4);
    let code = if car.model.tank > 0.0 { "P0171" } else { "P0AA6" };
    let at = Timestamp::from_millis(car.updated.built).before(DAY);
    faulty.then(|| json!({ "code": code, "timestamp": at })).into_iter().collect()
}

const DAY: Duration = Duration::from_secs(24 * 3600);
