//! A certificate of our own making, for a network where nobody issues one.

use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};

use super::Unusable;
use crate::model::{Blob, Timestamp};
use crate::store::certificates::KeptCertificate;

/// Who issues it.
pub(super) const ISSUER: &str = "self";

/// How long it lasts. Apple's browsers take none that lasts longer than 398 days.
const LIFE: Duration = Duration::from_secs(397 * 86_400);

/// How long before its end another is made.
pub(super) const MARGIN: Duration = Duration::from_secs(30 * 86_400);

/// Makes a certificate for these names.
pub(super) fn make(names: &[String], now: Timestamp) -> Result<KeptCertificate, Unusable> {
    let broken = |error: rcgen::Error| Unusable::Broken(error.to_string());
    let mut params = CertificateParams::new(names.to_vec()).map_err(broken)?;
    params.distinguished_name.push(DnType::CommonName, "Carport");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // Clocks in a house differ.
    params.not_before = epoch + now.before(Duration::from_secs(86_400)).since(Timestamp::default());
    params.not_after = epoch + now.after(LIFE).since(Timestamp::default());
    let key = KeyPair::generate().map_err(broken)?;
    let certificate = params.self_signed(&key).map_err(broken)?;
    let key = Blob(key.serialize_pem().into_bytes());
    Ok(KeptCertificate { issuer: ISSUER.to_owned(), names: names.to_vec(), chain: certificate.pem(), key })
}
