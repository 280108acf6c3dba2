//! Reference programs: bare hyper servers that prove a delivery and do one thing more, or nothing.

use std::convert::Infallible;
use std::path::Path;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use redb::{Builder, Database, TableDefinition};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::disk::Disk;
use crate::program::tell;
use crate::requests::TOKEN;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const QUEUE: usize = 4096;
const BATCH: usize = 1024;

type Delivery = (Bytes, oneshot::Sender<()>);

/// What becomes of a delivery that was proven.
#[derive(Clone, Debug)]
enum Then {
    Nothing,
    Keep(mpsc::Sender<Delivery>),
}

/// Proves deliveries and forgets them. Serves until killed.
pub(crate) fn hash() -> anyhow::Result<()> {
    serve(Then::Nothing)
}

/// Proves deliveries and commits all that have queued to redb, with one flush for each batch. Serves until killed.
pub(crate) fn keep(directory: &Path, delay_ms: u64) -> anyhow::Result<()> {
    let disk = Disk::new(directory);
    let database = Builder::new().create_with_backend(disk.file("log.redb")?)?;
    disk.slow_down(delay_ms);
    let (sender, mut receiver) = mpsc::channel::<Delivery>(QUEUE);
    std::thread::spawn(move || {
        let (mut batch, mut newest) = (Vec::with_capacity(BATCH), 0);
        while receiver.blocking_recv_many(&mut batch, BATCH) > 0 {
            newest = commit(&database, &batch, newest).expect("the reference program cannot write");
            for (_, answer) in batch.drain(..) {
                let _ = answer.send(());
            }
        }
    });
    serve(Then::Keep(sender))
}

fn commit(database: &Database, batch: &[Delivery], mut newest: u64) -> anyhow::Result<u64> {
    let transaction = database.begin_write()?;
    {
        let mut log = transaction.open_table(LOG)?;
        for (body, _) in batch {
            newest += 1;
            log.insert(newest, &body[..])?;
        }
    }
    transaction.commit()?;
    Ok(newest)
}

fn serve(then: Then) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        tell(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let then = then.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| answer(request, &then));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

async fn answer(request: Request<Incoming>, then: &Then) -> Result<Response<Empty<Bytes>>, Infallible> {
    let status = take(request, then).await.unwrap_or(500);
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    Ok(answer)
}

async fn take(request: Request<Incoming>, then: &Then) -> anyhow::Result<u16> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let given = head.headers.get("sc-signature").map_or(&[][..], |value| value.as_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes())?;
    mac.update(&body);
    let given = data_encoding::HEXLOWER.decode(given).unwrap_or_default();
    if mac.verify_slice(&given).is_err() {
        return Ok(401);
    }
    if let Then::Keep(queue) = then {
        let (sender, kept) = oneshot::channel();
        queue.send((body, sender)).await?;
        kept.await?;
    }
    Ok(200)
}
