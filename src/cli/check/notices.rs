//! What the running server has given notice of, and the proxies that it does not believe or understand.

use serde_json::Value;

use super::super::print::field;
use super::{Line, server};
use crate::config::Config;

const CHECK: &str = "notices";

/// A line for each notice that stands; nothing without a server.
pub(super) async fn notices(config: &Config) -> Vec<Line> {
    let Some(client) = server(config).await else { return Vec::new() };
    let Ok(status) = client.get(&["status"], &[]).await else { return Vec::new() };
    let line = |notice: &Value| {
        let text = |field: &str| notice[field].as_str().unwrap_or_default().to_owned();
        let of = |what: &str| notice[what].as_str().map(|id| format!(" ({what} {id})")).unwrap_or_default();
        Line::warn(CHECK, text("what") + &of("connection") + &of("vehicle"), text("remedy"))
    };
    let lines: Vec<Line> = status["notices"].as_array().into_iter().flatten().map(line).collect();
    let mut lines = if lines.is_empty() { vec![Line::ok(CHECK, "the running server has given none")] } else { lines };
    let is_of_proxy = |missing: &&Value| missing["code"].as_str().is_some_and(|code| code.ends_with("_proxy"));
    let missing = status["missing"].as_array().into_iter().flatten().filter(is_of_proxy);
    lines.extend(missing.map(|missing| Line::warn("proxy", field(missing, "what"), field(missing, "remedy"))));
    lines
}
