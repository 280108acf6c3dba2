//! Everything that makes two runs of the same program differ: the time, chance, and the network.
//!
//! A room that needs one of them is handed a [`World`]; nobody asks the system. That is what lets a test
//! play sixty days in a second and any bad day again from its seed. Waiting is tokio's (`tokio::time`),
//! which tests can pause.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use uuid::Uuid;

use crate::model::Timestamp;

mod http_client;

pub use http_client::{HttpClient, roots};

/// The wall clock.
pub trait Clock: Debug + Send + Sync {
    /// The time now, by the wall clock. It may be wrong and may jump; never measure a duration with it.
    fn now(&self) -> Timestamp;
}

/// The source of chance.
pub trait Entropy: Debug + Send + Sync {
    /// Fills `out` with unpredictable bytes.
    fn fill(&self, out: &mut [u8]);
}

/// One HTTP exchange with the outside.
pub trait Transport: Debug + Send + Sync {
    /// Sends `request` and waits at most `deadline` for the whole answer. Redirects are not followed:
    /// a 3xx is an answer like any other. A body longer than [`ANSWER_CAP`] is an error.
    fn send(&self, request: Request<Bytes>, deadline: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>>;
}

/// The longest answer that is read from anybody, in bytes, after decompression.
pub const ANSWER_CAP: usize = 1024 * 1024;

/// Why an exchange gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The request was never sent: no route, no name, no TLS. The text names the cause, never the URL.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The request may have been acted upon, but no whole answer came back.
    #[error("the answer was lost: {0}")]
    Lost(String),
    /// No whole answer came within the deadline; the request may have been acted upon.
    #[error("no answer within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// The answer was longer than [`ANSWER_CAP`].
    #[error("the answer is longer than {ANSWER_CAP} bytes")]
    TooLarge,
}

/// The outside world, as handed to the rooms. Cheap to clone.
#[derive(Clone, Debug)]
pub struct World {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// The network.
    pub transport: Arc<dyn Transport>,
}

impl World {
    /// The real world: the system's clock and randomness, and an HTTP client.
    pub fn system() -> Result<World, TransportError> {
        Ok(World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy), transport: Arc::new(HttpClient::new()?) })
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A fresh UUIDv7: ordered by time, 74 bits of chance.
    pub fn uuid(&self) -> Uuid {
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        let millis = u64::try_from(self.now().as_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// 256 bits of chance as 52 letters and digits in lower case: for tokens, links, states and cookies.
    pub fn random_key(&self) -> String {
        let mut random = [0; 32];
        self.entropy.fill(&mut random);
        data_encoding::BASE32_NOPAD.encode(&random).to_ascii_lowercase()
    }
}

/// The system's wall clock.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for the time")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The system's randomness.
#[derive(Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for chance")]
    fn fill(&self, out: &mut [u8]) {
        // A system without randomness cannot keep a secret: stop rather than go on with zeros.
        getrandom::fill(out).expect("the system gives no randomness");
    }
}
