//! API v3: one application token for everybody, the Smartcar user in a header.

use http::{HeaderName, Method};
use serde::Deserialize;

use super::call::{Answer, Audience, Call, READ, join, segment};
use super::{Smartcar, SmartcarError};
use crate::model::mapping;
use crate::model::reading::SignalReport;
use crate::model::vehicle::VehicleFacts;
use crate::model::wire::{SignalWire, VehicleWire};
use crate::model::{Secret, SmartcarUserId, VehicleId, lenient};

mod connections;

pub use connections::{ConnectionFilter, SmartcarConnection};

impl Smartcar {
    /// What Smartcar tells of a vehicle.
    pub async fn vehicle_v3(&self, app: &Secret, vehicle: &VehicleId) -> Result<VehicleFacts, SmartcarError> {
        let path = format!("/vehicles/{}", segment("v3.vehicle", vehicle.as_str())?);
        let answer = self.call(self.v3("v3.vehicle", Audience::Owner, Method::GET, &path, app)).await?;
        let resource: Resource<VehicleWire> = answer.read()?;
        let wire = resource.data.map_or_else(|| answer.read(), |wire| Ok(*wire))?;
        Ok(wire.facts(vehicle.clone()))
    }

    /// The latest signals of a vehicle from Smartcar's store. An empty list is a good answer: nothing has
    /// filled the store yet. If fewer come than Smartcar says there are, the next pages are asked for, and
    /// then, singly, the signals we know best.
    pub async fn signals(
        &self,
        app: &Secret,
        user: &SmartcarUserId,
        vehicle: &VehicleId,
    ) -> Result<Vec<SignalReport>, SmartcarError> {
        let path = format!("/vehicles/{}/signals", segment("v3.signals", vehicle.as_str())?);
        let mut reports: Vec<SignalReport> = Vec::new();
        let (mut query, mut total) = (String::new(), 0);
        for _ in 0..MOST_PAGES {
            let call = self.signal_call("v3.signals", &format!("{path}{query}"), app, user);
            let page = match self.call(call).await.and_then(|answer| Listing::<SignalWire>::of(&answer)) {
                Ok(page) => page,
                // What is here already is worth more than the page that is missing.
                Err(_) if !reports.is_empty() => return Ok(reports),
                Err(error) => return Err(error),
            };
            total = page.total;
            let before = reports.len();
            for report in page.data.into_iter().filter_map(SignalWire::report) {
                if reports.iter().all(|known| known.code != report.code) {
                    reports.push(report);
                }
            }
            match page.next {
                Some(next) if reports.len() > before => query = next,
                _ => break,
            }
        }
        if reports.len() < total && !reports.is_empty() {
            self.missing_signals(&path, app, user, total, &mut reports).await;
        }
        Ok(reports)
    }

    /// Takes a vehicle away from the application, by Smartcar's id of the connection.
    pub async fn disconnect_v3(&self, app: &Secret, smartcar_connection_id: &str) -> Result<(), SmartcarError> {
        let path = format!("/connections/{}", segment("v3.disconnect", smartcar_connection_id)?);
        self.call(self.v3("v3.disconnect", Audience::Application, Method::DELETE, &path, app)).await.map(|_| ())
    }

    async fn missing_signals(
        &self,
        path: &str,
        app: &Secret,
        user: &SmartcarUserId,
        total: usize,
        reports: &mut Vec<SignalReport>,
    ) {
        let known = mapping::endpoints().iter().flat_map(|endpoint| endpoint.signals).map(|signal| signal.code);
        let missing: Vec<&str> = known.filter(|code| reports.iter().all(|report| report.code != *code)).collect();
        for code in missing.into_iter().take(MOST_SINGLE) {
            if reports.len() >= total {
                return;
            }
            let call = self.signal_call("v3.signal", &format!("{path}/{code}"), app, user);
            let signal = self.call(call).await.and_then(|answer| {
                let resource: Resource<SignalWire> = answer.read()?;
                resource.data.map_or_else(|| answer.read(), |wire| Ok(*wire))
            });
            match signal {
                Ok(signal) => reports.extend(signal.report().filter(|report| report.code == code)),
                Err(SmartcarError::NotPossible { .. }) => {}
                Err(_) => return,
            }
        }
    }

    fn signal_call(&self, endpoint: &'static str, path: &str, app: &Secret, user: &SmartcarUserId) -> Call {
        let call = self.v3(endpoint, Audience::Owner, Method::GET, path, app).within(READ);
        call.header(USER, user.as_str().to_owned()).header(UNITS, "metric".to_owned())
    }

    fn v3(&self, endpoint: &'static str, audience: Audience, method: Method, path: &str, app: &Secret) -> Call {
        let url = format!("{}{path}", join(&self.settings().origins.vehicle, "/v3"));
        Call::new(endpoint, audience, method, url).bearer(app)
    }
}

/// A single resource under `data`; elsewhere it stands bare.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: serde::de::DeserializeOwned"))]
struct Resource<T> {
    #[serde(default, deserialize_with = "lenient::map")]
    data: Option<Box<T>>,
}

/// One page of a list.
#[derive(Debug)]
struct Listing<T> {
    data: Vec<T>,
    total: usize,
    /// The query of the next page. The host it names is not asked: only ours gets our token.
    next: Option<String>,
}

impl<T: serde::de::DeserializeOwned> Listing<T> {
    fn of(answer: &Answer) -> Result<Listing<T>, SmartcarError> {
        let wire: ListingWire<T> = answer.read()?;
        let next = wire.links.next.and_then(|link| link.split_once('?').map(|(_, query)| format!("?{query}")));
        Ok(Listing {
            data: wire.data.or(wire.connections).ok_or_else(|| answer.not_understood())?,
            total: wire.meta.total_count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0),
            next,
        })
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: serde::de::DeserializeOwned"))]
struct ListingWire<T> {
    #[serde(default, deserialize_with = "lenient::some_list")]
    data: Option<Vec<T>>,
    /// The name of the list in a flat body that one tutorial reads.
    #[serde(default, deserialize_with = "lenient::some_list")]
    connections: Option<Vec<T>>,
    #[serde(default, deserialize_with = "lenient::object")]
    meta: ListingMeta,
    #[serde(default, deserialize_with = "lenient::object")]
    links: Links,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListingMeta {
    #[serde(deserialize_with = "lenient::integer")]
    total_count: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Links {
    #[serde(deserialize_with = "lenient::text")]
    next: Option<String>,
}

const USER: HeaderName = HeaderName::from_static("sc-user-id");
const UNITS: HeaderName = HeaderName::from_static("sc-unit-system");

/// The end of following pages: an answer must not make us ask for ever.
const MOST_PAGES: usize = 50;

/// The most signals asked for singly: each may count as a call.
const MOST_SINGLE: usize = 10;
