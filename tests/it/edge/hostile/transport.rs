//! TLS to plain and back: plain HTTP where TLS is spoken, the other way round, and connections that change in the middle
//! (RFC 8446 sections 5 and 6).

use std::io::{Read, Write};
use std::sync::Arc;

use futures_util::future::join_all;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{CANARY, Case, PATIENCE, case, ends, meet, waits};
use crate::binary::http::Say;
use crate::binary::process::{Home, SERVE, until};
use crate::binary::tls::{Anybody, Issuer, Secure, configure};

/// Where plain HTTP is spoken.
pub(super) fn on_plain() -> Vec<Case> {
    let hello = [&b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], HELLO].concat();
    vec![
        case("a hello of TLS", HELLO, "400 close"),
        ends(case("a hello of TLS, and its end", HELLO, "400 close")),
        case("a hello of TLS behind a request", hello, "200 400 close"),
        case("a hello of SSL 2", b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10hostile-canary", "400 close"),
        case("an alert of TLS", b"\x15\x03\x03\0\x02\x02\x28", "400 close"),
        case("the last word of TLS", b"\x15\x03\x03\0\x02\x01\0", "400 close"),
        case("data of TLS", b"\x17\x03\x03\0\x0ehostile-canary", "400 close"),
    ]
}

/// Where TLS is spoken. The probe, too, is led to https.
fn on_tls() -> Vec<Case> {
    let post =
        |path: &str, lines: &str| format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: 2\r\n\r\n{{}}");
    let signed = format!("SC-Signature: {}\r\n", crate::edge::rig::sign("{}"));
    let secret = format!("Authorization: Bearer carport_{CANARY}\r\nCookie: __Host-carport={CANARY}\r\n");
    let record = |kind: u8, body: &[u8]| [&[kind, 3, 3][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
    vec![
        // Plain HTTP.
        case("a plain question", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "308 308 close"),
        case("a plain question with secrets", format!("GET / HTTP/1.1\r\nHost: localhost\r\n{secret}\r\n"), "308 308 close"),
        case("a plain question for another host", "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421 close"),
        case("a plain question for no host", "GET / HTTP/1.1\r\n\r\n", "400 close"),
        case("a plain question elsewhere", "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "400 close"),
        case("a plain delivery", post("/api/webhooks/smartcar", &signed), "403 308 close"),
        case(
            "a plain question for the webhook",
            "GET /api/webhooks/smartcar HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "403 308 close",
        ),
        case("a plain sign-in", post("/login", "Content-Type: application/x-www-form-urlencoded\r\n"), "403 308 close"),
        case("a plain change", post("/api/v1/users", &secret), "403 308 close"),
        case("the preface of HTTP/2 in the clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "close"),
        case("words of another protocol", "SSH-2.0-hostile-canary\r\n", "400 close"),
        waits(case("a plain letter, and no more", "G", "close")),
        ends(case("a plain letter, and its end", "G", "close")),
        // What is neither.
        waits(case("nothing", "", "close")),
        ends(case("nothing, and its end", "", "close")),
        case("small letters", "get /healthz http/1.1\r\nhost: localhost\r\n\r\n", "close"),
        case("null bytes", [0; 64], "close"),
        case("a hello of SSL 2", b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10hostile-canary", "close"),
        // TLS, but not what it begins with.
        case("an alert first", record(21, &[2, 40]), "close"),
        case("the last word first", record(21, &[1, 0]), "close"),
        case("data first", record(23, CANARY.as_bytes()), "close"),
        case("a change of ciphers first", record(20, &[1]), "close"),
        case("a heartbeat first", record(24, b"\x01\x40\0hostile-canary"), "close"),
        case("an empty record", record(22, b""), "close"),
        case("a record that is too long", [&[22, 3, 3, 0xff, 0xff][..], &[b'a'; 70_000]].concat(), "close"),
        // A hello, and then something else.
        waits(case("half a hello", &HELLO[..HELLO.len() / 2], "close")),
        ends(case("half a hello, and its end", &HELLO[..HELLO.len() / 2], "close")),
        case("a broken hello", HELLO, "close"),
    ]
}

/// Broken: its lengths are those of more than it holds.
const HELLO: &[u8] = b"\x16\x03\x01\0\x2d\x01\0\0\x29\x03\x03hostile-canary0123456789abcdef01\0\0\x02\x13\x01\x01\0\0\0";

/// What a client does that shakes hands as it should, and then does something else.
enum Move {
    Hello,
    /// Asks through TLS, and waits for the answer.
    Ask,
    Begin,
    Plain(Vec<u8>),
    LastWord,
}

/// Its answer has no body.
const ASK: &[u8] = b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn changes() -> Vec<(&'static str, Vec<Move>, &'static str)> {
    use Move::{Ask, Begin, Hello, LastWord, Plain};
    let plain = |bytes: &[u8]| Plain(bytes.to_vec());
    let raw = |kind: u8, body: &[u8]| plain(&[&[kind, 3, 3, 0, u8::try_from(body.len()).unwrap()][..], body].concat());
    vec![
        ("a question, to compare", vec![Hello, Ask, LastWord], "200"),
        ("two questions, to compare", vec![Hello, Ask, Ask, LastWord], "200 200"),
        ("a question in the clear after the handshake", vec![Hello, plain(ASK)], ""),
        ("a question in the clear after one in TLS", vec![Hello, Ask, plain(ASK)], "200"),
        ("the rest of a question in the clear", vec![Hello, Begin, plain(&ASK[20..])], ""),
        ("a question in the clear after the last word", vec![Hello, LastWord, plain(ASK)], ""),
        ("the same after one in TLS", vec![Hello, Ask, LastWord, plain(ASK)], "200"),
        ("another hello in the clear", vec![Hello, plain(HELLO)], ""),
        ("another hello behind a question", vec![Hello, Ask, plain(HELLO)], "200"),
        ("a wish for another handshake", vec![Hello, Ask, raw(22, &[0, 0, 0, 0]), plain(ASK)], "200"),
        ("data that nobody sealed", vec![Hello, raw(23, ASK)], ""),
        ("an alert that nobody sealed", vec![Hello, Ask, raw(21, &[1, 0]), plain(ASK)], "200"),
        ("a kind of record that is none", vec![Hello, raw(99, CANARY.as_bytes())], ""),
        ("a heartbeat", vec![Hello, raw(24, b"\x01\x40\0")], ""),
    ]
}

/// The statuses that came back through TLS until the server closed. Nothing may come in the clear.
async fn outcome(server: &Secure, version: &'static SupportedProtocolVersion, moves: Vec<Move>) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut told = Vec::new();
    for one in moves {
        match one {
            Move::Hello => {
                while tls.is_handshaking() {
                    flush(&mut tls, &mut stream).await;
                    if tls.is_handshaking() {
                        hear(&mut tls, &mut stream, &mut told).await;
                    }
                }
            }
            Move::Ask => {
                told.push(b' ');
                tls.writer().write_all(ASK).unwrap();
                flush(&mut tls, &mut stream).await;
                while !told.ends_with(b"\r\n\r\n") {
                    hear(&mut tls, &mut stream, &mut told).await;
                }
            }
            Move::Begin => tls.writer().write_all(&ASK[..20]).unwrap(),
            Move::LastWord => tls.send_close_notify(),
            // It may have closed in the meantime.
            Move::Plain(bytes) => drop(stream.write_all(&bytes).await),
        }
        flush(&mut tls, &mut stream).await;
    }
    let mut rest = Vec::new();
    // What came before a reset counts.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection stays open");
    assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1."), "an answer in the clear");
    let _ = take(&mut tls, &rest, &mut told);
    let told = String::from_utf8(told).unwrap();
    assert!(!told.contains(CANARY), "{told}");
    told.split("HTTP/1.").skip(1).map(|answer| &answer[2..5]).collect::<Vec<_>>().join(" ")
}

/// Sends what TLS has to say.
async fn flush(tls: &mut ClientConnection, stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut bytes).unwrap();
    }
    // It may have closed in the meantime.
    let _ = stream.write_all(&bytes).await;
}

/// Takes what comes next, of which there must be something.
async fn hear(tls: &mut ClientConnection, stream: &mut TcpStream, told: &mut Vec<u8>) {
    let mut part = vec![0; 16 * 1024];
    let count = timeout(PATIENCE, stream.read(&mut part)).await.expect("it does not answer").unwrap();
    assert_ne!(count, 0, "it closes before it answers");
    take(tls, &part[..count], told).unwrap();
}

/// Opens what came.
fn take(tls: &mut ClientConnection, mut bytes: &[u8], told: &mut Vec<u8>) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        if tls.read_tls(&mut bytes).unwrap() == 0 {
            break;
        }
        let state = tls.process_new_packets()?;
        let mut part = vec![0; state.plaintext_bytes_to_read()];
        tls.reader().read_exact(&mut part).unwrap();
        told.extend(part);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_plain_http_are_not_mistaken_for_one_another() {
    let (home, issuer) = (Home::new(), Issuer::new());
    issuer.issue(&home, 90);
    configure(&home, "");
    let token = home.token().await;
    let mut command = home.command(SERVE);
    command.args(["-v"]).env("CARPORT_LIMITS_HEADER_TIME", "2s");
    command.envs(["API", "LOGIN", "WEBHOOK_FAILURES"].map(|name| (format!("CARPORT_LIMITS_{name}"), "1000000/s")));
    let mut server = Secure::of(command, &issuer).await;
    meet(server.address, &on_tls()).await;

    let mut wrong = Vec::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let all = changes().into_iter().map(async |(name, moves, expected)| {
            let came = outcome(&server, version, moves).await;
            (came != expected).then(|| format!("{:?}, {name}: {came:?}, not {expected:?}", version.version))
        });
        wrong.extend(join_all(all).await.into_iter().flatten());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    assert!(server.program.is_running());
    let deliveries = server.send(Say::get("/api/v1/webhooks").token(&token)).await.json();
    assert_eq!(deliveries["items"], serde_json::json!([]), "what came in the clear is taken");
    until("the connections to be gone", async || {
        let metrics = server.send(Say::get("/metrics").token(&token)).await.text();
        metrics.contains("\ncarport_http_connections 1\n").then_some(())
    })
    .await;
    let ran = server.program.stop().await;
    assert!(!ran.stderr.contains(CANARY) && !ran.stdout.contains(CANARY), "it is in the log");
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}
