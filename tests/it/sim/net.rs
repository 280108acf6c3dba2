//! The line to Smartcar, which knows every token that was spent: it says which refresh should never have been
//! sent, and which connection may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use carport::model::Timestamp;
use carport::simulator::Simulator;
use carport::world::{Transport, TransportError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use serde_json::Value;

use super::time::Time;
use crate::store::disk::Disk;

/// How long Smartcar takes a refresh token after its first use.
const WINDOW: Duration = Duration::from_secs(60);

/// With so much time in the window in which all is well, nothing may be lost: the longest pause between two
/// tries, and the try.
const CHANCE: Duration = Duration::from_secs(20);

/// When the power is cut, seen from the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before a question of this kind leaves.
    Before(Kind),
    /// When Smartcar has acted upon it, before the answer is there.
    After(Kind),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Exchange,
    Refresh,
    Other,
}

/// The line. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Net {
    simulator: Simulator,
    time: Time,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    disk: Disk,
    /// Since when the gateway lives.
    lives_since: Timestamp,
    cut: Option<Moment>,
    /// Whose a code or a token is, and of which run of Connect.
    lineages: BTreeMap<String, (String, u32)>,
    runs: u32,
    /// When each refresh token was used first.
    spent: BTreeMap<String, Timestamp>,
    /// When the gateway was last left in doubt about each.
    doubtful: BTreeMap<String, Timestamp>,
    in_flight: BTreeMap<u32, u32>,
    /// What is wrong now, since when.
    wrong: BTreeMap<&'static str, Timestamp>,
    /// What was wrong.
    was_wrong: Vec<(Timestamp, Timestamp)>,
    /// Accounts that have revoked everything.
    revoked: BTreeSet<String>,
    /// Accounts whose tokens may be dead through nobody's fault.
    lost: BTreeSet<String>,
    /// Runs of Connect whose tokens may be dead, also when the owner has connected again since.
    dead: BTreeSet<u32>,
    secrets: BTreeSet<String>,
    broken: Vec<String>,
    is_lying: bool,
    counts: Counts,
}

/// What went over the line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) refreshes: u64,
    pub(super) lost_answers: u64,
    pub(super) refused: u64,
    /// Tokens that were sent once more within their window.
    pub(super) replays: u64,
}

impl Net {
    pub(super) fn new(simulator: Simulator, time: Time, disk: Disk, is_lying: bool) -> Net {
        let state = State {
            disk,
            lives_since: time.now(),
            cut: None,
            lineages: BTreeMap::new(),
            runs: 0,
            spent: BTreeMap::new(),
            doubtful: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            wrong: BTreeMap::new(),
            was_wrong: Vec::new(),
            revoked: BTreeSet::new(),
            lost: BTreeSet::new(),
            dead: BTreeSet::new(),
            secrets: BTreeSet::new(),
            broken: Vec::new(),
            is_lying,
            counts: Counts::default(),
        };
        Net { simulator, time, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The gateway lives anew, on this disk.
    pub(super) fn begin(&self, disk: Disk) {
        let mut state = self.state();
        state.disk = disk;
        state.lives_since = self.time.now();
        state.in_flight.clear();
        state.cut = None;
    }

    /// Cuts the power at such a moment.
    pub(super) fn cut_at(&self, moment: Option<Moment>) {
        self.state().cut = moment;
    }

    /// Something goes wrong from now on.
    pub(super) fn goes_wrong(&self, what: &'static str) {
        let now = self.time.now();
        self.state().wrong.entry(what).or_insert(now);
    }

    /// It is well again.
    pub(super) fn is_well(&self, what: &'static str) {
        let now = self.time.now();
        let mut state = self.state();
        if let Some(since) = state.wrong.remove(what) {
            state.was_wrong.push((since, now));
        }
    }

    /// Whether it is wrong now.
    pub(super) fn is_wrong(&self, what: &str) -> bool {
        self.state().wrong.contains_key(what)
    }

    /// An account agreed: its code.
    pub(super) fn agreed(&self, account: &str, code: &str) {
        let mut state = self.state();
        state.runs += 1;
        let lineage = (account.to_owned(), state.runs);
        state.lineages.insert(code.to_owned(), lineage);
        state.secrets.insert(code.to_owned());
    }

    /// An owner takes everything back.
    pub(super) fn revoke(&self, account: &str) {
        self.simulator.revoke(account);
        let mut state = self.state();
        let runs: Vec<u32> = state.lineages.values().filter(|(owner, _)| owner == account).map(|(_, run)| *run).collect();
        state.dead.extend(runs);
        state.revoked.insert(account.to_owned());
    }

    /// An owner has connected again.
    pub(super) fn is_mended(&self, account: &str) {
        let mut state = self.state();
        state.revoked.remove(account);
        state.lost.remove(account);
    }

    /// Whether a connection of this account may need its owner.
    pub(super) fn may_be_lost(&self, account: &str) -> bool {
        let state = self.state();
        state.revoked.contains(account) || state.lost.contains(account)
    }

    /// What must be nowhere in plain.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.state().secrets.iter().cloned().collect()
    }

    /// What should not have happened.
    pub(super) fn broken(&self) -> Vec<String> {
        std::mem::take(&mut self.state().broken)
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    async fn carry(&self, request: Request<Bytes>, deadline: Duration) -> Result<Response<Bytes>, TransportError> {
        let form: BTreeMap<String, String> = match request.uri().path() {
            "/oauth/token" => url::form_urlencoded::parse(request.body()).into_owned().collect(),
            _ => BTreeMap::new(),
        };
        let (kind, token) = match (form.get("refresh_token"), form.get("code")) {
            (Some(token), _) => (Kind::Refresh, token.clone()),
            (None, Some(code)) => (Kind::Exchange, code.clone()),
            (None, None) => (Kind::Other, String::new()),
        };
        self.state().cut_if(Moment::Before(kind));
        self.alive().await;
        let sent_at = self.time.now();
        let was_spent = self.state().spent.get(&token).copied();
        let in_flight = if kind == Kind::Refresh { Some(self.refresh_begins(&token, sent_at)) } else { None };
        let answer = self.simulator.send(request, deadline).await;
        self.state().cut_if(Moment::After(kind));
        self.alive().await;
        drop(in_flight);
        let mut state = self.state();
        match kind {
            Kind::Refresh => state.refreshed(&token, was_spent, sent_at, self.time.now(), &answer),
            Kind::Exchange => {
                state.issued(&token, &answer);
            }
            Kind::Other => state.keep_tokens(&answer),
        }
        answer
    }

    /// Waits for ever if the power has gone.
    async fn alive(&self) {
        let is_off = self.state().disk.left().is_some();
        if is_off {
            std::future::pending::<()>().await;
        }
    }

    fn refresh_begins(&self, token: &str, now: Timestamp) -> InFlight {
        let mut state = self.state();
        let state = &mut *state;
        state.counts.refreshes += 1;
        let lineage = state.lineages.get(token).map_or(0, |(_, run)| *run);
        if lineage == 0 {
            state.broken.push("a refresh token was sent that nobody was given".to_owned());
        }
        let at_once = state.in_flight.entry(lineage).or_default();
        *at_once += 1;
        if *at_once > 1 {
            state.broken.push(format!("{at_once} refreshes under way for one connection"));
        }
        // A life that ended may have meant to send it a moment ago, and the next one cannot know whether it did.
        let is_recent = |at: Timestamp| now.since(at) < WINDOW;
        let in_doubt = state.doubtful.get(token).is_some_and(|at| is_recent(*at)) || now.since(state.lives_since) < 2 * WINDOW;
        let may_be_spent = state.spent.contains_key(token) || in_doubt;
        if state.disk.is_refusing() && !may_be_spent {
            state.broken.push("a pair was spent that cannot be replaced: the disk refuses".to_owned());
        }
        state.counts.replays += u64::from(state.spent.contains_key(token));
        // Until Smartcar has said that it did not act upon it.
        state.spent.entry(token.to_owned()).or_insert(now);
        InFlight { net: self.clone(), lineage }
    }
}

/// A refresh under way.
struct InFlight {
    net: Net,
    lineage: u32,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(at_once) = self.net.state().in_flight.get_mut(&self.lineage) {
            *at_once = at_once.saturating_sub(1);
        }
    }
}

impl State {
    fn cut_if(&mut self, moment: Moment) {
        if self.cut == Some(moment) {
            self.cut = None;
            self.disk.cut();
        }
    }

    fn refreshed(
        &mut self,
        token: &str,
        was_spent: Option<Timestamp>,
        sent_at: Timestamp,
        now: Timestamp,
        answer: &Result<Response<Bytes>, TransportError>,
    ) {
        match answer {
            Ok(answer) if answer.status() == 200 => {
                if !self.issued(token, &Ok(answer.clone())) {
                    self.was_wrong.push((sent_at, now));
                }
            }
            Ok(answer) if answer.status() == 400 => self.refused(token, was_spent, now),
            Err(TransportError::Lost(_) | TransportError::TooSlow(_)) => {
                self.counts.lost_answers += 1;
                self.was_wrong.push((sent_at, now));
            }
            answer => {
                // It was not acted upon, which a server's error does not tell.
                if was_spent.is_none() {
                    self.spent.remove(token);
                }
                if answer.as_ref().is_ok_and(|answer| answer.status().is_server_error()) {
                    self.doubtful.insert(token.to_owned(), now);
                }
                let retry = answer.as_ref().ok().filter(|answer| answer.status() == 429).map(|answer| {
                    let after = answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
                    Duration::from_secs(after.unwrap_or(60))
                });
                self.was_wrong.push((sent_at, now.after(retry.unwrap_or_default())));
            }
        }
    }

    /// Keeps what an answer issued; whether it did.
    fn issued(&mut self, token: &str, answer: &Result<Response<Bytes>, TransportError>) -> bool {
        let body: Value = answer.as_ref().ok().and_then(|answer| serde_json::from_slice(answer.body()).ok()).unwrap_or_default();
        if let (Some(lineage), Some(refresh)) = (self.lineages.get(token).cloned(), body["refresh_token"].as_str()) {
            self.lineages.insert(refresh.to_owned(), lineage);
        }
        self.keep_tokens(answer);
        body["refresh_token"].is_string()
    }

    fn keep_tokens(&mut self, answer: &Result<Response<Bytes>, TransportError>) {
        let Ok(answer) = answer else { return };
        if !answer.body().windows(14).any(|found| found == b"\"access_token\"") {
            return;
        }
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let found = ["access_token", "refresh_token"].iter().filter_map(|name| body[name].as_str());
        self.secrets.extend(found.filter(|token| token.len() > 8).map(str::to_owned));
    }

    /// Smartcar says that a token is dead: that must have a reason.
    fn refused(&mut self, token: &str, was_spent: Option<Timestamp>, now: Timestamp) {
        self.counts.refused += 1;
        let Some((account, run)) = self.lineages.get(token).cloned() else { return };
        if self.is_lying {
            self.lost.insert(account.clone());
        }
        if self.may_be_dead(&account, run) {
            return;
        }
        let Some(spent_at) = was_spent else {
            self.broken.push(format!("the pair of {account} is dead, though its token was never used"));
            return;
        };
        let well = self.longest_well(spent_at, spent_at.after(WINDOW).min(now));
        if well >= CHANCE {
            let ago = now.since(spent_at).as_secs_f64();
            let text = format!("the pair of {account} is dead: used {ago:.1} s ago, though for {well:.1?} all was well");
            self.broken.push(text);
        } else {
            self.lost.insert(account);
            self.dead.insert(run);
        }
    }

    fn may_be_dead(&self, account: &str, run: u32) -> bool {
        self.revoked.contains(account) || self.lost.contains(account) || self.dead.contains(&run)
    }

    /// The longest time in which nothing was wrong.
    fn longest_well(&self, from: Timestamp, to: Timestamp) -> Duration {
        let mut wrong: Vec<(Timestamp, Timestamp)> = self.was_wrong.clone();
        wrong.extend(self.wrong.values().map(|since| (*since, to)));
        wrong.sort_unstable();
        let (mut at, mut longest) = (from, Duration::ZERO);
        for (since, until) in wrong {
            if until <= from || since >= to {
                continue;
            }
            longest = longest.max(since.since(at));
            at = at.max(until);
        }
        longest.max(to.since(at))
    }
}

impl Transport for Net {
    fn send(&self, request: Request<Bytes>, deadline: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        self.carry(request, deadline).boxed()
    }
}
