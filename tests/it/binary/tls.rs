//! TLS of Carport's own, with certificates that this test issues.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::Signal;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::http::{Answer, Line, Say};
use super::process::{Home, Program, SERVE, chmod, until};
use super::smartcar::{MANAGEMENT, sign};

/// Somebody whose certificates clients trust.
pub(crate) struct Issuer(CertifiedIssuer<'static, KeyPair>);

impl Issuer {
    pub(crate) fn new() -> Issuer {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Issuer(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes a certificate for localhost that lasts so many days, and its key.
    pub(crate) fn issue(&self, home: &Home, days: u32) {
        self.issue_between(home, None, days * Duration::from_secs(86_400));
    }

    /// The same, from a time on: both as from now.
    fn issue_between(&self, home: &Home, from: Option<Duration>, to: Duration) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let now = rcgen::date_time_ymd(1970, 1, 1) + since_1970();
        params.not_after = now + to;
        params.not_before = from.map_or(params.not_before, |from| now + from);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        home.write("key.pem", &key.serialize_pem());
        home.write("cert.pem", &certificate.pem());
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// Writes a certificate for these names and its key, in files that begin with `stem`.
    pub(crate) fn issue_to(&self, home: &Home, stem: &str, names: &[&str]) {
        let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        let key = KeyPair::generate().unwrap();
        home.write(&format!("{stem}-key.pem"), &key.serialize_pem());
        home.write(&format!("{stem}-cert.pem"), &params.signed_by(&key, &self.0).unwrap().pem());
    }

    /// A client that trusts it, and offers to speak `protocols`.
    fn client(&self, protocols: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.as_ref().der().clone()).unwrap();
        client(roots, protocols)
    }
}

#[expect(clippy::disallowed_methods, reason = "the program under test goes by this clock too")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

pub(crate) fn client(roots: RootCertStore, protocols: &[&str]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

/// A running `carport serve` with TLS.
pub(crate) struct Secure {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    pub(crate) client: ClientConfig,
}

impl Secure {
    pub(crate) async fn start(home: &Home, issuer: &Issuer) -> Secure {
        Secure::of(home.command(SERVE), issuer).await
    }

    pub(crate) async fn of(command: Command, issuer: &Issuer) -> Secure {
        let mut program = Program::start(command);
        let [address] = listening(&mut program).await;
        Secure { program, address, client: issuer.client(&["h2", "http/1.1"]) }
    }

    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        connect(self.address, self.client.clone()).await
    }

    pub(crate) async fn send(&self, say: Say) -> Answer {
        let stream = self.connect().await.unwrap();
        Line::over(stream, self.address.port()).await.unwrap().send(say).await.unwrap()
    }

    /// The certificate that it shows.
    pub(crate) async fn shown(&self) -> CertificateDer<'static> {
        self.connect().await.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// What the operator is told, by its code.
    pub(crate) async fn notice(&self, token: &str, code: &str) -> Option<Value> {
        let status = self.send(Say::get("/api/v1/status").token(token)).await.json();
        status["notices"].as_array().unwrap().iter().find(|notice| notice["code"] == code).cloned()
    }

    pub(crate) async fn gone(&self, token: &str, code: &str) {
        until("the end of a notice", || async { self.notice(token, code).await.is_none().then_some(()) }).await;
    }
}

/// Where it listens, in the order of its configuration.
pub(crate) async fn listening<const N: usize>(program: &mut Program) -> [SocketAddr; N] {
    let said = program.says("where it listens", |text| {
        let (_, rest) = text.split_once("listening  ")?;
        let places = rest.split_once('\n')?.0.split(", ");
        let all: Vec<SocketAddr> = places.filter_map(|one| one.split(' ').next()?.parse().ok()).collect();
        all.try_into().ok()
    });
    said.await
}

pub(crate) async fn connect(address: SocketAddr, client: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// Trusts whoever answers.
#[derive(Debug)]
pub(crate) struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

pub(crate) fn configure(home: &Home, more: &str) {
    home.write(
        "config.toml",
        &format!(
            "{more}\n[tls]\nmode = \"files\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
             [smartcar]\napplication_management_token = \"{MANAGEMENT}\"\n"
        ),
    );
}

#[tokio::test]
async fn everything_comes_over_tls() {
    let (home, issuer) = (Home::new(), Issuer::new());
    issuer.issue(&home, 90);
    configure(&home, "");
    let server = Secure::start(&home, &issuer).await;
    let stream = server.connect().await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let answer = server.send(Say::get("/healthz")).await;
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, "max-age=63072000"));
    let event = r#"{"eventId":"e-1","eventType":"VEHICLE_STATE","data":{"signals":[]}}"#;
    let answer = server.send(Say::post("/api/webhooks/smartcar", event).header("sc-signature", &sign(MANAGEMENT, event))).await;
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("accepted")));
    // Whoever signs in gets a cookie that no other host and no plain http can have set.
    let link = home.done(&["login"]).await;
    let secret = link.split("t=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let origin = format!("https://localhost:{}", server.address.port());
    assert!(link.contains(&origin), "{link}");
    let answer = server.send(Say::form("/login", &format!("t={secret}")).header("origin", &origin)).await;
    let cookie = answer.header("set-cookie");
    assert!(answer.status == 303 && cookie.starts_with("__Host-carport=") && cookie.contains("; Secure"), "{answer:?}");
    // Who speaks HTTP/2 alone is not spoken to.
    let refused = connect(server.address, issuer.client(&["h2"])).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    server.program.stop().await;
}

#[tokio::test]
async fn who_does_not_shake_hands_is_left() {
    let (home, issuer) = (Home::new(), Issuer::new());
    issuer.issue(&home, 90);
    configure(&home, "");
    let mut command = home.command(SERVE);
    command.env("CARPORT_LIMITS_HEADER_TIME", "2s");
    let server = Secure::of(command, &issuer).await;
    let said = |words: Vec<u8>| async move {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&words).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = said(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()).await;
    assert!(answer.starts_with("HTTP/1.1 308 ") && answer.contains("https://"), "{answer}");
    assert_eq!(said(Vec::new()).await, "", "who says nothing");
    // More than may shake hands at the same time, and all of them stop in the middle.
    let localhost = ServerName::try_from("localhost").unwrap();
    let mut hello = Vec::new();
    rustls::ClientConnection::new(Arc::new(server.client.clone()), localhost).unwrap().write_tls(&mut hello).unwrap();
    assert_eq!(said(hello[..20].to_vec()).await, "", "who says half a word");
    futures_util::future::join_all((0..80).map(|_| said(hello.clone()))).await;
    // Nor is who says half a word after it.
    let mut slow = server.connect().await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: local").await.unwrap();
    let mut answer = String::new();
    // It may end without TLS's own last word.
    let _ = slow.read_to_string(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(server.send(Say::get("/healthz")).await.status, 200);
    server.program.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_without_a_restart() {
    let (home, issuer) = (Home::new(), Issuer::new());
    issuer.issue(&home, 10);
    configure(&home, "");
    let token = home.token().await;
    let server = Secure::start(&home, &issuer).await;
    let first = server.shown().await;
    let ending = until("a notice", || server.notice(&token, "certificate_ending")).await;
    assert_eq!(ending["days"], 14);

    issuer.issue(&home, 90);
    let second = until("the new certificate", || async { Some(server.shown().await).filter(|shown| *shown != first) }).await;
    server.gone(&token, "certificate_ending").await;

    // A key that belongs to nothing, and then none at all.
    home.write("key.pem", &KeyPair::generate().unwrap().serialize_pem());
    server.program.signal(Signal::HUP);
    let unusable = until("a notice", || server.notice(&token, "certificate_unusable")).await;
    assert!(unusable["what"].as_str().unwrap().contains("is not the key of the certificate"), "{unusable}");
    std::fs::remove_file(home.path("key.pem")).unwrap();
    server.program.signal(Signal::HUP);
    assert_eq!(server.shown().await, second);

    issuer.issue(&home, 91);
    server.program.signal(Signal::HUP);
    let third = until("the third certificate", || async { Some(server.shown().await).filter(|shown| *shown != second) }).await;
    server.gone(&token, "certificate_unusable").await;

    // A new one that has ended is worse than the old one.
    issuer.issue(&home, 0);
    server.program.signal(Signal::HUP);
    let ended = until("a notice", || server.notice(&token, "certificate_unusable")).await;
    assert!(ended["what"].as_str().unwrap().contains("has ended at"), "{ended}");
    assert_eq!(server.shown().await, third);
    // The doctor says so too: another start would find nothing better.
    let checked = home.run(&["check", "--offline"]).await;
    assert!(checked.stdout.contains("has ended at"), "{checked:?}");

    // So is one that does not count yet.
    let day = Duration::from_secs(86_400);
    issuer.issue_between(&home, Some(30 * day), 90 * day);
    server.program.signal(Signal::HUP);
    let early = || async { server.notice(&token, "certificate_unusable").await.filter(|told| told["what"] != ended["what"]) };
    let early = until("another notice", early).await;
    assert!(early["what"].as_str().unwrap().contains("counts only from"), "{early}");
    assert_eq!(server.shown().await, third);
    server.program.stop().await;
    let checked = home.run(&["check", "--offline"]).await;
    assert!(checked.stdout.contains("it counts only from"), "{checked:?}");
}

#[tokio::test]
async fn a_stop_finishes_what_was_begun_over_tls() {
    let (home, issuer) = (Home::new(), Issuer::new());
    issuer.issue(&home, 90);
    configure(&home, "");
    let server = Secure::start(&home, &issuer).await;
    let mut stream = server.connect().await.unwrap();
    let event = r#"{"eventId":"e-1","eventType":"VEHICLE_STATE","data":{"signals":[]}}"#;
    let head = format!(
        "POST /api/webhooks/smartcar HTTP/1.1\r\nHost: localhost\r\nSC-Signature: {}\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        sign(MANAGEMENT, event),
        event.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.program.signal(Signal::TERM);
    until("the end of listening", || async { TcpStream::connect(server.address).await.err() }).await;
    stream.write_all(event.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // Its last word is that there is no more to come, as TLS wants it.
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"accepted\""), "{answer}");
    assert_eq!(server.program.end().await.code, Some(0));
}

#[tokio::test]
async fn what_cannot_be_shown_is_told_at_the_start() {
    let (home, issuer) = (Home::new(), Issuer::new());
    home.write("config.toml", "[tls]\nmode = \"files\"\n");
    let ran = home.run(SERVE).await;
    assert_eq!(ran.code, Some(64), "{ran:?}");
    assert!(ran.complaint().contains("Set tls.cert, such as") && ran.complaint().contains("Set tls.key, such as"), "{ran:?}");

    configure(&home, "");
    let refused = |word: &'static str| {
        let home = &home;
        async move {
            let ran = home.run(SERVE).await;
            assert_eq!(ran.code, Some(64), "{ran:?}");
            assert!(ran.complaint().contains(word), "{word}: {ran:?}");
        }
    };
    refused("cert.pem: cannot be read").await;
    refused("; tls.key: ").await;
    assert!(!home.data().exists(), "a data directory was made all the same");
    issuer.issue(&home, 90);
    let good = std::fs::read_to_string(home.path("key.pem")).unwrap();
    home.write("key.pem", &KeyPair::generate().unwrap().serialize_pem());
    refused("key.pem: is not the key of the certificate in tls.cert").await;
    home.write("key.pem", "nothing\n");
    refused("key.pem: holds no private key").await;
    home.write("key.pem", &good.replace("PRIVATE", "ENCRYPTED PRIVATE"));
    refused("key.pem: holds a private key with a password").await;
    home.write("key.pem", &good[..good.len() / 2]);
    refused("key.pem: holds a private key that is cut off or damaged").await;
    home.write("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    refused("key.pem: holds a private key that is damaged, or of a kind that is not known here").await;
    home.write("key.pem", &good);
    let chain = std::fs::read_to_string(home.path("cert.pem")).unwrap();
    home.write("cert.pem", &format!("{chain}{}", &chain[..chain.len() / 2]));
    refused("cert.pem: is cut off or damaged: its last part has no end").await;
    home.write("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    refused("cert.pem: cannot be used").await;
    home.write("cert.pem", &good);
    refused("cert.pem: holds a private key and no certificate: tls.cert and tls.key are swapped").await;
    home.write("cert.pem", "nothing\n");
    refused("cert.pem: holds no certificate").await;

    // What is no key is not to be kept from others.
    home.write("config.toml", "[tls]\nmode = \"files\"\ncert = \"cert.pem\"\nkey = \"/dev/null\"\n");
    let ran = home.run(&["config", "show"]).await;
    assert!(!ran.stderr.contains("chmod"), "{ran:?}");
    configure(&home, "");
    issuer.issue(&home, 90);
    chmod(&home.path("key.pem"), 0o644);
    let ran = home.run(&["config", "show"]).await;
    assert!(ran.stderr.contains("tls.key: ") && ran.stderr.contains("is open to everybody on this machine"), "{ran:?}");
}

#[tokio::test]
async fn a_certificate_of_its_own_outlives_a_restart() {
    let home = Home::new();
    home.write("config.toml", "hosts = [\"car.home.arpa\"]\n[tls]\nmode = \"self-signed\"\n");
    let mut before = None;
    for _ in 0..2 {
        let mut program = Program::start(home.command(SERVE));
        let fingerprint = program.says("its fingerprint", |text| {
            text.lines().find_map(|line| line.trim().strip_prefix("SHA-256 ").map(str::to_owned))
        });
        let fingerprint = fingerprint.await;
        assert_eq!(*before.get_or_insert(fingerprint.clone()), fingerprint);
        let [address] = listening(&mut program).await;
        assert!(program.stdout().contains(&format!("dashboard  https://localhost:{}", address.port())), "{}", program.stdout());
        // Who has the certificate can trust it.
        let mut anybody = client(RootCertStore::empty(), &[]);
        anybody.dangerous().set_certificate_verifier(Arc::new(Anybody));
        let shown = connect(address, anybody).await.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
        let mut roots = RootCertStore::empty();
        roots.add(shown).unwrap();
        let stream = connect(address, client(roots, &[])).await.unwrap();
        let mut line = Line::over(stream, address.port()).await.unwrap();
        let answer = line.send(Say::get("/healthz").method(Method::HEAD)).await.unwrap();
        // Nobody could go on to a page that may only come with a certificate that the browser knows.
        assert_eq!((answer.status, answer.header("strict-transport-security")), (200, ""));
        program.stop().await;
    }
}

#[tokio::test]
async fn the_world_and_the_house_have_a_listener_each() {
    let (home, issuer) = (Home::new(), Issuer::new());
    issuer.issue(&home, 90);
    let lists = "public_url = \"https://localhost\"\nlisten = \"127.0.0.1:0\"\nprivate_listen = \"127.0.0.1:0\"\n";
    configure(&home, lists);
    let token = home.token().await;
    let serve = |more: &[(&str, &str)]| {
        let mut command = home.command(&["serve"]);
        command.env("CARPORT_TLS_HTTP_LISTEN", "127.0.0.1:0").envs(more.iter().copied());
        Program::start(command)
    };
    let mut program = serve(&[]);
    let [public, private, http] = listening(&mut program).await;
    let world = Secure { program, address: public, client: issuer.client(&["http/1.1"]) };
    let status = |say: Say| async { world.send(say).await.status };
    assert_eq!(status(Say::get("/healthz")).await, 200);
    assert_eq!(status(Say::get("/api/v1/status").token(&token)).await, 404);
    assert_eq!(status(Say::get("/login")).await, 404);
    assert_eq!(status(Say::get("/login").method(Method::DELETE)).await, 404);
    assert_eq!(status(Say::post("/api/webhooks/smartcar", "{}")).await, 401);
    assert_eq!(status(Say::json("/api/smartcar/exchange", &Value::Null)).await, 401);

    // The private one is loopback, and plain.
    let mut house = Line::open(private).await.unwrap();
    let answer = house.send(Say::get("/api/v1/status").token(&token)).await.unwrap();
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, ""));
    assert_eq!(house.send(Say::get("/login")).await.unwrap().status, 200);

    // Plain HTTP leads to the world's.
    let mut plain = Line::open(http).await.unwrap();
    let answer = plain.send(Say::get("/connect/abc?x=1")).await.unwrap();
    assert_eq!((answer.status, answer.header("location")), (308, "https://localhost/connect/abc?x=1"));
    let answer = plain.send(Say::post("/api/webhooks/smartcar", "{}")).await.unwrap();
    assert_eq!((answer.status, answer.header("location"), answer.json()["code"].as_str()), (403, "", Some("https_required")));
    let answer = plain.send(Say::get("/").header("host", "evil.example")).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status >= 400), "two hosts");
    world.program.stop().await;

    let mut program = serve(&[("CARPORT_PUBLIC_API", "true")]);
    let [address, _, _] = listening(&mut program).await;
    let world = Secure { program, address, client: issuer.client(&["http/1.1"]) };
    assert_eq!(world.send(Say::get("/api/v1/status").token(&token)).await.status, 200);
    assert_eq!(world.send(Say::get("/api/v1/status")).await.status, 401);
    assert_eq!(world.send(Say::get("/metrics").token(&token)).await.status, 404);
    assert_eq!(world.send(Say::get("/")).await.status, 404);
    world.program.stop().await;
}

#[tokio::test]
async fn the_doctor_looks_at_the_certificate() {
    let (home, issuer) = (Home::new(), Issuer::new());
    let line = || async {
        let ran = home.run(&["check", "--offline", "--json"]).await;
        let items: Value = serde_json::from_str(&ran.stdout).unwrap();
        items["items"].as_array().unwrap().iter().find(|line| line["check"] == "certificate").cloned()
    };
    home.write("config.toml", "");
    assert_eq!(line().await, None);
    configure(&home, "");
    let told = line().await.unwrap();
    assert_eq!(told["result"], "fail", "{told}");
    assert!(told["text"].as_str().unwrap().contains("cert.pem: cannot be read"), "{told}");
    issuer.issue(&home, 90);
    let told = line().await.unwrap();
    assert_eq!(told["result"], "warn", "{told}");
    assert!(told["text"].as_str().unwrap().contains("nobody vouches for it"), "{told}");

    // Of a running server, what it shows counts.
    let [address] = super::acme::free::<1>();
    home.write("config.toml", &format!("listen = \"{address}\"\n[tls]\nmode = \"self-signed\"\n"));
    let mut program = Program::start(home.command(&["serve"]));
    let [_]: [SocketAddr; 1] = listening(&mut program).await;
    let told =
        until("the server", || async { line().await.filter(|told| !told["text"].as_str().unwrap().contains("not looked at")) });
    let told = told.await;
    assert_eq!(told["result"], "ok", "{told}");
    assert!(told["text"].as_str().unwrap().contains("of Carport's own making"), "{told}");
    // Who has chosen it is told what it is good for, and not to renew it.
    let home_network = format!("public_url = \"https://localhost:{}\"\nlisten = \"{address}\"\n", address.port());
    home.write(
        "config.toml",
        &format!("{home_network}[tls]\nmode = \"self-signed\"\n[smartcar.origins]\nconnect = \"http://127.0.0.1:1\"\n"),
    );
    let ran = home.run(&["check"]).await;
    let told =
        ran.stdout.lines().find(|told| told.contains(" certificate of the public URL ")).unwrap_or_else(|| panic!("{ran:?}"));
    assert!(told.starts_with("warn ") && told.contains("for webhooks set tls.mode") && !told.contains("renew"), "{told}");
    program.stop().await;

    // Where this machine is a trusted proxy too, it says what one says, and nobody takes it for one that does not.
    let proxy = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]\n";
    home.write("config.toml", &format!("{home_network}{proxy}[tls]\nmode = \"self-signed\"\n"));
    let mut program = Program::start(home.command(&["serve"]));
    let [_]: [SocketAddr; 1] = listening(&mut program).await;
    until("the server", || async { line().await.filter(|told| told["result"] == "ok") }).await;
    let mut rude = TcpStream::connect(address).await.unwrap();
    rude.write_all(&[22; 64]).await.unwrap();
    // It is closed, and that is told, also to whoever looks twice.
    let _ = rude.read_to_end(&mut Vec::new()).await;
    for _ in 0..2 {
        let checked = home.run(&["check", "--offline"]).await;
        assert!(checked.stdout.contains("127.0.0.1 does not say by the PROXY protocol"), "{checked:?}");
    }
    let mut polite = TcpStream::connect(address).await.unwrap();
    polite.write_all(b"PROXY TCP4 203.0.113.5 192.0.2.1 56324 443\r\n").await.unwrap();
    polite.shutdown().await.unwrap();
    let _ = polite.read_to_end(&mut Vec::new()).await;
    let checked = home.run(&["check", "--offline"]).await;
    assert!(checked.stdout.contains("of Carport's own making") && !checked.stdout.contains("PROXY protocol"), "{checked:?}");
    program.stop().await;
}

#[tokio::test]
async fn a_certificate_for_other_names_is_told() {
    let (home, issuer) = (Home::new(), Issuer::new());
    issuer.issue(&home, 90);
    let house = "private_listen = \"127.0.0.1:0\"\nprivate_url = \"https://192.168.1.5:8443\"\n";
    configure(&home, &format!("public_url = \"https://cars.example.org\"\n{house}"));
    let mut program = Program::start(home.command(SERVE));
    for told in ["not for cars.example.org (public_url)", "not for 192.168.1.5 (private_url)"] {
        program.says("that the certificate does not fit", |text| text.contains(told).then_some(())).await;
    }
    program.stop().await;
    let checked = home.json(&["check", "--offline"]).await;
    let line = checked["items"].as_array().unwrap().iter().find(|line| line["check"] == "certificate").unwrap().clone();
    assert_eq!(line["result"], "warn", "{line}");
    assert!(line.to_string().contains("it is for localhost, not for cars.example.org (public_url)"), "{line}");
}
