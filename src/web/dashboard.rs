//! The pages: data in, HTML out. No handler, no store, no clock: what a page shows is handed in.
//!
//! Everything that comes from outside is escaped by askama. The pages hold to the policy
//! `default-src 'none'; script-src 'self'; style-src 'self'; form-action 'self'`: no inline style, no
//! inline script, nothing from other hosts. All of it works without the script.
//!
//! What the pages link and post to (every POST but the login's carries the field `csrf`):
//!
//! | | |
//! |---|---|
//! | `GET /`, `?page=` | [`CarsPage`] |
//! | `GET /vehicles/{id}`, `?past=day` (week, month, year), `?done=` and the word of a [`Done`], as on the others | [`CarPage`] |
//! | `POST /vehicles/{id}` | field `nickname` (empty takes it away); then back to the car. What is wrong there and in the next ones is told on [`CarPage`] |
//! | `POST /vehicles/{id}/commands` | fields `command` and what goes with it: leads to [`ConfirmPage`]; with `sure` it is given, then to it |
//! | `GET /vehicles/{id}/commands/{command}` | [`CommandPage`] |
//! | `POST /vehicles/{id}/refresh`, `/disconnect` | then back to the car, or to all |
//! | `POST /units` | fields `distance`, `pressure`, `temperature`, and `car` to go back to; kept in a cookie |
//! | `POST /connect` | makes an invite, leads to [`InvitePage`]; optional fields: `vehicle` re-authenticates, with `add_scope` asks for a permission |
//! | `GET /connect/{invite}/done` | [`DonePage`] |
//! | `GET /webhooks`, `?before={seq}` and [`Filters`] | [`WebhooksPage`] |
//! | `GET /webhooks/{seq}` | [`DeliveryPage`] |
//! | `POST /webhooks/{seq}` | replays it; then back to it |
//! | `GET /connections`, `?page=` | [`ConnectionsPage`] |
//! | `POST /connections/{id}/refresh`, `/disconnect` | then back to the connections |
//! | `GET /system` | [`SystemPage`] |
//! | `POST /system/devices` | makes a sign-in link, leads to [`DevicePage`] |
//! | `POST /system/tokens` | makes a token, leads to [`TokenPage`]; what is wrong is told on [`SystemPage`] |
//! | `GET /answers/{id}` | the page to which a form has led (`web::flash`) |
//! | `POST /system/tokens/{id}`, `/system/sessions/{id}` | field `sure`: ends it; then back to the system |
//! | `GET /setup` | [`SetupPage`] |
//! | `POST /setup/check`, `POST /setup` | tries everything; makes settings, a field for each key; then back to it |
//! | `GET /audit`, `?before={number}` | [`AuditPage`] |
//! | `GET /login?t=` | [`LoginPage`] |
//! | `POST /login` | field `t` or `password`; then to `/` |
//! | `POST /logout` | ends the session |
//! | `GET /assets/{name}` | [`asset`] |

mod alerts;
mod assets;
mod audit;
mod car;
mod cars;
mod chart;
mod deliveries;
mod format;
mod gauge;
mod links;
mod mistake;
mod names;
mod numbers;
mod orders;
mod part;
mod past;
mod plain;
#[cfg(test)]
mod samples;
mod setup;
mod shell;
mod signals;
mod span;
mod system;
#[cfg(test)]
mod tests;
mod told;

pub(crate) use self::mistake::Mistake;
pub(crate) use self::numbers::Language;
pub(crate) use self::part::Part;
pub(crate) use self::past::drawn;
pub(crate) use self::setup::Refused;
pub(crate) use self::shell::{Done, Shell, Tab, Way};
pub(crate) use self::span::{Clock, PastSpan};

use crate::budget::BudgetView;
use crate::commands::CommandView;
use crate::connect::{Ending, Invite};
use crate::ingest::Refusal;
use crate::model::event::{NotUnderstood, Projection};
use crate::model::taste::Taste;
use crate::model::{Seq, Timestamp};
use crate::operate::access::{SessionView, TokenView};
use crate::operate::audit::AuditView;
use crate::operate::deliveries::DeliveryView;
use crate::operate::notices::NoticeView;
use crate::operate::probes::{self, Finding};
use crate::operate::rotation::KeyView;
use crate::operate::settings::SettingView;
use crate::operate::status::{Missing, RefreshStatus, StatusView, WebhookStatus};
use crate::vehicles::connections::ConnectionView;
use crate::vehicles::users::UserView;
use crate::vehicles::{ChargeView, Course, TripView, VehicleName, VehicleView};

/// `GET /`: a card for each car, and the newest deliveries.
#[derive(Debug)]
pub(crate) struct CarsPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// What all cars within reach are called.
    pub(crate) names: &'a [VehicleName],
    /// Which of them are shown.
    pub(crate) part: Part,
    /// Those.
    pub(crate) vehicles: &'a [VehicleView],
    /// Their connections at least.
    pub(crate) connections: &'a [ConnectionView],
    /// The newest deliveries; five are shown.
    pub(crate) deliveries: &'a [DeliveryView],
    /// What is missing, from the status.
    pub(crate) missing: &'a [Missing],
    /// The notices, from the status.
    pub(crate) notices: &'a [NoticeView],
}

/// `GET /vehicles/{id}`: everything about one car.
#[derive(Debug)]
pub(crate) struct CarPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// The car.
    pub(crate) vehicle: &'a VehicleView,
    /// Its connection, if it has one.
    pub(crate) connection: Option<&'a ConnectionView>,
    /// Its past.
    pub(crate) past: Past<'a>,
    /// A form of the page that was not taken.
    pub(crate) mistake: Option<Mistake<'a>>,
}

/// A part of the past of a car.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past<'a> {
    /// Which part.
    pub(crate) span: PastSpan,
    /// It begins here,
    pub(crate) since: Timestamp,
    /// and ends here.
    pub(crate) until: Timestamp,
    /// How the signals went that are drawn, by code.
    pub(crate) courses: &'a [(&'static str, Vec<Course>)],
    /// Its charging sessions, oldest first.
    pub(crate) charges: &'a [ChargeView],
    /// Its days of driving, oldest first.
    pub(crate) days: &'a [TripView],
    /// In which units the viewer wants to see it.
    pub(crate) taste: Taste,
    /// The viewer's clock.
    pub(crate) clock: Clock,
}

/// The answer to `POST /vehicles/{id}/commands` without `sure`: is it meant?
#[derive(Debug)]
pub(crate) struct ConfirmPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// The car.
    pub(crate) vehicle: &'a VehicleView,
    /// The name of the command.
    pub(crate) command: &'a str,
    /// What goes with it.
    pub(crate) fields: &'a [(&'static str, String)],
}

/// `GET /vehicles/{id}/commands/{command}`: what came of it.
#[derive(Debug)]
pub(crate) struct CommandPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// The car.
    pub(crate) vehicle: &'a VehicleView,
    /// What came of it.
    pub(crate) sent: Sent<'a>,
}

/// What came of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sent<'a> {
    /// It was given.
    Given(&'a CommandView),
    /// It could not even be sent.
    Refused {
        /// Its name.
        command: &'a str,
        /// Why.
        sentence: &'a str,
        /// Connecting again mends it.
        reconnect: bool,
        /// The permission that the owner has not granted.
        lacking: Option<&'a str>,
    },
}

/// The answer to `POST /connect`: an invite, to open here or elsewhere.
#[derive(Debug)]
pub(crate) struct InvitePage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// The invite.
    pub(crate) invite: &'a Invite,
    /// The car that is connected once more,
    pub(crate) again: Option<&'a VehicleView>,
    /// for this permission.
    pub(crate) added: Option<&'a str>,
    /// It leads to this machine only.
    pub(crate) only_here: bool,
}

/// `GET /connect/{invite}/done`: how the owner's journey ended. Public, without navigation.
#[derive(Debug)]
pub(crate) struct DonePage<'a> {
    /// What is around; signed in, it offers the way to the cars.
    pub(crate) shell: Shell<'a>,
    /// How it ended.
    pub(crate) ending: &'a Ending,
    /// Where to try again: `/connect/{invite}`.
    pub(crate) again: &'a str,
}

/// `GET /webhooks`: the log.
#[derive(Debug)]
pub(crate) struct WebhooksPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// A part of the log, newest first.
    pub(crate) deliveries: &'a [DeliveryView],
    /// `before` of the next part.
    pub(crate) older: Option<Seq>,
    /// Whether this is a later part, so that the way back to the newest is offered.
    pub(crate) later_part: bool,
    /// Which deliveries are asked for.
    pub(crate) filters: &'a Filters,
    /// The log's part of the status, for those who see all of it.
    pub(crate) status: Option<&'a WebhookStatus>,
    /// The refused ones, newest first.
    pub(crate) refused: &'a [Refusal],
    /// What the cars are called.
    pub(crate) names: &'a [VehicleName],
    /// The whole URL that Smartcar posts to.
    pub(crate) webhook_url: &'a str,
}

/// Which deliveries somebody wants to see.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    /// Those of this car, by Smartcar's id.
    pub(crate) vehicle: Option<String>,
    /// Those of this type.
    pub(crate) kind: Option<String>,
    /// Those of which this became.
    pub(crate) result: Option<String>,
    /// The one with this id.
    pub(crate) find: Option<String>,
}

/// `GET /webhooks/{seq}`: one delivery.
#[derive(Debug)]
pub(crate) struct DeliveryPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// The delivery, with its payload.
    pub(crate) delivery: &'a DeliveryView,
    /// What was made of it, if that may be seen.
    pub(crate) made: Option<&'a Result<Projection, NotUnderstood>>,
    /// For its values.
    pub(crate) taste: Taste,
    /// Its car, if it is known.
    pub(crate) vehicle: Option<&'a VehicleView>,
}

/// `GET /connections`: whose word we have, and for how long.
#[derive(Debug)]
pub(crate) struct ConnectionsPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// All connections.
    pub(crate) connections: &'a [ConnectionView],
    /// Which of them are shown.
    pub(crate) part: Part,
    /// What the cars are called.
    pub(crate) names: &'a [VehicleName],
    /// The owners.
    pub(crate) users: &'a [UserView],
    /// The refresh loop's part of the status.
    pub(crate) status: &'a RefreshStatus,
    /// The notices, from the status.
    pub(crate) notices: &'a [NoticeView],
}

/// `GET /system`: what Carport uses, what it runs, and who may come in.
#[derive(Debug)]
pub(crate) struct SystemPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// The status.
    pub(crate) status: &'a StatusView,
    /// The ledger of calls.
    pub(crate) budget: &'a BudgetView,
    /// What the cars are called.
    pub(crate) names: &'a [VehicleName],
    /// All API tokens.
    pub(crate) tokens: &'a [TokenView],
    /// All sessions.
    pub(crate) sessions: &'a [SessionView],
    /// The one that looks at this.
    pub(crate) own_session: Option<&'a str>,
    /// The master key.
    pub(crate) key: &'a KeyView,
    /// A token that was not made.
    pub(crate) mistake: Option<Mistake<'a>>,
}

/// The answer to `POST /system/tokens`: the secret, once.
#[derive(Debug)]
pub(crate) struct TokenPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// The token.
    pub(crate) token: &'a TokenView,
    /// Its secret.
    pub(crate) secret: &'a str,
}

/// The answer to `POST /system/devices`: a sign-in link for another device.
#[derive(Debug)]
pub(crate) struct DevicePage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// The link.
    pub(crate) url: &'a str,
    /// When it ends.
    pub(crate) expires_at: Timestamp,
    /// It leads to this machine only.
    pub(crate) only_here: bool,
}

/// `GET /setup`: what is missing, and what to paste into Smartcar's dashboard.
#[derive(Debug)]
pub(crate) struct SetupPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// The status.
    pub(crate) status: &'a StatusView,
    /// What is done and what is open.
    pub(crate) list: &'a [Finding],
    /// When what is not known here was tried last.
    pub(crate) checked_at: Option<Timestamp>,
    /// The public URL is one of plain http: no real car can be connected with it.
    pub(crate) for_trying: bool,
    /// What is configured.
    pub(crate) settings: &'a probes::Settings,
    /// What of it can be made here.
    pub(crate) makeable: &'a [SettingView],
    /// The cars, if one of them lacks something.
    pub(crate) vehicles: &'a [VehicleView],
    /// Some was just made.
    pub(crate) saved: bool,
    /// Or was not taken.
    pub(crate) refused: Option<Refused<'a>>,
}

/// `GET /audit`: who changed what.
#[derive(Debug)]
pub(crate) struct AuditPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// A part of the log, newest first.
    pub(crate) entries: &'a [AuditView],
    /// `before` of the next part.
    pub(crate) older: Option<u64>,
    /// Whether this is a later part, so that the way back to the newest is offered.
    pub(crate) later_part: bool,
    /// What the cars are called.
    pub(crate) names: &'a [VehicleName],
}

/// `GET /login?t=`: one button, so that a preview of the link spends nothing.
#[derive(Debug)]
pub(crate) struct LoginPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// The sign-in link's secret, if it could still be spent.
    pub(crate) link: Option<&'a str>,
}

/// A private page was asked for without a session.
#[derive(Debug)]
pub(crate) struct SignInPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// Whether anybody can sign in the way that the browser came: not by plain http from elsewhere.
    pub(crate) is_possible: bool,
    /// Whether there is a password to ask for.
    pub(crate) has_password: bool,
    /// Whether the one that was given is wrong.
    pub(crate) is_wrong: bool,
}

/// Something went wrong.
#[derive(Debug)]
pub(crate) struct ErrorPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
    /// Where whoever comes back to it is led, if asking for it again would send a form again.
    pub(crate) own: Option<&'a str>,
    /// Where it goes on, the best way first.
    pub(crate) ways: &'a [Way],
    /// The HTTP status.
    pub(crate) status: u16,
    /// A few words.
    pub(crate) title: &'a str,
    /// What happened and what to do.
    pub(crate) sentence: &'a str,
    /// For the log.
    pub(crate) request_id: &'a str,
}

/// A browser opened the webhook address.
#[derive(Debug)]
pub(crate) struct WebhookAddressPage<'a> {
    /// What is around.
    pub(crate) shell: Shell<'a>,
}

/// Draws a page. Writing to a `String` does not fail, so neither does this.
fn finish(page: &impl askama::Template) -> String {
    page.render().unwrap_or_else(|_| "This page could not be drawn.".to_owned())
}

/// `GET /assets/{name}`: the content type and the bytes. The pages name them with a hash of the content
/// (`?v=`), so they may be cached for a year.
pub(crate) fn asset(name: &str) -> Option<(&'static str, &'static [u8])> {
    assets::find(name)
}
