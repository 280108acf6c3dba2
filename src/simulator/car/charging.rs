//! What flows into a battery, and what the car is told about that.

use super::{Car, ratio};

impl Car {
    /// Stops charging until told otherwise or unplugged; or lets it go on.
    pub(in crate::simulator) fn hold_charge(&mut self, held: bool, now: i64) {
        self.held = held;
        self.draw();
        self.updated.energy = now;
    }

    /// Takes up to this many percent from now on.
    pub(in crate::simulator) fn limit_charge(&mut self, percent: f64, now: i64) {
        self.limit = percent;
        self.draw();
        self.updated.energy = now;
    }

    /// Charges for one step, which ends at `now` (wall milliseconds).
    pub(super) fn charge_up(&mut self, now: i64) {
        let was_charging = self.charging();
        self.draw();
        if self.charging() {
            let before = self.charge;
            self.charge = (before + ratio(self.power * 100.0 / 60.0, self.model.battery)).min(self.limit);
            self.session.add((self.charge - before) / 100.0 * self.model.battery, self.charge, now);
        }
        if was_charging || self.charging() {
            self.updated.energy = now;
        }
    }

    /// Takes what it can, by its plug, its limit, and what it was told.
    fn draw(&mut self) {
        let most = self.session.most(self.model);
        let flows = self.plugged && !self.held && self.charge < self.limit;
        // The last fifth goes slower.
        let share = if self.charge > 80.0 { 0.6 } else { 1.0 };
        self.power = if flows { most * share } else { 0.0 };
    }
}
