//! Connections as both generations list them, one for each vehicle, and ending them.

use std::cmp::Reverse;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::Compat;
use super::errors::{of_store, of_vehicles};
use super::signals::attributes;
use crate::model::api_error::ApiError;
use crate::model::reach::Reach;
use crate::model::{SmartcarUserId, Timestamp};
use crate::vehicles::known::Known;
use crate::vehicles::{History, Note};

/// Which connections are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this Smartcar user.
    pub smartcar_user: Option<String>,
    /// Of this vehicle.
    pub vehicle: Option<String>,
    /// `live` or `simulated`.
    pub mode: Option<String>,
    /// Of the owner with this id, which is the operator's own.
    pub external_id: Option<String>,
}

impl Filter {
    fn fits(&self, known: &Known) -> bool {
        let is = |wanted: &Option<String>, own: Option<&str>| wanted.as_deref().is_none_or(|wanted| own == Some(wanted));
        is(&self.smartcar_user, smartcar_user_of(known).map(SmartcarUserId::as_str))
            && is(&self.vehicle, Some(known.id().as_str()))
            && is(&self.mode, Some(mode(known)))
            && is(&self.external_id, Some(known.vehicle.user.as_str()))
    }
}

impl Compat {
    /// `GET /management/connections` of v2.0: newest first, after the cursor.
    pub async fn listed_v2(&self, reach: &Reach, filter: &Filter, limit: usize, cursor: Option<&str>) -> Result<Value, ApiError> {
        let mut all = self.connections(reach, filter).await?;
        all.sort_by_key(Place::of);
        let wrong = || ApiError::parameter("cursor", "The cursor is not one of this list.");
        let after = cursor.map(|cursor| Place::read(cursor).ok_or_else(wrong)).transpose()?;
        let start = all.partition_point(|known| Some(Place::of(known)) <= after);
        let shown: Vec<&Known> = all.iter().skip(start).take(limit).collect();
        let next = shown.last().filter(|_| start + shown.len() < all.len()).map(|known| Place::of(known).write());
        let list: Vec<Value> = shown
            .iter()
            .map(|known| {
                let connected_at = known.connection.as_ref().map(|connection| connection.connected_at);
                json!({ "userId": smartcar_user_of(known), "vehicleId": known.id(), "connectedAt": connected_at, "mode": mode(known) })
            })
            .collect();
        Ok(json!({ "connections": list, "paging": { "cursor": next } }))
    }

    /// `DELETE /management/connections` of v2.0: ends all that fit.
    pub async fn end_v2(&self, reach: &Reach, filter: &Filter, note: &Note) -> Result<Value, ApiError> {
        if filter.smartcar_user.is_none() && filter.vehicle.is_none() {
            return Err(ApiError::parameter("user_id", "user_id or vehicle_id must be given."));
        }
        let ended = self.end(reach, self.connections(reach, filter).await?, note).await?;
        let list: Vec<Value> =
            ended.iter().map(|known| json!({ "userId": smartcar_user_of(known), "vehicleId": known.id() })).collect();
        Ok(json!({ "connections": list }))
    }

    /// `GET /connections` of v3: live cars, unless others are asked for.
    pub async fn listed_v3(
        &self,
        reach: &Reach,
        filter: &Filter,
        number: usize,
        size: usize,
        query: &[(String, String)],
    ) -> Result<Value, ApiError> {
        let filter = Filter { mode: filter.mode.clone().or_else(|| Some("live".to_owned())), ..filter.clone() };
        let all = self.connections(reach, &filter).await?;
        let last = all.len().div_ceil(size).max(1);
        let data: Vec<Value> = all.iter().skip((number - 1).saturating_mul(size)).take(size).map(connection_item).collect();
        let link = |number: usize| {
            let mut link = url::form_urlencoded::Serializer::new(String::new());
            link.extend_pairs(query.iter().filter(|(name, _)| !name.starts_with("page[")));
            link.append_pair("page[number]", &number.to_string()).append_pair("page[size]", &size.to_string());
            format!("/v3/connections?{}", link.finish())
        };
        Ok(json!({
            "data": data,
            "meta": { "pageNumber": number, "pageSize": size, "totalCount": all.len() },
            "links": {
                "self": link(number),
                "first": link(1),
                "prev": (number > 1).then(|| link((number - 1).min(last))),
                "next": (number < last).then(|| link(number + 1)),
                "last": link(last),
            },
        }))
    }

    /// `GET /connections/{id}` of v3.
    pub async fn connection(&self, reach: &Reach, id: &str) -> Result<Value, ApiError> {
        Ok(json!({ "data": connection_item(&self.of_id(reach, id).await?) }))
    }

    /// `DELETE /connections/{id}` of v3.
    pub async fn end_connection(&self, reach: &Reach, id: &str, note: &Note) -> Result<(), ApiError> {
        let known = self.of_id(reach, id).await?;
        self.end(reach, vec![known], note).await.map(drop)
    }

    /// `DELETE /users/{id}` of v3: ends all connections of a Smartcar user.
    pub async fn end_smartcar_user(&self, reach: &Reach, smartcar_user: &str, note: &Note) -> Result<(), ApiError> {
        let filter = Filter { smartcar_user: Some(smartcar_user.to_owned()), ..Filter::default() };
        let all = self.connections(reach, &filter).await?;
        if all.is_empty() {
            return Err(ApiError::missing("USER_NOT_FOUND"));
        }
        self.end(reach, all, note).await.map(drop)
    }

    async fn connections(&self, reach: &Reach, filter: &Filter) -> Result<Vec<Known>, ApiError> {
        let all = self.vehicles.all_known(reach).await.map_err(of_store)?;
        Ok(all.into_iter().filter(|known| filter.fits(known)).collect())
    }

    async fn of_id(&self, reach: &Reach, id: &str) -> Result<Known, ApiError> {
        let all = self.vehicles.all_known(reach).await.map_err(of_store)?;
        all.into_iter().find(|known| connection_id(known) == id).ok_or_else(|| ApiError::missing("CONNECTION_NOT_FOUND"))
    }

    /// Ends all of them. One that cannot be ended stops none of the others, and is named in the error.
    /// A client that goes away stops it nowhere in between.
    async fn end(&self, reach: &Reach, all: Vec<Known>, note: &Note) -> Result<Vec<Known>, ApiError> {
        let (own, reach, note) = (self.clone(), reach.clone(), note.clone());
        let task = tokio::spawn(async move { own.end_each(&reach, all, &note).await });
        task.await.unwrap_or_else(|_| Err(ApiError::of("SERVER", Some("INTERNAL"))))
    }

    async fn end_each(&self, reach: &Reach, all: Vec<Known>, note: &Note) -> Result<Vec<Known>, ApiError> {
        let mut failed: Vec<(&Known, ApiError)> = Vec::new();
        for known in &all {
            let ended = self.vehicles.disconnect(reach, known.id(), (History::Keep, false), note).await;
            failed.extend(ended.err().map(|error| (known, of_vehicles(&error))));
        }
        if let [(_, first), ..] = &*failed {
            let part = |(known, error): &(&Known, ApiError)| -> (Box<str>, Box<str>) {
                ("vehicle_id".into(), format!("{}: {}", known.id(), error.description).into())
            };
            let detail: Box<[_]> = failed.iter().map(part).collect();
            let these: Vec<&str> = detail.iter().map(|(_, text)| &**text).collect();
            let (ended, of) = (all.len() - failed.len(), all.len());
            let text = format!("{ended} of {of} connections were ended. These were not: {}", these.join(" "));
            // Something has changed and something has not: that is no fault of the client's.
            let error = if of == 1 { first.clone() } else { ApiError::of("UPSTREAM", Some("UNKNOWN_ISSUE")) };
            return Err(ApiError { detail, ..error.because(text) });
        }
        Ok(all)
    }
}

/// Where a connection stands in the list of v2.0: a place that stays when what stood there has gone.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place(Reverse<Timestamp>, String);

impl Place {
    fn of(known: &Known) -> Place {
        let connected_at = known.connection.as_ref().map(|connection| connection.connected_at);
        Place(Reverse(connected_at.unwrap_or_default()), known.id().as_str().to_owned())
    }

    fn write(&self) -> String {
        BASE64URL_NOPAD.encode(format!("{} {}", self.0.0.as_millis(), self.1).as_bytes())
    }

    fn read(cursor: &str) -> Option<Place> {
        let text = String::from_utf8(BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?).ok()?;
        let (millis, id) = text.split_once(' ')?;
        Some(Place(Reverse(Timestamp::from_millis(millis.parse().ok()?)), id.to_owned()))
    }
}

/// Smartcar's id of the connection; API v2.0 knows none, and then that of the vehicle stands for it.
fn connection_id(known: &Known) -> &str {
    known.vehicle.facts.smartcar_connection_id.as_deref().unwrap_or_else(|| known.id().as_str())
}

fn smartcar_user_of(known: &Known) -> Option<&SmartcarUserId> {
    known.connection.as_ref()?.smartcar_user.as_ref()
}

fn mode(known: &Known) -> &str {
    known.vehicle.facts.mode.as_deref().unwrap_or("live")
}

fn connection_item(known: &Known) -> Value {
    let id = known.id();
    json!({
        "id": connection_id(known),
        "type": "connection",
        "attributes": {
            "permissions": known.permissions().unwrap_or_default(),
            "user": { "id": smartcar_user_of(known), "externalId": known.vehicle.user },
            "vehicle": attributes(known),
        },
        "relationships": {
            "vehicle": { "data": { "id": id, "type": "vehicle" }, "links": { "related": format!("/v3/vehicles/{id}") } },
        },
    })
}
