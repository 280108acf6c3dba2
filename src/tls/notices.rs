//! What an operator is told of the certificate: once, and that it is over.

use std::time::Duration;

use super::Shared;
use crate::model::Timestamp;
use crate::model::notice::{Notice, Subject};
use crate::store::notices::{EndNotice, GiveNotice};
use crate::store::{Store, StoreError};

/// Before the end of the certificate, in days: the nearest first.
const THRESHOLDS: [u8; 2] = [3, 14];

const DAY: Duration = Duration::from_secs(86_400);

/// Watches the end of the certificate that is shown.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Of which certificate was told what.
    told: Option<(Timestamp, Option<u8>)>,
}

impl Watch {
    /// Tells of an end that is near, and that it is no more.
    pub(super) async fn look(&mut self, shared: &Shared) {
        let Some(shown) = shared.shown() else { return };
        let (ends_at, now) = (shown.facts.ends_at, shared.world.now());
        let days = THRESHOLDS.into_iter().find(|days| ends_at <= now.after(u32::from(*days) * DAY));
        if self.told == Some((ends_at, days)) {
            return;
        }
        if self.told.is_none_or(|(before, _)| before != ends_at) || days.is_none() {
            shared.end(Subject::CertificateEnding).await;
        }
        if let Some(days) = days {
            if ends_at <= now {
                tracing::warn!(%ends_at, "the certificate that is shown has ended");
            } else {
                tracing::warn!(%ends_at, "the certificate that is shown ends within {days} days");
            }
            shared.tell(Subject::CertificateEnding, None, Some((ends_at, days))).await;
        }
        self.told = Some((ends_at, days));
    }
}

impl Shared {
    pub(super) async fn tell(&self, subject: Subject, reason: Option<String>, end: Option<(Timestamp, u8)>) {
        let (ends_at, days) = end.unzip();
        let notice = Notice { subject, since: self.world.now(), reason, ends_at, days };
        wait(self.store.commit(GiveNotice { notice }).await);
    }

    pub(super) async fn end(&self, subject: Subject) {
        wait(end(&self.store, &[subject]).await);
    }
}

/// All that is told of a certificate.
pub const NOTICES: [Subject; 3] = [Subject::CertificateEnding, Subject::CertificateUnusable, Subject::CertificateRefused];

/// Takes back notices of a certificate that is not there any more.
pub async fn forget_notices(store: &Store, subjects: &[Subject]) {
    wait(end(store, subjects).await);
}

/// Takes notices back. Where there are none, nothing is written.
async fn end(store: &Store, subjects: &[Subject]) -> Result<(), StoreError> {
    for Notice { subject, .. } in store.read(|snapshot| snapshot.notices(usize::MAX)).await? {
        if subjects.contains(&subject) {
            store.commit(EndNotice { subject }).await?;
        }
    }
    Ok(())
}

/// The log has told the same.
fn wait<T>(committed: Result<T, StoreError>) {
    if let Err(error) = committed {
        tracing::debug!(%error, "a notice waits for the store");
    }
}
