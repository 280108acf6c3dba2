//! The real [`Transport`]: reqwest over rustls with the ring provider.
//!
//! Trusts the system's roots and Mozilla's bundled ones, so that it works on a machine without
//! `/etc/ssl`. Follows no redirect (a redirect must never carry a secret to another host) and reads no
//! more than [`ANSWER_CAP`] bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use rustls::pki_types::CertificateDer;

use super::{ANSWER_CAP, Transport, TransportError};

/// An HTTP client with pooled connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: reqwest::Client,
}

impl HttpClient {
    /// Builds a client; fails only when TLS cannot be set up.
    pub fn new() -> Result<HttpClient, TransportError> {
        HttpClient::trusting(&[])
    }

    /// A client that trusts further roots.
    pub fn trusting(roots: &[CertificateDer<'static>]) -> Result<HttpClient, TransportError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(roots)?)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(50))
            .user_agent(concat!("carport/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| TransportError::Unreachable(reason(error)))?;
        Ok(HttpClient { client })
    }
}

impl Transport for HttpClient {
    fn send(&self, request: Request<Bytes>, deadline: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        async move {
            let request = reqwest::Request::try_from(request).map_err(|error| TransportError::Unreachable(reason(error)))?;
            tokio::time::timeout(deadline, exchange(&self.client, request))
                .await
                .unwrap_or(Err(TransportError::TooSlow(deadline)))
        }
        .boxed()
    }
}

async fn exchange(client: &reqwest::Client, request: reqwest::Request) -> Result<Response<Bytes>, TransportError> {
    let mut answer = client.execute(request).await.map_err(|error| {
        if error.is_connect() || error.is_builder() {
            TransportError::Unreachable(reason(error))
        } else {
            TransportError::Lost(reason(error))
        }
    })?;
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| TransportError::Lost(reason(error)))? {
        if body.len() + chunk.len() > ANSWER_CAP {
            return Err(TransportError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(body.freeze());
    *response.status_mut() = answer.status();
    std::mem::swap(response.headers_mut(), answer.headers_mut());
    Ok(response)
}

/// What went wrong, innermost cause last. Never the URL: it may carry a code or a token.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

/// The system's roots, and Mozilla's.
pub fn roots() -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn tls(further: &[CertificateDer<'static>]) -> Result<rustls::ClientConfig, TransportError> {
    let mut roots = roots();
    roots.add_parsable_certificates(further.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TransportError::Unreachable(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
