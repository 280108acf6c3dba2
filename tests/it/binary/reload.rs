//! SIGHUP: what was configured is read again, whole or not at all, and it is told what came of it.

use rustix::process::Signal;
use serde_json::json;
use tokio::net::UnixDatagram;

use super::http::Say;
use super::process::{Home, SERVE, Server, until};
use super::smartcar::{Smartcar, V3_SECRET, sign};
use super::supervisor::news;

const OLD: &str = "4c0c1a2e-0000-4000-8000-000000000001";
const NEW: &str = "4c0c1a2e-0000-4000-8000-000000000002";
const TOKEN_FILE: &str = "[smartcar]\napplication_management_token_file = \"amt\"\n";

/// Delivers an event that is signed with this management token.
async fn deliver(server: &Server, token: &str) -> u16 {
    let body = json!({ "eventId": token, "eventType": "VEHICLE_STATE", "data": { "signals": [] } }).to_string();
    let signature = sign(token, &body);
    server.send(Say::post("/api/webhooks/smartcar", body).header("sc-signature", &signature)).await.status
}

/// Sends SIGHUP, and waits until the log says this.
async fn reload(server: &Server, told: &str) {
    let before = server.program.stderr().matches(told).count();
    server.program.signal(Signal::HUP);
    until(told, || async { (server.program.stderr().matches(told).count() > before).then_some(()) }).await;
}

#[tokio::test]
async fn secrets_are_read_again_and_the_manager_hears_of_it() {
    let home = Home::new();
    home.write("amt", OLD);
    home.write("config.toml", TOKEN_FILE);
    let token = home.token().await;
    let manager = UnixDatagram::bind(home.path("notify")).unwrap();
    let mut command = home.command(SERVE);
    command.env("NOTIFY_SOCKET", home.path("notify"));
    let server = Server::of(command).await;
    assert_eq!(news(&manager).await, "READY=1");
    assert_eq!((deliver(&server, OLD).await, deliver(&server, NEW).await), (200, 401));

    home.write("amt", NEW);
    server.program.signal(Signal::HUP);
    let reloading = news(&manager).await;
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{reloading}"));
    assert!(since.parse::<u64>().unwrap() > 0);
    assert!(news(&manager).await.starts_with("READY=1"));
    assert_eq!((deliver(&server, OLD).await, deliver(&server, NEW).await), (401, 200));
    let log = server.program.stderr();
    assert!(log.contains("from now on these count: smartcar.application_management_token"), "{log}");
    assert!(!log.contains(OLD) && !log.contains(NEW), "{log}");

    // Who did it is noted: whoever runs the server, by number and name.
    let noted = server.get("/api/v1/audit?limit=1", &token).await.json()["items"][0].clone();
    assert_eq!((&noted["action"], &noted["ids"][0]), (&json!("SIGHUP"), &json!("smartcar.application_management_token")));
    assert_eq!((&noted["actor"]["kind"], &noted["actor"]["uid"]), (&json!("local"), &json!(rustix::process::geteuid().as_raw())));
    if rustix::process::geteuid().is_root() {
        assert_eq!(noted["actor"]["user"], "root");
    }
    // Nothing has changed since: nothing is noted.
    reload(&server, "nothing else has changed").await;
    assert_eq!(server.get("/api/v1/audit?limit=1", &token).await.json()["items"][0], noted);
    server.stop().await;
}

#[tokio::test]
async fn a_bad_configuration_is_refused_as_a_whole() {
    let home = Home::new();
    home.write("amt", OLD);
    home.write("config.toml", TOKEN_FILE);
    let server = Server::start(&home).await;
    home.write("amt", NEW);
    for (text, wrong) in [
        (format!("{TOKEN_FILE}mode = \"life\"\n"), "smartcar.mode"),
        (format!("hostss = [\"a\"]\n{TOKEN_FILE}"), "hostss"),
        (TOKEN_FILE.replace("amt", "gone"), "smartcar.application_management_token"),
        ("= what".to_owned(), "config.toml:1"),
    ] {
        home.write("config.toml", &text);
        reload(&server, "SIGHUP: nothing is changed").await;
        let log = server.program.stderr();
        let line = log.lines().rfind(|line| line.contains("SIGHUP: nothing is changed")).unwrap();
        assert!(line.contains(wrong), "{wrong}: {line}");
        assert_eq!((deliver(&server, OLD).await, deliver(&server, NEW).await), (200, 401), "{wrong}");
    }
    // Gone, it is not taken for another one or for none.
    std::fs::remove_file(home.path("config.toml")).unwrap();
    reload(&server, "SIGHUP: nothing is changed").await;
    assert_eq!((deliver(&server, OLD).await, deliver(&server, NEW).await), (200, 401));
    // Put right, it counts.
    home.write("config.toml", TOKEN_FILE);
    reload(&server, "from now on these count").await;
    assert_eq!(deliver(&server, NEW).await, 200);
    server.stop().await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named_in_one_line() {
    let home = Home::new();
    home.write("config.toml", "");
    let server = Server::start(&home).await;
    home.write("config.toml", "units = \"imperial\"\nhosts = [\"cars.lan\"]\n[session]\nidle = \"1d\"\n");
    let misdirected = async || server.send(Say::get("/healthz").header("host", "cars.lan")).await.status == 421;
    assert!(misdirected().await);
    // Each time, until it is restarted.
    for _ in 0..2 {
        reload(&server, "restart Carport for what has changed of units, session.idle").await;
    }
    assert!(!misdirected().await, "hosts are known at once");
    assert_eq!(server.program.stderr().matches("from now on these count: hosts").count(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_client_secret_that_was_wrong_is_mended_without_a_restart() {
    let home = Home::new();
    let smartcar = Smartcar::start(&home).await;
    let good = Smartcar::settings(smartcar.address);
    home.write("config.toml", &good.replace(V3_SECRET, "wrong"));
    let server = Server::start(&home).await;
    assert_ne!(home.run(&["connections", "adopt", "--dry-run"]).await.code, Some(0));
    home.write("config.toml", &good);
    reload(&server, "from now on these count: smartcar.v3.client_secret").await;
    home.done(&["connections", "adopt", "--dry-run"]).await;
    // Another client with its secret, too; Smartcar does not know this one.
    home.write("config.toml", &good.replace(V3_SECRET, "other").replace("client_id = \"client_", "client_id = \"client_other_"));
    reload(&server, "from now on these count: smartcar.v3.client_id, smartcar.v3.client_secret").await;
    until("Smartcar to refuse it", || async {
        let log = server.program.stderr();
        log.contains("the new client has no application token yet").then_some(())
    })
    .await;
    home.write("config.toml", &good);
    reload(&server, "from now on these count: smartcar.v3.client_id, smartcar.v3.client_secret").await;
    home.done(&["connections", "adopt", "--dry-run"]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_is_named_by_the_doctor_until_it_is_trusted() {
    let home = Home::new();
    home.write("config.toml", "trusted_proxies = [\"192.0.2.1\"]\n");
    let token = home.token().await;
    let server = Server::start(&home).await;
    let line = async || {
        let checked = home.json(&["check", "--offline"]).await;
        checked["items"].as_array().unwrap().iter().find(|line| line["check"] == "proxy").cloned()
    };
    let through_it = || Say::get("/healthz").header("x-forwarded-for", "198.51.100.7");
    server.send(Say::get("/healthz")).await;
    assert_eq!(line().await, None);
    server.send(through_it()).await;
    let found = line().await.unwrap();
    assert_eq!(found["result"], "warn", "{found}");
    assert!(found["text"].as_str().unwrap().starts_with("127.0.0.1 passes requests on"), "{found}");
    // What is to be pasted keeps what is there.
    let remedy = found["remedy"].as_str().unwrap();
    let setting = &remedy[remedy.find("trusted_proxies").unwrap()..=remedy.find(']').unwrap()];
    assert_eq!(setting, "trusted_proxies = [\"192.0.2.1/32\", \"127.0.0.1\"]");
    let status = server.get("/api/v1/status", &token).await.json();
    assert!(status["missing"].as_array().unwrap().iter().any(|missing| missing["code"] == "untrusted_proxy"), "{status}");

    home.write("config.toml", &format!("{setting}\n"));
    reload(&server, "from now on these count: trusted_proxies").await;
    server.send(through_it()).await;
    assert_eq!(line().await, None);
    server.stop().await;
}
