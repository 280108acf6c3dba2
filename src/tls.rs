//! TLS of our own: which certificate is shown, where it comes from, and that somebody is told before it ends.
//!
//! One certificate is shown at a time. Whatever goes wrong with the next one, the one before is shown on. With
//! `tls.mode = "off"` nothing of this is made.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::model::notice::Subject;
use crate::store::certificates::KeepCertificate;
use crate::store::{Store, StoreError};
use crate::world::{TransportError, World};

use self::acme::Proofs;

mod acme;
mod certificate;
mod files;
mod handshake;
mod look;
mod notices;
mod self_signed;

pub use acme::{Acme, AcmeError, Challenge, Dns};
pub use certificate::{Certificate, Facts, Unusable};
pub use files::Files;
pub use handshake::Shaken;
pub use look::{look, vouched_for};
pub use notices::{NOTICES, forget_notices};

/// How TLS was configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the certificate comes from.
    pub source: Source,
    /// The names that it is to be for; those of `Files` are what they are.
    pub names: Vec<String>,
}

/// Where the certificate comes from: `tls.mode`.
#[derive(Clone, Debug)]
pub enum Source {
    /// From files that somebody else renews.
    Files(Files),
    /// Ordered from who issues certificates over ACME.
    Acme(Acme),
    /// Made here. Browsers warn of it until they are told to trust it.
    SelfSigned,
}

impl Settings {
    /// Reads what others have written, so that a mistake is known before anything is made.
    pub fn try_out(&self) -> Result<(), TlsError> {
        match &self.source {
            Source::Files(files) => files.read().map(drop),
            Source::Acme(acme) => acme.roots().map(drop),
            Source::SelfSigned => Ok(()),
        }
    }
}

impl Source {
    /// What is not told of this one, though it may have been of another.
    fn never_tells(&self) -> &'static [Subject] {
        match self {
            Source::Files(_) => &[Subject::CertificateRefused],
            Source::Acme(_) => &[Subject::CertificateUnusable],
            Source::SelfSigned => &NOTICES,
        }
    }
}

/// Why there is no certificate to begin with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The files cannot be used.
    #[error("{key}: {}: {error}", path.display())]
    File {
        /// By which key it was named.
        key: &'static str,
        /// Which of them.
        path: PathBuf,
        /// Why.
        error: Unusable,
    },
    /// Neither of two can.
    #[error("{0}; {1}")]
    Both(Box<TlsError>, Box<TlsError>),
    /// Nobody can be asked for a certificate.
    #[error("certificates cannot be ordered: {0}")]
    Transport(#[from] TransportError),
    /// The certificate that was made here cannot be used.
    #[error("a certificate cannot be made: {0}")]
    Made(Unusable),
    /// What was kept cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// TLS on a listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    store: Store,
    world: World,
    shown: RwLock<Option<Arc<Certificate>>>,
    /// For the computing that handshakes cost us.
    turns: Arc<Semaphore>,
    /// What whoever issues certificates is to find here.
    proofs: Proofs,
    /// Somebody asks to look for a new certificate now.
    reread: Notify,
}

impl Tls {
    /// Reads or makes the certificate.
    pub async fn open(settings: Settings, store: Store, world: World) -> Result<Tls, TlsError> {
        let world = match &settings.source {
            Source::Acme(acme) => acme.world(world)?,
            _ => world,
        };
        let turns = Arc::new(Semaphore::new(handshake::AT_ONCE));
        let (shown, proofs, reread) = Default::default();
        let shared = Shared { settings, store, world, shown, turns, proofs, reread };
        match &shared.settings.source {
            Source::Files(files) => shared.show(files.read()?),
            Source::SelfSigned => shared.show(shared.own().await?),
            Source::Acme(_) => shared.show_kept().await?,
        }
        Ok(Tls { shared: Arc::new(shared) })
    }

    /// The certificate that is shown; `None` while there is none.
    pub fn shown(&self) -> Option<Arc<Certificate>> {
        self.shared.shown()
    }

    /// What is to be found at `/.well-known/acme-challenge/{token}`.
    pub fn proof(&self, token: &str) -> Option<String> {
        self.shared.proofs.of_token(token)
    }

    /// Puts the token for the DNS of a configuration that was read again in the place of the one there is.
    pub fn replace_dns_token(&self, new: &Settings) {
        if let (Source::Acme(acme), Source::Acme(new)) = (&self.shared.settings.source, &new.source)
            && let (Some(Dns::DuckDns { token }), Some(Dns::DuckDns { token: new })) = (&acme.dns, &new.dns)
        {
            token.replace((*new.get()).clone());
        }
    }

    /// Looks for a new certificate now.
    pub fn reread(&self) {
        self.shared.reread.notify_one();
    }

    /// Looks after the certificate until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let shared = &self.shared;
        let tend = async {
            forget_notices(&shared.store, shared.settings.source.never_tells()).await;
            match &shared.settings.source {
                Source::Files(files) => shared.follow(files).await,
                Source::Acme(acme) => acme.keep(shared).await,
                Source::SelfSigned => shared.remake().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tend => {}
        }
    }
}

impl Shared {
    fn shown(&self) -> Option<Arc<Certificate>> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, certificate: Certificate) {
        let Facts { ends_at, fingerprint, .. } = &certificate.facts;
        tracing::info!(%ends_at, fingerprint, "this certificate is shown from now on");
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certificate));
    }

    /// The certificate of our own making: the one that was kept, while it does.
    async fn own(&self) -> Result<Certificate, TlsError> {
        let kept = self.store.read(|snapshot| snapshot.certificate()).await?;
        let names = &self.settings.names;
        if let Some(kept) = kept.filter(|kept| kept.issuer == self_signed::ISSUER && kept.names == *names)
            && let Ok(certificate) = Certificate::read(kept.chain.as_bytes(), &kept.key.0)
            && certificate.facts.ends_at > self.world.now().after(self_signed::MARGIN)
        {
            return Ok(certificate);
        }
        let certificate = self_signed::make(names, self.world.now()).map_err(TlsError::Made)?;
        let made = Certificate::read(certificate.chain.as_bytes(), &certificate.key.0).map_err(TlsError::Made)?;
        self.store.commit(KeepCertificate { certificate }).await?;
        Ok(made)
    }

    /// Makes another certificate before the one that is shown ends.
    async fn remake(&self) {
        loop {
            tokio::time::sleep(DAILY).await;
            match self.own().await {
                Ok(certificate) if self.shown().is_none_or(|shown| shown.facts != certificate.facts) => {
                    self.show(certificate);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the certificate is not renewed"),
            }
        }
    }
}

const DAILY: Duration = Duration::from_secs(86_400);
