//! The token endpoints. Nobody gets a token here but the one that was brought along: a client that was made for
//! Smartcar has one of Carport's where its secret, its refresh token or its code would be. For a code that is none, the
//! secret does not stand in.

use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::super::Call;
use super::super::answer::{self, Answer};
use super::super::input;
use super::super::problem::Problem;
use crate::model::api_error::ApiError;
use crate::operate::access::AccessError;
use crate::operate::audit::Refused;

/// `POST /oauth/token`
pub(in crate::web) async fn v2(call: &Call<'_>) -> Answer {
    let token = given(call, &[("authorization_code", "code"), ("refresh_token", "refresh_token")]).await?;
    answer::ok(&json!({ "access_token": token, "token_type": "Bearer", "expires_in": 7200, "refresh_token": token }))
}

/// `POST /oauth2/token`
pub(in crate::web) async fn v3(call: &Call<'_>) -> Answer {
    let token = given(call, &[("client_credentials", "")]).await?;
    answer::ok(&json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }))
}

/// The good token that came along: by the grant, or as the client's secret, in the body or in the head.
async fn given(call: &Call<'_>, grants: &[(&str, &str)]) -> Result<String, Problem> {
    let fields = fields(call)?;
    let field = |name: &str| fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let kind = field("grant_type").ok_or_else(|| refusal(400, "invalid_request", "grant_type is missing."))?;
    let Some((_, holder)) = grants.iter().find(|(grant, _)| *grant == kind) else {
        return Err(refusal(400, "unsupported_grant_type", "This grant_type is not known here."));
    };
    // A code of Smartcar's that were taken for nothing would be a car that its owner believes to be connected.
    let by_secret = *holder != "code";
    let basic = call.head.headers.get(AUTHORIZATION).and_then(|line| input::basic(line.to_str().ok()?));
    let secret = field("client_secret").or(basic.map(|(_, secret)| secret));
    for token in field(holder).into_iter().chain(secret.filter(|_| by_secret)) {
        match call.services.rooms.access.bearer(&token).await {
            Ok(_) => return Ok(token),
            Err(AccessError::Unknown) => {}
            Err(other) => return Err(other.into()),
        }
    }
    // SECURITY: tokens must not be guessed faster here than anywhere else.
    call.services.rooms.audit.refuse(Refused::Token, call.client.address());
    call.take_for_proof()?;
    Err(match *holder {
        "code" => refusal(400, "invalid_request", CODE),
        "refresh_token" => {
            refusal(400, "invalid_grant", "The refresh token must be a token of Carport (carport_...) that is good.")
        }
        _ => refusal(401, "invalid_client", "The client secret must be a token of Carport (carport_...) that is good."),
    })
}

const CODE: &str = "Invalid code: it must be a token of Carport (carport_...). A code of Smartcar's is not exchanged here: \
                    POST /api/smartcar/exchange takes it.";

/// A form, or JSON.
fn fields(call: &Call<'_>) -> Result<Vec<(String, String)>, Problem> {
    if call.body.trim_ascii_start().starts_with(b"{") {
        let body = super::body(call)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let fields = body.as_object().into_iter().flatten();
        return Ok(fields.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect());
    }
    Ok(url::form_urlencoded::parse(&call.body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
}

/// An error in OAuth's words (RFC 6749, 5.2).
fn refusal(status: u16, error: &str, description: &str) -> Problem {
    ApiError { status, ..ApiError::of("VALIDATION", Some(error)).because(description) }.into()
}
