//! What a car remembers of its charging: the time it has been at this plug, and the times before.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use super::model::{Model, Powertrain};
use super::units::rounded;
use crate::model::Timestamp;

/// One stay at a plug. Energy is in kWh, levels are in percent.
#[derive(Clone, Debug)]
pub(super) struct Session {
    started: Timestamp,
    ended: Timestamp,
    pub(super) added: f64,
    from: f64,
    to: f64,
    place: (f64, f64),
    /// Away from home.
    public: bool,
    /// At direct current.
    pub(super) fast: bool,
}

impl Session {
    /// The cable is plugged in at `now`. Away from home electric cars look for a fast charger; a hybrid takes none.
    pub(super) fn begin(now: i64, level: f64, place: (f64, f64), public: bool, model: &Model) -> Session {
        let now = Timestamp::from_millis(now);
        let fast = public && model.powertrain == Powertrain::Electric;
        Session { started: now, ended: now, added: 0.0, from: level, to: level, place, public, fast }
    }

    /// A night at home, a day before `now`: what there is to tell of a car that has just come to life.
    pub(super) fn before(now: i64, level: f64, battery: f64, place: (f64, f64)) -> Session {
        let ended = Timestamp::from_millis(now).before(Duration::from_secs(24 * 3600));
        let from = level - 20.0;
        let added = battery * 0.2;
        let started = ended.before(Duration::from_secs(6 * 3600));
        Session { started, ended, added, from, to: level, place, public: false, fast: false }
    }

    /// So much flowed by `now`, and the battery is at `level`.
    pub(super) fn add(&mut self, energy: f64, level: f64, now: i64) {
        self.added += energy;
        (self.to, self.ended) = (level, Timestamp::from_millis(now));
    }

    /// The kW that flow into this model at most.
    pub(super) fn most(&self, model: &Model) -> f64 {
        if self.fast { FAST } else { model.charger }
    }

    pub(super) fn connector(&self) -> &'static str {
        if self.fast { "CCS" } else { "TYPE_2" }
    }

    fn record(&self, currency: &str) -> Value {
        let price = if self.public { 0.59 } else { 0.31 };
        json!({
            "id": format!("charge-{}", self.started.as_millis()),
            "startTime": self.started,
            "endTime": self.ended,
            "energyAdded": rounded(self.added, 2),
            "startStateOfCharge": rounded(self.from, 0),
            "endStateOfCharge": rounded(self.to, 0),
            "connectorType": self.connector(),
            "isPublicCharger": self.public,
            "location": { "latitude": rounded(self.place.0, 4), "longitude": rounded(self.place.1, 4) },
            "cost": { "currency": currency, "energyAmount": rounded(self.added * price, 2), "otherAmount": 0 },
        })
    }
}

/// The last stays at a plug in which anything flowed, the newest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(VecDeque<Session>);

impl Sessions {
    pub(super) fn keep(&mut self, session: Session) {
        if session.added > 0.0 {
            self.0.push_front(session);
            self.0.truncate(MOST);
        }
    }

    /// The body of `charge-chargerecords`, paid in this currency.
    pub(super) fn records(&self, currency: &str) -> Value {
        json!({ "values": self.0.iter().map(|session| session.record(currency)).collect::<Vec<_>>() })
    }
}

const MOST: usize = 8;
/// kW of a fast charger.
const FAST: f64 = 90.0;
