//! The webhook sender: VERIFY until it is answered rightly, then deliveries, each retried on Smartcar's
//! schedule with the same event id. Deliveries of several cars are under way at once.

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::events::{self, Event};
use super::faults::FaultKind;
use super::{Simulator, WebhookSettings};

impl Simulator {
    /// Lives until `shutdown`: verifies the webhook, sends first deliveries and then a round of changes every
    /// [`WebhookSettings::every`], and writes a status line each minute. Cars need nobody to drive them.
    pub async fn run(&self, shutdown: CancellationToken) {
        // A VERIFY that an earlier run left behind is on its way no more.
        self.with(|state, _| state.webhook.iter_mut().for_each(|webhook| webhook.verifying = false));
        let mut tasks = JoinSet::new();
        let mut status = interval(Duration::from_secs(60));
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_round = Instant::now();
        loop {
            self.begin_verify(&mut tasks);
            self.spawn(&mut tasks, self.with(events::first_deliveries));
            if self.with(|state, _| std::mem::take(&mut state.round_asked)) {
                self.spawn(&mut tasks, self.with(|state, now| events::round(state, now, true)));
            }
            let every = self.webhook_settings().map_or(Duration::from_secs(3600), |webhook| webhook.every);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.shared.wake.notified() => {}
                () = sleep_until(last_round + every.max(SHORTEST_ROUND)) => {
                    last_round = Instant::now();
                    self.spawn(&mut tasks, self.with(|state, now| events::round(state, now, false)));
                }
                _ = status.tick() => self.write_status(),
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    /// Tries to verify the webhook, with its retries, and says whether it is verified. For tests.
    pub async fn verify(&self) -> bool {
        let Some(webhook_id) = self.with(|state, _| state.webhook.as_ref().map(|webhook| webhook.id.clone())) else {
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

    fn webhook_settings(&self) -> Option<WebhookSettings> {
        self.with(|state, _| state.webhook.as_ref().map(|webhook| webhook.settings.clone()))
    }

    fn begin_verify(&self, tasks: &mut JoinSet<bool>) {
        let begun = self.with(|state, _| {
            let webhook = state.webhook.as_mut().filter(|webhook| !webhook.verified && !webhook.verifying)?;
            webhook.verifying = true;
            Some(webhook.id.clone())
        });
        if let Some(webhook_id) = begun {
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
            let challenge = state.chance.word();
            let unsigned = state.faults.strikes(FaultKind::UnsignedVerify, &mut state.chance);
            let event = events::verify(state, &challenge, unsigned)?;
            (event.webhook_id == webhook_id).then_some((event, challenge))
        })?;
        let wanted = json!(self.sign(challenge.as_bytes()));
        let right = |status: StatusCode, body: &[u8]| {
            let answer = serde_json::from_slice::<Value>(body).unwrap_or_default();
            status == StatusCode::OK && answer["challenge"] == wanted
        };
        let verified = self.send(event, first_wait, right).await;
        self.with(|state, _| {
            let webhook = state.webhook.as_mut().filter(|webhook| webhook.id == webhook_id)?;
            webhook.verified |= verified;
            Some(webhook.verified)
        })
    }

    fn spawn(&self, tasks: &mut JoinSet<bool>, events: Vec<Event>) {
        for event in events {
            if tasks.len() >= MOST_AT_ONCE {
                self.with(|state, _| state.counters.dropped += 1);
                continue;
            }
            let simulator = self.clone();
            tasks.spawn(async move { simulator.send(event, 0, |status, _| status.is_success()).await });
        }
    }

    /// Sends an event until it is answered rightly, for as long as Smartcar would try.
    async fn send(&self, event: Event, first_wait: u32, right: impl Fn(StatusCode, &[u8]) -> bool) -> bool {
        for wait in [first_wait].into_iter().chain(RETRY_WAITS) {
            if wait > 0 {
                sleep(Duration::from_secs(wait.into()).mul_f64(event.retry_scale)).await;
            }
            let current =
                |state: &super::state::State| state.webhook.as_ref().map(|webhook| &webhook.id) == Some(&event.webhook_id);
            let Some(request) =
                self.with(|state, now| current(state).then(|| self.request(&event, events::delivered(&event, state, now))))
            else {
                return false;
            };
            self.with(|state, _| state.counters.sent(&event.id, event.kind, &event.vehicle_id));
            let answer = match request {
                Ok(request) => self.shared.world.transport.send(request, PATIENCE).await.ok(),
                Err(_) => None,
            };
            if answer.is_some_and(|answer| right(answer.status(), answer.body())) {
                self.with(|state, _| state.counters.acknowledged(&event.id));
                return true;
            }
        }
        self.with(|state, _| state.counters.dropped += 1);
        false
    }

    fn request(&self, event: &Event, body: Value) -> Result<Request<Bytes>, http::Error> {
        let body = Bytes::from(body.to_string());
        let mut request = Request::post(&event.url)
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, body.len())
            .header(USER_AGENT, "Smartcar/1.0");
        if event.signed {
            request = request.header("sc-signature", self.sign(&body));
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
                webhook.verified = state.webhook.as_ref().is_some_and(|webhook| webhook.verified),
                sent = counters.sent,
                acknowledged = counters.acknowledged,
                dropped = counters.dropped,
                "simulated Smartcar"
            );
        });
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
