//! The house put together: builds every room once, bottom-up, starts the tasks, stops them top-down.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::commands::Commands;
use crate::compat::Compat;
use crate::config::Config;
use crate::connect::Connect;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::model::Current;
use crate::model::event::Grammar;
use crate::operate::access::Access;
use crate::operate::audit::Audit;
use crate::operate::deliveries::Deliveries;
use crate::operate::gaps::Gaps;
use crate::operate::key_files::KeyError;
use crate::operate::notices::Notices;
use crate::operate::probes::Probes;
use crate::operate::rotation::Rotation;
use crate::operate::status::Status;
use crate::projector::Projector;
use crate::smartcar::Smartcar;
use crate::store::retention::Keep;
use crate::store::{self, Files, Part, Store, StoreError};
use crate::supervisor::Supervisor;
use crate::tls::{self, Tls, TlsError};
use crate::tokens::Tokens;
use crate::vault::MasterKey;
use crate::vehicles::Vehicles;
use crate::web::server::{self, Listen, Listener};
use crate::web::{Rooms, Services};
use crate::world::World;

mod keys;
mod listeners;
mod live;
mod loops;
mod making;
pub(crate) mod settings;

use loops::{tend, trim, verify};

pub use keys::Keys;
pub(crate) use live::made;
pub use live::{Reload, Reloaded};

use listeners::{bind, dress, places};
use live::{Live, State};
use making::Maker;

/// Why the house cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The data directory cannot be used.
    #[error("the data directory {} cannot be used ({error}): set data_dir to a directory that this user can write", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The master key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be opened.
    #[error("{path}: {error}", path = path.display())]
    Store {
        /// Which.
        path: PathBuf,
        /// Why.
        error: StoreError,
    },
    /// A part of the running gateway ended by itself.
    #[error("a part of the gateway ended by itself; the log says why")]
    Stopped,
    /// There is no certificate to begin with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A listener cannot be bound.
    #[error("cannot listen on {listen} ({error}): {}", to_listen(error))]
    Bind {
        /// Where.
        listen: String,
        /// Why.
        error: io::Error,
    },
}

fn to_listen(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "ports below 1024 are opened for it by carport.socket (examples/systemd)",
        io::ErrorKind::AddrNotAvailable => "choose an address of this machine",
        io::ErrorKind::NotFound => "make the directory that the socket is to lie in, or choose another",
        _ => "stop what listens there, or choose another address",
    }
}

/// The gateway, built but not yet running.
#[derive(Debug)]
pub struct App {
    services: Services,
    store: Store,
    tokens: Tokens,
    projector: Projector,
    notices: Notices,
    gaps: Gaps,
    keep: Keep,
    tls: Option<Tls>,
    supervisor: Supervisor,
    listeners: Vec<Listener>,
    live: Arc<Live>,
    config: Config,
}

impl App {
    /// Opens the store and builds every room. Makes data directory and master key if they are missing.
    pub async fn build(config: &Config, world: World) -> Result<App, AppError> {
        make_data_dir(&config.data_dir)?;
        warn_of_open_doors(&config.data_dir);
        let files = store::directory(&config.data_dir);
        let keys = Keys::find_or_make(config, there_is_a_store(&config.data_dir), world.entropy.as_ref())?;
        let built = App::assemble(config, world, &keys, files, store::Settings::default(), Grammar::CURRENT).await;
        built.map_err(|error| AppError::Store { path: config.data_dir.join(Part::Tables.name()), error })
    }

    /// Builds every room over a store at any place, a directory or a disk of the caller's own making, to read events
    /// by any grammar.
    pub async fn build_over(
        config: &Config,
        world: World,
        key: &MasterKey,
        files: Arc<dyn Files>,
        settings: store::Settings,
        grammar: Grammar,
    ) -> Result<App, StoreError> {
        let keys = Keys { key: key.clone(), next: None };
        App::assemble(config, world, &keys, files, settings, grammar).await
    }

    #[expect(clippy::too_many_lines, reason = "one for each room")]
    async fn assemble(
        written: &Config,
        world: World,
        keys: &Keys,
        files: Arc<dyn Files>,
        settings: store::Settings,
        grammar: Grammar,
    ) -> Result<App, StoreError> {
        let settings = store::Settings { min_free: written.min_free, ..settings };
        let metrics = Arc::new(Metrics::new());
        let vault = keys.vault(world.entropy.as_ref());
        let store = Store::open_at(files, settings, vault.clone(), &world, metrics.clone())?;
        let made = live::kept(&store).await;
        let (config, left_out) = written.with_what_fits(&made);
        let config = &config;
        for mistake in left_out {
            tracing::warn!("a setting made on the set-up page does not fit what is configured now, and is left out: {mistake}");
        }
        let budget = Budget::new(settings::budget(config), store.clone(), world.clone(), metrics.clone());
        let (observer, ledger) = (metrics.clone(), budget.clone());
        let smartcar = Smartcar::new(world.transport.clone(), settings::smartcar(config))
            .rereading(settings::client_secrets(config))
            .observed(Arc::new(move |endpoint, status| {
                observer.smartcar_request(endpoint, status);
                ledger.observe(endpoint);
            }));
        let linked = Arc::new(Notify::new());

        let rotation = Rotation::new(settings::rotation(config, &keys.key), store.clone(), vault.clone(), world.clone());
        let tokens =
            Tokens::new(settings::tokens(config), store.clone(), vault, smartcar.clone(), world.clone(), metrics.clone());
        let ingest = Ingest::new(settings::ingest(config), store.clone(), world.clone(), metrics.clone()).await;
        let projector = Projector::new(store.clone(), settings::ring(config), grammar);
        let connect = Connect::new(
            settings::connect(config),
            store.clone(),
            tokens.clone(),
            smartcar.clone(),
            projector.clone(),
            world.clone(),
            linked.clone(),
        );
        let vehicles = Vehicles::new(
            settings::vehicles(config),
            store.clone(),
            tokens.clone(),
            smartcar.clone(),
            budget.clone(),
            world.clone(),
            linked.clone(),
        );
        let commands = Commands::new(store.clone(), tokens.clone(), budget.clone(), world.clone());
        let access = Access::new(settings::access(config), store.clone(), world.clone());
        let audit = Audit::new(store.clone(), world.clone());
        let deliveries = Deliveries::new(store.clone(), ingest.clone(), projector.clone());
        let notices = Notices::new(store.clone(), tokens.clone(), smartcar.clone(), world.clone());
        let gaps = Gaps::new(store.clone(), ingest.clone(), world.clone(), linked);
        let status = Status::new(
            settings::status(config),
            store.clone(),
            ingest.clone(),
            tokens.clone(),
            smartcar.clone(),
            budget.clone(),
            world.clone(),
            metrics.clone(),
        );
        let compat = Compat::new(settings::compat(config), vehicles.clone(), commands.clone(), world.clone());
        let probes = Probes::new(settings::probes(config), world.clone());
        let edge = Current::new(settings::web(config));
        let live = Arc::new(Live {
            edge: edge.clone(),
            smartcar: smartcar.clone(),
            tokens: tokens.clone(),
            ingest: ingest.clone(),
            connect: connect.clone(),
            vehicles: vehicles.clone(),
            status: status.clone(),
            probes: probes.clone(),
            store: store.clone(),
            world: world.clone(),
            tls: OnceLock::new(),
            state: Mutex::new(State::new(written.clone(), made, config.clone())),
            turn: tokio::sync::Mutex::default(),
        });
        let making = Arc::new(Maker(live.clone()));
        let rooms = Rooms {
            ingest,
            connect,
            vehicles,
            commands,
            budget,
            compat,
            access,
            audit,
            deliveries,
            status,
            rotation,
            probes,
            making,
        };
        let services = Services::new(edge, world, metrics, rooms);
        Ok(App {
            services,
            store,
            tokens,
            projector,
            notices,
            gaps,
            keep: config.history,
            tls: None,
            supervisor: Supervisor::default(),
            listeners: Vec::new(),
            live,
            config: config.clone(),
        })
    }

    /// What the edge calls: for requests without a socket.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Where everything is kept.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The door to access tokens, and the refresh loop.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The follower of the webhook log.
    pub fn projector(&self) -> &Projector {
        &self.projector
    }

    /// What it was built by: the configuration, with what was made on the set-up page.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Who gives notices.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Who looks for times in which deliveries may have been lost.
    pub fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// Our own certificate, once listeners are bound; `None` without TLS.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Has whoever started us open sockets, and hear how we are.
    pub fn supervised_by(&mut self, supervisor: Supervisor) {
        self.supervisor = supervisor;
    }

    /// Binds every listener and the socket for commands, so that a busy port is known before anything starts.
    pub async fn bind(&mut self, config: &Config) -> Result<(), AppError> {
        let bound = bind(places(config), &self.supervisor).await?;
        for address in self.supervisor.untaken() {
            tracing::warn!(%address, "a socket was opened for us that no setting names: add its address to `listen`, or have it opened no more (systemctl disable --now carport.socket)");
        }
        if let Some(settings) = &config.tls {
            let tls = Tls::open(settings.clone(), self.store.clone(), self.services.world.clone()).await?;
            self.tls = Some(self.live.tls.get_or_init(|| tls).clone());
        }
        self.listeners = bound.into_iter().map(|(place, listener)| dress(config, place, listener, self.tls.as_ref())).collect();
        // Cars matter more than commands: a path that is too long for a socket must not stop the gateway.
        match Listener::bind(&Listen::Control(config.socket.clone())).await {
            Ok(listener) => self.listeners.push(listener),
            Err(error) => tracing::warn!(%error, "commands cannot reach this server: its socket cannot be made"),
        }
        Ok(())
    }

    /// Binds every listener and lets go of it, so that what is busy or wrong is known before anything is made.
    pub async fn try_to_bind(config: &Config, supervisor: &Supervisor) -> Result<(), AppError> {
        config.tls.as_ref().map_or(Ok(()), tls::Settings::try_out)?;
        let is_free = |listen: &Listen| !matches!(listen, Listen::Tcp(address) if supervisor.has(*address));
        match bind(places(config).filter(|(_, listen)| is_free(listen)), &Supervisor::default()).await {
            // A socket file may lie in the data directory, which is not there yet.
            Err(AppError::Bind { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            tried => tried.map(drop),
        }
    }

    /// The listeners that are bound.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Runs until `shutdown`, then stops top-down: listeners first, so that started requests end; then the
    /// loops; then what Smartcar may have answered reaches the disk; the store last. A part that ends by
    /// itself stops everything: better a restart than a gateway whose tokens run out unseen.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), AppError> {
        let App { services, store, tokens, projector, notices, gaps, keep, tls, supervisor, listeners, .. } = self;
        let loops_stop = CancellationToken::new();
        let custody = tokens.clone();

        let mut loops = JoinSet::new();
        {
            let stop = loops_stop.clone();
            loops.spawn(async move { tokens.run(stop).await });
            let stop = loops_stop.clone();
            loops.spawn(async move { projector.run(stop).await });
            let stop = loops_stop.clone();
            loops.spawn(async move { notices.run(stop).await });
            let stop = loops_stop.clone();
            loops.spawn(async move { gaps.run(stop).await });
            let (status, stop) = (services.rooms.status.clone(), loops_stop.clone());
            loops.spawn(async move { status.run(stop).await });
            let (vehicles, stop) = (services.rooms.vehicles.clone(), loops_stop.clone());
            loops.spawn(async move { vehicles.run(stop).await });
            let (commands, stop) = (services.rooms.commands.clone(), loops_stop.clone());
            loops.spawn(async move { commands.run(stop).await });
            let (connect, stop) = (services.rooms.connect.clone(), loops_stop.clone());
            loops.spawn(async move { connect.run(stop).await });
            match tls {
                Some(tls) => {
                    let stop = loops_stop.clone();
                    loops.spawn(async move { tls.run(stop).await });
                }
                None => tls::forget_notices(&store, &tls::NOTICES).await,
            }
            let (audit, stop) = (services.rooms.audit.clone(), loops_stop.clone());
            loops.spawn(async move { audit.run(stop).await });
            let store_to_verify = store.clone();
            let (store, supervisor, stop) = (store.clone(), supervisor.clone(), loops_stop.clone());
            loops.spawn(async move { tend(&store, &supervisor, stop).await });
            let (store, stop) = (store_to_verify.clone(), loops_stop.clone());
            loops.spawn(async move { verify(&store, stop).await });
            let (store, world, stop) = (store_to_verify, services.world.clone(), loops_stop.clone());
            loops.spawn(async move { trim(&store, &keep, &world, stop).await });
        }
        let mut edge = JoinSet::new();
        for listener in listeners {
            edge.spawn(server::serve(listener, services.clone(), shutdown.clone()));
        }
        services.rooms.rotation.resume().await;
        supervisor.ready();
        let early = tokio::select! {
            () = shutdown.cancelled() => false,
            Some(_) = loops.join_next() => true,
            Some(_) = edge.join_next() => true,
        };
        // Whatever ends in the moment of a stop has ended because of it.
        let early = early && !shutdown.is_cancelled();
        if early {
            tracing::error!("a part of the gateway ended by itself: stopping");
        }
        shutdown.cancel();
        custody.stopping();
        supervisor.stopping();
        while edge.join_next().await.is_some() {}
        loops_stop.cancel();
        while loops.join_next().await.is_some() {}
        custody.stop().await;
        store.close().await;
        if early { Err(AppError::Stopped) } else { Ok(()) }
    }

    /// Waits for what Smartcar may still answer, commits what is queued and closes the store, when nothing was run.
    pub async fn close(&self) {
        self.tokens.stop().await;
        self.store.close().await;
    }
}

/// Whether a data directory holds a store, or what is left of one. What cannot be looked at counts.
pub fn there_is_a_store(data_dir: &Path) -> bool {
    let files = store::directory(data_dir);
    [Part::Tables, Part::JournalA].into_iter().any(|part| files.is_there(part).unwrap_or(true))
}

/// Makes the data directory (mode 0700), if there is none.
pub fn make_data_dir(path: &Path) -> Result<(), AppError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| AppError::DataDir { path: path.to_owned(), error })
}

fn warn_of_open_doors(data_dir: &Path) {
    let mode = fs::metadata(data_dir).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        let path = data_dir.display();
        tracing::warn!("others may look into the data directory (mode {mode:o}): chmod 700 {path}");
    }
}
