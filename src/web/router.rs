//! Which route a request takes: the list below is every address of the gateway, one a line; what holds on each stands in
//! `policy`.
//!
//! Where two patterns fit, the first wins. A trailing slash is accepted. The paths of webhook and
//! callback stand here as they are by default; what is configured takes their place.

use http::Method;

use self::path::fit;
use super::{Face, Settings};

mod path;
mod policy;

pub use policy::LONGEST_FORM;
pub(super) use policy::{Auth, Bound, Bucket, Policy, Shown};

macro_rules! routes {
    ($($method:ident $pattern:literal $route:ident,)*) => {
        /// Every address of the gateway.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Route {
            $($route,)*
        }

        impl Route {
            /// The name in logs and metrics: never anything that a request brought along.
            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Route::$route => concat!(stringify!($method), " ", $pattern),)*
                }
            }
        }

        pub(super) static TABLE: &[(Method, &str, Route)] = &[$((Method::$method, $pattern, Route::$route),)*];
    };
}

routes! {
    // Public.
    GET    "/healthz"                               Healthz,
    GET    "/readyz"                                Readyz,
    GET    "/openapi.json"                          OpenApi,
    GET    "/assets/{name}"                         Asset,
    GET    "/connect/{invite}"                      ConnectBegin,
    GET    "/connect/{invite}/done"                 ConnectDone,
    GET    "/api/smartcar/callback"                 Callback,
    POST   "/api/webhooks/smartcar"                 Webhook,
    POST   "/api/smartcar/exchange"                 Exchange,
    GET    "/login"                                 LoginPage,
    POST   "/login"                                 Login,
    // The dashboard.
    GET    "/"                                      CarsPage,
    GET    "/vehicles/{id}"                         CarPage,
    POST   "/vehicles/{id}"                         CarRename,
    POST   "/vehicles/{id}/commands"                CarCommand,
    GET    "/vehicles/{id}/commands/{command}"      CommandPage,
    POST   "/vehicles/{id}/refresh"                 CarRefresh,
    POST   "/vehicles/{id}/disconnect"              CarEnd,
    POST   "/units"                                 UnitsChange,
    GET    "/webhooks"                              WebhooksPage,
    GET    "/webhooks/{seq}"                        DeliveryPage,
    GET    "/connections"                           ConnectionsPage,
    POST   "/webhooks/{seq}"                        DeliveryReplay,
    POST   "/connections/{id}/refresh"              ConnectionRenew,
    POST   "/connections/{id}/disconnect"           ConnectionEnd,
    GET    "/system"                                SystemPage,
    POST   "/system/devices"                        DeviceAdd,
    POST   "/system/tokens"                         TokenMake,
    POST   "/system/tokens/{id}"                    TokenEnd,
    POST   "/system/sessions/{id}"                  SessionEnd,
    GET    "/setup"                                 SetupPage,
    POST   "/setup/check"                           SetupCheck,
    POST   "/setup"                                 SettingsMake,
    GET    "/audit"                                 AuditPage,
    POST   "/connect"                               ConnectPage,
    GET    "/answers/{id}"                          FormAnswer,
    POST   "/logout"                                Logout,
    // For programs.
    GET    "/metrics"                               Metrics,
    GET    "/api/v1/status"                         Status,
    GET    "/api/v1/setup"                          Setup,
    GET    "/api/v1/settings"                       Settings,
    PATCH  "/api/v1/settings"                       SettingsChange,
    GET    "/api/v1/budget"                         Budget,
    GET    "/api/v1/users"                          Users,
    POST   "/api/v1/users"                          UserAdd,
    GET    "/api/v1/users/{id}"                     User,
    PATCH  "/api/v1/users/{id}"                     UserChange,
    DELETE "/api/v1/users/{id}"                     UserRemove,
    POST   "/api/v1/connect"                        Invite,
    GET    "/api/v1/connections"                    Connections,
    POST   "/api/v1/connections/adopt"              Adopt,
    POST   "/api/v1/connections/import"             Import,
    POST   "/api/v1/connections/migrate"            Migrate,
    GET    "/api/v1/connections/{id}"               Connection,
    DELETE "/api/v1/connections/{id}"               ConnectionRemove,
    POST   "/api/v1/connections/{id}/refresh"       ConnectionRefresh,
    GET    "/api/v1/vehicles"                       Vehicles,
    GET    "/api/v1/vehicles/{id}"                  Vehicle,
    PATCH  "/api/v1/vehicles/{id}"                  VehicleChange,
    DELETE "/api/v1/vehicles/{id}"                  VehicleRemove,
    GET    "/api/v1/vehicles/{id}/signals"          Signals,
    GET    "/api/v1/vehicles/{id}/signals/{code}"   Signal,
    GET    "/api/v1/vehicles/{id}/history"          History,
    GET    "/api/v1/vehicles/{id}/charges"          Charges,
    GET    "/api/v1/vehicles/{id}/trips"            Trips,
    POST   "/api/v1/vehicles/{id}/refresh"          VehicleRefresh,
    POST   "/api/v1/vehicles/{id}/subscribe"        VehicleSubscribe,
    POST   "/api/v1/vehicles/{id}/commands/{group}/{action}" CommandRun,
    GET    "/api/v1/vehicles/{id}/commands/{command}" Command,
    GET    "/api/v1/export"                         Export,
    GET    "/api/v1/webhooks"                       Deliveries,
    GET    "/api/v1/webhooks/refused"               Refused,
    GET    "/api/v1/webhooks/{seq}"                 Delivery,
    POST   "/api/v1/webhooks/{seq}/replay"          Replay,
    GET    "/api/v1/events"                         Events,
    POST   "/api/v1/events/ticket"                  EventsTicket,
    GET    "/api/v1/tokens"                         Tokens,
    POST   "/api/v1/tokens"                         TokenCreate,
    DELETE "/api/v1/tokens/{id}"                    TokenRevoke,
    GET    "/api/v1/sessions"                       Sessions,
    DELETE "/api/v1/sessions/{id}"                  SessionRevoke,
    POST   "/api/v1/login-links"                    LoginLink,
    PATCH  "/api/v1/password"                       PasswordChange,
    GET    "/api/v1/audit"                          AuditLog,
    GET    "/api/v1/key"                            Key,
    POST   "/api/v1/key/rotate"                     KeyRotate,
    // Smartcar's own API.
    POST   "/oauth/token"                           V2Token,
    POST   "/oauth2/token"                          V3Token,
    GET    "/v2.0/user"                             V2SmartcarUser,
    GET    "/v2.0/vehicles"                         V2Vehicles,
    GET    "/v2.0/vehicles/{id}"                    V2Vehicle,
    GET    "/v2.0/vehicles/{id}/permissions"        V2Permissions,
    POST   "/v2.0/vehicles/{id}/batch"              V2Batch,
    DELETE "/v2.0/vehicles/{id}/application"        V2Disconnect,
    POST   "/v2.0/vehicles/{id}/webhooks/{webhook}" V2Subscribe,
    DELETE "/v2.0/vehicles/{id}/webhooks/{webhook}" V2Unsubscribe,
    GET    "/v2.0/vehicles/{id}/{endpoint}"         V2Endpoint,
    POST   "/v2.0/vehicles/{id}/{endpoint}"         V2Command,
    GET    "/v2.0/vehicles/{id}/{endpoint}/{part}"  V2EndpointPart,
    POST   "/v2.0/vehicles/{id}/{endpoint}/{part}"  V2CommandPart,
    GET    "/v2.0/compatibility"                    V2Compatibility,
    GET    "/v2.0/compatibility/matrix"             V2Matrix,
    GET    "/v2.0/management/connections"           V2Connections,
    DELETE "/v2.0/management/connections"           V2ConnectionsEnd,
    GET    "/v3/connections"                        V3Connections,
    GET    "/v3/connections/{id}"                   V3Connection,
    DELETE "/v3/connections/{id}"                   V3ConnectionEnd,
    DELETE "/v3/users/{id}"                         V3SmartcarUserEnd,
    GET    "/v3/vehicles/{id}"                      V3Vehicle,
    GET    "/v3/vehicles/{id}/signals"              V3Signals,
    GET    "/v3/vehicles/{id}/signals/{code}"       V3Signal,
    POST   "/v3/vehicles/{id}/commands/{group}/{action}" V3Command,
    GET    "/v3/webhooks"                           V3Webhooks,
    GET    "/v3/webhooks/{id}"                      V3Webhook,
    GET    "/v3/subscriptions"                      V3Subscriptions,
    POST   "/v3/subscriptions"                      V3Subscribe,
    GET    "/v3/subscriptions/{id}"                 V3Subscription,
    DELETE "/v3/subscriptions/{id}"                 V3Unsubscribe,
}

impl Route {
    /// The route of a request, and what its path named.
    pub(super) fn parse(settings: &Settings, face: &Face, method: &Method, path: &str) -> Result<Found, Lost> {
        let path = match path.strip_suffix('/') {
            Some(shorter) if !shorter.is_empty() && !shorter.ends_with('/') => shorter,
            _ => path,
        };
        let fitting = |route: Route, pattern: &'static str| fit(pattern_of(route, pattern, settings), path);
        let shown = || TABLE.iter().filter(|(_, _, route)| face.shows(*route));
        let Some((_, first, named)) =
            shown().find_map(|(_, pattern, route)| fitting(*route, pattern).map(|named| (*route, *pattern, named)))
        else {
            return Err(Lost::NotFound);
        };
        let asked = if method == Method::HEAD { &Method::GET } else { method };
        let same_place = || shown().filter(|(_, pattern, _)| *pattern == first);
        if let Some((_, _, route)) = same_place().find(|(method, _, _)| method == asked) {
            return Ok(Found { route: *route, named });
        }
        let mut allow: Vec<&str> = same_place().map(|(method, _, _)| method.as_str()).collect();
        if allow.contains(&"GET") {
            allow.push("HEAD");
        }
        let webhook = same_place().any(|(_, _, route)| *route == Route::Webhook);
        Err(Lost::WrongMethod { allow: allow.join(", "), webhook })
    }
}

/// A route, and what the path named in the places in braces, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The route.
    pub(super) route: Route,
    /// In the order of the pattern.
    pub(super) named: Vec<String>,
}

/// There is no such route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nothing is there.
    NotFound,
    /// Something is there, for other methods.
    WrongMethod {
        /// For the header `Allow`.
        allow: String,
        /// It is the webhook's address.
        webhook: bool,
    },
}

/// The pattern of Carport's own that takes `path`; webhook and callback are wherever they are configured.
pub fn own_route(path: &str) -> Option<&'static str> {
    let own = TABLE.iter().filter(|(_, _, route)| !matches!(route, Route::Webhook | Route::Callback));
    let path = if path.is_empty() { "/" } else { path };
    own.map(|(_, pattern, _)| *pattern).find(|pattern| fit(pattern, path).is_some())
}

fn pattern_of<'a>(route: Route, pattern: &'a str, settings: &'a Settings) -> &'a str {
    match route {
        Route::Webhook => settings.webhook_path.trim_end_matches('/'),
        Route::Callback => settings.callback_path.trim_end_matches('/'),
        _ => pattern,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::policy::Cap;
    use super::*;

    fn parse(method: &Method, path: &str) -> Result<Found, Lost> {
        Route::parse(&Settings::default(), &Face::Whole, method, path)
    }

    fn found(route: Route, named: &[&str]) -> Found {
        Found { route, named: named.iter().map(|&text| text.to_owned()).collect() }
    }

    #[test]
    fn every_route_is_found_at_its_own_pattern() {
        for (method, pattern, route) in TABLE {
            let path = pattern.replace(['{', '}'], "");
            let named: Vec<&str> = pattern.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(parse(method, &path), Ok(found(*route, &named)), "{pattern}");
            assert_eq!(parse(method, &format!("{}/", path.trim_end_matches('/'))), Ok(found(*route, &named)), "{pattern}/");
        }
    }

    #[test]
    fn head_goes_where_get_goes() {
        assert_eq!(parse(&Method::HEAD, "/healthz"), Ok(found(Route::Healthz, &[])));
        assert_eq!(parse(&Method::HEAD, "/api/v1/tokens/1"), Err(Lost::WrongMethod { allow: "DELETE".into(), webhook: false }));
    }

    #[test]
    fn other_methods_are_told_which_would_do() {
        let wrong = |method: &Method, path: &str| match parse(method, path) {
            Err(Lost::WrongMethod { allow, webhook }) => (allow, webhook),
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong(&Method::OPTIONS, "/api/v1/users/7"), ("GET, PATCH, DELETE, HEAD".to_owned(), false));
        assert_eq!(wrong(&Method::GET, "/api/webhooks/smartcar"), ("POST".to_owned(), true));
        assert_eq!(wrong(&Method::POST, "/api/v1/webhooks/refused"), ("GET, HEAD".to_owned(), false));
        assert_eq!(wrong(&Method::TRACE, "/"), ("GET, HEAD".to_owned(), false));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for path in
            ["", "x", "//", "/login//", "/api", "/api/v1", "/api/v1/users//", "/vehicles/%zz", "/vehicles/%ff", "/Login", "*"]
        {
            assert_eq!(parse(&Method::GET, path), Err(Lost::NotFound), "{path}");
        }
    }

    #[test]
    fn ids_are_decoded_after_the_path_was_taken_apart() {
        assert_eq!(parse(&Method::GET, "/api/v1/users/a%2Fb%20+c"), Ok(found(Route::User, &["a/b +c"])));
        assert_eq!(parse(&Method::GET, "/api/v1/webhooks/refused"), Ok(found(Route::Refused, &[])));
        assert_eq!(parse(&Method::GET, "/api/v1/webhooks/12"), Ok(found(Route::Delivery, &["12"])));
    }

    #[test]
    fn configured_paths_take_the_place_of_the_default() {
        let settings = Settings { webhook_path: "/in".to_owned(), callback_path: "/back/".to_owned(), ..Settings::default() };
        let route = |method: &Method, path: &str| Route::parse(&settings, &Face::Whole, method, path).map(|found| found.route);
        assert_eq!(route(&Method::POST, "/in"), Ok(Route::Webhook));
        assert_eq!(route(&Method::GET, "/back"), Ok(Route::Callback));
        assert_eq!(route(&Method::POST, "/api/webhooks/smartcar"), Err(Lost::NotFound));
    }

    #[test]
    fn own_routes_are_known_by_their_paths() {
        for (_, pattern, route) in TABLE {
            let own = own_route(&pattern.replace(['{', '}'], ""));
            assert_eq!(own.is_some(), !matches!(route, Route::Webhook | Route::Callback), "{pattern}");
        }
        assert_eq!(own_route("/hooks/smartcar"), None);
    }

    #[test]
    fn no_limiter_stands_before_a_delivery() {
        let policy = Route::Webhook.policy();
        assert_eq!((policy.bucket, policy.body_cap, policy.auth), (None, Some(Cap::Delivery), Auth::Signature));
    }

    #[test]
    fn other_origins_may_use_the_api_and_the_exchange_only() {
        for (_, pattern, route) in TABLE {
            let is_compat = crate::web::compat::Dialect::of(pattern).is_some();
            let expected = pattern.starts_with("/api/v1/") || *route == Route::Exchange || is_compat;
            assert_eq!(route.policy().cors, expected, "{pattern}");
        }
    }

    #[test]
    fn the_description_and_the_routes_say_the_same() {
        let description: serde_json::Value = serde_json::from_str(crate::web::ops::OPENAPI).unwrap();
        let described: BTreeSet<String> = description["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .filter(|name| !name.starts_with("PARAMETERS "))
            .collect();
        let routes: BTreeSet<String> = TABLE
            .iter()
            .filter(|(_, _, route)| !route.is_for_people() && *route != Route::Asset)
            .map(|(_, _, route)| route.name().to_owned())
            .collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn the_description_names_the_scope_of_each_route() {
        let description: serde_json::Value = serde_json::from_str(crate::web::ops::OPENAPI).unwrap();
        for (method, pattern, route) in TABLE.iter().filter(|(_, pattern, _)| pattern.starts_with("/api/v1/")) {
            let Auth::Scope(scope) = route.policy().auth else { panic!("{pattern}") };
            let scope = format!("{scope:?}").to_lowercase();
            let described = &description["paths"][pattern][method.as_str().to_lowercase()]["x-scope"];
            assert_eq!(described, &scope, "{method} {pattern}");
            let only_here = &description["paths"][pattern][method.as_str().to_lowercase()]["x-only-socket"];
            assert_eq!(only_here == true, route.policy().only_by.is_some(), "{method} {pattern}");
        }
    }

    #[test]
    fn the_description_names_the_scope_of_each_route_of_smartcars() {
        let description: serde_json::Value = serde_json::from_str(crate::web::ops::OPENAPI).unwrap();
        for (method, pattern, route) in TABLE.iter().filter(|(_, pattern, _)| crate::web::compat::Dialect::of(pattern).is_some())
        {
            let described = &description["paths"][pattern][method.as_str().to_lowercase()]["x-smartcar-scope"];
            match route.policy().auth {
                Auth::Scope(scope) => assert_eq!(described, &format!("{scope:?}").to_lowercase(), "{method} {pattern}"),
                _ => assert_eq!(described, "none", "{method} {pattern}"),
            }
        }
    }

    #[test]
    fn the_description_tells_how_bodies_are_refused() {
        let description: serde_json::Value = serde_json::from_str(crate::web::ops::OPENAPI).unwrap();
        for (method, pattern, route) in TABLE {
            // Without a cap a body would not be read, and nobody would be told.
            let takes_one = description["paths"][pattern][method.as_str().to_lowercase()].get("requestBody").is_some();
            assert!(!takes_one || route.policy().body_cap.is_some(), "{method} {pattern}");
        }
        let with_body = |route: &Route| route.policy().body_cap.is_some() && !route.is_for_people();
        for (method, pattern, route) in TABLE.iter().filter(|(_, _, route)| with_body(route)) {
            let described = &description["paths"][pattern][method.as_str().to_lowercase()];
            // Smartcar's own API takes JSON whatever it says of itself, as some SDKs do not.
            let is_strict = *route != Route::Webhook && crate::web::compat::Dialect::of(pattern).is_none();
            let json = described.get("requestBody").is_some() && is_strict;
            for (status, expected) in [("408", true), ("413", true), ("415", json)] {
                assert_eq!(described["responses"].get(status).is_some(), expected, "{status} of {method} {pattern}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_path_is_answered(path in "(/[a-z%{}0-9A-F.]{0,8}){0,6}/?|.*") {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                if let Ok(found) = parse(&method, &path) {
                    prop_assert!(found.named.iter().all(|text| !text.is_empty()));
                }
            }
        }
    }
}
