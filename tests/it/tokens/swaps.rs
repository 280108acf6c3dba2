//! A row in the place of another one opens nowhere.

use carport::model::{ConnectionId, Timestamp};
use carport::store::StoreError;
use carport::store::tokens::{RotateTokens, Rotated, SealedTokens};
use carport::tokens::TokenError;

use super::{access, token};
use crate::gateway::{HOUR, TestGateway, connection_id, pass};
use crate::simulator::rig::ADA;

async fn sealed(gateway: &TestGateway, connection: ConnectionId) -> SealedTokens {
    gateway.app().store().read(move |snapshot| snapshot.tokens(connection)).await.unwrap().unwrap()
}

/// Puts the sealed part of `from` into the place of another set, as its successor.
async fn put(gateway: &TestGateway, connection: ConnectionId, from: &SealedTokens) {
    let now = sealed(gateway, connection).await;
    let far = Timestamp::from_millis(gateway.now().as_millis() + 7_200_000);
    let tokens = SealedTokens { version: now.version + 1, sealed: from.sealed.clone(), access_expires_at: far, ..now.clone() };
    let change = RotateTokens { connection, from_version: now.version, tokens };
    assert_eq!(gateway.app().store().commit(change).await.unwrap(), Rotated::Stored);
}

#[tokio::test(start_paused = true)]
async fn a_swap_of_sealed_rows_is_refused() {
    let gateway = TestGateway::new(99).await;
    let ada = connection_id(&gateway.connect("ada", ADA).await);
    // The same account, connected for another owner.
    let eve = connection_id(&gateway.connect("eve", ADA).await);
    let old = sealed(&gateway, ada).await;
    pass(2 * HOUR).await;
    for connection in [ada, eve, ConnectionId::APPLICATION] {
        token(&gateway, connection).await;
    }
    let of_ada = sealed(&gateway, ada).await;
    let of_application = sealed(&gateway, ConnectionId::APPLICATION).await;
    let before = gateway.net.sent().len();
    // Another owner's, an older version, the other generation, and its own under another version.
    for from in [&sealed(&gateway, eve).await, &old, &of_application, &of_ada] {
        put(&gateway, ada, from).await;
        let refused = access(&gateway, ada).await;
        assert!(matches!(refused, Err(TokenError::Store(StoreError::Damaged { .. }))), "{refused:?}");
    }
    put(&gateway, ConnectionId::APPLICATION, &of_ada).await;
    assert!(access(&gateway, ConnectionId::APPLICATION).await.is_err());
    assert_eq!(gateway.net.sent().len(), before, "and nothing was sent");
    gateway.finish().await;
}
