//! When Smartcar is asked, and for what: as seldom as the wishes of clients allow.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use serde_json::json;

use super::asked::{EVERYTHING, Note, VEHICLE, Vain};
use super::errors::{of_call, of_store};
use super::history::{Days, Question};
use super::lacking::{can_never, is_impossible};
use super::stored::{self, of_failure};
use super::{Compat, Reply, Wish, is_granted};
use crate::model::api_error::ApiError;
use crate::model::capability::lasts;
use crate::model::mapping::{self, Endpoint};
use crate::model::reach::Reach;
use crate::model::reading::SignalFailure;
use crate::model::token::Generation;
use crate::model::{Timestamp, VehicleId};
use crate::store::tellings::Latest;
use crate::tokens::CallError;
use crate::vehicles::known::Known;

impl Compat {
    /// What these endpoints of API v2.0 tell, each by itself, with one call at most; and one for each span of services
    /// that are further back than what is stored.
    pub(super) async fn answers(
        &self,
        reach: &Reach,
        known: Known,
        questions: &[Question],
        wish: Wish,
    ) -> Result<Vec<Result<Reply, ApiError>>, ApiError> {
        let moment = self.asked.moment();
        let mut older: HashMap<Days, Result<Reply, ApiError>> = HashMap::new();
        for days in questions.iter().filter_map(|question| self.older_days(&known, question)) {
            if let Entry::Vacant(place) = older.entry(days) {
                place.insert(self.older(reach, &known, days, wish).await);
            }
        }
        let is_older = |question: &&Question| question.days().is_ok_and(|days| older.contains_key(&days));
        let mut due: Vec<&'static str> = questions
            .iter()
            .filter(|question| !is_older(question))
            .filter_map(|question| mapping::endpoint(&question.path))
            .filter(|endpoint| self.is_due(&known, endpoint, wish, moment))
            .map(|endpoint| endpoint.path)
            .collect();
        due.sort_unstable();
        due.dedup();
        let (known, failed) =
            if due.is_empty() { (known, None) } else { self.read(reach, known, due.clone(), wish, moment).await? };
        let answer = |question: &Question| match &*question.path {
            "" => attributes(&known),
            "permissions" => {
                let all = known.permissions().unwrap_or_default();
                Ok(Reply::plain(json!({ "permissions": all, "paging": { "count": all.len(), "offset": 0 } })))
            }
            path => {
                let days = question.days()?;
                if let Some(reply) = older.get(&days) {
                    return reply.clone();
                }
                let endpoint = mapping::endpoint(path).ok_or_else(ApiError::path)?;
                let failed = failed.clone().filter(|_| due.contains(&endpoint.path));
                // While nobody asks again, the answer is the one that was given then.
                let still = || self.why_not(&known, endpoint.path).filter(|_| self.is_too_old(&known, endpoint, wish));
                let mut reply = stored::answer(&known, endpoint, wish, failed.or_else(still).as_ref())?;
                days.cut(&mut reply.body);
                Ok(reply)
            }
        };
        Ok(questions.iter().map(answer).collect())
    }

    /// Asks Smartcar for what is `due`, unless somebody else has since `moment`; returns the vehicle as it is known
    /// then, and why nothing new is. A client that goes away stops neither the call nor what is learnt from it.
    pub(super) async fn read(
        &self,
        reach: &Reach,
        known: Known,
        due: Vec<&'static str>,
        wish: Wish,
        moment: u64,
    ) -> Result<(Known, Option<ApiError>), ApiError> {
        let (own, reach) = (self.clone(), reach.clone());
        let task = tokio::spawn(async move {
            let _turn = own.asked.turn(known.id()).await;
            let known = own.connected(&reach, known.id()).await?;
            let is_open = |path: &&'static str| !own.was_asked_since(known.id(), path, moment) && !own.waits(&known, path);
            let due: Vec<&'static str> = due.into_iter().filter(is_open).collect();
            if due.is_empty() {
                return Ok((known, None));
            }
            own.ask(&reach, &known, &due, wish, moment).await
        });
        task.await.unwrap_or_else(|_| Err(ApiError::of("SERVER", Some("INTERNAL"))))
    }

    async fn ask(
        &self,
        reach: &Reach,
        known: &Known,
        due: &[&'static str],
        wish: Wish,
        moment: u64,
    ) -> Result<(Known, Option<ApiError>), ApiError> {
        let (id, began) = (known.id(), self.world.now());
        let open = mapping::open_to(known.permissions());
        // What would be asked for anyhow comes along: it is one call.
        let by_itself = Wish { max_age: None, ..wish };
        let everything = due.contains(&EVERYTHING);
        let wants = |endpoint: &Endpoint| {
            self.is_due(known, endpoint, by_itself, moment)
                || everything && self.is_open(known, endpoint, moment) && !can_never(known, endpoint)
        };
        let along = open.iter().copied().filter(|path| mapping::endpoint(path).is_some_and(wants));
        let mut paths: Vec<&'static str> = due.iter().copied().filter(|path| *path != EVERYTHING).collect();
        paths.extend(along.filter(|path| !due.contains(path)));
        let result = self.vehicles.read(known, Some(&paths), wish.reason()).await;
        let now = self.world.now();
        if let Err(error) = &result
            && let Some(limited) = self.limited(known, error).await
        {
            return Ok((self.connected(reach, id).await?, Some(limited)));
        }
        let failed = result.as_ref().err().map(of_call);
        match (result, failed) {
            (Err(CallError::Smartcar(_)), Some(error)) => {
                self.asked.note(id, (began, now), [(VEHICLE, Vain::Failed(error.clone()))]);
                Ok((self.connected(reach, id).await?, Some(error)))
            }
            // Nothing went out.
            (Err(_), failed) => Ok((self.connected(reach, id).await?, failed)),
            (Ok(()), _) => {
                let known = self.vehicles.known(reach, id).await.map_err(of_store)?.ok_or_else(ApiError::no_vehicle)?;
                // API v3 tells everything at once.
                if known.connection.as_ref().is_some_and(|connection| connection.generation == Generation::V3) {
                    paths.extend(open.iter().filter(|path| !due.contains(path)));
                    paths.push(EVERYTHING);
                } else if everything {
                    paths.push(EVERYTHING);
                }
                self.asked.note(id, (began, now), self.results(&known, &paths, began));
                Ok((known, None))
            }
        }
    }

    /// The error of a call about a vehicle that ran into a limit of Smartcar's own, with the time at which that is over. It is
    /// not noted: the ledger knows it, and for how long.
    pub(super) async fn limited(&self, known: &Known, error: &CallError) -> Option<ApiError> {
        let refused = self.vehicles.refusal(known, error).await?;
        Some(of_call(error).after(refused.after()))
    }

    /// What came of asking for each of these, and what it says of the vehicle. What fails altogether is a failure of the
    /// vehicle; that of one endpoint is only if it says so, or if others have failed before it and nothing came since.
    fn results(&self, known: &Known, paths: &[&'static str], began: Timestamp) -> Vec<(&'static str, Vain)> {
        let mut results = results(known, paths, began);
        let failed: Vec<_> = results
            .iter()
            .filter_map(|(path, why)| if let Vain::Failed(error) = why { Some((path, error)) } else { None })
            .collect();
        let has_come = results.iter().any(|(_, why)| matches!(why, Vain::Not));
        match &*failed {
            [(path, error)] if !has_come && !is_of_vehicle(error) && !self.asked.is_failing(known.id(), path) => {}
            [(_, error), ..] if !has_come => results = vec![(VEHICLE, Vain::Failed((*error).clone()))],
            _ => results.push((VEHICLE, Vain::Not)),
        }
        results
    }

    /// Whether Smartcar is to be asked for an endpoint.
    fn is_due(&self, known: &Known, endpoint: &Endpoint, wish: Wish, moment: u64) -> bool {
        self.is_open(known, endpoint, moment) && self.is_too_old(known, endpoint, wish)
    }

    /// Whether asking for it makes sense now.
    fn is_open(&self, known: &Known, endpoint: &Endpoint, moment: u64) -> bool {
        is_granted(known, endpoint.permission)
            && !is_impossible(known, endpoint)
            && !self.was_asked_since(known.id(), endpoint.path, moment)
            && !self.waits(known, endpoint.path)
    }

    fn was_asked_since(&self, id: &VehicleId, path: &'static str, moment: u64) -> bool {
        let is_after = |note: &Note| note.is_after(moment);
        let has_failed = |note: &Note| is_after(note) && !note.is_good();
        self.asked.last(id, path).is_some_and(|note| is_after(&note))
            || self.asked.last(id, VEHICLE).is_some_and(|note| has_failed(&note))
    }

    /// Whether nobody asks for it now, because nothing came of it lately.
    pub(super) fn waits(&self, known: &Known, path: &'static str) -> bool {
        self.waiting(known, path).is_some()
    }

    /// Why nobody asks for it now, if Smartcar has said so, and when somebody will.
    pub(super) fn why_not(&self, known: &Known, path: &'static str) -> Option<ApiError> {
        let note = self.waiting(known, path)?;
        note.error().map(|error| error.clone().after(note.until().since(self.world.now())))
    }

    fn waiting(&self, known: &Known, path: &'static str) -> Option<Note> {
        let is_over = |note: &Note, codes: &dyn Fn(&str) -> bool| {
            let is_newer = |at: Timestamp| at > note.at;
            // It was connected again, or the car has told something since.
            let is_connected = known.connection.as_ref().is_some_and(|connection| is_newer(connection.connected_at));
            let told = known.latest.values().filter(|latest| codes(&latest.code)).filter_map(|latest| latest.told_at);
            note.until() <= self.world.now() || is_connected || told.max().is_some_and(is_newer)
        };
        let of_vehicle = self.asked.last(known.id(), VEHICLE).filter(|note| !is_over(note, &|_| true));
        // The question of older days has the path's signals.
        let signals = mapping::endpoint(path.trim_end_matches('?')).map(|endpoint| endpoint.signals);
        let is_of_path = |code: &str| signals.is_none_or(|signals| signals.iter().any(|signal| signal.code == code));
        of_vehicle.or_else(|| self.asked.last(known.id(), path).filter(|note| !is_over(note, &is_of_path)))
    }

    fn is_too_old(&self, known: &Known, endpoint: &Endpoint, wish: Wish) -> bool {
        if !is_granted(known, endpoint.permission) || is_impossible(known, endpoint) {
            return false;
        }
        let oldest = stored::telling(known, endpoint).into_iter().filter_map(Latest::fetched_at).min();
        if oldest.is_none() && can_never(known, endpoint) && wish.max_age.is_none() {
            return false;
        }
        self.is_older(known.id(), endpoint.path, oldest, wish)
    }

    /// Whether what was told then is older than is wished. What Smartcar told when it was asked last counts from then:
    /// it need not have got anything new.
    pub(super) fn is_older(&self, id: &VehicleId, path: &'static str, told: Option<Timestamp>, wish: Wish) -> bool {
        let max_age = wish.max_age.or(self.settings.max_age);
        let is_older = |at: Timestamp, age: Duration| age.is_zero() || self.world.now().since(at) > age;
        let asked = self.asked.last(id, path).filter(Note::is_good);
        let Some(told) = told else { return true };
        // Of what the car has done since, nothing is known yet: a script that locks and looks must see it locked, also if
        // somebody else was looking meanwhile.
        let known = asked.as_ref().map_or(told, |note| told.max(note.began));
        let is_done_since = self.commands.done_at(id).is_some_and(|done| known < done);
        is_done_since || max_age.is_some_and(|age| is_older(asked.map_or(told, |note| told.max(note.at)), age))
    }
}

/// What came of asking for each of these.
fn results(known: &Known, paths: &[&'static str], began: Timestamp) -> Vec<(&'static str, Vain)> {
    let is_new = |latest: &Latest| latest.failure.is_none() && latest.told_at.is_some_and(|at| at >= began);
    let passing = |latest: &Latest| -> Option<SignalFailure> {
        let (failure, at) = latest.failure.as_ref()?;
        (*at >= began && !lasts(failure)).then(|| failure.clone())
    };
    let result = |path: &'static str| {
        let signals = mapping::endpoint(path).map(|endpoint| endpoint.signals);
        let of_path = |latest: &&Latest| signals.is_none_or(|signals| signals.iter().any(|signal| signal.code == latest.code));
        let latest = || known.latest.values().filter(of_path);
        let why = match latest().find_map(passing) {
            _ if latest().any(is_new) => Vain::Not,
            Some(failure) => Vain::Failed(of_failure(&failure)),
            None => Vain::Nothing,
        };
        (path, why)
    };
    paths.iter().map(|path| result(path)).collect()
}

/// Whether an error is about the whole vehicle, its owner's account or its calls, and not about what was asked for.
pub(super) fn is_of_vehicle(error: &ApiError) -> bool {
    matches!(&*error.kind, "VEHICLE_STATE" | "CONNECTED_SERVICES_ACCOUNT" | "RATE_LIMIT" | "BILLING")
}

fn attributes(known: &Known) -> Result<Reply, ApiError> {
    if !is_granted(known, "read_vehicle_info") {
        return Err(ApiError::permission());
    }
    let facts = &known.vehicle.facts;
    let make = facts.make.as_ref().map(|make| make.to_uppercase());
    Ok(Reply::plain(json!({ "id": facts.id, "make": make, "model": facts.model, "year": facts.year })))
}
