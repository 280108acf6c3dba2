//! What is left of old vehicle data: the numbers of each signal by hour and by day.

use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::tables::{Kind, Record, Typed, under};
use super::{Rows, Snapshot, StoreError, Tables};
use crate::model::Timestamp;
use crate::model::rollup::{Rollup, Span, merge};

/// Roll-ups of one signal of one vehicle, in order of time: the hours of a day, or the days of [`DAYS`].
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Rolled(Vec<Rollup>);

impl Record for Rolled {
    const TABLE: &'static str = "vehicle_rollups-1";
    const IS_SECRET: bool = false;
}

/// How many days are together.
const DAYS: i64 = 32;

/// Vehicle row, signal row.
type Signal = (u32, u32);

/// The key of the row that the roll-up of a moment lies in.
fn key((vehicle, signal): Signal, span: Span, at: Timestamp) -> Vec<u8> {
    [Key::bytes(&(vehicle, signal, kind(span))), row(span, at).bytes()].concat()
}

/// In keys.
fn kind(span: Span) -> u32 {
    match span {
        Span::Hour => 60,
        Span::Day => 1_440,
    }
}

/// Where a row begins.
fn row(span: Span, at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().div_euclid(length(span)) * length(span))
}

/// How long a row tells of.
fn length(span: Span) -> i64 {
    match span {
        Span::Hour => Span::Day.millis(),
        Span::Day => DAYS * Span::Day.millis(),
    }
}

/// The span and the beginning of a row.
pub(super) fn place(key: &[u8]) -> Option<(Span, Timestamp)> {
    let (kind_of, at) = key.get(8..)?.split_first_chunk::<4>()?;
    let span = Span::ALL.into_iter().find(|span| kind(*span).to_be_bytes() == *kind_of)?;
    let at = i64::try_from(u64::from_be_bytes(at.try_into().ok()?)).ok()?;
    Some((span, Timestamp::from_millis(at)))
}

/// Adds roll-ups to those that are there.
pub(super) fn add(tables: &mut Tables<'_>, signal: Signal, span: Span, rollups: &[Rollup]) -> Result<(), StoreError> {
    let together = rollups.chunk_by(|one, other| row(span, one.at) == row(span, other.at));
    for rollups in together {
        let Some(first) = rollups.first() else { continue };
        let key = key(signal, span, first.at);
        let mut rolled: Rolled = tables.get_sound(&key[..])?.unwrap_or_default();
        merge(&mut rolled.0, rollups.iter().copied());
        tables.put(&key[..], &rolled)?;
    }
    Ok(())
}

/// Drops rows of a signal that tell of times before `before` only: at most `limit`, and returns how many.
pub(super) fn drop_before(
    tables: &mut Tables<'_>,
    signal: Signal,
    span: Span,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let keys = tables.keys(Rolled::TABLE, range_before(signal, span, before), limit)?;
    keys.iter().try_for_each(|key| tables.remove_raw(Rolled::TABLE, key))?;
    Ok(keys.len())
}

/// Whether there are such rows.
pub(super) fn has_before(rows: &impl Rows, signal: Signal, span: Span, before: Timestamp) -> Result<bool, StoreError> {
    Ok(!rows.keys(Rolled::TABLE, range_before(signal, span, before), 1)?.is_empty())
}

/// The row that `before` lies in stays.
fn range_before(signal: Signal, span: Span, before: Timestamp) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (Bound::Included(key(signal, span, Timestamp::default())), Bound::Excluded(key(signal, span, before)))
}

/// The first signal of a vehicle from `from` on that has roll-ups.
pub(super) fn signal_from(rows: &impl Rows, vehicle: u32, from: u32) -> Result<Option<u32>, StoreError> {
    first_signal(rows, Rolled::TABLE, vehicle, from)
}

/// The first signal of a vehicle from `from` on that has rows in a table of vehicle, signal and others.
pub(super) fn first_signal(rows: &impl Rows, table: &'static str, vehicle: u32, from: u32) -> Result<Option<u32>, StoreError> {
    let range = (Bound::Included(Key::bytes(&(vehicle, from))), under(&vehicle.to_be_bytes()).1);
    let first = rows.keys(table, range, 1)?.pop();
    Ok(first.and_then(|key| Some(u32::from_be_bytes(key.get(4..8)?.try_into().ok()?))))
}

impl Snapshot<'_> {
    /// What is left of a signal's numbers from `since` to before `until`: the first `limit`, or some more.
    pub fn rollups(
        &self,
        vehicle: u32,
        signal: &str,
        span: Span,
        (since, until): (Timestamp, Timestamp),
        limit: usize,
    ) -> Result<Vec<Rollup>, StoreError> {
        let Some(signal) = self.row(Kind::Signal, signal)? else { return Ok(Vec::new()) };
        if until <= since {
            return Ok(Vec::new());
        }
        let range = (Bound::Included(key((vehicle, signal), span, since)), Bound::Included(key((vehicle, signal), span, until)));
        let mut found: Vec<Rollup> = Vec::new();
        for (_, Rolled(rollups)) in self.list::<Rolled>(range, false, limit.max(1))? {
            found.extend(rollups.into_iter().filter(|rollup| rollup.at >= since && rollup.at < until));
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }
}
