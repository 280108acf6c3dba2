//! Webhooks and the vehicles that are subscribed to them. Webhooks themselves are made in Smartcar's dashboard only.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{HandedOn, Smartcar, SmartcarError};
use crate::model::{Secret, SmartcarUserId, VehicleId, lenient};

/// A webhook as Smartcar lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmartcarWebhook {
    /// Its id.
    pub id: String,
    /// Where it posts, if Smartcar says so.
    pub callback_uri: Option<String>,
}

impl Smartcar {
    /// The webhooks of the application (management API v3), the first hundred.
    pub async fn webhooks(&self, app: &Secret) -> Result<Vec<SmartcarWebhook>, SmartcarError> {
        let listed = self.management_v3(app, Method::GET, "/webhooks?page[size]=100", None).await?;
        let listed: Listed = lenient::document(listed.body.as_str().as_bytes()).unwrap_or_default();
        let webhook = |wire: Wire| {
            let callback_uri = wire.attributes.callback_uri;
            wire.id.filter(|id| !id.is_empty()).map(|id| SmartcarWebhook { id, callback_uri })
        };
        Ok(listed.data.into_iter().filter_map(webhook).collect())
    }

    /// Subscribes a vehicle (v3).
    pub async fn subscribe_v3(
        &self,
        app: &Secret,
        vehicle: &VehicleId,
        user: &SmartcarUserId,
        webhook: &str,
    ) -> Result<HandedOn, SmartcarError> {
        let attributes = json!({ "webhookId": webhook, "userId": user.as_str(), "vehicleId": vehicle.as_str() });
        let body = json!({ "data": { "attributes": attributes } });
        self.management_v3(app, Method::POST, "/subscriptions", Some(&body)).await
    }
}

/// Whether an answer means that the vehicle is subscribed: one that was already is as good.
pub fn is_subscribed(answer: Result<HandedOn, SmartcarError>) -> Result<(), SmartcarError> {
    match answer {
        Err(error) if error.failure().status == Some(409) && error.failure().kind.as_deref() != Some("VEHICLE_STATE") => Ok(()),
        answer => answer.map(drop),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listed {
    #[serde(deserialize_with = "lenient::list")]
    data: Vec<Wire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(deserialize_with = "lenient::text")]
    id: Option<String>,
    #[serde(deserialize_with = "lenient::object")]
    attributes: Attributes,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Attributes {
    #[serde(deserialize_with = "lenient::text")]
    callback_uri: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smartcar::script::{Script, answer, good, run};

    #[test]
    fn a_subscription_is_asked_for_as_documented() {
        let wanted = include_str!("../../tests/fixtures/v3-create-subscription-request.json");
        let wanted: serde_json::Value = serde_json::from_str(wanted).unwrap();
        let said = |name: &str| wanted["data"]["attributes"][name].as_str().unwrap().to_owned();
        let (user, car) = (SmartcarUserId::new(said("userId")), VehicleId::new(said("vehicleId")));
        let script = Script::new([answer(202, &[], ""), answer(409, &[], "{}"), answer(404, &[], "{}")]);
        let subscribe = || is_subscribed(run(script.client().subscribe_v3(&Secret::new("t"), &car, &user, &said("webhookId"))));
        assert_eq!((subscribe(), subscribe()), (Ok(()), Ok(())));
        assert!(matches!(subscribe(), Err(SmartcarError::NotPossible { .. })));
        let asked = script.asked();
        let body = asked.lines().find(|line| line.starts_with('{')).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap(), wanted);
        assert!(asked.starts_with("POST https://management.api.smartcar.com/v3/subscriptions "), "{asked}");
    }

    #[test]
    fn webhooks_are_told_by_where_they_post() {
        let script = Script::new([good(r#"{"data":[{"id":"a","attributes":{"callbackUri":"https://x/y"}},{"id":"b"},{}]}"#)]);
        let listed = run(script.client().webhooks(&Secret::new("t"))).unwrap();
        let short: Vec<_> = listed.iter().map(|webhook| (&*webhook.id, webhook.callback_uri.as_deref())).collect();
        assert_eq!(short, [("a", Some("https://x/y")), ("b", None)]);
    }
}
