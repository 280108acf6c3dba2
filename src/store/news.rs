//! What others wait for: that the log grows, that its follower keeps up, and that something happens to a connection.

use tokio::sync::watch;

use super::log_head::Log;
use super::ring::Backlog;
use crate::model::Seq;

/// The writer's side.
#[derive(Debug)]
pub(super) struct News {
    /// The newest place of the log.
    pub(super) grew: watch::Sender<Seq>,
    /// What of it its follower has not read.
    pub(super) backlog: watch::Sender<Backlog>,
    /// Another number each time that something has happened to a connection.
    pub(super) connections: watch::Sender<u64>,
}

impl News {
    /// Whoever wants to hear of one subscribes to it.
    pub(super) fn new() -> News {
        News { grew: watch::Sender::new(Seq(0)), backlog: watch::Sender::default(), connections: watch::Sender::new(0) }
    }

    /// Wakes who waits, if there is anything new.
    pub(super) fn tell(&self, log: &Log) {
        let (newest, backlog) = (log.newest(), log.backlog());
        self.grew.send_if_modified(|known| std::mem::replace(known, newest) != newest);
        self.backlog.send_if_modified(|known| std::mem::replace(known, backlog) != backlog);
        let connections = log.memo.connections();
        self.connections.send_if_modified(|known| std::mem::replace(known, connections) != connections);
    }
}
