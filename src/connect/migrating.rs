//! Moving connections of API v2.0 to v3, and back: each as a whole, in one step, so that whatever cuts a migration off,
//! it is simply run again.

use serde::Serialize;

use super::linking::{named, scope};
use super::{Connect, ConnectError, LinkedVehicle, Shared};
use crate::model::connection::{Connection, ConnectionStatus};
use crate::model::token::Generation;
use crate::model::vehicle::VehicleFacts;
use crate::model::{AppUserId, ConnectionId, Secret, SmartcarUserId};
use crate::smartcar::sunset::{self, Cars};
use crate::smartcar::{ConnectionFilter, Smartcar, SmartcarConnection};
use crate::store::switching::{SwitchGeneration, Switched};
use crate::store::{Snapshot, StoreError};
use crate::tokens::CallError;

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrate {
    /// Go back to v2.0, instead of moving to v3.
    pub undo: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Go back even if Smartcar has ended v2.0.
    pub force: bool,
}

/// What became of one connection.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    /// Our id of it, which stays.
    pub connection: ConnectionId,
    /// The owner.
    pub user: AppUserId,
    /// Smartcar's id of the account.
    pub smartcar_user_id: Option<SmartcarUserId>,
    /// Its cars, which stay with their history.
    pub vehicles: Vec<LinkedVehicle>,
    /// `would_move`, `moved`, `would_return`, `returned` or `failed`.
    pub result: &'static str,
    /// Why it failed.
    pub error: Option<String>,
}

/// What a migration did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Migration {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The connections that it was about, oldest first.
    pub items: Vec<Moved>,
    /// How many connections of v2.0 there are now that serve cars.
    pub on_v2: usize,
    /// How many of v3 can go back; none to an API that has ended.
    pub can_return: usize,
}

/// A connection, with what is known of its vehicles.
type Served = (Connection, Vec<VehicleFacts>);

impl Connect {
    /// Moves all connections of v2.0 whose cars Smartcar lists for v3, or has those that came from v2.0 go back to it. Back to
    /// an API that Smartcar has ended, only by force.
    pub async fn migrate(&self, what: Migrate) -> Result<Migration, ConnectError> {
        let shared = self.shared.clone();
        self.to_the_end(async move {
            let items = if what.undo { shared.go_back(what).await? } else { shared.move_on(what.dry_run).await? };
            let on_v2 = shared.store.read(on_v2).await?.len();
            let can_return = if shared.tokens.ended().is_some() { 0 } else { shared.store.read(from_v2).await?.len() };
            Ok(Migration { dry_run: what.dry_run, items, on_v2, can_return })
        })
        .await
    }
}

impl Shared {
    async fn move_on(&self, dry_run: bool) -> Result<Vec<Moved>, ConnectError> {
        if self.smartcar.settings().v3.is_none() {
            return Err(ConnectError::NotConfigured(
                "make credentials for API v3 in Smartcar's dashboard, and set smartcar.v3.client_id and .client_secret"
                    .to_owned(),
            ));
        }
        let served = self.store.read(on_v2).await?;
        if served.is_empty() {
            return Ok(Vec::new());
        }
        let listed = self.list(ConnectionFilter::default()).await?;
        let mut items = Vec::with_capacity(served.len());
        for (connection, known) in served {
            let result = match self.found(&connection, &known, &listed).await {
                Ok(_) if dry_run => Ok("would_move"),
                Ok(facts) => self.switch(connection.id, Generation::V3, facts).await.map(|()| "moved"),
                Err(error) => Err(error),
            };
            items.push(told(&connection, &known, result));
        }
        Ok(items)
    }

    async fn go_back(&self, what: Migrate) -> Result<Vec<Moved>, ConnectError> {
        if self.smartcar.settings().v2.is_none() {
            return Err(ConnectError::NotConfigured("set smartcar.v2.client_id and .client_secret again first".to_owned()));
        }
        let served = self.store.read(from_v2).await?;
        if !served.is_empty() && !what.force {
            self.ask_whether_v2_is_there(&served).await?;
        }
        let mut items = Vec::new();
        for (connection, known) in served {
            let result = match what.force || self.can_return(connection.id).await? {
                false => Err(ConnectError::Refused { code: "tokens_too_old".to_owned(), sentence: TOO_OLD.to_owned() }),
                true if what.dry_run => Ok("would_return"),
                true => self.switch(connection.id, Generation::V2, Vec::new()).await.map(|()| "returned"),
            };
            if let Ok("returned") = result {
                self.tokens.revive(connection.id).await.map_err(CallError::from)?;
            }
            items.push(told(&connection, &known, result));
        }
        Ok(items)
    }

    /// An error if API v2.0 has ended, or if nobody gets an answer.
    async fn ask_whether_v2_is_there(&self, served: &[Served]) -> Result<(), ConnectError> {
        let mut ids = Vec::new();
        for (connection, _) in served {
            if self.can_return(connection.id).await? {
                ids.push(connection.id);
            }
        }
        let (code, sentence) = match self.tokens.ask_of_end(&ids).await.or(self.tokens.ended().map(|_| true)) {
            Some(false) => return Ok(()),
            Some(true) => ("v2_ended", format!("{}; {STAY}", sunset::what(Cars::ByV2))),
            None => ("v2_unknown", MAY_HAVE_ENDED.to_owned()),
        };
        Err(ConnectError::Refused { code: code.to_owned(), sentence })
    }

    /// Whether the tokens of v2.0 that a connection has kept are still there, and not too old by our clock.
    async fn can_return(&self, id: ConnectionId) -> Result<bool, ConnectError> {
        let tokens = self.store.read(move |snapshot| snapshot.sound_tokens(id)).await?;
        let now = self.world.now();
        Ok(tokens.is_some_and(|tokens| tokens.refresh_expires_at.is_none_or(|at| at > now)))
    }

    async fn list(&self, filter: ConnectionFilter) -> Result<Vec<SmartcarConnection>, ConnectError> {
        let filter = &filter;
        let list = |smartcar: Smartcar, access: Secret| async move { smartcar.connections(&access, filter.clone()).await };
        Ok(self.tokens.call(ConnectionId::APPLICATION, list).await?)
    }

    /// What Smartcar lists of a connection's vehicles; an error if it does not list all of them for its account.
    async fn found(
        &self,
        connection: &Connection,
        known: &[VehicleFacts],
        listed: &[SmartcarConnection],
    ) -> Result<Vec<VehicleFacts>, ConnectError> {
        let Some(account) = &connection.smartcar_user else {
            return Err(ConnectError::Upstream(
                "it has not said yet whose account this is; it is asked again by itself".to_owned(),
            ));
        };
        let nameless = listed
            .iter()
            .any(|listed| listed.user.is_none() && known.iter().any(|facts| listed.vehicle.as_ref() == Some(&facts.id)));
        let own;
        let listed = if nameless {
            own = self.list(ConnectionFilter { user: Some(account.clone()), ..ConnectionFilter::default() }).await?;
            &own[..]
        } else {
            listed
        };
        let mut found = Vec::with_capacity(known.len());
        for facts in known {
            let is_it = |listed: &&SmartcarConnection| {
                listed.vehicle.as_ref() == Some(&facts.id) && listed.user.as_ref() == Some(account)
            };
            let Some(listed) = listed.iter().find(is_it) else {
                let LinkedVehicle { name, .. } = named(facts);
                return Err(ConnectError::Upstream(format!(
                    "{name} is not among its connections for v3: have the owner connect again (`carport connect --vehicle {}`), \
                     or disconnect the car",
                    facts.id
                )));
            };
            found.push(listed.facts.clone());
        }
        Ok(found)
    }

    async fn switch(&self, id: ConnectionId, to: Generation, vehicles: Vec<VehicleFacts>) -> Result<(), ConnectError> {
        let scope = scope(&vehicles);
        match self.store.commit(SwitchGeneration { id, to, vehicles, scope }).await? {
            Switched::Done => {
                tracing::info!(connection.id = %id, generation = %to, "a connection was switched");
                Ok(())
            }
            Switched::Gone => Err(ConnectError::Upstream("the connection has ended".to_owned())),
            Switched::NoTokens => Err(ConnectError::Upstream(NO_TOKENS.to_owned())),
        }
    }
}

const STAY: &str = "stay with v3 (`--force`, or `force` in the API, goes back all the same)";

const MAY_HAVE_ENDED: &str = "nobody can tell whether Smartcar's API v2.0 is still there, for it gives no answer: try again later \
                              (`--force`, or `force` in the API, goes back all the same)";

const TOO_OLD: &str = "its tokens of v2.0 are older than Smartcar takes them: it stays with v3 (`--force`, or `force` in the API, tries \
                       them all the same)";

const NO_TOKENS: &str = "no longer honours its tokens of v2.0: it stays with v3";

/// Connections of v2.0 that serve vehicles.
fn on_v2(snapshot: &Snapshot<'_>) -> Result<Vec<Served>, StoreError> {
    served(snapshot, |connection| Ok(connection.generation == Generation::V2))
}

/// Connections of v3 that have kept tokens of v2.0.
fn from_v2(snapshot: &Snapshot<'_>) -> Result<Vec<Served>, StoreError> {
    served(snapshot, |connection| Ok(connection.generation == Generation::V3 && snapshot.sound_tokens(connection.id)?.is_some()))
}

fn served(
    snapshot: &Snapshot<'_>,
    mut is_wanted: impl FnMut(&Connection) -> Result<bool, StoreError>,
) -> Result<Vec<Served>, StoreError> {
    let mut found = Vec::new();
    for connection in snapshot.connections(None, usize::MAX)? {
        if connection.status == ConnectionStatus::Disconnected || !is_wanted(&connection)? {
            continue;
        }
        let vehicles = snapshot.vehicles_of_user(&connection.user)?.into_iter().map(|(_, vehicle)| vehicle);
        let own = vehicles.filter(|vehicle| vehicle.connection == Some(connection.id));
        let facts: Vec<VehicleFacts> = own.map(|vehicle| vehicle.facts).collect();
        if !facts.is_empty() {
            found.push((connection, facts));
        }
    }
    Ok(found)
}

fn told(connection: &Connection, known: &[VehicleFacts], result: Result<&'static str, ConnectError>) -> Moved {
    let (result, error) = match result {
        Ok(result) => (result, None),
        Err(error) => ("failed", Some(error.to_string())),
    };
    Moved {
        connection: connection.id,
        user: connection.user.clone(),
        smartcar_user_id: connection.smartcar_user.clone(),
        vehicles: known.iter().map(named).collect(),
        result,
        error,
    }
}
