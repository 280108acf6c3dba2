//! The ledger as it is shown.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Refused, Settings};
use crate::model::budget::{Ledger, POOL, POOL_BUT_ONE, POOL_HALF, POOL_PER_MINUTE, Pool, Reason};
use crate::model::{Timestamp, VehicleId};

/// What was called, and what is left.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetView {
    /// When the month of the plan began.
    pub since: Timestamp,
    /// When the next one begins.
    pub until: Timestamp,
    /// Calls for each vehicle and month; null: as many as one likes.
    pub calls_per_vehicle_month: Option<u32>,
    /// How many of them are kept for commands and for reading what was missed.
    pub reserve: u32,
    /// The bucket of the whole application; null for who may see only a part.
    pub application: Option<ApplicationBudget>,
    /// The vehicles, oldest first.
    pub items: Vec<VehicleBudget>,
    /// Always null: they come all at once.
    pub next: Option<String>,
}

/// The bucket of the whole application.
#[derive(Clone, Debug, Serialize)]
pub struct ApplicationBudget {
    /// How many calls it holds.
    pub holds: u64,
    /// How many come back each minute.
    pub per_minute: u64,
    /// How many it holds now. While Smartcar rests, none of them can be made.
    pub left: u64,
    /// Until when Smartcar wants to be left alone.
    pub rests_until: Option<Timestamp>,
    /// When Smartcar refused all calls (429), as long as the bucket fills anew because of it.
    pub refused_at: Option<Timestamp>,
}

impl ApplicationBudget {
    pub(super) fn of(pool: &Pool) -> ApplicationBudget {
        ApplicationBudget {
            holds: POOL,
            per_minute: POOL_PER_MINUTE,
            left: pool.level / 1000,
            rests_until: pool.rest(pool.at),
            refused_at: pool.felt_refusal(POOL_BUT_ONE),
        }
    }

    /// How many of them scheduled reads may make now.
    pub fn left_for_polls(&self) -> u64 {
        if self.rests_until.is_some() { 0 } else { self.left.saturating_sub(POOL_HALF.into()) }
    }
}

/// The calls about one vehicle, and what is spread.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The calls.
    pub account: VehicleBudget,
    /// How many of them are kept for commands and for reading what was missed.
    pub reserve: u32,
    /// When the month of the plan began.
    pub since: Timestamp,
    /// When the next one begins.
    pub until: Timestamp,
    /// The application's bucket as it is now.
    pub pool: Pool,
}

/// The calls about one vehicle.
#[derive(Clone, Debug, Serialize)]
pub struct VehicleBudget {
    /// Smartcar's id.
    pub vehicle: VehicleId,
    /// How many were made this month.
    pub used: u32,
    /// How many for each reason.
    pub reasons: BTreeMap<Reason, u32>,
    /// How many may be made in all; null: as many as one likes.
    pub limit: Option<u32>,
    /// How many are left, with the reserve.
    pub remaining: Option<u32>,
    /// After how many calls Smartcar itself has refused further ones of this month (430); null: it has not.
    pub refused_after: Option<u32>,
    /// Why no more calls are made about it this month, or only those that may use the reserve, and what can be done; null
    /// while there are some for whoever asks.
    pub spent: Option<String>,
    /// Until when Smartcar wants to be left alone about it.
    pub rests_until: Option<Timestamp>,
    /// The last twenty calls, oldest first.
    pub last: Vec<Called>,
}

/// A call that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Called {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

impl VehicleBudget {
    pub(super) fn of(
        vehicle: VehicleId,
        ledger: Ledger,
        settings: &Settings,
        (now, until): (Timestamp, Timestamp),
    ) -> VehicleBudget {
        let configured = settings.calls_per_vehicle_month;
        let spent = ledger.spent(configured, settings.reserve);
        VehicleBudget {
            vehicle,
            used: ledger.used,
            remaining: ledger.left(configured),
            limit: ledger.allowed(configured),
            refused_after: ledger.learnt(configured),
            spent: spent.map(|spent| Refused::month(spent, until, now).to_string()),
            rests_until: ledger.rest(now),
            reasons: ledger.reasons,
            last: ledger.last.into_iter().map(|(at, reason)| Called { at, reason }).collect(),
        }
    }
}
