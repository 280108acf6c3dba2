//! `carport demo`: everything at once, and gone afterwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;
use tokio::net::TcpStream;
use url::Url;

use super::first_run::half_a_request;
use super::http::{Line, Say, browse};
use super::process::{Home, Program, files, until};
use super::smartcar::APPLICATION;

#[tokio::test]
async fn the_demonstration_moves_and_leaves_nothing_behind() {
    let home = Home::new();
    let demo = Demo::start(&home, "127.0.0.1:0").await;
    assert_eq!(std::fs::read_dir(home.path("tmp")).unwrap().count(), 1);

    // The link signs in.
    let page = demo.get(&demo.link).await;
    assert!(page.contains("Sign in to Carport"), "{page}");

    let cars = demo.items("vehicles").await;
    assert_eq!(cars.len(), 3, "{cars:#?}");
    let connections = demo.items("connections").await;
    let generations: Vec<&str> = connections.iter().map(|one| one["generation"].as_str().unwrap()).collect();
    assert!(generations.contains(&"v2") && generations.contains(&"v3"), "{connections:#?}");
    assert!(connections.iter().all(|one| one["status"] == "active"), "{connections:#?}");

    until("VERIFY", || async { demo.json("/api/v1/status").await["webhooks"]["last_verify"]["at"].as_str().map(str::to_owned) })
        .await;
    let first = until("three cars with signals", || async {
        let told = stamps(&demo.items("vehicles").await);
        let told_of: std::collections::BTreeSet<&String> = told.keys().map(|(car, _)| car).collect();
        (told_of.len() == 3).then_some(told)
    });
    let first = first.await;
    let newer = until("newer signals", || async {
        let now = stamps(&demo.items("vehicles").await);
        let newer = now
            .iter()
            .filter(|(signal, (when, body))| first.get(*signal).is_some_and(|(before, old)| when > before && body != old));
        newer.map(|(signal, _)| signal.clone()).next()
    });
    newer.await;
    // The cars have a week behind them.
    let cars = demo.items("vehicles").await;
    let electric = cars.iter().find(|car| car["signals"]["tractionbattery-stateofcharge"]["body"].is_object()).unwrap();
    let id = electric["id"].as_str().unwrap();
    until("days of driving", || async {
        let days = demo.json(&format!("/api/v1/vehicles/{id}/trips")).await;
        (days["items"].as_array()?.len() >= 6).then_some(())
    })
    .await;
    let charges = demo.json(&format!("/api/v1/vehicles/{id}/charges")).await;
    assert!(charges["items"].as_array().is_some_and(|sessions| sessions.len() >= 3), "{charges:#}");
    let deliveries = demo.items("webhooks").await;
    assert!(deliveries.iter().any(|one| one["result"] == "accepted"), "{deliveries:#?}");

    // Access tokens live half a minute here, so both generations are renewed while somebody looks.
    let of = |connections: &[Value]| -> BTreeMap<String, String> {
        let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
        connections.iter().map(|one| (text(one, "id"), text(one, "last_refresh"))).collect()
    };
    let before = of(&connections);
    until("a refresh of the v2 connection", || async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let now = demo.items("connections").await;
        let v2 = now.iter().find(|one| one["generation"] == "v2")?;
        assert_eq!(v2["status"], "active", "{v2}");
        (of(&now).get(v2["id"].as_str()?)? > before.get(v2["id"].as_str()?)?).then_some(())
    })
    .await;

    demo.program.signal(Signal::INT);
    let ran = demo.program.end().await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.stderr.contains("WARN"), "{ran:?}");
    assert_eq!(std::fs::read_dir(home.path("tmp")).unwrap().count(), 0, "the temporary directory is still there");
    assert!(!home.data().exists());
}

/// What may be tried out is taken from the environment; of all else it says that it is left aside.
#[tokio::test]
async fn some_settings_may_be_tried_out() {
    let home = Home::new();
    let mut command = home.command(&["demo", "--listen", "127.0.0.1:0"]);
    command.env("CARPORT_BUDGET_CALLS_PER_VEHICLE_MONTH", "77").env("CARPORT_PUBLIC_URL", "https://cars.example.org");
    command.env("CARPORT_HISTORY_KEP", "30d").env("CARPORT_PORT", "tcp://10.0.0.1:80");
    let demo = Demo::of(command).await;
    assert_eq!(demo.json("/api/v1/budget").await["calls_per_vehicle_month"], 77);
    demo.program.signal(Signal::INT);
    let ran = demo.program.end().await;
    let told = "The demonstration has settings of its own, and leaves aside CARPORT_HISTORY_KEP, CARPORT_PUBLIC_URL\n";
    assert!(ran.code == Some(0) && ran.stderr.contains(told), "{ran:?}");
}

#[tokio::test]
async fn a_busy_port_means_the_next_free_one() {
    let home = Home::new();
    let first = Demo::of(home.command(&["demo"])).await;
    assert!((8000..=8100).contains(&first.address.port()), "{}", first.address);
    let taken = first.address.to_string();
    for words in [&["demo"][..], &["demo", "--listen", &taken]] {
        let second = Demo::of(home.command(words)).await;
        assert!((first.address.port() + 1..=8200).contains(&second.address.port()), "{}", second.address);
        let told = format!(" is in use: the demonstration is at {}", second.address);
        assert!(second.program.stderr().contains(&told), "{}", second.program.stderr());
        second.program.signal(Signal::TERM);
        assert_eq!(second.program.end().await.code, Some(0));
    }
    // A terminal that is closed ends it too.
    first.program.signal(Signal::HUP);
    assert_eq!(first.program.end().await.code, Some(0));
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_told() {
    let home = Home::new();
    let elsewhere = "192.0.2.1:8000";
    let ran = home.run(&["demo", "--listen", elsewhere]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:#?}");
    assert!(ran.stderr.contains(&format!("cannot listen on {elsewhere}")), "{ran:#?}");
}

#[tokio::test]
async fn stopped_at_once_it_leaves_nothing_behind_either() {
    let home = Home::new();
    let mut demo = Demo::start(&home, "127.0.0.1:0").await;
    let half = half_a_request(demo.address).await;
    demo.program.signal(Signal::INT);
    let address = demo.address;
    until("the end of listening", || async { TcpStream::connect(address).await.err() }).await;
    assert!(demo.program.is_running(), "it did not wait for the request");
    demo.program.signal(Signal::INT);
    assert_eq!(demo.program.end().await.code, Some(1));
    assert_eq!(std::fs::read_dir(home.path("tmp")).unwrap().count(), 0, "the temporary directory is still there");
    drop(half);
}

#[tokio::test]
async fn what_a_killed_one_left_behind_is_removed_by_the_next() {
    let home = Home::new();
    let killed = Demo::start(&home, "127.0.0.1:0").await;
    let start = || {
        let mut command = home.command(&["demo", "--listen", "127.0.0.1:0"]);
        command.env("TMPDIR", home.path("tmp"));
        Demo::of(command)
    };
    let runs = start().await;
    let directories = || std::fs::read_dir(home.path("tmp")).unwrap().count();
    assert_eq!(directories(), 2, "one that runs keeps its own");
    killed.program.signal(Signal::KILL);
    killed.program.end().await;
    assert_eq!(directories(), 2);
    let next = start().await;
    assert_eq!(directories(), 2, "what was left behind is still there");
    assert_eq!(runs.items("vehicles").await.len(), 3);
    for demo in [runs, next] {
        demo.program.signal(Signal::INT);
        assert_eq!(demo.program.end().await.code, Some(0));
    }
    assert_eq!(directories(), 0);
}

#[tokio::test]
async fn what_was_told_to_outlive_its_terminal_does() {
    let home = Home::new();
    let mut command = std::process::Command::new("/bin/sh");
    // As nohup does.
    command.args(["-c", "trap '' HUP; exec \"$0\" simulate --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_carport")]);
    let mut program = Program::start(command);
    program.says("where it listens", |text| text.contains("any password").then_some(())).await;
    program.signal(Signal::HUP);
    until("the line in the log", || async { program.stderr().contains("SIGHUP is ignored").then_some(()) }).await;
    assert_eq!(program.stop().await.code, Some(0));
    let mut program = Program::start(home.command(&["simulate", "--listen", "127.0.0.1:0"]));
    program.says("where it listens", |text| text.contains("any password").then_some(())).await;
    program.signal(Signal::HUP);
    assert_eq!(program.end().await.code, Some(0));
}

#[tokio::test]
async fn connect_shows_a_page_for_redirect_uris_that_nobody_registered() {
    let home = Home::new();
    let back = "http://localhost:8090/exchange?a=b&c";
    for (flags, said, other) in [
        (&["--redirect-uri", back, "--redirect-uri", "myapp://back"][..], "export SMARTCAR_REDIRECT_URI='http://localhost:", 400),
        (&[], "Connect takes any redirect URI", 200),
    ] {
        let words = [&["simulate", "--listen", "127.0.0.1:0"], flags].concat();
        let mut program = Program::start(home.command(&words));
        let told = program.says("where it listens", |text| text.contains("any password").then(|| text.to_owned())).await;
        assert!(told.contains(said), "{told}");
        let origin = told.lines().find_map(|line| line.strip_prefix("Simulated Smartcar: ")).unwrap();
        for (uri, status) in [(back, 200), ("myapp://back", 200), ("http://localhost:8090/exchange", other)] {
            let mut url = Url::parse(&format!("{origin}/oauth/authorize?response_type=code&client_id={APPLICATION}")).unwrap();
            url.query_pairs_mut().append_pair("redirect_uri", uri);
            assert_eq!(browse(url.as_str(), "").await.status, status, "{flags:?}: {uri}");
        }
        assert_eq!(program.stop().await.code, Some(0));
    }
}

#[tokio::test]
async fn a_kept_demonstration_starts_again() {
    let home = Home::new();
    let words = ["demo", "--listen", "127.0.0.1:0", "--data-dir", "kept"];
    for _ in 0..2 {
        let demo = Demo::of(home.command(&words)).await;
        assert_eq!(demo.items("vehicles").await.len(), 3);
        demo.program.signal(Signal::INT);
        assert_eq!(demo.program.end().await.code, Some(0));
    }
    assert!(home.path("kept/carport.redb").exists());
}

/// Made-up cars and a token that never ends do not belong among somebody's own.
#[tokio::test]
async fn the_store_of_a_gateway_is_left_alone() {
    let home = Home::new();
    home.token().await;
    let before = files(&home.data());
    let ran = home.run(&["demo", "--listen", "127.0.0.1:0", "--data-dir", "carport-data"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:#?}");
    assert!(ran.stderr.contains("not the demonstration's"), "{ran:#?}");
    assert!(files(&home.data()) == before, "something was changed");
}

/// The link that was printed is good once: the next one comes by the command below it.
#[tokio::test]
async fn another_link_is_one_command_away() {
    let home = Home::new();
    let demo = Demo::start(&home, "127.0.0.1:0").await;
    let screen = demo.program.stdout();
    let command = screen.lines().find_map(|line| line.strip_prefix("Another sign-in link: carport ")).unwrap();
    let link = home.done(&command.split_whitespace().collect::<Vec<_>>()).await;
    assert!(link.starts_with(&format!("http://localhost:{}/login?t=", demo.address.port())), "{link}");
    demo.program.signal(Signal::TERM);
    assert_eq!(demo.program.end().await.code, Some(0));
}

struct Demo {
    program: Program,
    address: SocketAddr,
    /// Path and query of the sign-in link.
    link: String,
    token: String,
}

impl Demo {
    async fn start(home: &Home, listen: &str) -> Demo {
        std::fs::create_dir(home.path("tmp")).unwrap();
        let mut command = home.command(&["demo", "--listen", listen]);
        command.env("TMPDIR", home.path("tmp"));
        Demo::of(command).await
    }

    async fn of(command: std::process::Command) -> Demo {
        let mut program = Program::start(command);
        let told = program.says("link and token", |text| {
            let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).map(str::to_owned);
            text.contains("Stop with Ctrl-C").then_some((line("Dashboard: ")?, line("API token: ")?))
        });
        let (link, token) = told.await;
        let (port, path) = link.strip_prefix("http://localhost:").unwrap().split_once('/').unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        Demo { program, address, link: format!("/{path}"), token }
    }

    async fn get(&self, path: &str) -> String {
        let answer = Line::open(self.address).await.unwrap().send(Say::get(path).token(&self.token)).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await).unwrap()
    }

    async fn items(&self, list: &str) -> Vec<Value> {
        self.json(&format!("/api/v1/{list}")).await["items"].as_array().unwrap().clone()
    }
}

/// When each signal of each car was recorded, and what it says.
fn stamps(cars: &[Value]) -> BTreeMap<(String, String), (String, Value)> {
    let mut stamps = BTreeMap::new();
    for car in cars {
        for (code, signal) in car["signals"].as_object().unwrap() {
            if let Some(when) = signal["oem_updated_at"].as_str() {
                let name = (car["id"].as_str().unwrap().to_owned(), code.clone());
                stamps.insert(name, (when.to_owned(), signal["body"].clone()));
            }
        }
    }
    stamps
}
