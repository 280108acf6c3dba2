//! All pages are drawn, with samples and with hostile texts, and held to the page rules.

use std::fs;
use std::path::Path;

use super::samples::{self, NOW, outside, shell};
use super::*;
use crate::connect::LinkedVehicle;
use crate::model::audit::Actor;
use crate::model::normal::Units;
use crate::model::reading::SignalFailure;
use crate::model::vehicle::VehicleError;
use crate::model::{AppUserId, Json, SmartcarUserId, VehicleId};

const EVIL: &str = "<script>alert(\"'&{{1}}`\")</script>";

/// Everything that the pages show.
struct Garage {
    vehicles: Vec<VehicleView>,
    connections: Vec<ConnectionView>,
    deliveries: Vec<DeliveryView>,
    refused: Vec<Refusal>,
    status: StatusView,
    todo: StatusView,
    invite: Invite,
    audit: Vec<AuditView>,
    endings: Vec<(&'static str, Ending)>,
    text: &'static str,
}

fn garage() -> Garage {
    Garage {
        vehicles: samples::vehicles(),
        connections: samples::connections(),
        deliveries: samples::deliveries(),
        refused: samples::refused(),
        status: samples::status(false),
        todo: samples::status(true),
        invite: samples::invite(),
        audit: samples::audit(),
        endings: samples::endings().to_vec(),
        text: "There is none of that id.",
    }
}

/// The garage with every text replaced by something hostile.
fn hostile() -> Garage {
    let evil = || Some(EVIL.to_owned());
    let body: Json = serde_json::from_value(serde_json::json!({"value": EVIL})).unwrap();
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
    garage.endings = vec![
        (
            "connected",
            Ending::Connected {
                vehicles: vec![LinkedVehicle { id: VehicleId::new(EVIL), name: EVIL.into() }],
                virtual_key_url: Some(format!("javascript:{EVIL}")),
            },
        ),
        ("failed", Ending::Failed { code: EVIL.into(), sentence: EVIL.into() }),
    ];
    garage.text = EVIL;
    garage
}

fn pages(garage: &Garage) -> Vec<(String, String)> {
    let Garage { vehicles, connections, deliveries, status, todo, text, .. } = garage;
    let url = if *text == EVIL { EVIL } else { "https://car.example.org/api/webhooks/smartcar" };
    let back = if *text == EVIL { EVIL } else { "https://car.example.org/api/smartcar/callback" };
    let mut pages = vec![
        (
            "cars",
            CarsPage {
                shell: shell(Tab::Cars),
                vehicles,
                connections,
                deliveries,
                missing: &status.missing,
                notices: &status.notices,
            }
            .render(),
        ),
        (
            "cars-empty",
            CarsPage { shell: shell(Tab::Cars), vehicles: &[], connections: &[], deliveries: &[], missing: &[], notices: &[] }
                .render(),
        ),
        (
            "cars-todo",
            CarsPage {
                shell: Shell { insecure_warning: true, ..shell(Tab::Cars) },
                vehicles: &[],
                connections: &[],
                deliveries: &[],
                missing: &todo.missing,
                notices: &todo.notices,
            }
            .render(),
        ),
        ("invite", InvitePage { shell: shell(Tab::Cars), invite: &garage.invite }.render()),
        (
            "webhooks",
            WebhooksPage {
                shell: shell(Tab::Webhooks),
                deliveries,
                older: Some(Seq(10_475)),
                later_part: false,
                status: &status.webhooks,
                refused: &garage.refused,
                vehicles,
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
                status: &todo.webhooks,
                refused: &[],
                vehicles: &[],
                webhook_url: url,
            }
            .render(),
        ),
        ("delivery", DeliveryPage { shell: shell(Tab::Webhooks), delivery: &deliveries[0], vehicle: vehicles.first() }.render()),
        (
            "connections",
            ConnectionsPage {
                shell: shell(Tab::Connections),
                connections,
                vehicles,
                status: &status.refresh,
                notices: &status.notices,
            }
            .render(),
        ),
        ("setup", SetupPage { shell: shell(Tab::Setup), status, redirect_uri: back, webhook_url: url }.render()),
        ("setup-todo", SetupPage { shell: shell(Tab::Setup), status: todo, redirect_uri: back, webhook_url: url }.render()),
        ("audit", AuditPage { shell: shell(Tab::Setup), entries: &garage.audit, older: Some(7), later_part: true }.render()),
        ("audit-empty", AuditPage { shell: shell(Tab::Setup), entries: &[], older: None, later_part: false }.render()),
        ("login", LoginPage { shell: outside(), link: Some(text) }.render()),
        ("login-old", LoginPage { shell: outside(), link: None }.render()),
        ("sign-in", SignInPage { shell: outside(), has_password: false, is_wrong: false }.render()),
        ("login-password", SignInPage { shell: outside(), has_password: true, is_wrong: true }.render()),
        (
            "error",
            ErrorPage { shell: shell(Tab::Elsewhere), status: 404, title: text, sentence: text, request_id: text }.render(),
        ),
        ("webhook-address", WebhookAddressPage { shell: outside() }.render()),
    ]
    .into_iter()
    .map(|(name, page)| (name.to_owned(), page))
    .collect::<Vec<_>>();
    for (number, vehicle) in vehicles.iter().enumerate() {
        let page = CarPage { shell: shell(Tab::Cars), vehicle, connection: connections.get(number) };
        pages.push((format!("car-{}", number + 1), page.render()));
    }
    for (name, ending) in &garage.endings {
        let page = DonePage { shell: outside(), ending, again: "/connect/0199c7f2" };
        pages.push((format!("done-{name}"), page.render()));
    }
    pages
}

/// Every element is closed in its order, and nothing breaks the content security policy.
fn hold_to_the_rules(name: &str, page: &str) {
    const VOID: [&str; 5] = ["meta", "link", "input", "img", "br"];
    let mut open: Vec<&str> = Vec::new();
    let mut ids: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>").unwrap();
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, left) = after.split_once('>').unwrap();
        rest = left;
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{name}: closed in the wrong order");
            continue;
        }
        let element = tag.split([' ', '\n', '/']).next().unwrap();
        let (mut attributes, mut quoted) = (String::new(), false);
        for letter in tag.chars() {
            quoted ^= letter == '"';
            attributes.push(if quoted { '_' } else { letter });
        }
        assert!(!quoted, "{name}: a quote or > inside <{tag}>");
        assert!(!attributes.contains(" style="), "{name}: inline style in <{tag}>");
        assert!(!attributes.contains(" on"), "{name}: inline script in <{tag}>");
        assert!(element != "style", "{name}: inline style");
        if element == "script" {
            assert!(tag.starts_with("script src=\"/assets/app.js?v="), "{name}: <{tag}>");
            assert!(rest.starts_with("</script>"), "{name}: inline script");
        }
        if let Some((_, id)) = tag.split_once(" id=\"") {
            let id = id.split('"').next().unwrap();
            assert!(!ids.contains(&id), "{name}: twice the id {id}");
            ids.push(id);
        }
        for attribute in ["src=\"", "action=\"", "href=\""] {
            if let Some((_, target)) = tag.split_once(attribute) {
                let foreign = element == "a" && (target.starts_with("https://") || target.starts_with('#'));
                assert!(foreign || target.starts_with('/') || element == "a" && target.starts_with('#'), "{name}: <{tag}>");
            }
        }
        if !VOID.contains(&element) && !tag.ends_with('/') {
            open.push(element);
        }
    }
    assert!(open.is_empty(), "{name}: left open: {open:?}");
    assert_eq!(page.matches("<h1").count(), 1, "{name}: one h1");
    assert_eq!(page.matches("<main").count(), 1, "{name}: one main");
    assert!(page.contains("<html lang=\"en\">") && page.contains("<title>"), "{name}");
    let posts = page.matches("method=\"post\"").count();
    assert!(page.matches("name=\"csrf\"").count() == posts || page.contains("action=\"/login\""), "{name}: a form without csrf");
}

#[test]
fn all_pages_hold_to_the_rules() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pages");
    fs::create_dir_all(folder.join("assets")).unwrap();
    let mut assets = 0;
    for name in ["style.css", "app.js", "icon.svg"] {
        let (_, bytes) = asset(name).unwrap();
        fs::write(folder.join("assets").join(name), bytes).unwrap();
        assets += bytes.len();
    }
    for (name, page) in pages(&garage()) {
        hold_to_the_rules(&name, &page);
        assert!(page.len() + assets < 100_000, "{name}: {} bytes", page.len());
        fs::write(folder.join(format!("{name}.html")), page.replace("\"/assets/", "\"assets/")).unwrap();
    }
}

#[test]
fn nothing_that_comes_in_becomes_markup() {
    for (name, page) in pages(&hostile()) {
        hold_to_the_rules(&name, &page);
        assert!(!page.contains("<script>"), "{name}");
        assert!(!page.contains("href=\"javascript"), "{name}");
    }
}

#[test]
fn the_list_of_cars_keeps_place_and_vin_to_itself() {
    let pages = pages(&garage());
    let page = |name: &str| &pages.iter().find(|(page, _)| page == name).unwrap().1;
    for text in ["52.37", "4.895", "WVWZZZE1ZMP000001"] {
        assert!(!page("cars").contains(text), "{text}");
        assert!(page("car-1").contains(text), "{text}");
    }
    assert!(page("car-1").contains("https://www.openstreetmap.org/?mlat=52.37020&#38;mlon=4.89520#map=17/52.37020/4.89520"));
}

#[test]
fn without_a_session_there_is_no_way_in() {
    for (name, page) in pages(&garage()).into_iter().filter(|(name, _)| name.starts_with("done") || name.starts_with("sign-in")) {
        assert!(!page.contains("<nav") && !page.contains("<form"), "{name}");
    }
}

#[test]
fn who_must_reconnect_is_given_a_form() {
    let form = "name=\"vehicle\" value=\"";
    for (name, page) in pages(&garage()).into_iter().filter(|(name, _)| ["cars", "car-2", "connections"].contains(&name.as_str()))
    {
        assert_eq!(page.matches(form).count(), 1, "{name}");
        assert!(!page.contains("href=\"https://car.example.org/"), "{name}: a link in place of the form");
    }
}

#[test]
fn a_car_of_which_nothing_is_known_is_drawn() {
    let mut vehicle = samples::vehicles().remove(0);
    vehicle.signals.clear();
    vehicle.lights.data_flow.color = "unheard";
    (vehicle.make, vehicle.model, vehicle.year, vehicle.nickname) = (None, None, None, Some("  ".into()));
    (vehicle.vin, vehicle.connection, vehicle.last_event_at) = (None, None, None);
    let page = CarPage { shell: shell(Tab::Cars), vehicle: &vehicle, connection: None }.render();
    hold_to_the_rules("bare car", &page);
    assert!(page.contains("A car") && page.contains("Disconnected") && page.contains("No values yet"));
    let vehicles = [vehicle];
    let page =
        CarsPage { shell: shell(Tab::Cars), vehicles: &vehicles, connections: &[], deliveries: &[], missing: &[], notices: &[] }
            .render();
    hold_to_the_rules("bare cars", &page);
    assert!(page.contains("No delivery yet"));
}

#[test]
fn there_are_no_other_assets() {
    assert!(asset("../dashboard.rs").is_none() && asset("").is_none());
}
