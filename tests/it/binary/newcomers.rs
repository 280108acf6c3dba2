//! What people get wrong who are new to it: each is told what it is, where it stands, and the one thing to do.

use std::net::SocketAddr;

use http::Method;
use rustix::process::Signal;
use serde_json::json;

use super::http::{Line, Say};
use super::process::{Home, Program, SERVE, Server, until};
use super::smartcar::{APPLICATION, Smartcar, V2_SECRET, walk};
use super::{acme, tls};

/// What `config show` says of a configuration.
async fn told_of(text: &str) -> (Option<i32>, String) {
    let home = Home::new();
    home.write("config.toml", text);
    let ran = home.run(&["config", "show"]).await;
    (ran.code, ran.stderr)
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_told_with_its_remedy() {
    for (text, words) in [
        ("tls = \"off\"\n", &["tls (", "is a section, not a key", "Write tls.mode = "][..]),
        ("listen = 127.0.0.1:8000\n", &["config.toml:1", "Put the value in quotes"]),
        ("private_listen = 8001\n", &["is a port alone", "\"127.0.0.1:8001\""]),
        ("hosts = [\"a b\", \"ok.lan\", \"http://c\"]\n", &["\"a b\" is not a host name; \"http://c\" is not a host name"]),
        ("hosts = [\"*.lan\"]\n", &["\"*.lan\" is not a host name"]),
        ("listen = [\"here\", \"there\"]\n", &["\"here\" is not", "\"there\" is not"]),
        ("trusted_proxies = [\"x\", \"10.0.0.0/40\"]\n", &["\"x\" is not", "10.0.0.0/40"]),
        (
            "smartcar.v3.client_secret = \"a\"\nsmartcar.v3.client_secret_file = \"b\"\n",
            &["is set here and", "Remove one of them"],
        ),
        (
            "smartcar.v3.client_secret_file = \"b\"\nsmartcar.v3.client_secret = \"a\"\n",
            &["is set here and", "Remove one of them"],
        ),
        (
            "public_url = \"https://a.example\"\n[tls]\nmode = \"acme\"\nacme.email = \"joe\"\n",
            &["\"joe\" is not an e-mail address"],
        ),
        ("smartcar.origins.api = \"http://127.0.0.1:8000\"\n", &["smartcar.origins.api", "where Carport itself is to be found"]),
        ("public_url = \"https://a.example\"\nsmartcar.origins.iam = \"https://a.example\"\n", &["smartcar.origins.iam"]),
        ("listen = \"192.0.2.1:9000\"\nsmartcar.origins.auth = \"http://192.0.2.1:9000\"\n", &["smartcar.origins.auth"]),
    ] {
        let (code, told) = told_of(text).await;
        assert_eq!(code, Some(64), "{text}: {told}");
        assert!(words.iter().all(|word| told.contains(word)), "{text}: {told}");
        assert!(!told.contains("Put the secret into"), "{text}: {told}");
    }
    let (code, told) = told_of("smartcar.scope = [\"read_vin\", \"read_everything\"]\n").await;
    assert!(code == Some(0) && told.contains("smartcar.scope has read_everything, which"), "{told}");
    let (code, told) =
        told_of("smartcar.scope = [\"required:read_vin\"]\nsmartcar.origins.api = \"http://127.0.0.1:9000\"\n").await;
    assert!(code == Some(0) && !told.contains("smartcar.scope"), "{told}");

    let home = Home::new();
    std::fs::write(home.path("config.toml"), b"# caf\xe9\n").unwrap();
    assert!(home.run(&["config", "show"]).await.stderr.contains("Save it as UTF-8"));
    home.write("config.toml", "listen = \"unix:nowhere/x.sock\"\n");
    home.token().await;
    let ran = home.run(&["serve"]).await;
    assert!(ran.complaint().contains("make the directory that the socket is to lie in"), "{ran:?}");
    let ran = home.run(&["config", "proxy", "traefik"]).await;
    assert!(ran.code == Some(64) && ran.stdout.is_empty() && ran.stderr.contains("knows no socket files"), "{ran:?}");
    home.write("config.toml", "listen = [\"unix:x.sock\", \"127.0.0.1:8005\"]\n");
    assert!(home.done(&["config", "proxy", "traefik"]).await.contains("http://127.0.0.1:8005"));
}

/// The shell in which an SDK was pointed at Carport.
#[tokio::test]
async fn carport_is_not_taken_for_smartcar() {
    let home = Home::new();
    let mut command = home.command(&["serve"]);
    for name in ["SMARTCAR_API_ORIGIN", "SMARTCAR_AUTH_ORIGIN", "SMARTCAR_CONNECT_ORIGIN"] {
        command.env(name, "http://localhost:8000");
    }
    command.env("SMARTCAR_CLIENT_ID", "any").env("SMARTCAR_CLIENT_SECRET", "carport_x");
    let ran = Program::start(command).end().await;
    assert_eq!(ran.code, Some(64), "{ran:?}");
    assert!(ran.complaint().contains("smartcar.origins.api (SMARTCAR_API_ORIGIN)"), "{ran:?}");
    assert!(!home.data().exists());
}

#[tokio::test]
async fn init_makes_what_it_says_reachable_and_tells_all_at_once() {
    let home = Home::new();
    let init = ["init", "--non-interactive", "--offline"];
    let wrong = ["--application-id", "abc", "--client-id", "def", "--tls", "on", "--mode", "life"];
    let ran = home.run(&[&init[..], &wrong].concat()).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for word in ["--application-id: ", "--client-id: ", "belong together", "tls.mode (--tls): ", "smartcar.mode (--mode): "] {
        assert!(ran.complaint().contains(word), "{word}: {ran:?}");
    }
    let own = |url: &'static str| [&init[..], &["--force", "--tls", "self-signed", "--public-url", url]].concat();
    let ran = home.run(&own("http://pi.local")).await;
    assert!(ran.code == Some(2) && ran.complaint().contains("begins with https://"), "{ran:?}");
    for (url, listen) in [
        ("https://pi.local:8443", "[::]:8443"),
        ("https://pi.local", "[::]:443"),
        ("https://localhost:21443", "127.0.0.1:21443"),
        ("https://127.0.0.1:8000", "127.0.0.1:8000"),
    ] {
        let ran = home.run(&own(url)).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stderr.contains("webhooks do not come"), "{ran:?}");
        let shown = home.json(&["config", "show"]).await;
        let shown = shown["items"].as_array().unwrap().iter().find(|one| one["key"] == "listen").unwrap();
        assert_eq!(shown["value"], listen, "{url}");
    }
    // What is to be typed next is about this one.
    for (path, word) in [("other.toml", "other.toml"), ("my car's.toml", r"'my car'\''s.toml'")] {
        let ran = home.run(&[&init[..], &["--config", path, "--force"]].concat()).await;
        assert!(ran.code == Some(0) && ran.stdout.ends_with(&format!("  carport serve --config {word}\n")), "{ran:?}");
    }
}

/// From another directory than the server's, a configuration without a data directory leads to none.
#[tokio::test]
async fn a_link_makes_no_second_gateway() {
    let home = Home::new();
    home.write("mine.toml", "public_url = \"http://localhost:8000\"\n");
    let ran = home.run(&["--config", "mine.toml", "login"]).await;
    assert!(ran.code == Some(64) && ran.complaint().contains("there is no Carport here yet"), "{ran:?}");
    assert!(!home.path("carport-data").exists());
    home.write("mine.toml", "data_dir = \"house\"\n");
    assert!(home.done(&["--config", "mine.toml", "login"]).await.contains("/login?t="));
    assert!(home.path("house").exists());
}

/// What is not configured is said, whatever the set-up page has made; and where Carport listens until a restart, it is found.
#[tokio::test]
async fn what_waits_and_what_is_missing_is_told() {
    let home = Home::new();
    let [old, new] = acme::free::<2>();
    let config = |private: SocketAddr| {
        home.write("config.toml", &format!("public_url = \"http://localhost:1\"\nprivate_listen = \"{private}\"\n"));
    };
    config(old);
    let mut program = Program::start(home.command(SERVE));
    let [_, _]: [SocketAddr; 2] = tls::listening(&mut program).await;
    let token = home.token().await;
    let say = Say::json("/api/v1/settings", &json!({ "smartcar.redirect_uris": "myapp://x" }));
    let answer = Line::open(old).await.unwrap().send(say.method(Method::PATCH).token(&token)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ran = home.run(&["check"]).await;
    assert!(ran.stdout.contains("Carport has no credentials of a Smartcar application"), "{ran:?}");

    config(new);
    program.signal(Signal::HUP);
    until("what waits", || async { program.stderr().contains("restart Carport for").then_some(()) }).await;
    let link = home.done(&["login"]).await;
    assert!(link.contains(&format!(":{}/login", old.port())), "{link}");
    program.stop().await;
}

/// What is missing is said to whoever can add it.
#[tokio::test]
async fn an_owner_of_the_other_generation_is_told_in_the_log() {
    let home = Home::new();
    let smartcar = Smartcar::start(&home).await;
    let v2 = format!("[smartcar.v2]\nclient_id = \"{APPLICATION}\"\nclient_secret = \"{V2_SECRET}\"\n");
    home.write("config.toml", &Smartcar::settings(smartcar.address).replace(&v2, ""));
    let server = Server::start(&home).await;
    let link = home.done(&["connect"]).await.replace("localhost:8000", &server.address.to_string());
    let page = walk(&link, "ada@example.com").await.text();
    assert!(page.contains("not set up completely"), "{page}");
    let log = server.program.stderr();
    assert!(log.contains("not_configured") && log.contains("set smartcar.v2.client_id"), "{log}");
    server.stop().await;
}

#[tokio::test]
async fn a_command_that_goes_astray_says_what_it_wants() {
    let home = Home::new();
    let server = Server::of(home.command(SERVE)).await;
    for (words, told) in [
        (&["connect", "--expires", "1000d"][..], "--expires: a link is good for 30 days at most"),
        (&["connect", "--user", "x"], "--create"),
        (&["connect", "--vehicle", "v", "--user", "owner"], "`carport vehicles list` has the ids"),
        (&["token", "create", "--name", "x", "--scope", "admin", "--user", "u"], "leave user and vehicle out"),
        (&["token", "create", "--name", "x", "--scope", "read", "--vehicle", "NAME"], "there is no car of this id or name"),
        (&["token", "revoke", "NAME", "--yes"], "`carport token list` has the ids"),
        // Nobody is asked whether to end what is not there.
        (&["token", "revoke", "NAME"], "`carport token list` has the ids"),
        (&["sessions", "revoke"], "carport sessions revoke --all"),
        (&["sessions", "revoke", "x", "--yes"], "`carport sessions list` has the ids"),
        (&["webhooks", "show", "99999"], "the log has dropped it"),
        (&["connect", "--scope", "read_foo"], "does not know read_foo as a permission"),
    ] {
        let ran = home.run(words).await;
        assert!(ran.code != Some(0) && ran.stderr.contains(told), "{words:?}: {ran:?}");
    }
    server.stop().await;
}
