//! The handshake: limited in time, and in what it may take from us at once, for it costs us more than whoever begins it.
//!
//! SECURITY: a turn is for our own computing only. Were it held while we wait for their next words, whoever leaves
//! handshakes half done would keep everybody else out.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::PollSemaphore;

use super::Tls;

/// What came of a handshake.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "taken apart at once")]
pub enum Shaken {
    /// TLS is spoken.
    Secure(TlsStream<TcpStream>),
    /// They speak plain HTTP; nothing was read yet.
    Plain(TcpStream),
}

impl Tls {
    /// Shakes hands with whoever has connected, within `limit`. `None` if nothing comes of it.
    pub async fn shake(&self, stream: TcpStream, limit: Duration) -> Option<Shaken> {
        let shaken = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            if first[0].is_ascii_uppercase() {
                return Ok(Shaken::Plain(stream));
            }
            let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
            if let Some(proof) = self.shared.proofs.of_hello(&hello.client_hello()) {
                // Whoever asked has seen what they came for.
                in_turns(&self.shared.turns, hello.into_stream(proof)).await?.shutdown().await?;
                return Err(io::Error::other("it asked for a proof"));
            }
            let shown = self.shown().ok_or_else(|| io::Error::other("there is no certificate yet"))?;
            let stream = in_turns(&self.shared.turns, hello.into_stream(shown.config.clone())).await?;
            Ok(Shaken::Secure(stream))
        };
        let shaken = tokio::time::timeout(limit, shaken).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        shaken.inspect_err(|error| tracing::debug!(%error, "a handshake came to nothing")).ok()
    }
}

/// Goes on with a handshake whenever it is its turn: each step of ours takes one, and gives it back before we wait for
/// them.
async fn in_turns<T>(turns: &Arc<Semaphore>, handshake: impl Future<Output = T>) -> T {
    let (mut turns, mut handshake) = (PollSemaphore::new(turns.clone()), pin!(handshake));
    poll_fn(|context| {
        let _turn = ready!(turns.poll_acquire(context));
        handshake.as_mut().poll(context)
    })
    .await
}

/// How many are computed at the same time: the other cores are for those who are in.
pub(super) const AT_ONCE: usize = 1;
