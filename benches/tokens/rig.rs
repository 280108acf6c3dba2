//! A gateway whose Smartcar answers everybody, and what the kernel knows of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use carport::app::App;
use carport::config::{self, Overrides, Sources};
use carport::model::event::Grammar;
use carport::model::{AppUserId, Secret, Timestamp};
use carport::smartcar::Granted;
use carport::store;
use carport::vault::MasterKey;
use carport::world::{Clock, SystemEntropy, Transport, TransportError, World};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const LIFE: Duration = Duration::from_secs(7200);

pub(crate) struct Rig {
    app: App,
    smartcar: Arc<Answering>,
    stop: CancellationToken,
    running: JoinHandle<()>,
    directory: PathBuf,
}

#[derive(Debug)]
struct Moving(Instant);

impl Clock for Moving {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_760_000_000_000).after(self.0.elapsed())
    }
}

#[derive(Debug, Default)]
struct Answering(AtomicUsize);

impl Transport for Answering {
    fn send(&self, _: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let token = |kind: &str| format!("{kind}aaaaaaaa-0000-4000-8000-{number:012}");
        let (access, refresh) = (token("a"), token("r"));
        let body = format!(r#"{{"access_token":"{access}","refresh_token":"{refresh}","expires_in":7200}}"#);
        async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(Response::new(Bytes::from(body)))
        }
        .boxed()
    }
}

impl Rig {
    pub(crate) async fn with(size: usize) -> anyhow::Result<Rig> {
        let directory = std::env::temp_dir().join(format!("carport-tokens-{}-{size}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let overrides = [("smartcar.v2.client_id", "an-application"), ("smartcar.v2.client_secret", "a-secret")]
            .into_iter()
            .fold(Overrides::default(), |overrides, (key, value)| overrides.set(key, value, "the bench"));
        let config = config::load(&Sources { overrides, directory: directory.clone(), ..Sources::default() })?;
        let smartcar = Arc::new(Answering::default());
        let world =
            World { clock: Arc::new(Moving(Instant::now())), entropy: Arc::new(SystemEntropy), transport: smartcar.clone() };
        let key = MasterKey::generate(&SystemEntropy);
        let settings = store::Settings { inline: true, ..store::Settings::default() };
        let app = App::build_over(&config, world, &key, store::directory(&directory), settings, Grammar::CURRENT).await?;
        let tokens = app.tokens().clone();
        for number in 0..size {
            let granted = Granted {
                access: Secret::new(format!("aaaaaaaa-0000-4000-8000-{number:012}")),
                expires_in: LIFE,
                refresh: Some(Secret::new(format!("bbbbbbbb-0000-4000-8000-{number:012}"))),
            };
            tokens.adopt(&AppUserId::new(format!("owner-{number}")), granted, None, false).await?;
        }
        let (stop, smartcar_of_rig) = (CancellationToken::new(), smartcar);
        let until = stop.clone();
        let running = tokio::spawn(async move { tokens.run(until).await });
        Ok(Rig { app, smartcar: smartcar_of_rig, stop, running, directory })
    }

    /// How many refreshes were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.smartcar.0.load(Ordering::Relaxed)
    }

    pub(crate) fn remembered(&self) -> usize {
        self.app.tokens().remembered()
    }

    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.running.await?;
        self.app.close().await;
        Ok(std::fs::remove_dir_all(&self.directory)?)
    }
}

pub(crate) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// For how long the processor was busy with this thread, which does all of the work.
pub(crate) fn busy() -> anyhow::Result<Duration> {
    // The kernel adds up when it chooses who runs next.
    std::thread::yield_now();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = told.split_whitespace().next().context("no time in schedstat")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// What is in memory, in KiB.
pub(crate) fn memory() -> anyhow::Result<u64> {
    let told = std::fs::read_to_string("/proc/self/status")?;
    let line = told.lines().find(|line| line.starts_with("VmRSS:")).context("no memory in status")?;
    Ok(line.split_whitespace().nth(1).context("no number in status")?.parse()?)
}
