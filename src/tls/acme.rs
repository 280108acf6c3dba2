//! Certificates that are ordered over ACME (RFC 8555), and renewed in time.
//!
//! When, is for [`plan`] to say; one order is one call of [`order`]. What fails is tried again later and later, and the
//! certificate that is there is shown on meanwhile. Account and certificate are kept sealed in the store, so that a
//! restart orders nothing.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{Account, AccountCredentials, NewAccount};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::order::Order;
use self::plan::Plan;
use self::wire::Wire;
use super::notices::Watch;
use super::{Certificate, Facts, Shared, TlsError, Unusable};
use crate::model::notice::Subject;
use crate::model::{Blob, Secret};
use crate::store::StoreError;
use crate::store::certificates::{KeepAccount, KeepCertificate, KeptAccount, KeptCertificate};
use crate::world::{HttpClient, Transport};

mod dns;
mod order;
mod plan;
mod proofs;
mod wire;

pub(super) use proofs::Proofs;

/// `tls.acme.*`
#[derive(Clone, Debug)]
pub struct Acme {
    /// Where whoever issues certificates says what they offer.
    pub directory: String,
    /// Where they may write to.
    pub email: Option<String>,
    /// Roots that their own server's certificate goes back to, as PEM.
    pub ca_file: Option<PathBuf>,
    /// How names are proven: one after the other, until one does.
    pub challenges: Vec<Challenge>,
    /// Who writes records.
    pub dns: Option<Dns>,
}

/// How it is proven that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// `http-01`
    Http,
    /// `tls-alpn-01`
    Alpn,
    /// `dns-01`
    Dns,
}

/// Who writes records into the DNS.
#[derive(Clone, Debug)]
pub enum Dns {
    /// duckdns.org
    DuckDns {
        /// The token of the account there.
        token: Secret,
    },
    /// A program of the owner's.
    Exec(PathBuf),
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcmeError {
    /// Whoever issues them refuses, or cannot be reached.
    #[error("{0}")]
    Issuer(#[from] instant_acme::Error),
    /// A name could not be proven.
    #[error("{0}")]
    Unproven(String),
    /// The record could not be written.
    #[error("the record for dns-01 cannot be written: {0}")]
    Dns(String),
    /// What was issued cannot be used.
    #[error("what was issued cannot be used: {0}")]
    Unusable(#[from] Unusable),
    /// The store takes nothing at the moment.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Acme {
    /// The roots in `ca_file`.
    pub(super) fn roots(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let Some(path) = &self.ca_file else { return Ok(Vec::new()) };
        let wrong = |error: Unusable| TlsError::File { path: path.clone(), error };
        let bytes = fs::read(path).map_err(|error| wrong(Unusable::Unreadable(error.to_string())))?;
        let roots: Vec<_> = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect();
        if roots.is_empty() { Err(wrong(Unusable::NoCertificate)) } else { Ok(roots) }
    }

    /// Keeps a certificate that counts.
    pub(super) async fn keep(&self, shared: &Shared) {
        let transport = match self.transport(shared) {
            Ok(transport) => transport,
            Err(error) => return tracing::error!(%error, "certificates cannot be ordered"),
        };
        let keeper = Keeper { acme: self, shared, transport };
        let mut watch = Watch::default();
        let mut plan = Plan::default();
        let mut failures = 0;
        let mut not_before = Instant::now();
        loop {
            watch.look(shared).await;
            let due_at = plan.due_at(&keeper).await;
            let wait = if due_at > shared.world.now() {
                due_at.since(shared.world.now()).min(SELDOM)
            } else {
                not_before.saturating_duration_since(Instant::now()).min(SELDOM)
            };
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait.max(Duration::from_millis(100))) => {}
                    () = shared.reread.notified() => not_before = Instant::now(),
                }
                continue;
            }
            // Who was told so once need not take it a second time.
            let replaced = shared.shown().filter(|_| plan.is_suggested() && failures == 0);
            match keeper
                .renew(self.challenges[failures % self.challenges.len().max(1)], replaced.as_deref().map(|shown| &shown.facts))
                .await
            {
                Ok(()) => {
                    (failures, plan) = (0, Plan::default());
                    shared.end(Subject::CertificateRefused).await;
                }
                Err(error) => {
                    let again_in = pause(failures, shared);
                    failures += 1;
                    not_before = Instant::now() + again_in;
                    tracing::warn!(%error, again_in_s = again_in.as_secs(), "no new certificate is issued");
                    shared.tell(Subject::CertificateRefused, Some(error.to_string()), None).await;
                }
            }
        }
    }

    fn transport(&self, shared: &Shared) -> Result<Arc<dyn Transport>, TlsError> {
        let roots = self.roots()?;
        if roots.is_empty() {
            return Ok(shared.world.transport.clone());
        }
        Ok(Arc::new(HttpClient::trusting(&roots)?))
    }
}

/// How long to wait after so many failures. Let's Encrypt takes five an hour for a name.
fn pause(failures: usize, shared: &Shared) -> Duration {
    let doubled = FIRST_PAUSE * 2u32.pow(u32::try_from(failures.min(8)).unwrap_or(8));
    let longest = doubled.min(LONGEST_PAUSE);
    longest.mul_f64(0.75 + 0.25 * plan::chance(&shared.world))
}

const FIRST_PAUSE: Duration = Duration::from_secs(10 * 60);
const LONGEST_PAUSE: Duration = Duration::from_secs(12 * 3600);

/// How often is looked when nothing is due.
const SELDOM: Duration = Duration::from_secs(3600);

/// What an order needs.
struct Keeper<'a> {
    acme: &'a Acme,
    shared: &'a Shared,
    transport: Arc<dyn Transport>,
}

impl Keeper<'_> {
    /// Orders a certificate, keeps it and shows it.
    async fn renew(&self, challenge: Challenge, replaced: Option<&Facts>) -> Result<(), AcmeError> {
        let certificate = match self.order(challenge, replaced, false).await {
            // Theirs are gone, as a server for tests forgets them.
            Err(AcmeError::Issuer(instant_acme::Error::Api(problem))) if is_of_account(problem.r#type.as_deref()) => {
                self.order(challenge, None, true).await?
            }
            other => other?,
        };
        let shown = Certificate::read(certificate.chain.as_bytes(), &certificate.key.0)?;
        self.shared.store.commit(KeepCertificate { certificate }).await?;
        self.shared.show(shown);
        Ok(())
    }

    async fn order(&self, challenge: Challenge, replaced: Option<&Facts>, anew: bool) -> Result<KeptCertificate, AcmeError> {
        let account = self.account(anew).await?;
        let names = &self.shared.settings.names;
        let (dns, proofs) = (self.acme.dns.as_ref(), &self.shared.proofs);
        let order = Order { account, names, replaced, challenge, dns, proofs };
        let (chain, key) = order.place(&*self.shared.world.transport).await?;
        Ok(KeptCertificate { issuer: self.acme.directory.clone(), names: names.clone(), chain, key: Blob(key.into_bytes()) })
    }

    /// Our account there, made if there is none.
    async fn account(&self, anew: bool) -> Result<Account, AcmeError> {
        let directory = &self.acme.directory;
        let kept = self.shared.store.read(|snapshot| snapshot.acme_account()).await?;
        let kept = kept.filter(|kept| !anew && kept.directory == *directory);
        let credentials = kept.and_then(|kept| serde_json::from_slice::<AccountCredentials>(&kept.credentials.0).ok());
        let builder = Account::builder_with_http(Box::new(Wire(self.transport.clone())));
        if let Some(credentials) = credentials {
            return Ok(builder.from_credentials(credentials).await?);
        }
        let contact = self.acme.email.iter().map(|email| format!("mailto:{email}")).collect::<Vec<_>>();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
        let credentials = Zeroizing::new(serde_json::to_vec(&credentials).map_err(instant_acme::Error::from)?);
        let kept = KeptAccount { directory: directory.clone(), credentials: Blob(credentials.to_vec()) };
        self.shared.store.commit(KeepAccount { account: kept }).await?;
        tracing::info!(directory, "an account was made there");
        Ok(account)
    }
}

fn is_of_account(problem: Option<&str>) -> bool {
    problem == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}

impl Shared {
    /// Shows what was issued last, also for other names than today's: better than nothing.
    pub(super) async fn show_kept(&self) -> Result<(), StoreError> {
        let Some(kept) = self.store.read(|snapshot| snapshot.certificate()).await? else { return Ok(()) };
        match Certificate::read(kept.chain.as_bytes(), &kept.key.0) {
            Ok(certificate) => self.show(certificate),
            Err(error) => tracing::warn!(%error, "the certificate that was kept is not shown"),
        }
        Ok(())
    }
}
