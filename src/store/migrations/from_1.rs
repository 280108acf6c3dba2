//! From format 1, which had no journal: rows were sealed but not packed, and what told nothing of a person
//! stood in clear.

use std::ops::ControlFlow;

use crate::model::{Seq, Timestamp};
use crate::vault::Row;

use super::super::log_head::parts;
use super::super::packing::Packed;
use super::super::roll::EVENT_IDS_1;
use super::super::tables::{self, ALL, CURSORS, INDEX, META, Places, Rows, Tables, WEBHOOK_LOGS, from_cbor};
use super::super::webhook_log::{DeliveryResult, Header};
use super::super::{Snapshot, StoreError};

/// Tables whose keys said it all.
const MARKS: &[&str] = &[
    tables::TOKENS_BY_DUE,
    tables::VEHICLES_BY_USER,
    tables::VEHICLES_TO_REVISIT,
    tables::VEHICLES_TO_READ,
    tables::ATTEMPTS_BY_EXPIRY,
    tables::INVITES_BY_EXPIRY,
];

/// The header of a log entry, which had names then.
#[derive(serde::Deserialize)]
struct OldHeader {
    received_at: Timestamp,
    kind: String,
    result: DeliveryResult,
    vehicle: Option<u32>,
}

/// Brings every row over; returns how many were damaged and are left behind.
pub(super) fn bring_over(old: &Snapshot<'_>, new: &mut Tables<'_>) -> Result<u64, StoreError> {
    let mut damaged = 0;
    for table in tables::all() {
        let mut shown = 0;
        old.walk(table, ALL, false, &mut |key, value| {
            shown += 1;
            match bring_row(new, table, key, value) {
                Err(StoreError::Damaged { .. }) => damaged += 1,
                result => result?,
            }
            Ok(ControlFlow::Continue(()))
        })?;
        // A damaged page can hide rows.
        damaged += old.len(table)?.abs_diff(shown);
    }
    Ok(damaged)
}

/// Counts the rows, and how many of them are damaged.
pub(super) fn count(old: &Snapshot<'_>) -> Result<(u64, u64), StoreError> {
    let (mut rows, mut damaged) = (0, 0);
    for table in tables::all() {
        old.walk(table, ALL, false, &mut |key, value| {
            rows += 1;
            damaged += u64::from(!is_sound(old.places(), table, key, value));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok((rows, damaged))
}

fn is_sound(places: &Places, table: &'static str, key: &[u8], value: &[u8]) -> bool {
    let (context, sealed) = match table {
        META | INDEX | CURSORS | EVENT_IDS_1 => return true,
        WEBHOOK_LOGS => match parts(value) {
            Some(parts) => parts,
            None => return false,
        },
        _ if MARKS.contains(&table) => return true,
        _ => (&[][..], value),
    };
    places.vault.open(Row { table, key, context }, sealed).is_ok()
}

fn bring_row(new: &mut Tables<'_>, table: &'static str, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let damaged = StoreError::Damaged { table };
    match table {
        // The new store has its own format; key id and index key stay what they are.
        META if key == b"format" => Ok(()),
        META if key == b"key" || key == b"index_key" => new.put_raw(table, key, value),
        META | INDEX | CURSORS => {
            let sealed = new.seal(table, key, &[], value);
            new.put_raw(table, key, &sealed)
        }
        EVENT_IDS_1 => {
            let (hash, at) = from_cbor::<([u8; 16], Timestamp)>(value).ok_or(damaged.clone())?;
            let seq = Seq(u64::from_be_bytes(key.try_into().map_err(|_| damaged)?));
            new.log.window.add(seq, hash, at);
            Ok(())
        }
        WEBHOOK_LOGS => {
            let (context, sealed) = parts(value).ok_or(damaged.clone())?;
            let OldHeader { received_at, kind, result, vehicle } = from_cbor(context).ok_or(damaged.clone())?;
            let body = Packed::of(&new.places().vault.open(Row { table, key, context }, sealed).map_err(|_| damaged)?);
            let bytes = u32::try_from(body.plain_len()).unwrap_or(u32::MAX);
            Header { received_at, kind, result, vehicle, bytes }.put(new, key, &body)
        }
        _ if MARKS.contains(&table) => new.put_mark(table, key),
        "vehicle_data-1" => {
            let plain = new.places().vault.open(Row { table, key, context: &[] }, value).map_err(|_| damaged.clone())?;
            // A block was found by its day, and now is by a time.
            let (signal, day) = key.split_at_checked(8).ok_or(damaged.clone())?;
            let day = u64::from(u32::from_be_bytes(day.try_into().map_err(|_| damaged)?));
            new.put_packed(table, &[signal, &(day * 86_400_000).to_be_bytes()].concat(), &plain)
        }
        _ => {
            let plain = new.places().vault.open(Row { table, key, context: &[] }, value).map_err(|_| damaged)?;
            new.put_packed(table, key, &plain)
        }
    }
}
