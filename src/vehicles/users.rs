//! The users: the owners of cars, by the operator's own ids.

use std::time::Duration;

use serde::Serialize;

use super::connections::of_user;
use super::{History, Note, Vehicles, VehiclesError, row_cursor};
use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::journey::Invite;
use crate::model::reach::{Page, PageRequest, Reach};
use crate::model::user::User;
use crate::model::{AppUserId, Timestamp, VehicleId};
use crate::store::former::{EraseFormer, EraseUnreadable};
use crate::store::users::{PutUser, RemoveUser, UserPut, When};
use crate::store::{Snapshot, StoreError};

/// A user, as shown.
#[derive(Clone, Debug, Serialize)]
pub struct UserView {
    /// The user.
    #[serde(flatten)]
    pub user: User,
    /// The cars, connected or not, oldest first.
    pub vehicles: Vec<VehicleId>,
    /// Cars that were the user's and are no more, of which the history is still here.
    pub former_vehicles: Vec<VehicleId>,
    /// What may still be used, that which expires first first.
    pub invites: Vec<InviteView>,
}

/// An invite that may still be used, as shown. Its link is known by its hash only.
#[derive(Clone, Debug, Serialize)]
pub struct InviteView {
    /// Until when.
    pub expires_at: Timestamp,
    /// The car that it re-authenticates; null if it connects.
    pub vehicle: Option<VehicleId>,
    /// `live` or `simulated`; null as configured.
    pub mode: Option<String>,
    /// The permissions that it asks for; null as configured.
    pub scope: Option<Vec<String>>,
}

impl Vehicles {
    /// Users within reach, oldest first.
    pub async fn users(&self, reach: &Reach, page: PageRequest) -> Result<Page<UserView>, VehiclesError> {
        let after = row_cursor(page.cursor.as_deref())?;
        match reach {
            Reach::All => {
                let now = self.shared.world.now();
                let found = self.shared.store.read(move |snapshot| {
                    let users = snapshot.users(after, page.limit)?;
                    let next = users.last().filter(|_| users.len() == page.limit).map(|(row, _)| row.to_string());
                    let invites = snapshot.open_invites(now)?;
                    let items = users.into_iter().map(|(_, user)| view(snapshot, user, &invites));
                    Ok(Page { items: items.collect::<Result<_, _>>()?, next })
                });
                Ok(found.await?)
            }
            Reach::User(id) if after == 0 => Ok(Page { items: vec![self.user(reach, id).await?], next: None }),
            Reach::User(_) | Reach::Vehicle(_) => Ok(Page { items: Vec::new(), next: None }),
        }
    }

    /// One user.
    pub async fn user(&self, reach: &Reach, id: &AppUserId) -> Result<UserView, VehiclesError> {
        if !matches!(reach, Reach::All) && *reach != Reach::User(id.clone()) {
            return Err(VehiclesError::UnknownUser);
        }
        let (id, now) = (id.clone(), self.shared.world.now());
        let found = self.shared.store.read(move |snapshot| match snapshot.user(&id)? {
            Some(user) => view(snapshot, user, &snapshot.open_invites(now)?).map(Some),
            None => Ok(None),
        });
        found.await?.ok_or(VehiclesError::UnknownUser)
    }

    /// Makes a user; without an id one is made.
    pub async fn add_user(
        &self,
        id: Option<AppUserId>,
        name: Option<String>,
        email: Option<String>,
    ) -> Result<UserView, VehiclesError> {
        let world = &self.shared.world;
        let id = id.unwrap_or_else(|| AppUserId::new(world.uuid().to_string()));
        if !User::is_good_id(id.as_str()) {
            return Err(VehiclesError::BadRequest(User::ID_RULE));
        }
        check_text(name.as_ref())?;
        check_text(email.as_ref())?;
        let user = User { id, name, email, created_at: world.now() };
        match self.shared.store.commit(PutUser { user: user.clone(), when: When::New }).await? {
            UserPut::Stored => self.user(&Reach::All, &user.id).await,
            UserPut::Refused => Err(VehiclesError::Exists),
        }
    }

    /// Changes name and address: outer `None` leaves as it is, inner `None` takes away.
    pub async fn change_user(
        &self,
        id: &AppUserId,
        name: Option<Option<String>>,
        email: Option<Option<String>>,
    ) -> Result<UserView, VehiclesError> {
        let mut user = self.user(&Reach::All, id).await?.user;
        if let Some(name) = name {
            check_text(name.as_ref())?;
            user.name = name;
        }
        if let Some(email) = email {
            check_text(email.as_ref())?;
            user.email = email;
        }
        match self.shared.store.commit(PutUser { user: user.clone(), when: When::There }).await? {
            UserPut::Stored => self.user(&Reach::All, id).await,
            UserPut::Refused => Err(VehiclesError::UnknownUser),
        }
    }

    /// Disconnects all cars of a user, then removes it and every way in that was bound to it; while one of them cannot be
    /// disconnected the user stays, and `force` does without. With [`History::Keep`] the operator can still read its cars.
    /// Cars that are another user's by now are not touched, but what this one had of them is erased with the rest: also
    /// later, of one that was removed before.
    /// The cars that go are noted.
    pub async fn remove_user(
        &self,
        reach: &Reach,
        id: &AppUserId,
        (history, force): (History, bool),
        note: &Note,
    ) -> Result<(), VehiclesError> {
        match self.user(reach, id).await {
            Err(VehiclesError::UnknownUser) if *reach == Reach::All && history == History::Erase => {
                let owner = id.clone();
                let is_left = move |snapshot: &Snapshot<'_>| {
                    let is_any = !snapshot.vehicles_of_user(&owner)?.is_empty() || !of_user(snapshot, &owner)?.is_empty();
                    Ok(is_any || snapshot.unreadable_vehicles(Some(&owner))? > 0)
                };
                if !self.shared.store.read(is_left).await? {
                    return Err(VehiclesError::UnknownUser);
                }
            }
            known => drop(known?),
        }
        let mut rounds = 0;
        while self.disconnect_once(id, (history, force), note).await? {
            rounds += 1;
            if rounds == ROUNDS {
                let what = "the owner connects again while the user is removed".to_owned();
                return Err(VehiclesError::Later { what, after: Duration::from_secs(5) });
            }
        }
        if history == History::Erase {
            // Read again: a car may have become another user's meanwhile.
            let owner = id.clone();
            for car in self.shared.store.read(move |snapshot| cars_of(snapshot, &owner)).await?.former {
                if self.shared.store.commit(EraseFormer { id: car.clone(), user: Some(id.clone()) }).await? {
                    note(&car);
                }
            }
        }
        let unreadable = match history {
            History::Keep => 0,
            History::Erase => self.shared.store.commit(EraseUnreadable { id: None, user: Some(id.clone()) }).await?,
        };
        self.shared.store.commit(RemoveUser { id: id.clone() }).await?;
        if unreadable > 0 { Err(VehiclesError::Unreadable { rows: unreadable, left_to: None }) } else { Ok(()) }
    }

    /// Disconnects what is a user's now. Whether something is left: what was connected meanwhile.
    async fn disconnect_once(&self, id: &AppUserId, how: (History, bool), note: &Note) -> Result<bool, VehiclesError> {
        let owner = id.clone();
        let cars = self.shared.store.read(move |snapshot| cars_of(snapshot, &owner)).await?;
        self.disconnect_all(&Reach::User(id.clone()), &cars.held, how, note).await?;
        let connections = || {
            let owner = id.clone();
            self.shared.store.read(move |snapshot| of_user(snapshot, &owner))
        };
        for connection in connections().await? {
            match self.disconnect_connection(connection.id, how, note).await {
                // What cannot be read goes with the user. Somebody else was faster.
                Err(VehiclesError::Unreadable { .. } | VehiclesError::NotFound) => {}
                ended => ended?,
            }
        }
        let is_open = |connection: &Connection| connection.status != ConnectionStatus::Disconnected;
        Ok(connections().await?.iter().any(is_open))
    }
}

/// Whether a user is there for the caller, or was and has left something.
pub(super) fn is_known(snapshot: &Snapshot<'_>, reach: &Reach, user: &AppUserId) -> Result<bool, StoreError> {
    match reach {
        Reach::All => match snapshot.user(user) {
            // Of one that is damaged the cars are there all the same.
            Ok(Some(_)) | Err(StoreError::Damaged { .. }) => Ok(true),
            Ok(None) => Ok(!snapshot.vehicles_of_user(user)?.is_empty()),
            Err(error) => Err(error),
        },
        Reach::User(own) => Ok(own == user),
        Reach::Vehicle(id) => match snapshot.vehicle(id) {
            Err(StoreError::Damaged { .. }) => Ok(false),
            found => Ok(found?.is_some_and(|(_, vehicle)| vehicle.user == *user)),
        },
    }
}

fn view(snapshot: &Snapshot<'_>, user: User, invites: &[Invite]) -> Result<UserView, StoreError> {
    let cars = cars_of(snapshot, &user.id)?;
    let invites = invites.iter().filter(|invite| invite.user == user.id).map(|invite| InviteView {
        expires_at: invite.expires_at,
        vehicle: invite.terms.vehicle.clone(),
        mode: invite.terms.mode.clone(),
        scope: invite.terms.scope.clone(),
    });
    Ok(UserView { vehicles: cars.held, former_vehicles: cars.former, invites: invites.collect(), user })
}

/// How often what was connected meanwhile is disconnected, too.
const ROUNDS: usize = 8;

/// The cars of a user, and those that once were.
struct Cars {
    held: Vec<VehicleId>,
    former: Vec<VehicleId>,
}

fn cars_of(snapshot: &Snapshot<'_>, user: &AppUserId) -> Result<Cars, StoreError> {
    let mut cars = Cars { held: Vec::new(), former: Vec::new() };
    for (row, vehicle) in snapshot.vehicles_of_user(user)? {
        let is_former = snapshot.is_former(row, &vehicle)?;
        let cars = if is_former { &mut cars.former } else { &mut cars.held };
        if !cars.contains(&vehicle.facts.id) {
            cars.push(vehicle.facts.id);
        }
    }
    Ok(cars)
}

fn check_text(text: Option<&String>) -> Result<(), VehiclesError> {
    if text.is_some_and(|text| text.chars().count() > 200 || text.chars().any(char::is_control)) {
        return Err(VehiclesError::BadRequest("name and email have at most 200 characters in one line"));
    }
    Ok(())
}
