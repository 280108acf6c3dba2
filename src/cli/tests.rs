use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use clap::CommandFactory;
use clap_complete::Shell;
use expect_test::{Expect, expect};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};

use super::args::Command;
use super::client::{Client, Handler};
use super::*;

#[cfg(test)]
mod init;

struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("carport-cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        Directory(directory)
    }

    fn place(&self) -> Place {
        Place { directory: self.0.clone(), ..Place::default() }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn parse(line: &str) -> Cli {
    Cli::try_parse_from(std::iter::once("carport").chain(line.split_whitespace())).unwrap()
}

// === the words ===

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_names_every_command() {
    let help = Cli::command().render_help().to_string();
    expect![[r"
        A self-hosted Smartcar gateway

        Usage: carport [OPTIONS] <COMMAND>

        Commands:
          serve        Run the gateway
          demo         Try everything: gateway and simulated Smartcar with three cars, no account needed
          simulate     Run a simulated Smartcar alone
          init         Ask for Smartcar's credentials and write the configuration
          check        Look for what is wrong, and say what to do about it
          connect      Make a link by which an owner connects a car
          login        Make a one-time sign-in link for the dashboard
          password     A password for the dashboard; there is none unless you set one
          sessions     Browsers that are signed in
          token        API tokens
          users        Owners of cars
          vehicles     Cars
          signals      The latest values of the cars, and how old they are
          export       Write everything that is kept of the past to standard output
          connections  Connections to Smartcar accounts
          migrate      Move connections of API v2.0 to v3, or back: ids, names and history stay
          leave        Disconnect every car at Smartcar, and say what remains to be deleted in its dashboard
          webhooks     The webhook log
          key          The master key
          config       The configuration
          healthcheck  Ask the running gateway whether it is well; for Docker and systemd
          completions  Print the completions of a shell
          help         Print this message or the help of the given subcommand(s)

        Options:
              --config <FILE>        The configuration file [default: ./config.toml, then /etc/carport/config.toml]
              --data-dir <DIR>       Where store, key and socket lie
              --log-format <FORMAT>  How the log is written [default: text on a terminal, else json] [possible values: text, json]
          -v, --verbose...           Say more in the log (-v, -vv)
          -h, --help                 Print help (see more with '--help')
          -V, --version              Print version

        Try it without an account: carport demo
    "]]
    .assert_eq(&help);
}

#[test]
fn completions_know_the_commands() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "carport", &mut script);
        assert!(String::from_utf8(script).unwrap().contains("healthcheck"), "{shell}");
    }
}

// === what commands ask of the API ===

/// Writes down every request and answers with an empty object.
#[derive(Default)]
struct Notebook(Mutex<Vec<String>>);

impl Handler for Notebook {
    fn handle(&self, request: Request<Bytes>) -> BoxFuture<'_, Response<crate::web::Body>> {
        let body = String::from_utf8_lossy(request.body());
        let line = format!("{} {} {body}", request.method(), request.uri());
        self.0.lock().unwrap().push(line.trim_end().to_owned());
        let answer = Full::new(Bytes::from_static(b"{}")).map_err(|never| match never {}).boxed_unsync();
        std::future::ready(Response::new(answer)).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

async fn check(line: &str, expected: Expect) {
    let notebook = Arc::new(Notebook::default());
    let client = Client::InProcess(Arc::clone(&notebook) as Arc<dyn Handler>);
    let (place, cli) = (Place::default(), parse(line));
    let outcome = match cli.command {
        Command::Connect(flags) => access::invite(&client, flags, &place).await,
        Command::Login(flags) => access::login(&client, flags).await,
        Command::Password(command) => access::password(&client, command, &place).await,
        Command::Sessions(command) => access::sessions(&client, command, &place).await,
        Command::Token(command) => access::token(&client, command, &place).await,
        Command::Users(command) => records::users(&client, command, &place).await,
        Command::Vehicles(command) => records::vehicles(&client, command, &place).await,
        Command::Connections(command) => records::connections(&client, command, &place).await,
        Command::Migrate(flags) => arriving::migrate(&client, flags).await,
        Command::Leave(flags) => arriving::leave(&client, flags, &place).await,
        Command::Webhooks(command) => webhooks::webhooks(&client, command).await,
        Command::Signals(flags) => signals::signals(&client, flags).await,
        Command::Export(flags) => signals::export(&client, flags).await,
        other => panic!("{other:?} asks nothing of the API"),
    };
    let mut seen = notebook.0.lock().unwrap().clone();
    seen.extend(outcome.err().map(|failure| format!("{:?}: {failure}", failure.exit)));
    expected.assert_eq(&seen.join("\n"));
}

#[tokio::test]
async fn connect_asks_for_an_invite() {
    check("connect", expect![[r#"POST /api/v1/connect {"create":true,"expires_in":86400,"user":"owner"}"#]]).await;
    check(
        "connect --vehicle v1",
        expect![[r#"
        GET /api/v1/vehicles/v1
        POST /api/v1/connect {"expires_in":86400,"user":"","vehicle_id":"v1"}"#]],
    )
    .await;
    let all =
        "connect --user u1 --create --expires 90s --vehicle v1 --mode simulated --add-scope control_charge --make TESLA --force";
    check(all, expect![[r#"POST /api/v1/connect {"add_scope":["control_charge"],"create":true,"expires_in":90,"force":true,"make":"TESLA","mode":"simulated","user":"u1","vehicle_id":"v1"}"#]]).await;
}

#[tokio::test]
async fn tokens_and_links() {
    check("login", expect!["POST /api/v1/login-links {}"]).await;
    check(
        "token create --name grafana --scope metrics",
        expect![[r#"POST /api/v1/tokens {"name":"grafana","scope":"metrics"}"#]],
    )
    .await;
    check(
        "token create --name app --scope connect --user u1 --expires 90d",
        expect![[r#"POST /api/v1/tokens {"expires_in":7776000,"name":"app","scope":"connect","user":"u1"}"#]],
    )
    .await;
    check("token revoke t1 --yes", expect!["DELETE /api/v1/tokens/t1"]).await;
    check("password clear", expect![[r#"PATCH /api/v1/password {"password":null}"#]]).await;
    check("sessions list", expect!["GET /api/v1/sessions"]).await;
    check("sessions revoke s1 --yes", expect!["DELETE /api/v1/sessions/s1"]).await;
    check("sessions revoke --all --yes", expect!["GET /api/v1/sessions"]).await;
}

#[tokio::test]
async fn records_are_listed_and_ended() {
    check("users list", expect!["GET /api/v1/users"]).await;
    check("users add u1 --name Jane", expect![[r#"POST /api/v1/users {"id":"u1","name":"Jane"}"#]]).await;
    check("users rename u1 Jane", expect![[r#"PATCH /api/v1/users/u1 {"name":"Jane"}"#]]).await;
    check("users remove u1 --erase --yes --force", expect!["DELETE /api/v1/users/u1?history=erase&force=true"]).await;
    check("vehicles list --user u1 --mode live", expect!["GET /api/v1/vehicles?user=u1&mode=live"]).await;
    check(
        "vehicles rename v1 Herbie",
        expect![[r#"
        GET /api/v1/vehicles/v1
        PATCH /api/v1/vehicles/v1 {"nickname":"Herbie"}"#]],
    )
    .await;
    check("vehicles erase v1 -y", expect!["DELETE /api/v1/vehicles/v1?history=erase"]).await;
    check("vehicles erase v1 --user u1 -y", expect!["DELETE /api/v1/vehicles/v1?history=erase&user=u1"]).await;
    check("connections refresh c1", expect!["POST /api/v1/connections/c1/refresh"]).await;
    check("connections disconnect c1 -y", expect!["DELETE /api/v1/connections/c1?history=keep"]).await;
    check("connections forget c1 --yes", expect!["DELETE /api/v1/connections/c1?local=true"]).await;
    check("connections forget c1 --erase --yes", expect!["DELETE /api/v1/connections/c1?local=true&history=erase"]).await;
    check("webhooks list --type VEHICLE_STATE --id e1 --limit 5 --since 2026-01-31 --until 2026-02-01T12:00:00+01:00", expect![[r"
            GET /api/v1/webhooks?type=VEHICLE_STATE&id=e1&limit=5&since=2026-01-31T00%3A00%3A00.000Z&until=2026-02-01T11%3A00%3A00.000Z"]])
        .await;
    check("signals v1 --units imperial", expect!["GET /api/v1/vehicles/v1?units=imperial"]).await;
    check("export --vehicle v1 --signal a-b --since 2026-01-31 --until 2026-02-01T12:00:00+01:00 --format csv", expect![[r"
            GET /api/v1/export?vehicle=v1&signal=a-b&since=2026-01-31T00%3A00%3A00.000Z&until=2026-02-01T11%3A00%3A00.000Z&format=csv"]])
        .await;
    check("webhooks replay 7", expect!["POST /api/v1/webhooks/7/replay"]).await;
}

#[tokio::test]
async fn what_cannot_be_undone_wants_a_yes() {
    check(
        "vehicles erase v1",
        expect![
            "Usage: Disconnect vehicle v1 at Smartcar and erase its history, also that of former owners? Nobody is here to answer: say --yes"
        ],
    )
    .await;
    check("sessions revoke --all", expect!["Usage: Sign all browsers out? Nobody is here to answer: say --yes"]).await;
    check("webhooks tail", expect!["Failed: no server runs here, so no webhook comes in: start carport serve"]).await;
}

#[tokio::test]
async fn a_server_is_reached_through_its_socket() {
    let directory = Directory::new();
    fs::create_dir(directory.0.join("carport-data")).unwrap();
    let listener = tokio::net::UnixListener::bind(directory.0.join("carport-data/carport.sock")).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                let seen = format!("{{\"seen\":\"{} {}\"}}", request.method(), request.uri());
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(seen))))
            });
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, answer));
        }
    });
    let client = client::connect(&directory.place(), &args::Common::default(), false).await.unwrap();
    assert!(matches!(client, Client::Socket(_)));
    let answer = client.get(&["users", "a b"], &[("limit", "5")]).await.unwrap();
    assert_eq!(answer["seen"], "GET /api/v1/users/a%20b?limit=5");
}

#[test]
fn nothing_is_made_by_commands_that_only_look() {
    let directory = Directory::new();
    let failure = run::run(parse("vehicles list"), &directory.place()).unwrap_err();
    assert_eq!(failure.exit, Exit::Configuration);
    assert!(failure.to_string().contains("configuration looked for at:"), "{failure}");
    assert!(!directory.0.join("carport-data").exists());
}

#[test]
fn a_wrong_configuration_ends_with_64() {
    let directory = Directory::new();
    fs::write(directory.0.join("config.toml"), "liste = 1\n").unwrap();
    for line in ["config show", "users list", "healthcheck", "serve"] {
        let failure = run::run(parse(line), &directory.place()).unwrap_err();
        assert_eq!(failure.exit, Exit::Configuration, "{line}");
    }
}

#[tokio::test]
async fn healthcheck_asks_the_configured_listener() {
    let directory = Directory::new();
    fs::write(directory.0.join("config.toml"), "listen = \"unix:http.sock\"\n").unwrap();
    let healthcheck = async || {
        let cli = parse("healthcheck");
        run::perform(cli.command, &cli.common, &directory.place()).await
    };
    assert_eq!(healthcheck().await.unwrap_err().exit, Exit::Failed);
    let listener = tokio::net::UnixListener::bind(directory.0.join("http.sock")).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    healthcheck().await.unwrap();
}

#[tokio::test]
async fn leaving_looks_at_everything_and_erases_on_request() {
    check(
        "leave --yes",
        expect![[r#"
            GET /api/v1/connections
            GET /api/v1/vehicles
            POST /api/v1/connections/adopt {"dry_run":true,"user":"owner"}"#]],
    )
    .await;
    check(
        "leave --erase --yes",
        expect![[r#"
            GET /api/v1/connections
            GET /api/v1/vehicles
            GET /api/v1/vehicles
            GET /api/v1/users
            GET /api/v1/connections
            POST /api/v1/connections/adopt {"dry_run":true,"user":"owner"}"#]],
    )
    .await;
    let directory = Directory::new();
    let path = directory.0.join("past");
    check(
        &format!("leave --export {} --yes", path.display()),
        expect![[r#"
            GET /api/v1/connections
            GET /api/v1/vehicles
            GET /api/v1/export?format=jsonl
            POST /api/v1/connections/adopt {"dry_run":true,"user":"owner"}"#]],
    )
    .await;
    assert!(path.join("history.jsonl").is_file());
    check(
        "leave",
        expect![[r"
        GET /api/v1/connections
        GET /api/v1/vehicles
        Usage: Disconnect 0 connections with 0 cars at Smartcar (the history stays here)? Nobody is here to answer: say --yes"]],
    )
    .await;
    check("connections adopt --dry-run", expect![[r#"POST /api/v1/connections/adopt {"dry_run":true,"user":"owner"}"#]]).await;
    check("migrate", expect![[r#"POST /api/v1/connections/migrate {"dry_run":false,"undo":false}"#]]).await;
    check("migrate --undo --force", expect![[r#"POST /api/v1/connections/migrate {"dry_run":false,"force":true,"undo":true}"#]])
        .await;
    check("migrate --undo", expect![[r#"POST /api/v1/connections/migrate {"dry_run":false,"undo":true}"#]]).await;
    let asked = expect![[r"
        GET /api/v1/vehicles/car-1
        POST /api/v1/vehicles/car-1/subscribe"]];
    check("vehicles subscribe car-1", asked).await;
}
