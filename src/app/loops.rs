//! The loops that look after the store.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::store::retention::Keep;
use crate::supervisor::Supervisor;
use crate::world::World;

/// Opens the store again after the disk has refused, and lets it make its checkpoints.
/// Who can do that is alive.
pub(super) async fn tend(store: &Store, supervisor: &Supervisor, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        store.tend().await;
        supervisor.alive();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

/// Looks at all that is kept: at once if it was too much for the start, and daily.
pub(super) async fn verify(store: &Store, shutdown: CancellationToken) {
    loop {
        let walk = async {
            if store.is_verified() {
                tokio::time::sleep(Duration::from_secs(86_400)).await;
            }
            if store.verify().await.is_err() {
                // The disk is in trouble, and is looked after elsewhere.
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = walk => {}
        }
    }
}

/// Lets go of old vehicle data, from some minutes after the start on: a start has other things to do.
pub(super) async fn trim(store: &Store, keep: &Keep, world: &World, shutdown: CancellationToken) {
    let mut wait = Duration::from_secs(120);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = Duration::from_secs(6 * 3600);
        let trimmed = tokio::select! {
            () = shutdown.cancelled() => return,
            trimmed = store.trim(keep, world.now()) => trimmed,
        };
        match trimmed {
            Ok(0) => tracing::debug!("no vehicle data are too old"),
            Ok(rows) => tracing::info!(rows, "old vehicle data were let go"),
            // The disk is in trouble, and is looked after elsewhere.
            Err(_) => wait = Duration::from_secs(60),
        }
    }
}
