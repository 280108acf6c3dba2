//! A car by its id, or by the name that its owner gave it.

use serde_json::Value;

use super::client::Client;
use super::print::field;
use super::{Exit, Failure};
use crate::model::perhaps;

/// A car as the API shows it.
pub(super) async fn car(client: &Client, named: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
    match client.get(&["vehicles", named], query).await {
        Err(failure) if failure.is("not_found") => client.get(&["vehicles", &by_name(client, named).await?], query).await,
        told => told,
    }
}

/// `2023 VOLKSWAGEN ID.4`, or the owner's name for it.
pub(super) fn name_of(vehicle: &Value) -> String {
    let nickname = field(vehicle, "nickname");
    if !nickname.is_empty() {
        return nickname;
    }
    let parts = ["year", "make", "model"].map(|part| field(vehicle, part));
    parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// The id of a car.
pub(super) async fn id_of(client: &Client, named: &str) -> Result<String, Failure> {
    match client.get(&["vehicles", named], &[]).await {
        Err(failure) if failure.is("not_found") => by_name(client, named).await,
        told => told.map(|_| named.to_owned()),
    }
}

/// The id of the one car of this name. Capitals count where they tell cars apart.
pub(super) async fn by_name(client: &Client, name: &str) -> Result<String, Failure> {
    let cars = client.list(&["vehicles"], &[]).await?;
    let cars = cars["items"].as_array().into_iter().flatten().filter(|car| car["former"] != true);
    let named: Vec<(String, String)> = cars.map(|car| (field(car, "nickname"), field(car, "id"))).collect();
    let of = |is_it: &dyn Fn(&str) -> bool| -> Vec<String> {
        named.iter().filter(|(own, _)| is_it(own)).map(|(_, id)| id.clone()).collect()
    };
    let exact = of(&|own| own == name);
    let ids = if exact.is_empty() { of(&|own| own.to_lowercase() == name.to_lowercase()) } else { exact };
    match &*ids {
        [id] => Ok(id.clone()),
        [] => {
            let meant = perhaps(name, named.iter().map(|(own, _)| own.as_str()).filter(|own| !own.is_empty()));
            let sentence = format!("there is no car of this id or name{meant}: `carport vehicles list` shows them all");
            Err(Failure::new(Exit::Failed, sentence))
        }
        several => {
            let sentence = format!("there are {} cars of this name: say which by its id ({})", several.len(), several.join(", "));
            Err(Failure::new(Exit::Failed, sentence))
        }
    }
}
