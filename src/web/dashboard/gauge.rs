//! How full a car is, and how far that goes.

use super::format::{UNKNOWN, When};
use super::numbers::Numbers;
use super::signals::{self, Latest};
use crate::model::Timestamp;

/// A level, drawn as a ring.
#[derive(Debug)]
pub(super) struct Gauge {
    /// What is in there.
    pub(super) what: &'static str,
    /// From 0 to 100, rounded; nothing is drawn without it.
    pub(super) percent: Option<u8>,
    /// The level in words.
    pub(super) text: String,
    /// The class of the ring.
    pub(super) class: &'static str,
    /// Where charging stops, in degrees from the top.
    pub(super) limit: Option<u16>,
    /// How far it goes.
    pub(super) range: Option<String>,
    /// How old the level is.
    pub(super) when: Option<When>,
    /// It grows at the moment.
    pub(super) charging: bool,
}

/// Battery, fuel, both, or nothing.
pub(super) fn of(latest: Latest<'_>, numbers: &Numbers, now: Timestamp) -> Vec<Gauge> {
    let gauge = |what, level, range| gauge(latest, numbers, now, what, level, range);
    let battery = gauge("Battery", "tractionbattery-stateofcharge", "tractionbattery-range").map(|mut battery| {
        battery.charging = latest.truth("charge-ischarging") == Some(true);
        let limit = latest.body("charge-chargelimits").and_then(|body| body.get("activeLimit")?.as_f64());
        battery.limit = limit.filter(|limit| *limit < 100.0).map(|limit| u16::from(rounded(limit)) * 18 / 5);
        if battery.charging {
            battery.class = "good";
        }
        battery
    });
    let fuel = gauge("Fuel", "internalcombustionengine-fuellevel", "internalcombustionengine-range");
    battery.into_iter().chain(fuel).collect()
}

fn gauge(latest: Latest<'_>, numbers: &Numbers, now: Timestamp, what: &'static str, level: &str, range: &str) -> Option<Gauge> {
    if latest.signal(level).is_none() && latest.signal(range).is_none() {
        return None;
    }
    let percent = latest.amount(level).map(|level| rounded(level.value));
    Some(Gauge {
        what,
        percent,
        text: percent.map_or_else(|| UNKNOWN.to_owned(), |percent| numbers.amount(f64::from(percent), 0, "%")),
        class: match percent {
            Some(0..10) => "low",
            Some(10..20) => "lowish",
            _ => "level",
        },
        limit: None,
        range: latest.amount(range).map(|range| signals::measure(range, numbers)),
        when: latest.at(level).or_else(|| latest.at(range)).map(|at| When::ago(now, at)),
        charging: false,
    })
}

/// A level as a whole number.
fn rounded(percent: f64) -> u8 {
    let whole = percent.clamp(0.0, 100.0).round();
    (0..=100).find(|step| f64::from(*step) >= whole).unwrap_or(100)
}
