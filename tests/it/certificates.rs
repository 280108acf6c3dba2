//! The keeper of certificates in simulated time, against a small CA: one that suggests when to renew (which Pebble does
//! not), one that refuses for weeks, and DuckDNS.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use carport::app::Keys;
use carport::metrics::Metrics;
use carport::model::notice::Subject;
use carport::model::{Current, Secret, Timestamp};
use carport::store::{self, Store};
use carport::tls::{Acme, Challenge, Dns, Files, Settings, Source, Tls};
use carport::vault::MasterKey;
use carport::world::{Clock, SystemEntropy, Transport, TransportError, World};
use data_encoding::BASE64URL_NOPAD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData, SignatureAlgorithm};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::binary::process::Home;
use crate::gateway::{DAY, Disk, HOUR, pass};

const NAME: &str = "cars.duckdns.org";
const BEGIN: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// How long its certificates last, in days.
const LIFE: u32 = 90;

/// A clock that goes with the simulated time.
#[derive(Debug)]
struct Sim(Instant);

impl Clock for Sim {
    fn now(&self) -> Timestamp {
        BEGIN.after(self.0.elapsed())
    }
}

/// A CA that believes whoever says to be ready, and DuckDNS.
#[derive(Debug)]
struct Ca {
    clock: Sim,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    issuer: Option<CertifiedIssuer<'static, KeyPair>>,
    /// The days after an issue between which it suggests to renew.
    window: Option<[u32; 2]>,
    refuses: bool,
    /// What each order is said to replace.
    orders: Vec<Value>,
    is_proven: bool,
    issued_at: Option<Timestamp>,
    chain: Option<String>,
    /// What DuckDNS was asked.
    records: Vec<String>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

/// The public key of a request for a certificate.
struct Raw(Vec<u8>);

impl PublicKeyData for Raw {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl Ca {
    fn new() -> Arc<Ca> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let state = State { issuer: Some(issuer), ..State::default() };
        Arc::new(Ca { clock: Sim(Instant::now()), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn orders(&self) -> usize {
        self.state().orders.len()
    }

    /// A certificate for the key in a request, from now on.
    fn issue(&self, request: &[u8]) -> String {
        // A point on P-256, not compressed.
        let at = request.windows(4).position(|window| window == [3, 0x42, 0, 4]).unwrap() + 3;
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        let seconds = Duration::from_millis(u64::try_from(self.clock.now().as_millis()).unwrap());
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + seconds;
        params.not_after = params.not_before + LIFE * DAY;
        let key = Raw(request[at..at + 65].to_vec());
        params.signed_by(&key, self.state().issuer.as_ref().unwrap()).unwrap().pem()
    }

    fn answer(&self, path: &str, body: &[u8]) -> (u16, Value) {
        let url = |path: &str| json!(format!("https://ca.test/{path}"));
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let payload = BASE64URL_NOPAD.decode(said["payload"].as_str().unwrap_or_default().as_bytes()).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap_or_default();
        if path == "/finalize" {
            let chain = self.issue(&BASE64URL_NOPAD.decode(payload["csr"].as_str().unwrap().as_bytes()).unwrap());
            let now = self.clock.now();
            let mut state = self.state();
            (state.chain, state.issued_at) = (Some(chain), Some(now));
        }
        let mut state = self.state();
        let order = |state: &State| {
            let status = match (&state.chain, state.is_proven) {
                (Some(_), _) => "valid",
                (None, true) => "ready",
                (None, false) => "pending",
            };
            let names = json!([{ "type": "dns", "value": NAME }]);
            json!({ "status": status, "identifiers": names, "authorizations": [url("authz")], "finalize": url("finalize"),
                    "certificate": url("cert"), "replaces": state.orders.last() })
        };
        match path {
            "/directory" => {
                let all = ["newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "renewalInfo"];
                (200, all.map(|name| (name.to_owned(), url(name))).into_iter().collect())
            }
            "/newNonce" => (200, Value::Null),
            "/newAccount" => (201, json!({ "status": "valid" })),
            "/newOrder" => {
                state.orders.push(payload["replaces"].clone());
                (state.is_proven, state.chain) = (false, None);
                if state.refuses {
                    return (429, json!({ "type": "urn:ietf:params:acme:error:rateLimited", "detail": "not now" }));
                }
                (201, order(&state))
            }
            "/authz" => {
                let status = if state.is_proven { "valid" } else { "pending" };
                let challenge =
                    |kind: &str| json!({ "type": kind, "url": url("challenge"), "token": "a-token", "status": status });
                let challenges = ["http-01", "dns-01"].map(challenge);
                (200, json!({ "identifier": { "type": "dns", "value": NAME }, "status": status, "challenges": challenges }))
            }
            "/challenge" => {
                state.is_proven = true;
                (200, json!({ "type": "http-01", "url": url("challenge"), "token": "a-token", "status": "valid" }))
            }
            "/order" | "/finalize" => (200, order(&state)),
            _ if path.starts_with("/renewalInfo/") => match (state.window, state.issued_at) {
                (Some(days), Some(at)) => {
                    let [start, end] = days.map(|days| at.after(days * DAY).to_string());
                    (200, json!({ "suggestedWindow": { "start": start, "end": end } }))
                }
                _ => (404, json!({ "type": "about:blank" })),
            },
            other => panic!("{other} is not known here"),
        }
    }
}

impl Transport for Ca {
    fn send(&self, request: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let path = request.uri().path().to_owned();
        let response = Response::builder().header("replay-nonce", "once").header("retry-after", "3600");
        let response = if request.uri().host() == Some("www.duckdns.org") {
            self.state().records.push(request.uri().query().unwrap().to_owned());
            response.body(Bytes::from("OK"))
        } else if path == "/cert" {
            response.body(self.state().chain.clone().unwrap().into())
        } else {
            let (status, body) = self.answer(&path, request.body());
            let place = if path == "/newOrder" { "https://ca.test/order" } else { "https://ca.test/us" };
            response.status(status).header("location", place).body(body.to_string().into())
        };
        async move { Ok(response.unwrap()) }.boxed()
    }
}

/// A store, and a keeper at work on it.
struct Keeper {
    ca: Arc<Ca>,
    store: Store,
    world: World,
    dns: Option<Dns>,
}

impl Keeper {
    fn new(ca: &Arc<Ca>, dns: Option<Dns>) -> Keeper {
        let world = World { clock: Arc::new(Sim(ca.clock.0)), entropy: Arc::new(SystemEntropy), transport: ca.clone() };
        let keys = Keys { key: MasterKey::generate(&SystemEntropy), next: None };
        let settings = store::Settings { inline: true, ..store::Settings::default() };
        let vault = keys.vault(&SystemEntropy);
        let store = Store::open_at(Arc::new(Disk::default()), settings, vault, &world, Arc::new(Metrics::new())).unwrap();
        Keeper { ca: ca.clone(), store, world, dns }
    }

    /// Starts it; it ends with `CancellationToken`.
    async fn start(&self) -> (Tls, CancellationToken, JoinHandle<()>) {
        let challenge = if self.dns.is_some() { Challenge::Dns } else { Challenge::Http };
        let acme = Acme {
            directory: "https://ca.test/directory".to_owned(),
            email: None,
            ca_file: None,
            challenges: vec![challenge],
            dns: self.dns.clone(),
        };
        self.keep(Source::Acme(acme)).await
    }

    async fn keep(&self, source: Source) -> (Tls, CancellationToken, JoinHandle<()>) {
        let settings = Settings { source, names: vec![NAME.to_owned()] };
        let tls = Tls::open(settings, self.store.clone(), self.world.clone()).await.unwrap();
        let (keeper, shutdown) = (tls.clone(), CancellationToken::new());
        let until = shutdown.clone();
        (tls, shutdown, tokio::spawn(async move { keeper.run(until).await }))
    }

    /// Passes whole days after the first issue.
    async fn on_day(&self, day: u32) {
        let issued_at = self.ca.state().issued_at.unwrap();
        pass(issued_at.after(day * DAY).since(self.world.now())).await;
    }

    /// What the operator is told, and the days that are left.
    async fn told(&self) -> Vec<(Subject, Option<u8>)> {
        let notices = self.store.read(|snapshot| snapshot.notices(usize::MAX)).await.unwrap();
        notices.into_iter().map(|notice| (notice.subject, notice.days)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_when_its_issuer_suggests() {
    let ca = Ca::new();
    ca.state().window = Some([10, 11]);
    let keeper = Keeper::new(&ca, None);
    let (tls, shutdown, running) = keeper.start().await;
    pass(HOUR).await;
    let first = tls.shown().unwrap();
    keeper.on_day(9).await;
    assert_eq!(ca.state().orders, [Value::Null]);
    pass(2 * DAY + 2 * HOUR).await;
    assert!(ca.orders() == 2 && ca.state().orders[1].is_string(), "it says which one is replaced: {:?}", ca.state().orders);
    assert_ne!(tls.shown().unwrap().facts, first.facts);

    // A window beyond the end, or that never comes, is no reason to let it end.
    ca.state().window = Some([100, 101]);
    keeper.on_day(68).await;
    assert_eq!(ca.orders(), 2);
    keeper.on_day(73).await;
    assert_eq!(ca.orders(), 3);
    assert_eq!(keeper.told().await, []);
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn duckdns_is_told_what_proves_the_name_and_forgets_it() {
    let ca = Ca::new();
    let keeper = Keeper::new(&ca, Some(Dns::DuckDns { token: Current::new(Secret::new("duck-token")) }));
    let (tls, shutdown, running) = keeper.start().await;
    pass(HOUR).await;
    assert!(tls.shown().is_some());
    let records = std::mem::take(&mut ca.state().records);
    let [set, clear] = &records[..] else { panic!("{records:?}") };
    assert!(set.starts_with("domains=cars&token=duck-token&txt=") && !set.contains("clear"), "{set}");
    assert_eq!(*clear, format!("{set}&clear=true"));
    // And so at each renewal.
    keeper.on_day(61).await;
    assert_eq!((ca.orders(), ca.state().records.len()), (2, 2));
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_renewed_is_shown_on_and_alarms() {
    let ca = Ca::new();
    let keeper = Keeper::new(&ca, None);
    let (tls, shutdown, running) = keeper.start().await;
    pass(HOUR).await;
    let first = tls.shown().unwrap();
    ca.state().refuses = true;
    let (refused, ending) = (Subject::CertificateRefused, Subject::CertificateEnding);
    keeper.on_day(56).await;
    assert_eq!(keeper.told().await, []);
    keeper.on_day(61).await;
    assert_eq!(keeper.told().await, [(refused, None)]);
    for (day, left) in [(77, Some(14)), (86, Some(14)), (88, Some(3)), (91, Some(3))] {
        keeper.on_day(day).await;
        let told = keeper.told().await;
        assert!(told.contains(&(refused, None)) && told.contains(&(ending, left)), "day {day}: {told:?}");
        assert_eq!(tls.shown().unwrap().facts, first.facts, "day {day}");
    }
    let tries = ca.orders() - 1;
    assert!((60..100).contains(&tries), "{tries} tries in a month");
    ca.state().refuses = false;
    pass(13 * HOUR).await;
    assert_ne!(tls.shown().unwrap().facts, first.facts);
    pass(2 * HOUR).await;
    assert_eq!(keeper.told().await, []);
    shutdown.cancel();
    running.await.unwrap();
}

/// Whoever starts it again and again, as systemd does with what ends, does not ask each time.
#[tokio::test(start_paused = true)]
async fn starts_in_a_row_do_not_hammer() {
    let ca = Ca::new();
    ca.state().refuses = true;
    let keeper = Keeper::new(&ca, None);
    for _ in 0..60 {
        let (_, shutdown, running) = keeper.start().await;
        pass(Duration::from_secs(60)).await;
        shutdown.cancel();
        running.await.unwrap();
    }
    assert!((1..=3).contains(&ca.orders()), "{} orders in an hour", ca.orders());
    // What was mended is found out without the pause that was left.
    ca.state().refuses = false;
    let (tls, shutdown, running) = keeper.start().await;
    pass(Duration::from_secs(31 * 60)).await;
    assert!(tls.shown().is_some());
    shutdown.cancel();
    running.await.unwrap();
}

/// Files that somebody else renews, on a machine whose clock is not the same.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_does_not_count_yet_is_told_and_taken_when_it_does() {
    let (home, keeper) = (Home::new(), Keeper::new(&Ca::new(), None));
    let begin = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(u64::try_from(BEGIN.as_millis()).unwrap());
    let issue = |from: u32, to: u32| {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (begin + from * DAY, begin + to * DAY);
        let key = KeyPair::generate().unwrap();
        home.write("key.pem", &key.serialize_pem());
        home.write("cert.pem", &params.self_signed(&key).unwrap().pem());
    };
    let unusable = [(Subject::CertificateUnusable, None)];
    issue(1, 20);
    let source = Source::Files(Files { chain: home.path("cert.pem"), key: home.path("key.pem") });
    let (tls, shutdown, running) = keeper.keep(source).await;
    pass(HOUR).await;
    // Nothing better is there, so it is shown.
    assert_eq!(keeper.told().await, unusable);
    pass(DAY).await;
    assert_eq!(keeper.told().await, []);

    // A new one waits for its time, or for the end of the one before.
    for (from, to, taken_on) in [(3, 30, 3), (35, 60, 30)] {
        let before = tls.shown().unwrap().facts.clone();
        issue(from, to);
        tls.reread();
        pass(HOUR).await;
        assert_eq!(keeper.told().await.iter().filter(|told| **told == unusable[0]).count(), 1, "from day {from}");
        assert_eq!(tls.shown().unwrap().facts, before);
        pass(BEGIN.after(taken_on * DAY + HOUR).since(keeper.world.now())).await;
        assert_ne!(tls.shown().unwrap().facts, before, "on day {taken_on}");
    }
    assert_eq!(keeper.told().await, unusable);
    pass(6 * DAY).await;
    assert_eq!(keeper.told().await, []);
    shutdown.cancel();
    running.await.unwrap();
}
