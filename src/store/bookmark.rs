//! Where the projector stands in the webhook log.

use serde::{Deserialize, Serialize};

use super::tables::{CURSORS, Typed};
use super::{Rows, Snapshot, StoreError, Tables};
use crate::model::Seq;

/// What of the log has become vehicle data, so that each entry does so once, also across a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    /// Up to here it was read.
    pub read: Seq,
    /// What of that is held back, and is not vehicle data yet: oldest first.
    pub held: Vec<Seq>,
}

impl Bookmark {
    /// All up to here has become vehicle data.
    pub fn at(read: Seq) -> Bookmark {
        Bookmark { read, held: Vec::new() }
    }

    /// The last place before which nothing is to come: the ring keeps what follows it.
    pub fn cursor(&self) -> Seq {
        self.held.first().map_or(self.read, |first| Seq(first.0.saturating_sub(1)))
    }
}

/// The cursor.
const PROJECTOR: &str = "projector";

/// The bookmark, while anything is held back.
const BOOKMARK: &str = "projector_bookmark";

/// The projector's cursor.
pub(super) fn projector_cursor(rows: &impl Rows) -> Result<Seq, StoreError> {
    Ok(rows.value(CURSORS, PROJECTOR)?.unwrap_or_default())
}

/// The projector's place.
pub(super) fn bookmark(rows: &impl Rows) -> Result<Bookmark, StoreError> {
    let cursor = projector_cursor(rows)?;
    let known = rows.value::<Bookmark>(CURSORS, BOOKMARK)?;
    // An earlier Carport moves the cursor alone.
    Ok(known.filter(|known| known.cursor() == cursor).unwrap_or_else(|| Bookmark::at(cursor)))
}

/// Moves it.
pub(super) fn put_bookmark(tables: &mut Tables<'_>, to: &Bookmark) -> Result<(), StoreError> {
    let cursor = to.cursor();
    tables.log.read = cursor;
    tables.put_value(CURSORS, PROJECTOR, &cursor)?;
    if !to.held.is_empty() {
        return tables.put_value(CURSORS, BOOKMARK, to);
    }
    if tables.value::<Bookmark>(CURSORS, BOOKMARK)?.is_some() {
        tables.remove_mark(CURSORS, BOOKMARK)?;
    }
    Ok(())
}

impl Snapshot<'_> {
    /// The projector's cursor.
    pub fn projector_cursor(&self) -> Result<Seq, StoreError> {
        projector_cursor(self)
    }

    /// The projector's place.
    pub fn bookmark(&self) -> Result<Bookmark, StoreError> {
        bookmark(self)
    }
}
