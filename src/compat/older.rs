//! Services of days further back than what is kept. Asked without dates, as every read asks, API v2.0 tells the last year's;
//! who means earlier ones must have them from Smartcar.

use std::time::Duration;

use super::asked::{VEHICLE, Vain};
use super::errors::of_call;
use super::history::{Days, HISTORY, Question};
use super::kept::{DAY, Told};
use super::lacking::can_never;
use super::reading::is_of_vehicle;
use super::{Compat, Reply, Wish, is_granted, stored};
use crate::model::VehicleId;
use crate::model::api_error::ApiError;
use crate::model::mapping;
use crate::model::reach::Reach;
use crate::model::reading::{Outcome, SignalReport, Source};
use crate::model::token::Generation;
use crate::smartcar::SmartcarError;
use crate::tokens::CallError;
use crate::vehicles::known::Known;

impl Compat {
    /// The days that a question means, if not all of their services can be among those that are kept. API v3 tells them all,
    /// and so does a webhook.
    pub(super) fn older_days(&self, known: &Known, question: &Question) -> Option<Days> {
        let days = question.days().ok().filter(|days| days.are_some())?;
        let endpoint = mapping::endpoint(HISTORY)?;
        let is_v2 = known.connection.as_ref().is_some_and(|connection| connection.generation == Generation::V2);
        if !is_v2 || !is_granted(known, endpoint.permission) || can_never(known, endpoint) {
            return None;
        }
        let latest = stored::telling(known, endpoint).into_iter().next();
        if latest.and_then(stored::usable).is_some_and(|reading| reading.source == Source::Webhook) {
            return None;
        }
        let fetched_at = latest.and_then(|latest| latest.fetched_at()).unwrap_or_else(|| self.world.now());
        days.begin_by(fetched_at.before(YEAR).day()).then_some(days)
    }

    /// The services of such days. A client that goes away stops neither the call nor what is learnt from it.
    pub(super) async fn older(&self, reach: &Reach, known: &Known, days: Days, wish: Wish) -> Result<Reply, ApiError> {
        let (own, reach, id) = (self.clone(), reach.clone(), known.id().clone());
        let since = known.connection.as_ref().map(|connection| (connection.id, connection.connected_at));
        let task = tokio::spawn(async move {
            // SECURITY: whoever connects the car later, or again, asks anew.
            let question = format!("{id} {since:?} {days:?}");
            let life = wish.max_age.or(own.settings.max_age).map_or(DAY, |age| age.min(DAY));
            own.services.answer(&own.world, &question, life, async || own.ask_older(&reach, &id, days, wish).await).await
        });
        let report = task.await.unwrap_or_else(|_| Err(ApiError::of("SERVER", Some("INTERNAL"))))?;
        let (SignalReport { oem_updated_at, retrieved_at, .. }, Outcome::Value(told)) = (&report, &report.outcome) else {
            return Err(ApiError::of("UPSTREAM", Some("INVALID_DATA")));
        };
        let endpoint = mapping::endpoint(HISTORY).ok_or_else(ApiError::path)?;
        let mut body = endpoint.answer(&|_| Some(told.value()), wish.imperial).unwrap_or_default();
        days.cut(&mut body);
        Ok(Reply { body, oem_updated_at: *oem_updated_at, fetched_at: *retrieved_at })
    }

    async fn ask_older(&self, reach: &Reach, id: &VehicleId, days: Days, wish: Wish) -> Told<SignalReport> {
        let _turn = self.asked.turn(id).await;
        let known = match self.connected(reach, id).await {
            Ok(known) => known,
            Err(error) => return Told::not(error),
        };
        // A car that fails is left alone here as well.
        if let Some(error) = self.why_not(&known, OLDER) {
            return Told::not(error);
        }
        let began = self.world.now();
        let told = self.vehicles.services(&known, days.dates(), wish.reason()).await;
        let now = self.world.now();
        match &told {
            Ok(_) => self.asked.note(id, (began, now), [(OLDER, Vain::Not), (VEHICLE, Vain::Not)]),
            // Of other days it may be otherwise.
            Err(CallError::Smartcar(SmartcarError::NotPossible { .. })) => {}
            Err(error @ CallError::Smartcar(_)) => {
                if let Some(limited) = self.limited(&known, error).await {
                    return Told::not(limited);
                }
                let error = of_call(error);
                self.asked.note(id, (began, now), [(if is_of_vehicle(&error) { VEHICLE } else { OLDER }, Vain::Failed(error))]);
            }
            Err(_) => {}
        }
        Told::of(told.map(|report| SignalReport { retrieved_at: report.retrieved_at.or(Some(now)), ..report }))
    }
}

/// What API v2.0 tells of services without being told since when.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The name under which asking for older services is noted.
const OLDER: &str = "/service/history?";
