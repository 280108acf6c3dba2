//! What is not certain about the real Smartcar, as knobs: each does the assumed thing unless it is turned. Also
//! how long things live, and limits.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

mod list;

use super::Settings;
use crate::model::Timestamp;
use list::KNOBS;

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
    /// Whether permissions and makes are taken that nobody knows.
    pub takes_unknown: bool,
    /// Whether single v3 resources are bare, without `data` around them.
    pub bare: bool,
    /// Whether a car that cannot give what a `required:` permission opens is not offered, as it may have been before
    /// June 2026.
    pub required_filters: bool,
    /// What a list of v3 signals counts of the plan's requests.
    pub signals_cost: u32,
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
    /// Whether the store of v3 gets the state of a vehicle without a subscription once a day, or all the time.
    pub daily_store: bool,
    /// Whether the signals of v3 say that the manufacturer refuses the account, or keep their last values.
    pub signal_trouble: bool,
    /// Whether v3 errors have few fields and codes in lower case.
    pub plain_errors: bool,
    /// How the answer to a command tells of its status.
    pub command_status: CommandStatus,
    /// Whether 429 for the whole application has Retry-After.
    pub retry_after: bool,
    /// Whether v2.0 has come to its end, and how it says so.
    pub v2: V2,
    /// Where the triggers of an event are.
    pub triggers: TriggerPlace,
    /// Where the id of the vehicle of an event is.
    pub vehicle_id: IdPlace,
    /// Whether events have `meta`. Old ones and tests do not always.
    pub event_meta: bool,
    /// What the good signals of an event have for `meta`.
    pub signal_meta: SignalMeta,
    /// How a trigger names its signal.
    pub trigger_form: TriggerForm,
    /// The status of `invalid_client`.
    pub client_refusal: u16,
    /// Whether `iam.smartcar.com` has the errors of v3, not those of OAuth.
    pub iam_errors: bool,
    /// Whether lists of v3 say `page` and `previous`, as an older description has them.
    pub older_pages: bool,
    /// Whether the list of signals has fewer than its `totalCount` says.
    pub short_lists: bool,
    /// Whether reads of v2.0 say how old they are.
    pub freshness: bool,
    /// Whether Retry-After is a date.
    pub retry_date: bool,
    /// How v2.0 says what helps.
    pub resolution: ResolutionForm,
    /// Whether the management API of v2.0 says `createdAt`, not `connectedAt`.
    pub created_at: bool,
    /// What a legacy webhook's scheduled payloads are called.
    pub scheduled: Scheduled,
    /// Whether VEHICLE_ERROR has its signals as `Group.Name`.
    pub error_signals_by_name: bool,
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

/// Where the triggers of an event are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerPlace {
    /// Beside `data`.
    Top,
    /// Within it.
    Data,
    /// Nowhere.
    None,
}

/// Where the id of the vehicle of an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdPlace {
    /// `data.vehicle.id` and `vehicleId`.
    Both,
    /// `data.vehicle.id`, as captured.
    Data,
    /// `vehicleId`, as on one page of the documentation.
    Top,
}

/// What the good signals of an event have for `meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalMeta {
    /// When the car told it, and when Smartcar heard.
    Whole,
    /// `{}`
    Empty,
    /// Nothing.
    None,
}

/// How v2.0 says what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolutionForm {
    /// `{"type", "url"?}`
    Object,
    /// The type alone.
    Text,
    /// Not at all.
    Null,
}

impl ResolutionForm {
    /// Puts an error of v2.0 into this form.
    pub(super) fn write(self, mut error: Value) -> Value {
        match self {
            ResolutionForm::Object => {}
            ResolutionForm::Text => error["resolution"] = error["resolution"]["type"].take(),
            ResolutionForm::Null => error["resolution"] = Value::Null,
        }
        error
    }
}

/// What a legacy webhook's scheduled payloads are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduled {
    /// `schedule`
    Schedule,
    /// `scheduled`
    Scheduled,
    /// `dynamic`, with fewer endpoints.
    Dynamic,
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

/// Whether v2.0 still answers. How Smartcar will end it is not documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V2 {
    /// It does.
    On,
    /// There is no such version any more: 404 `RESOURCE_NOT_FOUND:VERSION`.
    Ended,
    /// All of it is gone: 410, and a page of no words of Smartcar's.
    Gone,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits {
            second_refresh: SecondRefresh::Newest,
            refresh_as_request: false,
            client_auth: ClientAuth::Any,
            code_beside_user: true,
            takes_unknown: false,
            bare: false,
            required_filters: false,
            signals_cost: 1,
            flat_connections: false,
            connection_user: true,
            page_size: 10,
            v2_page_size: 10,
            timestamps: Times::Iso,
            daily_store: true,
            signal_trouble: true,
            plain_errors: false,
            command_status: CommandStatus::Word,
            retry_after: false,
            v2: V2::On,
            triggers: TriggerPlace::Top,
            vehicle_id: IdPlace::Both,
            event_meta: true,
            signal_meta: SignalMeta::Whole,
            trigger_form: TriggerForm::Object,
            client_refusal: 401,
            iam_errors: false,
            older_pages: false,
            short_lists: false,
            freshness: true,
            retry_date: false,
            resolution: ResolutionForm::Object,
            created_at: false,
            scheduled: Scheduled::Schedule,
            error_signals_by_name: false,
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
        (knob.turn)(settings, value).ok_or_else(|| format!("`{text}`: {name} is set to {}", knob.values))?;
        if value == knob.assumed() {
            settings.turned.remove(knob.name);
        } else {
            settings.turned.insert(knob.name, value.to_owned());
        }
        Ok(())
    }

    /// Where it stands.
    pub(super) fn value<'a>(&self, settings: &'a Settings) -> &'a str {
        settings.turned.get(self.name).map_or(self.assumed(), String::as_str)
    }

    /// Where it stands unless it is turned.
    fn assumed(&self) -> &'static str {
        self.values.split([',', ' ']).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_knob_takes_what_it_says_it_takes_first() {
        let mut settings = Settings::default();
        for knob in Knob::ALL {
            let assumed = knob.assumed();
            let before = format!("{settings:?}");
            Knob::turn(&mut settings, &format!("{}={assumed}", knob.name)).unwrap();
            assert_eq!(format!("{settings:?}"), before, "{} is not {assumed} by default", knob.name);
            let error = Knob::turn(&mut settings, &format!("{}=", knob.name)).unwrap_err();
            assert!(error.contains(knob.values), "{error}");
        }
        assert!(Knob::turn(&mut settings, "weather=fine").unwrap_err().contains("rotation-window"));
        Knob::turn(&mut settings, "limit-application=120+2").unwrap();
        assert_eq!(settings.limits.application, Some((120, 2)));
        assert_eq!(settings.turned, BTreeMap::from([("limit-application", "120+2".to_owned())]));
    }
}
