//! The whole past, as a stream: each part is read when the one before was taken, so that memory is the same however
//! long it is, and a reader who stalls holds nothing of the store.

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::HeaderValue;
use http::header::CONTENT_DISPOSITION;
use serde::Serialize;
use serde_json::json;

use super::super::answer::{self, Answer};
use super::super::{Call, CutOff};
use super::{history, sheet};
use crate::model::{AppUserId, VehicleId};
use crate::vehicles::{Export, HistoryQuery, HistoryView, VehiclesError, Whose};

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A table of one vehicle.
    Sheet,
    /// A table whose lines are led by the vehicle, and end with its user.
    Sheets,
    /// A JSON object a line.
    Lines,
}

/// `GET export?vehicle=&signal=&since=&until=&format=csv|jsonl&units=`
pub(in crate::web) async fn whole(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let as_csv = query.one_of("format", &["csv", "jsonl"])? == Some("csv");
    let form = if as_csv { Form::Sheets } else { Form::Lines };
    let vehicle = query.take("vehicle").map(VehicleId::new);
    let wanted = history::range(call, &mut query)?;
    query.finish()?;
    let export = call.services.rooms.vehicles.export(call.reach()?, vehicle.as_ref(), wanted).await?;
    Ok(answer(export, form))
}

/// The table of one vehicle.
pub(super) async fn of_one(call: &Call<'_>, id: &VehicleId, wanted: HistoryQuery) -> Answer {
    let export = call.services.rooms.vehicles.whole_history(call.reach()?, id, wanted).await?;
    Ok(answer(export, Form::Sheet))
}

fn answer(export: Export, form: Form) -> http::Response<super::super::Body> {
    let (kind, name) = match form {
        Form::Sheet => ("text/csv; charset=utf-8", "attachment; filename=\"history.csv\""),
        Form::Sheets => ("text/csv; charset=utf-8", "attachment; filename=\"export.csv\""),
        Form::Lines => ("application/jsonl; charset=utf-8", "attachment; filename=\"export.jsonl\""),
    };
    let mut response = answer::stream(kind, parts(export, form));
    response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static(name));
    response
}

fn parts(export: Export, form: Form) -> impl Stream<Item = Result<Bytes, CutOff>> + Send {
    let head = match form {
        Form::Sheet => sheet::CHANGES.to_owned(),
        Form::Sheets => sheet::EXPORT.to_owned(),
        Form::Lines => String::new(),
    };
    let rest = stream::unfold(Some(export), move |export| async move {
        let mut export = export?;
        match export.next().await {
            Ok(Some((whose, rows))) => Some((Ok(written(form, &whose, &rows)), Some(export))),
            Ok(None) => match export.left_out().await {
                Ok(0) => None,
                Ok(rows) => Some((Ok(left_out(form, rows)), None)),
                Err(error) => Some((Err(cut_off(&error)), None)),
            },
            Err(error) => Some((Err(cut_off(&error)), None)),
        }
    });
    futures_util::StreamExt::chain(stream::iter((!head.is_empty()).then(|| Ok(Bytes::from(head)))), rest)
}

fn cut_off(error: &VehiclesError) -> CutOff {
    tracing::warn!(%error, "an export was cut off");
    CutOff
}

/// The last line of one that leaves something out.
fn left_out(form: Form, rows: usize) -> Bytes {
    let what = if rows == 1 { "1 row of the store is".to_owned() } else { format!("{rows} rows of the store are") };
    let sentence = format!(
        "{what} damaged and left out: `carport check` names what is damaged; what a repair has lost comes back when the owner \
         connects the car again."
    );
    match form {
        Form::Sheet => sheet::left_out(sheet::CHANGES, &sentence).into(),
        Form::Sheets => sheet::left_out(sheet::EXPORT, &sentence).into(),
        Form::Lines => format!("{}\n", json!({ "left_out": rows, "detail": sentence })).into(),
    }
}

/// A line of an export.
#[derive(Serialize)]
struct Line<'a> {
    vehicle: &'a VehicleId,
    user: &'a AppUserId,
    #[serde(flatten)]
    change: &'a HistoryView,
}

fn written(form: Form, whose: &Whose, rows: &[HistoryView]) -> Bytes {
    let mut out = String::new();
    for row in rows {
        match form {
            Form::Sheet => sheet::change(&mut out, None, row),
            Form::Sheets => sheet::change(&mut out, Some(whose), row),
            Form::Lines => {
                // Our own types always serialise.
                out.push_str(
                    &serde_json::to_string(&Line { vehicle: &whose.vehicle, user: &whose.user, change: row }).unwrap_or_default(),
                );
                out.push('\n');
            }
        }
    }
    out.into()
}
