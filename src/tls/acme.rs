//! Certificates that are ordered over ACME (RFC 8555), and renewed in time.
//!
//! When, is for [`plan`] to say; one order is one call of [`order`]. What fails is tried again later and later, and the
//! certificate that is there is shown on meanwhile. Account and certificate are kept sealed in the store, so that a
//! restart orders nothing; so is the number of failures, so that starts in a row do not ask each time.

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
use crate::model::{Blob, Current, Secret};
use crate::store::StoreError;
use crate::store::certificates::{KeepAccount, KeepCertificate, KeepFailures, KeptAccount, KeptCertificate, KeptFailures};
use crate::world::{HttpClient, World};

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
        token: Current<Secret>,
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
        let wrong = |error: Unusable| TlsError::File { key: "tls.acme.ca_file", path: path.clone(), error };
        let bytes = fs::read(path).map_err(|error| wrong(Unusable::Unreadable(error.to_string())))?;
        let roots: Vec<_> = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect();
        if roots.is_empty() { Err(wrong(Unusable::NoCertificate)) } else { Ok(roots) }
    }

    /// The world as this needs it: a CA in the house is trusted too.
    pub(super) fn world(&self, world: World) -> Result<World, TlsError> {
        let roots = self.roots()?;
        if roots.is_empty() {
            return Ok(world);
        }
        Ok(World { transport: Arc::new(HttpClient::trusting(&roots)?), ..world })
    }

    /// Keeps a certificate that counts.
    pub(super) async fn keep(&self, shared: &Shared) {
        let keeper = Keeper { acme: self, shared };
        let (mut watch, mut plan) = (Watch::default(), Plan::default());
        // Failures and notices may stand from an earlier run.
        let (mut failures, wait) = keeper.failures().await;
        let mut not_before = Instant::now() + wait;
        let mut is_told = true;
        loop {
            watch.look(shared).await;
            let (due_at, now) = (plan.due_at(&keeper).await, shared.world.now());
            let wait = if due_at > now { due_at.since(now) } else { not_before.saturating_duration_since(Instant::now()) };
            if due_at > now && std::mem::take(&mut is_told) {
                shared.end(Subject::CertificateRefused).await;
            }
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait.clamp(SHORTEST, SELDOM)) => {}
                    () = shared.reread.notified() => not_before = Instant::now(),
                }
                continue;
            }
            // Who was told so once need not take it a second time.
            let replaced = shared.shown().filter(|_| plan.is_suggested() && failures == 0);
            let challenge = self.challenges[failures % self.challenges.len()];
            let ordered = keeper.renew(challenge, replaced.as_deref().map(|shown| &shown.facts)).await;
            is_told = true;
            match ordered {
                Ok(life) => {
                    if failures > 0 {
                        keeper.keep_failures(0).await;
                    }
                    (failures, plan) = (0, Plan::default());
                    // Whatever clock or issuer say of it, the next one has time.
                    not_before = Instant::now() + (life / 3).min(SELDOM);
                    shared.end(Subject::CertificateRefused).await;
                }
                Err(error) => {
                    let again_in = pause(failures, self.challenges.len()).mul_f64(0.75 + 0.25 * plan::chance(&shared.world));
                    failures += 1;
                    keeper.keep_failures(failures).await;
                    not_before = Instant::now() + again_in;
                    let error = match &error {
                        // What the wire says.
                        AcmeError::Issuer(instant_acme::Error::Other(_)) => {
                            format!("{} cannot be reached: {error}", self.directory)
                        }
                        AcmeError::Issuer(_) => format!("{}: {error}", self.directory),
                        other => other.to_string(),
                    };
                    tracing::warn!(error, again_in_s = again_in.as_secs(), "no new certificate is issued");
                    shared.tell(Subject::CertificateRefused, Some(error), None).await;
                }
            }
        }
    }
}

/// How long to wait after so many failures: the other ways are tried at once, and then none for longer and longer.
/// Let's Encrypt takes five failures an hour for a name.
fn pause(failures: usize, ways: usize) -> Duration {
    if failures % ways + 1 < ways {
        return OTHER_WAY;
    }
    let rounds = u32::try_from(failures / ways).unwrap_or(u32::MAX).min(8);
    (FIRST_PAUSE * 2u32.pow(rounds)).min(LONGEST_PAUSE)
}

const OTHER_WAY: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_secs(30 * 60);
const LONGEST_PAUSE: Duration = Duration::from_secs(12 * 3600);

/// How often is looked when nothing is due.
const SELDOM: Duration = Duration::from_secs(3600);
const SHORTEST: Duration = Duration::from_millis(100);

/// What an order needs.
struct Keeper<'a> {
    acme: &'a Acme,
    shared: &'a Shared,
}

impl Keeper<'_> {
    /// How many orders have failed in a row, and how long none is placed because of them. After a start that is half an
    /// hour at most: perhaps somebody has mended what was wrong.
    async fn failures(&self) -> (usize, Duration) {
        let kept = self.shared.store.read(|snapshot| snapshot.acme_failures()).await.unwrap_or_default();
        let is_ours = |kept: &KeptFailures| kept.directory == self.acme.directory && kept.names == self.shared.settings.names;
        let Some(kept) = kept.filter(|kept| is_ours(kept) && kept.count > 0) else { return (0, Duration::ZERO) };
        let failures = usize::try_from(kept.count).unwrap_or(usize::MAX);
        let wait = pause(failures - 1, self.acme.challenges.len()).min(FIRST_PAUSE);
        let (again_at, now) = (kept.last_at.after(wait), self.shared.world.now());
        // A clock that was set back makes nobody wait longer.
        (failures, if again_at > now { again_at.since(now).min(wait) } else { Duration::ZERO })
    }

    async fn keep_failures(&self, count: usize) {
        let (directory, names, last_at) =
            (self.acme.directory.clone(), self.shared.settings.names.clone(), self.shared.world.now());
        let failures = KeptFailures { directory, names, count: u32::try_from(count).unwrap_or(u32::MAX), last_at };
        if let Err(error) = self.shared.store.commit(KeepFailures { failures }).await {
            tracing::debug!(%error, "failures wait for the store");
        }
    }

    /// Orders a certificate, keeps it and shows it; returns how long it lasts.
    async fn renew(&self, challenge: Challenge, replaced: Option<&Facts>) -> Result<Duration, AcmeError> {
        let certificate = match self.order(challenge, replaced, false).await {
            // Theirs are gone, as a server for tests forgets them.
            Err(AcmeError::Issuer(instant_acme::Error::Api(problem))) if is_of_account(problem.r#type.as_deref()) => {
                self.order(challenge, None, true).await?
            }
            other => other?,
        };
        let shown = Certificate::read(certificate.chain.as_bytes(), &certificate.key.0)?;
        self.shared.store.commit(KeepCertificate { certificate }).await?;
        let life = shown.facts.ends_at.since(shown.facts.begins_at);
        self.shared.show(shown);
        Ok(life)
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
        let builder = Account::builder_with_http(Box::new(Wire(self.shared.world.transport.clone())));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_more_than_five_times_an_hour() {
        for ways in 1..=2 {
            // With as little jitter as there may be.
            let pauses: Vec<Duration> = (0..20).map(|failures| pause(failures, ways).mul_f64(0.75)).collect();
            for start in 0..15 {
                let six: Duration = pauses[start..start + 5].iter().sum();
                assert!(six > Duration::from_secs(3600), "{ways} ways: six from the {start}th on within {six:?}");
            }
            assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        }
    }
}
