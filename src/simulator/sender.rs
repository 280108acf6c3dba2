//! The webhook sender: VERIFY until it is answered rightly, then deliveries, each retried on Smartcar's
//! schedule with the same event id. Deliveries of several cars are under way at once.

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::events::{self, Event};
use super::faults::FaultKind;
use super::knobs::Challenge;
use super::state::{State, Webhook};
use super::{Simulator, TransportError};
use crate::model::Timestamp;

impl Simulator {
    /// Lives until `shutdown`: verifies webhooks, sends first deliveries and then a round of changes every
    /// [`WebhookSettings::every`] or a steady flow, and writes a status line each minute. Cars need nobody to drive them.
    ///
    /// [`WebhookSettings::every`]: super::WebhookSettings::every
    pub async fn run(&self, shutdown: CancellationToken) {
        // A VERIFY that an earlier run left behind is on its way no more.
        self.with(|state, _| state.webhooks.iter_mut().for_each(|webhook| webhook.verifying = false));
        let mut tasks = JoinSet::new();
        let mut status = interval(Duration::from_secs(60));
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last_round, mut flow) = (Instant::now(), Flow::default());
        loop {
            self.begin_verify(&mut tasks);
            self.spawn(&mut tasks, self.with(events::first_deliveries));
            if self.with(|state, _| std::mem::take(&mut state.round_asked)) {
                self.spawn(&mut tasks, self.with(|state, now| events::round(state, now, true)));
            }
            for webhook_id in self.with(|state, _| std::mem::take(&mut state.verify_asked)) {
                let simulator = self.clone();
                tasks.spawn(async move { simulator.verify_once(&webhook_id, 0).await == Some(true) });
            }
            for webhook_id in self.with(|state, _| std::mem::take(&mut state.test_asked)) {
                let event = self.with(|state, now| events::test(state, &webhook_id, now));
                self.spawn(&mut tasks, event.into_iter().collect());
            }
            let (every, rate) = self.with(|state, _| pace(state));
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.shared.wake.notified() => {}
                () = sleep_until(last_round + every.max(SHORTEST_ROUND)) => {
                    last_round = Instant::now();
                    self.spawn(&mut tasks, self.with(|state, now| events::round(state, now, false)));
                }
                () = flow.turn(rate) => {
                    // What nobody will send is not made either: a rate may be of any size.
                    let owed = flow.owed(rate);
                    let count = owed.min(MOST_AT_ONCE.saturating_sub(tasks.len()));
                    let due = self.with(|state, now| {
                        let due = events::flow(state, now, count);
                        events::skip(state, u64::try_from(owed - count).unwrap_or(u64::MAX));
                        due
                    });
                    self.spawn(&mut tasks, due);
                }
                _ = status.tick() => self.write_status(),
                Some(_) = tasks.join_next() => while tasks.try_join_next().is_some() {},
            }
        }
        // Answers that are just coming count; nobody waits for retries.
        let _ = tokio::time::timeout(LAST_ANSWERS, tasks.join_all()).await;
    }

    /// Tries to verify the first webhook, with its retries, and says whether it is verified. For tests.
    pub async fn verify(&self) -> bool {
        let Some(webhook_id) = self.with(|state, _| state.webhooks.first().map(|webhook| webhook.id.clone())) else {
            return false;
        };
        let verified = self.verify_once(&webhook_id, 0).await == Some(true);
        self.shared.wake.notify_one();
        verified
    }

    /// Sends what is due, or the present state of every subscribed vehicle if nothing is, retries
    /// included, and says how many events were acknowledged. For tests.
    pub async fn deliver(&self) -> usize {
        let mut due = self.with(events::first_deliveries);
        if due.is_empty() {
            due = self.with(|state, now| events::round(state, now, true));
        }
        let mut tasks = JoinSet::new();
        self.spawn(&mut tasks, due);
        tasks.join_all().await.into_iter().filter(|acknowledged| *acknowledged).count()
    }

    fn begin_verify(&self, tasks: &mut JoinSet<bool>) {
        let begun: Vec<String> = self.with(|state, _| {
            let due = state.webhooks.iter_mut().filter(|webhook| !webhook.verified && !webhook.verifying);
            due.map(|webhook| {
                webhook.verifying = true;
                webhook.id.clone()
            })
            .collect()
        });
        for webhook_id in begun {
            let simulator = self.clone();
            tasks.spawn(async move {
                // Smartcar would wait for somebody to press its button again; a script has no button.
                let mut first_wait = 0;
                while simulator.verify_once(&webhook_id, first_wait).await == Some(false) {
                    first_wait = RETRY_WAITS[RETRY_WAITS.len() - 1];
                }
                simulator.shared.wake.notify_one();
                true
            });
        }
    }

    /// One VERIFY event with its retries. None: the webhook was replaced meanwhile.
    async fn verify_once(&self, webhook_id: &str, first_wait: u32) -> Option<bool> {
        let (event, challenge) = self.with(|state, _| {
            let challenge = match state.settings.habits.challenge {
                Challenge::Word => state.chance.word(),
                Challenge::Uuid => state.chance.uuid(),
                Challenge::Long => (0..8).map(|_| state.chance.word()).collect(),
            };
            Some((events::verify(state, webhook_id, &challenge)?, challenge))
        })?;
        let wanted = json!(self.sign(challenge.as_bytes()));
        let right = |status: StatusCode, body: &[u8]| {
            let answer = serde_json::from_slice::<Value>(body).unwrap_or_default();
            status == StatusCode::OK && answer["challenge"] == wanted
        };
        let verified = self.send(event, first_wait, right).await;
        self.with(|state, _| {
            let webhook = state.webhooks.iter_mut().find(|webhook| webhook.id == webhook_id)?;
            webhook.verified |= verified;
            Some(webhook.verified)
        })
    }

    fn spawn(&self, tasks: &mut JoinSet<bool>, events: Vec<Event>) {
        for event in events {
            if tasks.len() >= MOST_AT_ONCE {
                self.with(|state, _| state.counters.skipped += 1);
                continue;
            }
            let simulator = self.clone();
            tasks.spawn(async move { simulator.send(event, 0, |status, _| status.is_success()).await });
        }
    }

    /// Sends an event until it is answered rightly, for as long as Smartcar would try.
    pub(super) async fn send(&self, event: Event, first_wait: u32, right: impl Fn(StatusCode, &[u8]) -> bool) -> bool {
        for wait in [first_wait].into_iter().chain(RETRY_WAITS) {
            if wait > 0 {
                sleep(Duration::from_secs(wait.into()).mul_f64(event.retry_scale)).await;
            }
            let late = self.with(|state, _| {
                let most = state.faults.lateness(&mut state.luck)?;
                Some(most.mul_f64(state.luck.between(0.0, 1.0)))
            });
            if let Some(late) = late {
                sleep(late).await;
            }
            let Some(request) = self.with(|state, now| {
                state.webhooks.iter().any(|webhook| webhook.id == event.webhook_id).then(|| self.request(&event, state, now))
            }) else {
                return false;
            };
            self.with(|state, _| state.counters.sent(&event.id, event.kind, &event.vehicle_id));
            let began = Instant::now();
            let answer = match request {
                Ok(request) => self.shared.world.transport.send(request, PATIENCE).await,
                Err(_) => Err(TransportError::Unreachable("not a URL that can be sent to".to_owned())),
            };
            let good = answer.as_ref().is_ok_and(|answer| right(answer.status(), answer.body()));
            self.with(|state, _| state.counters.result(result(&answer), began.elapsed()));
            if good {
                self.with(|state, _| state.ended(&event, true));
                return true;
            }
        }
        self.with(|state, _| state.ended(&event, false));
        false
    }

    fn request(&self, event: &Event, state: &mut State, now: Timestamp) -> Result<Request<Bytes>, http::Error> {
        let body = Bytes::from(events::delivered(event, state, now).to_string());
        let mut request = Request::post(&event.url)
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, body.len())
            .header(USER_AGENT, "Smartcar/1.0");
        let verify = event.kind == "VERIFY";
        let mut struck = |kind| !verify && state.faults.strikes(kind, &mut state.luck);
        let (unsigned, wrong) = (struck(FaultKind::Unsigned), struck(FaultKind::WrongSignature));
        state.counters.faults += u64::from(unsigned) + u64::from(wrong);
        if event.signed && !unsigned {
            let signature = if wrong { signature("another token", &body) } else { self.sign(&body) };
            request = request.header("sc-signature", signature);
        }
        request.body(body)
    }

    fn sign(&self, message: &[u8]) -> String {
        signature(&self.shared.settings.application.management_token, message)
    }

    fn write_status(&self) {
        self.with(|state, _| {
            let counters = &state.counters;
            tracing::info!(
                cars = state.cars.len(),
                connected = state.connected(),
                requests = counters.requests,
                refreshes = counters.refreshes,
                webhooks.verified = state.webhooks.iter().filter(|webhook| webhook.verified).count(),
                sent = counters.sent,
                acknowledged = counters.acknowledged,
                dropped = counters.dropped,
                "simulated Smartcar"
            );
        });
    }
}

impl Webhook {
    /// How many events a second flow to it, if some do and more are to.
    pub(super) fn rate(&self) -> Option<f64> {
        let flows = self.verified && !self.disabled && !self.has_had_all();
        self.settings.rate.filter(|rate| flows && rate.is_finite())
    }

    /// Whether its flow has come to its end.
    pub(super) fn has_had_all(&self) -> bool {
        self.settings.most.is_some_and(|most| self.flowed >= most)
    }
}

impl State {
    /// An event was taken, or nobody will take it any more.
    fn ended(&mut self, event: &Event, taken: bool) {
        if taken {
            self.counters.acknowledged(&event.id);
        } else {
            self.counters.dropped += 1;
            self.counters.unverified += u64::from(event.kind == "VERIFY");
        }
        let most = self.settings.habits.disable_after;
        for webhook in self.webhooks.iter_mut().filter(|webhook| webhook.id == event.webhook_id) {
            webhook.failures = if taken { 0 } else { webhook.failures + 1 };
            webhook.disabled |= event.kind != "VERIFY" && most.is_some_and(|most| webhook.failures >= most);
        }
    }
}

/// How often there is a round, and how many events a second flow steadily.
fn pace(state: &mut State) -> (Duration, f64) {
    let every = state.webhooks.iter().map(|webhook| webhook.settings.every).min();
    let rate: f64 = state.webhooks.iter().filter_map(Webhook::rate).sum();
    (every.unwrap_or(Duration::from_secs(3600)), rate.max(0.0))
}

/// What came of a delivery, in a word.
fn result(answer: &Result<Response<Bytes>, TransportError>) -> String {
    match answer {
        Ok(answer) if answer.status().is_success() => "2xx".to_owned(),
        Ok(answer) => answer.status().as_u16().to_string(),
        Err(TransportError::Unreachable(_)) => "not reached".to_owned(),
        Err(TransportError::TooSlow(_)) => "too slow".to_owned(),
        Err(_) => "no whole answer".to_owned(),
    }
}

/// A steady flow: how many events are owed by now.
struct Flow {
    since: Instant,
    owed: f64,
}

impl Default for Flow {
    fn default() -> Flow {
        Flow { since: Instant::now(), owed: 0.0 }
    }
}

impl Flow {
    /// Waits until events are due; for ever without a rate.
    async fn turn(&mut self, rate: f64) {
        if rate <= 0.0 {
            self.since = Instant::now();
            return std::future::pending().await;
        }
        let pause = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(SHORTEST_ROUND);
        sleep_until(self.since + pause.clamp(SHORTEST_ROUND, Duration::from_secs(60))).await;
    }

    /// What is due now. After a standstill of more than a second, no more than a second's worth.
    fn owed(&mut self, rate: f64) -> usize {
        let passed = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        self.owed = (self.owed + passed * rate).min(rate.max(1.0));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below zero, and a whole number")]
        let whole = self.owed.floor() as usize;
        self.owed = self.owed.fract();
        whole
    }
}

/// Lower-case hex of HMAC-SHA256.
fn signature(key: &str, message: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        unreachable!("HMAC takes a key of any length");
    };
    mac.update(message);
    data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
}

/// Seconds before each retry.
const RETRY_WAITS: [u32; 3] = [25, 50, 100];
/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long answers may still come after the end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
const SHORTEST_ROUND: Duration = Duration::from_millis(10);
const MOST_AT_ONCE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_sdks_do() {
        assert_eq!(signature("amt", b"challenge"), "9baf5a7464bd86740ad5a06e439dcf535a075022ed2c92d74efacf646d79328e");
        assert_eq!(signature("amt", br#"{"pizza":"pasta"}"#), "4c05a8da471f05156ad717baa4017acd13a3a809850b9ca7d3301dcaaa854f70");
    }
}
