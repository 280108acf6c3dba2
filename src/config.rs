//! What the operator wrote, made into one checked [`Config`].
//!
//! It is read twice: first what was written (flags, environment, file, defaults, each with its origin),
//! then what it means. All mistakes come out at once, each with the key, its origin, and the one thing to
//! do. The defaults are the lines of `config.example.toml`, so the example cannot lie. Nothing else in
//! Carport reads the environment.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use sha2::{Digest, Sha256};
use url::Url;

use crate::model::Secret;
use crate::model::normal::Units;
use crate::store::retention::Keep;
use crate::tls;
use crate::web::{Limits, Network, Quota};

mod checks;
mod keys;
mod made;
mod meaning;
mod mistakes;
mod secrets;
mod sources;
#[cfg(test)]
mod tests;
mod values;
mod written;

pub use keys::EXAMPLE;
pub use made::{MADE, Made, PAGE};
pub use mistakes::{Mistake, Mistakes};
pub use secrets::reread;
pub use sources::{ConfigFile, Environment, Overrides, Sources};
pub use values::{quota, size};

/// The whole configuration, checked.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Config {
    /// What Smartcar and browsers use: an origin.
    pub public_url: Url,
    /// Where people open the dashboard: an origin, `public_url` unless configured.
    pub private_url: Url,
    /// Further `Host` names that are accepted.
    pub hosts: Vec<String>,
    /// Store, key and socket; absolute.
    pub data_dir: PathBuf,
    /// The socket of administrative commands; see [`socket_path`].
    pub socket: PathBuf,
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Where to listen for the people of the house; then `listen` shows the world only what it needs.
    pub private_listen: Vec<Listen>,
    /// `listen` shows the API all the same.
    pub public_api: bool,
    /// Where plain HTTP is led to https.
    pub http_listen: Option<SocketAddr>,
    /// `--lan`: the listeners take every address, but peers outside private networks are to be turned away.
    pub lan: bool,
    /// `tls.*`: our own certificate; `None` without TLS.
    pub tls: Option<tls::Settings>,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether trusted proxies begin each connection with the PROXY protocol.
    pub proxy_protocol: bool,
    /// `auth.forward_header`: by which a trusted proxy says who has signed in there.
    pub forward_header: Option<HeaderName>,
    /// `api.allowed_origins`: pages of other origins that may use the API, as browsers write origins.
    pub allowed_origins: Vec<String>,
    /// Smartcar.
    pub smartcar: Smartcar,
    /// Webhooks.
    pub webhooks: Webhooks,
    /// `units`: in which values are shown.
    pub units: Units,
    /// `history.*`.
    pub history: Keep,
    /// When tokens are renewed.
    pub refresh: Refresh,
    /// Sessions of the dashboard.
    pub session: Session,
    /// `limits.*`.
    pub limits: Limits,
    /// The master key.
    pub key: Key,
    /// What the plan allows to call.
    pub budget: Budget,
    /// `metrics.vehicles`: whether metrics tell of single vehicles.
    pub vehicle_metrics: bool,
    /// `poll.every`: how often a car is read that webhooks do not tell of; `None`: never.
    pub poll_every: Option<Duration>,
    /// `compat.max_age`: how old stored values may be that answer Smartcar's own API; `None`: any age.
    pub compat_max_age: Option<Duration>,
    /// `store.min_free`: below so many free bytes no refresh is sent and webhooks get 503.
    pub min_free: u64,
    /// What looks mixed up, though it can be run.
    pub warnings: Vec<String>,
    /// Those of the warnings that tell of an identifier or secret in another's place.
    pub mixed_up: Vec<String>,
    /// What it was read from: the configuration file and the files that hold secrets.
    pub files: Vec<PathBuf>,
    shown: Vec<Shown>,
    fingerprints: Vec<(&'static str, Fingerprint)>,
    /// Without what was made on the set-up page.
    written: Arc<sources::Collected>,
}

/// By which two values of a key are told apart, secrets too, without showing them.
pub type Fingerprint = [u8; 32];

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:8000`; `[::]:8000` means both families.
    Tcp(SocketAddr),
    /// `unix:PATH`, absolute.
    Unix(PathBuf),
}

/// `smartcar.*`.
#[derive(Clone, Debug)]
pub struct Smartcar {
    /// Connect's `client_id`: configured, or the v2 client id.
    pub application_id: Option<String>,
    /// Client credentials (v3).
    pub v3: Option<Credentials>,
    /// Authorization code (v2).
    pub v2: Option<Credentials>,
    /// Keys of the webhook HMAC; the first answers challenges.
    pub management_tokens: Vec<Secret>,
    /// Which cars an invite is for, unless it says otherwise.
    pub mode: Mode,
    /// The browser callback; its path is the route.
    pub redirect_uri: Url,
    /// Further registered URIs for apps, compared whole.
    pub redirect_uris: Vec<String>,
    /// What owners are asked for.
    pub scope: Scope,
    /// Connect Match: one vehicle, one pair of tokens.
    pub single_select: bool,
    /// Smartcar's id of the webhook; learnt if it is not set.
    pub webhook_id: Option<String>,
    /// Smartcar's hosts.
    pub origins: Origins,
}

/// A client id and its secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The id.
    pub client_id: String,
    /// The secret.
    pub client_secret: Secret,
    /// The file that it was read from, if it was: one that is written there later can be read again.
    pub client_secret_file: Option<PathBuf>,
}

/// Which cars Connect shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Real cars.
    Live,
    /// Cars simulated by Smartcar.
    Simulated,
}

impl Mode {
    /// Smartcar's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Live => "live",
            Mode::Simulated => "simulated",
        }
    }
}

/// What owners are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// These permissions.
    Permissions(Vec<String>),
    /// What is chosen in Smartcar's dashboard.
    Dashboard,
}

/// Smartcar's hosts: origins.
#[derive(Clone, Debug)]
pub struct Origins {
    /// Connect, where owners go.
    pub connect: Url,
    /// Tokens of v2.
    pub auth: Url,
    /// Tokens of v3.
    pub iam: Url,
    /// API v2.0.
    pub api: Url,
    /// API v3.
    pub vehicle: Url,
    /// Management API v2.0.
    pub management: Url,
    /// Management API v3.
    pub management_v3: Url,
}

/// `webhooks.*`.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// The route.
    pub path: String,
    /// The longest body, in bytes.
    pub max_body: u64,
    /// The ring keeps at most so many events.
    pub keep_events: u64,
    /// The ring keeps at most so many bytes.
    pub keep_bytes: u64,
    /// How long an event's id is remembered.
    pub dedupe_for: Duration,
    /// Whether each car that is connected is subscribed to the webhook.
    pub subscribe: bool,
}

/// `refresh.*`.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// How long before its expiry the access token of a connection in use is renewed.
    pub access_margin: Duration,
    /// How long before its expiry a refresh token is used at the latest.
    pub refresh_margin: Duration,
    /// After how long an idle connection is renewed.
    pub idle_renewal: Duration,
}

/// `budget.*`.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Calls for each vehicle and month; `None`: as many as one likes.
    pub calls_per_vehicle_month: Option<u32>,
    /// How many of them are kept for commands and for reading what was missed.
    pub reserve: u32,
    /// The day of the month, 1 to 28, on which Smartcar counts anew.
    pub reset_day: i8,
}

/// `session.*`.
#[derive(Clone, Debug)]
pub struct Session {
    /// A session ends after so long without use.
    pub idle: Duration,
    /// A session ends after so long in any case.
    pub max: Duration,
}

/// `key.*`.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where the master key lies; made there once.
    pub file: PathBuf,
    /// The master key itself; then no file is used.
    pub secret: Option<Secret>,
}

/// A key with its effective value, for people: secrets are `***`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// The key, such as `smartcar.mode`.
    pub key: &'static str,
    /// Its value; empty if there is none.
    pub value: String,
    /// Where it comes from, such as `config.toml:12` or `CARPORT_LISTEN`.
    pub origin: String,
}

impl Config {
    /// Every key with what tells its effective value from others.
    pub fn fingerprints(&self) -> impl Iterator<Item = (&'static str, Fingerprint)> {
        self.fingerprints.iter().copied()
    }

    /// Every key with its effective value and origin, in the order of the example.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }
}

/// Reads and checks the configuration; on failure every mistake is named.
pub fn load(sources: &Sources) -> Result<Config, Mistakes> {
    meaning::load(sources)
}

/// The socket of administrative commands: `carport.sock` in the data directory. Unix allows 107 bytes: a
/// path over 100 lies in the runtime directory instead, under a name made from the data directory's.
pub fn socket_path(data_dir: &Path, runtime_dir: Option<&Path>) -> PathBuf {
    let beside_the_store = data_dir.join("carport.sock");
    match runtime_dir {
        Some(runtime_dir) if beside_the_store.as_os_str().len() > 100 => {
            let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
            runtime_dir.join(format!("carport-{}.sock", data_encoding::HEXLOWER.encode(&digest[..8])))
        }
        _ => beside_the_store,
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "{address}"),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
