//! What a car lacks is said with the one thing to do: calls, permissions, and the owner's consent.

use std::net::TcpListener;

use http::Method;
use serde_json::json;

use super::commands::house;
use super::http::{Line, Say};
use super::process::{Home, Server, until};
use super::smartcar::{Smartcar, V3_CLIENT, V3_SECRET, walk};

async fn refresh(server: &Server, token: &str, car: &str) -> u16 {
    let path = format!("/api/v1/vehicles/{car}/refresh");
    server.send(Say::json(&path, &json!({})).token(token)).await.status
}

/// The lines of `check` about something, with what they begin with.
async fn checked(home: &Home, check: &str) -> Vec<String> {
    let said = home.done(&["check", "--offline"]).await;
    let is_it = |line: &&str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).nth(1) == Some(check);
    said.lines().filter(is_it).map(str::to_owned).collect()
}

#[tokio::test]
async fn cars_whose_calls_are_spent_are_counted_and_named() {
    let (home, smartcar, server) = house().await;
    let token = home.token().await;
    let cars = home.json(&["connections", "list"]).await["items"][0]["vehicles"].clone();
    let [told, other] = [0, 1].map(|place: usize| cars[place].as_str().unwrap());
    let lines = checked(&home, "budget").await;
    assert!(lines.len() == 1 && lines[0].starts_with("ok "), "{lines:?}");
    // Smartcar itself says that the month is over.
    smartcar.tell("faults", &json!({ "faults": ["trouble=BILLING.VEHICLE_REQUEST_LIMIT"] })).await;
    assert_eq!(refresh(&server, &token, told).await, 429);
    smartcar.tell("faults", &json!({ "faults": [] })).await;
    let lines = checked(&home, "budget").await;
    assert!(lines.len() == 1 && lines[0].starts_with("warn "), "{lines:?}");
    for part in ["(430) for 1 car (", told, ", until ", "write another number than before into budget.calls_per_vehicle_month"] {
        assert!(lines[0].contains(part), "{part}: {lines:?}");
    }
    let shown = home.done(&["vehicles", "show", told]).await;
    let calls = shown.lines().find(|line| line.starts_with("Calls")).unwrap();
    assert!(calls.contains("as Smartcar itself has said") && calls.contains("write another number than before"), "{shown}");
    let shown = home.done(&["vehicles", "show", other]).await;
    let calls = shown.lines().find(|line| line.starts_with("Calls")).unwrap();
    assert!(calls.ends_with(" of 100 this month"), "{shown}");

    // Another number, which is soon spent.
    server.stop().await;
    let few = "[budget]\ncalls_per_vehicle_month = 3\nreserve = 1\n";
    home.write("config.toml", &(Smartcar::settings(smartcar.address) + few));
    let server = Server::start(&home).await;
    for car in [told, other] {
        while refresh(&server, &token, car).await == 200 {}
    }
    let lines = checked(&home, "budget").await;
    assert!(lines.len() == 1 && lines[0].starts_with("warn "), "{lines:?}");
    for part in ["only the reserve (budget.reserve) is left", "2 cars (", told, other, "a higher budget.calls_per_vehicle_month"]
    {
        assert!(lines[0].contains(part), "{part}: {lines:?}");
    }

    // Of a car that is not connected nothing is asked.
    home.done(&["vehicles", "disconnect", told, "--yes"]).await;
    let lines = checked(&home, "budget").await;
    assert!(lines.len() == 1 && lines[0].contains("for 1 car (") && !lines[0].contains(told), "{lines:?}");
    home.done(&["vehicles", "disconnect", other, "--yes"]).await;
    let lines = checked(&home, "budget").await;
    assert!(lines.len() == 1 && lines[0].starts_with("ok ") && lines[0].ends_with("no car is connected"), "{lines:?}");
    server.stop().await;
}

/// Smartcar ends the connection to one of two cars, as when its owner unticks it.
#[tokio::test]
async fn one_car_of_several_that_was_taken_back_is_named() {
    let (home, smartcar, server) = house().await;
    let token = home.token().await;
    home.done(&["migrate"]).await;
    let car = home.json(&["vehicles", "list"]).await["items"][0]["id"].as_str().unwrap().to_owned();
    let at_smartcar = async |say: Say| Line::open(smartcar.address).await.unwrap().send(say).await.unwrap();
    let credentials = format!("grant_type=client_credentials&client_id={V3_CLIENT}&client_secret={V3_SECRET}");
    let access = at_smartcar(Say::form("/oauth2/token", &credentials)).await.json()["access_token"].as_str().unwrap().to_owned();
    let listed = at_smartcar(Say::get("/v3/connections").token(&access)).await.json();
    let is_its = |one: &&serde_json::Value| one.to_string().contains(&car);
    let connection = listed["data"].as_array().unwrap().iter().find(is_its).unwrap()["id"].as_str().unwrap();
    let end = Say::get(&format!("/v3/connections/{connection}")).method(Method::DELETE).token(&access);
    let ended = at_smartcar(end).await;
    assert!(ended.status < 300, "{}", ended.text());
    assert!(refresh(&server, &token, &car).await >= 400);
    let line = until("the notice", async || {
        let lines = checked(&home, "notices").await;
        lines.into_iter().find(|line| line.starts_with("warn "))
    });
    let line = line.await;
    for part in [
        "taken the access to one of several cars back",
        &format!("(vehicle {car})"),
        &format!("`carport connect --vehicle {car}`"),
        &format!("`carport vehicles disconnect {car}`"),
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // Whoever leaves waits for it no more.
    let said = home.done(&["leave", "--yes"]).await;
    assert!(said.contains(&format!("Vehicle {car} of ada: done")), "{said}");
    until("the end of the notice", async || {
        let lines = checked(&home, "notices").await;
        lines.iter().all(|line| line.starts_with("ok ")).then_some(())
    })
    .await;
    assert!(!home.done(&["leave", "--yes"]).await.contains(&car), "once");
    server.stop().await;
}

/// A connection that was made while Smartcar was half down looks as it is.
#[tokio::test]
async fn cars_that_are_not_told_yet_are_said_to_be() {
    let home = Home::new();
    let smartcar = Smartcar::start(&home).await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = Smartcar::settings(smartcar.address);
    let api = |address| format!("\napi = \"http://{address}\"");
    home.write("config.toml", &settings.replace(&api(smartcar.address), &api(nobody)));
    let server = Server::start(&home).await;
    let link = home.done(&["connect", "--user", "ada", "--create"]).await;
    assert_eq!(walk(&link, "ada@example.com").await.status, 200);
    let id = home.json(&["connections", "list"]).await["items"][0]["id"].as_str().unwrap().to_owned();
    let lines = checked(&home, "connections").await;
    assert!(lines.len() == 1 && lines[0].starts_with("warn ") && lines[0].contains(&format!("1 connection ({id})")), "{lines:?}");
    for (words, said) in [(&["list"][..], "its cars are not told yet"), (&["show", &id], "not told yet: Smartcar is asked again")]
    {
        let told = home.done(&[&["connections"], words].concat()).await;
        assert!(told.contains(said), "{words:?}: {told}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_allowed_is_said_with_the_way_to_ask_for_it() {
    let home = Home::new();
    let smartcar = Smartcar::start(&home).await;
    home.write("config.toml", &Smartcar::settings(smartcar.address));
    let server = Server::start(&home).await;
    let link = home.done(&["connect", "--user", "ada", "--create", "--scope", "read_vehicle_info,read_odometer"]).await;
    assert_eq!(walk(&link, "ada@example.com").await.status, 200);
    let cars = home.json(&["vehicles", "list"]).await["items"].clone();
    let cars = cars.as_array().unwrap();
    let signals = home.done(&["signals"]).await;
    let missing = home.done(&["signals", "--missing"]).await;
    for car in cars {
        let id = car["id"].as_str().unwrap();
        let head = format!("{} {} {} ({id})", car["year"], car["make"].as_str().unwrap(), car["model"].as_str().unwrap());
        assert!(signals.lines().any(|line| line == head) && missing.lines().any(|line| line == head), "{head}: {signals}");
        let hint = format!("signals cannot be had: `carport signals {id} --missing` says which, and why.");
        assert!(signals.contains(&hint), "{signals}");
        assert!(home.done(&["vehicles", "show", id]).await.ends_with(&hint));
        let ask = format!("To ask for what is not allowed: carport connect --vehicle {id} --add-scope read_battery,read_charge,");
        assert!(missing.contains(&ask), "{missing}");
    }
    let battery = missing.lines().find(|line| line.starts_with("tractionbattery-stateofcharge ")).unwrap();
    assert!(battery.contains("no permission") && battery.ends_with("The owner has not allowed this (read_battery)"), "{missing}");
    server.stop().await;
}
