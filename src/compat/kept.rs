//! Answers of Smartcar's that are kept in memory for a while. Equal questions at the same moment are one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Queue;

use super::errors::of_call;
use crate::model::Timestamp;
use crate::model::api_error::ApiError;
use crate::smartcar::SmartcarError;
use crate::tokens::CallError;
use crate::world::World;

/// Answers, by what was asked. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Kept<T>(Arc<Mutex<HashMap<String, Arc<Place<T>>>>>);

/// One answer, when it came, and who waits for it.
type Place<T> = Queue<Option<(Timestamp, Result<T, ApiError>)>>;

/// What came of a question.
pub(super) struct Told<T> {
    answer: Result<T, ApiError>,
    /// Smartcar would say the same again.
    lasts: bool,
}

impl<T> Told<T> {
    pub(super) fn of(answer: Result<T, CallError>) -> Told<T> {
        let lasts = match &answer {
            Ok(_) => true,
            // Without a reason of Smartcar's own it may be a mistake, or a proxy's.
            Err(CallError::Smartcar(SmartcarError::NotPossible { what })) => {
                matches!(what.kind.as_deref(), Some("COMPATIBILITY" | "VALIDATION"))
            }
            Err(_) => false,
        };
        Told { answer: answer.map_err(|error| of_call(&error)), lasts }
    }

    /// It was not asked.
    pub(super) fn not(why: ApiError) -> Told<T> {
        Told { answer: Err(why), lasts: false }
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept(Arc::default())
    }
}

impl<T: Clone> Kept<T> {
    /// The answer to a question, at most so old: one that has come since it was asked here is never too old.
    pub(super) async fn answer(
        &self,
        world: &World,
        question: &str,
        life: Duration,
        ask: impl AsyncFnOnce() -> Told<T>,
    ) -> Result<T, ApiError> {
        let (place, began) = (self.place(question), world.now());
        let mut kept = place.lock().await;
        let is_fresh = |(at, _): &&(Timestamp, _)| *at > began || world.now().since(*at) < life;
        if let Some((_, answer)) = kept.as_ref().filter(is_fresh) {
            return answer.clone();
        }
        let Told { answer, lasts } = ask().await;
        // What was told before still counts for whoever is content with it.
        if lasts {
            *kept = Some((world.now(), answer.clone()));
        }
        answer
    }

    /// Forgets the answers to all questions that begin so.
    pub(super) fn forget(&self, beginning: &str) {
        self.all().retain(|question, _| !question.starts_with(beginning));
    }

    fn place(&self, question: &str) -> Arc<Place<T>> {
        let mut all = self.all();
        if all.len() >= MOST && !all.contains_key(question) {
            all.clear();
        }
        all.entry(question.to_owned()).or_default().clone()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Place<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long is kept what hardly changes.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// How many answers are kept.
const MOST: usize = 256;
