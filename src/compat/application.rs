//! What is about the application and no vehicle: compatibility, webhooks and subscriptions, as Smartcar answers.
//!
//! It is the same for everybody, so it is kept for a while, and equal questions at the same moment are one. Smartcar is
//! asked with a permit: the application's bucket is everybody's.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::Compat;
use super::errors::of_call;
use super::kept::{DAY, Told};
use crate::model::api_error::ApiError;
use crate::model::budget::Reason;
use crate::model::reach::Reach;
use crate::model::{SmartcarUserId, VehicleId};
use crate::smartcar::{HandedOn, is_subscribed};
use crate::tokens::CallError;

impl Compat {
    /// `GET /compatibility` and its matrix.
    pub async fn compatibility(&self, path: &str, query: &str, reason: Reason) -> Result<Value, ApiError> {
        let told = async || Told::of(self.vehicles.compatibility(path, query, reason).await);
        Ok(self.kept.answer(&self.world, &format!("v2.0 {path}{query}"), DAY, told).await?.body.value())
    }

    /// Webhooks and subscriptions of the management API v3. A subscription is about a vehicle.
    pub async fn management(
        &self,
        reach: &Reach,
        method: Method,
        path: &str,
        body: Option<&Value>,
        reason: Reason,
    ) -> Result<HandedOn, ApiError> {
        if let Some(body) = body {
            let vehicle = body["data"]["attributes"]["vehicleId"].as_str();
            let vehicle = vehicle.ok_or_else(|| ApiError::parameter("vehicleId", "data.attributes.vehicleId is missing."))?;
            self.connected_v3(reach, &VehicleId::new(vehicle), body["data"]["attributes"]["userId"].as_str()).await?;
        }
        let ask = || self.vehicles.forward(&method, path, body, reason);
        if method == Method::GET {
            return self.kept.answer(&self.world, &format!("v3 {path}"), MINUTE, async || Told::of(ask().await)).await;
        }
        let answer = ask().await.map_err(|error| of_call(&error));
        self.kept.forget("v3 ");
        answer
    }

    /// Subscribes a vehicle by the management API v3, or ends its subscription.
    pub(super) async fn subscribe_v3(
        &self,
        id: &VehicleId,
        smartcar_user: &SmartcarUserId,
        webhook: &str,
        ends: bool,
        reason: Reason,
    ) -> Result<(), ApiError> {
        let done = if ends {
            self.unsubscribe_v3(id, smartcar_user, webhook, reason).await
        } else {
            let body = json!({ "data": { "attributes": { "webhookId": webhook, "userId": smartcar_user, "vehicleId": id } } });
            match self.vehicles.forward(&Method::POST, "/subscriptions", Some(&body), reason).await {
                Err(CallError::Smartcar(error)) => is_subscribed(Err(error)).map_err(|error| of_call(&error.into())),
                answer => answer.map(drop).map_err(|error| of_call(&error)),
            }
        };
        self.kept.forget("v3 ");
        done
    }

    /// v3 ends a subscription by its id, which is in its list only.
    async fn unsubscribe_v3(
        &self,
        id: &VehicleId,
        smartcar_user: &SmartcarUserId,
        webhook: &str,
        reason: Reason,
    ) -> Result<(), ApiError> {
        let filters = [("userId", smartcar_user.as_str()), ("vehicleId", id.as_str()), ("webhookId", webhook)];
        let path = url::form_urlencoded::Serializer::new("/subscriptions?".to_owned())
            .extend_pairs(filters.map(|(name, value)| (format!("filter[{name}]"), value)))
            .append_pair("page[size]", "100")
            .finish();
        let listed = self.vehicles.forward(&Method::GET, &path, None, reason).await.map_err(|error| of_call(&error))?;
        let listed = listed.body.value();
        // A filter that Smartcar does not know must not end another's subscription.
        let is_meant = |item: &&Value| {
            let is = |kind: &str, id: &str| item["relationships"][kind]["data"]["id"] == id;
            is("vehicle", id.as_str()) && is("webhook", webhook)
        };
        let meant = listed["data"].as_array().into_iter().flatten().filter(is_meant);
        let is_plain = |id: &&str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let ids: Vec<&str> = meant.filter_map(|item| item["id"].as_str()).filter(is_plain).collect();
        if ids.is_empty() {
            return Err(ApiError::parameter("webhookId", "The vehicle is not subscribed to this webhook."));
        }
        for id in ids {
            let path = format!("/subscriptions/{id}");
            self.vehicles.forward(&Method::DELETE, &path, None, reason).await.map_err(|error| of_call(&error))?;
        }
        Ok(())
    }
}

const MINUTE: Duration = Duration::from_secs(60);
