//! A stream on which a write cannot wait for ever. hyper sets no limit on writing, so a client that asks
//! and never reads would hold its place for the whole life of a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long a client may take nothing of an answer that waits for it.
const STALL: Duration = Duration::from_secs(25);

/// A stream whose writes fail when the other side takes nothing for [`STALL`].
#[derive(Debug)]
pub(super) struct Impatient<S> {
    stream: S,
    /// Runs while a write waits.
    limit: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub(super) fn new(stream: S) -> Impatient<S> {
        Impatient { stream, limit: None }
    }

    /// Whatever was taken starts the time anew.
    fn hurry<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.limit = None;
            return polled;
        }
        let limit = self.limit.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL)));
        limit.as_mut().poll(context).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.hurry(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.hurry(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.hurry(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.hurry(context, polled)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http::Response;
    use http_body_util::Full;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    /// Answers whatever comes with more than the pipe holds; returns how long the connection lived.
    async fn life(near: DuplexStream) -> Duration {
        let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; 64 * 1024])))) });
        let began = Instant::now();
        let ended = http1::Builder::new().serve_connection(TokioIo::new(Impatient::new(near)), service).await;
        assert!(ended.is_err());
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_reads_is_left() {
        let (near, mut far) = duplex(1024);
        far.write_all(&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20)).await.unwrap();
        assert_eq!(life(near).await.as_secs(), STALL.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_waited_for() {
        let (near, mut far) = duplex(1024);
        far.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let reader = async {
            for _ in 0..10 {
                tokio::time::sleep(STALL / 2).await;
                far.read_exact(&mut [0; 1024]).await.unwrap();
            }
            // Nothing more is read, but the other end stays.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            life = life(near) => assert_eq!(life.as_secs(), (STALL * 6).as_secs()),
            () = reader => {}
        }
    }
}
