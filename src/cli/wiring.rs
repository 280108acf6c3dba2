//! Where the command line meets the application: the only calls from here into the rooms below.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::client::Handler;
use super::reread::Rereading;
use super::{Exit, Failure, Place, greeting};
use crate::app::{self, App, AppError, Keys, Reload};
use crate::config::{Config, Credentials, Origins, Sources};
use crate::metrics::Metrics;
use crate::operate::key_files::KeyError;
use crate::operate::probes;
pub use crate::operate::probes::Answered as Probe;
use crate::smartcar;
use crate::store::{self, Inspected, Part, Store, StoreError};
use crate::tls::TlsError;
use crate::web::{self, Peer};
use crate::world::{TransportError, World};

/// An application without listeners, for administrative commands while no server runs. Makes the data
/// directory if there is none: whether that is wanted was asked before.
pub async fn application(config: Config) -> Result<Arc<dyn Handler>, Failure> {
    let app = App::build(&config, world()?).await?;
    Ok(Arc::new(InProcess(app)))
}

struct InProcess(App);

impl Handler for InProcess {
    fn handle(&self, request: Request<Bytes>) -> BoxFuture<'_, Response<web::Body>> {
        web::handle(self.0.services(), Peer::ourselves(), request.map(Full::new)).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close().boxed()
    }
}

/// Makes the data directory, where nothing speaks against a start.
pub async fn prepare(config: &Config, place: &Place) -> Result<(), Failure> {
    // A busy port must not leave a new store and its key behind. Where there is a store, who has it is told first.
    if !is_there(config) {
        App::try_to_bind(config, &place.supervisor).await?;
    }
    Ok(app::make_data_dir(&config.data_dir)?)
}

/// Runs the gateway until it is told to stop.
pub async fn serve(config: Config, sources: Sources, place: &Place) -> Result<(), Failure> {
    let mut app = App::build(&config, world()?).await?;
    app.supervised_by(place.supervisor.clone());
    let config = app.config().clone();
    app.bind(&config).await?;
    let rereading = Rereading::new(Reload::of(&app), sources, place.supervisor.clone());
    let shutdown = until_told(Hangup::Rereads(Box::new(rereading)), || ())?;
    greeting::say(&config, &app, place).await;
    Ok(app.run(shutdown).await?)
}

/// Tries client credentials (v3) at Smartcar's token endpoint.
pub async fn probe(credentials: &Credentials, origins: &Origins) -> Probe {
    let world = match World::system() {
        Ok(world) => world,
        Err(error) => return Probe::Unreachable(error.to_string()),
    };
    let Credentials { client_id, client_secret, .. } = credentials.clone();
    let settings = smartcar::Settings {
        v3: Some(smartcar::Credentials { client_id, client_secret }),
        origins: smartcar::Origins { iam: origins.iam.as_str().trim_end_matches('/').to_owned(), ..smartcar::Origins::default() },
        ..smartcar::Settings::default()
    };
    probes::credentials(&settings, &world).await
}

/// Whether there is a store.
pub(super) fn is_there(config: &Config) -> bool {
    app::there_is_a_store(&config.data_dir)
}

/// The master key, and the next one if it is being replaced; `None` if there is none yet.
pub(super) fn keys(config: &Config) -> Result<Option<Keys>, KeyError> {
    Keys::find(config)
}

/// Looks at the store and changes nothing.
pub(super) fn inspect(config: &Config, keys: &Keys) -> Result<Inspected, StoreError> {
    let world = World::system().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Store::inspect(&config.data_dir, &keys.vault(world.entropy.as_ref()), &world)
}

/// What is left to do.
const BEYOND_REPAIR: &str = "it cannot be repaired as it is: if carport.journal-a or -b is elsewhere, bring it back; else put a backup of \
                             the data directory in its place, or move all three files away to begin anew, and owners connect again";

/// Saves what can be read of a damaged store; returns what was found.
pub(super) async fn repair(config: &Config) -> Result<Vec<String>, Failure> {
    let world = world()?;
    let keys = Keys::find(config).map_err(AppError::from)?.ok_or_else(|| KeyError::Missing(config.key.file.clone()));
    let vault = keys.map_err(AppError::from)?.vault(world.entropy.as_ref());
    let settings = store::Settings { repair: true, ..store::Settings::default() };
    let opened = Store::open(&config.data_dir, settings, vault, &world, Arc::new(Metrics::new()));
    let store = opened.map_err(|error| {
        let is_beyond = matches!(error, StoreError::NotAStore(_) | StoreError::Damaged { .. });
        let error = AppError::Store { path: config.data_dir.join(Part::Tables.name()), error };
        if is_beyond { Failure::new(Exit::Damaged, format!("{error}; {BEYOND_REPAIR}")) } else { Failure::from(error) }
    })?;
    let findings = store.findings();
    store.close().await;
    Ok(findings)
}

/// The real world.
pub(super) fn world() -> Result<World, Failure> {
    Ok(World::system()?)
}

/// What SIGHUP means, which a terminal sends when it is closed.
#[derive(Debug)]
pub(super) enum Hangup {
    /// Nothing.
    Ignored,
    /// Certificate and configuration are read again.
    Rereads(Box<Rereading>),
    /// The same as SIGTERM.
    #[cfg_attr(not(feature = "simulator"), expect(dead_code, reason = "only what is played with stops"))]
    Stops,
}

/// A token that the first SIGTERM or SIGINT cancels; the second one ends the process at once, after `at_the_end`.
pub(super) fn until_told(hangup: Hangup, at_the_end: impl FnOnce() + Send + 'static) -> Result<CancellationToken, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("cannot wait for signals: {error}"));
    let (mut term, mut int) =
        (signal(SignalKind::terminate()).map_err(failed)?, signal(SignalKind::interrupt()).map_err(failed)?);
    let hangup = match hangup {
        Hangup::Stops if outlives_its_terminal() => Hangup::Ignored,
        other => other,
    };
    // Left alone, SIGHUP would end the process.
    let mut hup = signal(SignalKind::hangup()).map_err(failed)?;
    let shutdown = CancellationToken::new();
    let told = shutdown.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
                _ = hup.recv() => match &hangup {
                    Hangup::Rereads(rereading) => {
                        rereading.begin().await;
                        continue;
                    }
                    Hangup::Ignored => {
                        tracing::warn!("SIGHUP is ignored");
                        continue;
                    }
                    // A terminal and its shell may both send it, which is no wish to hurry.
                    Hangup::Stops if told.is_cancelled() => continue,
                    Hangup::Stops => {}
                },
            }
            if told.is_cancelled() {
                tracing::warn!("stopped at once");
                at_the_end();
                std::process::exit(Exit::Failed as i32);
            }
            tracing::info!("stopping: what was started is finished first; once more to stop at once");
            told.cancel();
        }
    });
    Ok(shutdown)
}

/// Whether this was started by nohup or its like: with SIGHUP ignored, which a handler of ours would undo.
fn outlives_its_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // A bit for each signal, in hex; the lowest is SIGHUP's.
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1))
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Failure {
        let exit = match &error {
            AppError::Store { error: StoreError::Locked | StoreError::Busy | StoreError::Unavailable(_), .. }
            | AppError::Tls(TlsError::Store(_)) => Exit::TryAgain,
            AppError::Tls(_) | AppError::DataDir { .. } | AppError::Key(KeyError::NotMade { .. }) => Exit::Configuration,
            AppError::Store { .. } | AppError::Key(_) => Exit::Damaged,
            AppError::Bind { error, .. } if error.kind() == ErrorKind::AddrInUse => Exit::TryAgain,
            AppError::Bind { .. } | AppError::Stopped => Exit::Failed,
        };
        Failure::new(exit, error.to_string())
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Failure {
        AppError::from(error).into()
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Failure {
        Failure::new(Exit::Failed, error.to_string())
    }
}

/// How long a sign-in link on the screen can be used.
pub(super) const SIGN_IN: Duration = Duration::from_secs(15 * 60);
