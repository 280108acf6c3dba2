//! What a car lived through, and what it was told.

use super::super::{Clock, Past, PastSpan};
use super::{DAY, MINUTE, NOW, ago};
use crate::commands::CommandView;
use crate::model::VehicleId;
use crate::model::charging::EnergyFrom;
use crate::model::command::CommandFailure;
use crate::model::normal::Units;
use crate::model::taste::Taste;
use crate::vehicles::{ChargeView, Course, Point, TripView};

/// A past.
#[derive(Debug, Default)]
pub(in super::super) struct Lived {
    pub(in super::super) courses: Vec<(&'static str, Vec<Course>)>,
    charges: Vec<ChargeView>,
    days: Vec<TripView>,
}

fn course(place: Option<&'static str>, value: impl Fn(f64) -> f64) -> Course {
    let points = (0..160_u32).map(|number| {
        let last = value(f64::from(number));
        Point { at: ago(u64::from(160 - number) * 60 * MINUTE), last, min: last * 0.9, max: last }
    });
    Course { place, points: points.collect() }
}

pub(in super::super) fn lived() -> Lived {
    let tire = |place, pressure: f64| course(Some(place), move |hour| pressure + (hour / 30.0).sin() / 20.0);
    let courses = vec![
        ("tractionbattery-stateofcharge", vec![course(None, |hour| 80.0 - hour % 40.0)]),
        ("tractionbattery-range", vec![course(None, |hour| 380.0 - 4.0 * (hour % 40.0))]),
        ("odometer-traveleddistance", vec![course(None, |hour| 18_000.0 + 2.1 * hour)]),
        ("charge-wattage", vec![course(None, |hour| if hour % 40.0 < 5.0 { 11.0 } else { 0.0 })]),
        (
            "wheel-tires",
            vec![tire("front left", 2.4), tire("front right", 2.42), tire("rear left", 2.3), tire("rear right", 2.31)],
        ),
    ];
    let charge = |days: u64, state| ChargeView {
        started_at: ago(days * DAY),
        start_seen: days.is_multiple_of(2),
        ended_at: (state == "ended").then(|| ago(days * DAY - 200 * MINUTE)),
        state,
        ended_before: None,
        last_seen_at: ago(days * DAY - 200 * MINUTE),
        duration_s: 200 * MINUTE,
        start_level: Some(41.0),
        end_level: (days > 1).then_some(80.0),
        energy: (days > 2).then_some(31.2),
        energy_from: Some(EnergyFrom::Level),
    };
    let day = |days: u64| TripView {
        date: ago(days * DAY).to_string()[..10].to_owned(),
        distance: 42.0,
        unit: "km",
        start_odometer: 18_000.0,
        end_odometer: 18_042.0,
        first_at: ago(days * DAY),
        last_at: ago(days * DAY),
        unsure_distance: 0.0,
        unsure_since: None,
    };
    Lived {
        courses,
        charges: vec![charge(6, "ended"), charge(3, "ended"), charge(2, "end_not_seen"), charge(1, "charging")],
        days: (0..6).rev().map(day).collect(),
    }
}

pub(in super::super) fn past(lived: &Lived, span: PastSpan) -> Past<'_> {
    let Lived { courses, charges, days } = lived;
    let (since, taste) = (NOW.before(span.length()), Taste::of(Units::Metric));
    Past { span, since, until: NOW, courses, charges, days, taste, clock: Clock::UTC }
}

pub(in super::super) fn command(status: &'static str, error: Option<CommandFailure>) -> CommandView {
    CommandView {
        id: "0199c7f2-8a10-7c31-9d1e-aabbccddeeff".into(),
        vehicle: VehicleId::new("x"),
        command: "security/lock".into(),
        status,
        requested_at: ago(9),
        ended_at: None,
        error,
    }
}
