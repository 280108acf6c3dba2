//! The certificates that Carport made or was issued, so that a restart neither makes nor orders another.

use serde::{Deserialize, Serialize};

use super::tables::{META, Typed};
use super::{Change, Snapshot, StoreError, Tables};
use crate::model::{Blob, Timestamp};

/// A certificate with its key, and what it was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCertificate {
    /// Who issued it: the directory of an ACME server, or `self`.
    pub issuer: String,
    /// The names that it was made for, as they were configured.
    pub names: Vec<String>,
    /// The chain, its own certificate first, as PEM.
    pub chain: String,
    /// The private key, as PEM.
    pub key: Blob,
}

/// Keeps a certificate in the place of the one before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeepCertificate {
    /// The certificate.
    pub certificate: KeptCertificate,
}

impl Change for KeepCertificate {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.put_value(META, CERTIFICATE, &self.certificate)
    }
}

/// An account with who issues certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAccount {
    /// The directory of the ACME server.
    pub directory: String,
    /// Its address and key, as JSON.
    pub credentials: Blob,
}

/// Keeps an account in the place of the one before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeepAccount {
    /// The account.
    pub account: KeptAccount,
}

impl Change for KeepAccount {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.put_value(META, ACCOUNT, &self.account)
    }
}

/// Orders that came to nothing since the last that did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFailures {
    /// The directory of the ACME server.
    pub directory: String,
    /// The names that were ordered.
    pub names: Vec<String>,
    /// How many there were.
    pub count: u32,
    /// When the last one failed.
    pub last_at: Timestamp,
}

/// Keeps what is known of orders that failed; a count of zero is the end of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeepFailures {
    /// What is known.
    pub failures: KeptFailures,
}

impl Change for KeepFailures {
    type Outcome = ();

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        tables.put_value(META, FAILURES, &self.failures)
    }
}

impl Snapshot<'_> {
    /// The orders that failed.
    pub fn acme_failures(&self) -> Result<Option<KeptFailures>, StoreError> {
        self.value(META, FAILURES)
    }

    /// The account that was kept last.
    pub fn acme_account(&self) -> Result<Option<KeptAccount>, StoreError> {
        self.value(META, ACCOUNT)
    }

    /// The certificate that was kept last.
    pub fn certificate(&self) -> Result<Option<KeptCertificate>, StoreError> {
        self.value(META, CERTIFICATE)
    }
}

const CERTIFICATE: &str = "certificate";
const ACCOUNT: &str = "acme_account";
const FAILURES: &str = "acme_failures";
