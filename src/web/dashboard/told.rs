//! Faults in sentences: what happened, the one thing to do, and what exactly was said.

use super::format;
use crate::operate::notices::NoticeView;
use crate::smartcar::in_two;
use crate::vehicles::connections::ConnectionView;

/// A fault.
#[derive(Debug)]
pub(super) struct Told {
    /// The class of its box.
    pub(super) color: &'static str,
    /// What happened.
    pub(super) what: String,
    /// The one thing to do.
    pub(super) remedy: String,
    /// The words for whoever looks closer.
    pub(super) exact: Option<String>,
}

impl Told {
    /// Why a connection is not as it should be.
    pub(super) fn of(connection: &ConnectionView, stopped: Option<&str>) -> Option<Told> {
        let (color, said, remedy) = match (connection.status, &connection.reason, &connection.last_error) {
            ("needs_reconnect", reason, _) => {
                let said = reason.as_deref().unwrap_or("Smartcar no longer accepts what the owner agreed to");
                ("red", said, "Press Reconnect: it makes a link on which the owner signs in. Everything that is here stays.")
            }
            (_, _, None) if connection.awaits_vehicles() => ("yellow", "Smartcar has not told its cars yet", SOON),
            ("disconnected", ..) => ("grey", "it was disconnected here", "Connect the car again when you want it back."),
            (_, _, None) if connection.serves_none => ("grey", "it serves no car any more", REST),
            (_, _, None) => return None,
            (_, _, Some(error)) if stopped.is_some_and(|stopped| stopped.contains(error.as_str())) => {
                ("red", error.as_str(), "Set it right in the configuration, then restart Carport.")
            }
            (_, _, Some(error)) => ("yellow", error.as_str(), "Nothing to do yet: Carport tries again by itself."),
        };
        let (plain, exact) = in_two(said);
        Some(Told { color, what: format::sentence(plain), remedy: remedy.to_owned(), exact: exact.map(str::to_owned) })
    }

    /// Notices of one kind; about all connections, or about this one.
    pub(super) fn notices(notices: &[NoticeView], code: &str, about: Option<&ConnectionView>) -> Vec<Told> {
        let wanted = |notice: &&NoticeView| notice.code == code && about.is_none_or(|one| notice.connection == Some(one.id));
        let told = notices.iter().filter(wanted).map(|notice| Told {
            color: "yellow",
            what: format::sentence(&notice.what),
            remedy: format::sentence(&notice.remedy),
            exact: None,
        });
        told.collect()
    }
}

const SOON: &str = "Nothing to do yet: Carport asks again by itself, every few minutes.";

const REST: &str = "Disconnect also ends what its account still opens at Smartcar, and takes no car from anybody else.";
