//! The probes: what can be wrong between this machine, the world and Smartcar, each tried, named, and told with the
//! one thing to do. `carport check` and the set-up page run the same ones.
//!
//! Nothing is changed by them: Smartcar is asked for a token, for one line of a list, for what it does not tell nobody, and for
//! the page that owners see;
//! the webhook's address is called with a challenge that is refused.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::model::Timestamp;
use crate::smartcar;
use crate::world::World;

pub mod files;
mod outward;

pub use outward::{Answered, V2, credentials, run as outward, try_out, with_the_end};

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All is well.
    Ok,
    /// Something may be wrong, or could not be tried.
    Warn,
    /// Something is wrong.
    Fail,
}

/// What a probe found. Never a secret, and nothing of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was tried.
    pub check: &'static str,
    /// How it ended.
    pub result: Outcome,
    /// What was found.
    pub text: String,
    /// The one thing to do.
    pub remedy: Option<String>,
    /// Whoever knows could not be asked.
    #[serde(skip)]
    pub is_untried: bool,
    /// Of what is missing, its stable name; else empty.
    #[serde(skip)]
    pub code: &'static str,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Finding {
        Finding { check, result: Outcome::Ok, text: text.into(), remedy: None, is_untried: false, code: "" }
    }

    /// Something may be wrong.
    pub fn warn(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { result: Outcome::Warn, remedy: Some(remedy.into()), ..Finding::ok(check, text) }
    }

    /// Something is wrong.
    pub fn fail(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { result: Outcome::Fail, ..Finding::warn(check, text, remedy) }
    }
}

/// What is tried.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Credentials and hosts.
    pub smartcar: smartcar::Settings,
    /// What Smartcar and browsers use.
    pub public_url: String,
    /// The whole URL that Smartcar posts to.
    pub webhook_url: String,
    /// The whole URL that owners come back to.
    pub redirect_uri: String,
    /// Which cars Connect shows, if not live ones.
    pub mode: Option<String>,
    /// Whether Carport speaks TLS by a certificate that nobody else vouches for.
    pub is_self_signed: bool,
    /// What looks mixed up in the configuration.
    pub warnings: Vec<String>,
    /// Where the store is.
    pub data_dir: PathBuf,
    /// What is configured, with the origin of each value; secrets as `***`.
    pub shown: Vec<Shown>,
}

/// A value that is configured.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its key.
    pub key: &'static str,
    /// It; empty if there is none.
    pub value: String,
    /// Where it comes from.
    pub origin: String,
}

/// The probes of a running server, and what they found last. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Probes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Mutex<Arc<Settings>>,
    world: World,
    last: Mutex<Last>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Last {
    found: Option<(Timestamp, Vec<Finding>)>,
    began: Option<Instant>,
}

impl Probes {
    /// Probes that have not run yet.
    pub fn new(settings: Settings, world: World) -> Probes {
        let settings = Mutex::new(Arc::new(settings));
        Probes { shared: Arc::new(Shared { settings, world, last: Mutex::default(), turn: tokio::sync::Mutex::default() }) }
    }

    /// What was found last, and when.
    pub fn last(&self) -> Option<(Timestamp, Vec<Finding>)> {
        self.lock().found.clone()
    }

    /// What is configured of what is tried.
    pub fn settings(&self) -> Arc<Settings> {
        self.shared.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configuration was read again.
    pub fn replace(&self, settings: Settings) {
        *self.shared.settings.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.lock().began = None;
    }

    /// Runs all of them, one after the other caller's. `delivered_at` is when a proven delivery came in last.
    pub async fn run(&self, delivered_at: Option<Timestamp>) -> Vec<Finding> {
        let _turn = self.shared.turn.lock().await;
        self.lock().began = Some(Instant::now());
        let (settings, world) = (&*self.settings(), &self.shared.world);
        let mut found = identifiers(settings);
        found.extend(files::permissions(&settings.data_dir));
        found.extend(outward(settings, world, Some(delivered_at)).await);
        self.lock().found = Some((self.shared.world.now(), found.clone()));
        found
    }

    /// Has them run beside, if they have not for a while.
    pub fn freshen(&self, delivered_at: Option<Timestamp>) {
        let is_due = {
            let mut last = self.lock();
            let is_due = last.began.is_none_or(|began| began.elapsed() > FRESH);
            if is_due {
                last.began = Some(Instant::now());
            }
            is_due
        };
        if is_due {
            let probes = self.clone();
            tokio::spawn(async move { probes.run(delivered_at).await });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Last> {
        self.shared.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether each identifier is in its box, by its shape.
fn identifiers(settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "identifiers";
    const ABOUT: &[&str] = &["client_id", "application", "token", "webhook_id", "smartcar.scope"];
    let warnings = settings.warnings.iter().filter(|warning| ABOUT.iter().any(|about| warning.contains(about)));
    let remedy = "compare each with the field of its name in Smartcar's dashboard, Configuration";
    let found: Vec<Finding> = warnings.map(|warning| Finding::warn(CHECK, warning, remedy)).collect();
    let is_anything = settings.smartcar.v2.is_some() || settings.smartcar.v3.is_some();
    if found.is_empty() && is_anything { vec![Finding::ok(CHECK, "each looks as it should in its place")] } else { found }
}

/// For how long nothing is tried again by itself.
const FRESH: Duration = Duration::from_secs(60);
