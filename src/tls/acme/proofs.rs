//! What whoever issues certificates is to find here while an order is under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::super::Unusable;
use super::super::certificate::builder;

/// All proofs that are to be found now.
#[derive(Debug, Default)]
pub(in super::super) struct Proofs(Mutex<Shown>);

#[derive(Debug, Default)]
struct Shown {
    /// By token.
    http: HashMap<String, String>,
    /// By name.
    alpn: HashMap<String, Arc<ServerConfig>>,
}

impl Proofs {
    /// What is to be found under a token of http-01.
    pub(in super::super) fn of_token(&self, token: &str) -> Option<String> {
        self.shown().http.get(token).cloned()
    }

    /// How to speak with somebody who asks for nothing but the proof of tls-alpn-01.
    pub(in super::super) fn of_hello(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        hello.alpn()?.any(|protocol| protocol == PROTOCOL).then(|| self.shown().alpn.get(hello.server_name()?).cloned())?
    }

    pub(super) fn show_http(&self, token: &str, proof: &str) {
        self.shown().http.insert(token.to_owned(), proof.to_owned());
    }

    pub(super) fn show_alpn(&self, name: &str, digest: &[u8]) -> Result<(), Unusable> {
        let broken = |error: rcgen::Error| Unusable::Broken(error.to_string());
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(broken)?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate().map_err(broken)?;
        let certificate = params.self_signed(&key).map_err(broken)?;
        // Not for anybody else: its one extension is critical, and unknown to all who prove certificates.
        let key = any_supported_type(&PrivatePkcs8KeyDer::from(key.serialize_der()).into());
        let key = key.map_err(|error| Unusable::Broken(error.to_string()))?;
        let certified = SingleCertAndKey::from(CertifiedKey::new(vec![certificate.der().clone()], key));
        let mut config = builder()?.with_cert_resolver(Arc::new(certified));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        self.shown().alpn.insert(name.to_owned(), Arc::new(config));
        Ok(())
    }

    /// The order is over.
    pub(super) fn clear(&self) {
        *self.shown() = Shown::default();
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PROTOCOL: &[u8] = b"acme-tls/1";
