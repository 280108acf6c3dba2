//! What is asked about one car: an endpoint, and of its service history the days that are meant.

use serde_json::Value;

use crate::model::Timestamp;
use crate::model::api_error::ApiError;

/// An endpoint of API v2.0, as a client asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The path below the vehicle, without slashes around it.
    pub path: String,
    query: String,
}

impl Question {
    /// The endpoint at a path, with what stands behind its question mark.
    pub fn new(path: &str, query: &str) -> Question {
        Question { path: path.trim_matches('/').to_owned(), query: query.to_owned() }
    }

    /// From a path with its query, as in a batch.
    pub fn parse(text: &str) -> Question {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        Question::new(path, query)
    }

    /// The days that are meant. Of the service history only.
    pub(super) fn days(&self) -> Result<Days, ApiError> {
        if self.path == HISTORY { Days::of(&self.query) } else { Ok(Days::default()) }
    }
}

/// The endpoint that has days.
pub(super) const HISTORY: &str = "service/history";

/// From one day to another, both with it; `None`: as long as there is something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Days {
    since: Option<u32>,
    until: Option<u32>,
}

impl Days {
    fn of(query: &str) -> Result<Days, ApiError> {
        let given = |names: [&str; 2]| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            // The official SDK for Node says `undefined` when it is given none.
            pairs.find(|(name, text)| names.contains(&&**name) && !matches!(&**text, "" | "undefined")).map(|(_, text)| text)
        };
        let day = |names: [&'static str; 2]| {
            let Some(text) = given(names) else { return Ok(None) };
            let wrong = || ApiError::parameter(names[0], format!("{} must be a date such as 2025-10-09.", names[0]));
            day_of(&text).map(Some).ok_or_else(wrong)
        };
        // The official SDKs have a name of their own each.
        Ok(Days { since: day(["start_date", "startDate"])?, until: day(["end_date", "endDate"])? })
    }

    /// Whether any are named, and not in the wrong order.
    pub(super) fn are_some(self) -> bool {
        self != Days::default() && self.since.zip(self.until).is_none_or(|(since, until)| since <= until)
    }

    /// Whether the first or the last of them is this one or an earlier one.
    pub(super) fn begin_by(self, day: u32) -> bool {
        [self.since, self.until].into_iter().flatten().any(|own| own <= day)
    }

    /// As dates for Smartcar. Whether it counts in the last day is not documented, so it is asked for a day more; without a
    /// first day it begins a year ago, so that one before all cars is named.
    pub(super) fn dates(self) -> (Option<String>, Option<String>) {
        (Some(date_of(self.since.unwrap_or(0))), self.until.map(|day| date_of(day.saturating_add(1))))
    }

    /// Leaves the services of these days.
    pub(super) fn cut(self, body: &mut Value) {
        let fits = |record: &Value| {
            let day = record["serviceDate"].as_str().and_then(day_of);
            self.since.is_none_or(|since| day.is_some_and(|day| day >= since))
                && self.until.is_none_or(|until| day.is_some_and(|day| day <= until))
        };
        if let (Some(records), true) = (body.as_array_mut(), self != Days::default()) {
            records.retain(fits);
        }
    }
}

/// The day, UTC, of a date or a time.
fn day_of(text: &str) -> Option<u32> {
    Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z"))).map(Timestamp::day)
}

fn date_of(day: u32) -> String {
    let midnight = Timestamp::from_millis(i64::from(day) * 86_400_000).to_string();
    midnight.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn days_are_dates_or_times_and_nothing_else() {
        let cut = |query: &str| {
            let mut body = json!([{ "serviceDate": "2025-03-09T23:30:00Z" }, { "serviceDate": "2024-03-09" }, {}]);
            Question::new("/service/history", query).days().map(|days| {
                days.cut(&mut body);
                body.as_array().unwrap().len()
            })
        };
        for (query, left) in [
            ("", 3),
            ("start_date=undefined&end_date=undefined", 3),
            ("start_date=&end_date=", 3),
            ("start_date=2025-03-09&end_date=2025-03-09", 1),
            ("startDate=2024-03-09", 2),
            ("end_date=2024-12-31T00:00:00%2B01:00", 1),
            ("start_date=undefined&start_date=2025-01-01", 1),
        ] {
            assert_eq!(cut(query), Ok(left), "{query}");
        }
        for wrong in ["start_date=yesterday", "start_date=2025-13-01", "start_date=2025", "end_date=null"] {
            let error = cut(wrong).unwrap_err();
            let field = &wrong[..wrong.find('=').unwrap()];
            assert_eq!((error.status, &*error.detail[0].0), (400, field), "{wrong}");
        }
        // No other endpoint has days.
        assert_eq!(Question::parse("odometer?start_date=x").days(), Ok(Days::default()));
    }
}
