//! When the next certificate is to be ordered: when whoever issues them suggests it (ARI, RFC 9773), but before the last
//! fifth of its life; else after two thirds of it; never in the same moment as everybody else.

use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier};
use tokio::time::Instant;

use super::Keeper;
use crate::model::Timestamp;
use crate::tls::Facts;
use crate::world::World;

/// The plan for the certificate that is shown.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Where within all windows: from 0 to 1, chosen once.
    place: Option<f64>,
    suggested: Option<(Timestamp, Timestamp)>,
    ask_at: Option<Instant>,
}

impl Plan {
    /// Whether whoever issued the certificate says when to order the next; then they are told which one it replaces.
    pub(super) fn is_suggested(&self) -> bool {
        self.suggested.is_some()
    }

    /// When the next one is due.
    pub(super) async fn due_at(&mut self, keeper: &Keeper<'_>) -> Timestamp {
        let now = keeper.shared.world.now();
        let Some(shown) = keeper.shared.shown() else { return now };
        if !keeper.is_kept_for_us().await {
            return now;
        }
        let place = *self.place.get_or_insert_with(|| chance(&keeper.shared.world));
        if self.ask_at.is_none_or(|at| at <= Instant::now()) {
            let (suggested, again_in) = match keeper.account(false).await {
                Ok(account) => suggestion(&account, &shown.facts).await,
                Err(_) => (None, USUAL),
            };
            self.suggested = suggested.or(self.suggested);
            self.ask_at = Some(Instant::now() + again_in);
        }
        let suggested = self.suggested.map(|(start, end)| within(start, end, place));
        suggested.map_or_else(|| by_age(&shown.facts, place), |at| at.min(latest(&shown.facts, place)))
    }
}

/// Whatever is suggested: there must be time left to try again, and nobody is to be alarmed before.
fn latest(shown: &Facts, place: f64) -> Timestamp {
    let life = shown.ends_at.since(shown.begins_at);
    shown.ends_at.before(life / 5).before((life / 30).mul_f64(place))
}

/// After two thirds of its life, or up to a thirtieth earlier.
fn by_age(shown: &Facts, place: f64) -> Timestamp {
    let life = shown.ends_at.since(shown.begins_at);
    shown.ends_at.before(life / 3).before((life / 30).mul_f64(place))
}

fn within(start: Timestamp, end: Timestamp, place: f64) -> Timestamp {
    start.after(end.since(start).mul_f64(place))
}

/// From 0 to 1.
pub(super) fn chance(world: &World) -> f64 {
    let mut bytes = [0; 4];
    world.entropy.fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

impl Keeper<'_> {
    /// Whether the certificate that is kept is the one that is wanted now.
    async fn is_kept_for_us(&self) -> bool {
        let (issuer, names) = (self.acme.directory.clone(), self.shared.settings.names.clone());
        let kept = self
            .shared
            .store
            .read(move |snapshot| Ok(snapshot.certificate()?.is_some_and(|kept| kept.issuer == issuer && kept.names == names)));
        // While the store cannot be read, nothing could be kept either.
        kept.await.unwrap_or(true)
    }
}

/// The window in which whoever issued a certificate suggests to order the next, and when to ask again.
async fn suggestion(account: &Account, shown: &Facts) -> (Option<(Timestamp, Timestamp)>, Duration) {
    let asked = async {
        let id = CertificateIdentifier::try_from(shown.chain.first()?).ok()?;
        account.renewal_info(&id).await.ok()
    };
    let Some((info, again_in)) = asked.await else { return (None, USUAL) };
    let time = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
    let window = info.suggested_window;
    let (start, end) = (time(window.start.unix_timestamp()), time(window.end.unix_timestamp()));
    // A window that ends before it begins suggests nothing.
    ((start <= end).then_some((start, end)), again_in.clamp(SHORTEST, LONGEST))
}

/// How often is asked when nobody says how often.
const USUAL: Duration = Duration::from_secs(6 * 3600);
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use http::{Request, Response};
    use instant_acme::{AccountCredentials, Key};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use serde_json::json;

    use super::super::wire::Wire;
    use super::*;
    use crate::tls::Certificate;
    use crate::world::{Transport, TransportError};

    /// Suggests a window, or answers nothing of the kind.
    #[derive(Debug)]
    struct Issuer(Option<[&'static str; 2]>);

    impl Transport for Issuer {
        fn send(&self, request: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
            let path = request.uri().path().to_owned();
            let body = match self.0 {
                _ if path == "/directory" => ["newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "renewalInfo"]
                    .map(|name| (name.to_owned(), json!(format!("https://ca.test/{name}"))))
                    .into_iter()
                    .collect(),
                Some([start, end]) if path.starts_with("/renewalInfo/") && path.contains('.') => {
                    json!({ "suggestedWindow": { "start": start, "end": end } })
                }
                _ => json!({ "type": "about:blank" }),
            };
            async move { Ok(Response::builder().header("retry-after", "7200").body(body.to_string().into()).unwrap()) }.boxed()
        }
    }

    /// A certificate that lasts for 90 days.
    fn shown() -> Facts {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(vec!["cars.example.org".to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        params.not_before = rcgen::date_time_ymd(2027, 1, 1);
        params.not_after = params.not_before + DAY * 90;
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &issuer).unwrap();
        Certificate::read(own.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap().facts
    }

    async fn suggested(window: Option<[&'static str; 2]>) -> (Option<(Timestamp, Timestamp)>, Duration) {
        let (_, key) = Key::generate_pkcs8().unwrap();
        let key = data_encoding::BASE64URL_NOPAD.encode(key.secret_pkcs8_der());
        let credentials = json!({ "id": "https://ca.test/us", "key_pkcs8": key, "directory": "https://ca.test/directory" });
        let credentials: AccountCredentials = serde_json::from_value(credentials).unwrap();
        let builder = Account::builder_with_http(Box::new(Wire(Arc::new(Issuer(window)))));
        suggestion(&builder.from_credentials(credentials).await.unwrap(), &shown()).await
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test]
    async fn whoever_issues_suggests_when_to_order() {
        let time = |text| Timestamp::parse(text).unwrap();
        let (window, again_in) = suggested(Some(["2027-02-01T00:00:00Z", "2027-02-03T00:00:00Z"])).await;
        let (start, end) = window.unwrap();
        assert_eq!((start, end), (time("2027-02-01T00:00:00Z"), time("2027-02-03T00:00:00Z")));
        // The clock that tells how long it is belongs to the library.
        assert!(again_in <= DAY / 12 && again_in > DAY / 13, "{again_in:?}");
        assert_eq!(within(start, end, 0.5), time("2027-02-02T00:00:00Z"));

        assert_eq!(suggested(Some(["2027-02-03T00:00:00Z", "2027-02-01T00:00:00Z"])).await.0, None);
        assert_eq!(suggested(None).await, (None, USUAL));
    }

    #[test]
    fn by_age_it_is_ordered_in_the_last_third_at_the_latest() {
        let shown = shown();
        assert_eq!(by_age(&shown, 0.0), shown.ends_at.before(DAY * 30));
        assert_eq!(by_age(&shown, 1.0), shown.ends_at.before(DAY * 33));
    }
}
