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
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(user) = &filter.user {
        query.append_pair("filter[userId]", user.as_str());
    }
    if let Some(vehicle) = &filter.vehicle {
        query.append_pair("filter[vehicleId]", vehicle.as_str());
    }
    query.append_pair("filter[vehicle.mode]", mode);
    query.append_pair("page[number]", &number.to_string());
    query.append_pair("page[size]", "100");
    format!("?{}", query.finish())
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
    /// repeat is as it was asked; what contradicts the question is no answer to it.
    // SECURITY: a `user_id` from a browser counts once this confirms it.
    fn connection(self, filter: &ConnectionFilter, mode: &str) -> Option<SmartcarConnection> {
        let inner = self.attributes.map(|inner| *inner).unwrap_or_default();
        let related = self.relationships;
        let vehicle = related.vehicle.data.id.or(inner.vehicle.id.clone()).or(inner.vehicle_id);
        let vehicle = vehicle.or(self.vehicle.id.clone()).or(self.vehicle_id).map(VehicleId::new);
        let vehicle = vehicle.or_else(|| filter.vehicle.clone());
        let user = related.user.data.id.or(inner.user.id).or(inner.user_id).or(self.user.id).or(self.user_id);
        let external_id = inner.user.external_id.or(inner.external_id).or(self.user.external_id).or(self.external_id);
        let id = self.id.or(self.connection_id).or(inner.id);
        let user = user.map(SmartcarUserId::new).or_else(|| filter.user.clone());
        let asked_vehicle = filter.vehicle.is_none() || filter.vehicle == vehicle;
        let asked_user = filter.user.is_none() || filter.user == user;
        if !asked_vehicle || !asked_user || (id.is_none() && vehicle.is_none()) {
            return None;
        }
        let permissions = inner.permissions.or(self.permissions);
        let facts_id = vehicle.clone().unwrap_or_else(|| VehicleId::new(""));
        let wire = if inner.vehicle.is_empty() { self.vehicle } else { inner.vehicle };
        let facts = wire.facts(facts_id);
        Some(SmartcarConnection {
            vehicle,
            user,
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

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "as expect-test writes them")]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::smartcar::script::{Script, answer, good, run};

    const LIVE: &str = include_str!("../../../tests/fixtures/v3-connections.json");
    const NONE: &str = r#"{"data":[],"meta":{"totalCount":0}}"#;

    fn ask(script: &Script, filter: ConnectionFilter) -> Result<Vec<SmartcarConnection>, SmartcarError> {
        run(script.client().connections(&Secret::new("app-token"), filter))
    }

    fn live() -> ConnectionFilter {
        ConnectionFilter { mode: Some("live".to_owned()), ..ConnectionFilter::default() }
    }

    #[test]
    fn the_documented_form() {
        let script = Script::new([good(LIVE), good(NONE)]);
        let filter =
            ConnectionFilter { user: Some(SmartcarUserId::new("6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b")), ..Default::default() };
        let all = ask(&script, filter).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].id, "e0b7f5d4-2a6b-4293-98e4-4c5b6a7f8e9d");
        assert_eq!(all[0].vehicle, Some(VehicleId::new("b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a")));
        assert_eq!(all[0].external_id.as_deref(), Some("household-17"));
        assert_eq!(all[0].permissions.as_ref().map(Vec::len), Some(6));
        let facts = &all[0].facts;
        assert_eq!(
            (facts.make.as_deref(), facts.mode.as_deref(), facts.powertrain.as_deref()),
            (Some("VOLKSWAGEN"), Some("live"), Some("BEV"))
        );
        assert_eq!(facts.smartcar_connection_id.as_ref(), Some(&all[0].id));
        expect![[r#"
            GET https://vehicle.api.smartcar.com/v3/connections?filter%5BuserId%5D=6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b&filter%5Bvehicle.mode%5D=live&page%5Bnumber%5D=1&page%5Bsize%5D=100
            GET https://vehicle.api.smartcar.com/v3/connections?filter%5BuserId%5D=6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b&filter%5Bvehicle.mode%5D=simulated&page%5Bnumber%5D=1&page%5Bsize%5D=100
        "#]].assert_eq(&script.lines());
    }

    #[test]
    fn the_other_forms() {
        let script = Script::new([good(
            r#"{"connections":[{"vehicleId":"flat","userId":"u","mode":"live"},
                {"id":"c2","attributes":{"vehicleId":"within","permissions":["read_vin",3]}},
                {"id":"c3","attributes":{"vehicle":{"id":"nested","make":"BMW"}}}, {"id":"c4"}, {}, 3]}"#,
        )]);
        let all = ask(&script, live()).unwrap();
        let ids: Vec<_> = all.iter().map(|found| (found.id.as_str(), found.facts.id.as_str(), found.vehicle.is_some())).collect();
        assert_eq!(ids, [("", "flat", true), ("c2", "within", true), ("c3", "nested", true), ("c4", "", false)]);
        assert_eq!(all[1].permissions, Some(vec!["read_vin".to_owned()]));
        assert_eq!(all[2].facts.mode.as_deref(), Some("live"));
    }

    #[test]
    fn an_answer_to_another_question_confirms_nothing() {
        let filter = ConnectionFilter { user: Some(SmartcarUserId::new("stranger")), ..live() };
        assert_eq!(ask(&Script::new([good(LIVE)]), filter), Ok(Vec::new()));
        let filter = ConnectionFilter { vehicle: Some(VehicleId::new("stranger")), ..live() };
        assert_eq!(ask(&Script::new([good(LIVE)]), filter), Ok(Vec::new()));
    }

    #[test]
    fn pages_by_link_and_by_count() {
        let page = |id: &str, rest: &str| good(&format!(r#"{{"data":[{{"id":"{id}"}}],{rest}}}"#));
        let script = Script::new([
            page("a", r#""links":{"next":"/v3/connections?page[number]=2&page[size]=1"}"#),
            page("b", r#""meta":{"totalCount":"3"}"#),
            page("c", r#""meta":{"totalCount":3}"#),
        ]);
        assert_eq!(ask(&script, live()).unwrap().len(), 3);
        expect![[r#"
            GET https://vehicle.api.smartcar.com/v3/connections?filter%5Bvehicle.mode%5D=live&page%5Bnumber%5D=1&page%5Bsize%5D=100
            GET https://vehicle.api.smartcar.com/v3/connections?page[number]=2&page[size]=1
            GET https://vehicle.api.smartcar.com/v3/connections?filter%5Bvehicle.mode%5D=live&page%5Bnumber%5D=3&page%5Bsize%5D=100
        "#]].assert_eq(&script.lines());
        let script = Script::new([page("a", r#""meta":{"totalCount":9}"#), page("a", r#""meta":{"totalCount":9}"#)]);
        assert_eq!(ask(&script, live()).unwrap().len(), 1);
    }

    #[test]
    fn simulated_vehicles_may_be_unknown() {
        let refused = r#"{"errors":[{"status":"400","type":"VALIDATION","code":"INVALID_INPUT_FORMAT"}]}"#;
        assert_eq!(ask(&Script::new([good(LIVE), answer(400, &[], refused)]), ConnectionFilter::default()).unwrap().len(), 1);
        let asleep = ask(&Script::new([good(LIVE), answer(503, &[], "")]), ConnectionFilter::default());
        assert!(matches!(asleep, Err(SmartcarError::Later { .. })));
    }
}
