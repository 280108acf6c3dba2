//! Events as Smartcar sends them: about 3.6 kB of compact JSON, a dozen signals, no two alike.

use std::fmt::Write;

use carport::model::{AppUserId, Timestamp, VehicleId};

use crate::chance::Chance;

/// One delivery, and what a light parsing says of it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) vehicle: VehicleId,
    pub(crate) body: Vec<u8>,
    pub(crate) received_at: Timestamp,
}

pub(crate) const KIND: &str = "VEHICLE_STATE";

/// When the first event comes in. Two come a second.
const BEGIN: i64 = 1_759_968_000_000;
const EVERY: i64 = 500;

/// How many cars one owner has.
pub(crate) const CARS: u64 = 10;

/// Where events come from: the same seed gives the same ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Events {
    pub(crate) seed: u64,
    pub(crate) vehicles: u64,
}

impl Events {
    /// The event of this number.
    pub(crate) fn event(self, number: u64) -> Event {
        let mut chance = Chance::new(self.seed.wrapping_mul(0x0100_0000_01b3).wrapping_add(number));
        let id = chance.uuid().to_string();
        let car = chance.below(self.vehicles);
        let at = BEGIN + EVERY * i64::try_from(number).unwrap_or(0);
        let body = body(&mut chance, &id, car, at);
        Event { id, vehicle: vehicle(car), body: body.into_bytes(), received_at: Timestamp::from_millis(at) }
    }
}

/// The id of a car.
pub(crate) fn vehicle(car: u64) -> VehicleId {
    VehicleId::new(Chance::new(!car).uuid().to_string())
}

/// The owner of a car.
pub(crate) fn owner(car: u64) -> AppUserId {
    AppUserId::new(format!("owner-{}", car / CARS))
}

/// Group, name, unit, and the largest value.
const NUMBERS: [(&str, &str, &str, u64); 10] = [
    ("TractionBattery", "StateOfCharge", "percent", 100),
    ("TractionBattery", "Range", "km", 520),
    ("Odometer", "TraveledDistance", "km", 250_000),
    ("Charge", "Wattage", "watts", 22_000),
    ("Charge", "Voltage", "volts", 420),
    ("Charge", "Amperage", "amperes", 64),
    ("Charge", "TimeToComplete", "minutes", 900),
    ("Charge", "EnergyAdded", "kwh", 90),
    ("Climate", "ExternalTemperature", "celsius", 45),
    ("LowVoltageBattery", "StateOfCharge", "percent", 100),
];

const TRUTHS: [(&str, &str); 4] =
    [("Charge", "IsCharging"), ("Charge", "IsChargingCableConnected"), ("Closure", "IsLocked"), ("Location", "IsAtHome")];

const MAKERS: [(&str, &str); 8] = [
    ("VOLKSWAGEN", "ID.4"),
    ("TESLA", "Model 3"),
    ("BMW", "i4"),
    ("KIA", "EV6"),
    ("HYUNDAI", "IONIQ 5"),
    ("FORD", "Mustang Mach-E"),
    ("AUDI", "Q4 e-tron"),
    ("VOLVO", "EX30"),
];

fn body(chance: &mut Chance, id: &str, car: u64, at: i64) -> String {
    let mut of_car = Chance::new(car);
    let (make, model) = of_car.one_of(&MAKERS.each_ref());
    let (user, year, webhook) = (Chance::new(car / CARS).uuid(), 2015 + of_car.below(11), Chance::new(7).uuid());
    let mut signals: Vec<String> = Vec::new();
    let skipped = chance.below(NUMBERS.len() as u64);
    for (group, name, unit, most) in NUMBERS.iter().enumerate().filter(|(place, _)| *place as u64 != skipped).map(|(_, row)| row)
    {
        let (whole, tenths) = (chance.below(*most), chance.below(100));
        signals.push(signal(car, group, name, &format!(r#"{{"value":{whole}.{tenths},"unit":"{unit}"}}"#), at));
    }
    for (group, name) in [chance.one_of(&TRUTHS.each_ref()), &("Closure", "IsOpen")] {
        let value = chance.below(2) == 0;
        signals.push(signal(car, group, name, &format!(r#"{{"value":{value}}}"#), at));
    }
    let place = format!(
        r#"{{"latitude":{}.{},"longitude":{}.{},"heading":{},"locationType":"{}"}}"#,
        35 + chance.below(25),
        chance.below(1_000_000),
        chance.below(20),
        chance.below(1_000_000),
        chance.below(360),
        chance.one_of(&["LAST_PARKED", "CURRENT"]),
    );
    signals.push(signal(car, "Location", "PreciseLocation", &place, at));
    signals.push(failed(chance));
    let count = signals.len();
    let (trigger_group, trigger_name, ..) = chance.one_of(&NUMBERS.each_ref());
    format!(
        concat!(
            r#"{{"eventId":"{id}","eventType":"VEHICLE_STATE","data":{{"user":{{"id":"{user}"}},"#,
            r#""vehicle":{{"id":"{vehicle}","make":"{make}","model":"{model}","year":{year}}},"signals":[{signals}]}},"#,
            r#""triggers":[{{"type":"SIGNAL_UPDATED","signal":{{"name":"{trigger_name}","code":"{code}","group":"{trigger_group}"}}}}],"#,
            r#""meta":{{"version":"4.0","webhookId":"{webhook}","webhookName":"Garage gateway","deliveryId":"{delivery}","#,
            r#""deliveredAt":{at},"mode":"LIVE","signalCount":{count}}}}}"#
        ),
        id = id,
        user = user,
        vehicle = vehicle(car),
        make = make,
        model = model,
        year = year,
        signals = signals.join(","),
        trigger_name = trigger_name,
        code = code(trigger_group, trigger_name),
        trigger_group = trigger_group,
        webhook = webhook,
        delivery = chance.uuid(),
        at = at - 40,
        count = count,
    )
}

/// Each signal of a car is recorded, and fetched, so long before it is told: in order, as a car does.
fn signal(car: u64, group: &str, name: &str, body: &str, at: i64) -> String {
    let mut of_signal = Chance::new(name.bytes().fold(car, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))));
    let fetched = at - 50 - i64::try_from(of_signal.below(2_000)).unwrap_or(0);
    let recorded = fetched - i64::try_from(of_signal.below(120_000)).unwrap_or(0);
    let mut text = head(group, name);
    let _ = write!(
        text,
        r#","body":{body},"status":{{"value":"SUCCESS"}},"meta":{{"oemUpdatedAt":{recorded},"retrievedAt":{fetched}}}}}"#
    );
    text
}

fn failed(chance: &mut Chance) -> String {
    let name = chance.one_of(&["DTCCount", "DTCList", "MILStatus"]);
    let (kind, code) = chance.one_of(&[
        &("COMPATIBILITY", r#""VEHICLE_NOT_CAPABLE""#),
        &("PERMISSION", "null"),
        &("VEHICLE_STATE", r#""ASLEEP""#),
    ]);
    format!(r#"{},"status":{{"value":"ERROR","error":{{"type":"{kind}","code":{code}}}}}}}"#, head("Diagnostics", name))
}

fn head(group: &str, name: &str) -> String {
    format!(r#"{{"code":"{}","name":"{name}","group":"{group}""#, code(group, name))
}

fn code(group: &str, name: &str) -> String {
    format!("{group}-{name}").to_lowercase()
}
