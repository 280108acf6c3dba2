//! Notices in words: what happened, and the one thing to do.

use serde::Serialize;

use crate::model::notice::{Notice, Subject};
use crate::model::token::Generation;
use crate::model::{ConnectionId, Timestamp, VehicleId};
use crate::smartcar::sunset::{self, Cars};

/// A notice, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct NoticeView {
    /// A stable name, such as `needs_reconnect`.
    pub code: &'static str,
    /// The connection that it is about; null if it is about all.
    pub connection: Option<ConnectionId>,
    /// The car that it is about, if it is about one alone.
    pub vehicle: Option<VehicleId>,
    /// The generation that it is about, if it is about a whole one.
    pub generation: Option<Generation>,
    /// What happened, in one sentence.
    pub what: String,
    /// The one thing to do.
    pub remedy: String,
    /// Where that is done.
    pub url: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When access ends.
    pub ends_at: Option<Timestamp>,
    /// The threshold that was crossed last, in days before the end.
    pub days: Option<u8>,
}

impl NoticeView {
    /// As told to people. `vehicle` is the one that it is about, or one of those that the connection serves which it is about.
    pub(in super::super) fn of(notice: Notice, vehicle: Option<&VehicleId>, dashboard_url: &str, now: Timestamp) -> NoticeView {
        let Notice { subject, since, reason, ends_at, days } = notice;
        let link =
            vehicle.map(|id| format!(", or send the owner the link of `carport connect --vehicle {id}`")).unwrap_or_default();
        let because = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let (what, remedy) = match subject {
            Subject::NeedsReconnect(_) => (
                format!("a connection waits for its owner{because}"),
                &*format!("press Reconnect on the page of connections{link}"),
            ),
            Subject::AccessEnding(_) => (
                format!("access to the cars of a connection {}, because it is not renewed{because}", ends(ends_at, now)),
                &*format!("mend what keeps it from being renewed, or press Reconnect on the page of connections{link}"),
            ),
            Subject::CredentialsRefused(generation) => (
                reason.unwrap_or_else(|| format!("Smartcar refuses our credentials for {generation}")),
                "compare client id and client secret with Smartcar's dashboard, set them right and reload (sudo systemctl reload carport); another client id needs a restart",
            ),
            Subject::RenewalFailing(generation) => (
                format!("access by {generation} cannot be renewed at the moment{because}"),
                "nothing yet: Carport tries again by itself; if it lasts for hours, run `carport check`",
            ),
            Subject::V2Ended => (
                sunset::what(Cars::ByV2),
                &*format!("{}; Carport asks v2.0 again every hour, should it be a mistake", sunset::way_out(Cars::ByV2, true)),
            ),
            Subject::TakenBack(_) => (
                format!("an owner has taken the access to one of several cars back at Smartcar (found on {})", since.plain()),
                &*format!(
                    "send the owner the link of `carport connect --vehicle {0}`; if the car is not to come back, `carport vehicles disconnect {0}` ends this",
                    vehicle.map_or("ID", VehicleId::as_str)
                ),
            ),
            Subject::CertificateEnding => (
                format!("the certificate that Carport shows {}{because}", ends(ends_at, now)),
                "renew it: tls.cert and tls.key are read again without a restart, and what is renewed here says why it is not",
            ),
            Subject::CertificateUnusable => (
                format!("the new certificate cannot be used, and the one before is shown on{because}"),
                "set tls.cert and tls.key right: they are read again without a restart",
            ),
            // As the order says it that did not get that far.
            Subject::CertificateRefused if because.contains(" cannot be reached: ") => (
                format!("no new certificate is issued at the moment{because}"),
                "look after the network and the DNS of this machine; Carport tries again by itself",
            ),
            Subject::CertificateRefused => (
                format!("no new certificate is issued at the moment{because}"),
                "see that the name leads here and that the port of the challenge is forwarded, or choose another tls.acme.challenge; Carport tries again by itself",
            ),
        };
        let page = match subject {
            Subject::NeedsReconnect(_) | Subject::AccessEnding(_) => Some(format!("{dashboard_url}/connections")),
            Subject::CredentialsRefused(_) => Some(format!("{dashboard_url}/setup")),
            _ => None,
        };
        NoticeView {
            code: subject.code(),
            connection: subject.connection(),
            vehicle: vehicle.filter(|_| subject.vehicle().is_some()).cloned(),
            generation: subject.generation(),
            what,
            remedy: remedy.to_owned(),
            url: page,
            since,
            ends_at,
            days,
        }
    }
}

/// `ends in 3 days`
fn ends(ends_at: Option<Timestamp>, now: Timestamp) -> String {
    let Some(ends_at) = ends_at else { return "ends soon".to_owned() };
    match ends_at.since(now).as_secs() {
        0 => "has ended".to_owned(),
        1..5400 => "ends within an hour or two".to_owned(),
        seconds @ 5400..172_800 => format!("ends in {} hours", (seconds + 1800) / 3600),
        seconds => format!("ends in {} days", (seconds + 43_200) / 86_400),
    }
}
