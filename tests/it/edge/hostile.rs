//! What comes from the internet: a corpus of hostile bytes, sent to the program over sockets.
//!
//! Each case stands in a table with what it must get: the statuses of all answers, and whether the connection is
//! kept. Behind each case a probe is sent on the same connection. It must get an answer of its own when the
//! connection is kept, and none when it is not: so bytes that are taken for a request more, or for one less, show.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::rig::MANAGEMENT_TOKEN;
use crate::binary::http::Say;
use crate::binary::process::{Home, SERVE, Server, figure, until};

mod bodies;
mod framing;
mod heads;
mod targets;
mod transport;

/// What is sent, and what must come back: `404 keep`, `400 close`, `close` without any answer in
/// plain HTTP.
#[derive(Clone)]
struct Case {
    name: String,
    bytes: Vec<u8>,
    then: Then,
    expected: &'static str,
}

/// What the sender does after these bytes.
#[derive(Clone, PartialEq)]
enum Then {
    /// It sends the probe.
    Probes,
    /// It says that nothing more comes.
    Ends,
    /// It waits.
    Waits,
}

fn case(name: impl Into<String>, bytes: impl AsRef<[u8]>, expected: &'static str) -> Case {
    Case { name: name.into(), bytes: bytes.as_ref().to_vec(), then: Then::Probes, expected }
}

fn ends(case: Case) -> Case {
    Case { then: Then::Ends, ..case }
}

fn waits(case: Case) -> Case {
    Case { then: Then::Waits, ..case }
}

/// In each answer, whoever gives it.
const EVERYWHERE: [&str; 9] = [
    "cache-control",
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "referrer-policy",
    "x-content-type-options",
    "x-frame-options",
    "x-request-id",
];
/// Never in an answer nor in the log.
const CANARY: &str = "hostile-canary";
/// The only request here whose answer has no body.
const PROBE: &[u8] = b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// Longer than any limit of the server that these cases meet.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_get_what_is_listed() {
    let home = Home::new();
    let token = home.token().await;
    let mut command = home.command(SERVE);
    command.args(["-v"]).env("CARPORT_LIMITS_HEADER_TIME", "2s").env("CARPORT_LIMITS_BODY_TIME", "4s");
    command.env("CARPORT_SMARTCAR_APPLICATION_MANAGEMENT_TOKEN", MANAGEMENT_TOKEN);
    // All of it comes from one address.
    command.envs(["API", "CALLBACK", "LOGIN", "WEBHOOK_FAILURES"].map(|name| (format!("CARPORT_LIMITS_{name}"), "1000000/s")));
    let mut server = Server::of(command).await;
    let address = server.address;

    let cases = [framing::cases(), targets::cases(), heads::cases(), bodies::cases(), transport::on_plain()].concat();
    assert!(cases.len() >= 100, "{}", cases.len());
    let before = server.program.resident();
    meet(address, &cases).await;

    // It lives, holds no connection but the one that asks, and has not grown.
    assert!(server.program.is_running());
    until("the connections to be gone", || async {
        let metrics = server.send(Say::get("/metrics").token(&token)).await.text();
        metrics.contains("\ncarport_http_connections 1\n").then_some(())
    })
    .await;
    let after = server.program.resident();
    figure(&format!("{} hostile requests; memory from {before} to {after} KiB", cases.len()));
    assert!(after < before + 16 * 1024, "it grew from {before} to {after} KiB");
    let ran = server.stop().await;
    assert!(!ran.stderr.contains(CANARY) && !ran.stdout.contains(CANARY), "it is in the log");
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

/// Sends all of it, and checks what comes back.
async fn meet(address: SocketAddr, cases: &[Case]) {
    let answers = join_all(cases.iter().map(|case| answer(address, case))).await;
    let wrong: Vec<String> = cases
        .iter()
        .zip(&answers)
        .filter(|(case, answer)| **answer != case.expected)
        .map(|(case, answer)| format!("{}: {answer:?}, not {:?}", case.name, case.expected))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// What came back, in the words of the table.
async fn answer(address: SocketAddr, case: &Case) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut told = Vec::new();
    let (mut reading, mut writing) = stream.split();
    let send = async {
        // The server may close in the middle of it.
        let sent = writing.write_all(&case.bytes).await;
        match case.then {
            Then::Probes if sent.is_ok() => drop(writing.write_all(PROBE).await),
            Then::Ends => drop(writing.shutdown().await),
            Then::Probes | Then::Waits => {}
        }
    };
    // What came before a reset counts, and a reset is a way to close.
    let ((), read) = tokio::join!(send, timeout(PATIENCE, reading.read_to_end(&mut told)));
    if read.is_err() {
        return "the connection stays open".to_owned();
    }
    let told = String::from_utf8(told).unwrap();
    assert!(!told.contains(CANARY), "{}: {told}", case.name);
    let mut words: Vec<&str> = told.split("HTTP/1.").skip(1).map(|answer| &answer[2..5]).collect();
    for answer in told.split("HTTP/1.").skip(1).filter(|answer| !answer[2..5].starts_with('1')) {
        let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        for header in EVERYWHERE {
            assert_eq!(head.matches(&format!("\r\n{header}: ")).count(), 1, "{header} in the answer to {}: {told}", case.name);
        }
    }
    let is_kept = words.pop_if(|status| case.then == Then::Probes && *status == "200" && told.ends_with("\r\n\r\n")).is_some();
    words.push(if is_kept { "keep" } else { "close" });
    words.join(" ")
}
