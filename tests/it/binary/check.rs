//! `carport check`: what it says of a healthy house and of a sick one, and that looking changes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use redb::{Database, ReadableTable, TableDefinition};
use serde_json::{Value, json};

use super::commands::house;
use super::process::{Home, SERVE, Server, chmod, until};
use super::smartcar::{APPLICATION, MANAGEMENT, Smartcar, V2_SECRET, V3_SECRET, deliver, walk};

#[tokio::test]
async fn a_healthy_house_is_well_with_and_without_its_server() {
    let (home, smartcar, server) = house().await;
    let mut server = Some(server);
    let key = std::fs::read_to_string(home.key()).unwrap();
    let vin = home.json(&["vehicles", "list"]).await["items"][0]["vin"].as_str().unwrap().to_owned();
    for is_running in [true, false] {
        let said = home.done(&["check"]).await;
        assert!(said.lines().all(|line| line.starts_with("ok  ")), "{said}");
        for check in ["configuration", "permissions", "master key", "store", "sandbox", "credentials", "webhook address"] {
            assert_eq!(
                said.lines().filter(|line| line.split("  ").any(|cell| cell.trim() == check)).count(),
                1,
                "{check}: {said}"
            );
        }
        assert_eq!(said.contains("the running server takes changes"), is_running, "{said}");
        let checked = home.json(&["check", "--offline"]).await;
        let of_server = if is_running { &["notices", "budget"][..] } else { &[] };
        assert_eq!(checks(&checked), [&["configuration", "permissions", "master key", "store", "sandbox"], of_server].concat());
        assert_eq!(checked["items"][3]["remedy"], Value::Null);
        for secret in [key.trim(), V3_SECRET, MANAGEMENT, &vin] {
            assert!(!said.contains(secret) && !checked.to_string().contains(secret), "{said}{checked}");
        }
        if is_running {
            let ran = home.run(&["check", "--repair"]).await;
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(75), ""), "{ran:?}");
            assert!(ran.complaint().contains("stop it first"), "{ran:?}");
        }
        if let Some(server) = server.take() {
            server.stop().await;
        }
    }
    // Nothing to repair.
    let said = home.done(&["check", "--offline", "--repair"]).await;
    assert!(said.lines().next().unwrap().contains("nothing was damaged"), "{said}");
    assert!(kept(&home).is_empty());

    // Smartcar takes other credentials, and then goes away.
    home.write("config.toml", &Smartcar::settings(smartcar.address).replace(V3_SECRET, "51a0ca12-0000-4000-8000-00000000000f"));
    let ran = failed(&home, &["check"]).await;
    assert!(ran.contains("Smartcar refuses"), "{ran}");
    drop(smartcar);
    let ran = failed(&home, &["check"]).await;
    assert!(ran.contains("Smartcar cannot be asked"), "{ran}");
    home.done(&["check", "--offline"]).await;
}

#[tokio::test]
async fn what_smartcar_refuses_is_named() {
    let (home, smartcar, server) = house().await;
    server.stop().await;
    let good = Smartcar::settings(smartcar.address);
    let other = "51a0ca12-0000-4000-8000-00000000000f";
    for (right, wrong, line) in [
        (V3_SECRET, other, "fail  credentials "),
        (V2_SECRET, other, "fail  v2 credentials "),
        (MANAGEMENT, other, "fail  management token "),
        ("client_simulated0000000000000003", APPLICATION, "warn  configuration "),
    ] {
        home.write("config.toml", &good.replace(right, wrong));
        let said = failed(&home, &["check"]).await;
        assert!(said.lines().any(|own| own.starts_with(line)), "{line}: {said}");
        assert!(!said.contains(other), "{said}");
    }
    home.write("config.toml", &good);
    home.done(&["check"]).await;
}

#[tokio::test]
async fn what_is_open_on_the_set_up_page_is_told_and_no_fault() {
    let home = Home::new();
    let smartcar = Smartcar::start(&home).await;
    home.write("config.toml", &Smartcar::settings(smartcar.address));
    let server = Server::start(&home).await;
    let said = home.done(&["check"]).await;
    for line in ["warn  VERIFY ", "warn  car "] {
        assert_eq!(said.lines().filter(|own| own.starts_with(line)).count(), 1, "{line}: {said}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_yet_is_no_fault() {
    let home = Home::new();
    let said = home.done(&["check", "--offline"]).await;
    assert!(said.contains("there is no") && said.contains("--data-dir"), "{said}");
    assert!(!home.data().exists(), "it was made by looking for it");
    std::fs::create_dir(home.data()).unwrap();
    chmod(&home.data(), 0o700);
    let said = home.done(&["check"]).await;
    assert_eq!(said.matches("none yet").count(), 2, "{said}");
    assert!(said.contains("carport init"), "{said}");
    assert!(home.done(&["check", "--repair"]).await.contains("there is no store yet"));
    assert_eq!(std::fs::read_dir(home.data()).unwrap().count(), 0);
}

#[tokio::test]
async fn credentials_of_the_servers_own_environment_are_known() {
    let home = Home::new();
    home.write("config.toml", "");
    let server = Server::start(&home).await;
    let said = home.done(&["check"]).await;
    assert!(said.contains("none for Smartcar"), "{said}");
    server.stop().await;

    let mut command = home.command(SERVE);
    command.env("SMARTCAR_CLIENT_ID", APPLICATION).env("SMARTCAR_CLIENT_SECRET", V2_SECRET);
    let server = Server::of(command).await;
    let said = home.done(&["check"]).await;
    let line = said.lines().find(|line| line.contains("credentials")).unwrap();
    assert!(line.starts_with("ok") && line.contains("set its environment here too"), "{said}");
    server.stop().await;
}

#[tokio::test]
async fn mistakes_of_the_configuration_are_a_line_each() {
    let home = Home::new();
    home.write("config.toml", "listen = \"everywhere\"\n[smartcar]\nmode = \"imaginary\"\n");
    let said = failed(&home, &["check"]).await;
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.lines().all(|line| line.starts_with("fail  configuration  ")), "{said}");
    let ran = home.run(&["check", "--repair"]).await;
    assert_eq!(ran.code, Some(64), "{ran:?}");
}

#[tokio::test]
async fn what_others_can_read_is_named() {
    let home = Home::new();
    home.token().await;
    for (path, mode, good) in [(home.data(), 0o755, 0o700), (home.store(), 0o644, 0o600)] {
        chmod(&path, mode);
        let said = home.done(&["check", "--offline"]).await;
        let remedy = format!("chmod {good:o} {}", path.display());
        assert!(said.lines().any(|line| line.starts_with("warn  permissions") && line.ends_with(&remedy)), "{said}");
        chmod(&path, good);
    }
    chmod(&home.key(), 0o644);
    let said = failed(&home, &["check", "--offline"]).await;
    let remedy = format!(": chmod 600 {}", home.key().display());
    assert!(said.lines().any(|line| line.starts_with("fail  master key") && line.ends_with(&remedy)), "{said}");
}

#[tokio::test]
async fn another_key_is_told_from_damage() {
    let (home, other) = (Home::new(), Home::new());
    home.token().await;
    other.token().await;
    std::fs::copy(other.key(), home.key()).unwrap();
    let before = files(&home);
    let said = failed(&home, &["check", "--offline"]).await;
    assert!(said.contains("the store was sealed under master key"), "{said}");
    assert!(!said.contains("--repair"), "{said}");
    let ran = home.run(&["check", "--repair"]).await;
    assert_eq!(ran.code, Some(65), "{ran:?}");
    std::fs::remove_file(home.key()).unwrap();
    let said = failed(&home, &["check", "--offline"]).await;
    assert!(said.contains("put the key back in place"), "{said}");
    assert_eq!(home.run(&["check", "--repair"]).await.code, Some(65));
    std::fs::write(home.key(), "a text that is no key\n").unwrap();
    chmod(&home.key(), 0o600);
    failed(&home, &["check", "--offline"]).await;
    std::fs::copy(other.key(), home.key()).unwrap();
    assert!(files(&home) == before, "looking has changed something");
}

#[tokio::test]
async fn a_damaged_store_is_told_and_repaired() {
    let (home, _smartcar, server) = house().await;
    home.json(&["token", "create", "--name", "kept", "--scope", "read"]).await;
    home.json(&["users", "add", "lin", "--name", "Lin"]).await;
    server.stop().await;
    let reading: &[&[&str]] = &[&["users", "list"], &["token", "list"], &["connections", "list"]];
    let mut before = Vec::new();
    for words in reading {
        before.push(home.json(words).await);
    }
    let cars = ids(&home, &["vehicles", "list"]).await;
    assert_eq!(cars.len(), 2);

    damage(&home);
    let (damaged, all) = (std::fs::read(home.store()).unwrap(), files(&home));
    let said = failed(&home, &["check", "--offline"]).await;
    assert!(said.contains("carport check --repair"), "{said}");
    let checked = home.run(&["check", "--offline", "--json"]).await;
    let checked: Value = serde_json::from_str(&checked.stdout).unwrap();
    let store = checked["items"].as_array().unwrap().iter().find(|item| item["check"] == "store").unwrap();
    assert_eq!(store["result"], "fail", "{store}");
    assert!(files(&home) == all, "looking has changed something");

    let repaired = home.done(&["check", "--offline", "--repair"]).await;
    assert!(repaired.contains("kept as carport.redb.damaged-1"), "{repaired}");
    let aside = kept(&home);
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(std::fs::read(&aside[0]).unwrap() == damaged, "the damaged file was changed");
    for (words, before) in reading.iter().zip(before) {
        assert_eq!(home.json(words).await, before, "{words:?}");
    }
    assert_eq!(ids(&home, &["vehicles", "list"]).await, cars);

    let said = home.done(&["check", "--offline"]).await;
    let kept_line = said.lines().find(|line| line.starts_with("warn")).unwrap();
    assert!(kept_line.contains("kept files") && kept_line.contains("carport.redb.damaged-1"), "{said}");
    assert_eq!(said.matches("warn").count(), 1, "{said}");
    assert!(said.contains("all whole"), "{said}");

    // All of it gone: the journal has what matters.
    std::fs::remove_file(home.store()).unwrap();
    let said = failed(&home, &["check", "--offline"]).await;
    assert!(said.contains("the tables are missing"), "{said}");
    assert!(!home.store().exists(), "looking has made an empty store");
    home.done(&["check", "--offline", "--repair"]).await;
    assert_eq!(ids(&home, &["vehicles", "list"]).await, cars);
}

#[tokio::test]
async fn what_a_killed_server_left_is_no_damage() {
    let home = Home::new();
    let server = Server::start(&home).await;
    home.json(&["users", "add", "lin"]).await;
    server.program.signal(rustix::process::Signal::KILL);
    let mut program = server.program;
    program.ended().await;
    let before = files(&home);
    let said = home.done(&["check", "--offline"]).await;
    assert!(said.contains("changes in the journal") && !said.contains(" 0 changes"), "{said}");
    assert!(files(&home) == before, "looking has changed something");
    assert_eq!(ids(&home, &["users", "list"]).await, ["lin"]);
}

#[tokio::test]
async fn a_damaged_row_costs_nothing_but_itself() {
    for table in ["vehicle_latest-2", "users-1"] {
        let home = Home::new();
        let smartcar = Smartcar::start(&home).await;
        home.write("config.toml", &Smartcar::settings(smartcar.address));
        let server = Server::start(&home).await;
        // Takes the first row, which a repair must not give to another car.
        let said = deliver(
            &server,
            &json!({ "eventId": "1", "eventType": "VEHICLE_STATE", "data": { "vehicle": { "id": "nobodys" } } }),
        )
        .await;
        assert_eq!(said.json()["seq"], 1);
        let link = home.done(&["connect", "--user", "ada", "--create"]).await;
        assert_eq!(walk(&link, "ada@example.com").await.status, 200);
        until("the first pictures of both cars", || async {
            let pictures = signals(&home.json(&["vehicles", "list"]).await);
            (pictures.len() == 2 && pictures.iter().all(|(_, count)| *count > 5)).then_some(())
        })
        .await;
        let car = home.json(&["vehicles", "list"]).await["items"][0]["id"].as_str().unwrap().to_owned();
        for number in 0..4_u64 {
            let signal = json!({ "code": "odometer-traveleddistance", "body": { "value": number },
                "status": { "value": "SUCCESS" }, "meta": { "oemUpdatedAt": 1_759_900_000_000_u64 + number * 40_000_000 } });
            let data = json!({ "vehicle": { "id": car }, "signals": [signal] });
            deliver(&server, &json!({ "eventId": format!("past {number}"), "eventType": "VEHICLE_STATE", "data": data })).await;
        }
        let token = home.token().await;
        let past = past_of(&server, &car, &token, 4).await;
        server.stop().await;
        // Opened again, the journal would begin anew: a copy is asked.
        let cars = signals(&twin(&home).json(&["vehicles", "list"]).await);

        damage_row(&home, table);
        let said = failed(&home, &["check", "--offline"]).await;
        assert!(said.contains(&format!("a row of {table} is damaged")), "{said}");
        let repaired = home.done(&["check", "--offline", "--repair"]).await;
        let lost = usize::from(table == "vehicle_latest-2");
        assert_eq!(repaired.contains("lost: 1 row of vehicle_latest"), lost == 1, "{repaired}");
        let now = signals(&home.json(&["vehicles", "list"]).await);
        let changed = cars.iter().zip(&now).filter(|(before, now)| before.1 != now.1).count();
        assert_eq!(changed, lost, "{table}: {cars:?} {now:?}");
        // The log is read again: nothing of it comes twice, or over what is there.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        home.write("config.toml", &Smartcar::settings(nobody));
        let server = Server::start(&home).await;
        let latest = format!("/api/v1/vehicles/{car}/signals/odometer-traveleddistance");
        until("the log to be read again", || async { (server.get(&latest, &token).await.status == 200).then_some(()) }).await;
        assert_eq!(past_of(&server, &car, &token, past.len()).await, past, "{table}");
        server.stop().await;
        // Smartcar is asked for what was lost.
        home.write("config.toml", &Smartcar::settings(smartcar.address));
        let server = Server::start(&home).await;
        until("pictures of both cars", || async { (signals(&home.json(&["vehicles", "list"]).await) == cars).then_some(()) })
            .await;
        server.stop().await;
        assert_eq!(ids(&home, &["users", "list"]).await, ["ada"]);
        let webhooks = home.json(&["webhooks", "list"]).await;
        assert_eq!(webhooks["items"].as_array().unwrap().last().unwrap()["vehicle"], "nobodys");
    }
}

#[tokio::test]
async fn a_journal_that_does_not_fit_the_tables_is_told() {
    let home = Home::new();
    home.token().await;
    let backup = std::fs::read(home.store()).unwrap();
    for user in ["ada", "grace", "lin"] {
        home.done(&["users", "add", user]).await;
    }
    std::fs::write(home.store(), backup).unwrap();
    let said = home.done(&["check", "--offline"]).await;
    assert!(said.lines().any(|line| line.starts_with("warn  store") && line.contains("are they from a backup?")), "{said}");
}

/// A home with the same data.
fn twin(home: &Home) -> Home {
    let twin = Home::new();
    std::fs::create_dir(twin.data()).unwrap();
    for (path, bytes) in files(home) {
        let copy = twin.data().join(path.file_name().unwrap());
        std::fs::write(&copy, bytes).unwrap();
        chmod(&copy, 0o600);
    }
    twin
}

/// Times and values of a car's odometer, once there are so many.
async fn past_of(server: &Server, car: &str, token: &str, count: usize) -> Vec<(String, String)> {
    let path = format!("/api/v1/vehicles/{car}/history?signal=odometer-traveleddistance&limit=500");
    until("the past", || async {
        let told = server.get(&path, token).await.json();
        let row = |item: &Value| (item["at"].as_str().unwrap().to_owned(), item["body"].to_string());
        let past: Vec<_> = told["items"].as_array().unwrap().iter().map(row).collect();
        (past.len() >= count).then_some(past)
    })
    .await
}

/// The cars and how many signals each has.
fn signals(cars: &Value) -> Vec<(String, usize)> {
    let count = |car: &Value| car["signals"].as_object().map_or(0, |signals| signals.len());
    let mut cars: Vec<(String, usize)> =
        cars["items"].as_array().unwrap().iter().map(|car| (car["id"].to_string(), count(car))).collect();
    cars.sort();
    cars
}

/// Changes the first row of a table, as redb would never notice.
fn damage_row(home: &Home, table: &str) {
    let database = Database::open(home.store()).unwrap();
    let transaction = database.begin_write().unwrap();
    let definition: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(table);
    let mut rows = transaction.open_table(definition).unwrap();
    let (key, mut value) = rows.first().unwrap().map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).unwrap();
    *value.last_mut().unwrap() ^= 1;
    rows.insert(key.as_slice(), value.as_slice()).unwrap();
    drop(rows);
    transaction.commit().unwrap();
}

/// Runs a check that must fail, and returns what it printed.
async fn failed(home: &Home, words: &[&str]) -> String {
    let ran = home.run(words).await;
    assert_eq!(ran.code, Some(1), "{words:?}: {ran:?}");
    assert!(ran.stdout.contains("fail"), "{words:?}: {ran:?}");
    ran.stdout
}

fn checks(checked: &Value) -> Vec<&str> {
    checked["items"].as_array().unwrap().iter().map(|item| item["check"].as_str().unwrap()).collect()
}

async fn ids(home: &Home, words: &[&str]) -> Vec<String> {
    let list = home.json(words).await;
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Flips a byte in every second page of the middle of the store that holds anything.
fn damage(home: &Home) {
    let mut bytes = std::fs::read(home.store()).unwrap();
    let pages: Vec<usize> = (0..bytes.len() / 4096).filter(|page| bytes[page * 4096..][..4096].iter().any(|b| *b != 0)).collect();
    let (first, last) = (pages.len() / 4, pages.len() * 3 / 4);
    for page in pages[first..last].iter().step_by(2) {
        bytes[page * 4096 + 100] ^= 0x55;
    }
    std::fs::write(home.store(), bytes).unwrap();
}

/// What the data directory holds.
fn files(home: &Home) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = std::fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// What is kept beside the store.
fn kept(home: &Home) -> Vec<PathBuf> {
    files(home).into_keys().filter(|path| path.to_string_lossy().contains("carport.redb.")).collect()
}
