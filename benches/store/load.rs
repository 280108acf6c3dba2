//! So many callers at once, each of which waits for its commit before it makes the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::event::Event;

/// What keeps events.
pub(crate) trait Keeps: Clone + Send + Sync + 'static {
    /// Returns when the event is durable.
    fn keep(&self, event: &Arc<Event>) -> impl Future<Output = ()> + Send;
}

/// The runtime of everything that is measured.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Has events of these numbers kept, `in_flight` at a time. Returns how long that took.
pub(crate) async fn load<K: Keeps>(
    keeper: &K,
    in_flight: u64,
    numbers: std::ops::Range<u64>,
    event: impl Fn(u64) -> Arc<Event> + Clone + Send + 'static,
) -> Duration {
    let (next, end) = (Arc::new(AtomicU64::new(numbers.start)), numbers.end);
    let began = Instant::now();
    let callers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (keeper, next, event) = (keeper.clone(), next.clone(), event.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return;
                    }
                    keeper.keep(&event(number)).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("a caller failed");
    }
    began.elapsed()
}
