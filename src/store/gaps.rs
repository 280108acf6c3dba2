//! When Carport was last alive, and the gaps in which deliveries may have been lost.

use serde::{Deserialize, Serialize};

use super::tables::{ALL, META, Record, Typed, VEHICLES_TO_READ};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::Timestamp;
use crate::model::gap::{Gap, GapCause, Unproven};
use crate::model::vehicle::Vehicle;

const ALIVE: &str = "alive";
const UNPROVEN: &str = "unproven";
const GAPS: &str = "gaps";

/// How many gaps are remembered.
const REMEMBERED: usize = 20;

/// Carport is alive: what a later start takes for the end of this run, if nothing tells it better.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoteAlive {
    /// Now.
    pub at: Timestamp,
}

impl Change for NoteAlive {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.put_value(META, ALIVE, &self.at)
    }
}

/// Deliveries cannot be proven, or can again: what a later start goes on from.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoteUnproven {
    /// What is so now: since when, by the tokens that did not prove them.
    pub unproven: Vec<Unproven>,
}

impl Change for NoteUnproven {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.put_value(META, UNPROVEN, &self.unproven)
    }
}

/// Deliveries may have been lost: every linked vehicle that webhooks have told of is to be read.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoteGap {
    /// When it began.
    pub since: Timestamp,
    /// When it ended.
    pub until: Timestamp,
    /// Why.
    pub cause: GapCause,
}

impl Change for NoteGap {
    /// How many vehicles are to be read. A gap that concerns none is not remembered.
    type Outcome = u32;

    fn apply(&self, tables: &mut Tables<'_>) -> Result<u32, StoreError> {
        let mut vehicles = 0;
        for key in tables.keys(Vehicle::TABLE, ALL, usize::MAX)? {
            let vehicle = tables.get_sound::<Vehicle>(&key[..])?;
            if vehicle.is_some_and(|vehicle| vehicle.connection.is_some() && vehicle.last_event_at.is_some()) {
                tables.put_mark(VEHICLES_TO_READ, &key[..])?;
                vehicles += 1;
            }
        }
        if vehicles > 0 {
            let mut gaps: Vec<Gap> = tables.value(META, GAPS)?.unwrap_or_default();
            gaps.push(Gap { since: self.since, until: self.until, cause: self.cause, vehicles });
            let excess = gaps.len().saturating_sub(REMEMBERED);
            gaps.drain(..excess);
            tables.put_value(META, GAPS, &gaps)?;
        }
        let alive_at: Timestamp = tables.value(META, ALIVE)?.unwrap_or_default();
        tables.put_value(META, ALIVE, &alive_at.max(self.until))?;
        Ok(vehicles)
    }
}

impl Snapshot<'_> {
    /// When Carport was alive for certain; `None` before its first run.
    pub fn alive_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.value(META, ALIVE)
    }

    /// What the last run noted of deliveries that could not be proven.
    pub fn unproven(&self) -> Result<Vec<Unproven>, StoreError> {
        Ok(self.value(META, UNPROVEN)?.unwrap_or_default())
    }

    /// The last gaps, oldest first: at most twenty.
    pub fn gaps(&self) -> Result<Vec<Gap>, StoreError> {
        Ok(self.value(META, GAPS)?.unwrap_or_default())
    }
}
