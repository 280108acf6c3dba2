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
