//! What a listener shows: everything, what the world needs, or only the way to TLS.

use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use super::answer::{self, Answer};
use super::problem::Problem;
use super::router::{Route, Shown};
use super::{Settings, client};
use crate::tls::Tls;

/// What a listener shows.
#[derive(Clone, Debug, Default)]
pub enum Face {
    /// Everything.
    #[default]
    Whole,
    /// Only what Smartcar and owners need, and perhaps programs.
    Public {
        /// The API too. Sessions of browsers do not count here.
        api: bool,
    },
    /// The way to https, and the proof for whoever issues the certificate.
    Way(Tls),
}

impl Face {
    /// Whether a route is there at all.
    pub(super) fn shows(&self, route: Route) -> bool {
        match self {
            Face::Whole => true,
            Face::Way(_) => false,
            Face::Public { api } => match route.policy().shown {
                Shown::Everywhere => true,
                Shown::Api => *api,
                Shown::House => false,
            },
        }
    }

    /// The certificate whose proof is found here.
    pub(super) fn way_to(&self) -> Option<&Tls> {
        match self {
            Face::Way(tls) => Some(tls),
            Face::Whole | Face::Public { .. } => None,
        }
    }

    /// Whether browsers that are signed in count as that.
    pub(super) fn knows_sessions(&self) -> bool {
        matches!(self, Face::Whole)
    }
}

/// The way to https. Nothing is taken here: whoever sent more than a question has sent it in the clear, and is not
/// asked to send it once more.
pub(super) fn way(tls: Option<&Tls>, head: &Parts, settings: &Settings) -> Answer {
    let path = head.uri.path();
    if let Some(token) = path.strip_prefix("/.well-known/acme-challenge/") {
        let proof = tls.and_then(|tls| tls.proof(token)).ok_or_else(Problem::not_found)?;
        return Ok(answer::text(StatusCode::OK, "application/octet-stream", proof));
    }
    let is_webhook = path.trim_end_matches('/') == settings.webhook_path.trim_end_matches('/');
    if is_webhook || !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Problem::https_only());
    }
    let mut there = origin(&client::host(&head.headers, &head.uri)?, settings);
    there.set_path(path);
    there.set_query(head.uri.query());
    let mut response = answer::empty(StatusCode::PERMANENT_REDIRECT);
    response.headers_mut().insert(LOCATION, HeaderValue::try_from(there.as_str()).map_err(|_| Problem::not_found())?);
    Ok(response)
}

/// Where https is spoken under a host name that we answer to.
fn origin(host: &str, settings: &Settings) -> Url {
    let mut urls = [&settings.public_url].into_iter().chain(&settings.private_url).filter(|url| url.scheme() == "https");
    let known = urls.find(|url| url.host_str().is_some_and(|own| client::is_same_host(own, host)));
    let mut there = known.unwrap_or(&settings.public_url).clone();
    // Of a URL with a host, each of these can be changed.
    if known.is_none() {
        let _ = there.set_host(Some(host));
    }
    let _ = there.set_scheme("https");
    there
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::super::router::TABLE;
    use super::*;

    fn led(method: Method, host: &str, path: &str) -> Result<String, &'static str> {
        let settings = Settings {
            public_url: Url::parse("https://cars.example.org").unwrap(),
            private_url: Some(Url::parse("https://pi.local:8443").unwrap()),
            ..Settings::default()
        };
        let (head, ()) = Request::builder().method(method).uri(path).header("host", host).body(()).unwrap().into_parts();
        let answer = way(None, &head, &settings).map_err(|problem| problem.code())?;
        assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
        Ok(answer.headers()[LOCATION].to_str().unwrap().to_owned())
    }

    #[test]
    fn a_question_is_led_to_https() {
        let get = |host, path| led(Method::GET, host, path).unwrap();
        assert_eq!(get("cars.example.org", "/"), "https://cars.example.org/");
        assert_eq!(get("cars.example.org:80", "/connect/a?b=c&d"), "https://cars.example.org/connect/a?b=c&d");
        assert_eq!(get("PI.local", "/login"), "https://pi.local:8443/login");
        assert_eq!(get("192.168.1.5", "/login"), "https://192.168.1.5/login");
        assert_eq!(get("cars.example.org", "//evil.example/x"), "https://cars.example.org//evil.example/x");
        assert_eq!(led(Method::HEAD, "cars.example.org", "/x").unwrap(), "https://cars.example.org/x");
    }

    #[test]
    fn what_was_sent_in_the_clear_is_not_asked_for_again() {
        for (method, path) in [
            (Method::POST, "/login"),
            (Method::POST, "/api/webhooks/smartcar"),
            (Method::GET, "/api/webhooks/smartcar/"),
            (Method::DELETE, "/api/v1/users/1"),
        ] {
            assert_eq!(led(method, "cars.example.org", path), Err("https_required"), "{path}");
        }
    }

    #[test]
    fn the_public_face_has_no_pages_and_no_api() {
        let shown = |face: &Face| -> Vec<&str> {
            TABLE.iter().map(|(_, _, route)| *route).filter(|route| face.shows(*route)).map(Route::name).collect()
        };
        let public = shown(&Face::Public { api: false });
        expect_test::expect![[r"
            GET /healthz
            GET /readyz
            GET /assets/{name}
            GET /connect/{invite}
            GET /connect/{invite}/done
            GET /api/smartcar/callback
            POST /api/webhooks/smartcar
            POST /api/smartcar/exchange"]]
        .assert_eq(&public.join("\n"));
        let with_api = shown(&Face::Public { api: true });
        let is_api = |name: &str| {
            [" /api/v1/", " /openapi.json", " /v2.0/", " /v3/", " /oauth/", " /oauth2/"].iter().any(|path| name.contains(path))
        };
        assert!(with_api.iter().all(|name| public.contains(name) || is_api(name)));
        assert!(with_api.contains(&"GET /v2.0/user") && with_api.contains(&"POST /oauth/token"));
        assert!(with_api.contains(&"POST /api/v1/tokens") && !with_api.contains(&"GET /metrics"));
    }
}
