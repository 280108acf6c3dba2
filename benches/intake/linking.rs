//! A data directory in which the cars that send events are linked, so that what they say is also projected.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use carport::metrics::Metrics;
use carport::model::connection::{Connection, ConnectionStatus};
use carport::model::token::Generation;
use carport::model::user::User;
use carport::model::vehicle::VehicleFacts;
use carport::model::{Blob, ConnectionId, Secret, SmartcarUserId};
use carport::operate::access::{Access, Scope, Settings, TokenRequest};
use carport::store::connections::{AdoptConnection, LinkVehicles, Linking};
use carport::store::tokens::SealedTokens;
use carport::store::users::{PutUser, When};
use carport::store::vehicles::PictureTaken;
use carport::store::{self, Store};
use carport::vault::{MasterKey, Vault};
use carport::world::{Entropy, SystemEntropy, World};

use crate::burst::runtime;
use crate::event::{CARS, owner, vehicle};

/// Makes it, with so many cars, and returns a token that may read everything. Nothing is due: no car's token for a
/// month, and no first picture.
pub(crate) fn link(directory: &Path, cars: u64) -> anyhow::Result<Secret> {
    runtime()?.block_on(async {
        let world = World::system()?;
        let (vault, month) = (Vault::new(&key(), &SystemEntropy), Duration::from_secs(30 * 86_400));
        let store = Store::open(directory, store::Settings::default(), vault, &world, Arc::new(Metrics::new()))?;
        for first in (0..cars).step_by(usize::try_from(CARS)?) {
            let (user, at) = (owner(first), world.now());
            let new = User { id: user.clone(), name: None, email: None, created_at: at };
            store.commit(PutUser { user: new, when: When::New }).await?;
            let connection = Connection {
                id: ConnectionId(uuid::Uuid::from_u128(u128::from(first) + 1)),
                smartcar_user: Some(SmartcarUserId::new(format!("user-{first}"))),
                user,
                generation: Generation::V2,
                single: None,
                single_select: false,
                mode: None,
                status: ConnectionStatus::Active,
                scope: vec!["read_battery".to_owned(), "read_location".to_owned()],
                connected_at: at,
                last_error: None,
            };
            let tokens = SealedTokens {
                version: 1,
                // Never opened.
                sealed: Blob(vec![7; 250]),
                access_expires_at: at.after(month),
                refresh_expires_at: Some(at.after(2 * month)),
                issued_at: at,
                used_at: at,
                due_at: Some(at.after(month)),
            };
            store.commit(AdoptConnection { connection: connection.clone(), tokens }).await?;
            let vehicles = (first..cars.min(first + CARS)).map(|car| VehicleFacts::unknown(vehicle(car))).collect();
            let linked = store.commit(LinkVehicles { connection, vehicles, at }).await?;
            ensure!(linked == Linking::Linked, "the cars cannot be linked: {linked:?}");
        }
        for row in store.read(|snapshot| snapshot.vehicles_to_read(usize::MAX)).await? {
            store.commit(PictureTaken { vehicle: row }).await?;
        }
        let access = Access::new(Settings { idle: month, max: month }, store.clone(), world);
        let request =
            TokenRequest { name: "readers".to_owned(), scope: Scope::Read, user: None, vehicle: None, expires_in: None };
        let (_, token) = access.create_token(request).await?;
        store.close().await;
        Ok(token)
    })
}

/// The same key in every process.
pub(crate) fn key() -> MasterKey {
    MasterKey::generate(&Sevens)
}

#[derive(Debug)]
struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, out: &mut [u8]) {
        out.fill(7);
    }
}
