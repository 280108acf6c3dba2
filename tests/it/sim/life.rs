//! A gateway and the machine it runs on, which is switched on and off.
//!
//! Each life has a runtime of its own. It ends as a process does whose power is cut: nothing of it goes on.

use std::cell::Cell;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use carport::app::App;
use carport::config::{self, Config, Overrides, Sources};
use carport::model::event::Grammar;
use carport::simulator::{Settings, Simulator};
use carport::store::{self, Store, StoreError};
use carport::vault::MasterKey;
use carport::world::{Entropy, World};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use super::net::Net;
use super::time::Time;
use crate::simulator::rig::NoEntropy;
use crate::store::disk::{Chance, Disk};

/// How many events the ring of each configuration holds.
pub(super) const RINGS: [u64; 3] = [4, 12, 10_000];

/// The configurations: the last one has credentials of both generations.
static CONFIGS: LazyLock<Vec<Config>> = LazyLock::new(|| RINGS.into_iter().map(configure).collect());

fn configure(events: u64) -> Config {
    let application = Settings::default().application;
    let mut overrides = Overrides::default()
        .set("public_url", "https://gateway.example", "story")
        .set("smartcar.application_id", &application.application_id, "story")
        .set("smartcar.v2.client_id", &application.application_id, "story")
        .set("smartcar.v2.client_secret", &application.v2_client_secret, "story")
        .set("smartcar.application_management_token", &application.management_token, "story")
        .set("webhooks.keep_events", events.to_string(), "story")
        .set("limits.callback", "100000/m", "story");
    if events == RINGS[2] {
        overrides = overrides.set("smartcar.v3.client_id", &application.v3_client_id, "story").set(
            "smartcar.v3.client_secret",
            &application.v3_client_secret,
            "story",
        );
    }
    for origin in ["connect", "auth", "iam", "api", "vehicle", "management", "management_v3"] {
        overrides = overrides.set(&format!("smartcar.origins.{origin}"), "https://smartcar.test", "story");
    }
    config::load(&Sources { overrides, directory: "/nowhere".into(), ..Sources::default() }).unwrap()
}

/// Chance that is the same for the same seed.
#[derive(Debug)]
struct Dice(Mutex<Chance>);

impl Entropy for Dice {
    fn fill(&self, out: &mut [u8]) {
        let mut chance = self.0.lock().unwrap();
        out.fill_with(|| chance.next().to_le_bytes()[0]);
    }
}

/// The machine.
pub(super) struct Machine {
    pub(super) disk: Disk,
    pub(super) net: Net,
    pub(super) time: Time,
    pub(super) simulator: Simulator,
    pub(super) ring: usize,
    /// Whether first pictures of vehicles are read.
    takes_pictures: bool,
    dice: Arc<Dice>,
    key: MasterKey,
    life: Option<Life>,
    /// After so much time of the running step, the power goes.
    cut_after: Cell<Option<Duration>>,
}

struct Life {
    // Dropped first: what ran must not outlive what it ran on.
    runtime: Runtime,
    app: App,
    stop: CancellationToken,
    loops: Vec<tokio::task::JoinHandle<()>>,
}

impl Machine {
    pub(super) fn new(seed: u64, chance: &mut Chance, is_lying: bool) -> Machine {
        let (time, dice) = (Time::new(), Arc::new(Dice(Mutex::new(chance.split()))));
        let nobody = World { clock: time.truth(), entropy: Arc::new(NoEntropy), transport: Arc::new(NoTransport) };
        // Slow cars: what they do is of no interest.
        let simulator = Simulator::new(nobody, Settings { seed, speed: 0.001, ..Settings::default() });
        let disk = Disk::new(chance.split());
        let net = Net::new(simulator.clone(), time.clone(), disk.clone(), is_lying);
        let key = MasterKey::generate(&*dice);
        let (ring, takes_pictures) = (chance.below(RINGS.len()), chance.percent(4));
        Machine { disk, net, time, simulator, ring, takes_pictures, dice, key, life: None, cut_after: Cell::new(None) }
    }

    fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }

    pub(super) fn app(&self) -> &App {
        &self.life().app
    }

    pub(super) fn store(&self) -> Store {
        self.app().store().clone()
    }

    pub(super) fn caller(&self) -> Caller {
        Caller::new(self.app().services().clone(), self.simulator.settings().application.management_token.clone())
    }

    /// Switches it on. `None` if the power was cut meanwhile.
    pub(super) fn switch_on(&mut self) -> Option<Result<(), StoreError>> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        self.net.begin(self.disk.clone());
        let built = runtime.block_on(async {
            self.time.runs();
            let world = World { clock: self.time.wall(), entropy: self.dice.clone(), transport: Arc::new(self.net.clone()) };
            let settings = store::Settings { inline: true, ..store::Settings::default() };
            App::build_over(&CONFIGS[self.ring], world, &self.key, Arc::new(self.disk.clone()), settings, Grammar::CURRENT).await
        });
        match built {
            Ok(app) => {
                let stop = CancellationToken::new();
                let loops = start(&runtime, &app, &stop, self.takes_pictures);
                self.life = Some(Life { runtime, app, stop, loops });
                if self.is_off() {
                    return None;
                }
                Some(Ok(()))
            }
            Err(error) => {
                let _context = runtime.enter();
                self.time.stands();
                if self.is_off() { None } else { Some(Err(error)) }
            }
        }
    }

    /// Whether the power has gone.
    pub(super) fn is_off(&self) -> bool {
        self.disk.left().is_some()
    }

    /// Does something on it; `None` if the power went before it was done.
    pub(super) fn run<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        let bell = self.disk.bell();
        let cut_after = self.cut_after.take();
        let done = self.life().runtime.block_on(async {
            tokio::select! {
                biased;
                () = bell.notified() => None,
                () = tokio::time::sleep(cut_after.unwrap_or_default()), if cut_after.is_some() => {
                    self.disk.cut();
                    None
                }
                done = what => Some(done),
            }
        });
        if self.is_off() { None } else { done }
    }

    /// Cuts the power after so much time of what is done next.
    pub(super) fn cut_after(&self, time: Duration) {
        self.cut_after.set(Some(time));
    }

    /// Looks at something that knows the time.
    pub(super) fn with_time<T>(&self, look: impl FnOnce() -> T) -> T {
        let _context = self.life.as_ref().map(|life| life.runtime.enter());
        look()
    }

    /// Ends this life, and takes what the power cut has left.
    pub(super) fn switch_off(&mut self) {
        self.cut_after.set(None);
        self.disk.cut();
        if let Some(life) = self.life.take() {
            {
                let _context = life.runtime.enter();
                self.time.stands();
            }
            drop(life);
        }
        let left = self.disk.left().unwrap();
        self.disk = left;
    }

    /// Stops as it should. `None` if the power went before.
    pub(super) fn stop(&mut self) -> Option<()> {
        let loops = std::mem::take(&mut self.life.as_mut().unwrap().loops);
        let (stop, app) = (self.life().stop.clone(), &self.life().app);
        self.run(async {
            stop.cancel();
            for task in loops {
                task.await.unwrap();
            }
            app.tokens().tasks().close();
            app.tokens().tasks().wait().await;
            app.close().await;
        })?;
        let life = self.life.take().unwrap();
        {
            let _context = life.runtime.enter();
            self.time.stands();
        }
        Some(())
    }
}

/// Starts all loops, as the gateway does.
fn start(runtime: &Runtime, app: &App, stop: &CancellationToken, takes_pictures: bool) -> Vec<tokio::task::JoinHandle<()>> {
    let mut loops = Vec::new();
    let (tokens, shutdown) = (app.tokens().clone(), stop.clone());
    loops.push(runtime.spawn(async move { tokens.run(shutdown).await }));
    let (projector, shutdown) = (app.projector().clone(), stop.clone());
    loops.push(runtime.spawn(async move { projector.run(shutdown).await }));
    let (connect, shutdown) = (app.services().rooms.connect.clone(), stop.clone());
    loops.push(runtime.spawn(async move { connect.run(shutdown).await }));
    if takes_pictures {
        let (vehicles, shutdown) = (app.services().rooms.vehicles.clone(), stop.clone());
        loops.push(runtime.spawn(async move { vehicles.run(shutdown).await }));
    }
    let (store, shutdown) = (app.store().clone(), stop.clone());
    loops.push(runtime.spawn(async move {
        while !shutdown.is_cancelled() {
            store.tend().await;
            // More seldom than in earnest while all is well: simulated days are many.
            let rest = Duration::from_secs(if store.is_healthy() { 30 } else { 1 });
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }));
    loops
}

/// The simulator sends nothing by itself.
#[derive(Debug)]
struct NoTransport;

impl carport::world::Transport for NoTransport {
    fn send(
        &self,
        _: http::Request<bytes::Bytes>,
        _: Duration,
    ) -> futures_util::future::BoxFuture<'_, Result<http::Response<bytes::Bytes>, carport::world::TransportError>> {
        unreachable!("there is no webhook")
    }
}
