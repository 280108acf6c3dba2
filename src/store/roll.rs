//! The roll of all tables: which are small, and in which order they are counted.

use super::tables::{
    ATTEMPTS_BY_EXPIRY, CURSORS, EVENT_IDS, INDEX, INVITES_BY_EXPIRY, META, TOKENS_BY_DUE, VEHICLES_BY_USER, VEHICLES_TO_READ,
    VEHICLES_TO_REVISIT, WEBHOOK_LOGS,
};

/// Tables that grow with what the cars tell, or are no loss. All others are small, and copied to the journal.
pub(super) const LARGE: &[&str] = &[
    VEHICLE_LATEST_1,
    "vehicle_data-1",
    WEBHOOK_LOGS,
    EVENT_IDS_1,
    "notices-1",
    "vehicle_latest-2",
    "vehicle_changes-1",
    EVENT_IDS,
    "audit-1",
    "budget-1",
    "vehicle_rollups-1",
    "commands-1",
    "subscriptions-1",
];

/// A row for each signal of each vehicle, until format 2; empty since.
pub(super) const VEHICLE_LATEST_1: &str = "vehicle_latest-1";

/// Event ids sealed, until format 3; empty since.
pub(super) const EVENT_IDS_1: &str = "event_ids-1";

/// Tables that a copy in the journal holds: what Carport could not go on without. New ones come last.
pub(super) const SMALL: &[&str] = &[
    META,
    INDEX,
    "users-1",
    "connections-1",
    "smartcar_tokens-1",
    TOKENS_BY_DUE,
    "vehicles-1",
    VEHICLES_BY_USER,
    VEHICLES_TO_REVISIT,
    VEHICLES_TO_READ,
    "attempts-1",
    "invites-1",
    ATTEMPTS_BY_EXPIRY,
    INVITES_BY_EXPIRY,
    "api_tokens-1",
    "sessions-1",
    "sign_in_links-1",
    CURSORS,
    "refresh_intents-1",
    "previous_tokens-1",
];

/// How many of the small tables were there from the beginning, and of the large ones.
const FIRST: (usize, usize) = (18, 5);

/// All tables. A checkpoint counts their rows by position, so what came later stands at the end: a store that has
/// not counted it yet is read as before.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    let (small, large) = (SMALL.split_at(FIRST.0), LARGE.split_at(FIRST.1));
    small.0.iter().chain(large.0).chain(small.1).chain(large.1).copied()
}
