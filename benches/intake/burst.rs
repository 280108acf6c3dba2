//! So many connections, each of which waits for its answer before it sends the next delivery.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::line::Line;
use crate::requests::Requests;

/// What an answer must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// Taken: 200.
    Taken,
    /// Refused: 401, or 429 for who has sent too many of them.
    Refused,
}

impl Expected {
    fn is(self, status: u16) -> bool {
        match self {
            Expected::Taken => status == 200,
            Expected::Refused => [401, 429].contains(&status),
        }
    }
}

/// The runtime of the load.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Opens so many connections.
pub(crate) async fn open(to: SocketAddr, connections: usize) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::with_capacity(connections);
    for _ in 0..connections {
        lines.push(Line::open(to).await?);
    }
    Ok(lines)
}

/// What came of a burst.
#[derive(Debug)]
pub(crate) struct Sent {
    /// How long it took until the last answer.
    pub(crate) took: Duration,
    /// How often a server asked to come again, as Smartcar would.
    pub(crate) busy: usize,
    /// The connections, still open.
    pub(crate) lines: Vec<Line>,
}

/// How long a server that is busy is left alone. Smartcar waits for longer.
const REST: Duration = Duration::from_millis(10);

/// Sends these over all of the connections, each until it is answered as expected.
pub(crate) async fn send(
    lines: Vec<Line>,
    requests: &Requests,
    places: Range<usize>,
    expected: Expected,
) -> anyhow::Result<Sent> {
    let next = Arc::new(AtomicUsize::new(places.start));
    let (mut senders, mut open) = (JoinSet::new(), Vec::new());
    let began = Instant::now();
    for mut line in lines {
        let (next, requests) = (next.clone(), requests.clone());
        senders.spawn(async move {
            let mut busy = 0;
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                if place >= places.end {
                    return Ok::<_, anyhow::Error>((line, busy));
                }
                let mut status = line.ask(requests.get(place)).await?;
                while status == 503 {
                    busy += 1;
                    sleep(REST).await;
                    status = line.ask(requests.get(place)).await?;
                }
                ensure!(expected.is(status), "a delivery was answered with {status}");
            }
        });
    }
    let mut busy = 0;
    while let Some(ended) = senders.join_next().await {
        let (line, refused) = ended??;
        busy += refused;
        open.push(line);
    }
    Ok(Sent { took: began.elapsed(), busy, lines: open })
}
