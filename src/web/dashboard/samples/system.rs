//! What the page of the system shows.

use std::path::PathBuf;

use super::{DAY, MINUTE, ago, ahead, vehicles};
use crate::budget::{BudgetView, Called, VehicleBudget};
use crate::model::budget::Reason;
use crate::model::user::User;
use crate::model::{AppUserId, VehicleId};
use crate::operate::access::{Scope, SessionView, TokenView};
use crate::operate::probes;
use crate::operate::rotation::KeyView;
use crate::operate::settings::SettingView;
use crate::smartcar;
use crate::vehicles::users::{InviteView, UserView};

pub(in crate::web::dashboard) fn budget() -> BudgetView {
    let items = vehicles().into_iter().zip([7, 64, 100]).map(|(vehicle, used)| VehicleBudget {
        vehicle: vehicle.id,
        used,
        reasons: [(Reason::Picture, 1), (Reason::Request, used - 1)].into(),
        limit: Some(100),
        remaining: Some(100 - used),
        refused_after: None,
        spent: None,
        rests_until: None,
        last: vec![Called { at: ago(60), reason: Reason::Request }],
    });
    BudgetView {
        since: ago(10 * DAY),
        until: ahead(20 * DAY),
        calls_per_vehicle_month: Some(100),
        reserve: 20,
        application: None,
        items: items.collect(),
        next: None,
    }
}

pub(in crate::web::dashboard) fn users() -> Vec<UserView> {
    let mut cars = vehicles().into_iter().map(|vehicle| vehicle.id);
    let one = |id: &str, name: Option<&str>, vehicles, invites| UserView {
        user: User { id: AppUserId::new(id), name: name.map(str::to_owned), email: None, created_at: ago(DAY) },
        vehicles,
        former_vehicles: Vec::new(),
        invites,
    };
    let invite = InviteView { expires_at: ahead(3600), vehicle: None, mode: None, scope: None };
    vec![one("ada", Some("Ada"), cars.by_ref().take(2).collect(), Vec::new()), one("grace", None, cars.collect(), vec![invite])]
}

pub(in crate::web::dashboard) fn tokens() -> Vec<TokenView> {
    let one = |id: &str, name: &str, scope, vehicle: Option<&str>, expires_at| TokenView {
        id: id.to_owned(),
        name: name.to_owned(),
        scope,
        user: None,
        vehicle: vehicle.map(VehicleId::new),
        created_at: ago(30 * DAY),
        expires_at,
    };
    vec![
        one("0199c7f2-8a10", "Home Assistant", Scope::Control, None, None),
        one("0199c7f2-8a12", "Prometheus", Scope::Metrics, None, Some(ahead(60 * DAY))),
        one("0199c7f2-8a13", "The shed's screen", Scope::Read, Some("unknown-car"), None),
    ]
}

pub(in crate::web::dashboard) fn sessions() -> Vec<SessionView> {
    let one = |id: &str, browser: Option<&str>| SessionView {
        id: id.to_owned(),
        created_at: ago(12 * DAY),
        last_seen_at: ago(40 * MINUTE),
        browser: browser.map(str::to_owned),
    };
    vec![
        one("0199c7f2-8a20", Some("Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0")),
        one("0199c7f2-8a21", None),
    ]
}

pub(in crate::web::dashboard) fn key() -> KeyView {
    KeyView { id: "4f7a-91c2".to_owned(), rotation: None }
}

pub(in super::super) fn probes(text: &str) -> probes::Settings {
    let shown = |key, value: &str, origin: &str| probes::Shown { key, value: value.to_owned(), origin: origin.to_owned() };
    probes::Settings {
        smartcar: smartcar::Settings::default(),
        public_url: String::new(),
        webhook_url: String::new(),
        redirect_uri: String::new(),
        mode: None,
        is_self_signed: false,
        warnings: Vec::new(),
        data_dir: PathBuf::new(),
        shown: vec![
            shown("public_url", text, "config.toml:3"),
            shown("smartcar.v3.client_secret", "***", "CARPORT_SMARTCAR_V3_CLIENT_SECRET"),
            shown("smartcar.v2.client_id", "", "default"),
        ],
    }
}

/// What can be made on the set-up page: some of it, each in another way.
pub(in super::super) fn makeable() -> Vec<SettingView> {
    let one = |key: &'static str, value: Option<&str>, origin: &str| SettingView {
        key,
        value: value.map(str::to_owned),
        is_set: origin != "not set",
        origin: origin.to_owned(),
        fixed: origin.starts_with("config.toml"),
        made: origin == "set-up page",
        secret: key.ends_with("secret"),
    };
    vec![
        one("smartcar.application_id", Some("51a0ca12-0000-4000-8000-000000000001"), "set-up page"),
        one("smartcar.v3.client_id", Some("client_simulated"), "config.toml:7"),
        one("smartcar.v3.client_secret", None, "set-up page"),
        one("smartcar.v2.client_id", None, "not set"),
        one("smartcar.v2.client_secret", None, "not set"),
        one("smartcar.mode", Some("live"), "default"),
        one("public_url", Some("http://localhost:8000"), "from listen"),
    ]
}
