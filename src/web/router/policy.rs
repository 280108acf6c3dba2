//! What holds on each route: how often, how much, who, and from where. The whole policy of the edge.

use super::super::Settings;
use super::Route;
use crate::operate::access::Scope;

/// What holds on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) struct Policy {
    /// What each request takes from.
    pub(in crate::web) bucket: Option<Bucket>,
    /// The longest body; `None`: a body is not read at all.
    pub(in crate::web) body_cap: Option<Cap>,
    /// Who may.
    pub(in crate::web) auth: Auth,
    /// Whether pages of other origins may, those in `api.allowed_origins`.
    pub(in crate::web) cors: bool,
}

/// How long a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Cap {
    /// The longest JSON or form that any route has use for.
    Form,
    /// `webhooks.max_body`.
    Delivery,
}

impl Cap {
    /// In bytes.
    pub(in crate::web) fn bytes(self, settings: &Settings) -> usize {
        match self {
            Cap::Form => 16 * 1024,
            Cap::Delivery => settings.webhook_max_body,
        }
    }
}

/// The rate limits, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Bucket {
    /// Deliveries that failed their proof.
    WebhookFailures,
    /// Connect links and callbacks.
    Callback,
    /// Sign-ins and unknown tokens.
    Login,
    /// Everything else.
    Api,
}

/// Who may take a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Auth {
    /// Everybody.
    Open,
    /// A program or a browser with this scope.
    Scope(Scope),
    /// The same, but a browser that is not signed in is shown the way.
    Page(Scope),
}

impl Route {
    /// The whole policy of the edge.
    #[expect(clippy::match_same_arms, reason = "Carport's own API and Smartcar's stand apart")]
    pub(in crate::web) fn policy(self) -> Policy {
        use Auth::{Open, Page};
        let policy = |bucket, body_cap, auth| Policy { bucket, body_cap, auth, cors: false };
        let api = |body_cap, scope| Policy { cors: true, ..policy(Some(Bucket::Api), body_cap, Auth::Scope(scope)) };
        let page = |body_cap, scope| policy(Some(Bucket::Api), body_cap, Page(scope));
        let form = Some(Cap::Form);
        match self {
            Route::Healthz | Route::Readyz | Route::OpenApi | Route::Asset | Route::LoginPage => policy(None, None, Open),
            // SECURITY: no bucket before the proof, or a stranger could use up Smartcar's share.
            Route::Webhook => policy(None, Some(Cap::Delivery), Open),
            Route::ConnectBegin | Route::ConnectDone | Route::Callback => policy(Some(Bucket::Callback), None, Open),
            Route::Login => policy(None, form, Open),
            Route::Exchange | Route::Invite => api(form, Scope::Connect),
            Route::CarsPage
            | Route::CarPage
            | Route::WebhooksPage
            | Route::DeliveryPage
            | Route::ConnectionsPage
            | Route::SetupPage => page(None, Scope::Read),
            Route::AuditPage | Route::SystemPage => page(None, Scope::Admin),
            Route::Logout => page(form, Scope::Read),
            Route::CarRename
            | Route::ConnectPage
            | Route::DeliveryReplay
            | Route::ConnectionRenew
            | Route::ConnectionEnd
            | Route::DeviceAdd
            | Route::TokenMake
            | Route::TokenEnd
            | Route::SessionEnd => page(form, Scope::Admin),
            Route::Metrics => policy(Some(Bucket::Api), None, Auth::Scope(Scope::Metrics)),
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
            | Route::Events
            | Route::EventsTicket => api(None, Scope::Read),
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
            | Route::LoginLink
            | Route::PasswordChange
            | Route::KeyRotate => api(form, Scope::Admin),
            // What they are brought is proven in their handlers.
            Route::V2Token | Route::V3Token => Policy { cors: true, ..policy(Some(Bucket::Api), form, Open) },
            Route::V2User
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
            | Route::V3Signal
            | Route::V3Webhooks
            | Route::V3Webhook
            | Route::V3Subscriptions
            | Route::V3Subscription => api(None, Scope::Read),
            Route::V2Batch => api(form, Scope::Read),
            Route::V2Command | Route::V2CommandPart | Route::V3Command => api(form, Scope::Control),
            Route::V2Disconnect
            | Route::V2Unsubscribe
            | Route::V2ConnectionsEnd
            | Route::V3ConnectionEnd
            | Route::V3UserEnd
            | Route::V3Unsubscribe => api(None, Scope::Admin),
            Route::V2Subscribe | Route::V3Subscribe => api(form, Scope::Admin),
            Route::Tokens | Route::Sessions | Route::AuditLog | Route::Key | Route::Export => api(None, Scope::Admin),
        }
    }

    /// Whether a person in a browser comes here, who is better served by a page than by JSON.
    pub(in crate::web) fn is_for_people(self) -> bool {
        matches!(
            self,
            Route::ConnectBegin | Route::ConnectDone | Route::Callback | Route::LoginPage | Route::Login | Route::Logout
        ) || matches!(self.policy().auth, Auth::Page(_))
    }
}
