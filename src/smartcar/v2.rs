//! API v2.0: one access token for each owner, one endpoint for each kind of data.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::call::{Audience, Call, READ, join, segment};
use super::{Smartcar, SmartcarError};
use crate::model::mapping::{self, Provenance};
use crate::model::reading::SignalReport;
use crate::model::vehicle::VehicleFacts;
use crate::model::wire::{Part, VehicleWire};
use crate::model::{Secret, SmartcarUserId, VehicleId, lenient};

impl Smartcar {
    /// The Smartcar user a token belongs to.
    pub async fn user(&self, access: &Secret) -> Result<SmartcarUserId, SmartcarError> {
        let answer = self.call(self.v2("v2.user", Method::GET, "/user", access)).await?;
        let id = answer.read::<VehicleWire>()?.id.ok_or_else(|| answer.not_understood())?;
        Ok(SmartcarUserId::new(id))
    }

    /// All vehicles a token opens.
    pub async fn vehicles(&self, access: &Secret) -> Result<Vec<VehicleId>, SmartcarError> {
        let texts = self.pages("v2.vehicles", "/vehicles", access).await?;
        Ok(texts.into_iter().map(VehicleId::new).collect())
    }

    /// What Smartcar tells of a vehicle: permissions, then attributes and the VIN as far as they are
    /// granted. A part that fails stays `None`; the first failure is returned if nothing came at all, or
    /// if the token was not accepted.
    pub async fn vehicle(&self, access: &Secret, vehicle: &VehicleId) -> Result<VehicleFacts, SmartcarError> {
        let path = format!("/vehicles/{}", segment("v2.attributes", vehicle.as_str())?);
        let permissions = tolerate(self.pages("v2.permissions", &format!("{path}/permissions"), access).await)?;
        let granted = |permission: &str| permissions.as_ref().ok().is_none_or(|list| list.iter().any(|each| each == permission));

        let attributes = if granted("read_vehicle_info") {
            tolerate(self.attributes("v2.attributes", &path, access).await)?
        } else {
            Ok(VehicleWire::default())
        };
        let vin = if granted("read_vin") {
            tolerate(self.attributes("v2.vin", &format!("{path}/vin"), access).await)?
        } else {
            Ok(VehicleWire::default())
        };
        if let (Err(error), Err(_), Err(_)) = (&permissions, &attributes, &vin) {
            return Err(error.clone());
        }
        let vin = vin.unwrap_or_default().facts(vehicle.clone()).vin;
        let facts = attributes.unwrap_or_default().facts(vehicle.clone());
        Ok(VehicleFacts { vin: vin.or(facts.vin), permissions: permissions.ok(), ..facts })
    }

    /// Reads, in one batch, every endpoint of the mapping table that `permissions` open; all of them if
    /// the permissions are not known. Asks nothing if none is open.
    pub async fn read(
        &self,
        access: &Secret,
        vehicle: &VehicleId,
        permissions: Option<&[String]>,
    ) -> Result<Vec<SignalReport>, SmartcarError> {
        let paths = wanted(permissions);
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let path = format!("/vehicles/{}/batch", segment("v2.batch", vehicle.as_str())?);
        let requests: Vec<_> = paths.iter().map(|path| json!({ "path": path })).collect();
        let call = self.v2("v2.batch", Method::POST, &path, access).within(READ).json(&json!({ "requests": requests }));
        let answer = self.call(call).await?;
        let parts = answer.read::<Batch>()?.responses.ok_or_else(|| answer.not_understood())?;
        let outer = Provenance::from_headers(|name| answer.header(name), Provenance::default());
        Ok(parts.iter().flat_map(|part| part.reports(outer)).collect())
    }

    /// Takes the vehicle away from the application. The token set loses it; others are as before.
    pub async fn disconnect(&self, access: &Secret, vehicle: &VehicleId) -> Result<(), SmartcarError> {
        let path = format!("/vehicles/{}/application", segment("v2.disconnect", vehicle.as_str())?);
        self.call(self.v2("v2.disconnect", Method::DELETE, &path, access)).await.map(|_| ())
    }

    async fn attributes(&self, endpoint: &'static str, path: &str, access: &Secret) -> Result<VehicleWire, SmartcarError> {
        self.call(self.v2(endpoint, Method::GET, path, access)).await?.read()
    }

    /// Every page of a list of texts. Ends when everything that was announced is there, and also when a
    /// page brings nothing new: an answer that ignores `offset` must not go on for ever.
    async fn pages(&self, endpoint: &'static str, path: &str, access: &Secret) -> Result<Vec<String>, SmartcarError> {
        let mut all: Vec<String> = Vec::new();
        for _ in 0..MOST_PAGES {
            let path = format!("{path}?limit={PAGE}&offset={}", all.len());
            let answer = self.call(self.v2(endpoint, Method::GET, &path, access)).await?;
            let page: Page = answer.read()?;
            let before = all.len();
            for text in page.vehicles.or(page.permissions).ok_or_else(|| answer.not_understood())? {
                if !all.contains(&text) {
                    all.push(text);
                }
            }
            let announced = page.paging.count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
            if all.len() == before || all.len() >= announced {
                break;
            }
        }
        Ok(all)
    }

    fn v2(&self, endpoint: &'static str, method: Method, path: &str, access: &Secret) -> Call {
        let url = format!("{}{path}", join(&self.settings().origins.api, "/v2.0"));
        Call::new(endpoint, Audience::Owner, method, url).bearer(access).header(UNITS, "metric".to_owned())
    }
}

/// Lets a failure wait, unless the token was not accepted: then the caller must refresh it and ask again.
fn tolerate<T>(result: Result<T, SmartcarError>) -> Result<Result<T, SmartcarError>, SmartcarError> {
    match result {
        Err(error @ SmartcarError::Unauthorized { .. }) => Err(error),
        other => Ok(other),
    }
}

/// The endpoints to read: those that are open, but only one for each set of signals.
fn wanted(permissions: Option<&[String]>) -> Vec<&'static str> {
    let mut codes: Vec<&str> = Vec::new();
    let mut paths = Vec::new();
    for endpoint in mapping::endpoints() {
        let open = permissions.is_none_or(|list| list.iter().any(|each| each == endpoint.permission));
        if open && endpoint.signals.iter().any(|signal| !codes.contains(&signal.code)) {
            codes.extend(endpoint.signals.iter().map(|signal| signal.code));
            paths.push(endpoint.path);
        }
    }
    paths
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Page {
    #[serde(deserialize_with = "lenient::texts")]
    vehicles: Option<Vec<String>>,
    #[serde(deserialize_with = "lenient::texts")]
    permissions: Option<Vec<String>>,
    #[serde(deserialize_with = "lenient::object")]
    paging: Paging,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Paging {
    #[serde(deserialize_with = "lenient::integer")]
    count: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Batch {
    #[serde(deserialize_with = "lenient::some_list")]
    responses: Option<Vec<Part>>,
}

const UNITS: http::HeaderName = http::HeaderName::from_static("sc-unit-system");

/// The longest page Smartcar gives.
const PAGE: usize = 50;

/// No owner has so many cars; what is beyond is given up.
const MOST_PAGES: usize = 20;
