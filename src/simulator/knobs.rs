//! What is not certain about the real Smartcar, as knobs: each does the assumed thing unless it is turned. Also
//! how long things live, and limits.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::Settings;
use crate::model::Timestamp;

/// How often may be asked. None of it by default: developers ask often.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// The application's bucket: how many requests it holds, and how many a minute fill it again.
    pub application: Option<(u32, u32)>,
    /// The least time between two requests to one vehicle.
    pub vehicle: Option<Duration>,
    /// Requests for one vehicle in one calendar month.
    pub month: Option<u32>,
}

/// What the documentation leaves open or says in two ways. The default is what is assumed.
#[expect(clippy::struct_excessive_bools, reason = "each is a question with two answers")]
#[derive(Clone, Debug)]
pub struct Habits {
    /// What an old refresh token does within the rotation window.
    pub second_refresh: SecondRefresh,
    /// Whether a dead refresh token is an `invalid_request`, as a dead code is, not an `invalid_grant`.
    pub refresh_as_request: bool,
    /// How clients say who they are at the token endpoints.
    pub client_auth: ClientAuth,
    /// Whether Connect sends a code beside a user id.
    pub code_beside_user: bool,
    /// Whether single v3 resources are bare, without `data` around them.
    pub bare: bool,
    /// Whether `/connections` is flat: `{"connections": [{"vehicleId", "userId", ..}]}`.
    pub flat_connections: bool,
    /// Whether a connection says whose it is.
    pub connection_user: bool,
    /// `/v3/connections` without `page[size]`.
    pub page_size: usize,
    /// `/v2.0/vehicles` without `limit`.
    pub v2_page_size: usize,
    /// Times in the signals of v3.
    pub timestamps: Times,
    /// Whether the signals of v3 say that the manufacturer refuses the account, or keep their last values.
    pub signal_trouble: bool,
    /// Whether v3 errors have few fields and codes in lower case.
    pub plain_errors: bool,
    /// How the answer to a command tells of its status.
    pub command_status: CommandStatus,
    /// Whether 429 for the whole application has Retry-After.
    pub retry_after: bool,
    /// Whether v2.0 has come to its end.
    pub v2_ended: bool,
    /// Whether the triggers of an event are within `data`.
    pub triggers_in_data: bool,
    /// How a trigger names its signal.
    pub trigger_form: TriggerForm,
    /// Whether the signals of an event say `fetchedAt`, not `retrievedAt`.
    pub fetched_at: bool,
    /// Whether good signals of an event have a status.
    pub signal_status: bool,
    /// `meta.deliveredAt`, except in VERIFY.
    pub delivered_at: Times,
    /// What challenges look like.
    pub challenge: Challenge,
    /// Whether VERIFY is signed, if the webhook says so too.
    pub verify_signed: bool,
    /// A webhook is disabled after so many events in a row that nobody took.
    pub disable_after: Option<u32>,
    /// Whether webhooks tell of simulated vehicles. Legacy ones never do.
    pub simulated_webhooks: bool,
    /// `meta.mode` in the events of simulated vehicles.
    pub simulated_mode: String,
}

/// What an old refresh token does within the rotation window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondRefresh {
    /// Another pair; the one given before is dead.
    Newest,
    /// Another pair; both live.
    Both,
    /// `invalid_grant`.
    Refused,
}

/// How clients say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the header or in the form.
    Any,
    /// In the header.
    Basic,
    /// In the form.
    Form,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// RFC 3339.
    Iso,
    /// Milliseconds since 1970.
    Millis,
    /// Seconds since 1970.
    Seconds,
}

impl Times {
    pub(super) fn write(self, time: Timestamp) -> Value {
        match self {
            Times::Iso => json!(time.to_string()),
            Times::Millis => json!(time.as_millis()),
            Times::Seconds => json!(time.as_millis() / 1000),
        }
    }
}

/// How a trigger names its signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerForm {
    /// `{"type", "signal": {"code", "name", "group"}}`
    Object,
    /// `{"type", "signal": "Group.Name"}`
    Name,
    /// `{"type", "signal": {"code"}}`
    Code,
    /// `{"code", "name", "group"}`
    Bare,
}

/// How the answer to a command tells of its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandStatus {
    /// `"status": "SUCCESS"`
    Word,
    /// `"status": {"value": "SUCCESS"}`, as charge schedules have it.
    Object,
    /// Not at all.
    None,
}

/// What challenges look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// 32 letters and digits.
    Word,
    /// A UUID.
    Uuid,
    /// 256 characters.
    Long,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits {
            second_refresh: SecondRefresh::Newest,
            refresh_as_request: false,
            client_auth: ClientAuth::Any,
            code_beside_user: true,
            bare: false,
            flat_connections: false,
            connection_user: true,
            page_size: 10,
            v2_page_size: 10,
            timestamps: Times::Iso,
            signal_trouble: true,
            plain_errors: false,
            command_status: CommandStatus::Word,
            retry_after: false,
            v2_ended: false,
            triggers_in_data: false,
            trigger_form: TriggerForm::Object,
            fetched_at: false,
            signal_status: true,
            delivered_at: Times::Millis,
            challenge: Challenge::Word,
            verify_signed: true,
            disable_after: None,
            simulated_webhooks: true,
            simulated_mode: "SIMULATED".to_owned(),
        }
    }
}

/// One knob: its name, what it can be set to (the assumed first), and what it is about.
#[derive(Clone, Copy)]
pub struct Knob {
    /// Its name.
    pub name: &'static str,
    /// What it can be set to, the assumed first.
    pub values: &'static str,
    /// What it is about.
    pub about: &'static str,
    turn: fn(&mut Settings, &str) -> Option<()>,
}

impl fmt::Debug for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Knob").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Knob {
    /// All of them.
    pub const ALL: &'static [Knob] = KNOBS;

    /// Turns one, written as `NAME=VALUE`.
    pub fn turn(settings: &mut Settings, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}`: write NAME=VALUE"))?;
        let Some(knob) = KNOBS.iter().find(|knob| knob.name == name) else {
            let names: Vec<&str> = KNOBS.iter().map(|knob| knob.name).collect();
            return Err(format!("`{text}`: there is no such knob, but {}", names.join(", ")));
        };
        (knob.turn)(settings, value).ok_or_else(|| format!("`{text}`: {name} is set to {}", knob.values))
    }
}

const fn knob(
    name: &'static str,
    values: &'static str,
    about: &'static str,
    turn: fn(&mut Settings, &str) -> Option<()>,
) -> Knob {
    Knob { name, values, about, turn }
}

const KNOBS: &[Knob] = &[
    knob("code-life", "600 seconds", "how long a code from Connect works", |to, text| set(&mut to.code_life, seconds(text))),
    knob("access-life", "7200 seconds", "how long a v2 access token works", |to, text| set(&mut to.access_life, seconds(text))),
    knob("refresh-life", "5184000 seconds", "how long an unused refresh token works", |to, text| {
        set(&mut to.refresh_life, seconds(text))
    }),
    knob("application-token-life", "3600 seconds", "how long an application token (v3) works", |to, text| {
        set(&mut to.application_token_life, seconds(text))
    }),
    knob("rotation-window", "60 seconds (or 600)", "how long a refresh token works on after its first use", |to, text| {
        set(&mut to.rotation_window, seconds(text))
    }),
    knob("second-refresh", "newest, both, refused", "the second use of an old refresh token in that time", |to, text| {
        let values = [("newest", SecondRefresh::Newest), ("both", SecondRefresh::Both), ("refused", SecondRefresh::Refused)];
        set(&mut to.habits.second_refresh, one_of(text, &values))
    }),
    knob("refresh-error", "invalid_grant, invalid_request", "how a dead refresh token is refused", |to, text| {
        set(&mut to.habits.refresh_as_request, one_of(text, &[("invalid_grant", false), ("invalid_request", true)]))
    }),
    knob("client-auth", "any, basic, form", "how clients say who they are at the token endpoints", |to, text| {
        let values = [("any", ClientAuth::Any), ("basic", ClientAuth::Basic), ("form", ClientAuth::Form)];
        set(&mut to.habits.client_auth, one_of(text, &values))
    }),
    knob("code-beside-user", "yes, no", "whether Connect sends a code beside user_id", |to, text| {
        set(&mut to.habits.code_beside_user, yes(text))
    }),
    knob("resources", "enveloped, bare", "single v3 resources under `data`, or not", |to, text| {
        set(&mut to.habits.bare, one_of(text, &[("enveloped", false), ("bare", true)]))
    }),
    knob("connections", "json-api, flat", "the shape of /v3/connections", |to, text| {
        set(&mut to.habits.flat_connections, one_of(text, &[("json-api", false), ("flat", true)]))
    }),
    knob("connection-user", "yes, no", "whether a v3 connection has attributes.user", |to, text| {
        set(&mut to.habits.connection_user, yes(text))
    }),
    knob("page-size", "10 (or 25, 50)", "/v3/connections without page[size]", |to, text| {
        set(&mut to.habits.page_size, text.parse().ok().filter(|size| (1..=100).contains(size)))
    }),
    knob("v2-page-size", "10", "/v2.0/vehicles without limit", |to, text| {
        set(&mut to.habits.v2_page_size, text.parse().ok().filter(|size| (1..=50).contains(size)))
    }),
    knob("timestamps", "iso, seconds, millis", "times in the signals of v3", |to, text| {
        set(&mut to.habits.timestamps, times(text))
    }),
    knob(
        "signal-trouble",
        "yes, no",
        "whether v3 signals tell that the maker refuses the account, or keep their values",
        |to, text| set(&mut to.habits.signal_trouble, yes(text)),
    ),
    knob("errors", "typed, plain", "errors of v3 with type and code, or as an older description has them", |to, text| {
        set(&mut to.habits.plain_errors, one_of(text, &[("typed", false), ("plain", true)]))
    }),
    knob("command-status", "word, object, none", "how the answer to a v3 command tells its status", |to, text| {
        let values = [("word", CommandStatus::Word), ("object", CommandStatus::Object), ("none", CommandStatus::None)];
        set(&mut to.habits.command_status, one_of(text, &values))
    }),
    knob("retry-after", "no, yes", "Retry-After when the application's limit is reached", |to, text| {
        set(&mut to.habits.retry_after, yes(text))
    }),
    knob("v2", "on, ended", "whether v2.0 still answers, or has come to its end", |to, text| {
        set(&mut to.habits.v2_ended, one_of(text, &[("on", false), ("ended", true)]))
    }),
    knob("triggers", "top, data", "where the triggers of an event are", |to, text| {
        set(&mut to.habits.triggers_in_data, one_of(text, &[("top", false), ("data", true)]))
    }),
    knob("trigger-form", "object, name, code, bare", "how a trigger names its signal", |to, text| {
        let values = [
            ("object", TriggerForm::Object),
            ("name", TriggerForm::Name),
            ("code", TriggerForm::Code),
            ("bare", TriggerForm::Bare),
        ];
        set(&mut to.habits.trigger_form, one_of(text, &values))
    }),
    knob("signal-time", "retrieved-at, fetched-at", "the name of Smartcar's own time in an event's signals", |to, text| {
        set(&mut to.habits.fetched_at, one_of(text, &[("retrieved-at", false), ("fetched-at", true)]))
    }),
    knob("signal-status", "yes, no", "whether good signals of an event have a status", |to, text| {
        set(&mut to.habits.signal_status, yes(text))
    }),
    knob("delivered-at", "millis, iso, seconds", "meta.deliveredAt, except in VERIFY", |to, text| {
        set(&mut to.habits.delivered_at, times(text))
    }),
    knob("challenge", "word, uuid, long", "what VERIFY asks", |to, text| {
        let values = [("word", Challenge::Word), ("uuid", Challenge::Uuid), ("long", Challenge::Long)];
        set(&mut to.habits.challenge, one_of(text, &values))
    }),
    knob("verify-signed", "yes, no", "whether VERIFY is signed", |to, text| set(&mut to.habits.verify_signed, yes(text))),
    knob("disable-after", "never, or a number of lost events", "when a failing webhook is disabled", |to, text| {
        set_or(&mut to.habits.disable_after, "never", text, text.parse().ok().filter(|&count| count > 0))
    }),
    knob("simulated-webhooks", "yes, no", "whether webhooks tell of simulated vehicles (legacy ones never do)", |to, text| {
        set(&mut to.habits.simulated_webhooks, yes(text))
    }),
    knob("simulated-mode", "SIMULATED, or any word", "meta.mode in the events of simulated vehicles", |to, text| {
        set(&mut to.habits.simulated_mode, Some(text.to_owned()).filter(|word| !word.is_empty()))
    }),
    knob("limit-application", "off, or BUCKET+A-MINUTE such as 120+2", "429 RATE_LIMIT:SMARTCAR_API", |to, text| {
        let bucket = text.split_once('+').and_then(|(size, refill)| Some((size.parse().ok()?, refill.parse().ok()?)));
        set_or(&mut to.limits.application, "off", text, bucket)
    }),
    knob("limit-vehicle", "off, or seconds between requests", "429 RATE_LIMIT:VEHICLE with Retry-After", |to, text| {
        set_or(&mut to.limits.vehicle, "off", text, seconds(text))
    }),
    knob("limit-month", "off, or requests such as 500", "430 BILLING:VEHICLE_REQUEST_LIMIT", |to, text| {
        set_or(&mut to.limits.month, "off", text, text.parse().ok())
    }),
];

fn set<T>(field: &mut T, value: Option<T>) -> Option<()> {
    *field = value?;
    Some(())
}

/// As [`set`], with a word for none.
fn set_or<T>(field: &mut Option<T>, none: &str, text: &str, value: Option<T>) -> Option<()> {
    let known = value.is_some() || text == none;
    *field = if known { value } else { field.take() };
    known.then_some(())
}

fn one_of<T: Copy>(text: &str, values: &[(&str, T)]) -> Option<T> {
    values.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
}

fn yes(text: &str) -> Option<bool> {
    one_of(text, &[("yes", true), ("no", false)])
}

fn times(text: &str) -> Option<Times> {
    one_of(text, &[("iso", Times::Iso), ("millis", Times::Millis), ("seconds", Times::Seconds)])
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim_end_matches('s').parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_takes_what_it_says_it_takes_first() {
        let mut settings = Settings::default();
        for knob in Knob::ALL {
            let assumed = knob.values.split([',', ' ']).next().unwrap();
            let before = format!("{settings:?}");
            Knob::turn(&mut settings, &format!("{}={assumed}", knob.name)).unwrap();
            assert_eq!(format!("{settings:?}"), before, "{} is not {assumed} by default", knob.name);
            let error = Knob::turn(&mut settings, &format!("{}=", knob.name)).unwrap_err();
            assert!(error.contains(knob.values), "{error}");
        }
        assert!(Knob::turn(&mut settings, "weather=fine").unwrap_err().contains("rotation-window"));
        Knob::turn(&mut settings, "limit-application=120+2").unwrap();
        assert_eq!(settings.limits.application, Some((120, 2)));
    }
}
