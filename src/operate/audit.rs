//! Who changed what: on disk before anything is changed, kept in rings, shown to administrators.
//!
//! An entry is begun before the change and ended after it, so that nothing is ever changed that is not noted. What was cut
//! off between the two keeps an entry without an end.
//!
//! Strangers write nothing themselves: what they try is counted in memory, and noted once an hour at most, so that
//! nobody fills the log or wears out the card.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::model::Timestamp;
use crate::model::audit::AuditEntry;
use crate::model::reach::Page;
use crate::store::audit::{EndAudit, NoteAudit};
use crate::store::{Store, StoreError};
use crate::world::World;

pub use crate::model::audit::{Actor, Ring};

/// An entry, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct AuditView {
    /// Its number: later ones are higher.
    pub number: u64,
    /// What happened.
    #[serde(flatten)]
    pub entry: AuditEntry,
}

/// What was done, by whom, and what came of it.
#[derive(Clone, Debug)]
pub struct Done {
    /// Who asked.
    pub actor: Actor,
    /// From which address.
    pub address: Option<IpAddr>,
    /// The name of a route.
    pub action: &'static str,
    /// The ids that were named or made. What is longer than an id is cut off.
    pub ids: Vec<String>,
    /// What was answered; `None` if nobody waited for it.
    pub status: Option<u16>,
}

impl Done {
    /// What this process does without asking the edge.
    pub fn locally(action: &'static str) -> Done {
        let actor = local(rustix::process::geteuid().as_raw());
        Done { actor, address: None, action, ids: Vec::new(), status: Some(200) }
    }

    fn entry(self, at: Timestamp) -> AuditEntry {
        let Done { actor, address, action, ids, status } = self;
        let ids = ids.iter().map(|id| id.chars().take(LONGEST_ID).collect()).collect();
        AuditEntry { at, actor: named(actor), address, action: action.to_owned(), ids, status, count: 1 }
    }
}

/// A user of this machine. Entries name it too; whoever only reads need not have the name looked for.
pub fn local(uid: u32) -> Actor {
    Actor::Local { uid: Some(uid), user: None }
}

/// With the name of a user of this machine, if the machine's own list (`passwd(5)`) has it.
fn named(actor: Actor) -> Actor {
    let Actor::Local { uid: Some(uid), user: None } = actor else { return actor };
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    Actor::Local { uid: Some(uid), user: name_of(uid, &list).map(str::to_owned) }
}

fn name_of(uid: u32, list: &str) -> Option<&str> {
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then_some(name)
    })
}

/// By what somebody tried to get in, and was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// An API token that is unknown, expired or revoked.
    Token,
    /// A sign-in link that is unknown, expired or spent.
    Link,
    /// A wrong password.
    Password,
}

impl Refused {
    fn action(self) -> &'static str {
        match self {
            Refused::Token => "refused: API token",
            Refused::Link => "refused: sign-in link",
            Refused::Password => "refused: password",
        }
    }
}

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The store is in trouble.
    #[error("the store cannot take it now")]
    Store(#[from] StoreError),
}

/// The audit log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    world: World,
    refused: Mutex<BTreeMap<Refused, Tally>>,
    news: Notify,
}

/// What was refused and is not noted yet.
#[derive(Clone, Copy, Debug)]
struct Tally {
    count: u32,
    /// Of the last one.
    address: Option<IpAddr>,
}

impl Audit {
    /// The log in `store`.
    pub fn new(store: Store, world: World) -> Audit {
        Audit { shared: Arc::new(Shared { store, world, refused: Mutex::default(), news: Notify::new() }) }
    }

    /// Notes what is about to be done; returns its number when it is durable. An error is a reason not to do it.
    pub async fn begin(&self, ring: Ring, done: Done) -> Result<u64, AuditError> {
        let entry = done.entry(self.shared.world.now());
        Ok(self.shared.store.commit(NoteAudit { ring, entry }).await?)
    }

    /// Notes what came of it; `None` takes back what has changed nothing. What was done stays done when the store does
    /// not take the note: its entry has no end then.
    pub async fn end(&self, ring: Ring, number: u64, done: Option<Done>) {
        let entry = done.map(|done| done.entry(self.shared.world.now()));
        if let Err(error) = self.shared.store.commit(EndAudit { ring, number, entry }).await {
            tracing::error!(%error, number, "an entry of the audit log has no end: the store did not take it");
        }
    }

    /// Counts somebody who was refused.
    pub fn refuse(&self, what: Refused, address: Option<IpAddr>) {
        let mut refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = refused.entry(what).or_insert(Tally { count: 0, address });
        (tally.count, tally.address) = (tally.count.saturating_add(1), address);
        self.shared.news.notify_one();
    }

    /// Entries, newest first; `next` is the `before` of the next part.
    pub async fn list(&self, before: Option<u64>, limit: usize) -> Result<Page<AuditView>, AuditError> {
        let read = move |snapshot: &crate::store::Snapshot<'_>| snapshot.audit(before.unwrap_or(u64::MAX), limit + 1);
        let mut found = self.shared.store.read(read).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(number, _)| number.to_string());
        Ok(Page { items: found.into_iter().map(|(number, entry)| AuditView { number, entry }).collect(), next })
    }

    /// Notes those who were refused: the first at once, others once an hour and at the end.
    pub async fn run(&self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.shared.news.notified() => self.note_refused().await,
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        self.note_refused().await;
    }

    async fn note_refused(&self) {
        let refused = std::mem::take(&mut *self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner));
        for (what, Tally { count, address }) in refused {
            let (at, action) = (self.shared.world.now(), what.action().to_owned());
            let entry = AuditEntry { at, actor: Actor::Stranger, address, action, ids: Vec::new(), status: None, count };
            self.put(Ring::Refusals, entry).await;
        }
    }

    async fn put(&self, ring: Ring, entry: AuditEntry) {
        let action = entry.action.clone();
        if let Err(error) = self.shared.store.commit(NoteAudit { ring, entry }).await {
            tracing::error!(%error, action, "the audit log lacks an entry: the store did not take it");
        }
    }
}

/// How often refusals are noted at most.
const EVERY: Duration = Duration::from_secs(3600);

/// Longer than any id of ours or Smartcar's, in characters.
const LONGEST_ID: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_known_by_name() {
        let list = "root:x:0:0:root:/root:/bin/bash\n\nbroken\ncarport:x:997:997::/var/lib/carport:/usr/sbin/nologin\n";
        assert_eq!((name_of(0, list), name_of(997, list), name_of(9, list)), (Some("root"), Some("carport"), None));
    }
}
