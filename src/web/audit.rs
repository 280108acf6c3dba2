//! What of the requests goes into the audit log: all that may change something, whatever way it ends. It is there before
//! anything changes.
//!
//! Not what a client was refused (status 4xx: nothing has changed), deliveries, or reads, fresh ones too. Of commands
//! also what was refused because of the car or its calls: its owner wants to know who tried.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use super::problem::Problem;
use super::router::{Auth, Route};
use crate::commands::CommandView;
use crate::operate::audit::{Actor, Audit, Done, Ring};
use crate::vehicles::{History, Note, VehiclesError};

/// Beside the ids of what was removed: it was erased with its history.
pub(super) const ERASED: &str = "erase";

/// Before the ids of connections that went back to v2.0.
pub(super) const UNDO: &str = "undo";

/// After the id of a connection by which cars came from v3 to v2.0.
pub(super) const LEFT_V3: &str = "left_v3";

/// Beside the ids of what was erased: but for rows that are damaged.
pub(super) const DAMAGED: &str = "damaged";

/// The entry about a request under way, of which its handler may know more. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Noting {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    audit: Audit,
    entry: Mutex<Option<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    ring: Ring,
    done: Done,
    /// Its number, once it is on disk.
    number: Option<u64>,
    /// Whether it is told whatever the status; unless set, that says it.
    has_happened: Option<bool>,
}

impl Noting {
    /// Of a request on `route`; of one that is not noted, an empty one.
    pub(super) fn of(route: Route, audit: &Audit, done: Done) -> Noting {
        let entry = route.policy().audit.map(|ring| Entry { ring, done, number: None, has_happened: None });
        Noting { held: Arc::new(Held { audit: audit.clone(), entry: Mutex::new(entry) }) }
    }

    /// Adds the id of something that the path does not name.
    pub(super) fn add(&self, id: impl Into<String>) {
        let id = id.into();
        if let Some(entry) = &mut *self.locked()
            && !entry.done.ids.contains(&id)
        {
            entry.done.ids.push(id);
        }
    }

    /// Adds which command it was, why it failed in Smartcar's word, and how it ended.
    pub(super) fn command(&self, view: &CommandView) {
        self.add(view.id.as_str());
        view.error.iter().filter_map(|error| error.code.as_deref()).for_each(|code| self.add(code));
        self.add(view.status);
    }

    /// Adds the ids of cars that go with what the path names: each as it goes, and whatever the status then is.
    pub(super) fn cars(&self) -> Note {
        let noting = self.clone();
        Arc::new(move |car| {
            noting.add(car.as_str());
            noting.has_happened();
        })
    }

    /// What goes is erased, too: in a word of its own, before the cars that go with it.
    pub(super) fn erases(&self, history: History) {
        if history == History::Erase {
            self.add(ERASED);
        }
    }

    /// How a removal went: the last word says that it was done as far as it can be read.
    pub(super) fn removed<T>(&self, result: Result<T, VehiclesError>) -> Result<T, VehiclesError> {
        if let Err(VehiclesError::Unreadable { .. }) = &result {
            self.add(DAMAGED);
        }
        result
    }

    /// Something has been tried: it is noted whatever the status, of which Smartcar's API has many.
    pub(super) fn has_happened(&self) {
        self.locked().iter_mut().for_each(|entry| entry.has_happened = Some(true));
    }

    /// It came to nothing, though the answer is as to one that did.
    pub(super) fn nothing_has_happened(&self) {
        self.locked().iter_mut().for_each(|entry| entry.has_happened = Some(false));
    }

    /// Says who it is that came without a word in the head.
    pub(super) fn by(&self, actor: Actor) {
        if let Some(entry) = &mut *self.locked() {
            entry.done.actor = actor;
        }
    }

    /// Puts the entry on disk: before anything is changed, and, where strangers come, not before it is known that
    /// something will be, or they would wear out the card.
    pub(super) async fn begin(&self) -> Result<(), Problem> {
        let entry = self.locked().clone();
        if let Some(Entry { ring, done, number: None, .. }) = entry {
            let number = self.held.audit.begin(ring, done).await?;
            self.locked().iter_mut().for_each(|entry| entry.number = Some(number));
        }
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, Option<Entry>> {
        self.held.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How commands are refused because of the car, its owner's permissions or the calls about it, here and by Smartcar's own API.
const BECAUSE_OF_THE_CAR: [u16; 4] = [403, 409, 429, 430];

/// A request between its beginning and its end.
pub(super) struct UnderWay {
    noting: Noting,
    is_command: bool,
}

impl UnderWay {
    /// Begins before the handler does; where strangers come, or somebody may not be sure yet, the handler says when.
    pub(super) async fn begin(route: Route, noting: Noting) -> Result<UnderWay, Problem> {
        if !matches!(route.policy().auth, Auth::Open | Auth::Signature) && route != Route::CarCommand {
            noting.begin().await?;
        }
        let by_smartcars_api = matches!(route, Route::V2Command | Route::V2CommandPart | Route::V3Command);
        let is_command = by_smartcars_api || matches!(route, Route::CommandRun | Route::CarCommand);
        Ok(UnderWay { noting, is_command })
    }

    /// Ends with the status of the answer.
    pub(super) async fn end(self, status: StatusCode) {
        let is_told = !status.is_client_error() || (self.is_command && BECAUSE_OF_THE_CAR.contains(&status.as_u16()));
        let Some(Entry { ring, done, number: Some(number), has_happened }) = self.noting.locked().take() else { return };
        let done = has_happened.unwrap_or(is_told).then(|| Done { status: Some(status.as_u16()), ..done });
        self.noting.held.audit.end(ring, number, done).await;
    }
}

/// A client that hangs up in the middle is noted too, with what goes on to its end all the same.
impl Drop for Held {
    fn drop(&mut self) {
        let entry = self.entry.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Entry { ring, done, number: Some(number), .. }) = entry else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let audit = self.audit.clone();
            runtime.spawn(async move { audit.end(ring, number, Some(done)).await });
        }
    }
}
