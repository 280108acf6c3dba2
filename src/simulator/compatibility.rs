//! Which cars Smartcar can talk to: `/v2.0/compatibility`, its matrix, and `/v3/compatible-vehicles`.
//! The shape of the last one is not documented: assumed to be a JSON:API list like the others.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::car::Car;
use super::chance::Chance;
use super::endpoints::{ENDPOINTS, Endpoint};
use super::exchange::{self, Exchange, Reply};
use super::model::Model;
use super::trouble::Trouble;
use super::words::{PERMISSIONS, instead};

/// `GET /v2.0/compatibility`, by the credentials of the application.
pub(super) fn by_vin(exchange: &Exchange<'_>) -> Result<Reply, Trouble> {
    opened(exchange)?;
    let vin = exchange.query.get("vin").ok_or_else(|| Trouble::parameter("vin", "is missing"))?;
    if vin.len() != 17 || !vin.bytes().all(|letter| letter.is_ascii_alphanumeric()) {
        return Err(Trouble::parameter("vin", "is not a vehicle identification number"));
    }
    let scope = exchange.query.get("scope").ok_or_else(|| Trouble::parameter("scope", "is missing"))?;
    listed(exchange, "scope", scope.split_whitespace())?;
    let country = exchange.query.get("country").unwrap_or("US");
    if country.len() != 2 || !country.bytes().all(|letter| letter.is_ascii_alphabetic()) {
        return Err(Trouble::parameter("country", "is not a code of ISO 3166-1 alpha-2"));
    }
    let car = exchange.state.cars.values().find(|car| car.vin.eq_ignore_ascii_case(vin));
    // Test cars begin so; of any other no simulated maker knows.
    let reason = if vin.starts_with("0SC") { "VEHICLE_NOT_COMPATIBLE" } else { "MAKE_NOT_COMPATIBLE" };
    let body = match car {
        Some(car) => json!({ "compatible": true, "reason": null, "capabilities": capabilities(car, scope) }),
        None => json!({ "compatible": false, "reason": reason, "capabilities": [] }),
    };
    Ok(exchange::json(StatusCode::OK, &body))
}

/// `GET /v2.0/compatibility/matrix`, by the credentials of the application.
pub(super) fn matrix(exchange: &Exchange<'_>) -> Result<Reply, Trouble> {
    opened(exchange)?;
    region(exchange.query.get("region").ok_or_else(|| Trouble::parameter("region", "is missing"))?)?;
    let mut makes = Map::new();
    for (model, list) in fitting(exchange, "make", "type", "scope")? {
        let entry = json!({
            "model": model.name,
            "startYear": model.since,
            "endYear": model.since + 4,
            "type": model.powertrain.word(),
            "endpoints": titles(&list),
            "permissions": permissions(&list),
        });
        if let Value::Array(models) = makes.entry(model.make).or_insert_with(|| json!([])) {
            models.push(entry);
        }
    }
    Ok(exchange::json(StatusCode::OK, &Value::Object(makes)))
}

/// `GET /v3/compatible-vehicles`, for everybody.
pub(super) fn list(exchange: &Exchange<'_>) -> Result<Reply, Trouble> {
    if exchange.method != Method::GET {
        return Err(Trouble::path());
    }
    if let Some(name) = exchange.query.get("filter[region]") {
        region(name)?;
    }
    let items =
        fitting(exchange, "filter[make]", "filter[powertrainType]", "filter[permission]")?.into_iter().map(|(model, list)| {
            let attributes = json!({
                "make": model.make,
                "model": model.name,
                "startYear": model.since,
                "endYear": model.since + 4,
                "powertrainType": model.powertrain.word(),
                "permissions": permissions(&list),
            });
            json!({ "id": format!("{}-{}", model.make, model.name), "type": "compatible-vehicle", "attributes": attributes })
        });
    exchange::v3_page(exchange, "compatible-vehicles", 50, items.collect())
}

fn opened(exchange: &Exchange<'_>) -> Result<(), Trouble> {
    let application = &exchange.settings.application;
    let right = exchange
        .basic()
        .is_some_and(|(user, password)| user == application.application_id && password == application.v2_client_secret);
    if exchange.method != Method::GET {
        return Err(Trouble::path());
    }
    if right { Ok(()) } else { Err(Trouble::authentication()) }
}

fn region(name: &str) -> Result<(), Trouble> {
    let known = ["US", "CA", "EUROPE"].contains(&name);
    if known { Ok(()) } else { Err(Trouble::parameter("region", "is not one of US, CA, EUROPE")) }
}

/// What a car can do of what the permissions allow.
fn capabilities(car: &Car, scope: &str) -> Vec<Value> {
    let mut list = Vec::new();
    for permission in scope.split_whitespace() {
        let permission = permission.strip_prefix("required:").unwrap_or(permission);
        let endpoints = ENDPOINTS.iter().filter(|endpoint| endpoint.permission == permission);
        let before = list.len();
        list.extend(endpoints.map(|endpoint| {
            let reason = (!endpoint.is_for(car)).then_some("VEHICLE_NOT_CAPABLE");
            json!({
                "permission": permission, "endpoint": format!("/{}", endpoint.path),
                "capable": reason.is_none(), "reason": reason,
            })
        }));
        if list.len() == before {
            // A permission of signals that v2.0 has no endpoint for.
            let endpoint = format!("/{}", permission.trim_start_matches("read_"));
            list.push(json!({
                "permission": permission, "endpoint": endpoint, "capable": false, "reason": "SMARTCAR_NOT_CAPABLE",
            }));
        }
    }
    list
}

/// The models that fit the filters, each with what it is able to.
fn fitting(exchange: &Exchange<'_>, make: &str, kind: &str, scope: &str) -> Result<Fitting, Trouble> {
    let words = |name: &str| -> Option<Vec<&str>> { Some(exchange.query.get(name)?.split([' ', ',']).collect()) };
    let (makes, permissions, kind) = (words(make), words(scope), exchange.query.get(kind));
    listed(exchange, scope, permissions.iter().flatten().copied())?;
    let fitting = Model::all()
        .iter()
        .filter(|model| makes.as_ref().is_none_or(|makes| makes.iter().any(|make| model.make.eq_ignore_ascii_case(make))))
        .filter(|model| kind.is_none_or(|kind| model.powertrain.word().eq_ignore_ascii_case(kind)))
        .map(|model| {
            let car = Car::new(model, Chance::of(0, "compatibility"), 0);
            (model, ENDPOINTS.iter().filter(|endpoint| endpoint.is_for(&car)).collect::<Vec<_>>())
        })
        .filter(|(_, list)| {
            let able = |permission: &&str| list.iter().any(|endpoint| endpoint.permission == *permission);
            permissions.as_ref().is_none_or(|permissions| permissions.iter().all(able))
        })
        .collect();
    Ok(fitting)
}

type Fitting = Vec<(&'static Model, Vec<&'static Endpoint>)>;

/// Whether Smartcar lists all of these permissions. That it refuses others here, too, is assumed.
fn listed<'w>(exchange: &Exchange<'_>, field: &str, words: impl Iterator<Item = &'w str>) -> Result<(), Trouble> {
    let mut names = words.map(|word| word.strip_prefix("required:").unwrap_or(word));
    match names.find(|name| !PERMISSIONS.contains(name)).filter(|_| !exchange.settings.habits.takes_unknown) {
        Some(name) => {
            Err(Trouble::parameter(field, &format!("has {name}, which is no permission ({})", instead(name, PERMISSIONS))))
        }
        None => Ok(()),
    }
}

fn permissions(list: &[&Endpoint]) -> Vec<&'static str> {
    let mut names: Vec<&str> = list.iter().map(|endpoint| endpoint.permission).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn titles(list: &[&Endpoint]) -> Vec<&'static str> {
    let mut titles: Vec<&str> = list.iter().map(|endpoint| endpoint.title).collect();
    titles.sort_unstable();
    titles.dedup();
    titles
}
