//! The contract's webhook table, row by row.

use serde_json::json;

use crate::gateway::TestGateway;

#[tokio::test(start_paused = true)]
async fn a_new_event_is_accepted() {
    let gateway = TestGateway::new(1).await;
    let seq = gateway.deliver(&json!({ "eventType": "VEHICLE_STATE", "eventId": "e-1" })).await;
    assert_eq!(seq, 1);
    gateway.connect("ada", "ada@example.com").await;
    gateway.finish().await;
}
