//! The walk over everything: whether each row opens, and whether none is hidden.
//!
//! redb never compares checksums when it reads, and its own check needs the database for itself. So a
//! small file is checked by it at the start, before anybody is served; a large one is walked through while
//! it serves, and every one once a day: row by row in slices, against the count of each table and the
//! unbroken numbers of the log.

use std::ops::{Bound, ControlFlow};

use super::database::Database;
use super::tables::{self, ALL, Rows, WEBHOOK_LOGS};
use super::{Snapshot, StoreError};

/// How many rows one slice looks at.
const SLICE: u64 = 512;

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk {
    /// Tables that are still to be walked, the last one first.
    left: Vec<&'static str>,
    /// The last key that was looked at in the table under way.
    after: Option<Vec<u8>>,
    /// How many rows the table under way counted when it was begun, and how many of them showed.
    counted: u64,
    shown: u64,
    damaged: u64,
    hidden: u64,
}

impl Walk {
    pub(super) fn new() -> Walk {
        Walk { left: tables::all().collect(), after: None, counted: 0, shown: 0, damaged: 0, hidden: 0 }
    }

    /// Looks at one slice; `false` at the end. What was found goes to the findings, a line for each table.
    pub(super) fn step(&mut self, database: &Database) -> Result<bool, StoreError> {
        let Some(table) = self.left.last().copied() else { return Ok(false) };
        if self.after.is_none() {
            (self.counted, self.shown) = (database.read(|snapshot| snapshot.len(table))?, 0);
        }
        let after = self.after.take();
        let slice = database.read(|snapshot| Slice::read(snapshot, table, after))?;
        self.damaged += slice.damaged;
        self.hidden += slice.missing;
        self.shown += slice.shown;
        self.after = slice.last;
        if self.after.is_none() {
            self.left.pop();
            if self.shown != self.counted {
                self.hidden += database.read(|snapshot| hidden(snapshot, table, self.counted))?;
            }
            self.report(database, table);
        }
        Ok(true)
    }

    fn report(&mut self, database: &Database, table: &str) {
        let (damaged, hidden) = (std::mem::take(&mut self.damaged), std::mem::take(&mut self.hidden));
        if damaged + hidden > 0 {
            database.found(format!(
                "{damaged} rows of {table} are damaged and {hidden} are missing: stop carport and run `carport check --repair`"
            ));
        }
    }
}

/// How many rows a table counts but does not show: asked of the table as a whole only when its slices do not add up
/// to what it `counted`, and it has not changed since by the look of it.
fn hidden(snapshot: &Snapshot<'_>, table: &'static str, counted: u64) -> Result<u64, StoreError> {
    // The log is long, and its numbers tell.
    if table == WEBHOOK_LOGS || snapshot.len(table)? != counted {
        return Ok(0);
    }
    let mut shown = 0;
    snapshot.walk(table, ALL, false, &mut |_, _| {
        shown += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(snapshot.len(table)?.abs_diff(shown))
}

struct Slice {
    /// The last key, if there may be more.
    last: Option<Vec<u8>>,
    shown: u64,
    damaged: u64,
    /// Places of the log without a row.
    missing: u64,
}

impl Slice {
    fn read(snapshot: &Snapshot<'_>, table: &'static str, after: Option<Vec<u8>>) -> Result<Slice, StoreError> {
        let mut slice = Slice { last: None, shown: 0, damaged: 0, missing: 0 };
        let log = if table == WEBHOOK_LOGS { Some(snapshot.log_places()?) } else { None };
        let place = |key: &[u8]| key.try_into().map_or(0, u64::from_be_bytes);
        // Entries that were dropped since the last slice are not missing.
        let mut next = log.map(|(oldest, _)| after.as_deref().map_or(oldest, |after| oldest.max(place(after) + 1)));
        let from = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        snapshot.walk(table, (from, Bound::Unbounded), false, &mut |key, value| {
            if let Some(next) = &mut next {
                slice.missing += place(key).saturating_sub(*next);
                *next = place(key) + 1;
            }
            slice.damaged += u64::from(!snapshot.places().is_sound(table, key, value));
            slice.shown += 1;
            slice.last = (slice.shown == SLICE).then(|| key.to_vec());
            Ok(if slice.shown < SLICE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        // A key that is damaged may lead back to where the slice began.
        if slice.last.is_some() && slice.last <= after {
            (slice.last, slice.damaged) = (None, slice.damaged + 1);
        }
        if let (Some((_, newest)), Some(next), None) = (log, next, &slice.last) {
            slice.missing += (newest + 1).saturating_sub(next);
        }
        Ok(slice)
    }
}
