//! Cars that are linked, and the key that every process has.

use std::time::Duration;

use anyhow::ensure;
use carport::model::connection::{Connection, ConnectionStatus};
use carport::model::token::Generation;
use carport::model::user::User;
use carport::model::vehicle::VehicleFacts;
use carport::model::{Blob, ConnectionId, SmartcarUserId, Timestamp};
use carport::store::Store;
use carport::store::connections::{AdoptConnection, LinkVehicles, Linking};
use carport::store::tokens::SealedTokens;
use carport::store::users::{PutUser, UserPut, When};
use carport::vault::MasterKey;
use carport::world::Entropy;

use crate::event::{CARS, owner, vehicle};

/// For so long no token is due.
pub(crate) const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Links so many cars, ten to an owner.
pub(crate) async fn link(store: &Store, cars: u64, at: Timestamp) -> anyhow::Result<()> {
    for first in (0..cars).step_by(usize::try_from(CARS)?) {
        let user = owner(first);
        let new = User { id: user.clone(), name: None, email: None, created_at: at };
        let put = store.commit(PutUser { user: new, when: When::New }).await?;
        ensure!(put == UserPut::Stored, "the owner cannot be made: {put:?}");
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
            access_expires_at: at.after(MONTH),
            refresh_expires_at: Some(at.after(2 * MONTH)),
            issued_at: at,
            used_at: at,
            due_at: Some(at.after(MONTH)),
        };
        store.commit(AdoptConnection { connection: connection.clone(), tokens }).await?;
        let vehicles = (first..cars.min(first + CARS)).map(|car| VehicleFacts::unknown(vehicle(car))).collect();
        let linked = store.commit(LinkVehicles::new(connection, vehicles, at)).await?;
        ensure!(linked == Linking::Linked, "the cars cannot be linked: {linked:?}");
    }
    Ok(())
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
