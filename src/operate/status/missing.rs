//! What is still missing, one thing to do each.

use super::{Facts, Missing, Shared};
use crate::model::VehicleId;
use crate::smartcar::in_two;
use crate::smartcar::sunset::{self, Cars};

impl Shared {
    /// What is still missing, one thing to do each.
    pub(super) fn missing(&self, facts: &Facts, stopped: &[String]) -> Vec<Missing> {
        let mut missing = Vec::new();
        let mut add = |code, what: &str, remedy: String| missing.push(Missing { code, what: what.to_owned(), remedy });
        let (smartcar, settings) = (self.smartcar.settings(), self.settings.get());
        if smartcar.v2.is_none() && smartcar.v3.is_none() {
            add(
                "credentials",
                "Carport has no credentials of a Smartcar application",
                "type them in on the set-up page, run `carport init`, or set smartcar.v3.client_id and smartcar.v3.client_secret"
                    .to_owned(),
            );
        } else if smartcar.application_id().is_none() {
            add(
                "application_id",
                "the Application ID is not set, so nobody can be sent to Smartcar Connect",
                "copy the Application ID from Smartcar's dashboard into smartcar.application_id".to_owned(),
            );
        }
        for fault in stopped {
            add("refused", in_two(fault).0, "compare client id and client secret with Smartcar's dashboard".to_owned());
        }
        let has_v3 = smartcar.v3.is_some();
        if self.tokens.ended().is_some() && (facts.cars == Cars::ByV2 || smartcar.v2.is_some()) {
            let code = if facts.cars != Cars::ByV2 && has_v3 { "v2_unused" } else { "v2_ended" };
            add(code, &sunset::what(facts.cars), sunset::way_out(facts.cars, has_v3));
        }
        if !self.store.has_room() {
            add(
                "disk",
                "the disk is nearly full, so no token is refreshed and webhooks are answered 503",
                "make room on the disk of the data directory: store.min_free says how much must stay free".to_owned(),
            );
        }
        if !self.ingest.is_configured() {
            add(
                "management_token",
                "the application management token is not set, so no webhook can be proven",
                "copy it from Smartcar's dashboard into smartcar.application_management_token".to_owned(),
            );
        } else if self.ingest.last_verify().is_none() {
            add(
                "verify",
                "Smartcar has not verified the webhook yet",
                format!("in Smartcar's dashboard set the webhook's URL to {} and press Verify", settings.webhook_url),
            );
        }
        if let Some(astray) = self.ingest.astray().filter(|astray| facts.last_delivery_at.is_none_or(|at| at < astray.at)) {
            add(
                "wrong_path",
                &format!("a signed webhook came to `{}`, which is not the webhook's address", astray.path),
                format!("in Smartcar's dashboard set the webhook's URL to {}", settings.webhook_url),
            );
        }
        if let Some(since) = self.ingest.unproven().into_iter().map(|unproven| unproven.since).min() {
            add(
                "wrong_signature",
                &format!("webhooks with wrong signatures come in, the first {}, and none with a good one since", since.plain()),
                "if they are Smartcar's, copy the application management token of its dashboard into smartcar.application_management_token"
                    .to_owned(),
            );
        }
        // A simulator on this machine posts to http as well.
        let simulated = smartcar.origins.api.starts_with("http://");
        if !simulated && !settings.public_url.starts_with("https://") {
            add(
                "public_url",
                "the public URL is not https, and Smartcar posts webhooks only to https with a trusted certificate",
                "set tls.mode, or put a proxy with TLS in front, and set public_url to the https address".to_owned(),
            );
        }
        // What comes first comes after the VERIFY.
        if self.ingest.last_verify().is_some() && facts.last_delivery_at.is_none() {
            add(
                "test_delivery",
                "no delivery has come in yet, not even a test",
                "in Smartcar's dashboard open Integrations, the webhook, and send a test delivery".to_owned(),
            );
        }
        missing.extend(self.proxies.missing());
        let mut add = |code, what: &str, remedy: String| missing.push(Missing { code, what: what.to_owned(), remedy });
        if facts.active + facts.needs_reconnect == 0 {
            add("vehicle", "no car is connected", "run `carport connect` and open the link it prints".to_owned());
        } else {
            let now = self.world.now();
            if facts.unsubscribed.cars > 0 {
                let car = facts.unsubscribed.first.as_ref().map_or("ID", VehicleId::as_str);
                let they = if facts.unsubscribed.cars == 1 { "it is" } else { "they are" };
                let what = format!("{}, and {they} not known to be subscribed to the webhook", facts.unsubscribed.in_words(now));
                add("subscription", &what, format!("run `carport vehicles show {car}`, which says what to do"));
            }
            if facts.last_live_at.is_none() {
                let unheard = [&facts.unheard, &facts.unsubscribed].into_iter().find(|unheard| unheard.cars > 0);
                add(
                    "delivery",
                    &unheard.map_or_else(|| "no delivery of a car has come in yet".to_owned(), |unheard| unheard.in_words(now)),
                    "it comes with the next change that a trigger was chosen for in Smartcar's dashboard: plug the car in, or drive it"
                        .to_owned(),
                );
            }
        }
        missing
    }
}
