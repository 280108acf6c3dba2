//! The home page.

use askama::Template;

use super::alerts::{self, Alert, Link};
use super::deliveries::{self, Row};
use super::format::{self, Rich, When};
use super::gauge::{self, Gauge};
use super::numbers::Numbers;
use super::signals::{self, Latest};
use super::told::Told;
use super::{CarsPage, Part, Shell, finish, names};
use crate::model::Timestamp;
use crate::operate::status::Missing;
use crate::vehicles::VehicleView;
use crate::web::answer::path_part;

#[derive(Template)]
#[template(path = "cars.html")]
struct View<'a> {
    shell: Shell<'a>,
    cards: Vec<Card<'a>>,
    part: Part,
    rows: Vec<Row>,
    missing: &'a [Missing],
    told: Vec<Told>,
    /// Whether a car can be connected, whatever else is missing.
    can_connect: bool,
    /// Whether more is missing than a car.
    more_to_do: bool,
}

/// A car, at a glance.
struct Card<'a> {
    vehicle: &'a VehicleView,
    href: String,
    name: String,
    make: Option<String>,
    owner: Option<&'a str>,
    gauges: Vec<Gauge>,
    facts: Vec<Fact>,
    tires: Option<Tires>,
    link: Link<'a>,
    alerts: Vec<Alert>,
    last_event: Option<When>,
}

/// The pressures of all tires.
pub(super) struct Tires {
    /// Where, and how much.
    pub(super) places: Vec<(String, String)>,
    /// How old.
    pub(super) when: Option<When>,
}

/// One main value.
pub(super) struct Fact {
    /// What it is.
    pub(super) label: &'static str,
    /// The value.
    pub(super) value: String,
    /// More of it.
    pub(super) more: Option<String>,
    /// How old it is.
    pub(super) when: Option<When>,
}

impl CarsPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let several = self.names.windows(2).any(|pair| pair[0].user != pair[1].user);
        let (now, numbers) = (self.shell.now, &Numbers::of(self.shell.language));
        let cards = self.vehicles.iter().map(|vehicle| {
            let connection = self.connections.iter().find(|connection| Some(connection.id) == vehicle.connection);
            let latest = Latest(&vehicle.signals);
            let make = names::make(vehicle);
            let name = names::name(vehicle);
            Card {
                vehicle,
                href: format!("/vehicles/{}", path_part(vehicle.id.as_str())),
                make: make.filter(|make| *make != name),
                name,
                owner: several.then_some(vehicle.user.as_str()),
                gauges: gauge::of(latest, numbers, now),
                facts: facts(latest, numbers, now),
                tires: tires(latest, numbers, now),
                link: Link::of(vehicle, connection),
                alerts: alerts::of(vehicle, now),
                last_event: vehicle.last_event_at.map(|at| When::ago(now, at)),
            }
        });
        let newest = &self.deliveries[..self.deliveries.len().min(5)];
        let rows = deliveries::rows(newest, self.names, now);
        let can_connect =
            !self.missing.iter().any(|missing| ["credentials", "application_id", "refused"].contains(&missing.code));
        let more_to_do = self.missing.iter().any(|missing| missing.code != "vehicle");
        // Of the rest, the cars tell themselves or what is missing does.
        let told = ["renewal_failing", "access_ending", "certificate_ending", "certificate_unusable", "certificate_refused"]
            .into_iter()
            .flat_map(|code| Told::notices(self.notices, code, None));
        finish(&View {
            shell: self.shell,
            cards: cards.collect(),
            part: self.part,
            rows,
            missing: self.missing,
            told: told.collect(),
            can_connect,
            more_to_do,
        })
    }
}

/// The main values.
pub(super) fn facts(latest: Latest<'_>, numbers: &Numbers, now: Timestamp) -> Vec<Fact> {
    let fact = |code: &str, label, value, more| Fact { label, value, more, when: latest.at(code).map(|at| When::ago(now, at)) };
    let words = |code: &str, label| match signals::shown(latest.signal(code)?, numbers) {
        Some(signals::Shown::Words(words)) => Some(fact(code, label, words, None)),
        _ => None,
    };
    let charging = || {
        let mut charging = words("charge-ischarging", "Charger")?;
        let full = latest.text("charge-detailedchargingstatus").is_some_and(|status| status == "FULLY_CHARGED");
        match latest.truth("charge-ischarging") {
            Some(true) => {
                let power = latest.amount("charge-wattage").filter(|power| power.value > 0.0);
                let left = latest.amount("charge-timetocomplete").filter(|left| left.value >= 1.0);
                let power = power.map(|power| signals::measure(power, numbers));
                let left = left.map(|left| format!("done in {}", signals::measure(left, numbers)));
                if let Some(power) = power {
                    (charging.label, charging.value) = ("Charging", power);
                }
                charging.more = left;
            }
            Some(false) if full => "Fully charged".clone_into(&mut charging.value),
            _ => {}
        }
        Some(charging)
    };
    let all = [
        charging(),
        words("charge-ischargingcableconnected", "Cable"),
        words("closure-islocked", "Doors"),
        words("odometer-traveleddistance", "Odometer"),
    ];
    all.into_iter().flatten().collect()
}

/// Where each tire is, and its pressure.
pub(super) fn tires(latest: Latest<'_>, numbers: &Numbers, now: Timestamp) -> Option<Tires> {
    let places = signals::tires(latest.signal("wheel-tires")?, numbers);
    let when = latest.at("wheel-tires").map(|at| When::ago(now, at));
    (!places.is_empty()).then_some(Tires { places, when })
}
