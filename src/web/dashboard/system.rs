//! What Carport uses, what it runs, and who may come in.

use std::time::Duration;

use askama::Template;

use super::format::{self, Rich, When};
use super::links::qr;
use super::numbers::Numbers;
use super::told::Told;
use super::{DevicePage, Mistake, Shell, SystemPage, TokenPage, finish, names};
use crate::budget::{ApplicationBudget, BudgetView, VehicleBudget};
use crate::model::budget::Reason;
use crate::model::{Timestamp, in_words};
use crate::operate::access::{SessionView, TokenView};
use crate::operate::rotation::{KeyView, State};
use crate::operate::status::StatusView;
use crate::vehicles::VehicleName;
use crate::web::answer::path_part;

#[derive(Template)]
#[template(path = "system.html")]
struct View<'a> {
    shell: Shell<'a>,
    status: &'a StatusView,
    notices: Vec<(Told, When)>,
    sections: [(&'static str, Facts); 4],
    plan: String,
    calls: Vec<Calls>,
    tokens: Vec<Token<'a>>,
    sessions: Vec<Browser>,
    vehicles: Vec<(&'a str, String)>,
    mistake: Option<Mistake<'a>>,
}

impl View<'_> {
    /// What was typed into a box of a token that was not made.
    fn typed(&self, field: &str) -> &str {
        self.mistake.as_ref().and_then(|mistake| mistake.typed(field)).unwrap_or_default()
    }

    /// What is wrong with it.
    fn wrong(&self, field: &str) -> Option<&str> {
        self.mistake.as_ref()?.wrong(field)
    }
}

/// What a token may do, and what that means.
const SCOPES: &[(&str, &str)] = &[
    ("read", "see everything"),
    ("control", "read, fresh values and commands"),
    ("admin", "everything"),
    ("metrics", "only figures about Carport"),
    ("connect", "only connect cars of one owner"),
];

/// What is called how, its value, and more about it.
type Facts = Vec<(&'static str, String, String)>;

/// The calls about one car.
struct Calls {
    name: String,
    used: String,
    /// Used and limit, for a bar.
    bar: Option<(u32, u32)>,
    /// The class of its badge, and what is to be expected.
    forecast: (&'static str, String),
    reasons: String,
}

struct Token<'a> {
    view: &'a TokenView,
    href: String,
    scope: &'static str,
    bound: Option<String>,
    made: When,
    ends: Option<When>,
}

struct Browser {
    href: String,
    name: String,
    is_this: bool,
    seen: When,
    made: When,
}

#[derive(Template)]
#[template(path = "token.html")]
struct MadeView<'a> {
    shell: Shell<'a>,
    token: &'a TokenView,
    scope: &'static str,
    secret: &'a str,
}

#[derive(Template)]
#[template(path = "device.html")]
struct DeviceView<'a> {
    shell: Shell<'a>,
    url: &'a str,
    until: When,
    only_here: bool,
    qr: Option<String>,
}

impl SystemPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let (status, now, numbers) = (self.status, self.shell.now, &Numbers::of(self.shell.language));
        let notices = status.notices.iter().map(|notice| {
            let told = Told {
                color: "yellow",
                what: format::sentence(&notice.what),
                remedy: format::sentence(&notice.remedy),
                exact: None,
            };
            (told, When::ago(now, notice.since))
        });
        let tokens = self.tokens.iter().map(|token| Token {
            view: token,
            href: format!("/system/tokens/{}", path_part(&token.id)),
            scope: token.scope.as_str(),
            bound: token.vehicle.as_ref().map(|id| names::of(self.names, id)).or(token.user.as_ref().map(ToString::to_string)),
            made: When::ago(now, token.created_at),
            ends: token.expires_at.map(|at| When::ahead(now, at)),
        });
        let sessions = self.sessions.iter().map(|session| browser(session, self.own_session, now));
        let cars = self.names.iter().filter(|vehicle| !vehicle.former).map(|vehicle| (vehicle.id.as_str(), names::name(vehicle)));
        finish(&View {
            shell: self.shell,
            status,
            notices: notices.collect(),
            sections: [
                ("Store", store(status, numbers)),
                ("Webhook log", webhooks(status, numbers)),
                ("Connections", renewal(status, numbers, now)),
                ("Carport", running(status, self.key)),
            ],
            plan: plan(self.budget, numbers, now),
            calls: self.budget.items.iter().map(|calls| of_car(calls, self.budget, self.names, numbers, now)).collect(),
            tokens: tokens.collect(),
            sessions: sessions.collect(),
            vehicles: cars.collect(),
            mistake: self.mistake,
        })
    }
}

impl TokenPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let TokenPage { shell, token, secret } = *self;
        finish(&MadeView { shell, token, scope: token.scope.as_str(), secret })
    }
}

impl DevicePage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let DevicePage { shell, url, expires_at, only_here } = *self;
        let qr = qr(url).filter(|_| !only_here);
        finish(&DeviceView { shell, url, until: When::ahead(shell.now, expires_at), only_here, qr })
    }
}

fn store(status: &StatusView, numbers: &Numbers) -> Facts {
    let store = &status.store;
    let state = match () {
        () if !store.healthy => "takes no changes",
        () if store.low => "waits for room on the disk",
        () => "takes changes",
    };
    vec![
        ("State", state.to_owned(), String::new()),
        ("Size", numbers.size(store.bytes), format!("{} of it journal", numbers.size(store.journal_bytes))),
        (
            "Free on its disk",
            store.free_bytes.map_or_else(|| format::UNKNOWN.to_owned(), |free| numbers.size(free)),
            String::new(),
        ),
        (
            "Written today",
            numbers.size(store.written_today_bytes),
            format!("{} since the start", numbers.size(store.written_bytes)),
        ),
    ]
}

fn webhooks(status: &StatusView, numbers: &Numbers) -> Facts {
    let ring = &status.webhooks;
    let behind =
        if ring.projector_lag == 0 { "nothing waits".to_owned() } else { format!("{} wait", numbers.count(ring.projector_lag)) };
    vec![
        ("Kept", numbers.count(ring.entries), numbers.size(ring.bytes)),
        ("Received in all", numbers.count(ring.newest.0), String::new()),
        ("To be worked on", behind, String::new()),
    ]
}

fn renewal(status: &StatusView, numbers: &Numbers, now: Timestamp) -> Facts {
    let refresh = &status.refresh;
    let next = refresh.next_due_at.map_or_else(
        || format::UNKNOWN.to_owned(),
        |at| if at > now { format!("in {}", format::duration(at.since(now))) } else { "now".to_owned() },
    );
    let waiting = match refresh.needs_reconnect {
        0 => String::new(),
        count => format!("{} wait for their owner", numbers.count(count)),
    };
    let state = if refresh.stopped.is_some() { "stopped" } else { "runs" };
    vec![
        ("Renewal", state.to_owned(), String::new()),
        ("Active connections", numbers.count(refresh.active), waiting),
        ("Next one due", next, String::new()),
    ]
}

fn running(status: &StatusView, key: &KeyView) -> Facts {
    let uptime = Duration::from_secs(status.uptime_seconds);
    let rotation = key.rotation.as_ref().map(|rotation| match rotation.state {
        State::Running => format!("is being replaced by {}", rotation.to),
        State::Done => "was replaced".to_owned(),
        State::Failed => "its replacement was broken off: carport key rotate".to_owned(),
    });
    vec![
        ("Version", status.version.to_owned(), String::new()),
        ("Runs for", format::duration(uptime), String::new()),
        ("Master key", key.id.clone(), rotation.unwrap_or_default()),
    ]
}

/// What the plan allows, in a sentence.
fn plan(budget: &BudgetView, numbers: &Numbers, now: Timestamp) -> String {
    let until = format::duration(budget.until.since(now));
    let each = match budget.calls_per_vehicle_month {
        Some(calls) => {
            format!("{} calls for each car and month, {} of them in reserve", numbers.count(calls.into()), budget.reserve)
        }
        None => "As many calls as wanted".to_owned(),
    };
    let shared = budget.application.as_ref().map(|application| bucket(application, now)).unwrap_or_default();
    format!("{each}; counted anew in {until}.{shared}")
}

/// What is left to all cars together, in sentences.
fn bucket(application: &ApplicationBudget, now: Timestamp) -> String {
    let ApplicationBudget { holds, per_minute, left, rests_until, refused_at } = application;
    let rests = rests_until.map(|until| format!(" Smartcar asks to be left alone for {}.", in_words(until.since(now))));
    let why = refused_at.map(|at| format!(": it refused all of them (429) {} ago", format::duration(now.since(at))));
    format!(
        " {left} of the {holds} calls are left that Smartcar allows the whole application at once, and {per_minute} come back each \
         minute{}.{}",
        why.unwrap_or_default(),
        rests.unwrap_or_default()
    )
}

fn of_car(calls: &VehicleBudget, budget: &BudgetView, names: &[VehicleName], numbers: &Numbers, now: Timestamp) -> Calls {
    let reasons: Vec<String> = calls.reasons.iter().map(|(reason, count)| format!("{count} {}", why(*reason))).collect();
    Calls {
        name: names::of(names, &calls.vehicle),
        used: match calls.limit {
            Some(limit) => format!("{} of {}", numbers.count(calls.used.into()), numbers.count(limit.into())),
            None => numbers.count(calls.used.into()),
        },
        bar: calls.limit.filter(|limit| *limit > 0).map(|limit| (calls.used.min(limit), limit)),
        forecast: forecast(calls, budget, numbers, now),
        reasons: reasons.join(", "),
    }
}

/// Why calls are made.
fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Picture => "for a first picture",
        Reason::Gap => "to read what was missed",
        Reason::Request => "on request",
        Reason::Compat => "for clients of Smartcar\u{2019}s API",
        Reason::Reader => "for clients that may only read",
        Reason::Command => "for commands",
        Reason::Poll => "on the schedule",
    }
}

/// What the month comes to if it goes on as it did so far.
fn forecast(calls: &VehicleBudget, budget: &BudgetView, numbers: &Numbers, now: Timestamp) -> (&'static str, String) {
    let (gone, whole) = (now.since(budget.since).as_secs(), budget.until.since(budget.since).as_secs());
    let used = u64::from(calls.used);
    if calls.remaining == Some(0) {
        return ("red", "spent".to_owned());
    }
    if gone < 86_400 || used == 0 {
        return ("grey", if used == 0 { "none so far".to_owned() } else { "too early to tell".to_owned() });
    }
    let expected = used.saturating_mul(whole) / gone;
    match calls.limit {
        Some(limit) if expected > u64::from(limit) => {
            let left = u64::from(calls.remaining.unwrap_or_default());
            let lasts = Duration::from_secs(left.saturating_mul(gone) / used);
            ("yellow", format!("at this pace spent in {}", format::duration(lasts)))
        }
        _ => ("green", format!("at this pace about {} in all", numbers.count(expected))),
    }
}

fn browser(session: &SessionView, own: Option<&str>, now: Timestamp) -> Browser {
    Browser {
        href: format!("/system/sessions/{}", path_part(&session.id)),
        name: session.browser.as_deref().map_or_else(|| "An unknown browser".to_owned(), browser_name),
        is_this: own == Some(session.id.as_str()),
        seen: When::ago(now, session.last_seen_at),
        made: When::ago(now, session.created_at),
    }
}

/// What people call their browser: `Firefox on Android`. Only for recognising it in a list.
fn browser_name(agent: &str) -> String {
    let pick = |known: &[(&str, &'static str)]| known.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    // The order matters: most claim to be others as well.
    let browsers = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS", "Firefox"),
        ("Chrome/", "Chrome"),
        ("CriOS", "Chrome"),
        ("Safari/", "Safari"),
    ];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    match (pick(&browsers), pick(&systems)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ => agent.chars().take(60).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::numbers::Language;
    use super::*;
    use crate::model::VehicleId;

    #[test]
    fn browsers_are_called_what_people_call_them() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
        let iphone =
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile/15E148 Safari/604.1";
        assert_eq!(browser_name(chrome), "Chrome on Linux");
        assert_eq!(browser_name(iphone), "Safari on iPhone");
        assert_eq!(browser_name("curl/8.5.0"), "curl/8.5.0");
    }

    #[test]
    fn the_forecast_goes_on_as_it_went() {
        let day = |days: u64| Duration::from_secs(days * 86_400);
        let since = Timestamp::from_millis(1_760_000_000_000);
        let budget = BudgetView {
            since,
            until: since.after(day(30)),
            calls_per_vehicle_month: Some(100),
            reserve: 20,
            application: None,
            items: Vec::new(),
            next: None,
        };
        let told = |used: u32, days: u64| {
            let calls = VehicleBudget {
                vehicle: VehicleId::new("x"),
                used,
                reasons: std::collections::BTreeMap::new(),
                limit: Some(100),
                remaining: Some(100 - used),
                refused_after: None,
                spent: None,
                rests_until: None,
                last: Vec::new(),
            };
            forecast(&calls, &budget, &Numbers::of(Language::default()), since.after(day(days)))
        };
        assert_eq!(told(0, 10), ("grey", "none so far".to_owned()));
        assert_eq!(told(3, 0), ("grey", "too early to tell".to_owned()));
        assert_eq!(told(20, 10), ("green", "at this pace about 60 in all".to_owned()));
        assert_eq!(told(50, 10), ("yellow", "at this pace spent in 10 days".to_owned()));
        assert_eq!(told(100, 10), ("red", "spent".to_owned()));
    }
}
