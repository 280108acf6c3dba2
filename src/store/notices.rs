//! Notices that were given, so that a restart does not repeat them.

use serde::{Deserialize, Serialize};

use super::tables::{ALL, Record, Typed};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::notice::{Notice, Subject};

impl Record for Notice {
    const TABLE: &'static str = "notices-1";
}

/// Gives a notice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GiveNotice {
    /// The notice.
    pub notice: Notice,
}

impl Change for GiveNotice {
    /// Whether it is news: there was none of its subject, or a nearer threshold was crossed.
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let key = key(&self.notice.subject);
        let before = tables.get_sound::<Notice>(key.as_str())?;
        let is_news = before.as_ref().is_none_or(|before| self.notice.days < before.days);
        let since = before.map_or(self.notice.since, |before| before.since);
        tables.put(key.as_str(), &Notice { since, ..self.notice.clone() })?;
        Ok(is_news)
    }
}

/// Takes a notice back: what it told of is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndNotice {
    /// What it was about.
    pub subject: Subject,
}

impl Change for EndNotice {
    /// Whether there was one.
    type Outcome = bool;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let key = key(&self.subject);
        let there = tables.has::<Notice>(key.as_str())?;
        tables.remove::<Notice>(key.as_str())?;
        Ok(there)
    }
}

impl Snapshot<'_> {
    /// All notices, at most `limit`.
    pub fn notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        Ok(self.list::<Notice>(ALL, false, limit)?.into_iter().map(|(_, notice)| notice).collect())
    }
}

/// Those that are about everything sort before those about one connection, or one vehicle.
fn key(subject: &Subject) -> String {
    match (subject.generation(), subject.connection(), subject.vehicle()) {
        (Some(generation), ..) => format!("all/{}/{generation}", subject.code()),
        (None, Some(connection), _) => format!("one/{connection}/{}", subject.code()),
        (None, None, Some(row)) => format!("one/{row}/{}", subject.code()),
        (None, None, None) => subject.code().to_owned(),
    }
}
