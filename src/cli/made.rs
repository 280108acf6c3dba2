//! Settings made on the set-up page, for commands that read the configuration themselves.

use serde_json::Value;

use super::client::{Client, Reached, reach};
use super::print::field;
use super::wiring;
use crate::app;
use crate::config::{Config, Made};
use crate::model::Secret;

/// The configuration with what was made on the set-up page, and whether a running server has it: that keeps secrets to
/// itself, so they are `***` here. A store that cannot be looked at leaves the configuration as it is.
pub(super) async fn with_made(config: Config) -> (Config, bool) {
    let (made, is_served) = match reach(&config.socket).await {
        Reached::Server => {
            let told = Client::Socket(config.socket.clone()).get(&["settings"], &[]).await;
            (told.map(|told| of_server(&told)).unwrap_or_default(), true)
        }
        Reached::Nobody if wiring::is_there(&config) => {
            let keys = wiring::keys(&config).ok().flatten();
            let inspected = keys.and_then(|keys| wiring::inspect(&config, &keys).ok());
            (inspected.map(|inspected| app::made(inspected.settings)).unwrap_or_default(), false)
        }
        _ => return (config, false),
    };
    let is_any = made.iter().next().is_some();
    (config.with_what_fits(&made).0, is_served && is_any)
}

fn of_server(told: &Value) -> Made {
    let items = told["items"].as_array().into_iter().flatten().filter(|item| item["made"] == true);
    items.fold(Made::default(), |made, item| {
        let value = item["value"].as_str().unwrap_or("***");
        made.and(&field(item, "key"), Some(Secret::new(value)))
    })
}
