//! What a caller may see, and parts of lists.

use serde::Serialize;

use super::vehicle::Vehicle;
use super::{AppUserId, VehicleId};

/// What a caller may see. What is out of reach does not exist for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything.
    All,
    /// What belongs to one user.
    User(AppUserId),
    /// One vehicle.
    Vehicle(VehicleId),
}

impl Reach {
    /// Whether a vehicle exists for the caller.
    pub fn covers(&self, vehicle: &Vehicle) -> bool {
        match self {
            Reach::All => true,
            Reach::User(user) => vehicle.user == *user,
            Reach::Vehicle(id) => vehicle.facts.id == *id,
        }
    }

    /// What of it is one user's; `None` if that is not for the caller to say.
    pub fn of(&self, user: AppUserId) -> Option<Reach> {
        match self {
            Reach::All => Some(Reach::User(user)),
            Reach::User(own) => (*own == user).then(|| self.clone()),
            Reach::Vehicle(_) => None,
        }
    }
}

/// A part of a list.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to hand in for the next part; `None` at the end.
    pub next: Option<String>,
}

/// Which part of a list.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// As handed out with the part before.
    pub cursor: Option<String>,
    /// At most so many items.
    pub limit: usize,
}
