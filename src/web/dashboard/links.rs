//! Connecting: the connections, an invite, and how a journey ended.

use askama::Template;
use qrcode::QrCode;
use qrcode::render::svg;

use super::format::{self, Rich, When, page_link, words};
use super::told::Told;
use super::{ConnectionsPage, DonePage, InvitePage, Part, Shell, finish, names};
use crate::connect::{Ending, Invite};
use crate::model::VehicleId;
use crate::model::token::Generation;
use crate::operate::status::RefreshStatus;
use crate::smartcar::in_two;
use crate::vehicles::connections::ConnectionView;
use crate::vehicles::users::UserView;
use crate::web::answer::path_part;

#[derive(Template)]
#[template(path = "connections.html")]
struct View<'a> {
    shell: Shell<'a>,
    cards: Vec<Card<'a>>,
    part: Part,
    status: &'a RefreshStatus,
    stopped: Option<&'a str>,
    told: Vec<Told>,
    next_due: Option<When>,
    owners: Vec<Owner<'a>>,
}

/// An owner, by name and cars.
struct Owner<'a> {
    id: &'a str,
    name: Option<&'a str>,
    vehicles: Vec<(String, String)>,
    /// How many cars there were that are the owner's no more.
    former: usize,
    /// Until when the open invites may be used that last longest,
    invites: Vec<When>,
    /// and how many there are besides.
    more: usize,
}

struct Card<'a> {
    connection: &'a ConnectionView,
    state: (&'static str, &'static str),
    vehicles: Vec<(String, String)>,
    told: Vec<Told>,
    access: Option<When>,
    refresh: Option<When>,
    last: Option<When>,
    next: Option<When>,
    missing: Vec<String>,
    granted: Vec<String>,
    has_ended: bool,
}

#[derive(Template)]
#[template(path = "invite.html")]
struct InviteView<'a> {
    shell: Shell<'a>,
    title: String,
    /// The car that is connected once more,
    again: Option<String>,
    /// for this permission.
    added: Option<String>,
    invite: &'a Invite,
    url: &'a str,
    until: When,
    only_here: bool,
    qr: Option<String>,
}

#[derive(Template)]
#[template(path = "done.html")]
struct DoneView<'a> {
    shell: Shell<'a>,
    ending: &'a Ending,
    again: &'a str,
    key: Option<&'a str>,
}

impl<'a> ConnectionsPage<'a> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let now = self.shell.now;
        let cards = self.part.cut(self.connections).iter().map(|connection| Card {
            connection,
            state: match connection.status {
                "active" if connection.serves_none => ("grey", "No car"),
                "active" if connection.awaits_vehicles() => ("yellow", "Waits for its cars"),
                "active" => ("green", "Active"),
                "needs_reconnect" => ("red", "Needs its owner"),
                "disconnected" => ("grey", "Disconnected"),
                _ => ("grey", "Unknown"),
            },
            vehicles: self.links(&connection.vehicles),
            told: Told::of(connection, self.status.stopped.as_deref())
                .into_iter()
                .chain(Told::notices(self.notices, "access_ending", Some(connection)))
                .collect(),
            access: connection.access_expires_at.map(|at| When::ahead(now, at)),
            refresh: connection.refresh_expires_at.map(|at| When::ahead(now, at)),
            last: connection.last_refresh.map(|at| When::ago(now, at)),
            next: connection.next_refresh.map(|at| if at > now { When::ahead(now, at) } else { When::due(at) }),
            missing: connection.missing_scope.iter().map(|scope| permission(scope)).collect(),
            granted: connection.scope.iter().map(|scope| permission(scope)).collect(),
            has_ended: connection.status == "disconnected",
        });
        let next_due = self.status.next_due_at.map(|at| if at > now { When::ahead(now, at) } else { When::due(at) });
        let stopped = self.status.stopped.as_deref().map(|said| in_two(said).0);
        let told = Told::notices(self.notices, "renewal_failing", None);
        finish(&View {
            shell: self.shell,
            cards: cards.collect(),
            part: self.part,
            status: self.status,
            stopped,
            told,
            next_due,
            owners: self.owners(),
        })
    }

    /// A household of one owner needs no list of them, unless there is an invite to tell of.
    fn owners(&self) -> Vec<Owner<'a>> {
        if self.users.len() < 2 && self.users.iter().all(|owner| owner.invites.is_empty()) {
            return Vec::new();
        }
        let longest = |owner: &UserView| {
            let mut ends: Vec<_> = owner.invites.iter().map(|invite| invite.expires_at).collect();
            ends.sort_unstable_by(|one, other| other.cmp(one));
            ends.into_iter().take(INVITES).map(|at| When::ahead(self.shell.now, at)).collect()
        };
        let owner = |owner: &'a UserView| Owner {
            id: owner.user.id.as_str(),
            name: owner.user.name.as_deref(),
            vehicles: self.links(&owner.vehicles),
            former: owner.former_vehicles.len(),
            invites: longest(owner),
            more: owner.invites.len().saturating_sub(INVITES),
        };
        self.users.iter().map(owner).collect()
    }

    /// Where the pages of cars are, and what they are called.
    fn links(&self, cars: &[VehicleId]) -> Vec<(String, String)> {
        cars.iter().map(|id| (format!("/vehicles/{}", path_part(id.as_str())), names::of(self.names, id))).collect()
    }
}

impl InvitePage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let (again, added) = (self.again.map(names::name), self.added.map(permission));
        finish(&InviteView {
            shell: self.shell,
            title: match (&again, &added) {
                (Some(car), None) => format!("Reconnect {car}"),
                (Some(car), Some(permission)) => format!("Ask for {permission} of {car}"),
                (None, _) => "Connect a car".to_owned(),
            },
            again,
            added,
            invite: self.invite,
            url: page_link(&self.invite.url).unwrap_or("/"),
            until: When::ahead(self.shell.now, self.invite.expires_at),
            only_here: self.only_here,
            qr: if self.only_here { None } else { qr(&self.invite.url) },
        })
    }
}

impl DonePage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let key = match self.ending {
            Ending::Connected { virtual_key_url, .. } => virtual_key_url.as_deref().and_then(page_link),
            _ => None,
        };
        let again = page_link(self.again).unwrap_or("/");
        finish(&DoneView { shell: self.shell, ending: self.ending, again, key })
    }
}

/// So many open invites are told of by themselves: they end unused after a day.
const INVITES: usize = 3;

/// `read_battery` as `read battery`.
fn permission(scope: &str) -> String {
    words(scope).to_lowercase()
}

/// A link as an SVG, dark on light in any scheme: cameras want it so. `None` if it is too long for one.
pub(super) fn qr(url: &str) -> Option<String> {
    let code = QrCode::new(url.as_bytes()).ok()?;
    let drawn = code
        .render::<svg::Color<'_>>()
        .min_dimensions(220, 220)
        .dark_color(svg::Color("#000"))
        .light_color(svg::Color("#fff"))
        .build();
    let (_, svg) = drawn.split_once("<svg ")?;
    Some(format!("<svg role=\"img\" aria-label=\"QR code of the link\" class=\"qr\" {svg}"))
}
