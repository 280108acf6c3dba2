//! Vehicles and what is wrong with them.

use serde::{Deserialize, Serialize};

use super::{AppUserId, ConnectionId, Seq, Timestamp, VehicleId};

/// What Smartcar tells of a vehicle when it is linked. Everything but the id may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VehicleFacts {
    /// Smartcar's id.
    pub id: VehicleId,
    /// Such as `VOLKSWAGEN`.
    pub make: Option<String>,
    /// Such as `ID.4`.
    pub model: Option<String>,
    /// The model year.
    pub year: Option<i32>,
    /// The VIN, if the owner granted it.
    pub vin: Option<String>,
    /// `live` or `simulated`.
    pub mode: Option<String>,
    /// Such as `BEV`.
    pub powertrain: Option<String>,
    /// Smartcar's own id of the connection of this vehicle (v3).
    pub smartcar_connection_id: Option<String>,
    /// What the owner really granted; `None` if Smartcar did not say.
    pub permissions: Option<Vec<String>>,
}

impl VehicleFacts {
    /// A vehicle of which only the id is known.
    pub fn unknown(id: VehicleId) -> VehicleFacts {
        VehicleFacts {
            id,
            make: None,
            model: None,
            year: None,
            vin: None,
            mode: None,
            powertrain: None,
            smartcar_connection_id: None,
            permissions: None,
        }
    }
}

/// A vehicle as we keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vehicle {
    /// What Smartcar tells of it.
    pub facts: VehicleFacts,
    /// The owner's own name for it.
    pub nickname: Option<String>,
    /// What it is called in the car itself.
    #[serde(default)]
    pub called: Option<String>,
    /// The owner.
    pub user: AppUserId,
    /// The connection that serves it; `None` after it was disconnected.
    pub connection: Option<ConnectionId>,
    /// When it was first linked to this user, or, if somebody else had it meanwhile, linked again.
    pub linked_at: Timestamp,
    /// The newest entry of the webhook log when its connection ended: what has come in since is not data of ours.
    #[serde(default)]
    pub ended_after: Option<Seq>,
    /// When it was found that its owner has taken the access to it back at Smartcar, and to no other car of the account.
    #[serde(default)]
    pub taken_back_at: Option<Timestamp>,
    /// Of which connection it was then; an earlier Carport did not keep it.
    #[serde(default)]
    pub taken_back_from: Option<ConnectionId>,
    /// What the log holds of times between the end of a connection and the next: after the first, up to the second.
    #[serde(default)]
    pub absences: Vec<(Seq, Seq)>,
    /// Whether somebody else had it here before, or it was erased: what is older than the link may be theirs, or is to be
    /// gone.
    #[serde(default)]
    pub had_by_others: bool,
    /// When the newest delivery about it came in.
    pub last_event_at: Option<Timestamp>,
    /// What Smartcar reports as wrong at the moment.
    pub errors: Vec<VehicleError>,
    /// What has lately ended to be wrong, and when: news of it that is older comes too late.
    pub resolved: Vec<Resolved>,
}

impl Vehicle {
    /// Its connection ends while the newest entry of the log is `newest`. What is wrong with it is no concern of this owner's
    /// any more, and nothing will tell of its end.
    pub fn end(&mut self, newest: Seq, at: Timestamp) {
        if self.connection.take().is_some() {
            self.ended_after = Some(newest);
        }
        for VehicleError { kind, code, since, .. } in std::mem::take(&mut self.errors) {
            self.resolve(Resolved { kind, code, at: at.max(since) });
        }
    }

    /// A problem has ended.
    pub fn resolve(&mut self, end: Resolved) {
        self.errors.retain(|error| error.kind != end.kind || error.code != end.code || error.since > end.at);
        self.resolved.retain(|known| known.kind != end.kind || known.code != end.code || known.at > end.at);
        self.resolved.push(end);
        let excess = self.resolved.len().saturating_sub(ENDS);
        self.resolved.drain(..excess);
    }

    /// It is about to be connected (again) while the newest entry of the log is `newest`.
    pub fn resume(&mut self, newest: Seq) {
        (self.taken_back_at, self.taken_back_from) = (None, None);
        if self.connection.is_none()
            && let Some(ended_after) = self.ended_after.filter(|ended| *ended < newest)
        {
            self.absences.push((ended_after, newest));
            if self.absences.len() > ABSENCES {
                self.absences.remove(0);
            }
        }
    }

    /// Whether what the log holds at `seq` may become data: not what came in while it was not connected, be it that it is
    /// again.
    pub fn takes(&self, seq: Seq) -> bool {
        let is_before_end = self.connection.is_some() || self.ended_after.is_some_and(|newest| seq <= newest);
        is_before_end && !self.absences.iter().any(|(after, until)| *after < seq && seq <= *until)
    }
}

/// How many ended problems are remembered.
const ENDS: usize = 32;

/// How many absences are remembered: what the log has of earlier ones has been dropped long since.
const ABSENCES: usize = 32;

/// A problem of a vehicle that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// As in [`VehicleError`].
    #[serde(rename = "type")]
    pub kind: String,
    /// As in [`VehicleError`].
    pub code: Option<String>,
    /// When it ended.
    pub at: Timestamp,
}

/// A problem of a vehicle that began and has not ended (`VEHICLE_ERROR`, state `ERROR`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VehicleError {
    /// Such as `CONNECTED_SERVICES_ACCOUNT`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Such as `AUTHENTICATION_FAILED`; may be null.
    pub code: Option<String>,
    /// Smartcar's explanation for developers.
    pub description: Option<String>,
    /// Smartcar's sentence for the owner.
    pub message: Option<String>,
    /// `REAUTHENTICATE`, `ACTION_REQUIRED`, ...
    pub resolution: Option<String>,
    /// Where the owner mends it, if Smartcar names a page. Not known of errors that were kept before this was.
    #[serde(default)]
    pub resolution_url: Option<String>,
    /// The codes of the signals concerned; empty means the whole vehicle.
    pub signals: Vec<String>,
    /// When it began.
    pub since: Timestamp,
}

impl VehicleError {
    /// What Smartcar says of it, for the owner if it does, with our own name where it leaves room for one.
    pub fn sentence(&self) -> Option<String> {
        let said = [&self.message, &self.description].into_iter().flatten().find(|text| !text.trim().is_empty());
        said.map(|text| text.replace("<app name>", "Carport"))
    }
}
