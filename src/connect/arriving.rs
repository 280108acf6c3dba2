//! Arriving from another application: what Smartcar lists already is taken over, and refresh tokens are taken in.
//! No owner has to log in again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::linking::{learn, link, named, scope};
use super::{Connect, ConnectError, Linked, LinkedVehicle, Shared};
use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::token::Generation;
use crate::model::user::User;
use crate::model::vehicle::{Vehicle, VehicleFacts};
use crate::model::{AppUserId, ConnectionId, Secret, SmartcarUserId, VehicleId};
use crate::smartcar::{ConnectionFilter, Granted, Smartcar, SmartcarConnection, SmartcarError};
use crate::store::StoreError;
use crate::tokens::CallError;

/// What became of one Smartcar user's cars.
#[derive(Clone, Debug, Serialize)]
pub struct Adopted {
    /// Smartcar's id of the account.
    pub smartcar_user_id: SmartcarUserId,
    /// Whose the cars are here.
    pub user: AppUserId,
    /// `adopted`, `would_adopt` or `failed`.
    pub result: &'static str,
    /// Our id of the connection.
    pub connection: Option<ConnectionId>,
    /// The cars that Carport lacked.
    pub vehicles: Vec<LinkedVehicle>,
    /// Why it failed.
    pub error: Option<String>,
}

/// What an adoption did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Adoption {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// How many cars Carport had already.
    pub known: usize,
    /// What it lacked, by account.
    pub items: Vec<Adopted>,
}

/// A refresh token that was taken in.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// Our id of the connection.
    pub connection: ConnectionId,
    /// The owner.
    pub user: AppUserId,
    /// Whether nothing is new but its tokens: the same account was connected already, with the same cars.
    pub known: bool,
    /// Its cars; empty while Smartcar does not tell them, and then they are asked for again.
    pub vehicles: Vec<LinkedVehicle>,
    /// Whether cars of the owner's have come from v3 to v2.0 by it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub left_v3: bool,
}

impl Connect {
    /// Takes over what Smartcar lists for the application and Carport lacks. An account without an external id goes to
    /// `user`.
    pub async fn adopt(&self, user: &AppUserId, dry_run: bool) -> Result<Adoption, ConnectError> {
        let shared = &self.shared;
        if shared.smartcar.settings().v3.is_none() {
            return Err(ConnectError::NotConfigured(
                "only API v3 lists connections: set smartcar.v3.client_id and .client_secret".to_owned(),
            ));
        }
        if !User::is_good_id(user.as_str()) {
            return Err(ConnectError::BadRequest(User::ID_RULE));
        }
        let list =
            |smartcar: Smartcar, access: Secret| async move { smartcar.connections(&access, ConnectionFilter::default()).await };
        let listed = shared.tokens.call(ConnectionId::APPLICATION, list).await?;
        let mut accounts: BTreeMap<SmartcarUserId, Vec<SmartcarConnection>> = BTreeMap::new();
        for connection in listed {
            if let (Some(account), Some(_)) = (connection.user.clone(), &connection.vehicle) {
                accounts.entry(account).or_default().push(connection);
            }
        }
        let mut adoption = Adoption { dry_run, known: 0, items: Vec::new() };
        for (account, listed) in accounts {
            let external = listed.iter().find_map(|connection| connection.external_id.clone());
            let owner = external.filter(|id| User::is_good_id(id)).map_or_else(|| user.clone(), AppUserId::new);
            let (lacking, known) = shared.lacking(listed, &owner, &account).await?;
            adoption.known += known;
            if lacking.is_empty() {
                continue;
            }
            let vehicles = lacking.iter().filter(|(_, is_new)| *is_new).map(|(facts, _)| named(facts)).collect();
            let mut adopted = Adopted {
                smartcar_user_id: account.clone(),
                user: owner.clone(),
                result: "would_adopt",
                connection: None,
                vehicles,
                error: None,
            };
            if !dry_run {
                let facts = lacking.into_iter().map(|(facts, _)| facts).collect();
                match shared.take_over(owner, account, facts).await {
                    Ok(id) => (adopted.result, adopted.connection) = ("adopted", Some(id)),
                    Err(error) => (adopted.result, adopted.error) = ("failed", Some(error.to_string())),
                }
            }
            adoption.items.push(adopted);
        }
        Ok(adoption)
    }

    /// Takes in a refresh token of API v2.0: renews it at once, and returns when the new one is on disk.
    pub async fn import(&self, user: AppUserId, token: Secret, mode: Option<String>) -> Result<Imported, ConnectError> {
        if self.shared.smartcar.settings().v2.is_none() {
            return Err(ConnectError::NotConfigured("set smartcar.v2.client_id and .client_secret first".to_owned()));
        }
        let shared = self.shared.clone();
        self.to_the_end(async move {
            let was_user = shared.may_be_user(&user, true).await?;
            // A token that is renewed is dead where it came from, and here it would serve nothing.
            if shared.tokens.has_ended_by_now().await {
                return Err(ConnectError::Ended);
            }
            let before = shared.served(user.clone()).await?;
            let granted = shared.renewed(&token).await?;
            // An answer without a refresh token leaves the old one.
            let granted = Granted { refresh: granted.refresh.or(Some(token)), ..granted };
            let adopted = shared.tokens.adopt(&user, granted, mode, false).await;
            let connection = adopted.map_err(CallError::from)?;
            // What is refused makes no user; and what Smartcar gave comes first.
            shared.user(&user, true).await?;
            Ok(match learn(&shared, connection).await {
                Ok(Linked { connection, vehicles, left_v3, .. }) => {
                    let is_new = |served: &Vec<VehicleId>| vehicles.iter().any(|vehicle| !served.contains(&vehicle.id));
                    let known = was_user && before.get(&connection).is_some_and(|served| !is_new(served));
                    Imported { connection, user, known, vehicles, left_v3 }
                }
                Err(error) => {
                    tracing::warn!(%error, "the cars of an imported token are asked for again");
                    shared.half_done.notify_one();
                    Imported { connection, user, known: false, vehicles: Vec::new(), left_v3: false }
                }
            })
        })
        .await
    }
}

impl Shared {
    /// The cars that each active connection of a user serves.
    async fn served(&self, user: AppUserId) -> Result<BTreeMap<ConnectionId, Vec<VehicleId>>, ConnectError> {
        let served = self.store.read(move |snapshot| {
            let mut active = snapshot.connections(None, usize::MAX)?;
            active.retain(|connection| connection.user == user && connection.status == ConnectionStatus::Active);
            active.into_iter().map(|connection| Ok((connection.id, snapshot.vehicles_of(&connection)?))).collect()
        });
        Ok(served.await?)
    }

    /// What of an account's cars is to be linked to its connection, and whether each is new; nothing if none is. And
    /// how many are known.
    async fn lacking(
        &self,
        listed: Vec<SmartcarConnection>,
        owner: &AppUserId,
        account: &SmartcarUserId,
    ) -> Result<(Vec<(VehicleFacts, bool)>, usize), ConnectError> {
        let (owner, account) = (owner.clone(), account.clone());
        let found = self.store.read(move |snapshot| {
            let (mut lacking, mut known) = (Vec::new(), 0);
            for listed in listed {
                let Some(id) = listed.vehicle.clone() else { continue };
                let vehicle = match snapshot.vehicle(&id) {
                    // SECURITY: nobody can read whose it is, and a list does not say so. A repair, or its owner, mends it.
                    Err(StoreError::Damaged { .. }) => {
                        known += 1;
                        continue;
                    }
                    vehicle => vehicle?.map(|(_, vehicle)| vehicle),
                };
                let connection = vehicle.as_ref().and_then(|vehicle| vehicle.connection);
                let connection = connection.map_or(Ok(None), |id| snapshot.sound_connection(id))?;
                let facts = VehicleFacts {
                    id,
                    smartcar_connection_id: Some(listed.id).filter(|id| !id.is_empty()),
                    permissions: listed.permissions.or(listed.facts.permissions),
                    ..listed.facts
                };
                match connection {
                    // The others of the same connection stay with it.
                    Some(connection) => {
                        known += 1;
                        let is_its = connection.generation == Generation::V3
                            && connection.user == owner
                            && connection.smartcar_user.as_ref() == Some(&account);
                        if is_its {
                            lacking.push((facts, false));
                        }
                    }
                    // SECURITY: a car that somebody else had here is not given away by a list.
                    None if vehicle.as_ref().is_some_and(|vehicle: &Vehicle| vehicle.user != owner) => known += 1,
                    None => lacking.push((facts, true)),
                }
            }
            if !lacking.iter().any(|(_, is_new)| *is_new) {
                lacking.clear();
            }
            Ok((lacking, known))
        });
        Ok(found.await?)
    }

    async fn take_over(
        &self,
        owner: AppUserId,
        account: SmartcarUserId,
        vehicles: Vec<VehicleFacts>,
    ) -> Result<ConnectionId, ConnectError> {
        self.user(&owner, true).await?;
        let mode = vehicles.first().and_then(|facts| facts.mode.clone()).filter(|mode| mode != "live");
        let connection = Connection {
            id: ConnectionId(self.world.uuid()),
            user: owner,
            smartcar_user: Some(account),
            generation: Generation::V3,
            single: None,
            single_select: false,
            mode,
            status: ConnectionStatus::Active,
            scope: scope(&vehicles),
            connected_at: self.world.now(),
            last_error: None,
        };
        Ok(link(self, connection, vehicles).await?.connection)
    }

    /// A new pair for a refresh token.
    async fn renewed(&self, token: &Secret) -> Result<Granted, ConnectError> {
        match self.tokens.renew_foreign(token).await {
            Err(SmartcarError::Rejected { .. }) => {
                let sentence = "Smartcar does not accept this refresh token: it is dead, or was taken in before".to_owned();
                Err(ConnectError::Refused { code: "invalid_grant".to_owned(), sentence })
            }
            // Soon, for Smartcar honours it for a minute.
            Err(error) if error.failure().may_have_acted => {
                Err(ConnectError::Later { what: format!("{error}; {UNCLEAR}"), after: Duration::from_secs(1) })
            }
            result => Ok(result?),
        }
    }
}

/// What the owner of an import that failed should know of its token.
const UNCLEAR: &str = "whether the token was replaced is not known, and if it is refused then, its owner must connect again";
