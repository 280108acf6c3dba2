//! A store that an older Carport has left: what it held is all there, and the old file is kept.

use std::net::TcpListener;
use std::path::PathBuf;

use data_encoding::BASE64;
use redb::{Database, TableDefinition};
use serde_json::{Value, json};

use super::http::Say;
use super::process::{Home, Server, chmod};
use super::smartcar::{Smartcar, deliver};

#[tokio::test]
async fn a_store_of_format_1_is_brought_up_whole() {
    let home = Home::new();
    let old = OldStore::put(&home);
    let before = std::fs::read(home.store()).unwrap();
    let checked = home.run(&["check", "--offline"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("159 rows, all whole") && checked.stdout.contains("it has format 1"), "{checked:?}");
    assert!(std::fs::read(home.store()).unwrap() == before, "the store was changed by a look");

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
        assert_eq!(kept(&home), [home.data().join("carport.redb.format-1-1")], "start {start}");
        assert!(std::fs::read(&kept(&home)[0]).unwrap() == before, "the old file was changed");
        server.stop().await;
        server = Server::start(&home).await;
    }

    // New things go on where the old ended: its seventh entry was erased with a car.
    let mut event = old.events()[0]["payload"].clone();
    event["eventId"] = json!("a new one");
    let said = deliver(&server, &event).await.json();
    assert_eq!(said, json!({ "status": "accepted", "seq": 8 }));
    server.stop().await;
    assert!(home.done(&["check", "--offline"]).await.contains("carport.redb.format-1-1"));
}

#[tokio::test]
async fn damaged_rows_of_an_old_store_cost_nothing_but_themselves() {
    let home = Home::new();
    let old = OldStore::read();
    // The newest entry of the log, and what a user is called.
    let (log, user) = (old.rows_of("webhook_logs-1").last().unwrap().clone(), old.rows_of("users-1")[0].clone());
    let damaged = [log, user];
    old.write(&home, |row| {
        let mut row = row.clone();
        if damaged.contains(&row) {
            *row.2.last_mut().unwrap() ^= 1;
        }
        row
    });
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

/// A row: table, key, value.
type Row = (String, Vec<u8>, Vec<u8>);

/// What the fixture holds.
struct OldStore {
    key: String,
    token: String,
    cookie: String,
    rows: Vec<Row>,
    /// What the old version answered, by path.
    answers: Vec<(String, Value)>,
}

impl OldStore {
    fn put(home: &Home) -> OldStore {
        let old = OldStore::read();
        old.write(home, Row::clone);
        old
    }

    fn read() -> OldStore {
        let text = include_str!("../../fixtures/store-format-1.txt");
        let all = |kind: &'static str| text.lines().filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '));
        let one = |kind| all(kind).next().unwrap().to_owned();
        let row = |line: &str| {
            let mut words = line.split(' ');
            let table = words.next().unwrap().to_owned();
            let mut bytes = || BASE64.decode(words.next().unwrap().as_bytes()).unwrap();
            (table, bytes(), bytes())
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
            answers: all("answer").map(answer).collect(),
        }
    }

    /// Makes the store, its key, and a configuration for a Smartcar that nobody can reach.
    fn write(&self, home: &Home, row: impl Fn(&Row) -> Row) {
        std::fs::create_dir(home.data()).unwrap();
        chmod(&home.data(), 0o700);
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = Smartcar::settings(nobody);
        home.write("config.toml", &format!("{settings}[session]\nidle = \"36500d\"\nmax = \"36500d\"\n"));
        home.write("carport-data/master.key", &self.key);
        let database = Database::create(home.store()).unwrap();
        let transaction = database.begin_write().unwrap();
        for (table, key, value) in self.rows.iter().map(row) {
            let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(&table);
            transaction.open_table(table).unwrap().insert(key.as_slice(), value.as_slice()).unwrap();
        }
        transaction.commit().unwrap();
        drop(database);
        chmod(&home.store(), 0o600);
    }

    fn rows_of(&self, table: &str) -> Vec<Row> {
        self.rows.iter().filter(|row| row.0 == table).cloned().collect()
    }

    /// The entries of the log, as they were shown one by one.
    fn events(&self) -> Vec<&Value> {
        self.answers.iter().map(|(_, answer)| answer).filter(|answer| answer["payload"].is_object()).collect()
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

/// What is kept beside the store.
fn kept(home: &Home) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains("carport.redb.")).collect()
}
