//! What of the requests goes into the audit log: all that may have changed something, whatever way it ended.
//!
//! Not what a client was refused (status 4xx: nothing has changed), deliveries, or reads, fresh ones too. Of commands
//! also what was refused because of the car: its owner wants to know who tried.

use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use super::Call;
use super::router::{Auth, Route};
use crate::operate::access::Scope;
use crate::operate::audit::{Actor, Audit, Done, Ring};

/// What a handler adds to the entry about its request. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched(Arc<Mutex<Added>>);

#[derive(Debug, Default)]
struct Added {
    ids: Vec<String>,
    actor: Option<Actor>,
}

impl Touched {
    /// Adds the id of something that the path does not name.
    pub(super) fn add(&self, id: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ids.push(id.into());
    }

    /// Says who it is that came without a word in the head.
    pub(super) fn by(&self, actor: Actor) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).actor = Some(actor);
    }

    fn take(&self) -> Added {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where a request on this route is noted. A new route is, unless it is read only.
fn ring(route: Route) -> Option<Ring> {
    match route {
        Route::Webhook | Route::VehicleRefresh | Route::EventsTicket | Route::V2Batch | Route::V2Token | Route::V3Token => None,
        Route::Callback => Some(Ring::Use),
        _ if route.name().starts_with("GET ") => None,
        _ => match route.policy().auth {
            Auth::Open | Auth::Scope(Scope::Admin) | Auth::Page(_) => Some(Ring::Administration),
            Auth::Scope(_) => Some(Ring::Use),
        },
    }
}

/// A request under way. A client that hangs up in the middle of it is noted too.
pub(super) struct Noting {
    audit: Audit,
    entry: Option<(Ring, Done)>,
    touched: Touched,
    is_command: bool,
}

impl Noting {
    /// Begins before the handler does.
    pub(super) fn begin(route: Route, call: &Call<'_>) -> Noting {
        let actor = call.identity.map_or(Actor::Link, |identity| identity.caller.actor.clone());
        let (address, ids) = (call.client.address(), call.named.clone());
        let done = |ring| (ring, Done { actor, address, action: route.name(), ids, status: None });
        Noting {
            audit: call.services.audit.clone(),
            entry: ring(route).map(done),
            touched: call.touched.clone(),
            is_command: route == Route::CommandRun,
        }
    }

    /// Ends with the status of the answer.
    pub(super) async fn end(mut self, status: StatusCode) {
        let because_of_the_car = [StatusCode::FORBIDDEN, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS];
        let refused = self.is_command && because_of_the_car.contains(&status);
        match self.take() {
            Some((ring, done)) if !status.is_client_error() || refused => {
                self.audit.note(ring, Done { status: Some(status.as_u16()), ..done }).await;
            }
            _ => {}
        }
    }

    fn take(&mut self) -> Option<(Ring, Done)> {
        let (ring, mut done) = self.entry.take()?;
        let Added { ids, actor } = self.touched.take();
        done.ids.extend(ids);
        done.actor = actor.unwrap_or(done.actor);
        Some((ring, done))
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        let entry = self.take();
        if let (Some((ring, done)), Ok(runtime)) = (entry, tokio::runtime::Handle::try_current()) {
            let audit = self.audit.clone();
            runtime.spawn(async move { audit.note(ring, done).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_deliveries_are_not_noted() {
        for route in [Route::Webhook, Route::VehicleRefresh, Route::Users, Route::CarsPage, Route::LoginPage] {
            assert_eq!(ring(route), None, "{}", route.name());
        }
        for route in [Route::UserAdd, Route::TokenRevoke, Route::Login, Route::Logout, Route::CarRename] {
            assert_eq!(ring(route), Some(Ring::Administration), "{}", route.name());
        }
        for route in [Route::Invite, Route::Exchange, Route::Callback] {
            assert_eq!(ring(route), Some(Ring::Use), "{}", route.name());
        }
    }
}
