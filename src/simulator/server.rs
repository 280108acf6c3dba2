//! The simulator on a socket: HTTP/1.1, one task a connection.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::exchange::{self, Later, Reply};
use super::{Simulator, TransportError};

impl Simulator {
    /// Answers on `listener` until `shutdown`. A lost answer is a connection that closes without one.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) {
        let graceful = GracefulShutdown::new();
        loop {
            let stream = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = stream else {
                // Out of file descriptors, most likely: others will close theirs.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let simulator = self.clone();
            let service = service_fn(move |request| {
                let simulator = simulator.clone();
                async move { simulator.receive(request).await }
            });
            let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the simulator ended");
                }
            });
        }
        drop(listener);
        // Whoever holds a request open longer than this loses it.
        let _ = tokio::time::timeout(Duration::from_secs(2), graceful.shutdown()).await;
    }

    async fn receive(&self, request: Request<Incoming>) -> Result<Response<Body>, TransportError> {
        let (head, body) = request.into_parts();
        let reply = match Limited::new(body, LONGEST_BODY).collect().await {
            Ok(body) => self.exchange(&Request::from_parts(head, body.to_bytes())).await?,
            Err(_) => too_long(),
        };
        let later = reply.extensions().get::<Later>().copied();
        Ok(reply.map(|body| match later {
            None => Full::new(body).boxed_unsync(),
            // The head goes now, the body follows.
            Some(Later(time)) => StreamBody::new(stream::once(async move {
                tokio::time::sleep(time).await;
                Ok(Frame::data(body))
            }))
            .boxed_unsync(),
        }))
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn too_long() -> Reply {
    exchange::typed(StatusCode::PAYLOAD_TOO_LARGE, "text/plain; charset=utf-8", "The body is too long.")
}

const LONGEST_BODY: usize = 1024 * 1024;
