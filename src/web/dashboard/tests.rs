//! All pages are drawn, with samples and with hostile texts, and held to the page rules.

use std::fs;
use std::path::Path;

use self::garage::{NONE, garage, hostile, pages};
use super::samples::{self, shell};
use super::*;
use crate::model::VehicleId;

mod garage;

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
fn nobody_scans_what_leads_to_this_machine_only() {
    for (name, page) in pages(&garage()).into_iter().filter(|(name, _)| name.starts_with("invite") || name.starts_with("device"))
    {
        assert_eq!(page.contains("<svg role=\"img\""), !name.ends_with("-here"), "{name}");
        assert_eq!(page.contains("works on this machine only"), name.ends_with("-here"), "{name}");
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
    let nothing = samples::Lived::default();
    let past = samples::past(&nothing, PastSpan::Day);
    let page = CarPage { shell: shell(Tab::Cars), vehicle: &vehicle, connection: None, past, mistake: None }.render();
    assert!(page.contains("Nothing was told of this time yet"));
    hold_to_the_rules("bare car", &page);
    assert!(page.contains("A car") && page.contains("Disconnected") && page.contains("No values yet"));
    let vehicles = [vehicle];
    let page = CarsPage {
        shell: shell(Tab::Cars),
        names: &samples::names(&vehicles),
        part: NONE,
        vehicles: &vehicles,
        connections: &[],
        deliveries: &[],
        missing: &[],
        notices: &[],
    }
    .render();
    hold_to_the_rules("bare cars", &page);
    assert!(page.contains("No delivery yet"));
}

#[test]
fn there_are_no_other_assets() {
    assert!(asset("../dashboard.rs").is_none() && asset("").is_none());
}

/// A household with fifty cars, and a log of any length: pages stay small, whatever there is.
#[test]
fn fifty_cars_make_no_page_large() {
    let mut garage = garage();
    let many = |number: usize| format!("{}-{number}", garage.vehicles[0].id);
    let ids: Vec<String> = (0..50).map(many).collect();
    garage.vehicles = ids.iter().map(|id| VehicleView { id: VehicleId::new(id), ..samples::vehicles().remove(0) }).collect();
    let connection = |id: &String| ConnectionView { vehicles: vec![VehicleId::new(id)], ..samples::connections().remove(1) };
    garage.connections = ids.iter().map(connection).collect();
    garage.deliveries = (0..50).map(|_| samples::deliveries().remove(0)).collect();
    garage.refused = (0..100).map(|_| samples::refused().remove(0)).collect();
    garage.audit = (0..50).map(|_| samples::audit().remove(0)).collect();
    garage.tokens = (0..50).map(|_| samples::tokens().remove(0)).collect();
    let assets: usize = ["style.css", "app.js", "icon.svg"].iter().map(|name| asset(name).unwrap().1.len()).sum();
    for (name, page) in pages(&garage) {
        assert!(page.len() + assets < 100_000, "{name}: {} bytes and {assets} around it", page.len());
    }
}
