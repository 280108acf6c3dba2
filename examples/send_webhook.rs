//! Posts a webhook as Smartcar would: signs it, sends it, prints the answer.
//!
//! `cargo run --example send_webhook -- URL MANAGEMENT_TOKEN [VEHICLE_ID]`
//!
//! URL is the webhook's, such as <http://localhost:8000/api/webhooks/smartcar>. The token of the
//! demonstration's application is 51a0ca12-0000-4000-8000-000000000005.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use carport::world::World;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, header};
use serde_json::json;
use sha2::Sha256;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(token)) = (arguments.next(), arguments.next()) else {
        bail!("usage: send_webhook URL MANAGEMENT_TOKEN [VEHICLE_ID]");
    };
    let vehicle = arguments.next().unwrap_or_else(|| "b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a".to_owned());
    let world = World::system()?;

    let now = world.now().as_millis();
    let signal = json!({
        "code": "tractionbattery-stateofcharge",
        "name": "StateOfCharge",
        "group": "TractionBattery",
        "body": { "value": 64, "unit": "percent" },
        "status": { "value": "SUCCESS" },
        "meta": { "oemUpdatedAt": now, "retrievedAt": now },
    });
    let event = json!({
        "eventId": world.uuid(),
        "eventType": "VEHICLE_STATE",
        "data": {
            "user": { "id": "6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b" },
            "vehicle": { "id": vehicle, "make": "VOLKSWAGEN", "model": "ID.4", "year": 2023 },
            "signals": [signal],
        },
        "triggers": [{ "type": "SIGNAL_UPDATED", "signal": { "code": "tractionbattery-stateofcharge" } }],
        "meta": { "version": "4.0", "deliveryId": world.uuid(), "deliveredAt": now, "mode": "LIVE" },
    });

    // The signature is over the very bytes that are sent: serialise once, sign that, send that.
    let body = Bytes::from(event.to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes())?;
    mac.update(&body);
    let signature = HEXLOWER.encode(&mac.finalize().into_bytes());

    let request = Request::post(&url)
        .header(header::CONTENT_TYPE, "application/json")
        .header("SC-Signature", signature)
        .body(body)
        .context("the URL")?;
    // Smartcar waits 15 s too, then tries again with the same eventId.
    let answer = world.transport.send(request, Duration::from_secs(15)).await?;
    println!("{} {}", answer.status(), String::from_utf8_lossy(answer.body()));
    if !answer.status().is_success() {
        bail!("the webhook was not taken");
    }
    Ok(())
}
