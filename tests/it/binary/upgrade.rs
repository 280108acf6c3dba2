//! Stores that older Carports have left: what they held is all there, and a file that is replaced is kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;

use data_encoding::BASE64;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use serde_json::{Value, json};

use super::http::Say;
use super::process::{Home, Server, chmod, files, until};
use super::smartcar::{Smartcar, deliver};

/// A format, and a store of it.
struct Format {
    fixture: &'static str,
    /// What a look at the store tells.
    look: &'static str,
    /// What the old file is called afterwards, if it is not the one that goes on.
    kept: Option<&'static str>,
    /// The place of the next entry of the log. Among those before it is one that was erased with a car.
    next: u64,
}

/// Made anew, for it had no journal.
const FORMAT_1: Format = Format {
    fixture: include_str!("../../fixtures/store-format-1.txt"),
    look: "159 rows, all whole; 0 changes in the journal; it has format 1",
    kept: Some("carport.redb.format-1-1"),
    next: 8,
};

/// Brought up where it is. The program was killed, so what happened last is in the journal alone.
const FORMAT_2: Format = Format {
    fixture: include_str!("../../fixtures/store-format-2.txt"),
    look: "201 rows, all whole; 14 changes in the journal",
    kept: None,
    next: 15,
};

#[tokio::test]
async fn a_store_of_format_1_is_brought_up_whole() {
    is_brought_up_whole(&FORMAT_1).await;
}

#[tokio::test]
async fn a_store_of_format_2_is_brought_up_whole() {
    is_brought_up_whole(&FORMAT_2).await;
}

async fn is_brought_up_whole(format: &Format) {
    let home = Home::new();
    let old = OldStore::put(&home, format);
    let before = files(&home.data());
    let looked = home.done(&["check", "--offline"]).await;
    assert!(looked.contains(format.look), "{looked}");
    assert!(files(&home.data()) == before, "the store was changed by a look");
    let kept = format.kept.map(|name| (name.to_owned(), before["carport.redb"].clone()));

    let mut server = Server::start(&home).await;
    for start in 1..=2 {
        for (path, said) in &old.answers {
            let now = server.get(&format!("/api/v1/{path}"), &old.token).await;
            assert_eq!(now.status, 200, "start {start}, {path}: {}", now.text());
            same(path, said, &now.json());
        }
        // Whoever was signed in still is.
        let home_page = Say::get("/").header("cookie", &old.cookie).header("accept", "text/html");
        assert_eq!(server.send(home_page).await.status, 200);
        // Known events are known; a VERIFY is answered as often as it comes.
        for event in old.events().into_iter().filter(|event| event["type"] != "VERIFY") {
            let again = deliver(&server, &event["payload"]).await;
            let (status, said) = (again.status, again.json());
            assert_eq!((status, &said), (200, &json!({ "status": "duplicate", "seq": event["seq"] })), "start {start}");
        }
        assert!(beside(&home) == BTreeMap::from_iter(kept.clone()), "start {start}: {:?}", beside(&home).keys());
        server.stop().await;
        server = Server::start(&home).await;
    }

    // New things go on where the old ended.
    let (path, mileage, event) = old.drives_on();
    let history = async || server.get(&path, &old.token).await.json()["items"].as_array().unwrap().clone();
    let known = history().await;
    let said = deliver(&server, &event).await.json();
    assert_eq!(said, json!({ "status": "accepted", "seq": format.next }));
    let mut all = until("the new reading", async || Some(history().await).filter(|all| all.len() > known.len())).await;
    all.retain(|reading| reading["body"]["value"] != mileage);
    assert_eq!(all, known);
    server.stop().await;
    let looked = home.done(&["check", "--offline"]).await;
    assert!(looked.contains("all whole") && looked.contains(format.kept.unwrap_or_default()), "{looked}");
}

#[tokio::test]
async fn damaged_rows_of_format_1_cost_nothing_but_themselves() {
    let home = Home::new();
    let old = OldStore::read(&FORMAT_1);
    // The newest entry of the log, and what a user is called.
    let (log, user) = (old.rows_of("webhook_logs-1").last().unwrap().clone(), old.rows_of("users-1")[0].clone());
    old.write(&home, &[log, user]);
    let looked = home.done(&["check", "--offline"]).await;
    assert!(looked.contains("2 of its rows are damaged and will be left behind"), "{looked}");
    let repaired = home.done(&["check", "--offline", "--repair"]).await;
    assert!(repaired.contains("2 rows were damaged and are left behind"), "{repaired}");
    assert!(repaired.contains("kept as carport.redb.format-1-1"), "{repaired}");
    assert!(home.done(&["check", "--offline"]).await.contains("all whole"));
    let webhooks = home.json(&["webhooks", "list"]).await;
    assert_eq!(webhooks["items"].as_array().unwrap().len(), old.events().len() - 1);
    assert_eq!(home.json(&["vehicles", "list"]).await["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn damaged_rows_of_format_2_cost_nothing_but_themselves() {
    let home = Home::new();
    let old = OldStore::read(&FORMAT_2);
    // The newest entry of the log that is not in the journal, and the latest of a signal, which is told again there.
    let (log, latest) = (old.rows_of("webhook_logs-1").pop().unwrap(), old.rows_of("vehicle_latest-1").pop().unwrap());
    old.write(&home, &[log, latest]);
    let looked = home.run(&["check", "--offline"]).await;
    assert_eq!(looked.code, Some(1), "{looked:?}");
    let repaired = home.done(&["check", "--offline", "--repair"]).await;
    assert!(repaired.contains("lost: 1 row of vehicle_latest, 1 row of webhook_logs"), "{repaired}");
    assert!(repaired.contains("kept as carport.redb.damaged-1"), "{repaired}");
    assert_eq!(rows_now(&home, "vehicles_to_read-1"), 0, "a car that has all is asked anew");
    let server = Server::start(&home).await;
    for (path, said) in old.answers.iter().filter(|(path, _)| !path.starts_with("webhooks")) {
        same(path, said, &server.get(&format!("/api/v1/{path}"), &old.token).await.json());
    }
    let webhooks = server.get("/api/v1/webhooks", &old.token).await.json();
    assert_eq!(webhooks["items"].as_array().unwrap().len(), old.events().len() - 1);
    server.stop().await;
    assert!(home.done(&["check", "--offline"]).await.contains("all whole"));
}

/// A row: table, key, value.
type Row = (String, Vec<u8>, Vec<u8>);

/// What the fixture holds.
struct OldStore {
    key: String,
    token: String,
    cookie: String,
    rows: Vec<Row>,
    /// What the journal holds after them: file, block.
    blocks: Vec<(String, Vec<u8>)>,
    /// What the old version answered, by path.
    answers: Vec<(String, Value)>,
}

impl OldStore {
    fn put(home: &Home, format: &Format) -> OldStore {
        let old = OldStore::read(format);
        old.write(home, &[]);
        old
    }

    fn read(format: &Format) -> OldStore {
        let all = |kind: &'static str| format.fixture.lines().filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '));
        let one = |kind| all(kind).next().unwrap().to_owned();
        let row = |line: &str| {
            let mut words = line.split(' ');
            let table = words.next().unwrap().to_owned();
            let mut bytes = || BASE64.decode(words.next().unwrap().as_bytes()).unwrap();
            (table, bytes(), bytes())
        };
        let block = |line: &str| {
            let (journal, block) = line.split_once(' ').unwrap();
            (journal.to_owned(), BASE64.decode(block.as_bytes()).unwrap())
        };
        let answer = |line: &str| {
            let (path, answer) = line.split_once(' ').unwrap();
            (path.to_owned(), serde_json::from_str(answer).unwrap())
        };
        OldStore {
            key: one("key"),
            token: one("token"),
            cookie: one("cookie"),
            rows: all("row").map(row).collect(),
            blocks: all("block").map(block).collect(),
            answers: all("answer").map(answer).collect(),
        }
    }

    /// Makes the store with some rows damaged, its key, and a configuration for a Smartcar that nobody can reach.
    fn write(&self, home: &Home, damaged: &[Row]) {
        std::fs::create_dir(home.data()).unwrap();
        chmod(&home.data(), 0o700);
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = Smartcar::settings(nobody);
        home.write("config.toml", &format!("{settings}[session]\nidle = \"36500d\"\nmax = \"36500d\"\n"));
        home.write("carport-data/master.key", &self.key);
        let database = Database::create(home.store()).unwrap();
        let transaction = database.begin_write().unwrap();
        for row @ (table, key, value) in &self.rows {
            let mut value = value.clone();
            if damaged.contains(row) {
                *value.last_mut().unwrap() ^= 1;
            }
            let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(table);
            transaction.open_table(table).unwrap().insert(key.as_slice(), value.as_slice()).unwrap();
        }
        transaction.commit().unwrap();
        drop(database);
        chmod(&home.store(), 0o600);
        for (journal, block) in &self.blocks {
            let mut file = File::options().append(true).create(true).mode(0o600).open(home.data().join(journal)).unwrap();
            file.write_all(block).unwrap();
        }
    }

    fn rows_of(&self, table: &str) -> Vec<Row> {
        self.rows.iter().filter(|row| row.0 == table).cloned().collect()
    }

    /// The entries of the log, as they were shown one by one.
    fn events(&self) -> Vec<&Value> {
        self.answers.iter().map(|(_, answer)| answer).filter(|answer| answer["payload"].is_object()).collect()
    }

    /// What the car says that was heard last, an hour later: where its mileages are shown, the new one, the event.
    fn drives_on(&self) -> (String, Value, Value) {
        let last = self.events().into_iter().find(|event| event["type"] == "VEHICLE_STATE").unwrap();
        let (signal, mut event) = ("odometer-traveleddistance", last["payload"].clone());
        let signals = event["data"]["signals"].as_array_mut().unwrap();
        let odometer = signals.iter_mut().find(|item| item["code"] == signal).unwrap();
        let mileage = json!(odometer["body"]["value"].as_f64().unwrap() + 50.0);
        odometer["body"]["value"] = mileage.clone();
        odometer["meta"]["oemUpdatedAt"] = json!(odometer["meta"]["oemUpdatedAt"].as_i64().unwrap() + 3_600_000);
        event["eventId"] = json!("a new one");
        (format!("/api/v1/vehicles/{}/history?signal={signal}", last["vehicle"].as_str().unwrap()), mileage, event)
    }
}

/// All that the old version said is said still.
fn same(path: &str, said: &Value, now: &Value) {
    match (said, now) {
        (Value::Object(said), Value::Object(now)) => {
            for (name, said) in said {
                same(&format!("{path} {name}"), said, now.get(name).unwrap_or(&Value::Null));
            }
        }
        (Value::Array(said), Value::Array(now)) => {
            assert_eq!(said.len(), now.len(), "{path}");
            for (place, (said, now)) in said.iter().zip(now).enumerate() {
                same(&format!("{path} {place}"), said, now);
            }
        }
        _ => assert_eq!(said, now, "{path}"),
    }
}

/// How many rows a table of the store has now.
fn rows_now(home: &Home, table: &str) -> u64 {
    let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(table);
    let reading = Database::open(home.store()).unwrap().begin_read().unwrap();
    reading.open_table(table).unwrap().len().unwrap()
}

/// What is kept beside the store.
fn beside(home: &Home) -> BTreeMap<String, Vec<u8>> {
    files(&home.data()).into_iter().filter(|(name, _)| name.starts_with("carport.redb.")).collect()
}
