//! A command that was given, and what came of it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::Timestamp;
use crate::model::audit::Actor;

/// A command that was given, as we keep it. Where a car was sent to is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// Our id.
    pub id: Uuid,
    /// See [`Command::name`](super::Command::name).
    pub name: String,
    /// Who gave it.
    pub actor: Actor,
    /// When.
    pub requested_at: Timestamp,
    /// The run of Carport that gave it: no other waits for its answer.
    pub run: Uuid,
    /// How it ended; `None` while it is under way.
    pub ended: Option<Ended>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When we heard.
    pub at: Timestamp,
    /// What really happened.
    pub outcome: CommandOutcome,
}

/// What really happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandOutcome {
    /// The car did it.
    Success,
    /// The car did not.
    Failed(CommandFailure),
    /// Nobody can know.
    Unknown(CommandFailure),
}

impl CommandOutcome {
    /// Its word in the API and in the audit log.
    pub fn as_str(&self) -> &'static str {
        match self {
            CommandOutcome::Success => "success",
            CommandOutcome::Failed(_) => "failed",
            CommandOutcome::Unknown(_) => "unknown",
        }
    }

    /// Why the car did not, or why nobody knows.
    pub fn failure(&self) -> Option<&CommandFailure> {
        match self {
            CommandOutcome::Success => None,
            CommandOutcome::Failed(failure) | CommandOutcome::Unknown(failure) => Some(failure),
        }
    }
}

/// Why the car did not, or why nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandFailure {
    /// Smartcar's `TYPE:CODE`, such as `VEHICLE_STATE:ASLEEP`.
    pub code: Option<String>,
    /// What it is, and what can be done.
    pub sentence: String,
    /// When trying again makes sense, in seconds.
    pub retry_after: Option<u64>,
    /// Where Smartcar sends the owner.
    pub resolution_url: Option<String>,
    /// The HTTP status of Smartcar's answer: for who waits for it, it is not kept.
    #[serde(skip)]
    pub status: Option<u16>,
}
