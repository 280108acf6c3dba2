//! What the server knows by itself of its set-up: what is done, and what is open with the one thing to do.

use super::{Missing, StatusView};
use crate::model::count;
use crate::operate::probes::{Finding, Outcome, V2};

/// Which point of the list tells of what is missing, and how bad that is.
const POINTS: &[(&str, &str, Outcome)] = &[
    ("credentials", "credentials of Smartcar", Outcome::Fail),
    ("application_id", "credentials of Smartcar", Outcome::Fail),
    ("refused", "renewal of access", Outcome::Fail),
    ("v2_ended", V2, Outcome::Fail),
    ("v2_unused", V2, Outcome::Warn),
    ("public_url", "https", Outcome::Fail),
    ("management_token", "VERIFY", Outcome::Fail),
    ("verify", "VERIFY", Outcome::Warn),
    ("wrong_path", "webhook path", Outcome::Fail),
    // Anybody can send such.
    ("wrong_signature", "webhook signature", Outcome::Warn),
    ("untrusted_proxy", "proxy", Outcome::Warn),
    ("silent_proxy", "proxy", Outcome::Warn),
    ("vehicle", "car", Outcome::Warn),
    ("subscription", "subscription", Outcome::Warn),
    ("test_delivery", "test delivery", Outcome::Warn),
    ("delivery", "live delivery", Outcome::Warn),
    ("disk", "disk", Outcome::Fail),
];

/// What the points are called that tell of what is missing.
pub fn checks() -> impl Iterator<Item = &'static str> {
    POINTS.iter().map(|(_, check, _)| *check).chain([OTHER])
}

/// What tells of what is on no list.
const OTHER: &str = "set-up";

impl StatusView {
    /// The list: what is open first, then what is done.
    pub fn checklist(&self) -> Vec<Finding> {
        let open = |missing: &Missing| {
            let point = POINTS.iter().find(|(code, ..)| *code == missing.code);
            let (check, result) = point.map_or((OTHER, Outcome::Warn), |(_, check, result)| (*check, *result));
            Finding { result, code: missing.code, ..Finding::warn(check, &missing.what, &missing.remedy) }
        };
        let mut list: Vec<Finding> = self.missing.iter().map(open).collect();
        let is_open = |check: &str| list.iter().any(|finding| finding.check == check);
        let cars = count(self.refresh.active, "active connection");
        let done = [
            ("credentials of Smartcar", true, "there are some, and an Application ID".to_owned()),
            ("VERIFY", self.webhooks.last_verify.is_some(), "Smartcar has verified the webhook's address".to_owned()),
            ("car", self.refresh.active > 0, cars),
            ("subscription", self.refresh.active > 0, "every car is subscribed, or has sent something".to_owned()),
            ("test delivery", self.webhooks.last_delivery_at.is_some(), "what Smartcar sends comes in".to_owned()),
            ("live delivery", self.webhooks.last_live_at.is_some(), "cars tell how they are".to_owned()),
            ("disk", self.store.healthy && !self.store.low, "the store takes changes, and there is room for them".to_owned()),
        ];
        let done: Vec<Finding> = done
            .into_iter()
            .filter(|(check, is_done, _)| *is_done && !is_open(check))
            .map(|(check, _, text)| Finding::ok(check, text))
            .collect();
        list.extend(done);
        list
    }
}
