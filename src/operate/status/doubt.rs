//! Whether API v2.0 has really ended, for somebody who looks closely.

use super::Status;
use crate::model::connection::Connection;

impl Status {
    /// If Smartcar has told that API v2.0 has ended, it is asked whether that is so still. Whoever looks `afresh` has it asked
    /// in any case, by what is connected.
    pub async fn doubt_end(&self, afresh: bool) {
        let shared = &self.shared;
        if shared.tokens.ended().is_none() && !afresh {
            return;
        }
        let by_v2 = shared.store.read(|snapshot| {
            let connections = snapshot.connections(None, usize::MAX)?.into_iter();
            let ids = connections.filter(Connection::is_active_by_v2).map(|connection| connection.id);
            Ok(ids.take(ASKED).collect::<Vec<_>>())
        });
        if let Ok(by_v2) = by_v2.await {
            match afresh {
                true if shared.tokens.ended().is_some() || !by_v2.is_empty() => shared.tokens.look_for_end(&by_v2).await,
                true => {}
                false => shared.tokens.doubt_end(&by_v2).await,
            }
        }
    }
}

/// How many connections ask one after the other.
const ASKED: usize = 3;
