//! API v3: vehicles and their signals.

use serde_json::{Value, json};

use super::asked::EVERYTHING;
use super::errors::of_store;
use super::lacking::failure;
use super::stored::{fetched_at, usable};
use super::{Compat, Reply, Wish, is_granted, of_smartcar_user};
use crate::model::VehicleId;
use crate::model::api_error::ApiError;
use crate::model::mapping;
use crate::model::reach::Reach;
use crate::store::tellings::Latest;
use crate::vehicles::known::Known;

impl Compat {
    /// `GET /vehicles/{id}`
    pub async fn resource(&self, reach: &Reach, id: &VehicleId, smartcar_user: Option<&str>) -> Result<Value, ApiError> {
        let known = self.connected_v3(reach, id, smartcar_user).await?;
        Ok(json!({ "data": vehicle_item(&known) }))
    }

    /// `GET /vehicles/{id}/signals`
    pub async fn signals(
        &self,
        reach: &Reach,
        id: &VehicleId,
        smartcar_user: Option<&str>,
        wish: Wish,
    ) -> Result<Reply, ApiError> {
        let known = self.current(reach, id, smartcar_user, None, wish).await?;
        let data: Vec<Value> = known.latest.values().map(|latest| item(&known, latest, wish)).collect();
        let body = json!({
            "meta": { "pageNumber": 1, "pageSize": data.len().max(100), "totalCount": data.len() },
            "links": { "self": format!("/vehicles/{id}/signals") },
            "included": { "vehicle": vehicle_item(&known) },
            "data": data,
        });
        let fetched_at = known.latest.values().filter_map(fetched_at).min();
        Ok(Reply { body, oem_updated_at: None, fetched_at })
    }

    /// `GET /vehicles/{id}/signals/{code}`
    pub async fn signal(
        &self,
        reach: &Reach,
        id: &VehicleId,
        smartcar_user: Option<&str>,
        code: &str,
        wish: Wish,
    ) -> Result<Reply, ApiError> {
        let known = self.current(reach, id, smartcar_user, Some(code), wish).await?;
        let latest = known.latest.get(code).ok_or_else(|| ApiError::missing("SIGNAL_NOT_FOUND"))?;
        let body = json!({ "data": item(&known, latest, wish) });
        Ok(Reply { body, oem_updated_at: None, fetched_at: fetched_at(latest) })
    }

    /// The vehicle with signals as fresh as is wished, or with one of them, if a client wants that one fresh. An empty
    /// list is a good answer.
    async fn current(
        &self,
        reach: &Reach,
        id: &VehicleId,
        smartcar_user: Option<&str>,
        code: Option<&str>,
        wish: Wish,
    ) -> Result<Known, ApiError> {
        let moment = self.asked.moment();
        let known = self.connected_v3(reach, id, smartcar_user).await?;
        let code = code.filter(|_| wish.max_age.is_some());
        let wanted = known.latest.values().filter(|latest| code.is_none_or(|code| latest.code == code));
        let times = wanted.filter_map(fetched_at);
        // Who says how old values may be means each of them.
        let told = if wish.max_age.is_some() { times.min() } else { times.max() };
        if !self.is_older(id, EVERYTHING, told, wish) {
            return Ok(known);
        }
        let (known, failed) = match self.why_not(&known, EVERYTHING) {
            Some(error) => (known, Some(error)),
            None if self.waits(&known, EVERYTHING) => (known, None),
            None => self.read(reach, known, vec![EVERYTHING], wish, moment).await?,
        };
        match failed {
            Some(error) if wish.max_age.is_some() || told.is_none() => Err(error),
            _ => Ok(known),
        }
    }

    pub(super) async fn connected_v3(
        &self,
        reach: &Reach,
        id: &VehicleId,
        smartcar_user: Option<&str>,
    ) -> Result<Known, ApiError> {
        let known = self.vehicles.known(reach, id).await.map_err(of_store)?;
        let known = known.filter(|known| known.connection.is_some()).ok_or_else(ApiError::no_vehicle)?;
        of_smartcar_user(&known, smartcar_user)?;
        Ok(known)
    }
}

/// A vehicle as a resource.
pub(super) fn vehicle_item(known: &Known) -> Value {
    let id = known.id();
    json!({ "id": id, "type": "vehicle", "attributes": attributes(known), "links": { "self": format!("/vehicles/{id}") } })
}

/// What Smartcar tells of a vehicle.
pub(super) fn attributes(known: &Known) -> Value {
    let facts = &known.vehicle.facts;
    json!({
        "make": facts.make,
        "model": facts.model,
        "year": facts.year,
        "mode": facts.mode.as_deref().unwrap_or("live"),
        "powertrainType": facts.powertrain,
    })
}

fn item(known: &Known, latest: &Latest, wish: Wish) -> Value {
    let code = &latest.code;
    let link = format!("/vehicles/{}/signals/{code}", known.id());
    let mut attributes = json!({ "code": code, "name": latest.name, "group": latest.group });
    let mut item = json!({ "id": code, "type": "signal", "links": { "self": link } });
    let is_hidden = mapping::permission(code).is_some_and(|permission| !is_granted(known, permission));
    match usable(latest).filter(|_| !is_hidden) {
        Some(reading) => {
            let body = reading.body.value();
            attributes["status"] = json!({ "value": "SUCCESS" });
            attributes["body"] = if wish.imperial { mapping::imperial(code, body) } else { body };
            item["meta"] = json!({
                "oemUpdatedAt": reading.oem_updated_at,
                "retrievedAt": reading.retrieved_at,
                "ingestedAt": latest.reading_told_at.or(latest.told_at),
            });
        }
        None if is_hidden => {
            attributes["status"] = json!({ "value": "ERROR", "error": { "type": "PERMISSION", "code": null } });
        }
        None => {
            let error = failure(known, latest).map(|failure| json!({ "type": failure.kind, "code": failure.code }));
            let value = if error.is_some() { "ERROR" } else { "UNAVAILABLE" };
            attributes["status"] = json!({ "value": value, "error": error });
        }
    }
    item["attributes"] = attributes;
    item
}
