//! Whoever started us, if it is a service manager that speaks systemd's protocols: it opens sockets that need rights
//! which we do not have (`systemd.socket(5)`), and wants to hear that we are ready and alive (`sd_notify(3)`).
//!
//! Started by anybody else, all of this is nothing.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The service manager. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    sockets: Arc<Mutex<Vec<TcpListener>>>,
    /// Within which time it wants to hear from us.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// That of this process. To be asked once, before there are threads: it takes from the environment what was meant
    /// for nobody else.
    pub fn of_process() -> Supervisor {
        let mut handed = ListenFd::from_env();
        let sockets = (0..handed.len()).filter_map(|place| handed.take_tcp_listener(place).ok().flatten()).collect();
        Supervisor { sockets: Arc::new(Mutex::new(sockets)), watchdog: sd_notify::watchdog_enabled() }
    }

    /// Whether a socket was opened for us that serves an address.
    pub fn has(&self, address: SocketAddr) -> bool {
        self.locked().iter().any(|socket| serves(socket, address))
    }

    /// The socket that serves an address.
    pub fn take(&self, address: SocketAddr) -> Option<TcpListener> {
        let mut sockets = self.locked();
        let place = sockets.iter().position(|socket| serves(socket, address))?;
        Some(sockets.remove(place))
    }

    /// Where the sockets are that nobody has taken.
    pub fn untaken(&self) -> Vec<SocketAddr> {
        self.locked().iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// All listeners are there.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// What was configured is read again; [`Supervisor::reloaded`] ends it.
    pub fn reloading(&self) {
        // Later versions of systemd end a service that says the one without the other.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    /// It was, and this came of it.
    pub fn reloaded(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The end has begun.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// We are alive. It restarts us when it has not heard this for too long.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<TcpListener>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same port, and the same address or all of them.
fn serves(socket: &TcpListener, address: SocketAddr) -> bool {
    socket.local_addr().is_ok_and(|own| own.port() == address.port() && (own.ip() == address.ip() || own.ip().is_unspecified()))
}

fn tell(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
