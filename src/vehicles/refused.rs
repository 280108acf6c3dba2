//! Accounts that a manufacturer refuses, as reads show it: then nothing more is asked about their cars, until one tells
//! something again or its owner connects it.

use super::Shared;
use crate::model::connection::Connection;
use crate::model::reading::{Outcome, SignalFailure, SignalReport};
use crate::smartcar::SmartcarError;
use crate::store::StoreError;
use crate::store::tellings::Latest;
use crate::tokens::CallError;

/// Why the manufacturer refuses the account, if that is what a read shows.
pub(super) async fn look(
    shared: &Shared,
    row: u32,
    connection: &Connection,
    result: &Result<Vec<SignalReport>, CallError>,
) -> Result<Option<String>, StoreError> {
    let (reason, code) = match result {
        Err(CallError::Smartcar(SmartcarError::Reconnect { what, .. })) if what.kind.as_deref() == Some(ACCOUNT) => {
            (what.to_string(), what.code.as_deref().map(str::to_owned))
        }
        Ok(reports) if reports.iter().any(|report| refusal(report).is_some()) => {
            let known = shared.store.read(move |snapshot| snapshot.latest(row)).await?;
            let Some(failure) = of_reports(reports, &known) else { return Ok(None) };
            let why = failure.code.as_deref().unwrap_or(ACCOUNT);
            (format!("the manufacturer refuses the account: {why}"), failure.code.clone())
        }
        Ok(_) | Err(_) => return Ok(None),
    };
    if code.is_some_and(|code| OF_ONE_CAR.contains(&code.as_str())) {
        let connection = connection.clone();
        let served = shared.store.read(move |snapshot| snapshot.vehicles_of(&connection)).await?;
        // The others may well be read.
        return Ok(Some(reason).filter(|_| served.len() < 2));
    }
    Ok(Some(reason))
}

/// Whether this is a value that Smartcar must have asked the manufacturer for.
pub(super) fn is_of_car(report: &SignalReport) -> bool {
    let is_known_without = report.code.starts_with("vehicleidentification-") || report.code == "tractionbattery-nominalcapacity";
    matches!(report.outcome, Outcome::Value(_)) && !is_known_without
}

/// A batch of v2.0 says it in every part but for those that Smartcar knows by itself. The signals of v3 come out of
/// Smartcar's store: values that were known before say nothing against it.
fn of_reports<'a>(reports: &'a [SignalReport], known: &[Latest]) -> Option<&'a SignalFailure> {
    let signed_out = reports.iter().find(|report| refusal(report).is_some_and(|failure| failure.code.as_deref() == SIGNED_OUT));
    let first = signed_out.or_else(|| reports.iter().find(|report| refusal(report).is_some())).and_then(refusal)?;
    let is_news = |report: &SignalReport| {
        let before = known.iter().find(|latest| latest.code == report.code).and_then(|latest| latest.reading.as_ref());
        let before = before.and_then(|reading| reading.oem_updated_at);
        before.is_none() || report.oem_updated_at.is_none() || report.oem_updated_at > before
    };
    let speaks_against = |report: &SignalReport| match &report.outcome {
        Outcome::Value(_) => is_of_car(report) && (signed_out.is_none() || is_news(report)),
        Outcome::Failed(failure) => !matches!(failure.kind.as_deref(), Some(ACCOUNT | "COMPATIBILITY" | "PERMISSION")),
    };
    (!reports.iter().any(speaks_against)).then_some(first)
}

fn refusal(report: &SignalReport) -> Option<&SignalFailure> {
    match &report.outcome {
        Outcome::Failed(failure) if failure.kind.as_deref() == Some(ACCOUNT) => Some(failure),
        _ => None,
    }
}

const ACCOUNT: &str = "CONNECTED_SERVICES_ACCOUNT";

/// What may be wrong with one car of an account only.
const OF_ONE_CAR: [&str; 3] = ["SUBSCRIPTION", "VEHICLE_MISSING", "VIRTUAL_KEY_REQUIRED"];

/// The manufacturer does not take the sign-in: that holds for everything.
const SIGNED_OUT: Option<&str> = Some("AUTHENTICATION_FAILED");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::{Reading, Source};
    use crate::model::{Json, Timestamp};

    fn value(code: &str, recorded: Option<Timestamp>) -> SignalReport {
        let outcome = Outcome::Value(Json::of(&serde_json::json!({ "value": 1 })));
        SignalReport { code: code.into(), group: None, name: None, outcome, oem_updated_at: recorded, retrieved_at: None }
    }

    fn failed(kind: &str, code: Option<&str>) -> SignalReport {
        let failure = SignalFailure { status: "ERROR".into(), kind: Some(kind.into()), code: code.map(str::to_owned) };
        SignalReport { outcome: Outcome::Failed(failure), ..value("charge-ischarging", None) }
    }

    fn known(recorded: Option<Timestamp>) -> Latest {
        let body = Json::of(&serde_json::json!({ "value": 1 }));
        let reading =
            Reading { body, at: Timestamp::default(), oem_updated_at: recorded, retrieved_at: None, source: Source::Read };
        Latest {
            code: "odometer-traveleddistance".into(),
            group: None,
            name: None,
            reading: Some(reading),
            failure: None,
            told_at: None,
            reading_told_at: None,
            lack: None,
        }
    }

    #[test]
    fn an_account_is_refused_unless_a_car_speaks_against_it() {
        let at = |seconds: i64| Some(Timestamp::from_millis(seconds * 1000));
        let (vin, odometer) = (value("vehicleidentification-vin", at(9)), value("odometer-traveleddistance", at(9)));
        let signed_out = failed(ACCOUNT, SIGNED_OUT);
        let (no_plan, none) = (failed(ACCOUNT, Some("SUBSCRIPTION")), failed("COMPATIBILITY", None));
        let asleep = failed("VEHICLE_STATE", Some("ASLEEP"));
        for (reports, known, expected) in [
            (vec![], vec![], false),
            (vec![&vin], vec![], false),
            (vec![&signed_out], vec![], true),
            (vec![&vin, &signed_out, &none], vec![], true),
            (vec![&vin, &no_plan], vec![], true),
            (vec![&no_plan, &asleep], vec![], false),
            // What is old says nothing, but only of a sign-in that fails: other troubles may be those of one signal.
            (vec![&odometer, &signed_out], vec![], false),
            (vec![&odometer, &signed_out], vec![known(at(8))], false),
            (vec![&odometer, &signed_out], vec![known(at(9))], true),
            (vec![&odometer, &no_plan], vec![known(at(9))], false),
        ] {
            let reports: Vec<SignalReport> = reports.into_iter().cloned().collect();
            assert_eq!(of_reports(&reports, &known).is_some(), expected, "{reports:?} {known:?}");
        }
    }
}
