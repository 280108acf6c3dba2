//! A certificate with its key, ready to be shown.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WantsServerCert;
use rustls::{ConfigBuilder, InconsistentKeys, ServerConfig};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::model::Timestamp;

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// What everybody can see of it.
    pub facts: Facts,
    /// What connections speak that are shown it.
    pub(super) config: Arc<ServerConfig>,
}

/// What everybody can see of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// It counts from then on.
    pub begins_at: Timestamp,
    /// It counts until then.
    pub ends_at: Timestamp,
    /// The names that it is for, addresses among them.
    pub names: Vec<String>,
    /// SHA-256, in hex.
    pub fingerprint: String,
    /// The chain, its own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It cannot be read at all.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// There is no certificate.
    #[error("holds no certificate; it is to hold the whole chain as PEM, as fullchain.pem does")]
    NoCertificate,
    /// What is no certificate is a key.
    #[error("holds a private key and no certificate: tls.cert and tls.key are swapped")]
    Swapped,
    /// It is PEM that has no end, or that nobody wrote like this.
    #[error("is cut off or damaged: {0}. Copy it again, whole")]
    CutOff(&'static str),
    /// There is no key.
    #[error("holds no private key; it is to hold one as PEM without a password, as privkey.pem does")]
    NoKey,
    /// The key has a password.
    #[error(
        "holds a private key with a password, which nobody is here to type: write it without one by openssl pkey -in OLD -out NEW"
    )]
    Encrypted,
    /// The key is cut off or damaged.
    #[error("holds a private key that is cut off or damaged: copy it again, whole")]
    BrokenKey,
    /// The key is none that can be used.
    #[error(
        "holds a private key that is damaged, or of a kind that is not known here: RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519"
    )]
    OddKey,
    /// They do not belong together.
    #[error(
        "is not the key of the certificate in tls.cert: give both of the same issue, and in tls.cert the server's own certificate first"
    )]
    OtherKey,
    /// It does not count yet.
    #[error("counts only from {0}: is the clock of this machine right?")]
    NotYet(Timestamp),
    /// It counts no more.
    #[error("has ended at {0}: renew it")]
    Ended(Timestamp),
    /// It is damaged, or of a kind that is not known here.
    #[error("cannot be used: {0}")]
    Broken(String),
}

impl Unusable {
    /// Whether it is the key that is at fault.
    pub(super) fn is_of_key(&self) -> bool {
        matches!(self, Unusable::NoKey | Unusable::Encrypted | Unusable::BrokenKey | Unusable::OddKey | Unusable::OtherKey)
    }
}

impl Certificate {
    /// Reads a chain and its key, both as PEM.
    pub fn read(bytes: &[u8], key: &[u8]) -> Result<Certificate, Unusable> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
        let chain = chain.map_err(|error| Unusable::CutOff(what_is_wrong(&error)))?;
        if chain.is_empty() && PrivateKeyDer::from_pem_slice(bytes).is_ok() {
            return Err(Unusable::Swapped);
        }
        let facts = Facts::of(chain)?;
        let config = Arc::new(config(facts.chain.clone(), read_key(key)?)?);
        Ok(Certificate { facts, config })
    }
}

/// Reads a key. Encrypted ones say so in their first line (RFC 7468, section 11) or in their second (RFC 1421).
fn read_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Unusable> {
    let has = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
    match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) if !has(b"Proc-Type: 4,ENCRYPTED") => Ok(key),
        Ok(_) => Err(Unusable::Encrypted),
        Err(_) if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") => Err(Unusable::Encrypted),
        Err(pem::Error::NoItemsFound) => Err(Unusable::NoKey),
        Err(_) => Err(Unusable::BrokenKey),
    }
}

/// Without what stands in the file: a key may be in it.
fn what_is_wrong(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "its last part has no end",
        pem::Error::Base64Decode(_) => "a part of it is not Base64",
        _ => "a line of it is not PEM",
    }
}

impl Facts {
    /// Why it does not count at a time.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), Unusable> {
        if now < self.begins_at {
            return Err(Unusable::NotYet(self.begins_at));
        }
        if self.ends_at <= now { Err(Unusable::Ended(self.ends_at)) } else { Ok(()) }
    }

    /// What a chain tells.
    pub fn of(chain: Vec<CertificateDer<'static>>) -> Result<Facts, Unusable> {
        let own = chain.first().ok_or(Unusable::NoCertificate)?;
        let fingerprint = data_encoding::HEXUPPER.encode(&Sha256::digest(own));
        let (_, own) = X509Certificate::from_der(own).map_err(broken)?;
        let time = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        let subject = own.subject_alternative_name().ok().flatten();
        let names = subject.iter().flat_map(|subject| &subject.value.general_names).filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        });
        let names = names.collect();
        let (begins_at, ends_at) = (own.validity().not_before.timestamp(), own.validity().not_after.timestamp());
        Ok(Facts { begins_at: time(begins_at), ends_at: time(ends_at), names, fingerprint, chain })
    }

    /// Whether it is for a name, or for the address that a name is (RFC 9525, section 6.3: a wildcard stands for one
    /// label).
    pub fn is_for(&self, name: &str) -> bool {
        let name = name.trim_matches(['[', ']']).trim_end_matches('.');
        let address = |text: &str| text.parse::<IpAddr>().ok();
        self.names.iter().any(|own| match own.strip_prefix("*.") {
            Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
            None => own.eq_ignore_ascii_case(name) || (address(name).is_some() && address(own) == address(name)),
        })
    }
}

/// How connections speak: HTTP/1.1 alone.
fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig, Unusable> {
    let mut config = builder()?.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Unusable::OtherKey,
        // The chain was read before: what cannot be parsed is the key.
        rustls::Error::General(_) => Unusable::OddKey,
        other => broken(other),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // The strongest of what both know, whatever the client would rather have.
    config.ignore_client_order = true;
    Ok(config)
}

/// The beginning of what connections speak.
pub(super) fn builder() -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, Unusable> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(broken)?.with_no_client_auth())
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    Some(address.ok()?.to_string())
}

fn broken(error: impl std::fmt::Display) -> Unusable {
    Unusable::Broken(error.to_string())
}
