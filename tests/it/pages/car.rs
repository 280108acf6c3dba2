//! The page of a car: its past, what it is told and what came of it, units, and its end.

use std::time::Duration;

use carport::simulator::{Fault, FaultKind, Faults, Settings};
use serde_json::{Value, json};

use super::Person;
use crate::gateway::{TestGateway, events, pass};
use crate::simulator::rig::ADA;

const SCOPE: &str = "read_vehicle_info,read_vin,read_odometer,read_battery,read_charge,control_charge,control_security";

/// Ada's first car.
async fn with_car(seed: u64, scope: &str) -> (TestGateway, String) {
    let settings = Settings { seed, ..Settings::default() };
    let mut gateway = TestGateway::with(seed, &[("smartcar.scope", scope)], settings).await;
    gateway.start();
    gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    (gateway, car)
}

fn path_of_line(page: &str, title: &str) -> String {
    let (_, chart) = page.split_once(&format!("<h3>{title}</h3>")).unwrap_or_else(|| panic!("no chart of {title}: {page}"));
    let (_, path) = chart.split_once("<path class=\"line l0\" d=\"").unwrap();
    path.split_once('"').unwrap().0.to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_past_is_drawn_in_the_units_and_by_the_clock_of_the_viewer() {
    let (gateway, car) = with_car(140, SCOPE).await;
    let person = Person::of(&gateway).await;
    let now = gateway.now().as_millis();
    let told = |number: i64, age: i64, km: i64| {
        let odometer = json!({
            "code": "odometer-traveleddistance", "name": "TraveledDistance", "group": "Odometer",
            "body": { "value": km, "unit": "km" }, "status": { "value": "SUCCESS" },
            "meta": { "oemUpdatedAt": now - age, "retrievedAt": now - age },
        });
        events::state(&format!("past-{number}"), &car, &[odometer])
    };
    let hour = 3_600_000;
    // Far from what the simulator's car says, before and after it.
    for (number, (age, km)) in [(100 * hour, 500_000), (50 * hour, 500_100), (2 * hour, 500_300)].into_iter().enumerate() {
        gateway.deliver(&told(i64::try_from(number).unwrap(), age, km)).await;
    }
    gateway.catch_up().await;
    let page = |past: &str| {
        let path = format!("/vehicles/{car}?past={past}");
        let person = &person;
        async move { person.look(&path).await }
    };
    let week = page("week").await;
    // Three changes, a line between each, and on to the right edge.
    let line = path_of_line(&week, "Odometer");
    assert!(line.starts_with('M') && line.matches(['l', 'h', 'v']).count() >= 2, "{line}");
    assert!(week.contains("Distance per day") && week.contains("aria-current=\"true\">Week<"), "{week}");
    assert!(!page("day").await.contains("Distance per day"));
    assert!(page("year").await.contains("Distance per month"));
    assert!(page("decade").await.contains("aria-current=\"true\">Week<"), "what is not known is the usual");
    for (format, kind) in [("csv", "text/csv"), ("jsonl", "application/jsonl")] {
        let link = format!("/api/v1/export?vehicle={car}&#38;format={format}\"");
        assert!(week.contains(&link), "{link}");
        let path = link.replace("&#38;", "&").replace('"', "");
        let file = gateway.get(&path).header("cookie", &person.cookie).send().await;
        assert!(file.status == 200 && file.header("content-type").unwrap().starts_with(kind), "{}", file.text());
        assert!(file.text().contains("500300"), "{}", file.text());
    }

    // Units are this browser's alone.
    let units = [("distance", "mi"), ("pressure", "kpa"), ("temperature", "c"), ("car", &*car)];
    let chosen = person.send("/units", &units).await;
    assert_eq!((chosen.status, chosen.header("location").unwrap()), (303, &*format!("/vehicles/{car}?done=units")));
    let cookie = chosen.header("set-cookie").unwrap().to_owned();
    assert!(cookie.starts_with("__Host-carport_units=mi-kpa-c; Path=/; HttpOnly"), "{cookie}");
    let both = format!("{}; {}", person.cookie, cookie.split(';').next().unwrap());
    let imperial = gateway.get(&format!("/vehicles/{car}")).header("cookie", &both).send().await.text();
    assert!(imperial.contains("310,872\u{202f}mi"), "{imperial}");
    assert!(imperial.contains("<option value=\"kpa\" selected>"), "{imperial}");
    assert!(page("week").await.contains("500,300\u{202f}km"));
    // So are the marks within numbers.
    for (language, written) in
        [("de-DE,de;q=0.9,en;q=0.8", "500.300\u{202f}km"), ("en-IN", "5,00,300\u{202f}km"), ("x", "500,300\u{202f}km")]
    {
        let ask = gateway.get(&format!("/vehicles/{car}")).header("cookie", &person.cookie).header("accept-language", language);
        let answer = ask.send().await.text();
        assert!(answer.contains(written), "{language}");
        assert!(answer.contains("<html lang=\"en\">"), "the words stay");
    }
    assert_eq!(person.send("/units", &[("distance", "feet")]).await.status, 400);
    // Midnight is where the viewer is.
    let at = async |clock: &str| {
        let ask = gateway.get(&format!("/vehicles/{car}?past=day")).header("cookie", &person.cookie).header("x-clock", clock);
        let answer = ask.send().await;
        assert_eq!(answer.status, 200, "{clock}");
        let text = answer.text();
        let (_, ticks) = text.split_once("<h3>Odometer</h3>").unwrap();
        ticks.split_once("</svg>").unwrap().0.to_owned()
    };
    assert_ne!(at("-300").await, at("0").await);
    for strange in ["99999", "x", ""] {
        assert_eq!(at(strange).await, at("0").await, "{strange}");
    }
    let cookie = format!("{}; __Host-carport_units=feet-bar-c", person.cookie);
    assert_eq!(gateway.get(&format!("/vehicles/{car}")).header("cookie", &cookie).send().await.status, 200);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_is_meant_given_and_told_as_it_ended() {
    let (gateway, car) = with_car(141, SCOPE).await;
    let person = Person::of(&gateway).await;
    let commands = format!("/vehicles/{car}/commands");
    let sent = || gateway.net.count(&format!("POST /v2.0/vehicles/{car}/security"));
    let page = person.look(&format!("/vehicles/{car}")).await;
    for part in ["value=\"security/unlock\"", "name=\"percent\"", "Not granted by the owner: control navigation"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("charge-port/open") && !page.contains("name=\"latitude\""), "what cannot be is not offered");

    // Pressed once: asked whether it is meant. Nothing is sent, nothing is noted.
    let noted = async || {
        let audit = gateway.told("/api/v1/audit?limit=500").await;
        let entries = audit["items"].as_array().unwrap().iter();
        entries.filter(|entry| entry["action"] == "POST /vehicles/{id}/commands").cloned().collect::<Vec<_>>()
    };
    let asked = person.answer_to(&commands, &[("command", "security/unlock")]).await;
    assert_eq!(sent(), 0);
    assert!(asked.contains("<h1>Unlock?</h1>") && asked.contains("name=\"sure\" value=\"true\""), "{asked}");
    assert_eq!(noted().await, Vec::<Value>::new());
    // Meant.
    let meant = [("command", "security/unlock"), ("sure", "true")];
    let place = person.press(&commands, &meant).await;
    assert!(place.starts_with(&format!("{commands}/")), "{place}");
    let done = person.look(&place).await;
    assert!(done.contains("<strong>Done.</strong>") && !done.contains("http-equiv"), "{done}");
    assert_eq!(sent(), 1);
    let [entry] = &*noted().await else { panic!("noted once") };
    assert_eq!(entry["actor"]["kind"], "session");
    let id = place.rsplit('/').next().unwrap();
    assert_eq!(entry["ids"], json!([car, "security/unlock", id, "success"]));

    // With a number, as people write it.
    let asked = person.answer_to(&commands, &[("command", "charge/set-limit"), ("percent", "75")]).await;
    assert!(asked.contains("Set the charge limit to 75 %?") && asked.contains("name=\"percent\" value=\"75\""), "{asked}");
    for (fields, wrong) in [
        (vec![("command", "charge/set-limit"), ("percent", "30")], "from 50 to 100"),
        (vec![("command", "charge/set-limit"), ("percent", "many")], "from 50 to 100"),
        (vec![("command", "charge/set-limit")], "from 50 to 100"),
        (vec![("command", "climate/start")], "no such command"),
        (vec![], "Choose what"),
        (vec![("command", "security/lock"), ("percent", "80")], "not known here"),
    ] {
        let answer = person.send(&commands, &fields).await;
        assert!(answer.status == 400 && answer.text().contains(wrong), "{fields:?}: {} {}", answer.status, answer.text());
    }
    // What was typed stays in its box, beside what is wrong with it.
    let wrong = person.send(&commands, &[("command", "charge/set-limit"), ("percent", "30")]).await.text();
    assert!(wrong.contains("role=\"alert\"") && wrong.contains("required value=\"30\" aria-invalid=\"true\""), "{wrong}");
    assert!(wrong.contains("id=\"percent-wrong\">The charge limit must be a whole number from 50 to 100.<"), "{wrong}");

    // The car has its reasons.
    gateway.simulator.set_trouble(&car, Some("VEHICLE_STATE.ASLEEP")).unwrap();
    let failed = person.look(&person.press(&commands, &meant).await).await;
    assert!(failed.contains("The car did not do it.") && failed.contains("The car is asleep"), "{failed}");
    gateway.simulator.set_trouble(&car, Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED")).unwrap();
    let failed = person.look(&person.press(&commands, &meant).await).await;
    assert!(failed.contains("no longer accepts") && failed.contains("Open the page that mends it"), "{failed}");
    assert!(failed.contains("action=\"/connect\""), "{failed}");
    // From here on it is not even sent.
    let before = sent();
    let refused = person.send(&commands, &meant).await;
    assert!(refused.status == 409 && refused.text().contains("It was not sent."), "{}", refused.text());
    assert!(refused.text().contains("action=\"/connect\"") && sent() == before);
    // Not from another page.
    let forged = gateway.ask("POST", &commands).header("cookie", &person.cookie).header("sec-fetch-site", "cross-site");
    assert_eq!(forged.form(&[("command", "security/unlock"), ("sure", "true"), ("csrf", &person.csrf)]).send().await.status, 403);
    assert_eq!(person.send("/vehicles/nobody/commands", &meant).await.status, 404);
    gateway.finish().await;
}

/// To connect again would ask for no more than before.
#[tokio::test(start_paused = true)]
async fn what_was_not_granted_is_asked_for_by_a_button() {
    let (gateway, car) = with_car(145, "read_vehicle_info,read_odometer,control_security").await;
    let person = Person::of(&gateway).await;
    let button = "name=\"add_scope\" value=\"control_navigation\"";
    let page = person.look(&format!("/vehicles/{car}")).await;
    assert!(page.contains("Not granted by the owner: control navigation.") && page.contains(button), "{page}");
    // So it is with what may not be read.
    let command = format!("carport connect --vehicle {car} --add-scope read_battery,read_charge,");
    for part in ["The owner has not allowed this (read_battery)", "name=\"add_scope\" value=\"read_battery\"", &command] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let fields = [("command", "navigation/set-destination"), ("latitude", "52.5"), ("longitude", "13.4"), ("sure", "true")];
    let refused = person.send(&format!("/vehicles/{car}/commands"), &fields).await;
    assert!(refused.status == 403 && refused.text().contains(button), "{}", refused.text());
    assert!(!refused.text().contains(">Reconnect<"), "{}", refused.text());
    let invite = person.answer_to("/connect", &[("vehicle", &car), ("add_scope", "control_navigation")]).await;
    assert!(invite.contains("<h1>Ask for control navigation of "), "{invite}");
    let (_, link) = invite.split_once("https://gateway.example/connect/").unwrap_or_else(|| panic!("{invite}"));
    let trip = gateway.begin(&format!("/connect/{}", link.split_once('"').unwrap().0)).await;
    let asked: Vec<_> = trip.authorize.query_pairs().filter(|(name, _)| name == "scope").map(|(_, scope)| scope).collect();
    assert_eq!(asked, ["read_vehicle_info read_odometer control_security control_navigation"]);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_takes_long_is_waited_for_on_its_page() {
    let (gateway, car) = with_car(142, SCOPE).await;
    let person = Person::of(&gateway).await;
    let late = Faults::new([Fault::once(FaultKind::Delay(Duration::from_secs(180)))]);
    gateway.simulator.set_faults(late);
    let fields = [("command", "security/lock"), ("sure", "true")];
    let place = person.press(&format!("/vehicles/{car}/commands"), &fields).await;
    let waits = person.look(&place).await;
    assert!(waits.contains("On its way.") && waits.contains("http-equiv=\"refresh\""), "{waits}");
    pass(Duration::from_secs(200)).await;
    let done = person.look(&place).await;
    assert!(!done.contains("On its way.") && !done.contains("http-equiv"), "{done}");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn fresh_values_are_asked_for_and_a_car_goes_when_that_is_meant() {
    let (gateway, car) = with_car(143, SCOPE).await;
    let person = Person::of(&gateway).await;
    pass(Duration::from_secs(60)).await;
    let before = gateway.told("/api/v1/budget").await;
    let fresh = person.press(&format!("/vehicles/{car}/refresh"), &[]).await;
    assert_eq!(fresh, format!("/vehicles/{car}?done=fresh"));
    assert!(person.look(&fresh).await.contains("role=\"status\"><p><strong>Asked.</strong>"));
    let renamed = person.press(&format!("/vehicles/{car}"), &[("nickname", "Errands")]).await;
    let page = person.look(&renamed).await;
    assert!(page.contains("role=\"status\"><p><strong>Saved.</strong>") && page.contains("<h1>Errands</h1>"), "{page}");
    // A name that cannot be is still there to be mended.
    let long = format!("<i>Errands{}", "x".repeat(100));
    let wrong = person.send(&format!("/vehicles/{car}"), &[("nickname", &long)]).await;
    let kept = format!("value=\"{}\"", long.replace('<', "&#60;").replace('>', "&#62;"));
    assert!(wrong.status == 400 && wrong.text().contains("A name has 1 to 100 characters"), "{}", wrong.text());
    assert!(wrong.text().contains("aria-invalid=\"true\" aria-describedby=\"nickname-wrong\""), "{}", wrong.text());
    assert!(wrong.text().contains(&kept) && wrong.text().contains("<h1>Errands</h1>"), "{}", wrong.text());
    // What nobody did is not said.
    for word in ["everything", "ended", "revoked"] {
        let page = person.look(&format!("/vehicles/{car}?done={word}")).await;
        assert!(!page.contains("class=\"notice green\" role=\"status\""), "{page}");
    }
    assert_ne!(gateway.told("/api/v1/budget").await, before, "it counts");
    let end = format!("/vehicles/{car}/disconnect");
    let unsure = person.send(&end, &[("history", "erase")]).await;
    assert!(unsure.status == 400 && unsure.text().contains("value=\"erase\" checked"), "{}", unsure.text());
    assert!(unsure.text().contains("Tick the box") && !unsure.text().contains("value=\"true\" checked"), "{}", unsure.text());
    assert_eq!(person.press(&end, &[("sure", "true")]).await, format!("/vehicles/{car}"));
    let page = person.look(&format!("/vehicles/{car}")).await;
    assert!(page.contains("<strong>Disconnected.</strong>") && !page.contains("security/lock"), "{page}");
    assert_eq!(person.press(&end, &[("sure", "true"), ("history", "erase")]).await, "/");
    let gone = gateway.get(&format!("/vehicles/{car}")).header("cookie", &person.cookie).send().await;
    assert_eq!(gone.status, 404);
    gateway.finish().await;
}

/// A destination that is no place on earth is told beside the two boxes, which stay as they were.
#[tokio::test(start_paused = true)]
async fn a_destination_that_is_wrong_stays_in_its_boxes() {
    let (gateway, car) = with_car(144, "read_vehicle_info,read_odometer,control_navigation").await;
    let person = Person::of(&gateway).await;
    let fields = [("command", "navigation/set-destination"), ("latitude", "152,5"), ("longitude", "13.4")];
    let wrong = person.send(&format!("/vehicles/{car}/commands"), &fields).await;
    assert_eq!(wrong.status, 400);
    let page = wrong.text();
    assert!(page.contains("id=\"latitude-wrong\">Latitude must be a number from -90 to 90.<"), "{page}");
    assert!(!page.contains("longitude-wrong"), "{page}");
    assert!(page.contains("value=\"152,5\"") && page.contains("value=\"13.4\""), "{page}");
    assert!(page.contains("<details open>\n<summary>Send a destination"), "{page}");
    // All that is wrong is said at once.
    let both = [("command", "navigation/set-destination"), ("latitude", "north"), ("longitude", "181")];
    let page = person.send(&format!("/vehicles/{car}/commands"), &both).await.text();
    assert!(page.contains("latitude-wrong") && page.contains("Longitude must be a number from -180 to 180."), "{page}");
    gateway.finish().await;
}
