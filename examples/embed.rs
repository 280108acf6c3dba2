//! Carport as a library: a whole gateway inside another program, asked without a socket.
//!
//! It runs to an end by itself and needs nothing: `cargo run --example embed`

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use carport::app::App;
use carport::config::{Overrides, Sources, load};
use carport::web::{self, Peer};
use carport::world::World;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<()> {
    // Time, randomness and network are handed in: a test would hand in its own.
    let world = World::system()?;
    let directory = std::env::temp_dir().join(format!("carport-embed-{}", world.uuid()));
    let outcome = run(world, &directory).await;
    std::fs::remove_dir_all(&directory).context("the data directory could not be removed")?;
    outcome
}

async fn run(world: World, directory: &Path) -> Result<()> {
    // Neither file nor environment: only what stands here, by the keys of config.example.toml.
    let overrides = Overrides::default()
        .set("data_dir", directory.to_string_lossy(), "embed")
        .set("listen", "127.0.0.1:0", "embed")
        .set("public_url", "https://cars.example.org", "embed")
        .set("smartcar.application_id", "8229df9f-91a0-4ff0-a1ae-a1f38ee24d07", "embed")
        .set("smartcar.v3.client_id", "client_01HXAMPLE", "embed")
        .set("smartcar.v3.client_secret", "a secret", "embed");
    let config = load(&Sources { overrides, ..Sources::default() })?;

    let mut app = App::build(&config, world).await?;
    app.bind(&config).await?;
    for address in app.listeners().iter().filter_map(web::server::Listener::address) {
        println!("Listening on {address}.");
    }
    let services = app.services().clone();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(app.run(shutdown.clone()));

    // The whole gateway is one function. `Peer::ourselves` is this process, which may do everything.
    let wanted = json!({ "user": "ann", "create": true });
    let request = Request::post("/api/v1/connect")
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(wanted.to_string())))?;
    let answer = web::handle(&services, Peer::ourselves(), request).await;
    let status = answer.status();
    let invite: Value = serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
    ensure!(status.is_success(), "{status}: {invite}");
    println!("Ann connects her car at {}", invite["url"].as_str().unwrap_or_default());

    // Stops top-down: started requests end, what was answered is on disk.
    shutdown.cancel();
    running.await??;
    println!("Stopped.");
    Ok(())
}
