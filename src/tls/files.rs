//! A certificate in files that somebody else renews: read when they change.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::notices::Watch;
use super::{Certificate, Shared, TlsError, Unusable};
use crate::model::Timestamp;
use crate::model::notice::Subject;

/// `tls.cert` and `tls.key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The chain, as PEM.
    pub chain: PathBuf,
    /// The private key, as PEM.
    pub key: PathBuf,
}

impl Files {
    /// Reads both.
    pub fn read(&self) -> Result<Certificate, TlsError> {
        let (chain, key) = match (read("tls.cert", &self.chain), read("tls.key", &self.key).map(Zeroizing::new)) {
            (Err(chain), Err(key)) => return Err(TlsError::Both(Box::new(chain), Box::new(key))),
            (chain, key) => (chain?, key?),
        };
        Certificate::read(&chain, &key).map_err(|error| {
            let (key, path) = if error.is_of_key() { ("tls.key", &self.key) } else { ("tls.cert", &self.chain) };
            TlsError::File { key, path: path.clone(), error }
        })
    }

    /// What tells that one of them was written or replaced.
    fn stamp(&self) -> Vec<Option<(u64, u64, i64, i64)>> {
        // Whom it was opened to shows in the time of the change alone.
        let stamp = |at: Metadata| (at.ino(), at.len(), at.ctime(), at.ctime_nsec());
        [&self.chain, &self.key].map(|path| fs::metadata(path).ok().map(stamp)).to_vec()
    }
}

impl Shared {
    /// Shows what the files hold, whenever they change.
    pub(super) async fn follow(&self, files: &Files) {
        let mut watch = Watch::default();
        let mut stamp = files.stamp();
        let mut is_settled = true;
        // From then on, what was refused for its time may be better than what is shown.
        let mut again_at = self.take(files).await;
        loop {
            watch.look(self).await;
            let is_told = tokio::select! {
                () = self.reread.notified() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            let now = files.stamp();
            let is_changed = now != stamp;
            stamp = now;
            let is_due = again_at.is_some_and(|at| at <= self.world.now());
            // The one file is written after the other: what just changed may do so again.
            if is_told || is_due || (!is_settled && !is_changed) {
                again_at = self.take(files).await;
            }
            is_settled = is_told || !is_changed;
        }
    }

    /// Shows them, unless that is worse than what is shown. What does not count yet is worth another look: returns when.
    async fn take(&self, files: &Files) -> Option<Timestamp> {
        let now = self.world.now();
        let new = match files.read() {
            Ok(new) => new,
            Err(error) => {
                tracing::warn!(%error, "the new certificate cannot be used, and the one before is shown on");
                self.tell(Subject::CertificateUnusable, Some(error.to_string()), None).await;
                return None;
            }
        };
        let begins_at = Some(new.facts.begins_at).filter(|at| now < *at);
        let judged = new.facts.check(now);
        let better = self.shown().filter(|shown| judged.is_err() && shown.facts.check(now).is_ok());
        if better.is_none() && self.shown().is_none_or(|shown| shown.facts != new.facts) {
            self.show(new);
        }
        match judged {
            // That it has ended is told of what is shown.
            Err(error) if better.is_some() || begins_at.is_some() => {
                let error = TlsError::File { key: "tls.cert", path: files.chain.clone(), error };
                tracing::warn!(%error, is_shown = better.is_none(), "the certificate does not count at this time");
                self.tell(Subject::CertificateUnusable, Some(error.to_string()), None).await;
            }
            _ => self.end(Subject::CertificateUnusable).await,
        }
        begins_at.into_iter().chain(better.map(|shown| shown.facts.ends_at)).min()
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error: String| TlsError::File { key, path: path.to_owned(), error: Unusable::Unreadable(error) };
    let length = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if length > LONGEST {
        return Err(unreadable("it is too long to be a certificate or a key".to_owned()));
    }
    fs::read(path).map_err(|error| unreadable(error.to_string()))
}

/// How often is looked whether the files have changed.
const EVERY: Duration = Duration::from_secs(2);

const LONGEST: u64 = 256 * 1024;
