//! Users: the owners of cars, by the operator's own ids.

use serde::{Deserialize, Serialize};

use super::{AppUserId, Timestamp};

/// The operator's user who owns cars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The operator's own id.
    pub id: AppUserId,
    /// A name for people.
    pub name: Option<String>,
    /// An address for people.
    pub email: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl User {
    /// What [`User::is_good_id`] wants, in words.
    pub const ID_RULE: &str = "a user id has 1 to 128 characters without white space, and is not `null`";

    /// Whether a text may be an id: it goes to Smartcar as `external_id`, where the word `null` clears it.
    pub fn is_good_id(id: &str) -> bool {
        let clean = !id.chars().any(|c| c.is_control() || c.is_whitespace());
        clean && (1..=128).contains(&id.len()) && id != "null"
    }
}
