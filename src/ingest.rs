//! Taking a delivery in: prove it, parse it lightly, record it. A 200 means that it is on disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::model::event::{Event, EventKind, identity};
use crate::model::gap::Unproven;
use crate::model::{Secret, Seq, Timestamp};
use crate::signature;
use crate::store::webhook_log::{DeliveryResult, NoteVerify, RecordDelivery, Recorded, Ring};
use crate::store::{Packed, Store};
use crate::world::World;

mod deaf;

use deaf::Deaf;

/// What became of an accepted delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A VERIFY: the answer to its challenge, 64 hex digits.
    Challenge(String),
    /// A new event, now in the log.
    New(Seq),
    /// An event that was in the log before.
    Duplicate(Seq),
    /// An event about a vehicle that was erased: counted, and nothing kept.
    Erased,
}

/// Why a delivery was not accepted. Nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
#[non_exhaustive]
pub enum IngestError {
    /// There is no management token to prove anything with.
    NotConfigured,
    /// The signature is missing, malformed, repeated or wrong.
    BadSignature,
    /// The challenge could be used to forge a signature.
    ChallengeRefused,
    /// Properly signed, but no JSON object: the answer to a challenge could sign such bytes.
    NotAnEvent,
    /// The store cannot take it now.
    Busy,
    /// The disk is nearly full.
    NoRoom,
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

/// A signed post that came to another path than the webhook's.
#[derive(Clone, Debug)]
pub struct Astray {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub path: String,
}

/// What deliveries are proven with, and how many are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The application management tokens: all prove, the first answers challenges.
    pub management_tokens: Vec<Secret>,
    /// How much the ring holds.
    pub ring: Ring,
}

/// The way in for deliveries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ingest {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The application management tokens, as they are now.
    management_tokens: RwLock<Arc<[Secret]>>,
    ring: Ring,
    store: Store,
    world: World,
    metrics: Arc<Metrics>,
    refused: Mutex<VecDeque<Refusal>>,
    last_verify: Mutex<Option<LastVerify>>,
    verify_noted_at: Mutex<Option<Timestamp>>,
    astray: Mutex<Option<Astray>>,
    /// When the log told of a wrong signature last, in milliseconds; 0 if it never did.
    warned_at: AtomicI64,
    deaf: Deaf,
}

impl Ingest {
    /// The way into `store`.
    pub async fn new(settings: Settings, store: Store, world: World, metrics: Arc<Metrics>) -> Ingest {
        let noted = store.read(|snapshot| snapshot.last_verify()).await.ok().flatten();
        let last_verify = Mutex::new(noted.map(|(at, signed)| LastVerify { at, signed }));
        let verify_noted_at = Mutex::new(noted.map(|(at, _)| at));
        let (refused, astray, warned_at) = (Mutex::default(), Mutex::default(), AtomicI64::default());
        let deaf = Deaf::default();
        let Settings { management_tokens, ring } = settings;
        let management_tokens = RwLock::new(management_tokens.into());
        let shared = Shared {
            management_tokens,
            ring,
            store,
            world,
            metrics,
            refused,
            last_verify,
            verify_noted_at,
            astray,
            warned_at,
            deaf,
        };
        Ingest { shared: Arc::new(shared) }
    }

    /// Proves, parses and records one delivery. `signatures` are all `SC-Signature` header values.
    /// Returns after the log entry is durable.
    pub async fn accept(&self, body: Bytes, signatures: &[&[u8]]) -> Result<Accepted, IngestError> {
        let started = Instant::now();
        let bytes = body.len();
        let result = self.shared.accept(body, signatures).await;
        let (metrics, outcome) = (&self.shared.metrics, result.as_ref().map(|(_, outcome)| *outcome));
        metrics.delivery(outcome.unwrap_or_else(|error| error.code()));
        match result {
            Ok((accepted, _)) => {
                metrics.acknowledged(started.elapsed());
                Ok(accepted)
            }
            Err(error) => {
                let (shared, at) = (&self.shared, self.shared.world.now());
                let is_unproven = matches!(error, IngestError::BadSignature);
                let reason = if is_unproven { signature::flaw(signatures) } else { error.sentence() };
                shared.note_refusal(at, error.code(), reason, bytes);
                if is_unproven && !signatures.is_empty() {
                    shared.deaf.unproven(|| Unproven { since: at, tokens: shared.fingerprint() });
                    shared.warn_of_signature(at);
                }
                Err(error)
            }
        }
    }

    /// The last 100 refusals, newest first.
    pub fn refused(&self) -> Vec<Refusal> {
        locked(&self.shared.refused).iter().rev().cloned().collect()
    }

    /// Notes a refusal that was decided before the body was whole (`too_large`, `too_slow`).
    pub fn refuse(&self, code: &'static str, reason: &'static str, bytes: usize) {
        self.shared.metrics.delivery(code);
        self.shared.note_refusal(self.shared.world.now(), code, reason, bytes);
    }

    /// Puts other management tokens in the place of those there are.
    pub fn replace_management_tokens(&self, tokens: Vec<Secret>) {
        *self.shared.management_tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens.into();
        self.shared.deaf.tokens_changed();
    }

    /// Whether a body bears a valid signature.
    pub fn proves(&self, body: &[u8], signatures: &[&[u8]]) -> bool {
        self.shared.proves(body, signatures)
    }

    /// Notes that a signed post came to another path: set-up names it, for it is a typing error in
    /// Smartcar's dashboard.
    pub fn went_astray(&self, path: &str) {
        let path = path.chars().filter(|c| c.is_ascii_graphic()).take(100).collect();
        *locked(&self.shared.astray) = Some(Astray { at: self.shared.world.now(), path });
        self.refuse("unknown_path", "a signed post came to an address that is not the webhook's", 0);
    }

    /// The last signed post that came to another path.
    pub fn astray(&self) -> Option<Astray> {
        locked(&self.shared.astray).clone()
    }

    /// A time that is over and in which deliveries of Smartcar's were refused: each is told once, the oldest first.
    pub fn was_deaf(&self) -> Option<(Timestamp, Timestamp)> {
        self.shared.deaf.was()
    }

    /// Since when proven deliveries have been refused, if the last was.
    pub fn deaf_since(&self) -> Option<Timestamp> {
        self.shared.deaf.since()
    }

    /// Since when signed deliveries could not be proven, by the tokens that did not prove them; empty if the last could.
    /// Anybody can send such.
    pub fn unproven(&self) -> Vec<Unproven> {
        self.shared.deaf.all_unproven()
    }

    /// Goes on from what the run before knew of deliveries that could not be proven.
    pub fn recall_unproven(&self, unproven: Vec<Unproven>) {
        self.shared.deaf.recall(unproven);
    }

    /// Whether there is a management token.
    pub fn is_configured(&self) -> bool {
        !self.shared.management_tokens().is_empty()
    }

    /// The last VERIFY that was answered.
    pub fn last_verify(&self) -> Option<LastVerify> {
        locked(&self.shared.last_verify).clone()
    }
}

impl IngestError {
    /// The contract's code.
    pub fn code(self) -> &'static str {
        match self {
            IngestError::NotConfigured => "not_configured",
            IngestError::BadSignature => "bad_signature",
            IngestError::ChallengeRefused => "challenge_refused",
            IngestError::NotAnEvent => "not_an_event",
            IngestError::Busy | IngestError::NoRoom => "busy",
        }
    }

    /// What is wrong, for the operator.
    pub fn sentence(self) -> &'static str {
        match self {
            IngestError::NotConfigured => "no application management token is configured",
            IngestError::BadSignature => "the signature is missing or wrong",
            IngestError::ChallengeRefused => "the challenge is not 1 to 256 token characters, or the body is over 4 KiB",
            IngestError::NotAnEvent => "the body is not a JSON object",
            IngestError::Busy => "the store cannot take it now",
            IngestError::NoRoom => "the disk has less free space than store.min_free",
        }
    }
}

/// A delivery that was taken, and the word for it in the metrics.
type Taken = (Accepted, &'static str);

impl Shared {
    fn management_tokens(&self) -> Arc<[Secret]> {
        self.management_tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which tokens these are.
    fn fingerprint(&self) -> [u8; 32] {
        let hash = Sha256::new();
        let hash =
            self.management_tokens().iter().fold(hash, |hash, token| hash.chain_update(token.expose()).chain_update(b"\n"));
        hash.finalize().into()
    }

    async fn accept(&self, body: Bytes, signatures: &[&[u8]]) -> Result<Taken, IngestError> {
        if self.management_tokens().is_empty() {
            return Err(IngestError::NotConfigured);
        }
        if signatures.is_empty() {
            return self.unsigned(&body).await;
        }
        let not_taken = |error: &IngestError| {
            if matches!(error, IngestError::Busy | IngestError::NoRoom) {
                self.deaf.refused(self.world.now());
            }
        };
        let (change, challenge) = self.proven(&body, signatures).inspect_err(not_taken)?;
        // What waits for the disk, often together with many others, is only what is stored.
        drop(body);
        let received_at = change.received_at;
        let taken = self.record(change).await.inspect_err(not_taken)?;
        self.deaf.taken(received_at, || self.fingerprint());
        if let Some(answer) = challenge {
            self.note_verify(true).await;
            return Ok((Accepted::Challenge(answer), "verify"));
        }
        Ok(taken)
    }

    /// What is to be recorded of a delivery that bears a good signature, and the answer to its challenge.
    fn proven(&self, body: &[u8], signatures: &[&[u8]]) -> Result<(RecordDelivery, Option<String>), IngestError> {
        if !self.proves(body, signatures) {
            return Err(IngestError::BadSignature);
        }
        // SECURITY: the answer to a challenge can sign such bytes (`123`, `null`), but no object.
        if body.iter().find(|byte| !b" \t\r\n".contains(byte)) != Some(&b'{') {
            return Err(IngestError::NotAnEvent);
        }
        let event = Event::parse(body);
        let challenge = match &event {
            Ok(event) if event.kind == EventKind::Verify => Some(self.answer(event, body.len())?),
            _ => None,
        };
        Ok((self.delivery(event.as_ref().ok(), body)?, challenge))
    }

    /// One good signature; several are none.
    fn proves(&self, body: &[u8], signatures: &[&[u8]]) -> bool {
        matches!(signatures, [signature] if signature::verify(&self.management_tokens(), body, signature))
    }

    /// Smartcar may send its VERIFY unsigned; nothing else is taken without proof, and nothing is kept.
    async fn unsigned(&self, body: &[u8]) -> Result<Taken, IngestError> {
        let event = if body.len() <= VERIFY_CAP { Event::parse(body).ok() } else { None };
        let event = event.filter(|event| event.kind == EventKind::Verify).ok_or(IngestError::BadSignature)?;
        let answer = self.answer(&event, body.len())?;
        self.note_verify(false).await;
        Ok((Accepted::Challenge(answer), "verify"))
    }

    fn answer(&self, event: &Event, bytes: usize) -> Result<String, IngestError> {
        let challenge = event.challenge.as_deref().filter(|challenge| bytes <= VERIFY_CAP && signature::is_harmless(challenge));
        let tokens = self.management_tokens();
        let token = tokens.first().ok_or(IngestError::NotConfigured)?;
        Ok(signature::answer(token, challenge.ok_or(IngestError::ChallengeRefused)?))
    }

    fn delivery(&self, event: Option<&Event>, body: &[u8]) -> Result<RecordDelivery, IngestError> {
        if !self.store.has_room() {
            return Err(IngestError::NoRoom);
        }
        let result = match event {
            None => DeliveryResult::NotUnderstood,
            Some(event) if event.test => DeliveryResult::Test,
            Some(Event { kind: EventKind::Unknown(_), .. }) => DeliveryResult::UnknownType,
            Some(_) => DeliveryResult::Accepted,
        };
        Ok(RecordDelivery {
            event: identity(event, body),
            kind: event.map_or("", |event| event.kind.as_str()).to_owned(),
            result,
            vehicle: event.and_then(|event| event.vehicle.clone()),
            is_about_others: event.is_some_and(|event| event.is_about_others),
            body: Packed::of(body),
            received_at: self.world.now(),
            ring: self.ring,
        })
    }

    async fn record(&self, change: RecordDelivery) -> Result<Taken, IngestError> {
        let ring = change.ring;
        if ring.is_pressed(self.store.backlog()) {
            // Under a burst that lasts, the disk is faster than the projector, and its ring must not fill.
            let eased = self.store.backlog_is(|backlog| !ring.is_pressed(backlog));
            let _ = Box::pin(tokio::time::timeout(PATIENCE, eased)).await;
        }
        match self.store.commit(change).await {
            Ok(Recorded::New(seq, result)) => Ok((Accepted::New(seq), result.as_str())),
            Ok(Recorded::Duplicate(seq)) => Ok((Accepted::Duplicate(seq), "duplicate")),
            Ok(Recorded::Erased) => Ok((Accepted::Erased, "erased")),
            Ok(Recorded::Full) | Err(_) => Err(IngestError::Busy),
        }
    }

    /// Anybody can send an unsigned VERIFY, so notes of these cost at most one commit an hour.
    async fn note_verify(&self, signed: bool) {
        let at = self.world.now();
        *locked(&self.last_verify) = Some(LastVerify { at, signed });
        let is_due = |noted: &Option<Timestamp>| noted.is_none_or(|noted| at.since(noted) > Duration::from_secs(3600));
        if signed || is_due(&locked(&self.verify_noted_at)) {
            *locked(&self.verify_noted_at) = Some(at);
            // Only for the set-up page after a restart: the answer does not depend on it.
            let _ = self.store.commit(NoteVerify { at, signed }).await;
        }
    }

    /// A wrong token looks like a forger, and anybody can be one, so the log says it seldom.
    fn warn_of_signature(&self, at: Timestamp) {
        let warned_at = self.warned_at.load(Ordering::Relaxed);
        let is_due = warned_at == 0 || at >= Timestamp::from_millis(warned_at).after(WARNED);
        // Of many at once one does.
        if is_due && self.warned_at.swap(at.as_millis(), Ordering::Relaxed) == warned_at {
            tracing::warn!(
                "a webhook bore a wrong signature: if Smartcar sent it, smartcar.application_management_token is not that of its \
                 application; `carport check` tries it, and the page Webhooks lists what was refused"
            );
        }
    }

    fn note_refusal(&self, at: Timestamp, code: &'static str, reason: &'static str, bytes: usize) {
        let mut refused = locked(&self.refused);
        if refused.len() == REFUSALS {
            refused.pop_front();
        }
        refused.push_back(Refusal { at, code, reason, bytes });
    }
}

/// How long the log is silent about further wrong signatures.
const WARNED: Duration = Duration::from_secs(3600);

/// How many refusals are remembered.
const REFUSALS: usize = 100;

/// How long a delivery waits for the projector: Smartcar waits for 15 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest VERIFY, in bytes.
const VERIFY_CAP: usize = 4096;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
