//! The metrics: what is counted, and what is read from the state of things when somebody asks.

use super::Status;
use crate::budget::VehicleBudget;
use crate::metrics::{ConnectionGauge, Gauges, SharedCalls};
use crate::model::reach::Reach;
use crate::model::{ConnectionId, Timestamp};

impl Status {
    /// All metrics as Prometheus text 0.0.4.
    pub async fn metrics(&self) -> String {
        let shared = &self.shared;
        let facts = shared.facts_or_none().await;
        let now = shared.world.now();
        let seconds = |at: Timestamp| (at.as_millis() - now.as_millis()) / 1000;
        let mut connections = Vec::new();
        for (connection, tokens) in &facts.tokens {
            let connection =
                if *connection == ConnectionId::APPLICATION { "application".to_owned() } else { connection.to_string() };
            let gauge = |kind, at| ConnectionGauge { connection: connection.clone(), kind, seconds: seconds(at) };
            connections.push(gauge("access", tokens.access_expires_at));
            connections.extend(tokens.refresh_expires_at.map(|at| gauge("refresh", at)));
        }
        let mut budgets = Vec::new();
        if shared.settings.get().vehicle_metrics
            && let Ok(view) = shared.budget.show(&Reach::All).await
        {
            let left = |vehicle: VehicleBudget| Some((vehicle.vehicle.to_string(), vehicle.remaining?));
            budgets.extend(view.items.into_iter().filter_map(left));
        }
        let calls = shared.budget.application().await.ok().map(|(application, until)| SharedCalls {
            bucket: application.left,
            reserve: shared.budget.reserve(),
            resets_in: until.since(now).as_secs(),
        });
        shared.metrics.write(&Gauges {
            budgets,
            shared: calls,
            webhook_log_entries: facts.log.entries,
            webhook_log_bytes: facts.log.bytes,
            projector_lag: facts.log.newest.0.saturating_sub(facts.projector.0),
            store_bytes: shared.store.bytes(),
            store_written: shared.store.written(),
            connections,
            by_status: [
                ("active", facts.active),
                ("needs_reconnect", facts.needs_reconnect),
                ("disconnected", facts.disconnected),
            ],
            notices: facts.notices.len() as u64,
        })
    }
}
