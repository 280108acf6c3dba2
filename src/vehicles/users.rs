//! The users: the owners of cars, by the operator's own ids.

use serde::Serialize;

use super::{History, Vehicles, VehiclesError};
use crate::model::reach::{Page, PageRequest, Reach};
use crate::model::{AppUserId, Timestamp};

/// A user, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct UserView {
    /// The operator's own id.
    pub id: AppUserId,
    /// A name for people.
    pub name: Option<String>,
    /// An address for people.
    pub email: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Vehicles {
    /// Users within reach, oldest first.
    pub async fn users(&self, reach: &Reach, page: PageRequest) -> Result<Page<UserView>, VehiclesError> {
        let _ = (reach, page);
        todo!()
    }

    /// One user.
    pub async fn user(&self, reach: &Reach, id: &AppUserId) -> Result<UserView, VehiclesError> {
        let _ = (reach, id);
        todo!()
    }

    /// Makes a user; without an id one is made.
    pub async fn add_user(
        &self,
        id: Option<AppUserId>,
        name: Option<String>,
        email: Option<String>,
    ) -> Result<UserView, VehiclesError> {
        let _ = (id, name, email);
        todo!()
    }

    /// Changes name and address: outer `None` leaves as it is, inner `None` takes away.
    pub async fn change_user(
        &self,
        id: &AppUserId,
        name: Option<Option<String>>,
        email: Option<Option<String>>,
    ) -> Result<UserView, VehiclesError> {
        let _ = (id, name, email);
        todo!()
    }

    /// Disconnects all cars of a user, then removes it.
    pub async fn remove_user(&self, id: &AppUserId, history: History, force: bool) -> Result<(), VehiclesError> {
        let _ = (id, history, force);
        todo!()
    }
}
