//! A car by its id, or by the name that its owner gave it.

use serde_json::Value;

use super::client::Client;
use super::print::field;
use super::{Exit, Failure};

/// A car as the API shows it.
pub(super) async fn car(client: &Client, named: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
    match client.get(&["vehicles", named], query).await {
        Err(failure) if failure.is("not_found") => client.get(&["vehicles", &by_name(client, named).await?], query).await,
        told => told,
    }
}

/// The id of a car.
pub(super) async fn id_of(client: &Client, named: &str) -> Result<String, Failure> {
    match client.get(&["vehicles", named], &[]).await {
        Err(failure) if failure.is("not_found") => by_name(client, named).await,
        told => told.map(|_| named.to_owned()),
    }
}

/// The id of the one car of this name.
pub(super) async fn by_name(client: &Client, name: &str) -> Result<String, Failure> {
    let cars = client.list(&["vehicles"], &[]).await?;
    let cars = cars["items"].as_array().into_iter().flatten().filter(|car| car["former"] != true);
    let ids: Vec<String> = cars.filter(|car| field(car, "nickname") == name).map(|car| field(car, "id")).collect();
    match &*ids {
        [id] => Ok(id.clone()),
        [] => Err(Failure::new(Exit::Failed, "there is no car of this id or name: `carport vehicles list` shows them all")),
        several => {
            let sentence = format!("there are {} cars of this name: say which by its id ({})", several.len(), several.join(", "));
            Err(Failure::new(Exit::Failed, sentence))
        }
    }
}
