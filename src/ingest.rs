//! Taking a delivery in: prove it, parse it lightly, record it. A 200 means that it is on disk.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::model::{Seq, Timestamp};

/// What became of an accepted delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A VERIFY: the answer to its challenge, 64 hex digits.
    Challenge(String),
    /// A new event, now in the log.
    New(Seq),
    /// An event that was in the log before.
    Duplicate(Seq),
}

/// Why a delivery was not accepted. Nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// There is no management token to prove anything with.
    #[error("no application management token is configured")]
    NotConfigured,
    /// The signature is missing, malformed, repeated or wrong.
    #[error("the signature is missing or wrong")]
    BadSignature,
    /// The challenge could be used to forge a signature.
    #[error("the challenge is not 1 to 256 token characters, or the body is over 4 KiB")]
    ChallengeRefused,
    /// Properly signed, but no JSON object: the answer to a challenge could sign such bytes.
    #[error("the body is not a JSON object")]
    NotAnEvent,
    /// The store cannot take it now.
    #[error("the store cannot take it now")]
    Busy,
}

/// A delivery that was refused, for the operator. Kept in memory, without its body.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// The contract's code, such as `bad_signature`.
    pub code: &'static str,
    /// One sentence.
    pub reason: &'static str,
    /// Length of the body in bytes.
    pub bytes: usize,
}

/// The last VERIFY that was answered.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct LastVerify {
    /// When.
    pub at: Timestamp,
    /// Whether it bore a valid signature.
    pub signed: bool,
}

/// The way in for deliveries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ingest {
    shared: Arc<()>,
}

impl Ingest {
    /// Proves, parses and records one delivery. `signatures` are all `SC-Signature` header values.
    /// Returns after the log entry is durable.
    pub async fn accept(&self, body: Bytes, signatures: &[&[u8]]) -> Result<Accepted, IngestError> {
        let _ = (&self.shared, body, signatures);
        todo!()
    }

    /// The last 100 refusals, newest first.
    pub fn refused(&self) -> Vec<Refusal> {
        todo!()
    }

    /// Notes a refusal that was decided before the body was whole (`too_large`, `too_slow`).
    pub fn refuse(&self, code: &'static str, reason: &'static str, bytes: usize) {
        let _ = (code, reason, bytes);
        todo!()
    }
}
