//! What holds on each route: how often, how much, who, and from where. `policies.txt` shows all of it, a route a line.
//!
//! Who calls is found out in one place for all of them (`session::identify`): Carport's own user over its socket, whom
//! no limit counts, a token, and where pages are (`Face::knows_sessions`), a browser that is signed in or whom a trusted
//! proxy names, as an administrator. A client is an IPv4 address or a /64. `web::handle` refuses a `Host` that is not ours,
//! `web::respond` holds what signed-in browsers send to their own origin and to the token of their page, `web::astray`
//! answers what is no route: each takes one of `api`, but for deliveries to a wrong address, of which the operator is told.
//!
//! Beyond that handlers refuse what depends on the request itself: a sign-in from another site, or by plain http from
//! outside the house (`session`), another user than the token's and permissions to control that nobody configured
//! (`connect`), a token of one vehicle or one that only connects and brings no `state` (`exchange`), what is none of our
//! tokens (`compat::tokens`), a stream too many (`events`), a second command at once (`commands`), a delivery without proof
//! (`ingest`), a call beyond the budget.

use super::super::Settings;
use super::Route;
use crate::operate::access::Scope;
use crate::operate::audit::Ring;

/// What holds on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) struct Policy {
    /// What each request takes one from, before anything is read; one that is refused (4xx) takes two more.
    pub(in crate::web) bucket: Option<Bucket>,
    /// What a proof takes from that fails, or that can be guessed: a token, a password, a signature.
    pub(in crate::web) proofs: Option<Bucket>,
    /// The longest body; `None`: a body is not read at all.
    pub(in crate::web) body_cap: Option<Cap>,
    /// Who may.
    pub(in crate::web) auth: Auth,
    /// What tokens get that are bound to a user or a vehicle.
    pub(in crate::web) bound: Bound,
    /// Only the user that runs Carport may, over its own socket: by this command.
    pub(in crate::web) only_by: Option<&'static str>,
    /// A ticket in the query does instead of a token.
    pub(in crate::web) ticket: bool,
    /// Who is signed in is known here, though everybody may; whoever cannot be known passes for a stranger.
    pub(in crate::web) greets: bool,
    /// Whether pages of other origins may, those in `api.allowed_origins`.
    pub(in crate::web) cors: bool,
    /// On which listeners it is.
    pub(in crate::web) shown: Shown,
    /// Where in the audit log it is noted.
    pub(in crate::web) audit: Option<Ring>,
}

/// What a token gets that is bound to a user or a vehicle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Bound {
    /// What is within its reach; anything else does not exist.
    Own,
    /// Nothing: it concerns everybody.
    Refused,
}

/// Where a route is, once `private_listen` divides the world from the house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Shown {
    /// Everywhere but where plain HTTP is only led to https: Smartcar and owners need it.
    Everywhere,
    /// In the house, and with `public_api` everywhere.
    Api,
    /// In the house.
    House,
}

/// How long a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Cap {
    /// [`LONGEST_FORM`].
    Form,
    /// `webhooks.max_body`.
    Delivery,
}

/// The longest JSON or form that any route has use for, in bytes.
pub const LONGEST_FORM: usize = 16 * 1024;

impl Cap {
    /// In bytes.
    pub(in crate::web) fn bytes(self, settings: &Settings) -> usize {
        match self {
            Cap::Form => LONGEST_FORM,
            Cap::Delivery => settings.webhook_max_body,
        }
    }
}

/// The rate limits, by name: `limits` in the configuration has the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Bucket {
    /// Deliveries that failed their proof: `webhook_failures`.
    WebhookFailures,
    /// Connect links and callbacks: `callback`.
    Callback,
    /// Requests for the sign-in, its page and its form, so that nobody makes us look for links as fast as they can ask: ten
    /// times `login`.
    SignIn,
    /// Tries to sign in, passwords, and links that are not good: `login`.
    Login,
    /// Tokens that are not known: as many as `login`, counted by themselves.
    Tokens,
    /// Everything else, what is not there included: `api`.
    Api,
}

/// Who may take a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Auth {
    /// Everybody.
    Open,
    /// Who signs what they send; nothing else of a request is believed. Smartcar's first question, VERIFY, may come
    /// unsigned: its answer is worth nothing to anybody else.
    Signature,
    /// A program or a browser with this scope.
    Scope(Scope),
    /// The same, but a browser that is not signed in is shown the way.
    Page(Scope),
}

impl Route {
    /// What holds here.
    pub(in crate::web) fn policy(self) -> Policy {
        let policy = self.access();
        Policy { audit: self.audit(policy.auth), ..policy }
    }

    /// All but the audit, which follows from it.
    #[expect(
        clippy::match_same_arms,
        clippy::too_many_lines,
        reason = "one for each route; Carport's own API and Smartcar's stand apart"
    )]
    fn access(self) -> Policy {
        use Auth::{Open, Page, Signature};
        let base = Policy {
            bucket: None,
            proofs: None,
            body_cap: None,
            auth: Open,
            bound: Bound::Own,
            only_by: None,
            ticket: false,
            greets: false,
            cors: false,
            shown: Shown::House,
            audit: None,
        };
        let everywhere = Policy { shown: Shown::Everywhere, ..base };
        let scoped = |body_cap, scope| {
            // Nothing of the whole gateway is within a bound token's reach.
            let bound = if matches!(scope, Scope::Admin | Scope::Metrics) { Bound::Refused } else { Bound::Own };
            let (bucket, proofs) = (Some(Bucket::Api), Some(Bucket::Tokens));
            Policy { bucket, proofs, body_cap, auth: Auth::Scope(scope), bound, ..base }
        };
        let api = |body_cap, scope| Policy { cors: true, shown: Shown::Api, ..scoped(body_cap, scope) };
        let page = |body_cap, scope| Policy { auth: Page(scope), ..scoped(body_cap, scope) };
        let form = Some(Cap::Form);
        match self {
            Route::Healthz | Route::Readyz | Route::Asset => everywhere,
            Route::OpenApi => Policy { shown: Shown::Api, ..base },
            // SECURITY: no bucket before the proof, or a stranger could use up Smartcar's share.
            Route::Webhook => {
                let (proofs, body_cap) = (Some(Bucket::WebhookFailures), Some(Cap::Delivery));
                Policy { auth: Signature, proofs, body_cap, ..everywhere }
            }
            Route::ConnectBegin | Route::Callback => Policy { bucket: Some(Bucket::Callback), ..everywhere },
            Route::ConnectDone => {
                Policy { bucket: Some(Bucket::Callback), proofs: Some(Bucket::Tokens), greets: true, ..everywhere }
            }
            Route::LoginPage => Policy { bucket: Some(Bucket::SignIn), ..base },
            Route::Login => Policy { bucket: Some(Bucket::SignIn), proofs: Some(Bucket::Login), body_cap: form, ..base },
            Route::Exchange => Policy { shown: Shown::Everywhere, ..api(form, Scope::Connect) },
            Route::Invite => api(form, Scope::Connect),
            Route::CarsPage | Route::CarPage | Route::WebhooksPage | Route::DeliveryPage | Route::ConnectionsPage => {
                page(None, Scope::Read)
            }
            Route::SetupPage => Policy { bound: Bound::Refused, ..page(None, Scope::Read) },
            Route::Setup | Route::Settings => Policy { bound: Bound::Refused, ..api(None, Scope::Read) },
            Route::CommandPage => page(None, Scope::Control),
            Route::CarCommand | Route::CarRefresh => page(form, Scope::Control),
            Route::AuditPage | Route::FormAnswer | Route::SystemPage => page(None, Scope::Admin),
            Route::Logout | Route::UnitsChange => page(form, Scope::Read),
            Route::CarRename
            | Route::CarEnd
            | Route::SetupCheck
            | Route::SettingsMake
            | Route::ConnectPage
            | Route::DeliveryReplay
            | Route::ConnectionRenew
            | Route::ConnectionEnd
            | Route::DeviceAdd
            | Route::TokenMake
            | Route::TokenEnd
            | Route::SessionEnd => page(form, Scope::Admin),
            Route::Metrics => scoped(None, Scope::Metrics),
            Route::Status => api(None, Scope::Metrics),
            Route::Budget
            | Route::Users
            | Route::User
            | Route::Connections
            | Route::Connection
            | Route::Vehicles
            | Route::Vehicle
            | Route::Signals
            | Route::Signal
            | Route::History
            | Route::Charges
            | Route::Trips
            | Route::Deliveries
            | Route::Refused
            | Route::Delivery
            | Route::EventsTicket => api(None, Scope::Read),
            Route::Events => Policy { ticket: true, ..api(None, Scope::Read) },
            Route::VehicleRefresh | Route::CommandRun => api(form, Scope::Control),
            Route::Command => api(None, Scope::Control),
            Route::UserAdd
            | Route::UserChange
            | Route::UserRemove
            | Route::ConnectionRemove
            | Route::ConnectionRefresh
            | Route::Adopt
            | Route::Import
            | Route::Migrate
            | Route::VehicleSubscribe
            | Route::VehicleChange
            | Route::VehicleRemove
            | Route::Replay
            | Route::TokenCreate
            | Route::TokenRevoke
            | Route::SessionRevoke
            | Route::SettingsChange
            | Route::LoginLink => api(form, Scope::Admin),
            // SECURITY: a token that was lost for an hour must not leave a way in behind, nor make the copy of the key
            // worthless.
            Route::PasswordChange => Policy { only_by: Some("carport password set"), ..api(form, Scope::Admin) },
            Route::KeyRotate => Policy { only_by: Some("carport key rotate"), ..api(form, Scope::Admin) },
            // What they are brought is proven in their handlers.
            Route::V2Token | Route::V3Token => Policy {
                bucket: Some(Bucket::Api),
                proofs: Some(Bucket::Tokens),
                body_cap: form,
                cors: true,
                shown: Shown::Api,
                ..base
            },
            Route::V2SmartcarUser
            | Route::V2Vehicles
            | Route::V2Vehicle
            | Route::V2Permissions
            | Route::V2Endpoint
            | Route::V2EndpointPart
            | Route::V2Compatibility
            | Route::V2Matrix
            | Route::V2Connections
            | Route::V3Connections
            | Route::V3Connection
            | Route::V3Vehicle
            | Route::V3Signals
            | Route::V3Signal => api(None, Scope::Read),
            // Smartcar answers these, for the whole application.
            Route::V3Webhooks | Route::V3Webhook | Route::V3Subscriptions | Route::V3Subscription => {
                Policy { bound: Bound::Refused, ..api(None, Scope::Read) }
            }
            Route::V2Batch => api(form, Scope::Read),
            Route::V2Command | Route::V2CommandPart | Route::V3Command => api(form, Scope::Control),
            Route::V2Disconnect
            | Route::V2Unsubscribe
            | Route::V2ConnectionsEnd
            | Route::V3ConnectionEnd
            | Route::V3SmartcarUserEnd
            | Route::V3Unsubscribe => api(None, Scope::Admin),
            Route::V2Subscribe | Route::V3Subscribe => api(form, Scope::Admin),
            Route::Tokens | Route::Sessions | Route::AuditLog | Route::Key | Route::Export => api(None, Scope::Admin),
        }
    }

    /// A new route is noted, unless it is read only.
    fn audit(self, auth: Auth) -> Option<Ring> {
        match self {
            Route::Webhook
            | Route::VehicleRefresh
            | Route::EventsTicket
            | Route::V2Batch
            | Route::V2Token
            | Route::V3Token
            | Route::CarRefresh
            | Route::UnitsChange
            | Route::SetupCheck => None,
            Route::Callback | Route::CarCommand => Some(Ring::Use),
            _ if self.name().starts_with("GET ") => None,
            _ => match auth {
                Auth::Open | Auth::Signature | Auth::Scope(Scope::Admin) | Auth::Page(_) => Some(Ring::Administration),
                Auth::Scope(_) => Some(Ring::Use),
            },
        }
    }

    /// Whether a person in a browser comes here, who is better served by a page than by JSON.
    pub(in crate::web) fn is_for_people(self) -> bool {
        matches!(self, Route::ConnectBegin | Route::ConnectDone | Route::Callback | Route::LoginPage | Route::Login)
            || matches!(self.policy().auth, Auth::Page(_))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::guard::SIGN_IN;
    use super::super::super::settings::{Limits, Quota};
    use super::super::TABLE;
    use super::*;

    fn words<T: std::fmt::Debug>(what: Option<T>) -> String {
        what.map_or("-".to_owned(), |what| format!("{what:?}"))
    }

    /// The words of the columns, with the numbers that hold unless the configuration says otherwise.
    fn legend() -> String {
        let limits = Limits::default();
        let a_minute = |quota: Quota, times: u32| {
            assert_eq!(quota.period, Duration::from_secs(60));
            quota.count * times
        };
        format!(
            "What holds on each route. The words are explained in policy.rs, which also says what handlers refuse beyond it.\n\n\
             shown     Everywhere; Api: in the house, and with public_api everywhere; House: in the house.\n\
             \x20         All of it is one listener until private_listen divides it.\n\
             who       Open: everybody, but for what proofs says; Signature: who signs; Scope: a token or a session that may so\n\
             \x20         much (Admin over Control over Read over Metrics; Connect within Control); Page: the same for browsers,\n\
             \x20         which are shown the way to sign in\n\
             bound     what tokens get that are bound to a user or a vehicle: what is their Own, or Refused\n\
             requests  what each request takes one from, and two more if it is refused, for each client and minute:\n\
             \x20         Api {api}, Callback {callback}, SignIn {sign_in}\n\
             proofs    what a proof takes one from that fails, or can be guessed: WebhookFailures {failures}, Login {login}, Tokens {login}\n\
             body      the longest in bytes: Form {LONGEST_FORM}, Delivery {delivery}; -: it is not read\n\
             audit     where it is noted, and how many are kept: Administration {administration}, Use {used}. What a client was refused\n\
             \x20         (4xx) is not, but for commands with 403, 409, 429 and 430; refused tokens, links and passwords are\n\
             \x20         counted on every route, by address\n\n",
            api = a_minute(limits.api, 1),
            callback = a_minute(limits.callback, 1),
            sign_in = a_minute(limits.login, SIGN_IN),
            failures = a_minute(limits.webhook_failures, 1),
            login = a_minute(limits.login, 1),
            delivery = Settings::default().webhook_max_body,
            administration = Ring::Administration.keeps(),
            used = Ring::Use.keeps(),
        )
    }

    /// What a change of a policy changes is seen at once, on one page; `UPDATE_EXPECT=1` writes it anew.
    #[test]
    fn all_policies_on_one_page() {
        let line = |columns: [&str; 9]| {
            let [route, shown, who, bound, bucket, proofs, body, audit, more] = columns;
            let line = format!("{route:52} {shown:10} {who:15} {bound:7} {bucket:8} {proofs:15} {body:8} {audit:14} {more}");
            format!("{}\n", line.trim_end())
        };
        let mut page = legend() + &line(["route", "shown", "who", "bound", "requests", "proofs", "body", "audit", ""]);
        for (_, _, route) in TABLE {
            let Policy { bucket, proofs, body_cap, auth, bound, only_by, ticket, greets, cors, shown, audit } = route.policy();
            let who = format!("{auth:?}");
            // Whom nobody knows is bound to nothing.
            let bound = if matches!(auth, Auth::Scope(_) | Auth::Page(_)) { words(Some(bound)) } else { words::<Bound>(None) };
            let more = [(cors, "cors"), (ticket, "ticket"), (greets, "greets"), (only_by.is_some(), "own socket only")];
            let more: Vec<&str> = more.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word).collect();
            let (shown, more) = (format!("{shown:?}"), more.join(", "));
            let (bucket, proofs, body, audit) = (words(bucket), words(proofs), words(body_cap), words(audit));
            page += &line([route.name(), &shown, &who, &bound, &bucket, &proofs, &body, &audit, &more]);
        }
        expect_test::expect_file!["policies.txt"].assert_eq(&page);
    }

    #[test]
    fn reads_and_deliveries_are_not_noted() {
        for route in [Route::Webhook, Route::VehicleRefresh, Route::Users, Route::CarsPage, Route::LoginPage] {
            assert_eq!(route.policy().audit, None, "{}", route.name());
        }
        for route in [Route::UserAdd, Route::TokenRevoke, Route::Login, Route::Logout, Route::CarRename] {
            assert_eq!(route.policy().audit, Some(Ring::Administration), "{}", route.name());
        }
        for route in [Route::Invite, Route::Exchange, Route::Callback] {
            assert_eq!(route.policy().audit, Some(Ring::Use), "{}", route.name());
        }
    }

    #[test]
    fn nothing_is_done_without_a_limit() {
        let unlimited: Vec<&str> =
            TABLE.iter().filter(|(_, _, route)| route.policy().bucket.is_none()).map(|(_, _, route)| route.name()).collect();
        assert_eq!(
            unlimited,
            ["GET /healthz", "GET /readyz", "GET /openapi.json", "GET /assets/{name}", "POST /api/webhooks/smartcar"]
        );
    }
}
