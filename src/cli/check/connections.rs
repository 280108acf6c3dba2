//! Connections whose cars Smartcar has not told yet.

use serde_json::Value;

use super::super::print::field;
use super::super::records::awaits_cars;
use super::{Line, named, server};
use crate::config::Config;

/// A line if there are any; nothing without a server.
pub(super) async fn connections(config: &Config) -> Option<Line> {
    let listed = server(config).await?.list(&["connections"], &[]).await.ok()?;
    let waiting = listed["items"].as_array().into_iter().flatten().filter(|connection| awaits_cars(connection));
    let ids: Vec<String> = waiting.map(|connection: &Value| field(connection, "id")).collect();
    (!ids.is_empty()).then(|| {
        Line::warn(
            "connections",
            format!("Smartcar has not told the cars of {} yet", named(&ids, "connection")),
            "it is asked again by itself, every few minutes; the log says what it answers",
        )
    })
}
