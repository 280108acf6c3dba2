//! What others wait for: that the log grows, that its follower keeps up, and that something happens to a connection.

use tokio::sync::watch;

use super::log_head::Log;
use crate::model::Seq;

/// The writer's side.
#[derive(Debug)]
pub(super) struct News {
    /// The newest place of the log.
    pub(super) grew: watch::Sender<Seq>,
    /// How many places its follower has not read.
    pub(super) unread: watch::Sender<u64>,
    /// Another number each time that something has happened to a connection.
    pub(super) connections: watch::Sender<u64>,
}

impl News {
    /// Whoever wants to hear of one subscribes to it.
    pub(super) fn new() -> News {
        News { grew: watch::Sender::new(Seq(0)), unread: watch::Sender::new(0), connections: watch::Sender::new(0) }
    }

    /// Wakes who waits, if there is anything new.
    pub(super) fn tell(&self, log: &Log) {
        let (newest, unread) = (log.newest(), log.unread());
        self.grew.send_if_modified(|known| std::mem::replace(known, newest) != newest);
        self.unread.send_if_modified(|known| std::mem::replace(known, unread) != unread);
        let connections = log.memo.connections();
        self.connections.send_if_modified(|known| std::mem::replace(known, connections) != connections);
    }
}
