//! What of the status concerns somebody who reaches some connections only.

use crate::operate::notices::NoticeView;
use crate::operate::status::{Missing, RefreshStatus, StatusView};
use crate::vehicles::connections::ConnectionView;

/// The status as far as it concerns a reader.
#[derive(Clone, Debug)]
pub(super) struct Within {
    /// The refresh loop, as far as it renews what is within reach.
    pub(super) refresh: RefreshStatus,
    /// What is missing: for whoever can do something about it.
    pub(super) missing: Vec<Missing>,
    /// What happened to what is within reach.
    pub(super) notices: Vec<NoticeView>,
}

impl Within {
    /// All of it.
    pub(super) fn whole(status: StatusView) -> Within {
        let StatusView { refresh, missing, notices, .. } = status;
        Within { refresh, missing, notices }
    }

    /// What concerns these connections.
    pub(super) fn of(status: StatusView, connections: &[ConnectionView]) -> Within {
        let is_own = |notice: &NoticeView| connections.iter().any(|connection| Some(connection.id) == notice.connection);
        let count = |status: &str| connections.iter().filter(|connection| connection.status == status).count() as u64;
        let refresh = RefreshStatus {
            active: count("active"),
            needs_reconnect: count("needs_reconnect"),
            next_due_at: connections.iter().filter_map(|connection| connection.next_refresh).min(),
            stopped: None,
        };
        let notices = status.notices.into_iter().filter(is_own).collect();
        Within { refresh, missing: Vec::new(), notices }
    }
}
