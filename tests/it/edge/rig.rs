//! A whole gateway over a directory of its own, without network.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carport::app::App;
use carport::config::{Config, ConfigFile, Environment, Overrides, Sources, load};
use carport::web::{Peer, handle};
use carport::world::{SystemClock, SystemEntropy, Transport, TransportError, World};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

pub(crate) const MANAGEMENT_TOKEN: &str = "a-management-token-for-tests";

/// Nobody answers.
#[derive(Debug)]
struct NoNetwork;

impl Transport for NoNetwork {
    fn send(&self, _: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        async { Err(TransportError::Unreachable("there is no network".to_owned())) }.boxed()
    }
}

pub(crate) struct Gateway {
    pub(crate) app: Option<App>,
    pub(crate) config: Config,
    directory: PathBuf,
}

impl Gateway {
    pub(crate) async fn new(name: &str) -> Gateway {
        Gateway::with(name, &[]).await
    }

    /// With these keys set.
    pub(crate) async fn with(name: &str, keys: &[(&'static str, &str)]) -> Gateway {
        let directory = std::env::temp_dir().join(format!("carport-edge-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let overrides = Overrides::default()
            .set("data_dir", directory.join("data").to_string_lossy(), "test")
            .set("listen", "127.0.0.1:0", "test")
            .set("limits.header_time", "1s", "test")
            .set("smartcar.application_id", "application", "test")
            .set("smartcar.v2.client_id", "application", "test")
            .set("smartcar.v2.client_secret", "secret", "test")
            .set("smartcar.application_management_token", MANAGEMENT_TOKEN, "test");
        let overrides = keys.iter().fold(overrides, |overrides, (key, value)| overrides.set(key, *value, "test"));
        let sources = Sources {
            overrides,
            lan: false,
            environment: Environment::default(),
            file: ConfigFile::None,
            directory: directory.clone(),
        };
        let config = load(&sources).unwrap();
        let world = World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy), transport: Arc::new(NoNetwork) };
        let app = App::build(&config, world).await.unwrap();
        Gateway { app: Some(app), config, directory }
    }

    pub(crate) async fn send(&self, peer: Peer, request: Request<Bytes>) -> Answer {
        let services = self.app.as_ref().unwrap().services();
        let (head, body) = handle(services, peer, request.map(Full::new)).await.into_parts();
        Answer { status: head.status.as_u16(), headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    /// Somebody on this machine, over TCP.
    pub(crate) async fn stranger(&self, request: Request<Bytes>) -> Answer {
        self.send(Peer::Remote { address: IpAddr::V4(Ipv4Addr::LOCALHOST), tls: false }, request).await
    }

    /// The one who runs Carport.
    pub(crate) async fn api(&self, method: Method, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(Peer::ourselves(), request(method, path).body(body.into()).unwrap()).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text()))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost:8000")
}

pub(crate) fn sign(text: &str) -> String {
    let mut hash = Hmac::<sha2::Sha256>::new_from_slice(MANAGEMENT_TOKEN.as_bytes()).unwrap();
    hash.update(text.as_bytes());
    data_encoding::HEXLOWER.encode(&hash.finalize().into_bytes())
}
