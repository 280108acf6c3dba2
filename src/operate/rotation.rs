//! Replacing the master key while Carport serves.
//!
//! The new key is on disk, beside the store, before anything is sealed under it, and takes the old one's place,
//! by one rename, when nothing needs the old one any more. At every moment between, the two together open
//! everything. A rotation that was cut off goes on with the key that lies there.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::key_files::{self, KeyError};
use crate::store::{KeyIds, Resealed, Store, StoreError};
use crate::vault::{KeyId, MasterKey, Vault};
use crate::world::World;

/// Where the master key is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `key.file`.
    pub file: PathBuf,
    /// Where the next key lies until it takes the place of the other.
    pub next: PathBuf,
    /// The key is given by `key.secret`, and only the operator can replace it.
    pub is_given: bool,
    /// The id of the key that is configured.
    pub configured: KeyId,
}

/// Why there is no rotation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// The new key cannot be read or written.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Everything is sealed under the next key, but the configured one is the old one still.
    #[error(
        "everything is sealed under master key {id} already, but key.secret is the one before: put the key of {file} in \
         its place (the credential, its file or CARPORT_KEY_SECRET), then restart",
        file = file.display()
    )]
    NotSwapped {
        /// The key of the store.
        id: KeyId,
        /// Where it lies.
        file: PathBuf,
    },
}

/// The master key, by its ids.
#[derive(Clone, Debug, Serialize)]
pub struct KeyView {
    /// The key that the store is sealed under.
    pub id: String,
    /// The rotation under way, or the last one since the start.
    pub rotation: Option<RotationView>,
}

/// A rotation.
#[derive(Clone, Debug, Serialize)]
pub struct RotationView {
    /// The key before.
    pub from: String,
    /// The new key.
    pub to: String,
    /// `running`, `done` or `failed`.
    pub state: State,
    /// Rows that were looked at.
    pub rows: u64,
    /// Rows that there are.
    pub of: u64,
    /// What went wrong, or what is left to do by hand.
    pub note: Option<String>,
}

/// How a rotation fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is under way.
    Running,
    /// Everything is sealed under the new key.
    Done,
    /// It was broken off; begun again, it goes on.
    Failed,
}

/// Replaces the master key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rotation {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    store: Store,
    vault: Vault,
    world: World,
    view: Mutex<Option<RotationView>>,
    /// One makes the key that the others find.
    starting: tokio::sync::Mutex<()>,
}

impl Rotation {
    /// For a store and its vault.
    pub fn new(settings: Settings, store: Store, vault: Vault, world: World) -> Rotation {
        Rotation {
            shared: Arc::new(Shared {
                settings,
                store,
                vault,
                world,
                view: Mutex::default(),
                starting: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// The key, and how its rotation fares.
    pub async fn view(&self) -> Result<KeyView, RotationError> {
        let ids = self.shared.store.key_ids().await?;
        Ok(KeyView { id: ids.present.to_string(), rotation: self.shared.view().clone() })
    }

    /// Begins a rotation or goes on with one that was cut off, unless one is under way.
    pub async fn start(&self) -> Result<KeyView, RotationError> {
        let shared = &self.shared;
        let _one_at_a_time = shared.starting.lock().await;
        let Settings { file, next, is_given, configured } = &shared.settings;
        let ids = shared.store.key_ids().await?;
        if !shared.is_running() {
            key_files::sweep(file);
            key_files::sweep(next);
        }
        let to = match shared.next(ids)? {
            Some(key) if ids == (KeyIds { present: key.id(), before: None }) && *is_given && *configured != key.id() => {
                return Err(RotationError::NotSwapped { id: key.id(), file: next.clone() });
            }
            Some(key) => key,
            None => {
                let key = MasterKey::generate(&*shared.world.entropy);
                key_files::make(next, &key)?;
                key
            }
        };
        // One that was cut off at its very end has nothing left to do but to put the key in place.
        let from = if ids.present == to.id() { *configured } else { ids.present };
        if shared.claim(ids.before.unwrap_or(from), to.id()) {
            shared.vault.learn(&to);
            let (shared, to) = (shared.clone(), to.id());
            tokio::spawn(async move { shared.run(to).await });
        }
        self.view().await
    }

    /// Goes on with a rotation that was cut off.
    pub async fn resume(&self) {
        let left = match self.shared.store.key_ids().await {
            Ok(ids) => self.shared.next(ids),
            Err(error) => Err(error.into()),
        };
        let started = match left {
            Ok(None) => return,
            Ok(Some(_)) => self.start().await.map(drop),
            Err(error) => Err(error),
        };
        match started {
            Ok(()) => tracing::info!("the rotation of the master key goes on"),
            Err(error) => tracing::warn!(%error, "the rotation of the master key is not finished"),
        }
    }
}

impl Shared {
    async fn run(&self, to: KeyId) {
        let told = |done: Resealed| {
            if let Some(view) = &mut *self.view() {
                (view.rows, view.of) = (done.rows, done.of);
            }
        };
        let ended = match self.store.reseal(to, told).await {
            Ok(done) => self.swap(to, done),
            Err(error) => Err(error.into()),
        };
        let (state, note) = match ended {
            Ok(note) => {
                tracing::info!(key.id = %to, note, "the master key was replaced: keep a copy of the new one away from this machine");
                (State::Done, note)
            }
            Err(error) => {
                tracing::error!(%error, "the rotation of the master key was broken off; it goes on at the next start, or with carport key rotate");
                (State::Failed, Some(error.to_string()))
            }
        };
        if let Some(view) = &mut *self.view() {
            (view.state, view.note) = (state, note);
        }
    }

    /// Puts the new key in the old one's place; returns what is left to do.
    fn swap(&self, to: KeyId, done: Resealed) -> Result<Option<String>, RotationError> {
        let Settings { file, next, is_given, .. } = &self.settings;
        let damaged = (done.damaged > 0).then(|| format!("{} damaged rows were left as they are", done.damaged));
        let key = key_files::find(next)?.filter(|key| key.id() == to);
        let key = key.ok_or_else(|| KeyError::Missing(next.clone()))?;
        let (next_shown, file_shown) = (next.display(), file.display());
        let by_hand = if *is_given {
            Some(format!(
                "the key is given by key.secret: put the key of {next_shown} in its place (the credential, its file or \
                 CARPORT_KEY_SECRET) and restart; Carport removes {next_shown} then"
            ))
        } else if let Err(error) = key_files::replace(file, &key) {
            Some(format!("{file_shown} cannot be replaced ({error}): put {next_shown} in its place and restart"))
        } else {
            remove(next)?;
            None
        };
        let notes: Vec<String> = damaged.into_iter().chain(by_hand).collect();
        Ok((!notes.is_empty()).then(|| notes.join("; ")))
    }

    /// The key to go on with. One that is in place already has served.
    fn next(&self, ids: KeyIds) -> Result<Option<MasterKey>, RotationError> {
        let Settings { next, configured, .. } = &self.settings;
        let key = key_files::find(next)?;
        if key.as_ref().is_some_and(|key| key.id() == *configured) && ids == (KeyIds { present: *configured, before: None }) {
            remove(next)?;
            return Ok(None);
        }
        Ok(key)
    }

    fn is_running(&self) -> bool {
        is_running(self.view().as_ref())
    }

    /// Whether the caller is the one to do it.
    fn claim(&self, from: KeyId, to: KeyId) -> bool {
        let mut view = self.view();
        if is_running(view.as_ref()) {
            return false;
        }
        let (from, to) = (from.to_string(), to.to_string());
        *view = Some(RotationView { from, to, state: State::Running, rows: 0, of: 0, note: None });
        true
    }

    fn view(&self) -> MutexGuard<'_, Option<RotationView>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_running(view: Option<&RotationView>) -> bool {
    view.is_some_and(|view| view.state == State::Running)
}

fn remove(path: &Path) -> Result<(), KeyError> {
    std::fs::remove_file(path).map_err(|error| KeyError::Io { path: path.to_owned(), error })
}
