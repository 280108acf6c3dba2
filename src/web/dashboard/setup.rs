//! The set-up: what is done, what is open, and the settings that can be made.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;

use self::remedy::Place;
use self::ticks::{TICKS, Ticks};
use super::format::{self, Rich, When};
use super::numbers::Numbers;
use super::{SetupPage, Shell, finish, names};
use crate::operate::probes::{Finding, Outcome, Shown};
use crate::operate::settings::SettingView;
use crate::operate::status::StatusView;
use crate::vehicles::VehicleView;
use crate::web::answer::path_part;

mod remedy;
mod ticks;

#[derive(Template)]
#[template(path = "setup.html")]
struct View<'a> {
    shell: Shell<'a>,
    status: &'a StatusView,
    redirect_uri: &'a str,
    webhook_url: &'a str,
    open: Vec<Point>,
    done: Vec<Point>,
    later: Vec<Point>,
    /// Cars that are not known to be subscribed: address, name and id.
    lacking: Vec<(String, String, &'a str)>,
    ticks: &'static [Ticks],
    checked: Option<When>,
    for_trying: bool,
    shown: &'a [Shown],
    groups: Vec<Group<'a>>,
    opened: bool,
    saved: bool,
    refused: Option<&'a Refused<'a>>,
    points: Vec<String>,
    uptime: String,
    store: String,
    free: Option<String>,
}

/// A point of the list.
struct Point {
    class: &'static str,
    title: String,
    text: String,
    remedy: Option<String>,
    place: Option<Place>,
    when: Option<When>,
}

impl Point {
    /// One whose turn has not come.
    fn waiting(title: &str, text: &str) -> Point {
        let (title, text) = (format::capital(title), text.to_owned());
        Point { class: "later", title, text, remedy: None, place: None, when: None }
    }

    fn is_at(&self, place: Place) -> bool {
        self.place == Some(place)
    }
}

/// Settings that were not taken.
#[derive(Debug)]
pub(crate) struct Refused<'a> {
    /// Why, one thing each.
    pub(crate) points: Vec<String>,
    /// What was typed, but secrets, by key.
    pub(crate) typed: &'a BTreeMap<&'a str, String>,
    /// The keys of the secrets that were typed: they are not kept, and have to be typed again.
    pub(crate) secrets: &'a [&'static str],
    /// It was to be saved all the same.
    pub(crate) force: bool,
}

impl Refused<'_> {
    /// What is said of one setting, by the names that stand beside the boxes.
    fn about(&self, key: &str) -> Option<String> {
        self.points.iter().find(|point| subject(point) == Some(key)).map(|point| labelled(point))
    }
}

/// Settings that belong together, as Smartcar's dashboard has them.
struct Group<'a> {
    title: &'static str,
    fields: Vec<Field<'a>>,
}

/// A setting to be made.
struct Field<'a> {
    setting: &'a SettingView,
    label: &'static str,
    help: &'static str,
    /// What stands in the box.
    value: &'a str,
    /// What is wrong with it.
    wrong: Option<String>,
    /// A secret that was typed is not there any more.
    is_lost: bool,
    /// What there is to choose from; anything if nothing.
    choices: &'static [(&'static str, &'static str)],
}

/// Key, name in Smartcar's dashboard, and what helps to tell it from others.
type Known = (&'static str, &'static str, &'static str);

const GROUPS: &[(&str, &[Known])] = &[
    (
        "Application",
        &[
            ("smartcar.application_id", "Application ID", "A UUID. Owners are sent to Smartcar Connect with it."),
            ("smartcar.mode", "Mode", "Which cars Connect shows."),
        ],
    ),
    (
        "API v3",
        &[
            ("smartcar.v3.client_id", "Client ID", "Begins with client_."),
            ("smartcar.v3.client_secret", "Client secret", "Shown once in Smartcar\u{2019}s dashboard."),
        ],
    ),
    (
        "API v2, of an older application",
        &[
            ("smartcar.v2.client_id", "Client ID (v2)", "The same UUID as the Application ID."),
            ("smartcar.v2.client_secret", "Client secret (v2)", "Not that of v3."),
        ],
    ),
    (
        "Webhook",
        &[
            (
                "smartcar.application_management_token",
                "Application management token",
                "A UUID that proves every delivery. While it is being replaced: the new one, a comma, the old one.",
            ),
            ("smartcar.webhook_id", "Webhook ID", "Learnt by itself; only if there are several."),
        ],
    ),
    (
        "What owners are asked",
        &[
            ("smartcar.scope", "Permissions", "Such as read_battery, read_location; or dashboard: as chosen at Smartcar."),
            ("smartcar.single_select", "One car each time", "Connect Match: an owner chooses one car only."),
        ],
    ),
    (
        "Addresses",
        &[
            ("public_url", "Public URL", "Where Smartcar and browsers find Carport, without a path."),
            (
                "smartcar.redirect_uri",
                "Another redirect URI",
                "Only if it is not the one below, which follows from the public URL.",
            ),
            ("smartcar.redirect_uris", "Redirect URIs of apps", "Compared to the letter, with commas between them."),
        ],
    ),
];

const CHOICES: &[(&str, &[(&str, &str)])] = &[
    (
        "smartcar.mode",
        &[("", "as by default"), ("live", "live: real cars"), ("simulated", "simulated: cars that Smartcar plays")],
    ),
    ("smartcar.single_select", &[("", "as by default"), ("false", "no"), ("true", "yes")]),
];

impl<'a> SetupPage<'a> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let (status, now, numbers) = (self.status, self.shell.now, &Numbers::of(self.shell.language));
        let ago = |at| When::ago(now, at);
        let is = |result: Outcome| self.list.iter().filter(move |finding| finding.result == result);
        let seen = |check: &str| match check {
            "VERIFY" => status.webhooks.last_verify.as_ref().map(|verify| ago(verify.at)),
            "test delivery" if status.webhooks.last_live_at.is_none() => status.webhooks.last_delivery_at.map(ago),
            "live delivery" => status.webhooks.last_live_at.map(ago),
            _ => None,
        };
        let point = |finding: &Finding| {
            let (remedy, place) = remedy::of(finding);
            Point {
                class: match finding.result {
                    Outcome::Ok => "yes",
                    Outcome::Warn => "no",
                    Outcome::Fail => "bad",
                },
                title: format::capital(finding.check),
                text: if finding.result == Outcome::Ok {
                    format::capital(&finding.text)
                } else {
                    format::sentence(&finding.text)
                },
                remedy,
                place,
                when: Some(finding).filter(|finding| finding.result == Outcome::Ok).and_then(|finding| seen(finding.check)),
            }
        };
        let is_lacking =
            |vehicle: &&VehicleView| vehicle.missing.as_ref().is_some_and(|missing| missing.code == "not_subscribed");
        let link = |vehicle: &'a VehicleView| {
            (format!("/vehicles/{}", path_part(vehicle.id.as_str())), names::name(vehicle), vehicle.id.as_str())
        };
        let has_credentials = !status.missing.iter().any(|missing| CREDENTIALS.contains(&missing.code));
        finish(&View {
            shell: self.shell,
            status,
            redirect_uri: &self.settings.redirect_uri,
            webhook_url: &self.settings.webhook_url,
            open: is(Outcome::Fail).chain(is(Outcome::Warn)).map(point).collect(),
            done: is(Outcome::Ok).map(point).collect(),
            later: remedy::later(self.list),
            lacking: self.vehicles.iter().filter(is_lacking).map(link).collect(),
            ticks: TICKS,
            checked: self.checked_at.map(ago),
            for_trying: self.for_trying,
            shown: &self.settings.shown,
            groups: GROUPS.iter().map(|(title, known)| Group { title, fields: self.fields(known) }).collect(),
            opened: !has_credentials || self.refused.is_some(),
            saved: self.saved,
            refused: self.refused.as_ref(),
            points: self.refused.iter().flat_map(|refused| &refused.points).map(|point| labelled(point)).collect(),
            uptime: format::duration(Duration::from_secs(status.uptime_seconds)),
            store: numbers.size(status.store.bytes),
            free: status.store.free_bytes.map(|free| numbers.size(free)),
        })
    }

    fn fields(&self, known: &[Known]) -> Vec<Field<'_>> {
        let field = |(key, label, help): &Known| {
            let setting = self.makeable.iter().find(|setting| setting.key == *key)?;
            let typed = self.refused.as_ref().and_then(|refused| refused.typed.get(key)).map(String::as_str);
            let made = setting.value.as_deref().filter(|_| setting.made);
            let choices = CHOICES.iter().find(|(of, _)| of == key).map_or(&[][..], |(_, choices)| *choices);
            let wrong = self.refused.as_ref().and_then(|refused| refused.about(key));
            let is_lost = self.refused.as_ref().is_some_and(|refused| refused.secrets.contains(key));
            Some(Field { setting, label, help, value: typed.or(made).unwrap_or_default(), wrong, is_lost, choices })
        };
        known.iter().filter_map(field).collect()
    }
}

/// Says it by the names that stand beside the boxes.
fn labelled(point: &str) -> String {
    let mut known: Vec<&Known> = GROUPS.iter().flat_map(|(_, known)| *known).collect();
    // One key begins as another does.
    known.sort_by_key(|(key, ..)| Reverse(key.len()));
    format::sentence(&known.into_iter().fold(point.to_owned(), |said, (key, label, _)| said.replace(key, label)))
}

/// The key of the box that is named first; where one begins as another does, the longer one.
fn subject(point: &str) -> Option<&'static str> {
    let keys = GROUPS.iter().flat_map(|(_, known)| *known).map(|(key, ..)| (*key, *key));
    let named = keys.chain(TRIED.iter().copied());
    let places = named.filter_map(|(name, key)| Some((point.find(name)?, Reverse(name.len()), key)));
    places.min().map(|(.., key)| key)
}

/// What Smartcar refuses is told without a key: the box to look at first.
const TRIED: &[(&str, &str)] = &[
    ("the v3 client id and secret", "smartcar.v3.client_secret"),
    ("the v2 client id and secret", "smartcar.v2.client_secret"),
    ("the application management token", "smartcar.application_management_token"),
];

/// Without these the form is what people came for.
const CREDENTIALS: &[&str] = &["credentials", "application_id", "management_token", "refused"];
