//! Listeners: HTTP/1.1 over TCP, TLS and Unix sockets, with limits that hyper does not set by itself.
//!
//! Binding is eager ([`Listener::bind`]), serving comes later ([`serve`]), so that a busy port is known
//! before anything else starts. hyper has no limit on connections, none on idle ones without a timer,
//! and its caller must rest when `accept` fails: all of that is here.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::crowd::{Crowd, Heard, Turn};
use self::dressed::Dressed;
use self::stall::Impatient;
use super::{Face, Peer, Services};
use crate::tls::{Shaken, Tls};

mod crowd;
mod dressed;
pub mod proxy_protocol;
mod stall;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port; port 0 takes any free one. `[::]` means both families.
    Tcp(SocketAddr),
    /// A socket for a proxy on this machine. Who connects is nobody in particular, as on TCP from loopback.
    Unix(PathBuf),
    /// Carport's own socket: the user that runs it and root may do everything, others nothing.
    Control(PathBuf),
}

/// A bound listener. Dropping it removes its socket file.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    file: Option<SocketFile>,
    tls: Option<Tls>,
    face: Face,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
    Control(UnixListener),
}

impl Listener {
    /// Binds. A socket file that nobody answers on any more is replaced.
    pub async fn bind(listen: &Listen) -> io::Result<Listener> {
        let (socket, file) = match listen {
            Listen::Tcp(address) => (Socket::Tcp(TcpListener::bind(address).await?), None),
            Listen::Unix(path) => {
                let (socket, file) = bind_file(path, 0o660).await?;
                (Socket::Unix(socket), Some(file))
            }
            Listen::Control(path) => {
                let (socket, file) = bind_file(path, 0o600).await?;
                (Socket::Control(socket), Some(file))
            }
        };
        Ok(Listener { socket, file, tls: None, face: Face::Whole })
    }

    /// Takes over a socket that somebody else has bound.
    pub fn adopt(socket: std::net::TcpListener) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        let socket = Socket::Tcp(TcpListener::from_std(socket)?);
        Ok(Listener { socket, file: None, tls: None, face: Face::Whole })
    }

    /// Speaks TLS from now on. Socket files stay plain: who connects to one is on this machine.
    pub fn over(self, tls: &Tls) -> Listener {
        Listener { tls: Some(tls.clone()), ..self }
    }

    /// Shows another face.
    pub fn facing(self, face: Face) -> Listener {
        Listener { face, ..self }
    }

    /// The address that was bound, with the real port; `None` for a socket file.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) | Socket::Control(_) => None,
        }
    }

    /// The socket file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.0.as_path())
    }

    /// What an operator is told of it: where it is, and what is there unless that is everything. `None` for our own socket.
    pub fn place(&self) -> Option<String> {
        let at = match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok()?.to_string(),
            Socket::Unix(_) => format!("unix:{}", self.path()?.display()),
            Socket::Control(_) => return None,
        };
        Some(match &self.face {
            Face::Whole | Face::WayHere => at,
            Face::Public { .. } => format!("{at} (public)"),
            Face::Way(_) => format!("{at} (leads to https)"),
        })
    }

    async fn accept(&self) -> io::Result<(Arrival, Peer)> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                // Answers are written whole; waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                let peer = Peer::Remote { address: address.ip().to_canonical(), tls: self.tls.is_some() };
                Ok((Arrival::Stranger(stream, self.tls.clone()), peer))
            }
            Socket::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                // A proxy on this machine: loopback, so that `trusted_proxies` can name it.
                let address = Ipv4Addr::LOCALHOST.into();
                Ok((Arrival::Near(stream), Peer::Remote { address, tls: false }))
            }
            Socket::Control(socket) => {
                let (stream, _) = socket.accept().await?;
                // SECURITY: this peer may do everything. The file's mode already keeps others out; this
                // check holds when somebody loosens it. Root could read store and key anyway.
                let uid = stream.peer_cred()?.uid();
                if ![0, rustix::process::geteuid().as_raw()].contains(&uid) {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the peer is another user"));
                }
                Ok((Arrival::Ready(Box::new(stream)), Peer::Local { uid }))
            }
        }
    }
}

/// A connection that was just accepted.
enum Arrival {
    Ready(Stream),
    /// Somebody on this machine.
    Near(UnixStream),
    /// Somebody on the network, with whom we may have to shake hands.
    Stranger(TcpStream, Option<Tls>),
}

impl Arrival {
    /// Ready to talk, who it is, and what they are shown if that is not what the listener shows. `None` if nothing comes
    /// of it.
    async fn welcome(self, peer: Peer, services: &Services) -> Option<(Stream, Peer, Option<Face>)> {
        let settings = &services.settings;
        match self {
            Arrival::Ready(stream) => Some((stream, peer, None)),
            Arrival::Near(mut stream) => {
                let peer = introduced(&mut stream, peer, services).await?;
                Some((Box::new(stream), peer, None))
            }
            Arrival::Stranger(mut stream, tls) => {
                let peer = introduced(&mut stream, peer, services).await?;
                let Some(tls) = tls else { return Some((Box::new(stream), peer, None)) };
                // Boxed: large, and over as soon as the talk begins.
                match Box::pin(tls.shake(stream, settings.limits.header_time)).await? {
                    Shaken::Secure(stream) => Some((Box::new(stream), peer, None)),
                    Shaken::Plain(stream) => Some((Box::new(stream), peer.in_the_clear(), Some(Face::WayHere))),
                }
            }
        }
    }
}

/// Who it is: a trusted proxy that is to say so begins with for whom it speaks. `None` if it does not.
async fn introduced(stream: &mut (impl AsyncRead + Unpin), peer: Peer, services: &Services) -> Option<Peer> {
    let settings = &services.settings;
    match peer {
        Peer::Remote { address, tls } if settings.proxy_protocol && settings.trusts(address) => {
            let told = proxy_protocol::source(stream, settings.limits.header_time).await;
            let told = told.inspect_err(|error| tracing::debug!(%error, "a proxy does not say for whom it speaks"));
            match &told {
                Ok(Some(_)) => services.rooms.status.heard_proxy(address, true),
                Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::TimedOut) => {
                    services.rooms.status.heard_proxy(address, false);
                }
                // It only looked whether somebody is here, as we do ourselves.
                Ok(None) | Err(_) => {}
            }
            Some(Peer::Passed { address: told.ok()?.unwrap_or(UNTOLD), tls })
        }
        peer => Some(peer),
    }
}

/// In the place of an address that a proxy does not tell: near to nothing, and nobody's.
const UNTOLD: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A connection of whatever kind: what serves them is large, and is compiled once.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

type Stream = Box<dyn Duplex>;

/// Removes the socket file when the listener goes.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn bind_file(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    match UnixStream::connect(path).await {
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on this socket")),
        // Left behind by a process that was killed.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
        Err(_) => {}
    }
    let socket = UnixListener::bind(path)?;
    let file = SocketFile(path.to_owned());
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok((socket, file))
}

/// Serves until `shutdown`, then lets requests finish: those that clients still send or read within [`GRACE`], those that
/// we still answer within [`ANSWERS`].
pub async fn serve(listener: Listener, services: Services, shutdown: CancellationToken) {
    let services = services.facing(listener.face.clone()).until(shutdown.clone());
    let limits = &services.settings.limits;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_time).max_buf_size(32 * 1024).max_headers(64);
    let mut crowd = Crowd::new(limits.connections);
    let (mut rest, mut told) = (SHORTEST_REST, None);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = crowd.gone() => continue,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((_, peer)) if services.settings.lan_only && !is_near(peer) => {}
            Ok((arrival, peer)) => {
                rest = SHORTEST_REST;
                // Beyond that, connections wait in the kernel's queue.
                tokio::select! {
                    () = crowd.room() => {}
                    () = shutdown.cancelled() => break,
                }
                let (http, services, shutdown) = (http.clone(), services.of_now(), shutdown.clone());
                crowd.admit(peer, |turn| async move {
                    let _counted = services.metrics.connection();
                    let welcomed = tokio::select! {
                        welcomed = arrival.welcome(peer, &services) => welcomed,
                        () = shutdown.cancelled() => None,
                    };
                    if let Some((stream, peer, face)) = welcomed {
                        turn.is_of(peer);
                        let services = face.map_or(Cow::Borrowed(&services), |face| Cow::Owned(services.clone().facing(face)));
                        talk(http, stream, peer, &services, &turn, shutdown).await;
                    }
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            // Out of file descriptors or memory.
            Err(error) => {
                if told.is_none_or(|at: Instant| at.elapsed() > TELL_EVERY) {
                    tracing::warn!(%error, "cannot accept connections; those that keep us waiting are ended");
                    told = Some(Instant::now());
                }
                // Without a rest this loop would take a whole core.
                if !crowd.part_with_one().await {
                    tokio::select! {
                        () = tokio::time::sleep(rest) => rest = (rest * 2).min(LONGEST_REST),
                        () = shutdown.cancelled() => break,
                    }
                }
            }
        }
    }
    drop(listener);
    let stopped_at = Instant::now();
    if tokio::time::timeout_at(stopped_at + GRACE, crowd.empty()).await.is_err() {
        crowd.leave_waiting();
        if tokio::time::timeout_at(stopped_at + ANSWERS, crowd.empty()).await.is_err() {
            crowd.disperse().await;
        }
    }
}

/// One connection, from its first byte to its last.
async fn talk(http: http1::Builder, stream: Stream, peer: Peer, services: &Services, turn: &Turn, shutdown: CancellationToken) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let answer = super::handle(services, peer, request.map(|body| Heard::new(body, turn))).await;
        turn.theirs();
        Ok::<_, Infallible>(answer)
    });
    let mut connection =
        std::pin::pin!(http.serve_connection(TokioIo::new(Dressed::new(Impatient::new(stream), services, peer)), service));
    // A client that reads its answer a byte a time must not hold its place for ever.
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = shutdown.cancelled() => None,
        () = tokio::time::sleep(LIFE) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        let Ok(ended) = tokio::time::timeout(ANSWERS, connection).await else { return };
        ended
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Whether a peer is on this machine or in a private network.
fn is_near(peer: Peer) -> bool {
    match peer {
        Peer::Local { .. } => true,
        Peer::Remote { address, .. } | Peer::Passed { address, .. } => super::settings::is_private(address),
    }
}

/// An error that concerns only the connection that was about to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, PermissionDenied};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | PermissionDenied)
}

/// How long clients may take after a stop was asked for to send what they began, or to read what they were answered.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long answers may take that were begun before a stop: a little longer than the longest of them, a command's.
pub const ANSWERS: Duration = Duration::from_secs(27);

/// The longest life of a connection. Clients simply connect again.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// A card must not wear out by its log.
const TELL_EVERY: Duration = Duration::from_secs(60);

const SHORTEST_REST: Duration = Duration::from_millis(20);
const LONGEST_REST: Duration = Duration::from_secs(1);
