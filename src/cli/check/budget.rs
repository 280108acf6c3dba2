//! Cars about which no more calls are made this month: how many, which, until when, and the way out.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::print::{field, plain};
use super::{Line, named, server};
use crate::config::Config;

const CHECK: &str = "budget";

/// A line for each reason; nothing without a server.
pub(super) async fn budget(config: &Config) -> Vec<Line> {
    let Some(client) = server(config).await else { return Vec::new() };
    let Ok(budget) = client.get(&["budget"], &[]).await else { return Vec::new() };
    let Ok(cars) = client.list(&["vehicles"], &[]).await else { return Vec::new() };
    let until = plain(&budget, "until");
    // Of one that is not connected nothing is called.
    let cars = cars["items"].as_array().into_iter().flatten();
    let connected: BTreeSet<String> = cars.filter(|car| car["connection"].is_string()).map(|car| field(car, "id")).collect();
    if connected.is_empty() {
        return vec![Line::ok(CHECK, "no car is connected")];
    }
    let items = budget["items"].as_array().into_iter().flatten();
    let spent: Vec<&Value> = items.filter(|car| car["spent"].is_string() && connected.contains(&field(car, "vehicle"))).collect();
    let is_over = |car: &Value| car["remaining"] == 0;
    let lines = [
        line(
            &spent,
            &|car| is_over(car) && car["refused_after"].is_u64(),
            &|cars| format!("Smartcar itself refuses further calls of this month (430) for {cars}, until {until}"),
            "if your plan allows more by now, write another number than before into budget.calls_per_vehicle_month and restart \
             Carport; else wait until then",
        ),
        line(
            &spent,
            &|car| is_over(car) && car["refused_after"].is_null(),
            &|cars| format!("the calls of this month are spent for {cars}, until {until}"),
            "if your plan allows more, write a higher budget.calls_per_vehicle_month and restart Carport; else wait until then",
        ),
        line(
            &spent,
            &|car| !is_over(car),
            &|cars| format!("only the reserve (budget.reserve) is left of this month's calls for {cars}, until {until}"),
            "if your plan allows more, write a higher budget.calls_per_vehicle_month and restart Carport; else wait until then",
        ),
    ];
    let lines: Vec<Line> = lines.into_iter().flatten().collect();
    if lines.is_empty() { vec![Line::ok(CHECK, "calls are left for every car that is connected")] } else { lines }
}

/// Of the cars that are meant, if there are any.
fn line(
    spent: &[&Value],
    is_meant: &dyn Fn(&Value) -> bool,
    what: &dyn Fn(&str) -> String,
    remedy: &'static str,
) -> Option<Line> {
    let ids: Vec<String> = spent.iter().filter(|car| is_meant(car)).map(|car| field(car, "vehicle")).collect();
    (!ids.is_empty()).then(|| Line::warn(CHECK, what(&named(&ids, "car")), remedy))
}
