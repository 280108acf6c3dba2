//! Notices: what an operator is told once, and that it is over.

use serde::{Deserialize, Serialize};

use super::token::Generation;
use super::{ConnectionId, Timestamp};

/// What a notice is about. There is one notice at most for each subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A connection that only its owner can mend.
    NeedsReconnect(ConnectionId),
    /// A connection whose access ends soon, because it is not renewed.
    AccessEnding(ConnectionId),
    /// Smartcar refuses our credentials of a generation.
    CredentialsRefused(Generation),
    /// Tokens of a generation cannot be renewed for a reason that passes.
    RenewalFailing(Generation),
    /// The certificate that is shown ends soon.
    CertificateEnding,
    /// A new certificate was put in the place of the one that is shown, and cannot be used.
    CertificateUnusable,
    /// Whoever issues the certificate does not issue another.
    CertificateRefused,
    /// Smartcar has ended API v2.0, by which cars are connected.
    V2Ended,
    /// The owner has taken the access to one of several cars back: the row of the vehicle.
    TakenBack(u32),
}

impl Subject {
    /// A stable name of its kind.
    pub fn code(&self) -> &'static str {
        match self {
            Subject::NeedsReconnect(_) => "needs_reconnect",
            Subject::AccessEnding(_) => "access_ending",
            Subject::CredentialsRefused(_) => "credentials_refused",
            Subject::RenewalFailing(_) => "renewal_failing",
            Subject::CertificateEnding => "certificate_ending",
            Subject::CertificateUnusable => "certificate_unusable",
            Subject::CertificateRefused => "certificate_refused",
            Subject::V2Ended => "v2_ended",
            Subject::TakenBack(_) => "taken_back",
        }
    }

    /// The connection that it is about.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self {
            Subject::NeedsReconnect(id) | Subject::AccessEnding(id) => Some(*id),
            _ => None,
        }
    }

    /// The row of the vehicle that it is about, if it is about one alone.
    pub fn vehicle(&self) -> Option<u32> {
        match self {
            Subject::TakenBack(row) => Some(*row),
            _ => None,
        }
    }

    /// Whether it is about the vehicle in a row, or about the connection that serves it.
    pub fn concerns(&self, row: u32, connection: Option<ConnectionId>) -> bool {
        self.vehicle() == Some(row) || connection.is_some() && self.connection() == connection
    }

    /// The generation that it is about, if it is about a whole one.
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Subject::CredentialsRefused(generation) | Subject::RenewalFailing(generation) => Some(*generation),
            Subject::V2Ended => Some(Generation::V2),
            _ => None,
        }
    }

    /// Whether it is about our own certificate.
    pub fn is_of_certificate(&self) -> bool {
        matches!(self, Subject::CertificateEnding | Subject::CertificateUnusable | Subject::CertificateRefused)
    }
}

/// A notice that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What it is about.
    pub subject: Subject,
    /// When it was given first.
    pub since: Timestamp,
    /// What happened, in the words of whoever noticed.
    pub reason: Option<String>,
    /// When access ends.
    pub ends_at: Option<Timestamp>,
    /// The threshold that was crossed last, in days before the end.
    pub days: Option<u8>,
}
