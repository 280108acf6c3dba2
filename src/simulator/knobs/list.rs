//! All knobs: their names, what each can be set to, and what it is about.

use std::time::Duration;

use super::{
    Challenge, ClientAuth, CommandStatus, IdPlace, Knob, ResolutionForm, Scheduled, SecondRefresh, SignalMeta, Times,
    TriggerForm, TriggerPlace, V2,
};
use crate::simulator::Settings;

const fn knob(
    name: &'static str,
    values: &'static str,
    about: &'static str,
    turn: fn(&mut Settings, &str) -> Option<()>,
) -> Knob {
    Knob { name, values, about, turn }
}

pub(super) const KNOBS: &[Knob] = &[
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
    knob(
        "required",
        "locked, filter",
        "`required:` in a scope locks a box, or also leaves out cars that cannot give it",
        |to, text| set(&mut to.habits.required_filters, one_of(text, &[("locked", false), ("filter", true)])),
    ),
    knob(
        "unknown",
        "refused, taken",
        "permissions that Smartcar does not list, makes that no simulated car is of",
        |to, text| set(&mut to.habits.takes_unknown, one_of(text, &[("refused", false), ("taken", true)])),
    ),
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
    knob("unsubscribed", "daily, live", "v3 signals of a car without a subscription to a verified webhook", |to, text| {
        set(&mut to.habits.daily_store, one_of(text, &[("daily", true), ("live", false)]))
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
    knob(
        "v2",
        "on, ended, gone",
        "whether v2.0 still answers, or has come to its end: by 404 VERSION, or a bare 410",
        |to, text| set(&mut to.habits.v2, one_of(text, &[("on", V2::On), ("ended", V2::Ended), ("gone", V2::Gone)])),
    ),
    knob("vehicle-id", "both, data, top", "whether an event has data.vehicle.id, vehicleId or both", |to, text| {
        set(&mut to.habits.vehicle_id, one_of(text, &[("both", IdPlace::Both), ("data", IdPlace::Data), ("top", IdPlace::Top)]))
    }),
    knob("event-meta", "yes, no", "whether events have meta", |to, text| set(&mut to.habits.event_meta, yes(text))),
    knob("signal-meta", "whole, empty, none", "meta of the good signals of an event", |to, text| {
        let values = [("whole", SignalMeta::Whole), ("empty", SignalMeta::Empty), ("none", SignalMeta::None)];
        set(&mut to.habits.signal_meta, one_of(text, &values))
    }),
    knob("triggers", "top, data, none", "where the triggers of an event are", |to, text| {
        let values = [("top", TriggerPlace::Top), ("data", TriggerPlace::Data), ("none", TriggerPlace::None)];
        set(&mut to.habits.triggers, one_of(text, &values))
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
    knob("client-error", "401, 400", "the status of invalid_client", |to, text| {
        set(&mut to.habits.client_refusal, one_of(text, &[("401", 401), ("400", 400)]))
    }),
    knob("iam-errors", "oauth, api", "errors of /oauth2/token as OAuth has them, or as v3", |to, text| {
        set(&mut to.habits.iam_errors, one_of(text, &[("oauth", false), ("api", true)]))
    }),
    knob("paging", "new, old", "pageNumber and prev in the lists of v3, or page and previous", |to, text| {
        set(&mut to.habits.older_pages, one_of(text, &[("new", false), ("old", true)]))
    }),
    knob("signal-list", "whole, short", "whether v3 signals come as many as totalCount says, or some singly only", |to, text| {
        set(&mut to.habits.short_lists, one_of(text, &[("whole", false), ("short", true)]))
    }),
    knob("freshness", "yes, no", "whether v2.0 reads have SC-Data-Age and SC-Fetched-At", |to, text| {
        set(&mut to.habits.freshness, yes(text))
    }),
    knob("retry-after-form", "seconds, date", "how Retry-After is written", |to, text| {
        set(&mut to.habits.retry_date, one_of(text, &[("seconds", false), ("date", true)]))
    }),
    knob("resolution", "object, text, null", "resolution in the errors of v2.0", |to, text| {
        let values = [("object", ResolutionForm::Object), ("text", ResolutionForm::Text), ("null", ResolutionForm::Null)];
        set(&mut to.habits.resolution, one_of(text, &values))
    }),
    knob("connection-time", "connectedAt, createdAt", "the name of that time in the management API of v2.0", |to, text| {
        set(&mut to.habits.created_at, one_of(text, &[("connectedAt", false), ("createdAt", true)]))
    }),
    knob("legacy-name", "schedule, scheduled, dynamic", "what scheduled legacy webhooks are called", |to, text| {
        let values = [("schedule", Scheduled::Schedule), ("scheduled", Scheduled::Scheduled), ("dynamic", Scheduled::Dynamic)];
        set(&mut to.habits.scheduled, one_of(text, &values))
    }),
    knob("error-signals", "objects, names", "the signals of a VEHICLE_ERROR", |to, text| {
        set(&mut to.habits.error_signals_by_name, one_of(text, &[("objects", false), ("names", true)]))
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
    knob("signals-cost", "1, or another number", "what a list of v3 signals counts towards limit-month", |to, text| {
        set(&mut to.habits.signals_cost, text.parse().ok())
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
