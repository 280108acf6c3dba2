//! The two token endpoints.

use std::time::Duration;

use http::Method;
use serde::Deserialize;

use super::call::{Answer, Audience, Call, TOKEN, join};
use super::{Credentials, Failure, Smartcar, SmartcarError};
use crate::model::{Secret, lenient};

/// What a token endpoint hands out.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The access token.
    pub access: Secret,
    /// How long it lives: Smartcar's word if it is sane, else what is documented.
    pub expires_in: Duration,
    /// The next refresh token; `None` means that the old one stays (or that there is none, v3).
    pub refresh: Option<Secret>,
}

impl Smartcar {
    /// Exchanges an authorization code for a token set (v2). `redirect_uri` is the one sent to Connect.
    pub async fn exchange(&self, code: &Secret, redirect_uri: &str) -> Result<Granted, SmartcarError> {
        let form = [("grant_type", "authorization_code"), ("code", code.expose()), ("redirect_uri", redirect_uri)];
        self.v2_token(EXCHANGE, &form).await
    }

    /// Exchanges a refresh token for the next token set (v2). After an error that may have acted, the same
    /// refresh token still works for a minute.
    pub async fn refresh(&self, refresh_token: &Secret) -> Result<Granted, SmartcarError> {
        self.v2_token("token.refresh", &[("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())]).await
    }

    /// Asks for an application token (v3).
    pub async fn application_token(&self) -> Result<Granted, SmartcarError> {
        const ENDPOINT: &str = "token.application";
        let settings = self.settings();
        let Credentials { client_id, client_secret } =
            settings.v3.as_ref().ok_or_else(|| missing(ENDPOINT, "set smartcar.v3.client_id and smartcar.v3.client_secret"))?;
        let form = [("grant_type", "client_credentials"), ("client_id", client_id), ("client_secret", client_secret.expose())];
        let url = join(&settings.origins.iam, "/oauth2/token");
        let call = Call::new(ENDPOINT, Audience::ApplicationToken, Method::POST, url).within(TOKEN).form(&form);
        granted(&self.call(call).await?, Duration::from_secs(3600))
    }

    async fn v2_token(&self, endpoint: &'static str, form: &[(&str, &str)]) -> Result<Granted, SmartcarError> {
        let settings = self.settings();
        let Credentials { client_id, client_secret } =
            settings.v2.as_ref().ok_or_else(|| missing(endpoint, "set smartcar.v2.client_id and smartcar.v2.client_secret"))?;
        let url = join(&settings.origins.auth, "/oauth/token");
        let call = Call::new(endpoint, Audience::OwnerToken, Method::POST, url).within(TOKEN);
        granted(&self.call(call.basic(client_id, client_secret).form(form)).await?, Duration::from_secs(7200))
    }
}

fn missing(endpoint: &'static str, note: &str) -> SmartcarError {
    SmartcarError::Configuration { what: Failure { endpoint, note: Some(note.to_owned()), ..Failure::default() } }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenWire {
    #[serde(deserialize_with = "lenient::text")]
    access_token: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    refresh_token: Option<String>,
    #[serde(deserialize_with = "lenient::integer")]
    expires_in: Option<i64>,
}

fn granted(answer: &Answer, documented: Duration) -> Result<Granted, SmartcarError> {
    let wire: TokenWire = answer.read()?;
    let access = wire.access_token.filter(|token| is_token(token)).ok_or_else(|| answer.not_understood())?;
    Ok(Granted {
        access: Secret::new(access),
        expires_in: lifetime(wire.expires_in, documented),
        refresh: wire.refresh_token.filter(|token| is_token(token)).map(Secret::new),
    })
}

/// A life that is missing or over already is the documented one; none is longer than a day.
fn lifetime(seconds: Option<i64>, documented: Duration) -> Duration {
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    seconds.map_or(documented, |seconds| Duration::from_secs(seconds.min(86_400)))
}

/// Tokens are opaque, but they must pass through a header.
fn is_token(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The endpoint that alone may complain of a redirect URI.
pub(super) const EXCHANGE: &str = "token.exchange";
