//! The page of a car.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;

use super::alerts::{self, Alert, Link};
use super::cars::{self, Fact, Tires};
use super::format::{self, Rich, When};
use super::gauge::{self, Gauge};
use super::numbers::Numbers;
use super::orders::Offer;
use super::signals::{self, Latest, Shown};
use super::{CarPage, Mistake, Shell, finish, names, past};
use crate::model::Timestamp;
use crate::model::capability::{Ability, in_words};
use crate::model::reading::Source;
use crate::vehicles::{CapabilityView, SignalView, VehicleView};
use crate::web::answer::path_part;

const LOCATION: &str = "location-preciselocation";
const VIN: &str = "vehicleidentification-vin";

#[derive(Template)]
#[template(path = "car.html")]
struct View<'a> {
    shell: Shell<'a>,
    vehicle: &'a VehicleView,
    href: String,
    /// Its id, as part of an address.
    id: String,
    name: String,
    make: Option<String>,
    vin: Option<String>,
    gauges: Vec<Gauge>,
    facts: Vec<Fact>,
    tires: Option<Tires>,
    link: Link<'a>,
    alerts: Vec<Alert>,
    groups: Vec<Group>,
    lacks: Vec<Lacking>,
    /// What would open some of them: permissions, and the same in words.
    asks: Vec<(&'static str, String)>,
    location: Option<Location>,
    last_event: Option<When>,
    next_read: Option<When>,
    past: past::Shown,
    offer: Option<Offer>,
    taste: [&'static str; 3],
    mistake: Option<Mistake<'a>>,
}

impl View<'_> {
    /// What was typed into a field of a form that was not taken.
    fn typed(&self, field: &str) -> Option<&str> {
        self.mistake.as_ref()?.typed(field)
    }

    /// What is wrong with it.
    fn wrong(&self, field: &str) -> Option<&str> {
        self.mistake.as_ref()?.wrong(field)
    }

    /// Whether a form was not taken that is folded away.
    fn is_open(&self, place: &str) -> bool {
        self.mistake.is_some_and(|mistake| mistake.place == place)
    }
}

/// A signal that cannot be had.
struct Lacking {
    label: String,
    code: String,
    state: &'static str,
    reason: String,
    since: Option<When>,
}

/// Signals that belong together.
struct Group {
    name: String,
    signals: Vec<Line>,
}

/// One signal.
struct Line {
    label: String,
    code: String,
    value: Option<Shown>,
    when: Option<When>,
    source: Option<&'static str>,
    failure: Option<String>,
}

/// Where the car is or was.
struct Location {
    coordinates: String,
    map: Option<String>,
    parked: bool,
    when: Option<When>,
    failure: Option<String>,
}

impl CarPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let (vehicle, now, numbers) = (self.vehicle, self.shell.now, &Numbers::of(self.shell.language));
        let latest = Latest(&vehicle.signals);
        let name = names::name(vehicle);
        let mut groups: BTreeMap<(usize, String), Vec<Line>> = BTreeMap::new();
        // What it cannot tell, and never told, stands in a list of its own.
        let lacks: Vec<_> = vehicle.capabilities.iter().filter(|known| known.state != Ability::Seen).collect();
        let is_lacking = |signal: &SignalView| signal.body.is_none() && lacks.iter().any(|known| known.code == signal.code);
        let shown = |signal: &&SignalView| signal.code != LOCATION && signal.code != VIN && !is_lacking(signal);
        for signal in vehicle.signals.values().filter(shown) {
            groups.entry(signals::group(signal.group.as_deref())).or_default().push(line(signal, numbers, now));
        }
        for lines in groups.values_mut() {
            lines.sort_by_key(|line| signals::rank(&line.code));
        }
        finish(&View {
            shell: self.shell,
            vehicle,
            href: format!("/vehicles/{}", path_part(vehicle.id.as_str())),
            id: path_part(vehicle.id.as_str()),
            make: names::make(vehicle).filter(|make| *make != name),
            name,
            vin: vehicle.vin.clone().or_else(|| latest.text(VIN)),
            gauges: gauge::of(latest, numbers, now),
            facts: cars::facts(latest, numbers, now),
            tires: cars::tires(latest, numbers, now),
            link: Link::of(vehicle, self.connection),
            alerts: alerts::of(vehicle, now),
            groups: groups.into_iter().map(|((_, name), signals)| Group { name, signals }).collect(),
            asks: asks(vehicle, &lacks),
            lacks: lacks.into_iter().map(lacking).collect(),
            location: vehicle.signals.get(LOCATION).map(|signal| location(signal, now)),
            last_event: vehicle.last_event_at.map(|at| When::ago(now, at)),
            next_read: vehicle
                .polling
                .next_at
                .filter(|_| vehicle.polling.state == "reading")
                .map(|at| if at > now { When::ahead(now, at) } else { When::soon(at) }),
            past: self.past.shown(numbers),
            offer: Offer::of(vehicle, self.connection),
            taste: self.past.taste.words(),
            mistake: self.mistake,
        })
    }
}

/// What the owner of a car that is connected can be asked for.
fn asks(vehicle: &VehicleView, lacks: &[&CapabilityView]) -> Vec<(&'static str, String)> {
    let is_connected = vehicle.connection.is_some() && !vehicle.former;
    let permissions: BTreeSet<&str> = lacks.iter().filter_map(|known| known.permission).filter(|_| is_connected).collect();
    permissions.into_iter().map(|permission| (permission, format::words(permission).to_lowercase())).collect()
}

fn lacking(known: &CapabilityView) -> Lacking {
    Lacking {
        label: signals::name(&known.code, None),
        code: known.code.clone(),
        state: match known.state {
            Ability::Seen => "seen",
            Ability::NotCapable => "not capable",
            Ability::NoPermission => "no permission",
            Ability::NotInPlan => "not in the plan",
        },
        reason: known.reason.clone().unwrap_or_default(),
        since: known.at.map(When::date),
    }
}

fn when(signal: &SignalView, now: Timestamp) -> Option<When> {
    signal.body.as_ref()?;
    signal.oem_updated_at.or(signal.retrieved_at).map(|at| When::ago(now, at))
}

fn failure(signal: &SignalView) -> Option<String> {
    if let Some(error) = &signal.error {
        return Some(in_words(error));
    }
    (signal.status != "SUCCESS").then(|| "No new value".to_owned())
}

fn line(signal: &SignalView, numbers: &Numbers, now: Timestamp) -> Line {
    Line {
        label: signals::label(signal),
        code: signal.code.clone(),
        value: signals::shown(signal, numbers),
        when: when(signal, now),
        source: signal.source.map(Source::as_str),
        failure: failure(signal),
    }
}

fn location(signal: &SignalView, now: Timestamp) -> Location {
    let body = signal.body.as_ref().map(crate::model::Json::value).unwrap_or_default();
    let number = |key: &str| body.get(key).and_then(serde_json::Value::as_f64);
    let place = number("latitude").zip(number("longitude"));
    Location {
        coordinates: place.map_or_else(|| format::UNKNOWN.to_owned(), |(north, east)| format!("{north:.5}, {east:.5}")),
        map: place.map(|(north, east)| {
            format!("https://www.openstreetmap.org/?mlat={north:.5}&mlon={east:.5}#map=17/{north:.5}/{east:.5}")
        }),
        parked: body.get("locationType").and_then(serde_json::Value::as_str) == Some("LAST_PARKED"),
        when: when(signal, now),
        failure: failure(signal),
    }
}
