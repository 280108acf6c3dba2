//! The handshake: limited in time and in number, for it costs us more than whoever begins it.

use std::io;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::Tls;

impl Tls {
    /// Shakes hands with whoever has connected, within `limit`. `None` if nothing comes of it.
    pub async fn shake(&self, stream: TcpStream, limit: Duration) -> Option<TlsStream<TcpStream>> {
        let shaken = async {
            let hello = hello(stream).await?;
            // Who has said nothing yet costs nothing yet.
            let _turn = self.shared.turns.acquire().await.map_err(io::Error::other)?;
            if let Some(proof) = self.shared.proofs.of_hello(&hello.client_hello()) {
                // Whoever asked has seen what they came for.
                hello.into_stream(proof).await?.shutdown().await?;
                return Err(io::Error::other("it asked for a proof"));
            }
            let shown = self.shown().ok_or_else(|| io::Error::other("there is no certificate yet"))?;
            hello.into_stream(shown.config.clone()).await
        };
        let shaken = tokio::time::timeout(limit, shaken).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        shaken.inspect_err(|error| tracing::debug!(%error, "a handshake came to nothing")).ok()
    }
}

/// Their first words.
async fn hello(stream: TcpStream) -> io::Result<StartHandshake<TcpStream>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0].is_ascii_uppercase() {
        return Err(correct(stream).await);
    }
    LazyConfigAcceptor::new(Acceptor::default(), stream).await
}

/// Tells somebody who speaks plain HTTP what to speak. Their first bytes are taken, or the answer would be lost with
/// them.
async fn correct(mut stream: TcpStream) -> io::Error {
    if stream.ready(Interest::READABLE).await.is_ok() {
        let _ = stream.try_read(&mut [0; 8 * 1024]);
    }
    let _ = stream.write_all(CORRECTION).await;
    let _ = stream.shutdown().await;
    io::Error::new(io::ErrorKind::InvalidData, "it speaks plain HTTP")
}

const CORRECTION: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 55\r\n\r\n\
                            This port speaks https only: begin the address https://";

/// How many may be under way at the same time.
pub(super) const AT_ONCE: usize = 64;
