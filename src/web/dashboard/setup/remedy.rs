//! What to do about an open point, for somebody who looks at the page: there are boxes and buttons here, and no terminal.

use super::{Point, labelled};
use crate::operate::probes::Finding;

/// Where on the page, or from it, something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the boxes below.
    Settings,
    /// By the button that connects a car.
    Connect,
    /// For the cars that lack something.
    Cars,
}

/// What is said here of what is missing, by its code; of the rest, what everybody is told.
const HERE: &[(&str, &str, Place)] = &[
    ("credentials", "Type them in below: Application ID, Client ID and Client secret.", Place::Settings),
    ("application_id", "Copy it from Smartcar's dashboard into the box below.", Place::Settings),
    ("management_token", "Copy it from Smartcar's dashboard into the box below.", Place::Settings),
    (
        "wrong_signature",
        "If they are Smartcar's, copy the management token from its dashboard into the box below.",
        Place::Settings,
    ),
    ("refused", "Compare Client ID and Client secret with Smartcar's dashboard, and type them in again below.", Place::Settings),
    ("vehicle", "Press Connect a car: its owner signs in at Smartcar.", Place::Connect),
    (
        "subscription",
        "Subscribe it in Smartcar's dashboard, Integrations, at the webhook; or run `carport vehicles subscribe` with its id.",
        Place::Cars,
    ),
];

/// Settings that are mended in their box below, by what was tried.
const IN_BOXES: &[&str] = &["identifiers", "credentials", "v2 credentials", "management token", "application ID"];

/// The remedy, and where it is taken.
pub(super) fn of(finding: &Finding) -> (Option<String>, Option<Place>) {
    if let Some((_, words, place)) = HERE.iter().find(|(code, ..)| *code == finding.code) {
        return (Some((*words).to_owned()), Some(*place));
    }
    // A page has no flags.
    let said = finding.remedy.as_deref().map(|remedy| labelled(remedy.trim_end_matches(", or say --offline")));
    let is_in_box = finding.remedy.is_some() && !finding.is_untried && IN_BOXES.contains(&finding.check);
    (said, is_in_box.then_some(Place::Settings))
}

/// What comes once something else is done: what it is, and what will be said of it.
const LATER: &[(&str, &str)] = &[
    ("VERIFY", "Smartcar verifies the webhook's address."),
    ("car", "A car is connected."),
    ("subscription", "Smartcar sends what the car tells."),
    ("test delivery", "A delivery comes in, be it a test."),
    ("live delivery", "A car tells how it is."),
];

/// What is neither done nor open yet.
pub(super) fn later(list: &[Finding]) -> Vec<Point> {
    let waits = LATER.iter().filter(|(check, _)| list.iter().all(|finding| finding.check != *check));
    waits.map(|(check, text)| Point::waiting(check, text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_names_what_is_on_the_page() {
        let open = |code, check, remedy: &str| of(&Finding { code, ..Finding::fail(check, "wrong", remedy) });
        let (said, place) = open("management_token", "VERIFY", "copy it into smartcar.application_management_token");
        assert_eq!(
            (said.as_deref(), place),
            (Some("Copy it from Smartcar's dashboard into the box below."), Some(Place::Settings))
        );
        assert_eq!(open("vehicle", "car", "run `carport connect`").1, Some(Place::Connect));
        let (said, place) = open("", "management token", "copy it into smartcar.application_management_token: it proves");
        assert_eq!(said.as_deref(), Some("Copy it into Application management token: it proves."));
        assert_eq!(place, Some(Place::Settings));
        let untried =
            Finding { is_untried: true, ..Finding::fail("credentials", "x", "look after the network, or say --offline") };
        assert_eq!(of(&untried), (Some("Look after the network.".to_owned()), None));
        for (_, words, _) in HERE {
            assert!(!words.contains("smartcar.") && !words.contains("carport init"), "{words}");
        }
    }

    #[test]
    fn what_is_not_reached_waits() {
        let list = [Finding::ok("VERIFY", "x"), Finding::warn("car", "x", "y")];
        let titles: Vec<String> = later(&list).into_iter().map(|point| point.title).collect();
        assert_eq!(titles, ["Subscription", "Test delivery", "Live delivery"]);
    }
}
