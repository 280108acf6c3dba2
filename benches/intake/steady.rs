//! Deliveries at a steady rate, whatever the answers do. Latency counts from the moment at which a delivery was to be
//! sent, so that a server that stalls is charged for all that had to wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::burst::open;
use crate::job::{Figures, figures};
use crate::requests::Requests;

/// Enough that none waits for a free one, unless the server stalls for a quarter of a second.
const CONNECTIONS: usize = 128;

/// After this long an answer does not come any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends all of these, one after each `interval`.
pub(crate) async fn send(to: SocketAddr, requests: &Requests, interval: Duration) -> anyhow::Result<Figures> {
    let next = Arc::new(AtomicUsize::new(0));
    let (mut senders, mut latencies) = (JoinSet::new(), Vec::with_capacity(requests.len()));
    let lines = open(to, CONNECTIONS).await?;
    let began = Instant::now();
    for mut line in lines {
        let (next, requests) = (next.clone(), requests.clone());
        senders.spawn(async move {
            let mut taken = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                if place >= requests.len() {
                    return Ok::<_, anyhow::Error>(taken);
                }
                let due = began + interval * u32::try_from(place)?;
                sleep_until(due).await;
                let Ok(answer) = timeout(PATIENCE, line.ask(requests.get(place))).await else { return Ok(taken) };
                if answer? == 200 {
                    taken.push(due.elapsed());
                }
            }
        });
    }
    while let Some(ended) = senders.join_next().await {
        latencies.extend(ended??);
    }
    latencies.sort_unstable();
    // One that was never answered, or refused, took for ever.
    let unfinished = requests.len() - latencies.len();
    let place = |hundredths: usize| latencies.get((latencies.len() * hundredths / 100).min(latencies.len().saturating_sub(1)));
    let millis = |hundredths| place(hundredths).map_or(f64::INFINITY, |latency| latency.as_secs_f64() * 1000.0);
    let judged = if unfinished == 0 { millis(99) } else { f64::INFINITY };
    Ok(figures([("p99", judged), ("p50", millis(50)), ("most", millis(100))]))
}
