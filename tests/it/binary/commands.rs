//! Every administrative command, through the socket of a running server and without one: the same answers.

use redb::Builder;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::http::Say;
use super::process::{Home, Program, Server, until};
use super::smartcar::{Smartcar, V2_SECRET, deliver, walk};
use crate::gateway::events::trouble;

#[tokio::test]
async fn reading_commands_say_the_same_with_and_without_a_server() {
    let (home, smartcar, server) = house().await;
    let car = home.json(&["vehicles", "list"]).await["items"][0]["id"].as_str().unwrap().to_owned();
    let connection = home.json(&["connections", "list"]).await["items"][0]["id"].as_str().unwrap().to_owned();
    home.json(&["token", "create", "--name", "one", "--scope", "read", "--user", "ada", "--expires", "90d"]).await;
    home.json(&["users", "add", "grace", "--name", "Grace", "--email", "grace@example.com"]).await;
    let reading: &[&[&str]] = &[
        &["token", "list"],
        &["users", "list"],
        &["vehicles", "list"],
        &["vehicles", "list", "--user", "ada"],
        &["vehicles", "list", "--user", "grace"],
        &["vehicles", "show", &car],
        &["connections", "list"],
        &["connections", "show", &connection],
        &["webhooks", "list"],
        &["webhooks", "list", "--limit", "1", "--vehicle", &car],
        &["webhooks", "list", "--type", "VEHICLE_STATE", "--result", "accepted"],
        &["webhooks", "show", "1"],
        &["config", "show"],
    ];
    let missing: &[&[&str]] = &[
        &["vehicles", "show", "none"],
        &["connections", "show", "none"],
        &["webhooks", "show", "999999"],
        &["token", "revoke", "none", "--yes"],
        &["users", "rename", "none", "x"],
        &["vehicles", "rename", "none", "x"],
        &["vehicles", "list", "--mode", "liv"],
        &["vehicles", "list", "--user", "none"],
        &["signals", "none"],
        &["export", "--vehicle", "none"],
        &["export", "--signal", "none"],
    ];
    // What Smartcar lists needs no server.
    let known = home.json(&["signals", "--known", "--units", "imperial"]).await;
    let odometer =
        json!({ "code": "odometer-traveleddistance", "name": "Odometer.TraveledDistance", "kind": "distance", "unit": "mi" });
    assert!(known["items"].as_array().unwrap().contains(&odometer), "{known}");
    let known = home.done(&["signals", "--known"]).await;
    let words = |start: &str| -> Vec<&str> {
        known.lines().find(|line| line.starts_with(start)).unwrap_or_default().split_whitespace().collect()
    };
    assert_eq!((known.lines().count(), words("CODE")), (94, vec!["CODE", "NAME", "AT", "SMARTCAR", "KIND", "UNIT"]), "{known}");
    assert_eq!(words("wheel-tires"), ["wheel-tires", "Wheel.Tires", "pressures", "bar"]);
    // By its name as by its id.
    home.done(&["vehicles", "rename", &car, "Herbie"]).await;
    for words in [&["signals", "Herbie"][..], &["vehicles", "show", "Herbie"], &["export", "--vehicle", "Herbie"]] {
        let by_id: Vec<&str> = words.iter().map(|word| if *word == "Herbie" { car.as_str() } else { word }).collect();
        assert_eq!(home.done(words).await.lines().count(), home.done(&by_id).await.lines().count(), "{words:?}");
    }
    assert_eq!(home.json(&["vehicles", "show", "herbie"]).await["id"], car.as_str());
    let token = home.json(&["token", "create", "--name", "his", "--scope", "read", "--vehicle", "herbie"]).await;
    assert_eq!(token["vehicle"], car.as_str(), "{token}");
    let asked = home.run(&["token", "revoke", token["id"].as_str().unwrap()]).await;
    assert!(asked.code == Some(2) && asked.stderr.contains("for good?"), "{asked:?}");
    let other = home.json(&["vehicles", "list"]).await["items"][1]["id"].as_str().unwrap().to_owned();
    // Capitals count where they tell cars apart.
    home.done(&["vehicles", "rename", &other, "HERBIE"]).await;
    for (name, id) in [("Herbie", &car), ("HERBIE", &other)] {
        assert_eq!(home.json(&["vehicles", "show", name]).await["id"], id.as_str());
    }
    let ran = home.run(&["vehicles", "show", "herbie"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("there are 2 cars of this name"), "{ran:?}");
    home.done(&["vehicles", "rename", &other, "Herbie"]).await;
    for words in [&["signals", "Herbie"][..], &["vehicles", "rename", "Herbie"], &["export", "--vehicle", "Herbie"]] {
        let ran = home.run(words).await;
        let said = format!("there are 2 cars of this name: say which by its id ({car}, {other})");
        assert!(ran.code == Some(1) && ran.stderr.contains(&said), "{ran:?}");
    }
    home.done(&["vehicles", "rename", &other]).await;
    let ran = home.run(&["signals", "herby"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("no car of this id or name (Herbie, perhaps?)"), "{ran:?}");
    home.done(&["vehicles", "rename", "Herbie"]).await;
    assert_eq!(home.json(&["vehicles", "show", &car]).await["nickname"], Value::Null);
    for words in [&["users", "remove", "-y", ""][..], &["vehicles", "erase", "-y", ".."], &["vehicles", "list", "--user", ""]] {
        let ran = home.run(words).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{words:?}: {ran:?}");
        assert!(ran.stderr.contains("is empty"), "{ran:?}");
    }
    let mut running = Vec::new();
    for words in reading {
        // What people see instead has at least a line.
        assert!(!home.done(words).await.is_empty(), "{words:?}");
        running.push(home.json(words).await);
    }
    let mut complaints = Vec::new();
    for words in missing {
        let ran = home.run(words).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{words:?}: {ran:?}");
        complaints.push(ran.stderr);
    }
    server.stop().await;
    for (words, said) in reading.iter().zip(&running) {
        assert_eq!(&home.json(words).await, said, "{words:?}");
        assert!(is_cleanly_closed(&home), "{words:?} left the store open");
    }
    for (words, said) in missing.iter().zip(&complaints) {
        assert_eq!(&home.run(words).await.stderr, said, "{words:?}");
    }
    let cars = running[2]["items"].as_array().unwrap();
    assert_eq!((cars.len(), cars[0]["user"].as_str()), (2, Some("ada")));
    assert_eq!(running[4]["items"], Value::Array(Vec::new()));
    assert!(running[11]["payload"].is_object(), "{}", running[11]);
    drop(smartcar);
}

/// But about what is, and about an erasure, which also takes what is left of something that has gone.
#[tokio::test]
async fn nobody_is_asked_about_what_is_not_there() {
    let (home, smartcar, server) = house().await;
    for words in [["sessions", "revoke"], ["users", "remove"], ["vehicles", "disconnect"], ["connections", "disconnect"]] {
        let ran = home.run(&[words[0], words[1], "none"]).await;
        assert!(ran.code == Some(1) && ran.stderr.contains("(not_found)"), "{words:?}: {ran:?}");
    }
    for words in [&["users", "remove", "ada"][..], &["users", "remove", "none", "--erase"]] {
        let ran = home.run(words).await;
        assert!(ran.code == Some(2) && ran.stderr.contains("say --yes"), "{words:?}: {ran:?}");
    }
    server.stop().await;
    drop(smartcar);
}

#[tokio::test]
async fn changing_commands_work_with_and_without_a_server() {
    let (home, smartcar, server) = house().await;
    let mut server = Some(server);
    for account in ["ada@example.com", "grace@example.com"] {
        let user = account.split('@').next().unwrap();
        if server.is_none() {
            // The owner's browser needs a server; the commands that follow do not.
            let running = Server::start(&home).await;
            let link = home.done(&["connect", "--user", user, "--create"]).await;
            assert_eq!(walk(&link, account).await.status, 200);
            running.stop().await;
        }
        let cars = home.json(&["vehicles", "list", "--user", user]).await["items"].as_array().unwrap().clone();
        let connections = home.json(&["connections", "list"]).await["items"].as_array().unwrap().clone();
        let connection = connections.iter().find(|one| one["user"] == user && one["status"] == "active").unwrap();
        let (car, connection) = (cars[0]["id"].as_str().unwrap(), connection["id"].as_str().unwrap().to_owned());

        let token = home.json(&["token", "create", "--name", "short", "--scope", "metrics"]).await;
        assert!(token["token"].as_str().unwrap().starts_with("carport_"), "{token}");
        assert_eq!(home.done(&["token", "revoke", token["id"].as_str().unwrap(), "--yes"]).await, "Revoked.");
        assert_eq!(home.done(&["users", "add", "lin", "--name", "Lin"]).await, "lin");
        assert_eq!(home.run(&["users", "add", "lin"]).await.code, Some(1), "made twice");
        assert_eq!(home.json(&["users", "rename", "lin", "Linus"]).await["name"], "Linus");
        assert!(home.done(&["users", "remove", "lin", "--yes"]).await.starts_with("Removed. The history of its cars stays"));
        let replayed = home.done(&["webhooks", "replay", "1"]).await;
        assert!(replayed.starts_with("Read again"), "{replayed}");
        let refreshed = home.json(&["connections", "refresh", &connection]).await;
        assert_eq!((&refreshed["status"], &refreshed["last_error"]), (&"active".into(), &Value::Null), "{refreshed}");

        // Without a terminal nobody can be asked.
        let unasked = home.run(&["vehicles", "disconnect", car]).await;
        assert_eq!((unasked.code, unasked.stdout.as_str()), (Some(2), ""), "{unasked:?}");
        assert!(unasked.stderr.contains("--yes"), "{unasked:?}");
        assert_eq!(home.done(&["vehicles", "erase", car, "--yes"]).await, "Erased.");
        assert_eq!(home.run(&["vehicles", "show", car]).await.code, Some(1));
        assert_eq!(home.json(&["connections", "disconnect", &connection, "--yes"]).await, serde_json::json!({}));
        assert_eq!(home.json(&["connections", "show", &connection]).await["status"], "disconnected");
        let connected = smartcar.status().await["cars"].as_array().unwrap().iter().filter(|one| one["connected"] == true).count();
        assert_eq!(connected, 0, "still connected at Smartcar");
        assert!(home.done(&["users", "remove", user, "--yes"]).await.starts_with("Removed. "));

        // Links of both ways work at the server.
        let (invite, login) = (home.done(&["connect"]).await, home.json(&["login"]).await);
        let Some(running) = server.take() else {
            assert!(is_cleanly_closed(&home));
            break;
        };
        let path = |link: &str| link.strip_prefix(&running.origin()).unwrap().to_owned();
        assert_eq!(running.get(&path(login["url"].as_str().unwrap()), "").await.status, 200);
        let page = walk(&invite, account).await;
        assert!(page.text().contains("Your cars are connected"), "{}", page.text());
        assert_eq!(running.get(&path(&invite), "").await.status, 303, "a used link does not begin again");
        home.done(&["users", "remove", "owner", "--yes"]).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn links_made_without_a_server_work_later() {
    let home = Home::new();
    let smartcar = Smartcar::start(&home).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    home.write("config.toml", &format!("listen = \"{free}\"\n{}", Smartcar::settings(smartcar.address)));
    let (invite, login) = (home.run(&["connect"]).await, home.run(&["login"]).await);
    for ran in [&invite, &login] {
        assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 1), "{ran:?}");
        assert!(ran.complaint().contains("No server is running in") && ran.stderr.contains("carport serve"), "{ran:?}");
    }
    let (invite, login) = (invite.stdout.trim_end(), login.stdout.trim_end());
    assert!(is_cleanly_closed(&home));
    let server = Server::of(home.command(&["serve"])).await;
    assert_eq!(server.address, free);
    assert_eq!(walk(invite, "ada@example.com").await.status, 200);
    assert_eq!(home.run(&["login"]).await.complaint(), "");
    let secret = login.split_once("?t=").unwrap().1;
    let press = Say::form("/login", &format!("t={secret}")).header("origin", &server.origin());
    assert_eq!(server.send(press).await.status, 303);

    // The configuration says where to knock.
    assert_eq!(home.done(&["healthcheck"]).await, "");
    server.stop().await;
    let ran = home.run(&["healthcheck"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("does not answer"), "{ran:?}");
}

#[tokio::test]
async fn the_tail_of_the_log_follows_a_server_only() {
    let (home, smartcar, server) = house().await;
    let mut tail = Program::start(home.command(&["webhooks", "tail", "--json"]));
    let first = tail.says("what is there", |text| Some(text.lines().count()).filter(|lines| *lines >= 2)).await;
    smartcar.tell("deliver", &serde_json::json!({})).await;
    let lines = tail.says("what came in", |text| (text.lines().count() > first).then(|| text.to_owned())).await;
    let seqs: Vec<u64> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    tail.signal(Signal::INT);
    assert_eq!(tail.end().await.code, Some(0));
    server.stop().await;
    let ran = home.run(&["webhooks", "tail"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("start carport serve"), "{ran:?}");
}

#[tokio::test]
async fn what_is_local_needs_no_server() {
    let home = Home::new();
    home.write("config.toml", &format!("[smartcar.v2]\nclient_id = \"x\"\nclient_secret = \"{V2_SECRET}\"\n"));
    for words in [&["config", "show"][..], &["config", "show", "--json"]] {
        let shown = home.done(words).await;
        assert!(shown.contains("smartcar.v2.client_secret") && shown.contains("***"), "{shown}");
        assert!(shown.contains("config.toml:3"), "{shown}");
        assert!(!shown.contains(V2_SECRET), "{shown}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = home.done(&["completions", shell]).await;
        assert!(script.contains("carport") && script.contains("healthcheck"), "{shell}");
    }
    let faults = home.done(&["simulate", "--fault", "help"]).await;
    for fault in ["refuse", "delay=SECONDS", "invalid-grant", "empty-store"] {
        let line = faults.lines().find(|line| line.split_whitespace().next() == Some(fault));
        assert!(line.is_some_and(|line| line.split_whitespace().count() > 1), "{fault}: {faults}");
    }
    for trouble in ["VEHICLE_STATE.ASLEEP", "BILLING.VEHICLE_LIMIT", "PERMISSION"] {
        assert!(faults.lines().any(|line| line.trim() == trouble), "{trouble}: {faults}");
    }
    assert!(!home.data().exists());
}

/// A server with Ada's two cars and what their first deliveries brought, and a simulator that stays quiet.
pub(super) async fn house() -> (Home, Smartcar, Server) {
    let home = Home::new();
    let smartcar = Smartcar::start(&home).await;
    home.write("config.toml", &Smartcar::settings(smartcar.address));
    let server = Server::start(&home).await;
    smartcar.send_webhooks_to(&server).await;
    let link = home.done(&["connect", "--user", "ada", "--create"]).await;
    let page = walk(&link, "ada@example.com").await;
    assert!(page.text().contains("Your cars are connected"), "{}", page.text());
    until("both cars' first deliveries and reads", || async {
        let cars = home.json(&["vehicles", "list"]).await;
        let cars = cars["items"].as_array()?;
        let told = cars.iter().filter(|car| car["last_event_at"].is_string()).count();
        (told == 2).then_some(())
    })
    .await;
    (home, smartcar, server)
}

/// Whether the next one who opens the store need not repair it.
fn is_cleanly_closed(home: &Home) -> bool {
    let copy = home.path("copy.redb");
    std::fs::copy(home.store(), &copy).unwrap();
    let repaired = Arc::new(AtomicBool::new(false));
    let noted = repaired.clone();
    let opened = Builder::new().set_repair_callback(move |_| noted.store(true, Ordering::Relaxed)).open(&copy);
    drop(opened.unwrap());
    !repaired.load(Ordering::Relaxed)
}

/// Tokens can be renewed of a connection that is of no use all the same: then that is what is said.
#[tokio::test]
async fn a_refresh_says_when_it_does_not_help() {
    let (home, smartcar, server) = house().await;
    smartcar.tell("knobs", &serde_json::json!({ "knobs": ["v2=ended"] })).await;
    let link = home.done(&["connect", "--user", "grace", "--create"]).await;
    assert!(walk(&link, "ada@example.com").await.text().contains("Nothing was changed"));
    let connections = home.json(&["connections", "list"]).await["items"].as_array().unwrap().clone();
    let [connection] = connections.as_slice() else { panic!("{connections:?}") };
    let refreshed = home.run(&["connections", "refresh", connection["id"].as_str().unwrap()]).await;
    assert_eq!((refreshed.code, refreshed.stdout.as_str()), (Some(1), ""), "{refreshed:?}");
    assert!(refreshed.stderr.contains("does not work: ") && refreshed.stderr.contains("carport migrate"), "{refreshed:?}");
    server.stop().await;
    drop(smartcar);
}

/// A connection that waits for its owner is named with the command to paste, and a refresh says what it did.
#[tokio::test]
async fn what_waits_for_its_owner_is_named_with_the_command_to_paste() {
    let (home, smartcar, server) = house().await;
    let connection = home.json(&["connections", "list"]).await["items"][0].clone();
    let (id, car) = (connection["id"].as_str().unwrap(), connection["vehicles"][0].as_str().unwrap());
    let refreshed = home.done(&["connections", "refresh", id]).await;
    assert_eq!(refreshed.trim_end(), "Done: its tokens are renewed.");

    deliver(&server, &trouble("waits", car, "CONNECTED_SERVICES_ACCOUNT", Some("AUTHENTICATION_FAILED"), "ERROR")).await;
    let command = format!("`carport connect --vehicle {car}`");
    let checked = until("the notice", async || {
        let said = home.done(&["check", "--offline"]).await;
        said.lines().find(|line| line.contains("waits for its owner")).map(str::to_owned)
    });
    let checked = checked.await;
    assert!(checked.starts_with("warn") && checked.contains(id) && checked.contains(&command), "{checked}");
    let refreshed = home.run(&["connections", "refresh", id]).await;
    assert_eq!((refreshed.code, refreshed.stdout.as_str()), (Some(1), ""), "{refreshed:?}");
    assert!(refreshed.stderr.contains("renewed, but the connection waits for its owner"), "{refreshed:?}");
    assert!(refreshed.stderr.contains(&command), "{refreshed:?}");
    server.stop().await;
    drop(smartcar);
}
