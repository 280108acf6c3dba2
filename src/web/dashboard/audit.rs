//! The audit log: what people do in words, with the route beside it.

use askama::Template;

use super::super::audit::{DAMAGED, ERASED};
use super::format::When;
use super::numbers::Numbers;
use super::{AuditPage, Shell, finish, names, orders};
use crate::commands::ENDED;
use crate::model::VehicleId;
use crate::operate::audit::{Actor, AuditView};
use crate::vehicles::VehicleName;

#[derive(Template)]
#[template(path = "audit.html")]
struct View<'a> {
    shell: Shell<'a>,
    rows: Vec<Row<'a>>,
    older: Option<u64>,
    later_part: bool,
}

/// An entry, in a list.
struct Row<'a> {
    when: When,
    who: (&'static str, &'a str),
    address: String,
    deed: Deed<'a>,
    /// What came of it: a class and words.
    outcome: (&'static str, String),
}

/// What was done.
struct Deed<'a> {
    /// In words, or the route itself if there are none for it.
    words: String,
    /// The name of the car.
    car: Option<String>,
    /// What else it was about.
    ids: Vec<&'a str>,
    /// Beside the words.
    route: Option<&'a str>,
    /// What came of a command, in its own word.
    ended: Option<&'a str>,
    /// Whether it was done but for rows that are damaged.
    is_damaged: bool,
}

/// What is done most, by the routes that do it.
const DEEDS: &[(&str, &[&str])] = &[
    ("Signed in", &["POST /login"]),
    ("Signed out", &["POST /logout"]),
    ("Signed a browser out", &["POST /system/sessions/{id}", "DELETE /api/v1/sessions/{id}"]),
    ("Made a sign-in link", &["POST /system/devices", "POST /api/v1/login-links"]),
    ("Changed the password", &["PATCH /api/v1/password"]),
    ("Made an API token", &["POST /system/tokens", "POST /api/v1/tokens"]),
    ("Revoked an API token", &["POST /system/tokens/{id}", "DELETE /api/v1/tokens/{id}"]),
    ("Made a link to connect a car", &["POST /connect", "POST /api/v1/connect"]),
    ("Connected a car", &["GET /api/smartcar/callback", "POST /api/smartcar/exchange"]),
    ("Disconnected", &["POST /vehicles/{id}/disconnect", "DELETE /api/v1/vehicles/{id}"]),
    ("Ended a connection", &["POST /connections/{id}/disconnect", "DELETE /api/v1/connections/{id}"]),
    ("Renewed access", &["POST /connections/{id}/refresh", "POST /api/v1/connections/{id}/refresh"]),
    ("Named", &["POST /vehicles/{id}", "PATCH /api/v1/vehicles/{id}"]),
    ("Subscribed to the webhook", &["POST /api/v1/vehicles/{id}/subscribe"]),
    ("Replayed a delivery", &["POST /webhooks/{seq}", "POST /api/v1/webhooks/{seq}/replay"]),
    ("Changed settings", &["POST /setup", "PATCH /api/v1/settings"]),
    ("Added an owner", &["POST /api/v1/users"]),
    ("Changed an owner", &["PATCH /api/v1/users/{id}"]),
    ("Removed an owner", &["DELETE /api/v1/users/{id}"]),
    ("Replaced the master key", &["POST /api/v1/key/rotate"]),
];

/// What is removed, and how it is told if its history went with it.
const REMOVALS: &[(&str, &str)] = &[
    ("Disconnected", "Erased"),
    ("Ended a connection", "Ended a connection and erased its cars"),
    ("Removed an owner", "Removed an owner and erased the cars"),
];

/// These tell a car what to do: from the page with the name of the command, from elsewhere with its two parts. What came of
/// it later is told with its name.
const COMMANDS: [(&str, usize); 4] = [
    (ENDED, 1),
    ("POST /vehicles/{id}/commands", 1),
    ("POST /api/v1/vehicles/{id}/commands/{group}/{action}", 2),
    ("POST /v3/vehicles/{id}/commands/{group}/{action}", 2),
];

impl<'a> Deed<'a> {
    fn of(action: &'a str, ids: &'a [String], cars: &[VehicleName]) -> Deed<'a> {
        let named = COMMANDS.iter().find(|(route, _)| *route == action).and_then(|(_, parts)| ids.get(1..=*parts));
        let words = match named {
            Some(parts) => Some(orders::title(&parts.join("/"), &[])),
            None => DEEDS.iter().find(|(_, routes)| routes.contains(&action)).map(|(words, _)| (*words).to_owned()),
        };
        let about = named.map_or(0, <[String]>::len);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let Some(words) = words else {
            return Deed { words: action.to_owned(), car: None, ids, route: None, ended: None, is_damaged: false };
        };
        let (words, ids, is_damaged) = removal(words, ids);
        let (car, rest) = match ids.split_first() {
            Some((id, rest)) if named.is_some() || action.contains("/vehicles/{id}") => {
                (Some(names::of(cars, &VehicleId::new(*id))), rest)
            }
            _ => (None, &*ids),
        };
        let rest = rest.get(about..).unwrap_or_default();
        let (ended, ids) = match rest.split_last() {
            Some((ended, rest)) if named.is_some() => (Some(*ended), rest),
            _ => (None, rest),
        };
        Deed { words, car, ids: ids.to_vec(), route: Some(action), ended, is_damaged }
    }

    /// A class and words for what came of it. A status is a number for whoever looks after it, so only when it was refused.
    fn outcome(&self, status: Option<u16>) -> (&'static str, String) {
        match (self.ended, status) {
            (Some("failed"), _) => ("red", "failed".to_owned()),
            (Some("pending"), _) => ("grey", "on its way".to_owned()),
            (Some("unknown"), _) => ("yellow", "unknown".to_owned()),
            (Some("success"), _) | (_, Some(..400)) => ("green", "done".to_owned()),
            (_, None) => ("grey", "cut off".to_owned()),
            (_, Some(500)) if self.is_damaged => ("yellow", "done, but for what is damaged".to_owned()),
            (_, Some(status @ 400..500)) => ("red", format!("refused: {status}")),
            (_, Some(status)) => ("red", format!("failed: {status}")),
        }
    }
}

/// The words for a removal, what it was about, and whether something of it is damaged.
fn removal(words: String, mut ids: Vec<&str>) -> (String, Vec<&str>, bool) {
    let Some((_, with_history)) = REMOVALS.iter().find(|(plain, _)| *plain == words) else { return (words, ids, false) };
    let is_damaged = ids.len() > 1 && ids.last() == Some(&DAMAGED);
    if is_damaged {
        ids.pop();
    }
    let is_erased = ids.get(1) == Some(&ERASED);
    if is_erased {
        ids.remove(1);
    }
    (if is_erased { (*with_history).to_owned() } else { words }, ids, is_damaged)
}

impl AuditPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let numbers = &Numbers::of(self.shell.language);
        let rows = self.entries.iter().map(|AuditView { entry, .. }| {
            let deed = Deed::of(&entry.action, &entry.ids, self.names);
            Row {
                when: When::ago(self.shell.now, entry.at),
                who: who(&entry.actor),
                address: entry.address.map(|address| address.to_string()).unwrap_or_default(),
                outcome: match &entry.actor {
                    Actor::Stranger if entry.count == 1 => ("yellow", "once".to_owned()),
                    Actor::Stranger => ("yellow", format!("{} times", numbers.count(entry.count.into()))),
                    _ => deed.outcome(entry.status),
                },
                deed,
            }
        });
        finish(&View { shell: self.shell, rows: rows.collect(), older: self.older, later_part: self.later_part })
    }
}

/// Who it was, in words, and by which name.
fn who(actor: &Actor) -> (&'static str, &str) {
    match actor {
        Actor::Local { user, .. } => ("this machine", user.as_deref().unwrap_or_default()),
        Actor::Token { name, .. } => ("token", name),
        Actor::Session { .. } => ("browser", ""),
        Actor::Link => ("link", ""),
        Actor::Password => ("password", ""),
        Actor::Proxy { user } => ("proxy", user),
        Actor::Stranger => ("stranger", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn there_are_words_for_routes_that_there_are() {
        let commands = COMMANDS.iter().map(|(route, _)| *route);
        let routes = commands.filter(|action| *action != ENDED);
        for known in DEEDS.iter().flat_map(|(_, routes)| *routes).copied().chain(routes) {
            assert!(crate::web::routes().any(|(method, pattern)| format!("{method} {pattern}") == known), "{known}");
        }
    }

    #[test]
    fn a_deed_is_told_as_it_ended() {
        let cars = samples::names(&samples::vehicles());
        let car = names::name(&cars[0]);
        let said = |action: &str, more: &[&str], status| {
            let ids: Vec<String> = [cars[0].id.as_str()].iter().chain(more).map(|&id| id.to_owned()).collect();
            let deed = Deed::of(action, &ids, &cars);
            let (class, outcome) = deed.outcome(status);
            let name = deed.car.as_deref().map_or("", |name| if name == car { "CAR" } else { name });
            format!("{} {name} {} {class} {outcome}", deed.words, deed.ids.join(","))
        };
        let (page, api) = ("POST /vehicles/{id}/commands", "POST /api/v1/vehicles/{id}/commands/{group}/{action}");
        for (told, expected) in [
            (said(page, &["security/unlock", "c1", "success"], Some(303)), "Unlock CAR c1 green done"),
            (said(page, &["security/unlock", "c1", "failed"], Some(303)), "Unlock CAR c1 red failed"),
            (said(api, &["security", "lock", "c1", "X:Y", "failed"], Some(200)), "Lock CAR c1,X:Y red failed"),
            (said(page, &["charge-port/open", "c1", "pending"], Some(303)), "Open the charge port CAR c1 grey on its way"),
            (said(page, &["security/lock", "reconnect_required"], Some(409)), "Lock CAR  red refused: 409"),
            (said(page, &["security/lock"], None), "Lock CAR  grey cut off"),
            (said(page, &[], None), "POST /vehicles/{id}/commands  ID grey cut off"),
            (said(api, &["charge", "start", "c1", "unknown"], Some(200)), "Start charging CAR c1 yellow unknown"),
            (said(ENDED, &["security/unlock", "c1", "success"], None), "Unlock CAR c1 green done"),
            (said(ENDED, &["security/lock", "c1", "X:Y", "failed"], None), "Lock CAR c1,X:Y red failed"),
            (said(ENDED, &["charge/start", "c1", "unknown"], None), "Start charging CAR c1 yellow unknown"),
            (said("POST /vehicles/{id}/disconnect", &[], Some(502)), "Disconnected CAR  red failed: 502"),
            (said("DELETE /api/v1/vehicles/{id}", &["erase"], Some(204)), "Erased CAR  green done"),
            (
                said("DELETE /api/v1/vehicles/{id}", &["erase", "damaged"], Some(500)),
                "Erased CAR  yellow done, but for what is damaged",
            ),
            (said("DELETE /api/v1/vehicles/{id}", &["erase"], Some(500)), "Erased CAR  red failed: 500"),
            (
                said("DELETE /api/v1/users/{id}", &["erase", "c1", "damaged"], Some(500)),
                "Removed an owner and erased the cars  ID,c1 yellow done, but for what is damaged",
            ),
            (said("POST /connections/{id}/refresh", &[], Some(303)), "Renewed access  ID green done"),
            (said("carport leave", &[], Some(200)), "carport leave  ID green done"),
        ] {
            assert_eq!(told, expected.replace("ID", cars[0].id.as_str()));
        }
    }
}
