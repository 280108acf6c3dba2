//! A car that drives, parks, charges and locks. Its life is a function of its seed, stepped one minute of
//! car time at a time, so it does not matter who looks at it, or when.

use std::time::Duration;

use serde_json::{Value, json};

use super::chance::Chance;
use super::model::{Model, Powertrain};
use super::session::{Session, Sessions};
use super::trouble::Trouble;
use crate::model::Timestamp;

mod charging;

/// Car time that passes in one step, in seconds.
pub(super) const STEP_SECONDS: u64 = 60;

/// One simulated car. Percent values are 0 to 100.
#[expect(clippy::struct_excessive_bools, reason = "each is a plain fact about a car")]
#[derive(Clone, Debug)]
pub(super) struct Car {
    pub(super) vehicle_id: String,
    pub(super) vin: String,
    pub(super) nickname: String,
    pub(super) year: u32,
    pub(super) model: &'static Model,
    pub(super) odometer: f64,
    /// When the simulation began.
    pub(super) first_odometer: f64,
    pub(super) charge: f64,
    pub(super) limit: f64,
    pub(super) plugged: bool,
    /// The flap of the charging port; while plugged, always.
    pub(super) port_open: bool,
    /// kW flowing into the battery now.
    pub(super) power: f64,
    /// At the plug it is at, or was at last.
    pub(super) session: Session,
    pub(super) sessions: Sessions,
    pub(super) fuel: f64,
    pub(super) oil: f64,
    pub(super) latitude: f64,
    pub(super) longitude: f64,
    pub(super) heading: f64,
    pub(super) speed: f64,
    pub(super) locked: bool,
    pub(super) window_open: bool,
    /// kPa: front left, front right, back left, back right.
    pub(super) tires: [f64; 4],
    pub(super) updated: Updated,
    /// What is wrong between Smartcar and the car.
    pub(super) trouble: Option<Trouble>,
    /// As Smartcar last fetched it by itself, and when: what its store has of a car that no webhook is fed with, and of one in
    /// trouble. None: it fetches all the time.
    fetched: Option<Box<(Timestamp, Car)>>,
    /// When it may charge, by place.
    pub(super) schedules: Vec<Schedule>,
    /// Charging was stopped by a command.
    held: bool,
    home: (f64, f64),
    phase: Phase,
    chance: Chance,
}

/// When the car last had something new to say, in wall milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Updated {
    pub(super) energy: i64,
    pub(super) travel: i64,
    pub(super) closure: i64,
    pub(super) built: i64,
}

/// A charge schedule somebody set. The simulated battery does not mind it: it is only told of.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) id: String,
    /// `daily`, `weekly` or `workweek`.
    pub(super) kind: String,
    /// As it was sent.
    pub(super) parameters: Value,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Parked { left: u32 },
    Leaving { left: u32 },
    Returning { left: u32 },
}

impl Car {
    /// A car as it stands at `now` (wall milliseconds).
    pub(super) fn new(model: &'static Model, mut chance: Chance, now: i64) -> Car {
        let home = *chance.pick(HOMES);
        let home = (home.0 + chance.between(-0.03, 0.03), home.1 + chance.between(-0.04, 0.04));
        let (vehicle_id, vin) = (chance.uuid(), vin(&mut chance));
        let year = model.since + chance.whole(0, 5);
        let pressure = chance.between(228.0, 252.0);
        let nickname = format!("{} {}", chance.pick(NICKNAMES), model.name);
        let odometer = chance.between(2_000.0, 90_000.0);
        let charge = chance.between(35.0, 70.0);
        let mut sessions = Sessions::default();
        sessions.keep(Session::before(now, charge, model.battery, home));
        Car {
            vehicle_id,
            vin,
            nickname,
            year,
            model,
            odometer,
            first_odometer: odometer,
            schedules: Vec::new(),
            charge,
            session: Session::begin(now, charge, home, false, model),
            sessions,
            limit: *chance.pick(&[80.0, 80.0, 90.0, 100.0]),
            plugged: model.battery > 0.0,
            port_open: model.battery > 0.0,
            power: 0.0,
            fuel: if model.tank > 0.0 { chance.between(40.0, 95.0) } else { 0.0 },
            oil: chance.between(20.0, 95.0),
            latitude: home.0,
            longitude: home.1,
            heading: 0.0,
            speed: 0.0,
            locked: true,
            window_open: false,
            tires: [pressure; 4].map(|pressure| pressure + chance.between(-4.0, 4.0)),
            updated: Updated { energy: now, travel: now, closure: now, built: now },
            trouble: None,
            fetched: None,
            held: false,
            home,
            phase: Phase::Parked { left: chance.whole(3, 90) },
            chance,
        }
    }

    /// Lives one step, which ends at `now` (wall milliseconds).
    pub(super) fn step(&mut self, now: i64) {
        match self.phase {
            Phase::Parked { left: 0 } => self.leave(now),
            Phase::Parked { left } => {
                self.phase = Phase::Parked { left: left - 1 };
                self.charge_up(now);
            }
            Phase::Leaving { left: 0 } | Phase::Returning { left: 0 } => self.park(now),
            Phase::Leaving { left } => {
                self.speed = (self.speed + self.chance.between(-15.0, 15.0)).clamp(15.0, 115.0);
                self.heading = (self.heading + self.chance.between(-12.0, 12.0)).rem_euclid(360.0);
                self.drive(self.speed / 60.0, now);
                self.phase = Phase::Leaving { left: left - 1 };
            }
            Phase::Returning { left } => {
                let (north, east) = self.way_home();
                self.heading = east.atan2(north).to_degrees().rem_euclid(360.0);
                let kilometers = north.hypot(east) / f64::from(left);
                self.speed = kilometers * 60.0;
                self.drive(kilometers, now);
                self.phase = Phase::Returning { left: left - 1 };
            }
        }
    }

    /// Something goes wrong between Smartcar and the car from `now` on, or nothing any more.
    pub(super) fn set_trouble(&mut self, trouble: Option<Trouble>, now: Timestamp) {
        if trouble.is_some() && self.fetched.is_none() {
            self.fetch(now);
        }
        self.trouble = trouble;
    }

    /// Smartcar fetches its state into the store; that of a car in trouble it cannot have.
    pub(super) fn fetch(&mut self, now: Timestamp) {
        if self.trouble.is_none() {
            self.fetched = None;
            self.fetched = Some(Box::new((now, self.clone())));
        }
    }

    /// Smartcar keeps its store of this car current (`every` is none), or fetches its state every so often.
    pub(super) fn keep(&mut self, every: Option<Duration>, now: Timestamp) {
        let is_due = |every| self.fetched.as_ref().is_none_or(|fetched| now.since(fetched.0) >= every);
        match every {
            None if self.trouble.is_none() => self.fetched = None,
            Some(every) if is_due(every) => self.fetch(now),
            _ => {}
        }
    }

    /// What Smartcar's store has of it, and from when.
    pub(super) fn stored(&self, now: Timestamp) -> (Timestamp, &Car) {
        self.fetched.as_deref().map_or((now, self), |(at, car)| (*at, car))
    }

    /// A number of its own, the same whenever it is asked for.
    pub(super) fn number(&self) -> u32 {
        self.vin.bytes().map(u32::from).sum()
    }

    /// One of these, the same whenever it is asked for.
    pub(super) fn pick(&self, words: &[&'static str]) -> &'static str {
        usize::try_from(self.number()).ok().and_then(|number| words.get(number % words.len().max(1)).copied()).unwrap_or_default()
    }

    pub(super) fn color(&self) -> &'static str {
        self.pick(COLORS)
    }

    pub(super) fn firmware(&self) -> String {
        format!("{}.{}", self.year, self.number() % 40)
    }

    /// Where it was made for, as the compatibility API names regions.
    pub(super) fn region(&self) -> &'static str {
        if self.home.1 < -30.0 { "US" } else { "EUROPE" }
    }

    /// Degrees Celsius outside.
    pub(super) fn weather(&self) -> f64 {
        4.0 + f64::from(self.number() % 17)
    }

    /// Percent in the small battery.
    pub(super) fn starter(&self) -> f64 {
        70.0 + f64::from(self.number() % 25)
    }

    /// Its charge schedules as the signal has them.
    pub(super) fn timers(&self) -> Vec<Value> {
        let timer = |schedule: &Schedule| {
            json!({
                "type": "LOCATION",
                "condition": schedule.parameters["location"],
                "scheduleType": schedule.kind,
                "scheduleId": schedule.id,
                "schedules": [{
                    "start": schedule.parameters["startTime"], "end": schedule.parameters["stopTime"],
                    "days": schedule.parameters["days"],
                }],
                "departureTimers": [],
                "isOEMOptimizationEnabled": false,
            })
        };
        self.schedules.iter().map(timer).collect()
    }

    pub(super) fn charging(&self) -> bool {
        self.power > 0.0
    }

    pub(super) fn driving(&self) -> bool {
        !matches!(self.phase, Phase::Parked { .. })
    }

    pub(super) fn at_home(&self) -> bool {
        let (north, east) = self.way_home();
        north.hypot(east) < 0.5
    }

    pub(super) fn at_fast_charger(&self) -> bool {
        self.plugged && self.session.fast
    }

    /// Kilometers the battery is good for.
    pub(super) fn electric_range(&self) -> f64 {
        ratio(self.charge * self.model.battery, self.model.electric_use)
    }

    /// Kilometers the tank is good for.
    pub(super) fn fuel_range(&self) -> f64 {
        ratio(self.fuel * self.model.tank, self.model.fuel_use)
    }

    /// Minutes until the charge limit.
    pub(super) fn minutes_to_limit(&self) -> f64 {
        ratio((self.limit - self.charge).max(0.0) / 100.0 * self.model.battery * 60.0, self.power)
    }

    fn leave(&mut self, now: i64) {
        if self.model.powertrain == Powertrain::Electric && self.charge < 25.0 && self.plugged {
            self.phase = Phase::Parked { left: 45 };
            return;
        }
        let (north, east) = self.way_home();
        let distance = north.hypot(east);
        if self.plugged {
            self.sessions.keep(self.session.clone());
        }
        (self.plugged, self.port_open, self.held, self.power) = (false, false, false, 0.0);
        (self.locked, self.window_open) = (false, false);
        self.updated = Updated { energy: now, travel: now, closure: now, ..self.updated };
        if distance > 0.5 {
            // About 45 km/h as the crow flies.
            let left = (5..240).find(|&minutes| f64::from(minutes) * 0.75 >= distance).unwrap_or(240);
            self.phase = Phase::Returning { left };
        } else {
            self.speed = 30.0;
            self.heading = self.chance.between(0.0, 360.0);
            self.phase = Phase::Leaving { left: self.chance.whole(10, 40) };
        }
    }

    fn park(&mut self, now: i64) {
        let at_home = self.at_home();
        if at_home {
            (self.latitude, self.longitude) = self.home;
        }
        self.speed = 0.0;
        self.locked = true;
        self.window_open = self.chance.hit(0.05);
        self.plugged = self.model.battery > 0.0 && (at_home || self.charge < 35.0);
        self.port_open = self.plugged;
        if self.plugged {
            self.session = Session::begin(now, self.charge, (self.latitude, self.longitude), !at_home, self.model);
        }
        if self.model.tank > 0.0 && self.fuel < 15.0 {
            self.fuel = self.chance.between(94.0, 100.0);
        }
        self.updated = Updated { energy: now, travel: now, closure: now, ..self.updated };
        let left = if at_home { self.chance.whole(40, 300) } else { self.chance.whole(20, 150) };
        self.phase = Phase::Parked { left };
    }

    fn drive(&mut self, kilometers: f64, now: i64) {
        let (sine, cosine) = self.heading.to_radians().sin_cos();
        self.latitude += kilometers * cosine / KILOMETERS_A_DEGREE;
        self.longitude += ratio(kilometers * sine, KILOMETERS_A_DEGREE * self.latitude.to_radians().cos());
        let on_the_road = kilometers * 1.15;
        self.odometer += on_the_road;
        self.oil = if self.oil < 4.0 { 100.0 } else { self.oil - on_the_road * 0.006 };
        let electric = self.model.battery > 0.0 && (self.charge > 8.0 || self.model.tank == 0.0);
        if electric {
            self.charge = (self.charge - ratio(on_the_road * self.model.electric_use, self.model.battery)).max(1.0);
        } else {
            self.fuel = (self.fuel - ratio(on_the_road * self.model.fuel_use, self.model.tank)).max(1.0);
        }
        for tire in &mut self.tires {
            *tire = (*tire + self.chance.between(-0.4, 0.4)).clamp(205.0, 275.0);
        }
        self.updated = Updated { energy: now, travel: now, ..self.updated };
    }

    /// Kilometers north and east to go.
    fn way_home(&self) -> (f64, f64) {
        let north = (self.home.0 - self.latitude) * KILOMETERS_A_DEGREE;
        let east = (self.home.1 - self.longitude) * KILOMETERS_A_DEGREE * self.latitude.to_radians().cos();
        (north, east)
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// 17 characters that begin with `0SC`, as Smartcar's own test cars do, with a right check digit.
fn vin(chance: &mut Chance) -> String {
    let mut vin: Vec<u8> = b"0SC".to_vec();
    vin.extend((3..17).map(|place| if place < 11 { *chance.pick(VIN_LETTERS) } else { *chance.pick(b"0123456789") }));
    let sum: usize = vin.iter().zip(VIN_WEIGHTS).map(|(&letter, weight)| vin_value(letter) * weight).sum();
    vin[8] = b"0123456789X"[sum % 11];
    vin.into_iter().map(char::from).collect()
}

fn vin_value(letter: u8) -> usize {
    let values = b"0123456789.ABCDEFGH..JKLMN.P.R..STUVWXYZ";
    values.iter().position(|&other| other == letter).unwrap_or(0) % 10
}

const VIN_LETTERS: &[u8] = b"ABCDEFGHJKLMNPRSTUVWXYZ0123456789";
const VIN_WEIGHTS: [usize; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
const KILOMETERS_A_DEGREE: f64 = 111.32;
const HOMES: &[(f64, f64)] = &[
    (52.37, 4.89),
    (52.52, 13.40),
    (48.86, 2.35),
    (59.91, 10.75),
    (45.46, 9.19),
    (51.51, -0.13),
    (47.37, 8.54),
    (45.52, -122.68),
];
const COLORS: &[&str] = &["Black", "Blue", "Green", "Grey", "Red", "White"];
const NICKNAMES: &[&str] = &["Blue", "Family", "Grey", "Little", "New", "Old", "Red", "White"];

#[cfg(test)]
mod tests {
    use super::*;

    fn car(model: &str, seed: u64) -> Car {
        Car::new(Model::named(model).unwrap(), Chance::of(seed, model), 0)
    }

    #[test]
    fn a_vin_is_plausible() {
        let vin = car("ID.4", 3).vin;
        assert!(vin.len() == 17 && vin.starts_with("0SC"), "{vin}");
        let letters: Vec<u8> = b"1M8GDM9AXKP042788".to_vec();
        let sum: usize = letters.iter().zip(VIN_WEIGHTS).map(|(&letter, weight)| vin_value(letter) * weight).sum();
        assert_eq!(b"0123456789X"[sum % 11], b'X', "the well-known example must check out");
    }

    #[test]
    fn a_week_of_life_is_sane_and_the_same_again() {
        for model in ["ID.4", "Leaf", "XC60", "Golf"] {
            let (mut one, mut two) = (car(model, 11), car(model, 11));
            let (start, mut drove, mut charged) = (one.odometer, false, false);
            for minute in 1..7 * 24 * 60 {
                let before = one.odometer;
                one.step(minute * 60_000);
                two.step(minute * 60_000);
                assert!(one.odometer >= before);
                assert!((0.0..=100.0).contains(&one.charge) && (0.0..=100.0).contains(&one.fuel), "{one:?}");
                assert!((one.latitude - one.home.0).abs() < 2.0 && (one.longitude - one.home.1).abs() < 3.0);
                assert!(!one.charging() || (one.plugged && !one.driving()));
                drove |= one.driving();
                charged |= one.charging();
            }
            assert!(drove && one.odometer > start + 50.0, "{model} hardly moved");
            assert_eq!(charged, one.model.battery > 0.0, "{model}");
            assert_eq!(format!("{one:?}"), format!("{two:?}"));
        }
    }
}
