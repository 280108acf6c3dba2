//! Subscriptions of vehicles to our webhook at Smartcar, and what a car still lacks until its data come.

use serde::{Deserialize, Serialize};

use super::{ConnectionId, Timestamp, VehicleId};

/// A vehicle is subscribed to a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Smartcar's id of the webhook.
    pub webhook: String,
    /// By which connection.
    pub connection: ConnectionId,
    /// When its owner had last connected then: who connects again may have ended the subscription before.
    pub connected_at: Timestamp,
    /// When Smartcar said so.
    pub at: Timestamp,
}

/// What still keeps a car's data from coming in by themselves, and the one thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hurdle {
    /// `not_verified`, `not_subscribed` or `no_first_delivery`.
    pub code: &'static str,
    /// In one sentence.
    pub what: &'static str,
    /// The one thing to do.
    pub remedy: String,
}

impl Hurdle {
    /// Of a car that is connected; `None` when nothing is.
    pub fn of(car: &VehicleId, has_delivered: bool, is_verified: bool, is_subscribed: bool) -> Option<Hurdle> {
        let hurdle = |code, what, remedy: &str| Some(Hurdle { code, what, remedy: remedy.to_owned() });
        match (has_delivered, is_verified, is_subscribed) {
            (true, ..) => None,
            (_, false, _) => hurdle(
                "not_verified",
                "Smartcar has not verified the webhook yet.",
                "In Smartcar's dashboard set the webhook's URL to Carport's and press Verify; set-up shows the URL.",
            ),
            (_, _, false) => hurdle(
                "not_subscribed",
                "This car is not known to be subscribed to the webhook.",
                &format!("Run `carport vehicles subscribe {car}`, or subscribe the car in Smartcar's dashboard."),
            ),
            _ => hurdle(
                "no_first_delivery",
                "The car is subscribed, and nothing has come in about it yet.",
                "Wait for the car to report. If nothing comes for a day, give the webhook triggers and data signals in \
                 Smartcar's dashboard.",
            ),
        }
    }
}
