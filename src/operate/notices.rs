//! Notices: each fault is told once, in one line of the log and for as long as it lasts in the status; and once
//! that it is over. They are kept, so that a restart does not repeat them.
//!
//! A notice follows from what the store says of connections, tokens and cars, and from what the refresh loop is waiting
//! for. The second is forgotten by a restart: until something has been renewed since, the notice stays.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::notice::{Notice, Subject};
use crate::model::token::Generation;
use crate::model::{ConnectionId, Timestamp};
use crate::smartcar::sunset::Cars;
use crate::smartcar::{Smartcar, in_two};
use crate::store::notices::{EndNotice, GiveNotice};
use crate::store::tokens::SealedTokens;
use crate::store::{Store, StoreError};
use crate::tokens::{Doubt, Tokens};
use crate::world::World;

mod taken_back;
mod view;

pub use view::NoticeView;

/// Gives notices and takes them back. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Notices {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    tokens: Tokens,
    smartcar: Smartcar,
    world: World,
    /// Whose renewal fails, and since which look: what is over within minutes is not worth a notice.
    failing: Mutex<HashMap<Generation, Instant>>,
    /// Whether there was a look since the start.
    has_looked: AtomicBool,
}

impl Notices {
    /// Notices about the connections in `store`.
    pub fn new(store: Store, tokens: Tokens, smartcar: Smartcar, world: World) -> Notices {
        Notices {
            shared: Arc::new(Shared {
                store,
                tokens,
                smartcar,
                world,
                failing: Mutex::default(),
                has_looked: AtomicBool::new(false),
            }),
        }
    }

    /// Looks every few minutes, and when the tokens or a connection have news, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut connections = self.shared.store.connections_changed();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                looked = self.look() => if let Err(error) = looked {
                    tracing::debug!(%error, "notices wait for the store");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.shared.tokens.news() => {}
                // What happens to many at once is looked at once.
                Ok(()) = connections.changed() => tokio::time::sleep(PAUSE).await,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let now = shared.world.now();
        let Some(mut survey) = shared.survey(now).await? else { return Ok(()) };
        survey.notices.extend(shared.taken_back().await?);
        let given = shared.store.read(|snapshot| snapshot.notices(usize::MAX)).await?;
        // Those about the certificate are given and taken back where it is watched.
        let given = given.into_iter().filter(|notice| !notice.subject.is_of_certificate());
        let mut given: HashMap<Subject, Notice> = given.map(|notice| (notice.subject, notice)).collect();
        if !shared.has_looked.swap(true, Ordering::AcqRel) && given.contains_key(&Subject::V2Ended) {
            shared.tokens.recall_end();
        }
        if shared.smartcar.settings().v2.is_some() {
            shared.tokens.doubt_end(Doubt::InTime).await;
        }
        for notice in shared.wanted(&survey, now) {
            let before = given.remove(&notice.subject);
            let is_same = |before: &Notice| (&before.reason, before.days) == (&notice.reason, notice.days);
            if !before.as_ref().is_some_and(is_same) && shared.store.commit(GiveNotice { notice: notice.clone() }).await? {
                let NoticeView { code, what, .. } = NoticeView::of(notice.clone(), None, "", now);
                let connection = notice.subject.connection().map(tracing::field::display);
                tracing::warn!(notice = code, connection.id = connection, vehicle.row = notice.subject.vehicle(), "{what}");
            }
        }
        for (subject, before) in given {
            let may_go_on = subject.generation().is_some_and(|generation| survey.of(generation).may_go_on(&before));
            if !may_go_on && shared.store.commit(EndNotice { subject }).await? {
                let connection = subject.connection().map(tracing::field::display);
                tracing::info!(
                    notice = subject.code(),
                    connection.id = connection,
                    vehicle.row = subject.vehicle(),
                    "it is over"
                );
            }
        }
        Ok(())
    }
}

/// How long a change of a connection waits for others.
const PAUSE: Duration = Duration::from_millis(200);

/// How often is looked. Thresholds are days, and a fault that mends itself within it is no news.
const EVERY: Duration = Duration::from_secs(300);

/// How many connections are looked at in one go.
const SLICE: usize = 256;

/// Before the end of access, in days: the nearest first.
const THRESHOLDS: [u8; 4] = [1, 3, 7, 14];

const DAY: Duration = Duration::from_secs(86_400);

/// How long a renewal may be overdue before it counts as failing.
const LATE: Duration = Duration::from_secs(3600);

/// What all connections tell.
#[derive(Debug, Default)]
struct Survey {
    v2: Pulse,
    v3: Pulse,
    /// About one connection, or one vehicle, each.
    notices: Vec<Notice>,
    /// Whether a connection of v2 serves a car.
    serves_by_v2: bool,
}

/// How a generation fares.
#[derive(Debug, Default)]
struct Pulse {
    /// There is an active connection.
    is_used: bool,
    /// A renewal is due and has not been made.
    is_overdue: bool,
    /// When one was made last.
    renewed_at: Timestamp,
    /// Why one failed.
    trouble: Option<String>,
    /// Why none is tried.
    refused: Option<String>,
}

impl Survey {
    fn of(&self, generation: Generation) -> &Pulse {
        match generation {
            Generation::V2 => &self.v2,
            Generation::V3 => &self.v3,
        }
    }
}

impl Pulse {
    fn see(&mut self, tokens: &SealedTokens, ought_at: Timestamp, now: Timestamp) {
        self.is_overdue |= tokens.due_at.is_some() && ought_at <= now;
        self.renewed_at = self.renewed_at.max(tokens.issued_at);
    }

    /// Whether a notice stands that nothing bears out at present, because nothing has been renewed since.
    fn may_go_on(&self, notice: &Notice) -> bool {
        let is_open = self.is_overdue && self.renewed_at <= notice.since;
        match notice.subject {
            Subject::CredentialsRefused(_) => is_open,
            Subject::V2Ended => false,
            _ => is_open && self.is_used && self.refused.is_none(),
        }
    }
}

impl Shared {
    /// Looks at all connections. `None` while the clock is behind: then no time can be believed.
    async fn survey(&self, now: Timestamp) -> Result<Option<Survey>, StoreError> {
        let mut survey = Survey::default();
        let is_behind = |tokens: &SealedTokens| tokens.issued_at > now.after(Duration::from_secs(300));
        survey.v2.trouble = self.tokens.held_up(Generation::V2);
        survey.v2.refused = self.tokens.stopped(Generation::V2);
        survey.v3.refused = self.tokens.stopped(Generation::V3);
        if self.smartcar.settings().v3.is_some() {
            let tokens = self.store.read(|snapshot| snapshot.tokens(ConnectionId::APPLICATION)).await?;
            match &tokens {
                Some(tokens) if is_behind(tokens) => return Ok(None),
                Some(tokens) => survey.v3.see(tokens, self.tokens.ought_at(ConnectionId::APPLICATION, tokens, now), now),
                None => survey.v3.is_overdue = true,
            }
            let trouble = self.tokens.trouble(ConnectionId::APPLICATION);
            survey.v3.trouble = trouble.or_else(|| self.tokens.held_up(Generation::V3));
        }
        let mut after = None;
        loop {
            let looks_for_cars = !survey.serves_by_v2;
            let slice = self.store.read(move |snapshot| {
                let connections = snapshot.connections(after, SLICE)?;
                let mut serves = false;
                let is_by_v2 = |connection: &&Connection| Cars::of(connection) == Cars::ByV2;
                for connection in connections.iter().filter(|connection| looks_for_cars && is_by_v2(connection)) {
                    serves = serves || !snapshot.vehicles_of(connection)?.is_empty();
                }
                let tokens = connections.into_iter().map(|connection| Ok((snapshot.sound_tokens(connection.id)?, connection)));
                Ok((serves, tokens.collect::<Result<Vec<_>, StoreError>>()?))
            });
            let (serves, slice) = slice.await?;
            survey.serves_by_v2 |= serves;
            after = slice.last().map(|(_, connection)| connection.id);
            for (tokens, connection) in &slice {
                if tokens.as_ref().is_some_and(is_behind) {
                    return Ok(None);
                }
                self.see(&mut survey, connection, tokens.as_ref(), now);
            }
            if slice.len() < SLICE {
                return Ok(Some(survey));
            }
        }
    }

    fn see(&self, survey: &mut Survey, connection: &Connection, tokens: Option<&SealedTokens>, now: Timestamp) {
        let about = |subject| Notice { subject, since: now, reason: None, ends_at: None, days: None };
        match (&connection.status, connection.generation) {
            (ConnectionStatus::Disconnected, _) => {}
            (ConnectionStatus::NeedsReconnect { reason, .. }, _) => {
                let reason = Some(in_two(reason).0.to_owned());
                survey.notices.push(Notice { reason, ..about(Subject::NeedsReconnect(connection.id)) });
            }
            (ConnectionStatus::Active, Generation::V3) => survey.v3.is_used = true,
            (ConnectionStatus::Active, Generation::V2) => {
                survey.v2.is_used = true;
                let Some(tokens) = tokens else { return };
                let ought_at = self.tokens.ought_at(connection.id, tokens, now);
                survey.v2.see(tokens, ought_at, now);
                let trouble = self.tokens.trouble(connection.id).or_else(|| self.tokens.held_up(Generation::V2));
                let hindrance = trouble.clone().or_else(|| survey.v2.refused.clone());
                if let Some((ends_at, days)) = ending(tokens, ought_at, hindrance.is_some(), now) {
                    let reason = hindrance.map(|what| in_two(&what).0.to_owned());
                    let (ends_at, days) = (Some(ends_at), Some(days));
                    survey.notices.push(Notice { reason, ends_at, days, ..about(Subject::AccessEnding(connection.id)) });
                }
                survey.v2.trouble = survey.v2.trouble.take().or(trouble);
            }
        }
    }

    /// All notices that are to stand now.
    fn wanted(&self, survey: &Survey, now: Timestamp) -> Vec<Notice> {
        let mut wanted = survey.notices.clone();
        if survey.serves_by_v2 && self.tokens.ended().is_some() {
            wanted.push(Notice { subject: Subject::V2Ended, since: now, reason: None, ends_at: None, days: None });
        }
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        for generation in [Generation::V2, Generation::V3] {
            let pulse = survey.of(generation);
            let mut add = |subject, what: &str| {
                let reason = Some(in_two(what).0.to_owned());
                wanted.push(Notice { subject, since: now, reason, ends_at: None, days: None });
            };
            match (&pulse.refused, &pulse.trouble) {
                // What is kept of v2 only to go back to it is nobody's fault.
                (Some(what), _) if pulse.is_used || generation == Generation::V3 => {
                    add(Subject::CredentialsRefused(generation), what);
                }
                (None, Some(what)) if pulse.is_used => {
                    if failing.entry(generation).or_insert_with(Instant::now).elapsed() >= EVERY {
                        add(Subject::RenewalFailing(generation), what);
                    }
                    continue;
                }
                _ => {}
            }
            failing.remove(&generation);
        }
        wanted
    }
}

/// When access ends, and the threshold that was crossed last; `None` if it is far or is being renewed as it should.
fn ending(tokens: &SealedTokens, ought_at: Timestamp, is_hindered: bool, now: Timestamp) -> Option<(Timestamp, u8)> {
    let ends_at = tokens.refresh_expires_at.unwrap_or(tokens.access_expires_at);
    let is_late = tokens.due_at.is_none() || ought_at.after(LATE) <= now;
    // Without a refresh token nothing can be renewed.
    if !is_hindered && !is_late && tokens.refresh_expires_at.is_some() {
        return None;
    }
    let left = ends_at.since(now);
    THRESHOLDS.into_iter().find(|days| left <= u32::from(*days) * DAY).map(|days| (ends_at, days))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Blob;

    const NOW: Timestamp = Timestamp::from_millis(1_760_000_000_000);

    fn tokens(refresh: Option<Duration>) -> SealedTokens {
        SealedTokens {
            version: 1,
            sealed: Blob(Vec::new()),
            access_expires_at: NOW.after(Duration::from_secs(3600)),
            refresh_expires_at: refresh.map(|left| NOW.after(left)),
            issued_at: NOW.before(DAY),
            used_at: NOW.before(DAY),
            due_at: Some(NOW.after(DAY)),
        }
    }

    #[test]
    fn the_nearest_threshold_that_was_crossed_counts() {
        let late = NOW.before(DAY);
        for (left, days) in [(15, None), (14, Some(14)), (8, Some(14)), (7, Some(7)), (3, Some(3)), (2, Some(3)), (1, Some(1))] {
            let told = ending(&tokens(Some(left * DAY)), late, false, NOW).map(|(_, days)| days);
            assert_eq!(told, days, "{left} days left");
        }
        assert_eq!(ending(&tokens(Some(Duration::ZERO)), late, true, NOW).map(|(_, days)| days), Some(1));
    }

    #[test]
    fn what_is_renewed_as_it_should_is_no_news() {
        let soon = NOW.before(Duration::from_secs(60));
        assert_eq!(ending(&tokens(Some(5 * DAY)), soon, false, NOW), None);
        assert!(ending(&tokens(Some(5 * DAY)), soon, true, NOW).is_some(), "it fails");
        assert!(ending(&tokens(None), soon, false, NOW).is_some(), "it has no refresh token");
    }
}
