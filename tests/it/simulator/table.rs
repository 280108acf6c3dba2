//! Every route of Smartcar's reference: what it answers, and what without the permission, with a wrong token and
//! with a bad parameter. What is expected is in `tests/fixtures/smartcar-routes.json`, after the reference, in the
//! words of [`super::expected`].

use std::collections::BTreeSet;

use super::expected::differences;
use super::*;

/// The routes of the reference. Whoever removes a case removes it here too, and says why.
const ROUTES: &[&str] = &[
    "GET /v2.0/user",
    "GET /v2.0/vehicles",
    "GET /v2.0/vehicles/{id}",
    "GET /v2.0/vehicles/{id}/vin",
    "GET /v2.0/vehicles/{id}/odometer",
    "GET /v2.0/vehicles/{id}/location",
    "GET /v2.0/vehicles/{id}/fuel",
    "GET /v2.0/vehicles/{id}/battery",
    "GET /v2.0/vehicles/{id}/battery/capacity",
    "GET /v2.0/vehicles/{id}/battery/nominal_capacity",
    "GET /v2.0/vehicles/{id}/charge",
    "POST /v2.0/vehicles/{id}/charge",
    "GET /v2.0/vehicles/{id}/charge/limit",
    "POST /v2.0/vehicles/{id}/charge/limit",
    "GET /v2.0/vehicles/{id}/engine/oil",
    "GET /v2.0/vehicles/{id}/tires/pressure",
    "GET /v2.0/vehicles/{id}/security",
    "POST /v2.0/vehicles/{id}/security",
    "POST /v2.0/vehicles/{id}/navigation/destination",
    "GET /v2.0/vehicles/{id}/service/history",
    "GET /v2.0/vehicles/{id}/diagnostics/system_status",
    "GET /v2.0/vehicles/{id}/diagnostics/dtcs",
    "GET /v2.0/vehicles/{id}/permissions",
    "POST /v2.0/vehicles/{id}/batch",
    "POST /v2.0/vehicles/{id}/webhooks/{webhook}",
    "DELETE /v2.0/vehicles/{id}/webhooks/{webhook}",
    "DELETE /v2.0/vehicles/{id}/application",
    "GET /v2.0/compatibility",
    "GET /v2.0/compatibility/matrix",
    "GET /v2.0/management/connections",
    "DELETE /v2.0/management/connections",
    "GET /v3/connections",
    "GET /v3/connections/{connection}",
    "DELETE /v3/connections/{connection}",
    "DELETE /v3/users/{user}",
    "GET /v3/vehicles/{id}",
    "GET /v3/vehicles/{id}/signals",
    "GET /v3/vehicles/{id}/signals/{code}",
    "POST /v3/vehicles/{id}/commands/charge/start",
    "POST /v3/vehicles/{id}/commands/charge/stop",
    "POST /v3/vehicles/{id}/commands/charge/set-limit",
    "POST /v3/vehicles/{id}/commands/charge-port/open",
    "POST /v3/vehicles/{id}/commands/charge-port/close",
    "POST /v3/vehicles/{id}/commands/security/lock",
    "POST /v3/vehicles/{id}/commands/security/unlock",
    "POST /v3/vehicles/{id}/commands/navigation/set-destination",
    "POST /v3/vehicles/{id}/charge-schedules/daily",
    "POST /v3/vehicles/{id}/charge-schedules/weekly",
    "POST /v3/vehicles/{id}/charge-schedules/workweek",
    "DELETE /v3/vehicles/{id}/charge-schedules/{schedule}",
    "GET /v3/webhooks",
    "GET /v3/webhooks/{webhook}",
    "GET /v3/subscriptions",
    "POST /v3/subscriptions",
    "GET /v3/subscriptions/{subscription}",
    "DELETE /v3/subscriptions/{subscription}",
    "GET /v3/applications",
    "GET /v3/applications/{application}",
    "GET /v3/compatible-vehicles",
    "POST /oauth/token",
    "POST /oauth2/token",
    "GET /oauth/authorize",
    "GET /oauth/reauthenticate",
];

/// All that an owner can allow and a route can need.
const EVERYTHING: &str = "read_vehicle_info read_vin read_odometer read_location read_fuel read_battery read_charge \
    read_engine_oil read_tires read_security read_service_history read_diagnostics control_charge control_security \
    control_navigation";

/// A simulator with what the paths speak of.
struct Stage {
    rig: Rig,
    names: Vec<(&'static str, String)>,
    access: String,
    application: String,
}

impl Stage {
    async fn new(scope: &str) -> Stage {
        let webhook = WebhookSettings::new("https://gateway.example/webhooks");
        let rig = Rig::new(Settings { webhook: Some(webhook), ..Settings::default() });
        assert!(rig.simulator.verify().await);
        let ada = rig.consent(ADA, &[("scope", scope)]).await;
        let (access, refresh) = pair(&rig.exchange(&parameter(&ada, "code").unwrap()).await);
        rig.consent("elon@example.com", &[("scope", scope), ("make", "TESLA")]).await;
        // Until a minute has gone by, no car charges.
        tokio::time::advance(Duration::from_secs(61)).await;
        let application = rig.application_token().await;
        let first = async |path: &str| rig.get(path, &application).await.json()["data"][0]["id"].as_str().unwrap().to_owned();
        let of = |path: &str, id: &str| format!("{path}?filter%5BvehicleId%5D={id}");
        let account = |email: &str| {
            let accounts = rig.simulator.accounts();
            accounts.into_iter().find(|account| account.email == email).unwrap()
        };
        let vin = rig.get(&format!("/v2.0/vehicles/{}/vin", rig.vehicles(ADA)[0]), &access).await;
        let vin = serde_json::from_slice::<Value>(&vin.body).unwrap()["vin"].as_str().unwrap_or_default().to_owned();
        let (id, tesla) = (rig.vehicles(ADA)[0].clone(), rig.vehicles("elon@example.com")[0].clone());
        let elon = account("elon@example.com").user_id;
        let bearer = format!("Bearer {application}");
        let as_elon = [("authorization", bearer.as_str()), ("sc-user-id", &elon)];
        let times = json!({ "location": { "latitude": 37.7, "longitude": -122.4 }, "startTime": "08:00", "stopTime": "10:00" });
        let body = json!({ "data": { "attributes": times } }).to_string();
        let schedule = rig.send("POST", &format!("/v3/vehicles/{tesla}/charge-schedules/daily"), &as_elon, &body).await;
        let schedule = schedule.json()["data"]["attributes"]["scheduleId"].as_str().unwrap_or("none").to_owned();
        let names = vec![
            ("golf", rig.vehicles(ADA)[1].clone()),
            ("user", account(ADA).user_id),
            ("elon", elon),
            ("client", rig.simulator.settings().application.application_id.clone()),
            ("connection", first(&of("/v3/connections", &id)).await),
            ("webhook", first("/v3/webhooks").await),
            ("subscription", first(&of("/v3/subscriptions", &id)).await),
            ("schedule", schedule),
            ("refresh", refresh),
            ("vin", vin),
            ("id", id),
            ("tesla", tesla),
        ];
        Stage { rig, names, access, application }
    }

    /// Brings about what a case needs: `before` is asked first, and `unplugged` is waited for.
    async fn prepare(&mut self, case: &Value) {
        if let Some(route) = case["before"].as_str() {
            let before = json!({ "route": route, "auth": case["auth"] });
            assert!(self.ask(&before, &Value::Null, false).await.status < 300, "{before}");
        }
        for _ in 0..if case["unplugged"] == true { 3000 } else { 0 } {
            tokio::time::advance(Duration::from_secs(60)).await;
            self.application = self.rig.application_token().await;
            let value = async |code: &str| {
                let case = json!({ "route": format!("GET /v3/vehicles/{{id}}/signals/{code}"), "auth": "owner" });
                self.ask(&case, &Value::Null, false).await.json()["data"]["attributes"]["body"]["value"].clone()
            };
            // Who drives is not locked.
            if value("charge-ischargingcableconnected").await == false && value("closure-islocked").await == true {
                return;
            }
        }
        assert!(case["unplugged"].is_null(), "it is plugged in for days");
    }

    /// What a case wants: its answer, with the values of `is` in their places and all names filled in.
    fn wanted(&self, case: &Value) -> Value {
        let mut wanted = resolved(&case["answer"]);
        for (place, value) in case["is"].as_object().into_iter().flatten() {
            *wanted.pointer_mut(place).unwrap_or_else(|| panic!("{}: no {place}", case["route"])) = value.clone();
        }
        serde_json::from_str(&self.filled(&wanted.to_string())).unwrap()
    }

    /// Fills in what stands in braces.
    fn filled(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    /// Who asks: a header, and for some a second one.
    fn credentials(&self, auth: &str, wrong: bool) -> Vec<(&'static str, String)> {
        let application = &self.rig.simulator.settings().application;
        let bearer = |token: &str| ("authorization", format!("Bearer {}", if wrong { "nobody" } else { token }));
        let basic = |user: &str, password: &str| ("authorization", basic(user, if wrong { "nothing" } else { password }));
        let name = |wanted: &str| self.names.iter().find(|(name, _)| *name == wanted).unwrap().1.clone();
        match auth {
            "user" => vec![bearer(&self.access)],
            "application" => vec![bearer(&self.application)],
            "owner" => vec![bearer(&self.application), ("sc-user-id", name("user"))],
            "tesla" => vec![bearer(&self.application), ("sc-user-id", name("elon"))],
            "amt" => vec![bearer(&application.management_token)],
            "amt-basic" => vec![basic("default", &application.management_token)],
            "client" | "form-v2" => vec![basic(&application.application_id, &application.v2_client_secret)],
            "form-v3" => vec![basic(&application.v3_client_id, &application.v3_client_secret)],
            "none" | "page" => Vec::new(),
            other => panic!("nobody asks as {other}"),
        }
    }

    /// Asks as the case says, with what `change` has in other words.
    async fn ask(&self, case: &Value, change: &Value, wrong: bool) -> Answer {
        let (method, route) = case["route"].as_str().unwrap().split_once(' ').unwrap();
        let said = |name: &str| change[name].as_str().or_else(|| case[name].as_str());
        let mut path = said("path").unwrap_or(route).to_owned();
        if let Some(query) = change["query"].as_str() {
            path = format!("{}?{query}", path.split('?').next().unwrap());
        }
        let path = self.filled(&path).replace('[', "%5B").replace(']', "%5D");
        let body = change.get("body").or_else(|| case.get("body")).unwrap_or(&Value::Null);
        let body = match body {
            Value::Null => String::new(),
            Value::String(form) => form.clone(),
            body => body.to_string(),
        };
        let mut headers = self.credentials(case["auth"].as_str().unwrap(), wrong);
        for (name, value) in change["headers"].as_object().into_iter().flatten() {
            let name = if name == "sc-user-id" { "sc-user-id" } else { "sc-unit-system" };
            headers.retain(|(other, _)| *other != name);
            headers.push((name, value.as_str().unwrap().to_owned()));
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.rig.send(method, &path, &headers, &self.filled(&body)).await
    }
}

/// `@FILE`, `@FILE#FIELD` and `@FILE#0` (the first of its data) stand for a fixture.
fn resolved(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with('@') => {
            let (file, part) = text[1..].split_once('#').unwrap_or((&text[1..], ""));
            let whole = fixture(file);
            match part {
                "" => whole,
                "0" => whole["data"][0].clone(),
                "attributes" => whole["data"]["attributes"].clone(),
                part => whole[part].clone(),
            }
        }
        Value::Array(items) => items.iter().map(resolved).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), resolved(value))).collect(),
        other => other.clone(),
    }
}

fn cases() -> Vec<Value> {
    fixture("smartcar-routes.json").as_array().unwrap().clone()
}

/// An error in the shape of the host that was asked.
fn troubled(case: &Value, answer: &Answer, status: u64, code: &Value) {
    let (route, body) = (&case["route"], answer.text());
    assert_eq!(u64::from(answer.status), status, "{route}: {body}");
    let route = route.as_str().unwrap();
    let path = route.split_once(' ').unwrap().1;
    if path.starts_with("/oauth/authorize") || path.starts_with("/oauth/reauthenticate") {
        match answer.header("location") {
            Some(back) => assert_eq!(parameter(&Url::parse(back).unwrap(), "error").as_deref(), code.as_str(), "{route}"),
            None => assert!(code.is_null() && body.starts_with("<!doctype html>"), "{route}: {body}"),
        }
        return;
    }
    assert!(answer.header("content-type").unwrap().starts_with("application/json"), "{route}");
    assert!(path.starts_with("/oauth") || answer.header("sc-request-id").is_some());
    let kind = match status {
        400 => "VALIDATION",
        401 => "AUTHENTICATION",
        403 => "PERMISSION",
        404 => "RESOURCE_NOT_FOUND",
        _ => "<VEHICLE_STATE|CONFLICT>",
    };
    let resolution = json!({ "type": if status == 403 { json!("REAUTHENTICATE") } else { Value::Null } });
    let wanted = if path.starts_with("/oauth") {
        json!({ "error": code, "error_description": "<text>" })
    } else if path.starts_with("/v2.0/") {
        let mut wanted = json!({
            "type": kind, "code": code, "description": "<text>", "docURL": "<text>", "statusCode": status,
            "requestId": answer.header("sc-request-id"), "resolution": resolution, "suggestedUserMessage?": "<text>",
        });
        if status == 400 {
            wanted["detail"] = json!([{ "field": "<text>", "message": "<text>" }]);
        }
        wanted
    } else {
        let mut error = json!({
            "status": status.to_string(), "type": kind, "code": code, "title": "<text>", "detail": "<text>",
            "suggestedUserMessage?": "<text>", "links": { "about": "<text>" },
            "meta": { "debug": { "requestId": answer.header("sc-request-id") } },
        });
        if status == 403 {
            error["resolution"] = resolution;
        }
        json!({ "errors": [error] })
    };
    let differences = differences(&wanted, &answer.json());
    assert!(differences.is_empty(), "{route}: {differences:#?}\n{body}");
}

#[test]
fn every_route_of_the_reference_has_a_case() {
    let cases = cases();
    let with = |fits: fn(&&Value) -> bool| -> BTreeSet<&str> {
        cases.iter().filter(fits).map(|case| case["route"].as_str().unwrap()).collect()
    };
    let routes: BTreeSet<&str> = ROUTES.iter().copied().collect();
    assert_eq!(with(|_| true), routes);
    // And one where all goes well.
    assert_eq!(with(|case| case["status"].as_u64().is_none_or(|status| status < 400)), routes);
}

#[tokio::test(start_paused = true)]
async fn each_route_answers_as_the_reference_says() {
    let mut found = Vec::new();
    for case in cases() {
        let mut stage = Stage::new(EVERYTHING).await;
        stage.prepare(&case).await;
        let answer = stage.ask(&case, &Value::Null, false).await;
        let (route, status) = (&case["route"], case["status"].as_u64().unwrap_or(200));
        if status >= 400 {
            troubled(&case, &answer, status, &case["code"]);
            continue;
        }
        if u64::from(answer.status) != status {
            found.push(format!("{route}: {} {}", answer.status, answer.text()));
            continue;
        }
        match &case["answer"] {
            Value::Null => assert!(answer.body.is_empty(), "{route}"),
            Value::Object(redirect) if redirect.contains_key("redirect") => {
                let to = Url::parse(answer.header("location").unwrap()).unwrap();
                let given: serde_json::Map<String, Value> =
                    to.query_pairs().map(|(name, value)| (name.into_owned(), json!(value))).collect();
                found.extend(differences(&stage.wanted(&case)["redirect"], &Value::Object(given)));
                assert!(to.as_str().starts_with(BACK), "{to}");
            }
            _ => {
                let mut body = answer.json();
                if let Some(id) = case["pick"].as_str() {
                    body["data"].as_array_mut().unwrap().retain(|item| item["id"] == id);
                    assert_eq!(body["data"].as_array().unwrap().len(), 1, "{route}");
                }
                let differ = differences(&stage.wanted(&case), &body);
                found.extend(differ.into_iter().map(|difference| format!("{route}: {difference}")));
            }
        }
        if route.as_str().unwrap().starts_with("GET /v2.0/vehicles/{id}/") && case["permission"].is_string() {
            assert_eq!(answer.header("sc-unit-system"), Some("metric"), "{route}");
            let time = |name: &str| Timestamp::parse(answer.header(name).unwrap()).unwrap();
            let (fetched_at, is_known) = (time("sc-fetched-at"), route.as_str().unwrap().ends_with("/vin"));
            assert!(is_known || time("sc-data-age") <= fetched_at, "{route}");
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test(start_paused = true)]
async fn no_route_answers_without_its_permission() {
    for case in cases().iter().filter(|case| case["permission"].is_string()) {
        let stage = Stage::new("read_compass").await;
        let answer = stage.ask(case, &Value::Null, false).await;
        let v2 = case["route"].as_str().unwrap().contains("/v2.0/");
        troubled(case, &answer, 403, &if v2 { Value::Null } else { json!("ACCESS_DENIED") });
    }
    // Signals are judged one by one.
    let stage = Stage::new("read_compass").await;
    let case = cases().into_iter().find(|case| case["route"] == "GET /v3/vehicles/{id}/signals").unwrap();
    let signals = stage.ask(&case, &Value::Null, false).await.json();
    for signal in signals["data"].as_array().unwrap() {
        assert_eq!(signal["attributes"]["status"]["error"]["type"], "PERMISSION");
        assert!(signal["attributes"].get("body").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn no_route_answers_a_wrong_token() {
    for case in cases().iter().filter(|case| !["none", "page"].iter().any(|auth| case["auth"] == *auth)) {
        let stage = Stage::new(EVERYTHING).await;
        let answer = stage.ask(case, &Value::Null, true).await;
        let path = case["route"].as_str().unwrap();
        let code = if path.contains(" /oauth") {
            json!("invalid_client")
        } else if path.contains("/v3/") {
            json!("UNAUTHORIZED")
        } else {
            Value::Null
        };
        troubled(case, &answer, 401, &code);
    }
    for case in cases().iter().filter(|case| case["auth"] == "page") {
        let stage = Stage::new(EVERYTHING).await;
        let path = case["path"].as_str().unwrap().replace("{client}", "nobody");
        troubled(case, &stage.ask(case, &json!({ "path": path }), false).await, 400, &Value::Null);
    }
}

#[tokio::test(start_paused = true)]
async fn each_route_says_what_is_wrong_with_a_parameter() {
    for case in cases().iter().filter(|case| case["bad"].is_object()) {
        let stage = Stage::new(EVERYTHING).await;
        let bad = &case["bad"];
        let answer = stage.ask(case, bad, false).await;
        troubled(case, &answer, bad["status"].as_u64().unwrap(), &bad["code"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slash_at_the_end_and_other_methods_change_nothing() {
    for case in cases().iter().filter(|case| case["route"].as_str().unwrap().starts_with("GET /v")) {
        let stage = Stage::new(EVERYTHING).await;
        let path = case["path"].as_str().or_else(|| case["route"].as_str().unwrap().split(' ').nth(1)).unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let answer = stage.ask(case, &json!({ "path": format!("{path}/?{query}") }), false).await;
        assert_eq!(answer.status, 200, "{}", case["route"]);
        let put = case["route"].as_str().unwrap().replace("GET", "PUT");
        let asked = json!({ "route": put, "path": case["path"], "auth": case["auth"] });
        assert_eq!(stage.ask(&asked, &Value::Null, false).await.status, 404, "{put}");
    }
}
