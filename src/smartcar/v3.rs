//! API v3: one application token for everybody, the Smartcar user in a header.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use http::{HeaderName, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::call::{Answer, Audience, Call, PATIENCE, join, segment};
use super::{Read, Smartcar, SmartcarError};
use crate::model::budget::Permit;
use crate::model::mapping;
use crate::model::reading::SignalReport;
use crate::model::vehicle::VehicleFacts;
use crate::model::wire::{SignalWire, VehicleWire};
use crate::model::{Secret, SmartcarUserId, VehicleId, lenient};

mod connections;

pub use connections::{ConnectionFilter, SmartcarConnection};

impl Smartcar {
    /// What Smartcar tells of a vehicle.
    pub async fn vehicle_v3(&self, app: &Secret, vehicle: &VehicleId) -> Result<VehicleFacts, SmartcarError> {
        let path = format!("/vehicles/{}", segment("v3.vehicle", vehicle.as_str())?);
        let answer = self.call(self.v3("v3.vehicle", Audience::Owner, Method::GET, &path, app)).await?;
        let resource: Resource<VehicleWire> = answer.read()?;
        let wire = resource.data.map_or_else(|| answer.read(), |wire| Ok(*wire))?;
        if wire.id.is_none() && wire.is_empty() {
            return Err(answer.not_understood());
        }
        Ok(wire.facts(vehicle.clone()))
    }

    /// The latest signals of a vehicle from Smartcar's store. An empty list is a good answer: nothing has
    /// filled the store yet. If fewer come than Smartcar says there are, the next pages are asked for, and
    /// then, singly, the signals we know best, as far as there is leave.
    pub async fn signals(
        &self,
        app: &Secret,
        user: &SmartcarUserId,
        vehicle: &VehicleId,
        permit: &Permit,
        beyond: Beyond<'_>,
    ) -> Result<Read, SmartcarError> {
        let path = format!("/vehicles/{}/signals", segment("v3.signals", vehicle.as_str())?);
        let mut reports: Vec<SignalReport> = Vec::new();
        let (mut query, mut total, mut further) = (String::new(), 0, None);
        for _ in 0..MOST_PAGES {
            let call = self.signal_call("v3.signals", &format!("{path}{query}"), app, user);
            let permit = further.as_ref().unwrap_or(permit);
            let page = match self.permitted(call, permit).await.and_then(|answer| Listing::<SignalWire>::of(&answer)) {
                Ok(page) => page,
                // What is here already is worth more than the page that is missing.
                Err(error) if !reports.is_empty() => return Ok(Read::of(reports, [error])),
                Err(error) => return Err(error),
            };
            total = page.total;
            let before = reports.len();
            for report in page.data.into_iter().filter_map(SignalWire::report) {
                if reports.iter().all(|known| known.code != report.code) {
                    reports.push(report);
                }
            }
            match page.next {
                Some(next) if reports.len() > before => query = next,
                _ => break,
            }
            further = (beyond.leave)().await;
            if further.is_none() {
                return Ok(Read::of(reports, None));
            }
        }
        let refusal = if reports.len() < total && !reports.is_empty() {
            self.missing_signals((&path, app, user, vehicle), beyond, total, &mut reports).await.err()
        } else {
            None
        };
        Ok(Read::of(reports, refusal))
    }

    /// Takes a vehicle away from the application, by Smartcar's id of the connection.
    pub async fn disconnect_v3(&self, app: &Secret, smartcar_connection_id: &str) -> Result<(), SmartcarError> {
        let path = format!("/connections/{}", segment("v3.disconnect", smartcar_connection_id)?);
        self.call(self.v3("v3.disconnect", Audience::Application, Method::DELETE, &path, app)).await.map(|_| ())
    }

    async fn missing_signals(
        &self,
        (path, app, user, vehicle): (&str, &Secret, &SmartcarUserId, &VehicleId),
        beyond: Beyond<'_>,
        total: usize,
        reports: &mut Vec<SignalReport>,
    ) -> Result<(), SmartcarError> {
        let known = mapping::endpoints().iter().flat_map(|endpoint| endpoint.signals).map(|signal| signal.code);
        let is_missing =
            |code: &&'static str| reports.iter().all(|report| report.code != *code) && !beyond.is_absent(vehicle, code);
        let mut missing: Vec<&'static str> = known.filter(is_missing).collect();
        // Two endpoints beside each other tell the same.
        missing.dedup();
        for code in missing.into_iter().take(MOST_SINGLE) {
            if reports.len() >= total {
                break;
            }
            let Some(permit) = (beyond.leave)().await else { break };
            let call = self.signal_call("v3.signal", &format!("{path}/{code}"), app, user);
            let signal = self.permitted(call, &permit).await.and_then(|answer| {
                let resource: Resource<SignalWire> = answer.read()?;
                resource.data.map_or_else(|| answer.read(), |wire| Ok(*wire))
            });
            match signal {
                Ok(signal) => reports.extend(signal.report().filter(|report| report.code == code)),
                Err(SmartcarError::NotPossible { .. }) => beyond.note_absent(vehicle, code),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn signal_call(&self, endpoint: &'static str, path: &str, app: &Secret, user: &SmartcarUserId) -> Call {
        let call = self.v3(endpoint, Audience::Owner, Method::GET, path, app).within(PATIENCE);
        call.header(USER, user.as_str().to_owned()).header(UNITS, "metric".to_owned())
    }

    pub(super) fn v3(&self, endpoint: &'static str, audience: Audience, method: Method, path: &str, app: &Secret) -> Call {
        let url = format!("{}{path}", join(&self.settings().origins.vehicle, "/v3"));
        Call::new(endpoint, audience, method, url).bearer(app)
    }
}

/// What a list of signals may cost beyond its first request, and what is known of its gaps.
#[derive(Clone, Copy)]
pub struct Beyond<'a> {
    /// The leave to send one more request, each time; `None`: not now.
    pub leave: &'a (dyn Fn() -> BoxFuture<'a, Option<Permit>> + Send + Sync),
    /// Signals of vehicles that Smartcar has shown not to have, and that are not asked for again.
    pub absent: &'a Mutex<HashSet<(VehicleId, &'static str)>>,
}

impl Beyond<'_> {
    fn is_absent(&self, vehicle: &VehicleId, code: &'static str) -> bool {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner).contains(&(vehicle.clone(), code))
    }

    fn note_absent(&self, vehicle: &VehicleId, code: &'static str) {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner).insert((vehicle.clone(), code));
    }
}

/// A single resource under `data`; elsewhere it stands bare.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
struct Resource<T> {
    #[serde(default, deserialize_with = "lenient::map")]
    data: Option<Box<T>>,
}

/// One page of a list.
#[derive(Debug)]
struct Listing<T> {
    data: Vec<T>,
    total: usize,
    /// The query of the next page. The host it names is not asked: only ours gets our token.
    next: Option<String>,
}

impl<T: DeserializeOwned> Listing<T> {
    fn of(answer: &Answer) -> Result<Listing<T>, SmartcarError> {
        let wire: ListingWire<T> = answer.read()?;
        let plain = |query: &&str| query.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"#<>".contains(&byte));
        let query = wire.links.next.as_deref().and_then(|link| Some(link.split_once('?')?.1)).filter(plain);
        let next = query.map(|query| format!("?{query}"));
        Ok(Listing {
            data: wire.data.or(wire.connections).ok_or_else(|| answer.not_understood())?,
            total: wire.meta.total_count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0),
            next,
        })
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
struct ListingWire<T> {
    #[serde(default, deserialize_with = "lenient::some_list")]
    data: Option<Vec<T>>,
    /// The name of the list in a flat body that one tutorial reads.
    #[serde(default, deserialize_with = "lenient::some_list")]
    connections: Option<Vec<T>>,
    #[serde(default, deserialize_with = "lenient::object")]
    meta: ListingMeta,
    #[serde(default, deserialize_with = "lenient::object")]
    links: Links,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListingMeta {
    #[serde(deserialize_with = "lenient::integer")]
    total_count: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Links {
    #[serde(deserialize_with = "lenient::text")]
    next: Option<String>,
}

pub(super) const USER: HeaderName = HeaderName::from_static("sc-user-id");
const UNITS: HeaderName = HeaderName::from_static("sc-unit-system");

/// The end of following pages: an answer must not make us ask for ever.
const MOST_PAGES: usize = 50;

/// The most signals asked for singly: each may count as a call against the plan.
const MOST_SINGLE: usize = 3;

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "as expect-test writes them")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;
    use crate::model::budget::Reason;
    use crate::model::lenient::tests::any_json;
    use crate::model::reading::Outcome;
    use crate::smartcar::TOKEN;
    use crate::smartcar::script::{Script, answer, good, run};

    const USER_ID: &str = "6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b";

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../tests/fixtures/", $name, ".json"))
        };
    }

    /// With leave for so many requests.
    fn ask_with(script: &Script, leave: usize, absent: &Mutex<HashSet<(VehicleId, &'static str)>>) -> Vec<SignalReport> {
        let (user, vehicle) = (SmartcarUserId::new(USER_ID), VehicleId::new("a/b"));
        let granted = || Permit::granted(1, Reason::Picture, false);
        let (permit, left) = (granted(), AtomicUsize::new(leave - 1));
        let leave = || -> BoxFuture<'_, Option<Permit>> {
            let took = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            Box::pin(std::future::ready(took.ok().map(|_| granted())))
        };
        let beyond = Beyond { leave: &leave, absent };
        let signals = run(script.client().signals(&Secret::new("app-token"), &user, &vehicle, &permit, beyond));
        assert_eq!(permit.sent(), 1);
        signals.unwrap().reports
    }

    fn ask_signals(script: &Script) -> Vec<SignalReport> {
        ask_with(script, 100, &Mutex::default())
    }

    fn say(reports: &[SignalReport]) -> String {
        let line = |report: &SignalReport| {
            let body = match &report.outcome {
                Outcome::Value(body) => body.as_str().split_whitespace().collect(),
                Outcome::Failed(failure) => format!("{failure:?}"),
            };
            format!("{} {:?} {:?} {body}\n", report.code, report.oem_updated_at, report.retrieved_at)
        };
        reports.iter().map(line).collect()
    }

    #[test]
    fn signals_with_times_as_text_and_as_numbers() {
        let script = Script::new([good(fixture!("v3-signals"))]);
        expect![[r#"
            tractionbattery-stateofcharge Some(Timestamp(1760000000000)) Some(Timestamp(1760000001500)) {"value":64,"unit":"percent"}
            odometer-traveleddistance Some(Timestamp(1760000000000)) Some(Timestamp(1760000001500)) {"value":18342.6,"unit":"km"}
            closure-doors Some(Timestamp(1760000000000)) Some(Timestamp(1760000001500)) {"values":[{"row":0,"column":0,"isOpen":false,"isLocked":true},{"row":0,"column":1,"isOpen":false,"isLocked":true}],"rowCount":2,"columnCount":2}
            location-isathome None None SignalFailure { status: "ERROR", kind: Some("COMPATIBILITY"), code: Some("VEHICLE_NOT_CAPABLE") }
        "#]].assert_eq(&say(&ask_signals(&script)));
        expect![[r#"
            GET https://vehicle.api.smartcar.com/v3/vehicles/a%2Fb/signals within 310 s
            accept: application/json
            authorization: Bearer app-token
            sc-user-id: 6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b
            sc-unit-system: metric

        "#]]
        .assert_eq(&script.asked());
        let script = Script::new([good(fixture!("v3-signals-epoch-ms"))]);
        expect![[r#"
            tractionbattery-stateofcharge Some(Timestamp(1760000000000)) Some(Timestamp(1760000001500)) {"value":64,"unit":"percent"}
        "#]].assert_eq(&say(&ask_signals(&script)));
        let script = Script::new([good(fixture!("v3-signals-empty"))]);
        assert_eq!(ask_signals(&script), Vec::new());
    }

    #[test]
    fn missing_signals_are_asked_for_by_page_and_then_singly() {
        let page = |code: &str, next: &str| {
            format!(
                r#"{{"data":[{{"attributes":{{"code":"{code}","body":{{}}}}}}],"meta":{{"totalCount":4}},"links":{{"next":{next}}}}}"#
            )
        };
        let script = Script::new([
            good(&page("odometer-traveleddistance", r#""https://evil.example/x?page=2&a[b]=1""#)),
            good(&page("charge-voltage", "null")),
            answer(404, &[], ""),
            good(r#"{"data":{"id":"tractionbattery-range","attributes":{"body":{"value":1}}}}"#),
            good(r#"{"id":"tractionbattery-nominalcapacity","attributes":{"body":{"value":2}}}"#),
        ]);
        expect![[r#"
            odometer-traveleddistance None None {}
            charge-voltage None None {}
            tractionbattery-range None None {"value":1}
            tractionbattery-nominalcapacity None None {"value":2}
        "#]]
        .assert_eq(&say(&ask_signals(&script)));
        expect![[r#"
            GET https://vehicle.api.smartcar.com/v3/vehicles/a%2Fb/signals
            GET https://vehicle.api.smartcar.com/v3/vehicles/a%2Fb/signals?page=2&a[b]=1
            GET https://vehicle.api.smartcar.com/v3/vehicles/a%2Fb/signals/tractionbattery-stateofcharge
            GET https://vehicle.api.smartcar.com/v3/vehicles/a%2Fb/signals/tractionbattery-range
            GET https://vehicle.api.smartcar.com/v3/vehicles/a%2Fb/signals/tractionbattery-nominalcapacity
        "#]]
        .assert_eq(&script.lines());
    }

    #[test]
    fn no_request_goes_out_without_leave_and_none_for_what_is_not_there() {
        let page = |code: &str, next: &str| {
            good(&format!(
                r#"{{"data":[{{"attributes":{{"code":"{code}","body":{{}}}}}}],"meta":{{"totalCount":9}},"links":{{"next":{next}}}}}"#
            ))
        };
        let pages = || (0..9).map(|number| page(&format!("a-{number}"), r#""x?page=2""#)).collect::<Vec<_>>();
        for leave in [1, 3] {
            let script = Script::new(pages());
            let reports = ask_with(&script, leave, &Mutex::default());
            assert_eq!((reports.len(), script.lines().lines().count()), (leave, leave));
        }
        let absent = Mutex::default();
        let mut asked = Vec::new();
        for leave in [3, 100] {
            let gone = || answer(404, &[], "");
            let script = Script::new([page("odometer-traveleddistance", "null"), gone(), gone(), gone()]);
            assert_eq!(ask_with(&script, leave, &absent).len(), 1);
            asked.extend(script.lines().lines().skip(1).map(str::to_owned));
        }
        let mut once = asked.clone();
        once.sort();
        once.dedup();
        assert_eq!((asked.len(), once.len()), (5, 5), "{asked:?}");
    }

    #[test]
    fn vehicles_bare_and_under_data() {
        for body in [fixture!("v3-vehicle"), fixture!("v3-vehicle-bare")] {
            let facts = run(Script::new([good(body)]).client().vehicle_v3(&Secret::new("t"), &VehicleId::new("v"))).unwrap();
            assert_eq!(
                (facts.make.as_deref(), facts.model.as_deref(), facts.year),
                (Some("VOLKSWAGEN"), Some("ID.4"), Some(2023))
            );
            assert_eq!(facts.id, VehicleId::new("v"));
        }
        for body in ["{}", "[]", "", "<html>", r#"{"data":[]}"#] {
            let facts = run(Script::new([good(body)]).client().vehicle_v3(&Secret::new("t"), &VehicleId::new("v")));
            assert!(matches!(facts, Err(SmartcarError::Later { .. })), "{body}");
        }
    }

    #[test]
    fn disconnecting_reads_no_answer() {
        for status in [200, 202, 204] {
            let script = Script::new([answer(status, &[], "")]);
            run(script.client().disconnect_v3(&Secret::new("t"), "c/1")).unwrap();
            assert_eq!(script.lines(), "DELETE https://vehicle.api.smartcar.com/v3/connections/c%2F1\n");
        }
        let script = Script::new([]);
        let refused = run(script.client().disconnect_v3(&Secret::new("t"), ".."));
        assert!(matches!(refused, Err(SmartcarError::NotPossible { .. })));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_or_ask_for_ever(body in any_json(), bytes in any::<Vec<u8>>()) {
            for body in [body.as_bytes(), &bytes] {
                let same = |_: usize| Ok(http::Response::new(bytes::Bytes::copy_from_slice(body)));
                let client = Script::new((0..400).map(same)).client();
                let (app, user, vehicle) = (Secret::new("t"), SmartcarUserId::new("u"), VehicleId::new("v"));
                let permit = Permit::granted(1, Reason::Picture, false);
                let leave = || -> BoxFuture<'_, Option<Permit>> {
                    Box::pin(std::future::ready(Some(Permit::granted(1, Reason::Picture, false))))
                };
                let beyond = Beyond { leave: &leave, absent: &Mutex::default() };
                let _ = run(client.signals(&app, &user, &vehicle, &permit, beyond));
                let _ = run(client.vehicle_v3(&app, &vehicle));
                let _ = run(client.connections(&app, ConnectionFilter::default()));
                let _ = run(client.user(&app));
                let _ = run(client.vehicles(&app));
                let _ = run(client.vehicle(&app, &vehicle));
                let _ = run(client.read(&app, &vehicle, &mapping::open_to(None), &permit));
                let _ = run(client.refresh(&app, TOKEN));
                let _ = run(client.application_token());
            }
        }
    }
}
