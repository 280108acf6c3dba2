//! Settings that are made while the server runs, on the set-up page: what there is to make, and why one is not taken.
//! Whoever knows the configuration makes them: [`Making`] is handed in.

use std::fmt;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::probes::{Finding, Outcome};
use crate::model::Secret;
use crate::store::StoreError;

/// A setting that can be made on the set-up page, as shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is told by itself")]
pub struct SettingView {
    /// Its key in the configuration.
    pub key: &'static str,
    /// Its value in effect; null if there is none, and of a secret always.
    pub value: Option<String>,
    /// Whether it has one.
    pub is_set: bool,
    /// Where it comes from, such as `config.toml:12`, `set-up page` or `default`.
    pub origin: String,
    /// What was written elsewhere stands above the set-up page: it is changed there.
    pub fixed: bool,
    /// Whether it was made on the set-up page.
    pub made: bool,
    /// It is never shown.
    pub secret: bool,
}

/// What somebody wants of a setting: this value, or none of the set-up page.
pub type Change = (String, Option<Secret>);

/// What became of changes.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// What is other than before, and in force.
    pub keys: Vec<&'static str>,
    /// What Smartcar said, and what looks unusual.
    pub found: Vec<Finding>,
}

/// Makes settings: whole or not at all, on disk before they count, in force when it returns.
pub trait Making: fmt::Debug + Send + Sync {
    /// Every setting that there is to make.
    fn show(&self) -> Vec<SettingView>;

    /// Makes settings. What looks mixed up, and what could not be tried, is taken by `force` only; what Smartcar refuses
    /// is never taken.
    fn change(&self, changes: Vec<Change>, force: bool) -> BoxFuture<'_, Result<Changed, SettingsError>>;
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// There is no such setting on the page.
    #[error("{0} cannot be set here: GET /api/v1/settings lists what can be")]
    Unknown(String),
    /// It was written elsewhere.
    #[error("{key} is fixed by {origin}: change it there, or remove it there first")]
    Fixed {
        /// Which.
        key: &'static str,
        /// Where.
        origin: String,
    },
    /// The configuration does not take it.
    #[error("{}", .0.join("; "))]
    Wrong(Vec<String>),
    /// It looks like another's value.
    #[error("{}: {COMPARE} (force=true)", .0.join("; "))]
    MixedUp(Vec<String>),
    /// Smartcar does not take it.
    #[error("{}", in_words(.0).join("; "))]
    Refused(Vec<Finding>),
    /// Smartcar could not be asked.
    #[error("{}: try again, or save it untried (force=true)", .0.first().map_or("Smartcar cannot be asked", |first| &first.text))]
    Untried(Vec<Finding>),
    /// The store is in trouble, or nobody is there to make them.
    #[error("the store cannot take it now")]
    Store(#[from] StoreError),
}

impl SettingsError {
    /// What there is to say, one thing each.
    pub fn points(&self) -> Vec<String> {
        match self {
            SettingsError::MixedUp(looks) => looks.iter().cloned().chain([COMPARE.to_owned()]).collect(),
            SettingsError::Wrong(wrong) => wrong.clone(),
            SettingsError::Refused(found) => in_words(found),
            error => vec![error.to_string()],
        }
    }

    /// What Smartcar's answers come to: `Ok` is what may be kept.
    pub fn judge(found: Vec<Finding>, mixed_up: Vec<String>, force: bool) -> Result<Vec<Finding>, SettingsError> {
        // That the redirect URI is not registered yet is the next step of whoever sets up.
        let counts = |finding: &&Finding| finding.result == Outcome::Fail && finding.check != "redirect URI";
        let (untried, refused): (Vec<_>, Vec<_>) = found.iter().filter(counts).cloned().partition(|finding| finding.is_untried);
        if !refused.is_empty() {
            let mixed_up = mixed_up.into_iter().map(|what| Finding::warn("values", what, "is each in its field?"));
            return Err(SettingsError::Refused(mixed_up.chain(refused).collect()));
        }
        if !mixed_up.is_empty() && !force {
            return Err(SettingsError::MixedUp(mixed_up));
        }
        if !untried.is_empty() && !force {
            return Err(SettingsError::Untried(untried));
        }
        let looks = mixed_up.into_iter().map(|what| Finding::warn("values", what, "compare it with Smartcar's dashboard"));
        Ok(looks.chain(found).collect())
    }
}

const COMPARE: &str = "compare each with the field of its name in Smartcar's dashboard, or save it all the same";

fn in_words(found: &[Finding]) -> Vec<String> {
    let one = |finding: &Finding| match &finding.remedy {
        Some(remedy) => format!("{}: {remedy}", finding.text),
        None => finding.text.clone(),
    };
    found.iter().map(one).collect()
}
