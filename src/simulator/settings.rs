//! What a simulator is told at its start.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::Faults;
use super::knobs::{Habits, Limits};
use super::signals;

/// What a simulator is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The same seed gives the same accounts and cars.
    pub seed: u64,
    /// How many cars there are. The first two are Ada's, the third is Grace's.
    pub cars: usize,
    /// Whether the owners after Ada and Grace are connected from the start.
    pub connected: bool,
    /// How long cars have lived before the simulation begins.
    pub past: Duration,
    /// How many times faster than the wall clock cars live.
    pub speed: f64,
    /// The origin it is reached under, for links it hands out.
    pub base_url: String,
    /// The one application that is registered.
    pub application: Application,
    /// How long a code from Connect lives.
    pub code_life: Duration,
    /// How long a v2 access token lives.
    pub access_life: Duration,
    /// How long an unused refresh token lives.
    pub refresh_life: Duration,
    /// How long an application token (v3) lives.
    pub application_token_life: Duration,
    /// How long a refresh token works on after its first use.
    pub rotation_window: Duration,
    /// How often may be asked.
    pub limits: Limits,
    /// What the real Smartcar does in one way or another.
    pub habits: Habits,
    /// Where events go.
    pub webhook: Option<WebhookSettings>,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// The knobs that do not stand where they are assumed to, and where they were turned to.
    pub turned: BTreeMap<&'static str, String>,
}

/// The application as its owner registered it in the dashboard.
#[derive(Clone, Debug)]
pub struct Application {
    /// The id for Connect; also the v2 client id.
    pub application_id: String,
    /// The v2 client secret.
    pub v2_client_secret: String,
    /// The id of the API credentials for v3.
    pub v3_client_id: String,
    /// Their secret.
    pub v3_client_secret: String,
    /// Signs webhooks and opens the v2.0 management API.
    pub management_token: String,
    /// The registered redirect URIs. Empty: any will do that is not a script.
    pub redirect_uris: Vec<String>,
}

/// A webhook as its owner set it up in the dashboard, and how it is sent.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// The callback URI.
    pub url: String,
    /// Where VEHICLE_ERROR goes, if elsewhere.
    pub error_url: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether it is the legacy kind, v2.0, whose scheduled payloads are like a batch.
    pub legacy: bool,
    /// Codes of the signals whose change triggers a delivery; every signal when empty.
    pub triggers: Vec<String>,
    /// Codes of the signals that are delivered; every signal when empty.
    pub data: Vec<String>,
    /// Whether vehicles are subscribed when they are connected.
    pub auto_subscribe: bool,
    /// How often changes are looked for.
    pub every: Duration,
    /// Deliveries a second, evenly, whether or not anything changed. None: what changed, every [`Self::every`].
    pub rate: Option<f64>,
    /// How many events flow at [`Self::rate`] before the flow ends. None: it does not.
    pub most: Option<u64>,
    /// Whether VERIFY is signed.
    pub verify_signed: bool,
    /// Stretches the waits before retries.
    pub retry_scale: f64,
    /// How likely a car gets into trouble in one round: VEHICLE_ERROR, and later its end. Something like
    /// 0.01 makes a lively demonstration; none by default, so that tests stay plain.
    pub trouble: f64,
}

impl Application {
    /// Whether a redirect URI can be registered. Err: what is wrong.
    pub fn check_redirect_uri(uri: &str) -> Result<(), String> {
        // `localhost:8000/exchange` would be of the scheme `localhost`.
        match Url::parse(uri).ok().filter(|_| uri.contains("://")) {
            Some(url) if leads_back(&url) => Ok(()),
            Some(_) => Err(format!("{uri} would never lead back to an application")),
            None => Err(format!("{uri} is not a whole URI, such as http://localhost:8000/exchange")),
        }
    }
}

/// Not what a browser would run as a script, or open as a file.
pub(super) fn leads_back(url: &Url) -> bool {
    !["javascript", "data", "vbscript", "file", "blob", "about"].contains(&url.scheme())
}

impl WebhookSettings {
    /// Whether every code in a list of signals is one that a simulated car can tell. Err: what is wrong with the
    /// first that is not: deliveries would come without it, or never, and nothing would say why.
    pub fn check_codes(codes: &[String]) -> Result<(), String> {
        codes.iter().try_for_each(|code| signals::known(code))
    }

    /// Where deliveries can go, as it is written in full. Err: what is wrong; it never repeats the text, in which a
    /// password may stand.
    pub fn address(text: &str) -> Result<String, String> {
        let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        let url = url.ok_or("a whole URL is needed, such as http://127.0.0.1:8000/api/webhooks/smartcar")?;
        if !url.username().is_empty() || url.password().is_some() {
            // It would stand in every message.
            return Err("a URL without name and password is needed: deliveries are signed instead".to_owned());
        }
        Ok(url.into())
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            seed: 0,
            cars: 3,
            connected: false,
            past: Duration::ZERO,
            speed: 1.0,
            base_url: "http://127.0.0.1:9000".to_owned(),
            application: Application::default(),
            code_life: Duration::from_secs(10 * 60),
            access_life: Duration::from_secs(7200),
            refresh_life: Duration::from_secs(60 * 24 * 3600),
            application_token_life: Duration::from_secs(3600),
            rotation_window: Duration::from_secs(60),
            limits: Limits::default(),
            habits: Habits::default(),
            webhook: None,
            faults: Faults::default(),
            turned: BTreeMap::new(),
        }
    }
}

impl Default for Application {
    fn default() -> Application {
        Application {
            application_id: "51a0ca12-0000-4000-8000-000000000001".to_owned(),
            v2_client_secret: "51a0ca12-0000-4000-8000-000000000002".to_owned(),
            v3_client_id: "client_simulated0000000000000003".to_owned(),
            v3_client_secret: "51a0ca12-0000-4000-8000-000000000004".to_owned(),
            management_token: "51a0ca12-0000-4000-8000-000000000005".to_owned(),
            redirect_uris: Vec::new(),
        }
    }
}

impl WebhookSettings {
    /// A webhook with the usual habits, and the data that most people choose.
    pub fn new(url: impl Into<String>) -> WebhookSettings {
        WebhookSettings {
            url: url.into(),
            error_url: None,
            name: "Simulated webhook".to_owned(),
            legacy: false,
            triggers: Vec::new(),
            data: USUAL_DATA.iter().map(|&code| code.to_owned()).collect(),
            auto_subscribe: true,
            every: Duration::from_secs(60),
            rate: None,
            most: None,
            verify_signed: true,
            retry_scale: 1.0,
            trouble: 0.0,
        }
    }
}

const USUAL_DATA: &[&str] = &[
    "vehicleidentification-vin",
    "vehicleidentification-nickname",
    "odometer-traveleddistance",
    "location-preciselocation",
    "motion-currentspeed",
    "closure-islocked",
    "closure-doors",
    "closure-windows",
    "closure-reartrunk",
    "wheel-tires",
    "tractionbattery-stateofcharge",
    "tractionbattery-range",
    "tractionbattery-nominalcapacity",
    "charge-ischarging",
    "charge-ischargingcableconnected",
    "charge-detailedchargingstatus",
    "charge-chargelimits",
    "charge-wattage",
    "charge-timetocomplete",
    "internalcombustionengine-fuellevel",
    "internalcombustionengine-range",
    "internalcombustionengine-amountremaining",
    "internalcombustionengine-oillife",
];
