//! The two token endpoints.

use std::time::Duration;

use http::Method;
use serde::Deserialize;

use super::call::{Answer, Audience, Call, TOKEN, join};
use super::{Credentials, Failure, Smartcar, SmartcarError};
use crate::model::token::Generation;
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
        self.v2_token(EXCHANGE, &form, TOKEN).await
    }

    /// Exchanges a refresh token for the next token set (v2), and waits for it as long as `patience`. After an error
    /// that may have acted, the same refresh token still works for a minute.
    pub async fn refresh(&self, refresh_token: &Secret, patience: Duration) -> Result<Granted, SmartcarError> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())];
        self.v2_token(REFRESH, &form, patience).await
    }

    /// Asks for an application token (v3).
    pub async fn application_token(&self) -> Result<Granted, SmartcarError> {
        const ENDPOINT: &str = "token.application";
        let settings = self.settings();
        let Credentials { client_id, client_secret } = self
            .credentials(Generation::V3)
            .ok_or_else(|| missing(ENDPOINT, "set smartcar.v3.client_id and smartcar.v3.client_secret"))?;
        let form = [("grant_type", "client_credentials"), ("client_id", &client_id), ("client_secret", client_secret.expose())];
        let url = join(&settings.origins.iam, "/oauth2/token");
        let call = Call::new(ENDPOINT, Audience::ApplicationToken, Method::POST, url).within(TOKEN).form(&form);
        granted(&self.call(call).await?, Duration::from_secs(3600))
    }

    async fn v2_token(
        &self,
        endpoint: &'static str,
        form: &[(&str, &str)],
        patience: Duration,
    ) -> Result<Granted, SmartcarError> {
        let settings = self.settings();
        let Credentials { client_id, client_secret } = self
            .credentials(Generation::V2)
            .ok_or_else(|| missing(endpoint, "set smartcar.v2.client_id and smartcar.v2.client_secret"))?;
        let url = join(&settings.origins.auth, "/oauth/token");
        let call = Call::new(endpoint, Audience::OwnerToken, Method::POST, url).within(patience);
        granted(&self.call(call.basic(&client_id, &client_secret).form(form)).await?, Duration::from_secs(7200))
    }
}

fn missing(endpoint: &'static str, note: &str) -> SmartcarError {
    SmartcarError::Configuration { what: Failure { endpoint, note: Some(note.into()), ..Failure::default() } }
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

/// The endpoint that renews an owner's tokens.
pub const REFRESH: &str = "token.refresh";

/// The endpoint that alone may complain of a redirect URI.
pub(super) const EXCHANGE: &str = "token.exchange";

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "as expect-test writes them")]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::smartcar::script::{Script, answer, good, run};
    use crate::world::TransportError;

    const GRANTED: &str = include_str!("../../tests/fixtures/oauth-token-response.json");

    fn refresh(script: &Script) -> Result<Granted, SmartcarError> {
        run(script.client().refresh(&Secret::new("old+refresh"), TOKEN))
    }

    #[test]
    fn the_three_grants() {
        let script =
            Script::new([good(GRANTED), good(GRANTED), good(include_str!("../../tests/fixtures/iam-token-response.json"))]);
        let client = script.client();
        let granted = run(client.exchange(&Secret::new("a code"), "http://localhost:8000/cb?x=1")).unwrap();
        assert_eq!(granted.access.expose(), "aaaaaaaa-0000-4000-8000-000000000001");
        assert_eq!(granted.refresh.unwrap().expose(), "bbbbbbbb-0000-4000-8000-000000000002");
        assert_eq!(granted.expires_in, Duration::from_secs(7200));
        run(client.refresh(&Secret::new("old+refresh"), TOKEN)).unwrap();
        let granted = run(client.application_token()).unwrap();
        assert!(granted.refresh.is_none());
        assert_eq!(granted.expires_in, Duration::from_secs(3600));
        expect![[r#"
            POST https://auth.smartcar.com/oauth/token within 20 s
            accept: application/json
            authorization: Basic YXBwOmEgc2VjcmV0
            content-type: application/x-www-form-urlencoded
            grant_type=authorization_code&code=a+code&redirect_uri=http%3A%2F%2Flocalhost%3A8000%2Fcb%3Fx%3D1
            POST https://auth.smartcar.com/oauth/token within 20 s
            accept: application/json
            authorization: Basic YXBwOmEgc2VjcmV0
            content-type: application/x-www-form-urlencoded
            grant_type=refresh_token&refresh_token=old%2Brefresh
            POST https://iam.smartcar.com/oauth2/token within 20 s
            accept: application/json
            content-type: application/x-www-form-urlencoded
            grant_type=client_credentials&client_id=client_app&client_secret=a+secret
        "#]]
        .assert_eq(&script.asked());
    }

    #[test]
    fn a_changed_secret_is_used_from_then_on() {
        let script = Script::new([good(GRANTED), good(GRANTED)]);
        let client = script.client();
        assert!(!client.reread(Generation::V2), "nothing to read");
        let client = client
            .rereading(std::sync::Arc::new(|generation| (generation == Generation::V2).then(|| Secret::new("another secret"))));
        run(client.refresh(&Secret::new("r"), TOKEN)).unwrap();
        assert!(client.reread(Generation::V2) && !client.reread(Generation::V2) && !client.reread(Generation::V3));
        run(client.clone().refresh(&Secret::new("r"), TOKEN)).unwrap();
        let (before, after) = ("YXBwOmEgc2VjcmV0", "YXBwOmFub3RoZXIgc2VjcmV0");
        let asked = script.asked();
        assert!(asked.find(before).is_some_and(|first| asked.find(after).is_some_and(|second| first < second)), "{asked}");
    }

    #[test]
    fn lives_are_sane() {
        for (said, seconds) in [
            ("7200", 7200),
            (r#""600""#, 600),
            ("600.0", 600),
            ("1", 1),
            ("0", 7200),
            ("-5", 7200),
            ("1e18", 7200),
            ("1000000000000000000", 86_400),
            ("null", 7200),
            (r#""soon""#, 7200),
            ("[]", 7200),
        ] {
            let granted = refresh(&Script::new([good(&format!(r#"{{"access_token":"a","expires_in":{said}}}"#))])).unwrap();
            assert_eq!((granted.expires_in.as_secs(), granted.refresh.is_none()), (seconds, true), "{said}");
        }
    }

    #[test]
    fn no_token_is_no_answer() {
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"access_token":null}"#,
            r#"{"access_token":""}"#,
            r#"{"access_token":"a\nb"}"#,
            &GRANTED[..60],
            r#"{"error":"invalid_grant"}"#,
        ] {
            let error = refresh(&Script::new([good(body)])).unwrap_err();
            assert!(matches!(&error, SmartcarError::Later { what, .. } if what.may_have_acted), "{body} {error:?}");
        }
    }

    #[test]
    fn a_token_dies_by_the_words_of_oauth_only() {
        let invalid_client = include_str!("../../tests/fixtures/iam-error-invalid-client.json");
        let table = [
            (400, include_str!("../../tests/fixtures/oauth-error-invalid-grant.json"), "Rejected"),
            (401, r#"{"error":"invalid_grant"}"#, "Rejected"),
            (400, r#"{"error":"invalid_request","error_description":"Invalid code: x. Redirect the user."}"#, "Rejected"),
            (401, invalid_client, "Configuration"),
            (400, invalid_client, "Configuration"),
            (400, r#"{"error":"unauthorized_client"}"#, "Configuration"),
            (401, "", "Configuration"),
            (430, "", "Configuration"),
            (302, "", "Configuration"),
            (400, r#"{"error":"something_new"}"#, "Later"),
            (400, "<html>", "Later"),
            (403, "", "Later"),
            (404, "", "Later"),
            (429, r#"{"error":"invalid_grant"}"#, "Later"),
            (429, "", "Later"),
            (500, r#"{"error":"invalid_grant"}"#, "Later"),
            (503, "", "Later"),
        ];
        for (status, body, meaning) in table {
            let error = refresh(&Script::new([answer(status, &[], body)])).unwrap_err();
            assert!(format!("{error:?}").starts_with(meaning), "{status} {body} {error:?}");
        }
    }

    #[test]
    fn only_the_exchange_may_complain_of_the_redirect_uri() {
        let body = r#"{"error":"invalid_grant","error_description":"redirect_uri does not match"}"#;
        let script = Script::new([answer(400, &[], body), answer(400, &[], body)]);
        let error = run(script.client().exchange(&Secret::new("code"), "http://localhost")).unwrap_err();
        assert!(matches!(error, SmartcarError::Configuration { .. }));
        assert!(matches!(refresh(&script).unwrap_err(), SmartcarError::Rejected { .. }));
    }

    #[test]
    fn an_application_has_no_token_to_lose() {
        for body in [r#"{"error":"invalid_grant"}"#, r#"{"error":"invalid_request"}"#, r#"{"error":"invalid_client"}"#] {
            let error = run(Script::new([answer(400, &[], body)]).client().application_token()).unwrap_err();
            assert!(matches!(error, SmartcarError::Configuration { .. }), "{body}");
        }
    }

    #[test]
    fn silence_may_have_acted_unless_nothing_was_sent() {
        let failures = [
            (TransportError::Unreachable("no route".to_owned()), false),
            (TransportError::Lost("reset".to_owned()), true),
            (TransportError::TooSlow(TOKEN), true),
            (TransportError::TooLarge, true),
        ];
        for (failure, acted) in failures {
            let error = refresh(&Script::new([Err(failure)])).unwrap_err();
            assert!(matches!(&error, SmartcarError::Later { after: None, what } if what.may_have_acted == acted), "{error:?}");
        }
        let expired = TransportError::Unreachable("invalid peer certificate: Expired".to_owned());
        assert!(matches!(refresh(&Script::new([Err(expired)])).unwrap_err(), SmartcarError::Configuration { .. }));
    }

    #[test]
    fn without_credentials_nothing_is_sent() {
        let script = Script::new([]);
        let client = Smartcar::new(script.transport(), crate::smartcar::Settings::default());
        for error in [run(client.refresh(&Secret::new("r"), TOKEN)).unwrap_err(), run(client.application_token()).unwrap_err()] {
            assert!(matches!(error, SmartcarError::Configuration { .. }));
        }
    }
}
