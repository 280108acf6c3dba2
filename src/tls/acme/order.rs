//! One order: names are proven, and a certificate for them is fetched.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeHandle, ChallengeType, Identifier, NewOrder, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::proofs::Proofs;
use super::{AcmeError, Challenge, Dns};
use crate::tls::{Facts, Unusable};
use crate::world::Transport;

/// What an order is placed with.
pub(super) struct Order<'a> {
    pub(super) account: Account,
    pub(super) names: &'a [String],
    /// What it is to replace.
    pub(super) replaced: Option<&'a Facts>,
    pub(super) challenge: Challenge,
    pub(super) dns: Option<&'a Dns>,
    pub(super) proofs: &'a Proofs,
}

/// A record that was written for an order.
struct Record {
    name: String,
    value: String,
}

impl Order<'_> {
    /// Places it; returns chain and key, as PEM. Whatever comes of it, no proof is left behind.
    pub(super) async fn place(&self, transport: &dyn Transport) -> Result<(String, String), AcmeError> {
        let mut records = Vec::new();
        let placed = self.prove_and_fetch(transport, &mut records).await;
        self.proofs.clear();
        for Record { name, value } in &records {
            if let Some(dns) = self.dns
                && let Err(error) = dns.clear(transport, name, value).await
            {
                tracing::debug!(%error, "a record was not cleared");
            }
        }
        placed
    }

    async fn prove_and_fetch(&self, transport: &dyn Transport, records: &mut Vec<Record>) -> Result<(String, String), AcmeError> {
        let identifiers: Vec<Identifier> = self.names.iter().map(|name| Identifier::Dns(name.clone())).collect();
        let replaced = self.replaced.and_then(|replaced| CertificateIdentifier::try_from(replaced.chain.first()?).ok());
        let order = NewOrder::new(&identifiers);
        let order = if let Some(replaced) = replaced { order.replaces(replaced) } else { order };
        let mut order = self.account.new_order(&order).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let kind = self.challenge.kind();
            let mut challenge = authorization.challenge(kind).ok_or_else(|| {
                AcmeError::Unproven(format!(
                    "{} is not offered for {name}: choose another tls.acme.challenge",
                    self.challenge.name()
                ))
            })?;
            self.show(&challenge, name.trim_start_matches("*."), transport, records).await?;
            challenge.set_ready().await?;
        }
        let status = order.poll_ready(&PATIENCE).await;
        if !matches!(status, Ok(OrderStatus::Ready)) {
            return Err(match self.why(&mut order).await {
                Some(why) => AcmeError::Unproven(why),
                None => status.err().map_or_else(|| AcmeError::Unproven("the order was refused".to_owned()), AcmeError::from),
            });
        }
        let broken = |error: rcgen::Error| Unusable::Broken(error.to_string());
        let mut params = CertificateParams::new(self.names.to_vec()).map_err(broken)?;
        params.distinguished_name = DistinguishedName::new();
        let key = KeyPair::generate().map_err(broken)?;
        order.finalize_csr(params.serialize_request(&key).map_err(broken)?.der()).await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        Ok((chain, key.serialize_pem()))
    }

    /// Puts the proof where it is looked for.
    async fn show(
        &self,
        challenge: &ChallengeHandle<'_>,
        name: &str,
        transport: &dyn Transport,
        records: &mut Vec<Record>,
    ) -> Result<(), AcmeError> {
        let proof = challenge.key_authorization();
        match self.challenge {
            Challenge::Http => self.proofs.show_http(&challenge.token, proof.as_str()),
            Challenge::Alpn => self.proofs.show_alpn(name, proof.digest().as_ref())?,
            Challenge::Dns => {
                let record = Record { name: format!("_acme-challenge.{name}"), value: proof.dns_value() };
                let dns = self.dns.ok_or_else(|| AcmeError::Dns("tls.acme.dns is not set".to_owned()))?;
                let written = dns.set(transport, &record.name, &record.value).await;
                // Also what failed half-way is cleared.
                records.push(record);
                written.map_err(AcmeError::Dns)?;
            }
        }
        Ok(())
    }

    /// Why a name is not proven, in the words of whoever looked.
    async fn why(&self, order: &mut instant_acme::Order) -> Option<String> {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let name = authorization.identifier().to_string();
            let state = authorization.refresh().await.ok()?;
            if let Some(error) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
                return Some(format!("{name} could not be proven by {}: {error}", self.challenge.name()));
            }
        }
        None
    }
}

impl Challenge {
    fn kind(self) -> ChallengeType {
        match self {
            Challenge::Http => ChallengeType::Http01,
            Challenge::Alpn => ChallengeType::TlsAlpn01,
            Challenge::Dns => ChallengeType::Dns01,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Challenge::Http => "http-01",
            Challenge::Alpn => "tls-alpn-01",
            Challenge::Dns => "dns-01",
        }
    }
}

/// How long each step of an order is waited for.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));
