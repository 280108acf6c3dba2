//! One refresh at a time for each connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::locked;
use crate::model::ConnectionId;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// Who waits and whose turn it is. Holds nothing of a connection that nobody refreshes.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<ConnectionId, Lock>>);

/// A place in the queue of a connection; given up when it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    connection: ConnectionId,
    lock: Lock,
}

impl Turns {
    /// Queues for a connection.
    pub(super) fn of(&self, connection: ConnectionId) -> Turn<'_> {
        let lock = locked(&self.0).entry(connection).or_default().clone();
        Turn { turns: self, connection, lock }
    }

    /// How many connections are being refreshed.
    pub(super) fn len(&self) -> usize {
        locked(&self.0).len()
    }

    /// Waits until nothing that is under way now is any more.
    pub(super) async fn all_over(&self) {
        let connections: Vec<ConnectionId> = locked(&self.0).keys().copied().collect();
        for connection in connections {
            drop(self.of(connection).come().await);
        }
    }
}

impl Turn<'_> {
    /// Waits for the turn, which lasts until the guard is dropped.
    pub(super) async fn come(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.lock.lock().await
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = locked(&self.turns.0);
        // The map's own handle and ours: nobody else queues, and nobody can while the map is locked.
        if Arc::strong_count(&self.lock) <= 2 {
            turns.remove(&self.connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_of_those_who_came_or_went_away() {
        let turns = Turns::default();
        let first = turns.of(ConnectionId::APPLICATION);
        let held = first.come().await;
        let waiting = turns.of(ConnectionId::APPLICATION);
        assert!(tokio::time::timeout(std::time::Duration::from_secs(1), waiting.come()).await.is_err());
        drop(waiting);
        assert_eq!(turns.len(), 1);
        drop(held);
        drop(first);
        assert_eq!(turns.len(), 0);
    }
}
