//! A data directory in which the cars that send events are linked, so that what they say is also projected.

use std::path::Path;
use std::sync::Arc;

use carport::metrics::Metrics;
use carport::model::Secret;
use carport::operate::access::{Access, Scope, Settings, TokenRequest};
use carport::store::vehicles::PictureTaken;
use carport::store::{self, Store};
use carport::vault::Vault;
use carport::world::{SystemEntropy, World};

use crate::burst::runtime;
use crate::linking::{self, MONTH, key};

/// Makes it, with so many cars, and returns a token that may read everything. Nothing is due: no car's token for a
/// month, and no first picture.
pub(crate) fn link(directory: &Path, cars: u64) -> anyhow::Result<Secret> {
    runtime()?.block_on(async {
        let world = World::system()?;
        let vault = Vault::new(&key(), &SystemEntropy);
        let store = Store::open(directory, store::Settings::default(), vault, &world, Arc::new(Metrics::new()))?;
        linking::link(&store, cars, world.now()).await?;
        for row in store.read(|snapshot| snapshot.vehicles_to_read(usize::MAX)).await? {
            store.commit(PictureTaken { vehicle: row, served_by: None }).await?;
        }
        let access = Access::new(Settings { idle: MONTH, max: MONTH }, store.clone(), world);
        let request =
            TokenRequest { name: "readers".to_owned(), scope: Scope::Read, user: None, vehicle: None, expires_in: None };
        let (_, token) = access.create_token(request).await?;
        store.close().await;
        Ok(token)
    })
}
