//! What others wait for: that the log grows, and that its follower keeps up.

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
}

impl News {
    /// With the receivers of both.
    pub(super) fn new() -> (News, watch::Receiver<Seq>, watch::Receiver<u64>) {
        let ((grew, newest), (unread, left)) = (watch::channel(Seq(0)), watch::channel(0));
        (News { grew, unread }, newest, left)
    }

    /// Wakes who waits, if there is anything new.
    pub(super) fn tell(&self, log: &Log) {
        let (newest, unread) = (log.newest(), log.unread());
        self.grew.send_if_modified(|known| std::mem::replace(known, newest) != newest);
        self.unread.send_if_modified(|known| std::mem::replace(known, unread) != unread);
    }
}
