//! A whole gateway in one thread: simulated time, network, disk and chance, everything else as it is.
//!
//! Requests go through [`carport::web::handle`], Smartcar is the simulator. Every answer must bear the
//! security headers and no token; at its end a gateway must have caught up, and no secret of the run may
//! be on the disk or in the log. A failure prints the seed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use carport::app::App;
use carport::config::{self, Overrides, Sources};
use carport::model::event::Grammar;
use carport::model::{ConnectionId, Timestamp};
use carport::simulator::{Settings, Simulator};
use carport::store::{self, StoreError};
use carport::vault::MasterKey;
use carport::web::{self, Peer, Services};
use carport::world::{Clock, Entropy, World};
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::simulator::rig::{Answer, NoEntropy, TestClock, sign_with};

mod disk;
pub(crate) mod events;
mod leaks;
mod net;

pub(crate) use disk::{Disk, Fault};
pub(crate) use net::{Cut, Net};

use leaks::Log;

/// Where the gateway of the tests lives.
pub(crate) const HOST: &str = "gateway.example";
pub(crate) const WEBHOOK: &str = "/api/webhooks/smartcar";
pub(crate) const CALLBACK: &str = "/api/smartcar/callback";

/// Chance that is the same for the same seed.
#[derive(Debug)]
struct Seeded(Mutex<u64>);

impl Entropy for Seeded {
    fn fill(&self, out: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        for byte in out {
            // SplitMix64.
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (z ^ (z >> 31)).to_be_bytes()[0];
        }
    }
}

/// The gateway's own wall clock, which may be wrong.
#[derive(Debug)]
struct WallClock {
    right: TestClock,
    ahead_ms: AtomicI64,
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.right.now().as_millis() + self.ahead_ms.load(Ordering::Relaxed))
    }
}

/// A gateway under test.
pub(crate) struct TestGateway {
    pub(crate) seed: u64,
    pub(crate) disk: Disk,
    pub(crate) simulator: Simulator,
    pub(crate) net: Arc<Net>,
    pub(crate) admin: String,
    /// The page cache of the store.
    pub(crate) cache: usize,
    /// Whether it looks at every row before it opens the store.
    repair: bool,
    /// What it reads events by.
    pub(crate) grammar: Grammar,
    clock: Arc<WallClock>,
    entropy: Arc<Seeded>,
    key: MasterKey,
    overrides: Vec<(String, String)>,
    app: Option<App>,
    loops: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    log: Log,
    secrets: Mutex<Vec<String>>,
    checked: bool,
}

impl TestGateway {
    /// A gateway as most stories need it.
    pub(crate) async fn new(seed: u64) -> TestGateway {
        TestGateway::with(seed, &[], Settings { seed, ..Settings::default() }).await
    }

    /// A gateway with some configuration of its own, before a simulator of its own. An empty value leaves
    /// a key out.
    pub(crate) async fn with(seed: u64, keys: &[(&str, &str)], simulation: Settings) -> TestGateway {
        let log = Log::capture();
        let start = tokio::time::Instant::now();
        let clock = Arc::new(WallClock { right: TestClock(start), ahead_ms: AtomicI64::new(0) });
        let entropy = Arc::new(Seeded(Mutex::new(seed)));
        let net = Arc::new(Net::default());
        let application = simulation.application.clone();
        let line = net.line();
        let world = World { clock: Arc::new(TestClock(start)), entropy: Arc::new(NoEntropy), transport: Arc::new(line) };
        let simulator = Simulator::new(world, simulation);
        net.plug_in_simulator(simulator.clone());
        let origin = "https://smartcar.test";
        let overrides = [
            ("public_url", "https://gateway.example"),
            ("smartcar.application_id", &application.application_id),
            ("smartcar.v2.client_id", &application.application_id),
            ("smartcar.v2.client_secret", &application.v2_client_secret),
            ("smartcar.v3.client_id", &application.v3_client_id),
            ("smartcar.v3.client_secret", &application.v3_client_secret),
            ("smartcar.application_management_token", &application.management_token),
            ("smartcar.origins.connect", origin),
            ("smartcar.origins.auth", origin),
            ("smartcar.origins.iam", origin),
            ("smartcar.origins.api", origin),
            ("smartcar.origins.vehicle", origin),
            ("smartcar.origins.management", origin),
            ("smartcar.origins.management_v3", origin),
            ("limits.callback", "100000/m"),
            ("limits.login", "100000/m"),
            ("limits.api", "100000/m"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        let application_secrets = [application.v2_client_secret, application.v3_client_secret, application.management_token];
        let key = MasterKey::generate(&*entropy);
        let mut gateway = TestGateway {
            seed,
            disk: Disk::default(),
            simulator,
            net,
            admin: String::new(),
            cache: store::Settings::default().cache,
            repair: false,
            grammar: Grammar::CURRENT,
            clock,
            entropy,
            key,
            overrides,
            app: None,
            loops: Vec::new(),
            stop: CancellationToken::new(),
            log,
            secrets: Mutex::new(application_secrets.into()),
            checked: false,
        };
        for (key, value) in keys {
            gateway.configure(key, value);
        }
        gateway.open().await.unwrap();
        let scope = json!({ "name": "stories", "scope": "admin" });
        gateway.admin = gateway.create_token(&scope).await;
        gateway
    }

    // === Life ===

    async fn build(&self) -> Result<App, StoreError> {
        let mut overrides = Overrides::default();
        for (key, value) in self.overrides.iter().filter(|(_, value)| !value.is_empty()) {
            overrides = overrides.set(key, value.as_str(), "story");
        }
        let config = config::load(&Sources { overrides, directory: "/nowhere".into(), ..Sources::default() }).unwrap();
        let world = World { clock: self.clock.clone(), entropy: self.entropy.clone(), transport: Arc::new(self.net.line()) };
        let settings = store::Settings { cache: self.cache, inline: true, repair: self.repair, ..store::Settings::default() };
        App::build_over(&config, world, &self.key, Arc::new(self.disk.clone()), settings, self.grammar).await
    }

    /// Puts another master key in the place of the gateway's own, which is returned.
    pub(crate) fn take_key(&mut self) -> MasterKey {
        std::mem::replace(&mut self.key, MasterKey::generate(&*self.entropy))
    }

    /// Puts a master key back.
    pub(crate) fn give_key(&mut self, key: MasterKey) {
        self.key = key;
    }

    /// Changes the configuration; counts from the next opening on.
    pub(crate) fn configure(&mut self, key: &str, value: &str) {
        self.overrides.retain(|(other, _)| other != key);
        self.overrides.push((key.to_owned(), value.to_owned()));
    }

    /// Opens the gateway over its disk.
    pub(crate) async fn open(&mut self) -> Result<(), StoreError> {
        let app = self.build().await?;
        self.net.plug_in_gateway(app.services().clone());
        self.app = Some(app);
        Ok(())
    }

    /// Stops as it should.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        for task in std::mem::take(&mut self.loops) {
            task.await.unwrap();
        }
        self.stop = CancellationToken::new();
        self.net.hang_up();
        if let Some(app) = self.app.take() {
            app.close().await;
        }
    }

    /// Stops as it should, and starts again.
    pub(crate) async fn reopen(&mut self) {
        self.stop().await;
        self.open().await.unwrap();
    }

    /// Stops as it should, and starts again with what a repair can save.
    pub(crate) async fn repair(&mut self) {
        self.repair = true;
        self.reopen().await;
        self.repair = false;
    }

    /// Is killed, and starts again from what had been written.
    pub(crate) async fn crash(&mut self) {
        for task in std::mem::take(&mut self.loops) {
            task.abort();
        }
        self.stop = CancellationToken::new();
        self.net.hang_up();
        self.disk = self.disk.copy();
        // Whatever the old process still does, it does to the old disk.
        self.app = None;
        self.open().await.unwrap();
    }

    /// Loses its power, and starts again after `outage` from what the disk has kept.
    pub(crate) async fn lose_power(&mut self, outage: Duration) {
        for task in std::mem::take(&mut self.loops) {
            task.abort();
        }
        self.stop = CancellationToken::new();
        self.net.hang_up();
        let entropy = self.entropy.clone();
        let old = self.disk.clone();
        self.disk = self.disk.without_power(|writes| {
            let mut chance = [0; 1];
            entropy.fill(&mut chance);
            usize::from(chance[0]) % (writes + 1)
        });
        // Whatever the old process still waits for, it gets from the old disk.
        old.mend();
        self.app = None;
        pass(outage).await;
        self.open().await.unwrap();
    }

    /// The wall clock of the gateway goes wrong by this much; Smartcar's does not.
    pub(crate) fn set_clock(&self, ahead: i64) {
        self.clock.ahead_ms.store(ahead * 1000, Ordering::Relaxed);
    }

    /// Starts all loops.
    pub(crate) fn start(&mut self) {
        self.start_projecting();
        self.start_but_projecting();
    }

    /// Starts all loops but the follower of the log.
    pub(crate) fn start_but_projecting(&mut self) {
        self.start_refreshing();
        let (vehicles, stop) = (self.services().rooms.vehicles.clone(), self.stop.clone());
        self.loops.push(tokio::spawn(async move { vehicles.run(stop).await }));
        let (commands, stop) = (self.services().rooms.commands.clone(), self.stop.clone());
        self.loops.push(tokio::spawn(async move { commands.run(stop).await }));
        let (connect, stop) = (self.services().rooms.connect.clone(), self.stop.clone());
        self.loops.push(tokio::spawn(async move { connect.run(stop).await }));
        let (audit, stop) = (self.services().rooms.audit.clone(), self.stop.clone());
        self.loops.push(tokio::spawn(async move { audit.run(stop).await }));
        let (notices, stop) = (self.app().notices().clone(), self.stop.clone());
        self.loops.push(tokio::spawn(async move { notices.run(stop).await }));
        let (gaps, stop) = (self.app().gaps().clone(), self.stop.clone());
        self.loops.push(tokio::spawn(async move { gaps.run(stop).await }));
    }

    /// Starts the loop that renews tokens.
    pub(crate) fn start_refreshing(&mut self) {
        let (tokens, stop) = (self.app().tokens().clone(), self.stop.clone());
        self.loops.push(tokio::spawn(async move { tokens.run(stop).await }));
    }

    /// Starts the follower of the log.
    pub(crate) fn start_projecting(&mut self) {
        let (projector, stop) = (self.app().projector().clone(), self.stop.clone());
        self.loops.push(tokio::spawn(async move { projector.run(stop).await }));
    }

    /// Lets the follower read the log to its end.
    pub(crate) async fn catch_up(&self) {
        self.app().projector().catch_up().await.unwrap();
    }

    /// Checks what must hold after every story, and stops.
    pub(crate) async fn finish(mut self) {
        self.disk.mend();
        self.app().store().tend().await;
        self.catch_up().await;
        let status = self.get("/api/v1/status").local().send().await.json();
        assert_eq!(status["webhooks"]["projector_lag"], 0, "{status}");
        let vehicles = self.get("/api/v1/vehicles?limit=500").local().send().await.json();
        for vehicle in vehicles["items"].as_array().unwrap() {
            self.keep_secret(vehicle["vin"].as_str().unwrap_or_default());
        }
        self.stop().await;
        self.check_for_leaks();
    }

    fn check_for_leaks(&mut self) {
        self.checked = true;
        let mut secrets = self.secrets.lock().unwrap().clone();
        secrets.extend(self.net.secrets());
        self.log.check(&secrets);
        let accounts = self.simulator.accounts().into_iter();
        secrets.extend(accounts.flat_map(|account| account.vehicle_ids.into_iter().chain([account.user_id, account.email])));
        leaks::check("the disk", &self.disk.bytes(), &secrets);
    }

    pub(crate) fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    pub(crate) fn services(&self) -> &Services {
        self.app().services()
    }

    /// The time by the wall clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A text that must be neither on the disk nor in the log.
    pub(crate) fn keep_secret(&self, secret: &str) {
        if !secret.is_empty() {
            self.secrets.lock().unwrap().push(secret.to_owned());
        }
    }

    /// What was logged so far.
    pub(crate) fn logged(&self) -> String {
        self.log.text()
    }

    // === Requests ===

    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        let peer = Peer::Remote { address: "198.51.100.7".parse().unwrap(), tls: true };
        let head = Request::builder().method(method).uri(path).header(header::HOST, HOST).body(()).unwrap();
        Ask { gateway: self, peer, head, body: Bytes::new() }
    }

    pub(crate) fn get(&self, path: &str) -> Ask<'_> {
        self.ask("GET", path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Ask<'_> {
        self.ask("POST", path).json(body)
    }

    /// What an administrator is told.
    pub(crate) async fn told(&self, path: &str) -> Value {
        let answer = self.get(path).bearer(&self.admin).send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Makes an API token.
    pub(crate) async fn create_token(&self, request: &Value) -> String {
        let answer = self.post("/api/v1/tokens", request).local().send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        self.keep_secret(&token);
        token
    }

    // === Webhooks ===

    /// The management token of the run.
    pub(crate) fn management_token(&self) -> String {
        self.simulator.settings().application.management_token.clone()
    }

    /// A delivery, signed as Smartcar does.
    pub(crate) fn delivery(&self, body: impl Into<Bytes>) -> Ask<'_> {
        let body = body.into();
        let signature = sign_with(&self.management_token(), &body);
        self.ask("POST", WEBHOOK).body(body).header("sc-signature", &signature)
    }

    /// Delivers what must be accepted; returns its place.
    pub(crate) async fn deliver(&self, event: &Value) -> u64 {
        let answer = self.delivery(event.to_string()).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["status"], "accepted", "{answer}");
        answer["seq"].as_u64().unwrap()
    }

    // === Connect ===

    /// A link for an owner, who is made if there is none of that id.
    pub(crate) async fn invite(&self, request: &Value) -> String {
        let answer = self.post("/api/v1/connect", request).bearer(&self.admin).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let url = answer.json()["url"].as_str().unwrap().to_owned();
        let path = url.strip_prefix("https://gateway.example").unwrap().to_owned();
        self.keep_secret(path.rsplit('/').next().unwrap());
        path
    }

    /// Opens an invite in a browser.
    pub(crate) async fn begin(&self, invite: &str) -> Trip {
        let answer = self.get(invite).send().await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        self.keep_secret(cookie.split_once('=').unwrap().1);
        let authorize = Url::parse(answer.header("location").unwrap()).unwrap();
        let state = authorize.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        self.keep_secret(&state);
        Trip { authorize, cookie, state }
    }

    /// Comes back from Smartcar; returns the answer of the callback.
    pub(crate) async fn back(&self, trip: &Trip, location: &str) -> Answer {
        let url = Url::parse(location).unwrap();
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        self.get(&path).header("cookie", &trip.cookie).send().await
    }

    /// An owner goes all the way; returns the id of the connection.
    pub(crate) async fn connect(&self, user: &str, account: &str) -> String {
        let invite = self.invite(&json!({ "user": user, "create": true })).await;
        let trip = self.begin(&invite).await;
        let location = self.simulator.consent(trip.authorize.as_str(), account).await.unwrap();
        let answer = self.back(&trip, &location).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        let connections = self.told("/api/v1/connections?limit=500").await;
        let email = self.simulator.accounts().into_iter().find(|known| known.email == account).unwrap();
        let connection = connections["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|connection| connection["smartcar_user_id"] == email.user_id.as_str() && connection["user"] == user);
        let done = self.get(answer.header("location").unwrap()).send().await.text();
        connection.unwrap_or_else(|| panic!("{account} is not connected: {done}"))["id"].as_str().unwrap().to_owned()
    }

    /// The vehicles of an account, by Smartcar's ids.
    pub(crate) fn vehicles_of(&self, account: &str) -> Vec<String> {
        self.simulator.accounts().into_iter().find(|known| known.email == account).unwrap().vehicle_ids
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.seed);
        } else {
            assert!(self.checked, "a story must end with finish()");
        }
    }
}

/// The id of a connection, as the rooms take it.
pub(crate) fn connection_id(text: &str) -> ConnectionId {
    ConnectionId::parse(text).unwrap()
}

/// A trip through Connect that has begun.
#[derive(Debug)]
pub(crate) struct Trip {
    pub(crate) authorize: Url,
    pub(crate) cookie: String,
    pub(crate) state: String,
}

/// A request in the making.
#[must_use]
pub(crate) struct Ask<'g> {
    gateway: &'g TestGateway,
    peer: Peer,
    head: Request<()>,
    body: Bytes,
}

impl Ask<'_> {
    /// From the user that runs the gateway, over its own socket.
    pub(crate) fn local(mut self) -> Self {
        self.peer = Peer::ourselves();
        self
    }

    /// From this address, over TLS or not.
    pub(crate) fn from(mut self, address: &str, tls: bool) -> Self {
        self.peer = Peer::Remote { address: address.parse().unwrap(), tls };
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.head.headers_mut().append(name, value.parse().unwrap());
        self
    }

    /// The same once more.
    pub(crate) fn again(&self) -> Self {
        Ask { gateway: self.gateway, peer: self.peer, head: self.head.clone(), body: self.body.clone() }
    }

    /// Takes a header away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.head.headers_mut().remove(name);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = crate::simulator::rig::encode(fields);
        self.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    pub(crate) async fn send(mut self) -> Answer {
        let body = Full::new(std::mem::take(&mut self.body));
        self.send_body(body).await
    }

    /// Sends it, and leaves the answer's body to be read as it comes.
    pub(crate) async fn open(mut self) -> http::Response<web::Body> {
        let body = Full::new(std::mem::take(&mut self.body));
        web::handle(self.gateway.services(), self.peer, self.head.map(|()| body)).await
    }

    /// Sends a body of one's own making.
    pub(crate) async fn send_body<B>(self, body: B) -> Answer
    where
        B: hyper::body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let gateway = self.gateway;
        let asked = format!("{} {}", self.head.method(), self.head.uri());
        let response = web::handle(gateway.services(), self.peer, self.head.map(|()| body)).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() };
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{asked}");
        }
        assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none'; "), "{asked}");
        assert!(answer.header("cache-control").is_some(), "{asked}");
        assert_eq!(answer.header("x-request-id").unwrap().len(), 36, "{asked}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        for token in gateway.net.tokens() {
            assert!(!text.contains(&token), "{asked} hands out a token of Smartcar");
        }
        answer
    }
}

/// Lets simulated time pass.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Whether all samples are to be tried, and not only some.
pub(crate) fn is_long() -> bool {
    std::env::var_os("CARPORT_LONG").is_some()
}

/// An answer is a problem of this status and code, with every field of the contract.
#[track_caller]
pub(crate) fn is_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    let names: Vec<&String> = problem.as_object().unwrap().keys().collect();
    assert_eq!(names, ["code", "detail", "request_id", "status", "title", "type"]);
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"));
    assert!(problem["detail"].as_str().unwrap().ends_with(['.', '!', '?']), "{problem}");
}
