//! What one entry of the log tells of one vehicle, and to whom that belongs.

use std::collections::btree_map::{self, BTreeMap};

use crate::model::event::{Grammar, Projection, VehicleProjection};
use crate::model::reading::Source;
use crate::model::vehicle::{Resolved, Vehicle, VehicleError};
use crate::model::{Seq, Timestamp};
use crate::store::tellings::Telling;
use crate::store::webhook_log::{DeliveryResult, Entry};
use crate::store::{Snapshot, StoreError};

/// The vehicles of rows, each read once.
pub(super) struct Linked<'s> {
    snapshot: &'s Snapshot<'s>,
    known: BTreeMap<u32, Option<Vehicle>>,
}

impl<'s> Linked<'s> {
    pub(super) fn new(snapshot: &'s Snapshot<'s>) -> Linked<'s> {
        Linked { snapshot, known: BTreeMap::new() }
    }

    pub(super) fn at(&mut self, row: u32) -> Result<Option<&Vehicle>, StoreError> {
        Ok(match self.known.entry(row) {
            btree_map::Entry::Occupied(known) => known.into_mut().as_ref(),
            btree_map::Entry::Vacant(place) => place.insert(self.snapshot.sound_vehicle_at(row)?).as_ref(),
        })
    }

    /// SECURITY: what came in while somebody had the car is theirs, whoever has it when it is read.
    pub(super) fn row_of(&mut self, told: &Said) -> Result<Option<u32>, StoreError> {
        if let Some(row) = told.filed_under
            && self.at(row)?.is_some_and(|vehicle| vehicle.facts.id == told.vehicle.id)
        {
            return Ok(Some(row));
        }
        self.snapshot.vehicle_row(&told.vehicle.id)
    }
}

/// What one entry tells of one vehicle.
pub(super) struct Said {
    vehicle: VehicleProjection,
    /// The place of the entry.
    pub(super) seq: Seq,
    /// Length of its body.
    pub(super) bytes: usize,
    /// The row that the vehicle had when the entry was made; the first one's, if it tells of several.
    filed_under: Option<u32>,
    at: Timestamp,
    pub(super) told_at: Timestamp,
}

impl Said {
    /// A pure function of the entry.
    pub(super) fn by(grammar: Grammar, entry: &Entry) -> Vec<Said> {
        if entry.header.result == DeliveryResult::Test {
            return Vec::new();
        }
        let Projection { vehicles, delivered_at, sequence, .. } = (grammar.project)(&entry.body.0).unwrap_or_default();
        let at = entry.header.received_at;
        // A retry has a new `deliveredAt` but keeps its `sequence`, which is a time where it is sent at all.
        let sequence = sequence.filter(|sequence| *sequence > 1_000_000_000_000).map(Timestamp::from_millis);
        let told_at = sequence.or(delivered_at).unwrap_or(at).min(at);
        let filed_under = entry.header.vehicle;
        let (seq, bytes) = (entry.seq, entry.body.0.len());
        vehicles.into_iter().map(|vehicle| Said { vehicle, seq, bytes, filed_under, at, told_at }).collect()
    }

    /// SECURITY: a car that has changed hands has another row since. What was told before belongs to whoever had it then,
    /// be it that it was told together with another car.
    pub(super) fn is_about(&self, row: u32, vehicle: &Vehicle) -> bool {
        if !vehicle.takes(self.seq) {
            // The owner has taken the car away; Smartcar may not have heard of it yet.
            return false;
        }
        self.filed_under == Some(row) || !vehicle.had_by_others || self.at > vehicle.linked_at
    }

    pub(super) fn telling(self, vehicle: u32) -> Telling {
        let Said { vehicle: VehicleProjection { reports, facts, errors, .. }, at, told_at, .. } = self;
        let (resolved, errors): (Vec<_>, Vec<_>) = errors.into_iter().partition(|change| change.resolved);
        Telling {
            vehicle,
            reports,
            source: Source::Webhook,
            at,
            told_at,
            facts: Some(facts),
            errors: errors.into_iter().map(|change| VehicleError { since: told_at, ..change.error }).collect(),
            resolved: resolved.into_iter().map(|change| ended(change.error, told_at)).collect(),
        }
    }
}

fn ended(error: VehicleError, at: Timestamp) -> Resolved {
    Resolved { kind: error.kind, code: error.code, at }
}
