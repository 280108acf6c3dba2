//! Settings made on the set-up page.

use serde_json::{Map, Value, json};

use super::super::Call;
use super::super::answer::{self, Answer};
use super::super::input;
use super::super::problem::Problem;
use crate::model::Secret;
use crate::operate::settings::Change;

/// `GET settings`: what can be made, with the origin of each value.
pub(in crate::web) fn show(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&json!({ "items": call.services.rooms.making.show(), "next": null }))
}

/// `PATCH settings?force=true`: makes some, or takes them back by null.
pub(in crate::web) async fn change(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let force = query.flag("force")?;
    query.finish()?;
    let asked: Map<String, Value> = input::json(&call.head.headers, &call.body)?;
    let changes = asked.into_iter().map(written).collect::<Result<Vec<Change>, Problem>>()?;
    let made = call.services.rooms.making.change(changes, force).await?;
    made.keys.into_iter().for_each(|key| call.noting.add(key));
    answer::ok(&json!({ "items": call.services.rooms.making.show(), "next": null, "found": made.found }))
}

/// A value as one would write it into the environment.
fn written((key, value): (String, Value)) -> Result<Change, Problem> {
    let text = match value {
        Value::Null => return Ok((key, None)),
        Value::String(text) => text,
        Value::Bool(flag) => flag.to_string(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        _ => return Err(Problem::bad_request("A setting is a text, a list of texts, true or false, or null to take it back.")),
    };
    Ok((key, Some(Secret::new(text))))
}
