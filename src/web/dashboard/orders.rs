//! What a car can be told from its page, in words; being sure of it; and what came of it.

use askama::Template;

use super::format::{self, Rich, When, page_link};
use super::{CommandPage, ConfirmPage, Sent, Shell, finish, names};
use crate::model::token::Generation;
use crate::vehicles::VehicleView;
use crate::vehicles::connections::ConnectionView;
use crate::web::answer::path_part;

/// A command as people know it.
#[derive(Debug)]
pub(super) struct Order {
    /// Its name in the API.
    pub(super) name: &'static str,
    /// What the button says.
    pub(super) label: &'static str,
    /// What to know before it is sent.
    note: &'static str,
    /// What the owner must have granted.
    permission: &'static str,
}

const ORDERS: &[Order] = &[
    Order {
        name: "security/lock",
        label: "Lock",
        note: "All doors are locked. Somebody inside may not be able to open them.",
        permission: "control_security",
    },
    Order {
        name: "security/unlock",
        label: "Unlock",
        note: "Whoever stands beside the car can open it then.",
        permission: "control_security",
    },
    Order {
        name: "charge/start",
        label: "Start charging",
        note: "The cable has to be plugged in.",
        permission: "control_charge",
    },
    Order {
        name: "charge/stop",
        label: "Stop charging",
        note: "It does not begin again by itself.",
        permission: "control_charge",
    },
    Order {
        name: "charge/set-limit",
        label: "Set limit",
        note: "Charging stops there from now on.",
        permission: "control_charge",
    },
    Order { name: "charge-port/open", label: "Open port", note: "The charge port is opened.", permission: "control_charge" },
    Order { name: "charge-port/close", label: "Close port", note: "The charge port is closed.", permission: "control_charge" },
    Order {
        name: "navigation/set-destination",
        label: "Send",
        note: "The car's navigation shows it as its destination.",
        permission: "control_navigation",
    },
];

/// What goes by a button alone, what needs a number, and what was not granted.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// One button each.
    pub(super) plain: Vec<&'static Order>,
    /// Up to which level is charged.
    pub(super) limit: Option<String>,
    /// Whether it can be sent somewhere.
    pub(super) navigation: bool,
    /// What the owner has not granted: permissions, and the same in words.
    pub(super) lacking: Vec<(&'static str, String)>,
}

impl Offer {
    /// What can be told to a car; nothing if it is not connected.
    pub(super) fn of(vehicle: &VehicleView, connection: Option<&ConnectionView>) -> Option<Offer> {
        let connection = connection.filter(|connection| connection.status == "active")?;
        // What it fails to tell because it has nothing of the kind is listed, too.
        let is_told =
            |group: &str| vehicle.signals.values().any(|signal| signal.body.is_some() && signal.code.starts_with(group));
        let charges = is_told("charge-") || is_told("tractionbattery-");
        let granted = |permission: &str| connection.scope.is_empty() || connection.scope.iter().any(|own| own == permission);
        let mut offer = Offer::default();
        for order in ORDERS {
            let is_port = order.name.starts_with("charge-port");
            if order.permission == "control_charge" && !charges || is_port && connection.generation == Generation::V2 {
                continue;
            }
            if !granted(order.permission) {
                if offer.lacking.iter().all(|(permission, _)| *permission != order.permission) {
                    offer.lacking.push((order.permission, format::words(order.permission).to_lowercase()));
                }
                continue;
            }
            match order.name {
                "charge/set-limit" => offer.limit = Some(limit(vehicle)),
                "navigation/set-destination" => offer.navigation = true,
                _ => offer.plain.push(order),
            }
        }
        Some(offer)
    }
}

/// The limit that there is.
fn limit(vehicle: &VehicleView) -> String {
    let body = vehicle.signals.get("charge-chargelimits").and_then(|signal| Some(signal.body.as_ref()?.value()));
    let limit = body.and_then(|body| body.get("activeLimit")?.as_f64()).filter(|limit| (50.0..=100.0).contains(limit));
    format!("{:.0}", limit.unwrap_or(80.0))
}

/// A command, with what goes with it: `Unlock`, `Set the limit to 80 %`.
pub(super) fn title(name: &str, fields: &[(&str, String)]) -> String {
    let value = |name: &str| fields.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str()).unwrap_or_default();
    match name {
        "charge/set-limit" if !value("percent").is_empty() => format!("Set the charge limit to {} %", value("percent")),
        "charge/set-limit" => "Set the charge limit".to_owned(),
        "navigation/set-destination" if !value("latitude").is_empty() => {
            format!("Send {}, {} as destination", value("latitude"), value("longitude"))
        }
        "navigation/set-destination" => "Send a destination".to_owned(),
        "charge-port/open" => "Open the charge port".to_owned(),
        "charge-port/close" => "Close the charge port".to_owned(),
        name => ORDERS.iter().find(|order| order.name == name).map_or(name, |order| order.label).to_owned(),
    }
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmView<'a> {
    shell: Shell<'a>,
    car: String,
    back: String,
    title: String,
    note: &'static str,
    command: &'a str,
    fields: &'a [(&'static str, String)],
}

#[derive(Template)]
#[template(path = "command.html")]
struct CommandView<'a> {
    shell: Shell<'a>,
    car: String,
    back: String,
    title: String,
    color: &'static str,
    headline: &'static str,
    sentence: String,
    code: Option<&'a str>,
    link: Option<&'a str>,
    reconnect: Option<&'a str>,
    /// The car and the permission that it needs.
    lacking: Option<(&'a str, &'a str)>,
    asked: Option<When>,
    pending: bool,
}

impl ConfirmPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let note = ORDERS.iter().find(|order| order.name == self.command).map_or("", |order| order.note);
        finish(&ConfirmView {
            shell: self.shell,
            car: names::name(self.vehicle),
            back: format!("/vehicles/{}", path_part(self.vehicle.id.as_str())),
            title: title(self.command, self.fields),
            note,
            command: self.command,
            fields: self.fields,
        })
    }
}

impl CommandPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let now = self.shell.now;
        let id = self.vehicle.id.as_str();
        let mut view = CommandView {
            shell: self.shell,
            car: names::name(self.vehicle),
            back: format!("/vehicles/{}", path_part(id)),
            title: String::new(),
            color: "red",
            headline: "It was not sent.",
            sentence: String::new(),
            code: None,
            link: None,
            reconnect: None,
            lacking: None,
            asked: None,
            pending: false,
        };
        match self.sent {
            Sent::Refused { command, sentence, reconnect, lacking } => {
                view.title = title(command, &[]);
                view.sentence = format::sentence(sentence);
                view.reconnect = reconnect.then_some(id);
                view.lacking = lacking.map(|permission| (id, permission));
            }
            Sent::Given(given) => {
                view.title = title(&given.command, &[]);
                view.asked = Some(When::ago(now, given.requested_at));
                (view.color, view.headline) = match given.status {
                    "success" => ("green", "Done."),
                    "failed" => ("red", "The car did not do it."),
                    "pending" => ("grey", "On its way."),
                    _ => ("yellow", "Nobody knows whether it was done."),
                };
                view.pending = given.status == "pending";
                if let Some(failure) = &given.error {
                    view.sentence.clone_from(&failure.sentence);
                    view.code = failure.code.as_deref();
                    view.link = failure.resolution_url.as_deref().and_then(page_link);
                    let account = failure.code.as_deref().is_some_and(|code| code.starts_with("CONNECTED_SERVICES_ACCOUNT:AUTH"));
                    view.reconnect = account.then_some(id);
                } else if view.pending {
                    "Cars may take some minutes. This page looks again by itself; you may leave it."
                        .clone_into(&mut view.sentence);
                } else {
                    "The car has confirmed it. Its values follow with the next delivery.".clone_into(&mut view.sentence);
                }
            }
        }
        finish(&view)
    }
}
