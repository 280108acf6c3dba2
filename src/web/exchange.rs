//! `POST /api/smartcar/exchange`: an application's back end hands over what its front end received.

use http::StatusCode;
use serde::Deserialize;

use super::answer::{self, Answer};
use super::problem::Problem;
use super::{Call, connect};
use crate::connect::{CallbackOutcome, Exchange};
use crate::model::reach::Reach;
use crate::model::{AppUserId, Secret};
use crate::operate::access::Scope;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    user: Option<String>,
    code: Option<Secret>,
    user_id: Option<String>,
    vehicle_id: Option<String>,
    virtual_key_url: Option<String>,
    redirect_uri: Option<String>,
    state: Option<Secret>,
}

/// Completes a connection. The answer never holds a token.
pub(super) async fn exchange(call: &Call<'_>) -> Answer {
    let request: Request = call.json()?;
    if request.code.is_none() && request.user_id.is_none() && request.vehicle_id.is_none() {
        return Err(Problem::bad_request("One of `code`, `user_id` and `vehicle_id` is needed."));
    }
    let caller = call.caller()?;
    let user = bound(&caller.reach, request.user)?;
    let vouched = caller.scope.covers(Scope::Control);
    if !vouched && request.state.is_none() {
        return Err(Problem::bad_request("A token with the scope `connect` must bring the `state` from POST /api/v1/connect."));
    }
    let outcome = CallbackOutcome::Agreed {
        code: request.code,
        user_id: request.user_id,
        vehicle_id: request.vehicle_id,
        virtual_key_url: request.virtual_key_url.filter(|url| connect::is_link(url)),
    };
    let exchange = Exchange { user, state: request.state, outcome, redirect_uri: request.redirect_uri, vouched };
    let linked = call.services.rooms.connect.exchange(exchange).await?;
    connect::note(call, &linked);
    answer::json(StatusCode::CREATED, &linked)
}

/// Whom the request is for: a token of one user speaks for that user only.
pub(super) fn bound(reach: &Reach, user: Option<String>) -> Result<Option<AppUserId>, Problem> {
    let user = user.map(AppUserId::new);
    match (reach, user) {
        (Reach::All, user) => Ok(user),
        (Reach::User(own), None) => Ok(Some(own.clone())),
        (Reach::User(own), Some(user)) if *own == user => Ok(Some(user)),
        (Reach::User(_), Some(_)) => Err(Problem::new(StatusCode::NOT_FOUND, "unknown_user", "There is no user of that id.")),
        (Reach::Vehicle(_), _) => Err(Problem::forbidden("A token of one vehicle cannot connect others.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_speaks_for_its_own_user() {
        let anna = || Some("anna".to_owned());
        let own = Reach::User(AppUserId::new("anna"));
        assert_eq!(bound(&Reach::All, anna()), Ok(Some(AppUserId::new("anna"))));
        assert_eq!(bound(&Reach::All, None), Ok(None));
        assert_eq!(bound(&own, None), Ok(Some(AppUserId::new("anna"))));
        assert_eq!(bound(&own, anna()), Ok(Some(AppUserId::new("anna"))));
        assert_eq!(bound(&own, Some("ben".to_owned())).unwrap_err().status(), 404);
        assert_eq!(bound(&Reach::Vehicle(crate::model::VehicleId::new("v")), anna()).unwrap_err().status(), 403);
    }
}
