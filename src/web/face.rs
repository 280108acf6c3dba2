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
    /// The way to https at this very port: for whoever speaks plain HTTP where TLS is spoken.
    WayHere,
}

impl Face {
    /// Whether a route is there at all.
    pub(super) fn shows(&self, route: Route) -> bool {
        match self {
            Face::Whole => true,
            Face::Way(_) | Face::WayHere => false,
            Face::Public { api } => match route.policy().shown {
                Shown::Everywhere => true,
                Shown::Api => *api,
                Shown::House => false,
            },
        }
    }

    /// Whether nothing is here but the way to https.
    pub(super) fn is_way(&self) -> bool {
        matches!(self, Face::Way(_) | Face::WayHere)
    }

    /// Whether browsers that are signed in count as that.
    pub(super) fn knows_sessions(&self) -> bool {
        matches!(self, Face::Whole)
    }
}

/// The way to https, or a proof for whoever issues the certificate.
pub(super) fn way(face: &Face, head: &Parts, settings: &Settings) -> Answer {
    if let (Face::Way(tls), Some(token)) = (face, head.uri.path().strip_prefix("/.well-known/acme-challenge/")) {
        let proof = tls.proof(token).ok_or_else(Problem::not_found)?;
        return Ok(answer::text(StatusCode::OK, "application/octet-stream", proof));
    }
    lead(head, settings, matches!(face, Face::WayHere))
}

/// Leads to https, at the same port if it is spoken `here`. Nothing is taken: whoever sent more than a question has sent
/// it in the clear, and is not asked to send it once more.
fn lead(head: &Parts, settings: &Settings, here: bool) -> Answer {
    let path = head.uri.path();
    let is_webhook = path.trim_end_matches('/') == settings.webhook_path.trim_end_matches('/');
    if is_webhook || !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Problem::https_only());
    }
    let (host, port) = client::host_and_port(&head.headers, &head.uri)?;
    let mut there = origin(&host, settings);
    if here && port.is_some() {
        let _ = there.set_port(port);
    }
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
        let _ = match host.parse() {
            Ok(address) => there.set_ip_host(address),
            Err(_) => there.set_host(Some(host)).map_err(drop),
        };
    }
    let _ = there.set_scheme("https");
    there
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::super::router::TABLE;
    use super::*;

    fn led(method: Method, host: &str, path: &str, here: bool) -> Result<String, &'static str> {
        let settings = Settings {
            public_url: Url::parse("https://cars.example.org").unwrap(),
            private_url: Some(Url::parse("https://pi.local:8443").unwrap()),
            ..Settings::default()
        };
        let (head, ()) = Request::builder().method(method).uri(path).header("host", host).body(()).unwrap().into_parts();
        let answer = lead(&head, &settings, here).map_err(|problem| problem.code())?;
        assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
        Ok(answer.headers()[LOCATION].to_str().unwrap().to_owned())
    }

    #[test]
    fn a_question_is_led_to_https() {
        let get = |host, path| led(Method::GET, host, path, false).unwrap();
        assert_eq!(get("cars.example.org", "/"), "https://cars.example.org/");
        assert_eq!(get("cars.example.org:80", "/connect/a?b=c&d"), "https://cars.example.org/connect/a?b=c&d");
        assert_eq!(get("PI.local", "/login"), "https://pi.local:8443/login");
        assert_eq!(get("192.168.1.5", "/login"), "https://192.168.1.5/login");
        assert_eq!(get("cars.example.org", "//evil.example/x"), "https://cars.example.org//evil.example/x");
        assert_eq!(led(Method::HEAD, "cars.example.org", "/x", false).unwrap(), "https://cars.example.org/x");
    }

    #[test]
    fn where_tls_is_spoken_the_port_stays() {
        let get = |host, path| led(Method::GET, host, path, true).unwrap();
        assert_eq!(get("cars.example.org:8443", "/a?b"), "https://cars.example.org:8443/a?b");
        assert_eq!(get("cars.example.org:443", "/"), "https://cars.example.org/");
        assert_eq!(get("pi.local:9443", "/login"), "https://pi.local:9443/login");
        assert_eq!(get("192.168.1.5:8443", "/login"), "https://192.168.1.5:8443/login");
        assert_eq!(get("[fd00::5]:8443", "/"), "https://[fd00::5]:8443/");
        // A router that sends its port 80 here has said nothing of ours.
        assert_eq!(get("cars.example.org", "/"), "https://cars.example.org/");
    }

    #[test]
    fn what_was_sent_in_the_clear_is_not_asked_for_again() {
        for (method, path) in [
            (Method::POST, "/login"),
            (Method::POST, "/api/webhooks/smartcar"),
            (Method::GET, "/api/webhooks/smartcar/"),
            (Method::DELETE, "/api/v1/users/1"),
        ] {
            for here in [false, true] {
                assert_eq!(led(method.clone(), "cars.example.org", path, here), Err("https_required"), "{path}");
            }
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
