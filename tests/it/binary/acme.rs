//! Certificates that are ordered and renewed: from Pebble, the ACME server for tests, by each challenge. Where Debian's
//! `pebble` is not installed, the stories fail and say so.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use super::http::{Line, Say};
use super::process::{Home, Program, chmod, files, until};
use super::sandbox::has_landlock;
use super::tls::{Anybody, Issuer, client, connect, listening};

const NAME: &str = "cars.example.org";

/// A CA, and the DNS in which every name leads to this machine.
struct Pebble {
    ca: Program,
    /// Killed when this goes.
    _dns: Program,
    directory: String,
    /// Where it asks by http-01, and by tls-alpn-01.
    http: SocketAddr,
    tls: SocketAddr,
    /// Where the DNS is told records.
    records: SocketAddr,
    /// Carport's private listener.
    house: SocketAddr,
}

impl Pebble {
    /// Starts it; its certificates last so many seconds.
    async fn start(home: &Home, seconds: u32) -> Pebble {
        let is_there = ["pebble", "pebble-challtestsrv"].iter().all(|name| Path::new("/usr/bin").join(name).exists());
        assert!(is_there, "Debian's pebble is needed: tests/run installs it, or `apt-get install pebble`");
        let [listen, management, http, tls, dns, records, house] = free();
        let issuer = Issuer::new();
        home.write("ca.pem", &issuer.pem());
        issuer.issue_to(home, "pebble", &["localhost", "127.0.0.1"]);
        let config = json!({ "pebble": {
            "listenAddress": listen, "managementListenAddress": management, "certificate": "pebble-cert.pem",
            "privateKey": "pebble-key.pem", "httpPort": http.port(), "tlsPort": tls.port(), "ocspResponderURL": "",
            "externalAccountBindingRequired": false, "certificateValidityPeriod": seconds,
        } });
        home.write("pebble.json", &config.to_string());
        let start = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            command.args(words).current_dir(&home.0).env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
            // By default it refuses each twentieth nonce, now and then one three times, and then an order fails by chance.
            command.env("PEBBLE_WFE_NONCEREJECT", "0");
            Program::start(command)
        };
        let (dns, records_at) = (dns.to_string(), records.to_string());
        let off = ["-http01", "", "-https01", "", "-tlsalpn01", ""];
        let on = ["-dns01", &dns, "-management", &records_at, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""];
        let names = start("pebble-challtestsrv", &[&off[..], &on].concat());
        let mut ca = start("pebble", &["-config", "pebble.json", "-dnsserver", &dns]);
        for place in [listen, records] {
            until("pebble", || async { tokio::net::TcpStream::connect(place).await.ok() }).await;
        }
        assert!(ca.is_running(), "{}{}", ca.stdout(), ca.stderr());
        let directory = format!("https://localhost:{}/dir", listen.port());
        Pebble { ca, _dns: names, directory, http, tls, records, house }
    }

    /// Carport's configuration.
    fn configure(&self, home: &Home, more: &str) {
        let Pebble { directory, tls, http, house, .. } = self;
        home.write(
            "config.toml",
            &format!(
                "public_url = \"https://{NAME}\"\nlisten = \"{tls}\"\nprivate_listen = \"{house}\"\n[tls]\nmode = \"acme\"\nhttp_listen = \"{http}\"\n\
                 [tls.acme]\ndirectory = \"{directory}\"\nca_file = \"ca.pem\"\nemail = \"owner@example.org\"\n{more}"
            ),
        );
    }
}

/// Addresses that nobody has.
pub(crate) fn free<const N: usize>() -> [SocketAddr; N] {
    let bound = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    bound.map(|listener| listener.local_addr().unwrap())
}

/// The certificate that is shown there; `None` while there is none.
async fn shown(address: SocketAddr) -> Option<CertificateDer<'static>> {
    let mut anybody = client(RootCertStore::empty(), &["http/1.1"]);
    anybody.dangerous().set_certificate_verifier(Arc::new(Anybody));
    let stream = connect(address, anybody).await.ok()?;
    Some(stream.get_ref().1.peer_certificates()?[0].clone().into_owned())
}

async fn issued(address: SocketAddr) -> CertificateDer<'static> {
    until("a certificate", || shown(address)).await
}

async fn serve(home: &Home) -> Program {
    let mut program = Program::start(home.command(&["serve"]));
    let [_, _, _]: [SocketAddr; 3] = listening(&mut program).await;
    program
}

/// Serves until a second certificate is there.
async fn renewed(home: &Home, pebble: &Pebble) -> Program {
    let carport = serve(home).await;
    let first = issued(pebble.tls).await;
    until("another certificate", || async { shown(pebble.tls).await.filter(|shown| *shown != first) }).await;
    carport
}

/// What the operator is told.
async fn notices(house: SocketAddr, token: &str) -> Vec<Value> {
    let status = Line::open(house).await.unwrap().send(Say::get("/api/v1/status").token(token)).await.unwrap().json();
    status["notices"].as_array().unwrap().clone()
}

/// That nothing is issued.
async fn refusal(house: SocketAddr, token: &str) -> Option<Value> {
    notices(house, token).await.into_iter().find(|notice| notice["code"] == "certificate_refused")
}

#[tokio::test]
async fn a_certificate_is_ordered_by_http_and_renewed() {
    let home = Home::new();
    let pebble = Pebble::start(&home, 9).await;
    pebble.configure(&home, "challenge = \"http-01\"\n");
    let carport = renewed(&home, &pebble).await;
    // What is not asked for by the CA is not there.
    let answer = Line::open(pebble.http).await.unwrap().send(Say::get("/.well-known/acme-challenge/x")).await.unwrap();
    assert_eq!(answer.status, 404);
    carport.stop().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_by_tls_alone() {
    let home = Home::new();
    let pebble = Pebble::start(&home, 9).await;
    pebble.configure(&home, "challenge = \"tls-alpn-01\"\n");
    renewed(&home, &pebble).await.stop().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_by_records() {
    let home = Home::new();
    let pebble = Pebble::start(&home, 9).await;
    let program = format!(
        "#!/usr/bin/env python3\nimport json, sys, urllib.request\nwhat, name, value = sys.argv[1:]\n\
         body = json.dumps({{'host': name + '.', 'value': value}}).encode()\n\
         urllib.request.urlopen('http://{}/' + ('set-txt' if what == 'set' else 'clear-txt'), body)\n",
        pebble.records,
    );
    home.write("records.py", &program);
    chmod(&home.path("records.py"), 0o700);
    pebble.configure(&home, &format!("dns = \"exec:{}\"\n", home.path("records.py").display()));
    renewed(&home, &pebble).await.stop().await;
}

#[tokio::test]
async fn a_certificate_outlives_restarts_and_whoever_issued_it() {
    let home = Home::new();
    let mut pebble = Pebble::start(&home, 86_400).await;
    pebble.configure(&home, "challenge = \"tls-alpn-01\"\n");
    let carport = serve(&home).await;
    let first = issued(pebble.tls).await;
    let ran = carport.stop().await;
    // Its key, and that of the account, are sealed.
    let is_told = |bytes: &[u8]| {
        bytes.windows(11).any(|window| window == b"PRIVATE KEY") || bytes.windows(9).any(|window| window == b"key_pkcs8")
    };
    let told: Vec<String> = files(&home.data()).into_iter().filter(|(_, bytes)| is_told(bytes)).map(|(name, _)| name).collect();
    assert!(told.is_empty() && !is_told(ran.stderr.as_bytes()), "{told:?}");

    // A restart orders nothing.
    let carport = serve(&home).await;
    assert_eq!(issued(pebble.tls).await, first);
    carport.stop().await;

    // Whoever is to issue another is gone: the one that is there is shown on, and the operator is told.
    pebble.ca.signal(rustix::process::Signal::KILL);
    pebble.ca.ended().await;
    pebble.configure(&home, "challenge = \"tls-alpn-01\"\ndomains = [\"cars.example.org\", \"pi.example.org\"]\n");
    let token = home.token().await;
    let carport = serve(&home).await;
    let refused = until("a notice", || refusal(pebble.house, &token)).await;
    assert!(refused["what"].as_str().unwrap().contains("cannot connect"), "{refused}");
    assert_eq!(issued(pebble.tls).await, first);
    let ran = carport.stop().await;
    assert_eq!(ran.code, Some(0), "{ran:?}");

    // Who wants nothing new is not refused any more.
    pebble.configure(&home, "challenge = \"tls-alpn-01\"\n");
    let carport = serve(&home).await;
    until("the end of the notice", || async { refusal(pebble.house, &token).await.is_none().then_some(()) }).await;
    carport.stop().await;
}

#[tokio::test]
async fn a_certificate_is_ordered_by_a_program_that_writes_records() {
    let (home, outside) = (Home::new(), Home::new());
    let pebble = Pebble::start(&home, 86_400).await;
    let program = format!(
        "#!/usr/bin/env python3\nimport json, os, sys, urllib.request\nwhat, name, value = sys.argv[1:]\n\
         assert set(os.environ) <= {{'PATH', 'LC_CTYPE'}}, os.environ\n\
         body = json.dumps({{'host': name + '.', 'value': value}}).encode()\n\
         urllib.request.urlopen('http://{}/' + ('set-txt' if what == 'set' else 'clear-txt'), body)\n\
         records = open('{}', 'a')\n\
         records.write(what + ' ' + name + '\\n')\n\
         for path, mode in [('{outside}/secret', 'r'), ('{outside}/made', 'w'), (sys.argv[0], 'a'), ('{outside}/secret', 'a')]:\n\
         \x20   try: open(path, mode); records.write('reached ' + path + ' ' + mode + '\\n')\n\
         \x20   except PermissionError: pass\n",
        pebble.records,
        home.data().join("records").display(),
        outside = outside.0.display(),
    );
    home.write("records.py", &program);
    outside.write("secret", "of somebody else");
    chmod(&home.path("records.py"), 0o700);
    let names = "domains = [\"*.example.org\", \"example.org\"]\n";
    pebble.configure(&home, &format!("dns = \"exec:{}\"\n{names}", home.path("records.py").display()));
    let carport = serve(&home).await;
    issued(pebble.tls).await;
    let twice = "set _acme-challenge.example.org\n".repeat(2) + &"clear _acme-challenge.example.org\n".repeat(2);
    let records = std::fs::read_to_string(home.data().join("records")).unwrap();
    let (reached, written): (Vec<&str>, Vec<&str>) = records.lines().partition(|line| line.starts_with("reached"));
    assert_eq!(written.join("\n") + "\n", twice);
    // As root, modes alone keep nothing from it.
    assert!(!has_landlock() || reached.is_empty(), "{reached:?}");
    carport.stop().await;
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_told() {
    let home = Home::new();
    let pebble = Pebble::start(&home, 86_400).await;
    pebble.configure(&home, "challenge = \"http-01\"\n");
    let [elsewhere] = free::<1>();
    let config = std::fs::read_to_string(home.path("config.toml")).unwrap();
    home.write("config.toml", &config.replace(&pebble.http.to_string(), &elsewhere.to_string()));
    let token = home.token().await;
    let carport = serve(&home).await;
    let what = until("a notice", || refusal(pebble.house, &token)).await["what"].to_string();
    assert!(what.contains("cars.example.org could not be proven by http-01"), "{what}");
    assert!(shown(pebble.tls).await.is_none());
    carport.stop().await;
}
