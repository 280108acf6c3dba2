//! A look at what a listener shows, as somebody else would see it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Facts;
use crate::model::Timestamp;

/// What is shown at the other end to who asks for `name`. Nothing is said to whoever answers, so all of them will do.
pub async fn look(stream: TcpStream, name: &str) -> io::Result<Facts> {
    let curious = Arc::new(Curious::default());
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?.dangerous();
    let config = builder.with_custom_certificate_verifier(curious.clone()).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let chain = std::mem::take(&mut *curious.0.lock().unwrap_or_else(PoisonError::into_inner));
    if chain.is_empty() {
        Err(connected.err().unwrap_or_else(|| io::ErrorKind::NotConnected.into()))
    } else {
        Facts::of(chain).map_err(io::Error::other)
    }
}

/// Why those who come from outside would not take it for `name`; `None` if they would.
pub fn vouched_for(facts: &Facts, name: &str, roots: RootCertStore, now: Timestamp) -> Option<String> {
    let proven = || {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
        let name = ServerName::try_from(name).map_err(|error| Error::General(error.to_string()))?;
        let (own, others) = facts.chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let now = UnixTime::since_unix_epoch(now.since(Timestamp::default()));
        verifier.verify_server_cert(own, others, &name, &[], now).map(drop)
    };
    let error = proven().err()?;
    Some(match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) if facts.chain.len() == 1 => {
            "nobody vouches for it; if somebody should, the rest of the chain is missing".to_owned()
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "nobody whom the world trusts vouches for it".to_owned(),
        Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            format!("it is not for {name}")
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "it has ended".to_owned()
        }
        // webpki's own errors come as text only. Certificates that people sign themselves are mostly of this kind.
        Error::InvalidCertificate(CertificateError::Other(other)) if other.to_string() == "CaUsedAsEndEntity" => {
            "nobody vouches for it: it has signed itself, and says that it is an authority's".to_owned()
        }
        other => other.to_string(),
    })
}

/// Takes every certificate, and remembers it.
#[derive(Debug, Default)]
struct Curious(Mutex<Vec<CertificateDer<'static>>>);

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = [own].into_iter().chain(others).map(|one| one.clone().into_owned()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    #[test]
    fn the_world_takes_a_whole_chain_for_its_name_while_it_lasts() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params.clone(), KeyPair::generate().unwrap()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "between");
        let between = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
        let mut params = CertificateParams::new(vec!["cars.example.org".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2027, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 4, 1);
        let own = params.signed_by(&KeyPair::generate().unwrap(), &between).unwrap();
        let whole = Facts::of(vec![own.der().clone(), between.as_ref().der().clone()]).unwrap();
        assert_eq!(whole.names, ["cars.example.org", "10.0.0.1"]);

        let mut roots = RootCertStore::empty();
        roots.add(root.as_ref().der().clone()).unwrap();
        let now = Timestamp::parse("2027-02-01T00:00:00Z").unwrap();
        let why = |facts: &Facts, name, now| vouched_for(facts, name, roots.clone(), now);
        assert_eq!(why(&whole, "cars.example.org", now), None);
        assert_eq!(why(&whole, "10.0.0.1", now), None);
        assert_eq!(why(&whole, "other.example.org", now).unwrap(), "it is not for other.example.org");
        assert_eq!(why(&whole, "cars.example.org", now.after(Duration::from_secs(90 * 86_400))).unwrap(), "it has ended");
        let alone = Facts::of(vec![own.der().clone()]).unwrap();
        assert!(why(&alone, "cars.example.org", now).unwrap().contains("the rest of the chain is missing"));
        assert_eq!(Facts::of(Vec::new()), Err(super::super::Unusable::NoCertificate));
    }
}
