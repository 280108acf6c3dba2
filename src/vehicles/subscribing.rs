//! Subscribing vehicles to our webhook at Smartcar: each that is connected, once, by itself or on request.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::limits::Urgency;
use super::{Shared, Vehicles, VehiclesError};
use crate::budget::Refused;
use crate::model::budget::APPLICATION;
use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::event::Event;
use crate::model::reach::Reach;
use crate::model::subscription::Subscription;
use crate::model::token::Generation;
use crate::model::vehicle::Vehicle;
use crate::model::{ConnectionId, Seq, VehicleId};
use crate::smartcar::{Smartcar, SmartcarError, is_subscribed};
use crate::store::StoreError;
use crate::store::subscriptions::NoteSubscription;
use crate::store::webhook_log::Filed;
use crate::tokens::{CallError, TokenError};

impl Vehicles {
    /// Subscribes a vehicle to the webhook now, whether it is known to be or not.
    pub async fn subscribe(&self, reach: &Reach, id: &VehicleId) -> Result<(), VehiclesError> {
        let (row, vehicle) = self.within(reach, id).await?;
        let connection = vehicle.connection.ok_or_else(|| VehiclesError::NotConnected(Some(id.clone())))?;
        let connection = self.shared.store.read(move |snapshot| snapshot.sound_connection(connection)).await?;
        let connection = connection.ok_or_else(|| VehiclesError::NotConnected(Some(id.clone())))?;
        let webhook = self.shared.webhook().await?;
        Ok(self.shared.subscribe(row, &vehicle, &connection, webhook).await?)
    }

    /// Smartcar, or somebody who says so, has asked whether the webhook is ours: cars that wait for it are subscribed soon.
    pub fn webhook_was_verified(&self) {
        let mut heard_at = self.shared.verified_at.lock().unwrap_or_else(PoisonError::into_inner);
        // Anybody can ask that of us: it must not make many calls.
        if heard_at.is_none_or(|at| at.elapsed() >= SELDOM) {
            *heard_at = Some(Instant::now());
            self.shared.webhook_may_work.notify_one();
        }
    }
}

/// Subscribes what is connected until `shutdown`: at the start, when cars are linked, and what failed after a while.
pub(super) async fn run(shared: &Shared, shutdown: CancellationToken) {
    if !shared.settings.get().subscribes {
        return shutdown.cancelled().await;
    }
    let mut waiting = HashMap::new();
    loop {
        let wait = tokio::select! {
            () = shutdown.cancelled() => return,
            wait = subscribe_all(shared, &mut waiting) => wait.unwrap_or_else(|error| {
                tracing::warn!(%error, "subscribing to the webhook waits for the store");
                SHORTEST
            }),
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = shared.unsubscribed.notified() => {}
            () = shared.webhook_may_work.notified() => waiting.values_mut().for_each(Waiting::begin_anew),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// A vehicle that could not be subscribed: how often, and when to try again, at the soonest and unless something happens.
struct Waiting {
    tries: u32,
    soonest: Instant,
    until: Instant,
}

impl Waiting {
    /// What it waited for may be there: no longer than after the first failure.
    fn begin_anew(&mut self) {
        // Smartcar needs our answer first.
        let soon = self.soonest.max(Instant::now() + ANSWERED);
        *self = Waiting { tries: 0, until: self.until.min(soon), ..*self };
    }
}

type Connected = (u32, Vehicle, Connection);

/// Returns how long there is nothing to do.
async fn subscribe_all(shared: &Shared, waiting: &mut HashMap<u32, Waiting>) -> Result<Duration, StoreError> {
    let open = unsubscribed(shared).await?;
    waiting.retain(|row, _| open.iter().any(|(open, ..)| open == row));
    let due = |row: &u32| waiting.get(row).is_none_or(|waiting| waiting.until <= Instant::now());
    let due: Vec<Connected> = open.into_iter().filter(|(row, ..)| due(row)).collect();
    if due.is_empty() {
        return Ok(next(waiting));
    }
    let webhook = shared.webhook().await;
    for (row, vehicle, connection) in due {
        let result = match &webhook {
            Ok(webhook) => shared.subscribe(row, &vehicle, &connection, webhook.clone()).await,
            Err(error) => Err(error.clone()),
        };
        match result {
            Ok(()) => {
                waiting.remove(&row);
                tracing::info!("a car is subscribed to the webhook");
            }
            // That is so for all of them.
            Err(CallError::Budget(refused @ Refused::ApplicationRests { .. })) => {
                tracing::info!(%refused, "cars wait to be subscribed to the webhook");
                return Ok(refused.after().min(LONGEST));
            }
            Err(error) => {
                let least = match &error {
                    CallError::Budget(refused) => refused.after(),
                    _ => Duration::ZERO,
                };
                let tries = waiting.get(&row).map_or(0, |waiting| waiting.tries).saturating_add(1);
                let wait = (SHORTEST * (1 << tries.saturating_sub(1).min(9))).min(LONGEST).max(least);
                tracing::warn!(%error, tries, again_in_s = wait.as_secs(), "a car cannot be subscribed to the webhook yet");
                let (now, soonest) = (Instant::now(), SHORTEST.max(least));
                waiting.insert(row, Waiting { tries, soonest: now + soonest, until: now + wait });
            }
        }
    }
    Ok(next(waiting))
}

fn next(waiting: &HashMap<u32, Waiting>) -> Duration {
    let next = waiting.values().map(|waiting| waiting.until).min();
    next.map_or(LONGEST, |until| until.saturating_duration_since(Instant::now()))
}

async fn unsubscribed(shared: &Shared) -> Result<Vec<Connected>, StoreError> {
    let configured = shared.settings.get().webhook_id.clone();
    let found = shared.store.read(move |snapshot| {
        let mut found = Vec::new();
        for (row, vehicle) in snapshot.vehicles(0, usize::MAX)? {
            let Some(connection) = vehicle.connection.map_or(Ok(None), |id| snapshot.sound_connection(id))? else { continue };
            let known = snapshot.subscription(row, &connection)?;
            let is_good = known.is_some_and(|known| configured.as_ref().is_none_or(|configured| known.webhook == *configured));
            if connection.status == ConnectionStatus::Active && !is_good {
                found.push((row, vehicle, connection));
            }
        }
        Ok(found)
    });
    found.await
}

impl Shared {
    /// Smartcar's id of our webhook: as configured, else the one that posts to us, else that of the newest delivery.
    async fn webhook(&self) -> Result<String, CallError> {
        if let Some(configured) = self.settings.get().webhook_id.clone() {
            return Ok(configured);
        }
        let known = self.webhook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let learnt = match self.delivered().await.map_err(TokenError::from)? {
            Some(delivered) => Some(delivered),
            None if self.smartcar.settings().v3.is_some() => self.listed().await?,
            None => None,
        };
        self.webhook.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&learnt);
        Ok(learnt.ok_or_else(|| TokenError::Configuration(UNKNOWN.to_owned()))?)
    }

    /// As a proven delivery names it.
    async fn delivered(&self) -> Result<Option<String>, StoreError> {
        let after = Seq(self.store.grew().borrow().0.saturating_sub(LOOKED_AT));
        let part = self.store.read(move |snapshot| snapshot.log_after(after, usize::MAX, |_, _| true)).await?;
        let mut entries = part.entries.into_iter().rev().filter_map(Filed::unpack);
        Ok(entries.find_map(|entry| Event::parse(&entry.body.0).ok()?.webhook_id))
    }

    /// As the management API lists it. A webhook that posts elsewhere is somebody else's.
    async fn listed(&self) -> Result<Option<String>, CallError> {
        let listed = self.ask((APPLICATION, Urgency::CanWait), ConnectionId::APPLICATION, |smartcar, access| async move {
            smartcar.webhooks(&access).await
        });
        let settings = self.settings.get();
        let ours = |uri: &str| uri.trim_end_matches('/') == settings.webhook_url.trim_end_matches('/');
        let mut listed = listed.await?.into_iter();
        Ok(listed.find(|webhook| webhook.callback_uri.as_deref().is_some_and(ours)).map(|webhook| webhook.id))
    }

    async fn subscribe(&self, row: u32, vehicle: &Vehicle, connection: &Connection, webhook: String) -> Result<(), CallError> {
        let (car, id) = (&vehicle.facts.id, &webhook);
        let told = match (connection.generation, &connection.smartcar_user) {
            (Generation::V2, _) => {
                let call =
                    |smartcar: Smartcar, access| async move { is_subscribed(smartcar.subscribe_v2(&access, car, id).await) };
                self.ask((row, Urgency::CanWait), connection.id, call).await
            }
            (Generation::V3, Some(user)) => {
                let call = |smartcar: Smartcar, access| async move {
                    is_subscribed(smartcar.subscribe_v3(&access, car, user, id).await)
                };
                self.ask((row, Urgency::CanWait), ConnectionId::APPLICATION, call).await
            }
            (Generation::V3, None) => Err(TokenError::Gone.into()),
        };
        if let Err(CallError::Smartcar(SmartcarError::NotPossible { .. })) = &told {
            // Perhaps it is another webhook by now.
            *self.webhook.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        told?;
        let (connection, connected_at) = (connection.id, connection.connected_at);
        let subscription = Subscription { webhook, connection, connected_at, at: self.world.now() };
        let noted = self.store.commit(NoteSubscription { vehicle: row, subscription }).await;
        Ok(noted.map_err(TokenError::from)?)
    }
}

const UNKNOWN: &str = "the webhook is not known: no delivery has come in yet, and Smartcar lists none that posts to Carport's \
                       address. Create it in Smartcar's dashboard, or set smartcar.webhook_id";

/// The first wait after a failure; each further one is twice as long, up to the longest.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// How often the webhook may be said to be verified until that is heard once more.
const SELDOM: Duration = Duration::from_secs(15 * 60);

/// How long Smartcar may take to believe that a webhook is verified.
const ANSWERED: Duration = Duration::from_secs(5);

/// How many of the newest deliveries may tell the webhook's id.
const LOOKED_AT: u64 = 64;
