//! API v2.0: one access token for each owner, one endpoint for each kind of data.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::call::{Audience, Call, PATIENCE, join, segment};
use super::limits::of_part;
use super::{Read, Smartcar, SmartcarError};
use crate::model::budget::Permit;
use crate::model::mapping::{self, Provenance};
use crate::model::reading::SignalReport;
use crate::model::vehicle::VehicleFacts;
use crate::model::wire::{Part, VehicleWire};
use crate::model::{Secret, SmartcarUserId, VehicleId, lenient};

impl Smartcar {
    /// The Smartcar user a token belongs to.
    pub async fn user(&self, access: &Secret) -> Result<SmartcarUserId, SmartcarError> {
        let answer = self.call(self.v2("v2.user", Method::GET, "/user", access)).await?;
        let id = answer.read::<VehicleWire>()?.id.ok_or_else(|| answer.not_understood())?;
        Ok(SmartcarUserId::new(id))
    }

    /// Asks, as nobody, whether there is an API v2.0: where there is, it refuses that.
    pub async fn find_v2(&self) -> Result<(), SmartcarError> {
        match self.user(&Secret::new("nobody".to_owned())).await {
            Ok(_) | Err(SmartcarError::Unauthorized { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All vehicles a token opens.
    pub async fn vehicles(&self, access: &Secret) -> Result<Vec<VehicleId>, SmartcarError> {
        let texts = self.pages("v2.vehicles", "/vehicles", access).await?;
        Ok(texts.into_iter().map(VehicleId::new).collect())
    }

    /// What Smartcar tells of a vehicle: permissions, then attributes and the VIN as far as they are
    /// granted. A part that fails stays `None`; the first failure is returned if nothing came at all, or
    /// if the token was not accepted.
    pub async fn vehicle(&self, access: &Secret, vehicle: &VehicleId) -> Result<VehicleFacts, SmartcarError> {
        let path = format!("/vehicles/{}", segment("v2.attributes", vehicle.as_str())?);
        let permissions = tolerate(self.pages("v2.permissions", &format!("{path}/permissions"), access).await)?;
        let granted = |permission: &str| permissions.as_ref().ok().is_none_or(|list| list.iter().any(|each| each == permission));

        let attributes = if granted("read_vehicle_info") {
            tolerate(self.attributes("v2.attributes", &path, access).await)?
        } else {
            Ok(VehicleWire::default())
        };
        let vin = if granted("read_vin") {
            tolerate(self.attributes("v2.vin", &format!("{path}/vin"), access).await)?
        } else {
            Ok(VehicleWire::default())
        };
        if let (Err(error), Err(_), Err(_)) = (&permissions, &attributes, &vin) {
            return Err(error.clone());
        }
        let vin = vin.unwrap_or_default().facts(vehicle.clone()).vin;
        let facts = attributes.unwrap_or_default().facts(vehicle.clone());
        Ok(VehicleFacts { vin: vin.or(facts.vin), permissions: permissions.ok(), ..facts })
    }

    /// Reads, in one batch, these endpoints of the mapping table. Asks nothing if there are none. A part may fail by
    /// itself.
    pub async fn read(
        &self,
        access: &Secret,
        vehicle: &VehicleId,
        paths: &[&str],
        permit: &Permit,
    ) -> Result<Read, SmartcarError> {
        if paths.is_empty() {
            return Ok(Read::of(Vec::new(), None));
        }
        let path = format!("/vehicles/{}/batch", segment("v2.batch", vehicle.as_str())?);
        let requests: Vec<_> = paths.iter().map(|path| json!({ "path": path })).collect();
        let call = self.v2("v2.batch", Method::POST, &path, access).within(PATIENCE).json(&json!({ "requests": requests }));
        let answer = self.permitted(call, permit).await?;
        let parts = answer.read::<Batch>()?.responses.ok_or_else(|| answer.not_understood())?;
        let outer = Provenance::from_headers(|name| answer.header(name), Provenance::default());
        let date = answer.header("date");
        let refusals = parts.iter().filter_map(|part| of_part("v2.batch", part, date.as_deref()));
        Ok(Read::of(parts.iter().flat_map(|part| part.reports(outer)).collect(), refusals))
    }

    /// Reads the services of a vehicle between two dates, such as `2025-10-09`; without the first, from where Smartcar begins
    /// by itself. A batch has no place for dates.
    pub async fn history(
        &self,
        access: &Secret,
        vehicle: &VehicleId,
        (since, until): (Option<&str>, Option<&str>),
        permit: &Permit,
    ) -> Result<SignalReport, SmartcarError> {
        const NAME: &str = "v2.history";
        let path = history_path(NAME, vehicle, since, until)?;
        let answer = self.permitted(self.v2(NAME, Method::GET, &path, access).within(PATIENCE), permit).await?;
        let provenance = Provenance::from_headers(|name| answer.header(name), Provenance::default());
        let reports = mapping::reports("/service/history", &answer.list()?.into(), provenance);
        reports.into_iter().next().ok_or_else(|| answer.not_understood())
    }

    /// Takes the vehicle away from the application. The token set loses it; others are as before.
    pub async fn disconnect(&self, access: &Secret, vehicle: &VehicleId) -> Result<(), SmartcarError> {
        let path = format!("/vehicles/{}/application", segment("v2.disconnect", vehicle.as_str())?);
        self.call(self.v2("v2.disconnect", Method::DELETE, &path, access)).await.map(|_| ())
    }

    async fn attributes(&self, endpoint: &'static str, path: &str, access: &Secret) -> Result<VehicleWire, SmartcarError> {
        self.call(self.v2(endpoint, Method::GET, path, access)).await?.read()
    }

    /// Every page of a list of texts. Ends when everything that was announced is there, and also when a
    /// page brings nothing new: an answer that ignores `offset` must not go on for ever.
    async fn pages(&self, endpoint: &'static str, path: &str, access: &Secret) -> Result<Vec<String>, SmartcarError> {
        let mut all: Vec<String> = Vec::new();
        for _ in 0..MOST_PAGES {
            let path = format!("{path}?limit={PAGE}&offset={}", all.len());
            let answer = self.call(self.v2(endpoint, Method::GET, &path, access)).await?;
            let page: Page = answer.read()?;
            let before = all.len();
            for text in page.vehicles.or(page.permissions).ok_or_else(|| answer.not_understood())? {
                if !all.contains(&text) {
                    all.push(text);
                }
            }
            let announced = page.paging.count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
            if all.len() == before || all.len() >= announced {
                break;
            }
        }
        Ok(all)
    }

    pub(super) fn v2(&self, endpoint: &'static str, method: Method, path: &str, access: &Secret) -> Call {
        let url = format!("{}{path}", join(&self.settings().origins.api, "/v2.0"));
        Call::new(endpoint, Audience::Owner, method, url).bearer(access).header(UNITS, "metric".to_owned())
    }
}

fn history_path(
    endpoint: &'static str,
    vehicle: &VehicleId,
    since: Option<&str>,
    until: Option<&str>,
) -> Result<String, SmartcarError> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(since.map(|date| ("start_date", date))).extend_pairs(until.map(|date| ("end_date", date)));
    Ok(format!("/vehicles/{}/service/history?{}", segment(endpoint, vehicle.as_str())?, query.finish()))
}

/// Lets a failure wait, unless the token was not accepted: then the caller must refresh it and ask again.
fn tolerate<T>(result: Result<T, SmartcarError>) -> Result<Result<T, SmartcarError>, SmartcarError> {
    match result {
        Err(error @ SmartcarError::Unauthorized { .. }) => Err(error),
        other => Ok(other),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Page {
    #[serde(deserialize_with = "lenient::texts")]
    vehicles: Option<Vec<String>>,
    #[serde(deserialize_with = "lenient::texts")]
    permissions: Option<Vec<String>>,
    #[serde(deserialize_with = "lenient::object")]
    paging: Paging,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Paging {
    #[serde(deserialize_with = "lenient::integer")]
    count: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Batch {
    #[serde(deserialize_with = "lenient::some_list")]
    responses: Option<Vec<Part>>,
}

const UNITS: http::HeaderName = http::HeaderName::from_static("sc-unit-system");

/// The longest page Smartcar gives.
const PAGE: usize = 50;

/// No owner has so many cars; what is beyond is given up.
const MOST_PAGES: usize = 20;

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "as expect-test writes them")]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::model::Timestamp;
    use crate::model::budget::Reason;
    use crate::model::reading::{Outcome, SignalFailure};
    use crate::smartcar::script::{Script, answer, good, run};

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../tests/fixtures/v2-", $name, ".json"))
        };
    }

    fn token() -> Secret {
        Secret::new("access-token")
    }

    #[test]
    fn user_and_vehicles() {
        let script = Script::new([good(fixture!("user"))]);
        assert_eq!(run(script.client().user(&token())), Ok(SmartcarUserId::new("6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b")));
        expect![[r#"
            GET https://api.smartcar.com/v2.0/user within 30 s
            accept: application/json
            authorization: Bearer access-token
            sc-unit-system: metric

        "#]]
        .assert_eq(&script.asked());

        let script = Script::new([good(fixture!("vehicles"))]);
        assert_eq!(run(script.client().vehicles(&token())).unwrap().len(), 2);
        assert_eq!(script.lines(), "GET https://api.smartcar.com/v2.0/vehicles?limit=50&offset=0\n");
    }

    #[test]
    fn pages_end() {
        let page = |ids: &str| good(&format!(r#"{{"vehicles":[{ids}],"paging":{{"count":4,"offset":0}}}}"#));
        let script = Script::new([page(r#""a","b""#), page(r#""b","c",7"#), page(r#""d""#)]);
        assert_eq!(run(script.client().vehicles(&token())).unwrap().len(), 4);
        let script = Script::new([page(r#""a""#), page(r#""a""#)]);
        assert_eq!(run(script.client().vehicles(&token())).unwrap().len(), 1);
        let endless = (0..100).map(|id| good(&format!(r#"{{"vehicles":["{id}"],"paging":{{"count":1000000000000}}}}"#)));
        assert_eq!(run(Script::new(endless).client().vehicles(&token())).unwrap().len(), MOST_PAGES);
    }

    #[test]
    fn facts_come_in_parts() {
        let vehicle = VehicleId::new("v?/#");
        let all = r#"{"permissions":["read_vehicle_info","read_vin"],"paging":{"count":2}}"#;
        let script = Script::new([good(all), good(fixture!("vehicle-attributes")), good(r#"{"vin":"0SCVIN"}"#)]);
        let facts = run(script.client().vehicle(&token(), &vehicle)).unwrap();
        assert_eq!(
            (facts.id, facts.make.as_deref(), facts.vin.as_deref()),
            (vehicle.clone(), Some("VOLKSWAGEN"), Some("0SCVIN"))
        );
        expect![[r#"
            GET https://api.smartcar.com/v2.0/vehicles/v%3F%2F%23/permissions?limit=50&offset=0
            GET https://api.smartcar.com/v2.0/vehicles/v%3F%2F%23
            GET https://api.smartcar.com/v2.0/vehicles/v%3F%2F%23/vin
        "#]]
        .assert_eq(&script.lines());

        let script = Script::new([good(r#"{"permissions":[],"paging":{"count":0}}"#)]);
        let facts = run(script.client().vehicle(&token(), &vehicle)).unwrap();
        assert_eq!((facts.make, facts.vin, facts.permissions), (None, None, Some(Vec::new())));

        let script = Script::new([answer(500, &[], ""), good(fixture!("vehicle-attributes")), answer(409, &[], "")]);
        let facts = run(script.client().vehicle(&token(), &vehicle)).unwrap();
        assert_eq!((facts.make.as_deref(), facts.vin, facts.permissions), (Some("VOLKSWAGEN"), None, None));

        let script = Script::new([answer(500, &[], ""), answer(404, &[], ""), answer(404, &[], "")]);
        assert!(matches!(run(script.client().vehicle(&token(), &vehicle)), Err(SmartcarError::Later { .. })));
        let script = Script::new([good(all), answer(401, &[], fixture!("error-authentication"))]);
        assert!(matches!(run(script.client().vehicle(&token(), &vehicle)), Err(SmartcarError::Unauthorized { .. })));
    }

    #[test]
    fn one_batch_reads_what_is_granted() {
        let granted = ["read_odometer", "read_battery", "read_fuel", "control_charge"].map(str::to_owned);
        let script = Script::new([answer(200, &[("SC-Fetched-At", "2025-10-09T08:53:21Z")], fixture!("batch-mixed"))]);
        let permit = Permit::granted(1, Reason::Picture, false);
        let paths = mapping::open_to(Some(&granted));
        let read = run(script.client().read(&token(), &VehicleId::new("v"), &paths, &permit)).unwrap();
        let reports = read.reports;
        assert_eq!((permit.sent(), read.limit), (1, None));
        expect![[r#"
            POST https://api.smartcar.com/v2.0/vehicles/v/batch within 310 s
            accept: application/json
            authorization: Bearer access-token
            sc-unit-system: metric
            content-type: application/json
            {"requests":[{"path":"/odometer"},{"path":"/battery"},{"path":"/battery/capacity"},{"path":"/fuel"}]}
        "#]]
        .assert_eq(&script.asked());
        let codes: Vec<_> = reports.iter().map(|report| report.code.as_str()).collect();
        assert_eq!(codes.len(), 6);
        assert_eq!(codes[..3], ["odometer-traveleddistance", "tractionbattery-stateofcharge", "tractionbattery-range"]);
        let time = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!((reports[0].oem_updated_at, reports[0].retrieved_at), (time(1_759_999_860_000), time(1_760_000_000_000)));
        assert_eq!(reports[1].retrieved_at, time(1_760_000_001_000));
        let failure = SignalFailure {
            status: "ERROR".to_owned(),
            kind: Some("COMPATIBILITY".to_owned()),
            code: Some("VEHICLE_NOT_CAPABLE".to_owned()),
        };
        assert_eq!(reports[3].outcome, Outcome::Failed(failure));

        let script = Script::new([]);
        let permit = Permit::granted(1, Reason::Picture, false);
        assert!(run(script.client().read(&token(), &VehicleId::new("v"), &[], &permit)).unwrap().reports.is_empty());
        assert_eq!(permit.sent(), 0);
    }

    #[test]
    fn a_limit_within_a_batch_is_heard() {
        let part = |path: &str, status: u16, kind: &str, code: &str, after: &str| {
            let body = json!({ "type": kind, "code": code, "statusCode": status });
            json!({ "path": path, "code": status, "body": body, "headers": { "Retry-After": after } })
        };
        let vehicle = |after| part("/odometer", 429, "RATE_LIMIT", "VEHICLE", after);
        let application = part("/fuel", 429, "RATE_LIMIT", "SMARTCAR_API", "");
        let month = part("/vin", 430, "BILLING", "VEHICLE_REQUEST_LIMIT", "");
        let asleep = part("/battery", 409, "VEHICLE_STATE", "ASLEEP", "");
        let limit = |parts: &[&serde_json::Value]| {
            let script = Script::new([good(&json!({ "responses": parts }).to_string())]);
            let permit = Permit::granted(1, Reason::Picture, false);
            let read = run(script.client().read(&token(), &VehicleId::new("v"), &["/odometer"], &permit)).unwrap();
            assert!(!read.reports.is_empty());
            read.limit.map(|error| {
                let after =
                    if let SmartcarError::Later { after, .. } = &error { after.map(|after| after.as_secs()) } else { None };
                (error.failure().code.clone().unwrap(), after)
            })
        };
        assert_eq!(limit(&[&asleep]), None);
        assert_eq!(limit(&[&vehicle("30"), &asleep, &vehicle("90")]), Some(("VEHICLE".into(), Some(90))));
        assert_eq!(limit(&[&vehicle("90"), &application]), Some(("SMARTCAR_API".into(), None)));
        assert_eq!(limit(&[&vehicle("90"), &month, &application]), Some(("VEHICLE_REQUEST_LIMIT".into(), None)));
    }

    #[test]
    fn services_between_dates() {
        let permit = Permit::granted(1, Reason::Compat, false);
        let all = r#"[{"serviceId":"7","serviceDate":"2022-07-10T16:20:00Z","odometerDistance":50000.1}]"#;
        let headers = [("SC-Data-Age", "2025-10-09T08:51:00Z"), ("SC-Fetched-At", "2025-10-09T08:53:20Z")];
        let script = Script::new([answer(200, &headers, all), good("[]"), good("{}")]);
        let client = script.client();
        let ask = |days| run(client.history(&token(), &VehicleId::new("v"), days, &permit));
        let report = ask((Some("2020-01-01"), Some("2023-01-01"))).unwrap();
        assert_eq!(
            (report.code.as_str(), report.retrieved_at),
            ("service-records", Some(Timestamp::from_millis(1_760_000_000_000)))
        );
        let Outcome::Value(body) = report.outcome else { panic!("{report:?}") };
        assert_eq!(body.value()["values"][0]["odometer"], 50000.1);
        assert_eq!(
            ask((None, Some("2023-01-01"))).unwrap().outcome,
            Outcome::Value(crate::model::Json::of(&json!({ "values": [] })))
        );
        assert!(matches!(ask((None, None)), Err(SmartcarError::Later { .. })));
        let start = "GET https://api.smartcar.com/v2.0/vehicles/v/service/history?";
        let asked =
            ["start_date=2020-01-01&end_date=2023-01-01", "end_date=2023-01-01", ""].map(|query| format!("{start}{query}\n"));
        assert_eq!((script.lines(), permit.sent()), (asked.concat(), 3));
    }

    #[test]
    fn an_answer_that_is_not_understood_is_no_answer() {
        for body in ["", "<html>", r#"{"vehicles":"#, "[]", r#"{"vehicles":{}}"#, r#"{"status":"success"}"#, "\u{7f}"] {
            let error = run(Script::new([good(body)]).client().vehicles(&token())).unwrap_err();
            assert!(matches!(error, SmartcarError::Later { after: None, .. }), "{body}");
            assert_eq!(error.failure().to_string(), "v2.vehicles: Smartcar answered 200: the answer is not understood");
        }
    }

    #[test]
    fn disconnecting() {
        let script = Script::new([good(r#"{"status":"success"}"#)]);
        run(script.client().disconnect(&token(), &VehicleId::new("v"))).unwrap();
        assert_eq!(script.lines(), "DELETE https://api.smartcar.com/v2.0/vehicles/v/application\n");
    }
}
