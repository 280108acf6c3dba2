//! How everything fares, and what is missing.

use std::sync::Arc;

use serde::Serialize;

use crate::ingest::LastVerify;
use crate::model::{Seq, Timestamp};

/// `GET /api/v1/status`.
#[derive(Clone, Debug, Serialize)]
pub struct StatusView {
    /// Carport's version.
    pub version: &'static str,
    /// When this run began.
    pub started_at: Timestamp,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// The store.
    pub store: StoreStatus,
    /// The webhook log.
    pub webhooks: WebhookStatus,
    /// The refresh loop.
    pub refresh: RefreshStatus,
    /// What is still missing, one thing to do each.
    pub missing: Vec<Missing>,
}

/// The store's part of the status.
#[derive(Clone, Debug, Serialize)]
pub struct StoreStatus {
    /// Whether it takes changes.
    pub healthy: bool,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// The webhook log's part of the status.
#[derive(Clone, Debug, Serialize)]
pub struct WebhookStatus {
    /// The last VERIFY that was answered.
    pub last_verify: Option<LastVerify>,
    /// The newest place.
    pub newest: Seq,
    /// Entries in the ring.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// How many entries the projector is behind.
    pub projector_lag: u64,
    /// When the newest delivery came in.
    pub last_delivery_at: Option<Timestamp>,
}

/// The refresh loop's part of the status.
#[derive(Clone, Debug, Serialize)]
pub struct RefreshStatus {
    /// Active connections.
    pub active: u64,
    /// Connections that wait for their owner.
    pub needs_reconnect: u64,
    /// When the next one is due.
    pub next_due_at: Option<Timestamp>,
    /// A fault that stops all refreshes, such as a wrong client secret.
    pub stopped: Option<String>,
}

/// Something that is missing.
#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    /// A stable name, such as `management_token`.
    pub code: &'static str,
    /// What is missing, in one sentence.
    pub what: String,
    /// The one thing to do.
    pub remedy: String,
}

/// Whether Carport is ready: `GET /readyz`.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// All is well.
    pub ready: bool,
    /// What is not.
    pub reasons: Vec<String>,
}

/// How everything fares. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Status {
    shared: Arc<()>,
}

impl Status {
    /// The status.
    pub async fn show(&self) -> StatusView {
        let _ = &self.shared;
        todo!()
    }

    /// Whether Carport is ready.
    pub async fn ready(&self) -> Readiness {
        todo!()
    }

    /// All metrics as Prometheus text 0.0.4.
    pub async fn metrics(&self) -> String {
        todo!()
    }
}
