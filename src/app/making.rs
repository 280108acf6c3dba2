//! Makes the settings of the set-up page: their shape is looked at, Smartcar is asked, then they are kept, then they
//! count.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::live::{Live, has_names_of_its_own};
use super::settings;
use crate::config::{Config, MADE, Mistakes, PAGE};
use crate::model::{Blob, Secret};
use crate::operate::probes;
use crate::operate::settings::{Change, Changed, Making, SettingView, SettingsError};
use crate::store::StoreError;
use crate::store::made::KeepSettings;

/// Makes settings of a running gateway.
#[derive(Debug)]
pub(super) struct Maker(pub(super) Arc<Live>);

impl Making for Maker {
    fn show(&self) -> Vec<SettingView> {
        let state = self.0.state();
        let of = |key: &&'static str| {
            let shown = state.running.shown().iter().find(|shown| shown.key == *key)?;
            let is_set = !shown.value.is_empty();
            Some(SettingView {
                key,
                value: (is_set && !Config::is_secret(key)).then(|| shown.value.clone()),
                is_set,
                origin: shown.origin.clone(),
                fixed: state.written.fixed(key).is_some(),
                made: shown.origin == PAGE,
                secret: Config::is_secret(key),
            })
        };
        MADE.iter().filter_map(of).collect()
    }

    fn change(&self, changes: Vec<Change>, force: bool) -> BoxFuture<'_, Result<Changed, SettingsError>> {
        // Whoever asked may hang up: what was begun is finished, and a stop waits for it.
        let live = self.0.clone();
        let made = self.0.tokens.tasks().spawn(async move { live.make(changes, force).await });
        let lost = || Err(StoreError::Unavailable("the change was cut off".to_owned()).into());
        async move { made.await.unwrap_or_else(|_| lost()) }.boxed()
    }
}

impl Live {
    async fn make(&self, changes: Vec<Change>, force: bool) -> Result<Changed, SettingsError> {
        let _turn = self.turn.lock().await;
        let state = self.state().clone();
        let mut made = state.made.clone();
        for (key, value) in changes {
            let Some(key) = MADE.iter().find(|known| **known == key) else { return Err(SettingsError::Unknown(printable(&key))) };
            if let Some(origin) = state.written.fixed(key) {
                return Err(SettingsError::Fixed { key, origin });
            }
            made = made.and(key, value.map(|value| checked(key, &value)).transpose()?);
        }
        let new = state.written.with(&made).map_err(in_words)?;
        let before: Vec<_> = state.running.fingerprints().collect();
        let keys: Vec<_> = new.fingerprints().filter(|print| !before.contains(print)).map(|(key, _)| key).collect();
        if keys.contains(&"public_url") && has_names_of_its_own(&state.running) {
            let words =
                "public_url: the certificate is made for its name, so it is set in the configuration file, with a restart";
            return Err(SettingsError::Wrong(vec![words.to_owned()]));
        }
        let next = state.running.taking(&new, true);
        let mixed_up = next.mixed_up.iter().filter(|what| !state.running.mixed_up.contains(what)).cloned().collect();
        let found = probes::try_out(&settings::probes(&next), &self.world, &keys).await;
        let found = SettingsError::judge(found, mixed_up, force)?;
        let settings = made.iter().map(|(key, value)| (key.to_owned(), Blob(value.expose().into()))).collect();
        self.store.commit(KeepSettings { settings }).await?;
        // SIGHUP has waited for its turn, so what was written is what it was.
        self.put_in_force(state.written, made);
        let keys = keys.into_iter().filter(|key| MADE.contains(key)).collect();
        Ok(Changed { keys, found })
    }
}

/// A value that could stand in a line.
fn checked(key: &str, value: &Secret) -> Result<Secret, SettingsError> {
    let text = value.expose().trim();
    let wrong = |what: &str| Err(SettingsError::Wrong(vec![format!("{key}: {what}")]));
    match () {
        () if text.is_empty() => wrong("is empty. Give it a value, or take it back (null)"),
        () if text.len() > LONGEST => wrong("is too long for what Smartcar's dashboard has"),
        () if text.chars().any(char::is_control) => wrong("has control characters in it. Copy it again"),
        () => Ok(Secret::new(text)),
    }
}

fn in_words(mistakes: Mistakes) -> SettingsError {
    SettingsError::Wrong(mistakes.0.iter().map(ToString::to_string).collect())
}

/// A name that came from outside, short and in plain characters.
fn printable(name: &str) -> String {
    name.chars().take(60).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

const LONGEST: usize = 2048;
