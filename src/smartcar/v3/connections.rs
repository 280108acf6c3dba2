use http::Method;
use serde::Deserialize;

use super::{Listing, MOST_PAGES};
use crate::model::vehicle::VehicleFacts;
use crate::model::wire::VehicleWire;
use crate::model::{Secret, SmartcarUserId, VehicleId, lenient};
use crate::smartcar::call::Audience;
use crate::smartcar::{Smartcar, SmartcarError};

/// Which connections to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFilter {
    /// Of this Smartcar user only.
    pub user: Option<SmartcarUserId>,
    /// Of this vehicle only.
    pub vehicle: Option<VehicleId>,
    /// `live` or `simulated`; both if missing, which takes two questions.
    pub mode: Option<String>,
}

/// One connection as Smartcar lists it: one vehicle of one Smartcar user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmartcarConnection {
    /// Smartcar's id of the connection; it may change when the owner reconnects. Empty if it was not said.
    pub id: String,
    /// The vehicle, if Smartcar named it.
    pub vehicle: Option<VehicleId>,
    /// The Smartcar user, if Smartcar named it or was asked for it.
    pub user: Option<SmartcarUserId>,
    /// The operator's own id of the owner, as it went to Connect.
    pub external_id: Option<String>,
    /// What it tells of the vehicle. The id is empty exactly when `vehicle` is `None`.
    pub facts: VehicleFacts,
    /// What the owner granted; `None` if Smartcar did not say. Also in the facts.
    pub permissions: Option<Vec<String>>,
}

impl Smartcar {
    /// Lists connections, all pages.
    pub async fn connections(&self, app: &Secret, filter: ConnectionFilter) -> Result<Vec<SmartcarConnection>, SmartcarError> {
        if let Some(mode) = &filter.mode {
            return self.connections_of(app, &filter, mode).await;
        }
        let mut all = self.connections_of(app, &filter, "live").await?;
        match self.connections_of(app, &filter, "simulated").await {
            Ok(simulated) => {
                let new = |found: &SmartcarConnection| !all.iter().any(|known| known.is(found));
                let simulated: Vec<_> = simulated.into_iter().filter(new).collect();
                all.extend(simulated);
            }
            // Not every plan knows simulated vehicles.
            Err(SmartcarError::NotPossible { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(all)
    }

    async fn connections_of(
        &self,
        app: &Secret,
        filter: &ConnectionFilter,
        mode: &str,
    ) -> Result<Vec<SmartcarConnection>, SmartcarError> {
        let mut all: Vec<SmartcarConnection> = Vec::new();
        let mut query = page_query(filter, mode, 1);
        for number in 2..=MOST_PAGES + 1 {
            let call = self.v3("v3.connections", Audience::Application, Method::GET, &format!("/connections{query}"), app);
            let page = Listing::<ConnectionWire>::of(&self.call(call).await?)?;
            let before = all.len();
            for found in page.data.into_iter().filter_map(|wire| wire.connection(filter, mode)) {
                if !all.iter().any(|known| known.is(&found)) {
                    all.push(found);
                }
            }
            query = match page.next {
                _ if all.len() == before => break,
                Some(next) => next,
                None if all.len() < page.total => page_query(filter, mode, number),
                None => break,
            };
        }
        Ok(all)
    }
}

impl SmartcarConnection {
    fn is(&self, other: &SmartcarConnection) -> bool {
        self.id == other.id && self.vehicle == other.vehicle
    }
}

fn page_query(filter: &ConnectionFilter, mode: &str, number: usize) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::from("?"));
    if let Some(user) = &filter.user {
        query.append_pair("filter[userId]", user.as_str());
    }
    if let Some(vehicle) = &filter.vehicle {
        query.append_pair("filter[vehicleId]", vehicle.as_str());
    }
    query.append_pair("filter[vehicle.mode]", mode);
    query.append_pair("page[number]", &number.to_string());
    query.append_pair("page[size]", "100");
    query.finish()
}

/// A connection, with what stands in `attributes` perhaps beside it: the flat form.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ConnectionWire {
    #[serde(deserialize_with = "lenient::text")]
    id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    connection_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    vehicle_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    user_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    external_id: Option<String>,
    #[serde(deserialize_with = "lenient::texts")]
    permissions: Option<Vec<String>>,
    #[serde(deserialize_with = "lenient::object")]
    user: UserWire,
    #[serde(deserialize_with = "lenient::object")]
    vehicle: VehicleWire,
    #[serde(deserialize_with = "lenient::object")]
    relationships: Relationships,
    #[serde(deserialize_with = "lenient::map")]
    attributes: Option<Box<ConnectionWire>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct UserWire {
    #[serde(deserialize_with = "lenient::text")]
    id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    external_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Relationships {
    #[serde(deserialize_with = "lenient::object")]
    vehicle: Relationship,
    #[serde(deserialize_with = "lenient::object")]
    user: Relationship,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Relationship {
    #[serde(deserialize_with = "lenient::object")]
    data: UserWire,
}

impl ConnectionWire {
    /// Reads in the order relationships, attributes, flat. What Smartcar was asked for and does not
    /// repeat is as it was asked.
    fn connection(self, filter: &ConnectionFilter, mode: &str) -> Option<SmartcarConnection> {
        let inner = self.attributes.map(|inner| *inner).unwrap_or_default();
        let related = self.relationships;
        let vehicle = related.vehicle.data.id.or(inner.vehicle.id.clone()).or(inner.vehicle_id);
        let vehicle = vehicle.or(self.vehicle.id.clone()).or(self.vehicle_id).map(VehicleId::new);
        let vehicle = vehicle.or_else(|| filter.vehicle.clone());
        let user = related.user.data.id.or(inner.user.id).or(inner.user_id).or(self.user.id).or(self.user_id);
        let external_id = inner.user.external_id.or(inner.external_id).or(self.user.external_id).or(self.external_id);
        let id = self.id.or(self.connection_id).or(inner.id);
        if id.is_none() && vehicle.is_none() {
            return None;
        }
        let permissions = inner.permissions.or(self.permissions);
        let facts_id = vehicle.clone().unwrap_or_else(|| VehicleId::new(""));
        let wire = if inner.vehicle.is_empty() { self.vehicle } else { inner.vehicle };
        let facts = wire.facts(facts_id);
        Some(SmartcarConnection {
            vehicle,
            user: user.map(SmartcarUserId::new).or_else(|| filter.user.clone()),
            external_id,
            facts: VehicleFacts {
                mode: facts.mode.or_else(|| Some(mode.to_ascii_lowercase())),
                smartcar_connection_id: id.clone(),
                permissions: permissions.clone(),
                ..facts
            },
            permissions,
            id: id.unwrap_or_default(),
        })
    }
}
