//! The store from which API v3 is answered, and what Smartcar brings into it: everything at once of a vehicle that a webhook
//! is fed with, of others what was fetched last.

use std::time::Duration;

use super::state::State;

impl State {
    /// How often Smartcar fetches the state of a vehicle into its store by itself. None: all the time, as it must for a
    /// webhook that is fed with it. Of others it is documented that they "refresh about once a day"; that is a day of the
    /// cars' clock here, so that who speeds it up sees it.
    pub(super) fn fetched_every(&self, vehicle_id: &str) -> Option<Duration> {
        let is_daily = self.settings.habits.daily_store && !self.is_fed(vehicle_id);
        is_daily.then(|| Duration::try_from_secs_f64(DAY_SECONDS / self.speed).unwrap_or_default())
    }

    /// Whether a verified and enabled webhook is subscribed to a vehicle.
    pub(super) fn is_fed(&self, vehicle_id: &str) -> bool {
        let mut own = self.subscriptions.iter().filter(|subscription| subscription.vehicle_id == vehicle_id);
        own.any(|subscription| self.verified(&subscription.webhook_id).is_some())
    }

    /// Brings Smartcar's store to what it should be by now.
    pub(super) fn keep_store(&mut self, vehicle_id: &str) {
        let every = self.fetched_every(vehicle_id);
        if let Some(car) = self.cars.get_mut(vehicle_id) {
            car.keep(every, self.now);
        }
    }
}

const DAY_SECONDS: f64 = 86_400.0;
