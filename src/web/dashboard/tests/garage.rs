//! All pages, with samples and with hostile texts.

use super::super::samples::{self, NOW, outside, shell};
use super::super::*;
use crate::connect::LinkedVehicle;
use crate::model::audit::Actor;
use crate::model::command::CommandFailure;
use crate::model::event::project;
use crate::model::normal::Units;
use crate::model::reading::{Outcome, SignalFailure};
use crate::model::taste::Taste;
use crate::model::vehicle::VehicleError;
use crate::model::{AppUserId, Json, SmartcarUserId, VehicleId};

/// The only part of a short list.
pub(super) const NONE: Part = Part { number: 1, last: 1 };

pub(super) const EVIL: &str = "<script>alert(\"'&{{1}}`\")</script>";

/// Everything that the pages show.
pub(super) struct Garage {
    pub(super) vehicles: Vec<VehicleView>,
    pub(super) connections: Vec<ConnectionView>,
    pub(super) users: Vec<UserView>,
    pub(super) deliveries: Vec<DeliveryView>,
    pub(super) refused: Vec<Refusal>,
    pub(super) status: StatusView,
    pub(super) todo: StatusView,
    pub(super) invite: Invite,
    pub(super) audit: Vec<AuditView>,
    pub(super) filters: Filters,
    pub(super) made: Result<Projection, NotUnderstood>,
    pub(super) past: samples::Lived,
    pub(super) tokens: Vec<TokenView>,
    pub(super) sessions: Vec<SessionView>,
    pub(super) key: KeyView,
    pub(super) endings: Vec<(&'static str, Ending)>,
    pub(super) text: &'static str,
}

pub(super) fn garage() -> Garage {
    Garage {
        vehicles: samples::vehicles(),
        connections: samples::connections(),
        users: samples::users(),
        deliveries: samples::deliveries(),
        refused: samples::refused(),
        status: samples::status(false),
        todo: samples::status(true),
        invite: samples::invite(),
        audit: samples::audit(),
        filters: Filters::default(),
        made: project(EVENT.as_bytes()),
        past: samples::lived(),
        tokens: samples::tokens(),
        sessions: samples::sessions(),
        key: samples::key(),
        endings: samples::endings().to_vec(),
        text: "There is none of that id.",
    }
}

/// The garage with every text replaced by something hostile.
#[expect(clippy::too_many_lines, reason = "one for each text")]
pub(super) fn hostile() -> Garage {
    let evil = || Some(EVIL.to_owned());
    let body = Json::of(&serde_json::json!({"value": EVIL}));
    let mut garage = garage();
    for vehicle in &mut garage.vehicles {
        (vehicle.make, vehicle.model, vehicle.vin) = (evil(), evil(), evil());
        (vehicle.nickname, vehicle.mode) = (evil(), evil());
        vehicle.user = AppUserId::new(EVIL);
        vehicle.id = VehicleId::new(EVIL);
        vehicle.lights.data_flow.text = EVIL.into();
        vehicle.lights.authority.text = EVIL.into();
        vehicle.errors.push(VehicleError {
            kind: EVIL.into(),
            code: evil(),
            description: evil(),
            message: evil(),
            resolution: evil(),
            resolution_url: evil(),
            signals: vec![EVIL.into()],
            since: NOW,
        });
        for (number, signal) in vehicle.signals.values_mut().enumerate() {
            (signal.name, signal.group, signal.status) = (evil(), evil(), EVIL.into());
            signal.error = Some(SignalFailure { status: EVIL.into(), kind: evil(), code: evil() });
            signal.body = Some(match number % 4 {
                0 => body.clone(),
                1 => Json::of(&serde_json::json!({"values": [EVIL], "unit": EVIL})),
                2 => Json::of(&serde_json::json!({EVIL: {EVIL: EVIL}})),
                _ => Json::of(&serde_json::json!({"value": 1, "unit": EVIL})),
            });
        }
        for signal in vehicle.signals.values_mut().take(3) {
            signal.code = EVIL.into();
        }
        for signal in vehicle.signals.values_mut() {
            *signal = signal.clone().in_units(Units::Metric);
        }
        for known in &mut vehicle.capabilities {
            (known.code, known.reason) = (EVIL.into(), evil());
        }
    }
    for connection in &mut garage.connections {
        connection.user = AppUserId::new(EVIL);
        connection.smartcar_user_id = Some(SmartcarUserId::new(EVIL));
        (connection.reason, connection.last_error) = (evil(), evil());
        connection.reconnect_url = Some(format!("javascript:{EVIL}"));
        connection.scope = vec![EVIL.into()];
        connection.missing_scope = vec![EVIL.into()];
        connection.vehicles = vec![VehicleId::new(EVIL), VehicleId::new(format!("{EVIL}2"))];
    }
    for owner in &mut garage.users {
        (owner.user.id, owner.user.name) = (AppUserId::new(EVIL), evil());
        owner.vehicles.push(VehicleId::new(EVIL));
    }
    for delivery in &mut garage.deliveries {
        delivery.kind = EVIL.into();
        delivery.vehicle = Some(VehicleId::new(EVIL));
        (delivery.event_id, delivery.delivery_id) = (evil(), evil());
        delivery.payload = Some(Json::of(&serde_json::json!({EVIL: EVIL})));
    }
    garage.todo.missing[0].what = EVIL.into();
    garage.todo.missing[0].remedy = format!("`{EVIL}` {EVIL}");
    garage.status.refresh.stopped = evil();
    garage.invite.url = format!("javascript:{EVIL}");
    for AuditView { entry, .. } in &mut garage.audit {
        (entry.action, entry.ids) = (EVIL.into(), vec![EVIL.into()]);
        if let Actor::Token { id, name } = &mut entry.actor {
            (*id, *name) = (EVIL.into(), EVIL.into());
        }
    }
    for (_, courses) in &mut garage.past.courses {
        for course in courses {
            course.place = Some(EVIL);
        }
    }
    garage.filters = Filters { vehicle: evil(), kind: evil(), result: evil(), find: evil() };
    if let Ok(told) = &mut garage.made {
        told.triggers = vec![EVIL.into()];
        for car in &mut told.vehicles {
            car.id = VehicleId::new(EVIL);
            for report in &mut car.reports {
                (report.code, report.group, report.name) = (EVIL.into(), evil(), evil());
                report.outcome = Outcome::Value(body.clone());
            }
        }
    }
    for token in &mut garage.tokens {
        (token.id, token.name, token.user) = (EVIL.into(), EVIL.into(), Some(AppUserId::new(EVIL)));
    }
    for session in &mut garage.sessions {
        (session.id, session.browser) = (EVIL.into(), evil());
    }
    garage.key.id = EVIL.into();
    garage.todo.store.findings = vec![EVIL.into()];
    for notice in &mut garage.todo.notices {
        (notice.what, notice.remedy) = (EVIL.into(), EVIL.into());
    }
    garage.endings = vec![
        (
            "connected",
            Ending::Connected {
                vehicles: vec![LinkedVehicle { id: VehicleId::new(EVIL), name: EVIL.into() }],
                virtual_key_url: Some(format!("javascript:{EVIL}")),
            },
        ),
        ("failed", Ending::Failed { code: EVIL.into(), sentence: EVIL.into(), is_final: false }),
    ];
    garage.text = EVIL;
    garage
}

fn system(garage: &Garage, status: &StatusView) -> String {
    let page = SystemPage {
        shell: shell(Tab::System),
        status,
        budget: &samples::budget(),
        names: &samples::names(&garage.vehicles),
        tokens: &garage.tokens,
        sessions: &garage.sessions,
        own_session: Some("0199c7f2-8a21"),
        key: &garage.key,
        mistake: None,
    };
    page.render()
}

/// The pages of the webhook log.
fn of_the_log(garage: &Garage, url: &str) -> [(&'static str, String); 4] {
    let Garage { vehicles, deliveries, status, todo, .. } = garage;
    [
        (
            "webhooks",
            WebhooksPage {
                shell: shell(Tab::Webhooks),
                deliveries,
                older: Some(Seq(10_475)),
                later_part: false,
                filters: &garage.filters,
                status: Some(&status.webhooks),
                refused: &garage.refused,
                names: &samples::names(vehicles),
                webhook_url: url,
            }
            .render(),
        ),
        (
            "webhooks-empty",
            WebhooksPage {
                shell: shell(Tab::Webhooks),
                deliveries: &[],
                older: None,
                later_part: false,
                filters: &Filters::default(),
                status: Some(&todo.webhooks),
                refused: &[],
                names: &[],
                webhook_url: url,
            }
            .render(),
        ),
        (
            "delivery",
            DeliveryPage {
                shell: shell(Tab::Webhooks),
                delivery: &deliveries[0],
                made: Some(&garage.made),
                taste: Taste::of(Units::Metric),
                vehicle: vehicles.first(),
            }
            .render(),
        ),
        (
            "delivery-strange",
            DeliveryPage {
                shell: shell(Tab::Webhooks),
                delivery: &deliveries[deliveries.len() - 1],
                made: Some(&Err(NotUnderstood::Malformed)),
                taste: Taste::of(Units::Metric),
                vehicle: None,
            }
            .render(),
        ),
    ]
}

fn setup(garage: &Garage, status: &StatusView, redirect_uri: &str, webhook_url: &str) -> String {
    let (settings, mut list) = (samples::probes(garage.text), status.checklist());
    list.extend([
        Finding::fail("clock", garage.text, garage.text),
        Finding::warn("proxy", garage.text, garage.text),
        Finding::ok("public URL", garage.text),
    ]);
    let settings = probes::Settings { redirect_uri: redirect_uri.to_owned(), webhook_url: webhook_url.to_owned(), ..settings };
    let (shell, settings, list, makeable) = (shell(Tab::Setup), &settings, &list, &samples::makeable());
    let vehicles = &garage.vehicles;
    SetupPage {
        shell,
        status,
        list,
        checked_at: Some(NOW),
        for_trying: false,
        settings,
        makeable,
        vehicles,
        saved: false,
        refused: None,
    }
    .render()
}

/// Being sure of a command, and all that can come of it.
fn commands(garage: &Garage) -> Vec<(String, String)> {
    let (shell, vehicle, text) = (shell(Tab::Cars), &garage.vehicles[0], garage.text);
    let confirm = |command, fields: &[(&'static str, String)]| ConfirmPage { shell, vehicle, command, fields }.render();
    let given = |status, error| {
        let given = samples::command(status, error);
        CommandPage { shell, vehicle, sent: Sent::Given(&given) }.render()
    };
    let link = if text == EVIL { format!("javascript:{EVIL}") } else { "https://car.example.org/fix".to_owned() };
    let failure = |code: &str| CommandFailure {
        code: Some(code.to_owned()),
        sentence: text.to_owned(),
        retry_after: Some(600),
        resolution_url: Some(link.clone()),
        status: None,
    };
    let refused = Sent::Refused { command: "security/lock", sentence: text, reconnect: true, lacking: Some(text) };
    let all = [
        ("confirm", confirm("security/unlock", &[])),
        ("confirm-limit", confirm("charge/set-limit", &[("percent", text.to_owned())])),
        ("command-done", given("success", None)),
        ("command-waits", given("pending", None)),
        ("command-failed", given("failed", Some(failure("CONNECTED_SERVICES_ACCOUNT:AUTHENTICATION_FAILED")))),
        ("command-unknown", given("unknown", Some(failure(text)))),
        ("command-refused", CommandPage { shell, vehicle, sent: refused }.render()),
    ];
    all.map(|(name, page)| (name.to_owned(), page)).to_vec()
}

/// Invites for a new car, for one again and for a permission of it.
fn invites(garage: &Garage) -> [(String, String); 4] {
    let (vehicle, text) = (garage.vehicles.first(), Some(garage.text));
    let page = |name: &str, again, added, only_here| {
        let page = InvitePage { shell: shell(Tab::Cars), invite: &garage.invite, again, added, only_here };
        (name.to_owned(), page.render())
    };
    [
        page("invite", None, None, false),
        page("invite-here", None, None, true),
        page("invite-again", vehicle, None, false),
        page("invite-asks", vehicle, text, false),
    ]
}

fn error(shell: Shell<'_>, text: &str) -> String {
    let ways = [Way::to("/setup", "Open set-up"), Way::to("/", "To the cars")];
    ErrorPage { shell, own: None, ways: &ways, status: 404, title: text, sentence: text, request_id: text }.render()
}

pub(super) fn pages(garage: &Garage) -> Vec<(String, String)> {
    let Garage { vehicles, connections, deliveries, status, todo, text, .. } = garage;
    let url = if *text == EVIL { EVIL } else { "https://car.example.org/api/webhooks/smartcar" };
    let back = if *text == EVIL { EVIL } else { "https://car.example.org/api/smartcar/callback" };
    let names = &samples::names(vehicles);
    let no_audit = AuditPage { shell: shell(Tab::Setup), entries: &[], older: None, later_part: false, names };
    let mut pages = vec![
        (
            "cars",
            CarsPage {
                shell: shell(Tab::Cars),
                names,
                part: Part::of(None, vehicles.len()),
                vehicles: Part::of(None, vehicles.len()).cut(vehicles),
                connections,
                deliveries,
                missing: &status.missing,
                notices: &status.notices,
            }
            .render(),
        ),
        (
            "cars-empty",
            CarsPage {
                shell: shell(Tab::Cars),
                names: &[],
                part: NONE,
                vehicles: &[],
                connections: &[],
                deliveries: &[],
                missing: &[],
                notices: &[],
            }
            .render(),
        ),
        (
            "cars-todo",
            CarsPage {
                shell: Shell { insecure_warning: true, ..shell(Tab::Cars) },
                names: &[],
                part: NONE,
                vehicles: &[],
                connections: &[],
                deliveries: &[],
                missing: &todo.missing,
                notices: &todo.notices,
            }
            .render(),
        ),
        ("system", system(garage, status)),
        ("system-todo", system(garage, todo)),
        ("token", TokenPage { shell: shell(Tab::System), token: &garage.tokens[0], secret: text }.render()),
        ("device", DevicePage { shell: shell(Tab::System), url, expires_at: NOW, only_here: false }.render()),
        ("device-here", DevicePage { shell: shell(Tab::System), url, expires_at: NOW, only_here: true }.render()),
        (
            "connections",
            ConnectionsPage {
                shell: shell(Tab::Connections),
                connections,
                part: Part::of(None, connections.len()),
                names,
                users: &garage.users,
                status: &status.refresh,
                notices: &status.notices,
            }
            .render(),
        ),
        ("setup", setup(garage, status, back, url)),
        ("setup-todo", setup(garage, todo, back, url)),
        ("audit", AuditPage { entries: &garage.audit, older: Some(7), later_part: true, ..no_audit }.render()),
        ("audit-empty", no_audit.render()),
        ("login", LoginPage { shell: outside(), link: Some(text) }.render()),
        ("login-old", LoginPage { shell: outside(), link: None }.render()),
        ("sign-in", SignInPage { shell: outside(), is_possible: true, has_password: false, is_wrong: false }.render()),
        ("login-plain", SignInPage { shell: outside(), is_possible: false, has_password: false, is_wrong: false }.render()),
        ("login-password", SignInPage { shell: outside(), is_possible: true, has_password: true, is_wrong: true }.render()),
        ("error", error(shell(Tab::Elsewhere), text)),
        ("webhook-address", WebhookAddressPage { shell: outside() }.render()),
    ]
    .into_iter()
    .chain(of_the_log(garage, url))
    .map(|(name, page)| (name.to_owned(), page))
    .collect::<Vec<_>>();
    for (number, vehicle) in vehicles.iter().enumerate() {
        let past = samples::past(&garage.past, if number == 1 { PastSpan::Year } else { PastSpan::Week });
        let page = CarPage { shell: shell(Tab::Cars), vehicle, connection: connections.get(number), past, mistake: None };
        pages.push((format!("car-{}", number + 1), page.render()));
    }
    pages.extend(commands(garage));
    pages.extend(invites(garage));
    for (name, ending) in &garage.endings {
        let page = DonePage { shell: outside(), ending, again: "/connect/0199c7f2" };
        pages.push((format!("done-{name}"), page.render()));
    }
    pages
}

/// As Smartcar sends them.
const EVENT: &str = include_str!("../../../../tests/fixtures/webhook-v4-vehicle-state-first-delivery.json");
