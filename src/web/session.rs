//! Who is calling, and signing in and out.
//!
//! Programs bring a bearer token, browsers a session cookie. What a cookie vouches for is only taken
//! from our own pages: by `Sec-Fetch-Site` or `Origin`, and by a token in the form that only somebody
//! who knows the cookie can make.

use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, LOCATION, ORIGIN, SET_COOKIE, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::answer::{self, Answer};
use super::client::Client;
use super::compat::Dialect;
use super::cookies::{Kind, SESSION};
use super::dashboard::{LoginPage, SignInPage, Tab};
use super::problem::Problem;
use super::router::{Auth, Bound, Policy, Route};
use super::{Call, Services, Settings, input};
use crate::model::Secret;
use crate::model::reach::Reach;
use crate::operate::access::{AccessError, Caller, Scope};
use crate::operate::audit::{Actor, Refused, local};

/// Who is calling, and by what word.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// What the caller may do and see.
    pub(super) caller: Caller,
    /// The session cookie, or what stands for it, if a browser brought that word along by itself.
    pub(super) cookie: Option<String>,
}

/// Finds out who calls; `None` is a stranger. Where Smartcar's own API is spoken, a token may also be the password of
/// Basic credentials, as its management token and its client secrets are.
pub(super) async fn identify(
    services: &Services,
    client: Client,
    route: Route,
    head: &Parts,
) -> Result<Option<Identity>, Problem> {
    let headers = &head.headers;
    if let Client::Local { uid } = client {
        let caller = Caller { scope: Scope::Admin, reach: Reach::All, actor: local(uid) };
        return Ok(Some(Identity { caller, cookie: None }));
    }
    if headers.contains_key(AUTHORIZATION) {
        let basic = || headers.get(AUTHORIZATION).and_then(|line| input::basic(line.to_str().ok()?));
        let password = Dialect::of(head.uri.path()).and_then(|_| basic()).map(|(_, password)| password);
        let known = match bearer(headers).or(password.as_deref()) {
            Some(token) => services.rooms.access.bearer(token).await,
            None => Err(AccessError::Unknown),
        };
        return match known {
            Ok(caller) => Ok(Some(Identity { caller, cookie: None })),
            Err(AccessError::Unknown) => {
                services.rooms.audit.refuse(Refused::Token, client.address());
                services.take_for_proof(route, client)?;
                Err(Problem::unknown_token())
            }
            Err(other) => Err(other.into()),
        };
    }
    of_browser(services, client, headers).await
}

/// Finds out who calls by what a browser brings along by itself.
pub(super) async fn of_browser(services: &Services, client: Client, headers: &HeaderMap) -> Result<Option<Identity>, Problem> {
    if !services.face.knows_sessions() {
        return Ok(None);
    }
    if let Some(identity) = services.forward_auth.as_ref().and_then(|auth| auth.identify(client, headers)) {
        return Ok(Some(identity));
    }
    let Some(cookie) = Kind::of(client, headers).and_then(|kind| SESSION.read(kind, headers)) else { return Ok(None) };
    match services.rooms.access.session(cookie).await {
        Ok(caller) => Ok(Some(Identity { caller, cookie: Some(cookie.to_owned()) })),
        Err(AccessError::Unknown) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// Whether this caller may take a route with this policy.
pub(super) fn admit(policy: Policy, client: Client, identity: Option<&Identity>) -> Result<(), Problem> {
    authorize(policy.auth, identity)?;
    if policy.bound == Bound::Refused && identity.is_some_and(|identity| identity.caller.reach != Reach::All) {
        return Err(Problem::forbidden("A token that is bound to a user or a vehicle may not do this."));
    }
    match policy.only_by {
        Some(command) if !client.is_local() => {
            Err(Problem::forbidden(format!("This is done on Carport's own machine only: `{command}`.")))
        }
        _ => Ok(()),
    }
}

/// Whether this caller has the scope.
fn authorize(auth: Auth, identity: Option<&Identity>) -> Result<(), Problem> {
    let scope = match auth {
        Auth::Open | Auth::Signature => return Ok(()),
        Auth::Scope(scope) | Auth::Page(scope) => scope,
    };
    match identity {
        None => Err(Problem::unauthorized()),
        Some(identity) if identity.caller.scope.covers(scope) => Ok(()),
        Some(identity) => Err(Problem::forbidden(format!(
            "This needs the scope `{}`; yours is `{}`.",
            scope.as_str(),
            identity.caller.scope.as_str()
        ))),
    }
}

/// The bearer token: one header, and of our own kind.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && token.starts_with("carport_") && token.len() <= 256).then_some(token)
}

// === Requests from other sites ===

/// Whether this request changes something.
pub(super) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Whether the browser says that our own page sent this.
pub(super) fn is_same_origin(headers: &HeaderMap, client: Client, settings: &Settings) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else { return false };
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let https = matches!(client, Client::Remote { https: true, .. });
    let own = format!("{}://{host}", if https { "https" } else { "http" });
    // A proxy that we were not told to trust ends TLS: then the configured origin is what browsers see.
    let configured = |url: &url::Url| {
        let origin_of_url = url.origin().ascii_serialization();
        origin_of_url.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
            && origin.eq_ignore_ascii_case(&origin_of_url)
    };
    origin.eq_ignore_ascii_case(&own) || configured(&settings.public_url) || settings.private_url.as_ref().is_some_and(configured)
}

/// The token in forms: whoever can make it knows the cookie already.
pub(super) fn form_token(cookie: &str) -> String {
    let mut hash = Hmac::<Sha256>::new_from_slice(cookie.as_bytes()).expect("HMAC takes keys of any length");
    hash.update(b"carport form 1");
    data_encoding::BASE32_NOPAD.encode(&hash.finalize().into_bytes()[..20]).to_ascii_lowercase()
}

/// Whether `token` is the form token of `cookie`.
pub(super) fn is_form_token(cookie: &str, token: &str) -> bool {
    form_token(cookie).as_bytes().ct_eq(token.as_bytes()).into()
}

// === Signing in and out ===

/// `GET /login?t=`: one button. Spends nothing, so previews of the link do no harm.
pub(super) async fn login_page(call: &Call<'_>) -> Answer {
    let Some(link) = call.query()?.take("t") else {
        return sign_in_page(call, StatusCode::OK, false).await;
    };
    if call.cookie_kind.is_none() {
        return Err(Problem::https_required());
    }
    if !call.services.rooms.access.sign_in_link_is_good(&link).await? {
        return Ok(answer::html(StatusCode::NOT_FOUND, LoginPage { shell: call.shell(Tab::Elsewhere), link: None }.render()));
    }
    Ok(answer::html(StatusCode::OK, LoginPage { shell: call.shell(Tab::Elsewhere), link: Some(&link) }.render()))
}

/// Where a password is asked for, if there is one.
async fn sign_in_page(call: &Call<'_>, status: StatusCode, is_wrong: bool) -> Answer {
    let is_possible = call.cookie_kind.is_some();
    let has_password = is_possible && call.services.rooms.access.has_password().await?;
    Ok(answer::html(status, SignInPage { shell: call.shell(Tab::Elsewhere), is_possible, has_password, is_wrong }.render()))
}

/// `POST /login`: spends the link, or takes the password, and opens a session.
pub(super) async fn login(call: &Call<'_>) -> Answer {
    // Otherwise another site could sign a browser in to a session that it knows.
    if !is_same_origin(&call.head.headers, call.client, &call.services.settings) {
        return Err(Problem::cross_site());
    }
    let kind = call.cookie_kind.ok_or_else(Problem::https_required)?;
    let mut form = call.form()?;
    let (link, password) = (form.take("t"), form.take("password").map(Secret::new));
    form.finish()?;
    let browser = call.head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let browser = browser.map(|text| text.chars().take(200).collect());
    let (access, audit, address) = (&call.services.rooms.access, &call.services.rooms.audit, call.client.address());
    let (session, cookie) = match (link, password) {
        // SECURITY: each try costs the client one, good or not: passwords can be guessed.
        (None, Some(password)) => {
            call.take_for_proof()?;
            match access.prove(password).await {
                Ok(proven) => {
                    call.noting.by(Actor::Password);
                    call.noting.begin().await?;
                    access.sign_in_by_password(proven, browser).await?
                }
                Err(AccessError::Unknown) => {
                    audit.refuse(Refused::Password, address);
                    return sign_in_page(call, StatusCode::FORBIDDEN, true).await;
                }
                Err(other) => return Err(other.into()),
            }
        }
        // Links cannot be guessed, and a good one must work whatever others have done from the same address.
        (link, _) => {
            let link = link.unwrap_or_default();
            let signed_in = if access.sign_in_link_is_good(&link).await? {
                call.noting.begin().await?;
                access.sign_in(&link, browser).await
            } else {
                Err(AccessError::Unknown)
            };
            match signed_in {
                Ok(signed_in) => signed_in,
                Err(AccessError::Unknown) => {
                    audit.refuse(Refused::Link, address);
                    call.take_for_proof()?;
                    let page = LoginPage { shell: call.shell(Tab::Elsewhere), link: None };
                    return Ok(answer::html(StatusCode::FORBIDDEN, page.render()));
                }
                Err(other) => return Err(other.into()),
            }
        }
    };
    call.noting.add(session.id);
    let mut response = answer::see_other("/")?;
    // The session itself may end sooner; the store knows.
    let seconds = call.services.settings.session_max.as_secs();
    if let Some(line) = SESSION.set(kind, cookie.expose(), Some(seconds)) {
        response.headers_mut().append(SET_COOKIE, line);
    }
    Ok(response)
}

/// `POST /logout`: ends the session.
pub(super) async fn logout(call: &Call<'_>) -> Answer {
    call.pressed()?;
    let id = match &call.caller()?.actor {
        Actor::Session { id } => id,
        Actor::Proxy { .. } => return Err(Problem::bad_request("Your proxy has signed you in: sign out there.")),
        _ => return Err(Problem::bad_request("Only a browser that is signed in can sign out.")),
    };
    match call.services.rooms.access.revoke_session(id).await {
        Ok(()) | Err(AccessError::Unknown) => {}
        Err(other) => return Err(other.into()),
    }
    let mut response = answer::see_other("/login")?;
    if let Some(line) = call.cookie_kind.and_then(|kind| SESSION.clear(kind)) {
        response.headers_mut().append(SET_COOKIE, line);
    }
    Ok(response)
}

/// A browser that is not signed in asked for a private page.
pub(super) fn show_the_way() -> http::Response<super::Body> {
    let mut response = answer::empty(StatusCode::SEE_OTHER);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/login"));
    response
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn same_origin(https: bool, pairs: &[(&'static str, &'static str)]) -> bool {
        let settings = Settings { public_url: "https://cars.example".parse().unwrap(), ..Settings::default() };
        let client = Client::Remote { address: "192.168.1.2".parse().unwrap(), https, loopback: false, by_proxy: false };
        is_same_origin(&headers(pairs), client, &settings)
    }

    #[test]
    fn the_browsers_own_word_goes_first() {
        assert!(same_origin(true, &[("sec-fetch-site", "same-origin")]));
        assert!(same_origin(true, &[("sec-fetch-site", "none")]));
        for site in ["same-site", "cross-site", ""] {
            let pairs = [("sec-fetch-site", site), ("host", "cars.example"), ("origin", "https://cars.example")];
            assert!(!same_origin(true, &pairs), "{site}");
        }
    }

    #[test]
    fn else_the_origin_must_be_our_own() {
        let origin = |https, host, origin| same_origin(https, &[("host", host), ("origin", origin)]);
        assert!(origin(false, "192.168.1.5:8000", "http://192.168.1.5:8000"));
        assert!(origin(true, "carport.lan", "https://carport.lan"));
        assert!(origin(false, "cars.example", "https://cars.example"), "TLS ends at a proxy that is not named");
        assert!(!origin(true, "carport.lan", "http://carport.lan"));
        assert!(!origin(false, "192.168.1.5:8000", "http://192.168.1.5:9000"));
        assert!(!origin(false, "192.168.1.5:8000", "https://cars.example"));
        assert!(!origin(false, "192.168.1.5:8000", "http://evil.example"));
        assert!(!origin(false, "192.168.1.5:8000", "null"));
        assert!(!same_origin(false, &[("host", "192.168.1.5:8000")]));
    }

    #[test]
    fn a_form_token_belongs_to_one_cookie() {
        assert!(is_form_token("one", &form_token("one")));
        assert!(!is_form_token("two", &form_token("one")));
        assert!(!is_form_token("one", ""));
    }

    #[test]
    fn a_bearer_token_is_of_our_kind() {
        assert_eq!(bearer(&headers(&[("authorization", "Bearer carport_x")])), Some("carport_x"));
        assert_eq!(bearer(&headers(&[("authorization", "bearer  carport_x ")])), Some("carport_x"));
        for line in ["Bearer x", "Basic carport_x", "carport_x", "Bearer", ""] {
            assert_eq!(bearer(&headers(&[("authorization", line)])), None, "{line}");
        }
        assert_eq!(bearer(&headers(&[("authorization", "Bearer carport_x"), ("authorization", "Bearer carport_y")])), None);
    }

    #[test]
    fn scopes_open_doors() {
        let identity = |scope| Identity { caller: Caller { scope, reach: Reach::All, actor: local(0) }, cookie: None };
        assert!(authorize(Auth::Open, None).is_ok());
        assert_eq!(authorize(Auth::Page(Scope::Read), None).unwrap_err().code(), "unauthorized");
        assert_eq!(authorize(Auth::Scope(Scope::Admin), Some(&identity(Scope::Read))).unwrap_err().code(), "forbidden");
        assert!(authorize(Auth::Scope(Scope::Metrics), Some(&identity(Scope::Read))).is_ok());
        assert!(authorize(Auth::Scope(Scope::Read), Some(&identity(Scope::Metrics))).is_err());
        assert!(authorize(Auth::Scope(Scope::Read), Some(&identity(Scope::Connect))).is_err());
    }
}
