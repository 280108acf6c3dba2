//! The management API of v2.0: `/v2.0/management/connections`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::simulator::exchange::{self, Exchange, Reply};
use crate::simulator::state::Connection;
use crate::simulator::trouble::Trouble;

/// `GET` and `DELETE /management/connections`
pub(super) fn connections(exchange: &mut Exchange<'_>) -> Result<Reply, Trouble> {
    let token = &exchange.settings.application.management_token;
    if exchange.basic().is_none_or(|(user, password)| user != "default" || password != *token) {
        return Err(Trouble::authentication());
    }
    let filter = |name: &str| exchange.query.get(name).map(str::to_owned);
    let (user_id, vehicle_id, wanted_mode) = (filter("user_id"), filter("vehicle_id"), filter("mode"));
    let fits = |connection: &Connection| {
        user_id.as_ref().is_none_or(|id| connection.user_id == *id)
            && vehicle_id.as_ref().is_none_or(|id| connection.vehicle_id == *id)
            && wanted_mode.as_ref().is_none_or(|mode| connection.mode == *mode)
    };
    match *exchange.method {
        Method::GET => {
            let limit = exchange.query.number("limit", 10)?;
            if !(1..=100).contains(&limit) {
                return Err(Trouble::parameter("limit", "is from 1 to 100"));
            }
            let newest_first: Vec<&Connection> =
                exchange.state.connections.iter().rev().filter(|connection| fits(connection)).collect();
            // The cursor names the last connection of the page before.
            let after = exchange.query.get("cursor");
            let start = match after {
                None => 0,
                Some(id) => {
                    let place = newest_first.iter().position(|other| other.id == id);
                    place.ok_or_else(|| Trouble::parameter("cursor", "is not one that was given out"))? + 1
                }
            };
            let shown: Vec<&&Connection> = newest_first.iter().skip(start).take(limit).collect();
            let more = start + shown.len() < newest_first.len();
            let cursor = shown.last().filter(|_| more).map(|connection| &connection.id);
            let connected_at = if exchange.settings.habits.created_at { "createdAt" } else { "connectedAt" };
            let list: Vec<Value> = shown
                .iter()
                .map(|connection| {
                    json!({
                        "userId": connection.user_id,
                        "vehicleId": connection.vehicle_id,
                        connected_at: connection.connected_at.to_string(),
                        "mode": connection.mode,
                    })
                })
                .collect();
            Ok(exchange::json(StatusCode::OK, &json!({ "connections": list, "paging": { "cursor": cursor } })))
        }
        Method::DELETE if user_id.is_none() && vehicle_id.is_none() => {
            Err(Trouble::parameter("user_id", "or vehicle_id is missing"))
        }
        Method::DELETE => {
            let ended = exchange.state.disconnect(fits);
            let list: Vec<Value> = ended
                .iter()
                .map(|connection| json!({ "userId": connection.user_id, "vehicleId": connection.vehicle_id }))
                .collect();
            Ok(exchange::json(StatusCode::OK, &json!({ "connections": list })))
        }
        _ => Err(Trouble::path()),
    }
}
