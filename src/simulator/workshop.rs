//! What a workshop and a car's own checks have to say: service records, the state of its systems, trouble codes.

use std::time::Duration;

use serde_json::{Value, json};

use super::car::Car;
use super::units::{Units, rounded};
use crate::model::Timestamp;

/// One visit to a workshop.
pub(super) struct Service {
    pub(super) at: Timestamp,
    /// Kilometers.
    odometer: f64,
    number: u32,
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
            "serviceCost": { "totalCost": self.cost(), "currency": "EUR" },
        })
    }

    /// As the signal has it.
    fn signal(&self) -> Value {
        let (id, text) = self.task();
        json!({
            "id": self.number.to_string(),
            "time": self.at,
            "odometer": rounded(self.odometer, 1),
            "cost": { "amount": self.cost(), "currency": "EUR" },
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
    while odometer < car.first_odometer && list.len() < 20 {
        list.push(Service { at: Timestamp::default(), odometer, number: u32::try_from(list.len()).unwrap_or(0) + 1 });
        odometer += 15_000.0;
    }
    if list.is_empty() {
        list.push(Service { at: Timestamp::default(), odometer: car.first_odometer, number: 1 });
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
}

pub(super) fn systems(car: &Car) -> Vec<System> {
    let soft = car.tires.iter().any(|&tire| tire < 212.0);
    let mut list = vec![
        System { id: "SYSTEM_AIRBAG", signal: "Airbag", ok: true },
        System { id: "SYSTEM_MIL", signal: "MIL", ok: codes(car).is_empty() },
        System { id: "SYSTEM_TPMS", signal: "TirePressureMonitoring", ok: !soft },
    ];
    if car.model.tank > 0.0 {
        list.push(System { id: "SYSTEM_OIL_LIFE", signal: "OilLife", ok: car.oil >= 10.0 });
    }
    if car.model.battery > 0.0 {
        list.push(System { id: "SYSTEM_EV_HV_BATTERY", signal: "EVHVBattery", ok: true });
    }
    list
}

/// Active trouble codes with the time they were set: one car in four has one.
pub(super) fn codes(car: &Car) -> Vec<Value> {
    let faulty = car.number().is_multiple_of(4);
    let code = if car.model.tank > 0.0 { "P0171" } else { "P0AA6" };
    let at = Timestamp::from_millis(car.updated.built).before(DAY);
    faulty.then(|| json!({ "code": code, "timestamp": at })).into_iter().collect()
}

const DAY: Duration = Duration::from_secs(24 * 3600);
