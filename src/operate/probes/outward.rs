//! Probes that ask others: Smartcar about what we say that we are, the world about how it finds us.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{Finding, Outcome, Settings};
use crate::model::{Secret, Timestamp};
use crate::signature;
use crate::smartcar::sunset::{self, Cars, ENDED};
use crate::smartcar::{self, Authorize, Smartcar, SmartcarError, tells_the_end};
use crate::world::{TransportError, World};

/// How Smartcar takes credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It takes them.
    Good,
    /// It refuses them; the text says why.
    Refused(String),
    /// It was asked too often; the text says by what.
    TooOften(String),
    /// It could not be asked; the text says why.
    Unreachable(String),
}

/// Asks Smartcar, and, if a server runs, the world: `served` is when a proven delivery came to it last.
pub async fn run(settings: &Settings, world: &World, served: Option<Option<Timestamp>>) -> Vec<Finding> {
    let public = async {
        match served.filter(|_| settings.public_url.starts_with("https://")) {
            // Without https Smartcar does not come, and that is told elsewhere.
            Some(delivered_at) => public_url(settings, world, delivered_at).await,
            None => Vec::new(),
        }
    };
    let (v3, v2, ended, management, (connect, clock), public) = tokio::join!(
        v3(settings, world),
        v2(settings, world),
        end_of_v2(settings, world),
        management_token(settings, world),
        connect(settings, world),
        public,
    );
    let mut found: Vec<Finding> = [v3, v2, ended, management, connect, clock].into_iter().flatten().collect();
    found.extend(public);
    found
}

/// Asks Smartcar about these keys, and only about them.
pub async fn try_out(settings: &Settings, world: &World, keys: &[&str]) -> Vec<Finding> {
    let are_about = |part: &str| keys.iter().any(|key| key.starts_with(part));
    let of_connect = ["smartcar.application_id", "smartcar.v2.client_id", "smartcar.redirect_uri", "public_url"];
    let (mut found, mut connected) = (Vec::new(), None);
    if are_about("smartcar.v3.") {
        found.extend(v3(settings, world).await);
    }
    if are_about("smartcar.v2.") {
        found.extend(v2(settings, world).await);
    }
    if are_about("smartcar.application_management_token") {
        found.extend(management_token(settings, world).await);
    }
    if of_connect.into_iter().any(are_about) {
        connected = connect(settings, world).await.0;
    }
    found.extend(connected);
    found
}

/// Tries client credentials (v3) at Smartcar's token endpoint.
pub async fn credentials(settings: &smartcar::Settings, world: &World) -> Answered {
    let smartcar = Smartcar::new(world.transport.clone(), settings.clone());
    match smartcar.application_token().await {
        Ok(_) => Answered::Good,
        Err(SmartcarError::Later { what, .. }) if what.status == Some(429) => Answered::TooOften(what.to_string()),
        Err(SmartcarError::Later { what, .. }) => Answered::Unreachable(what.to_string()),
        Err(error) => Answered::Refused(error.failure().to_string()),
    }
}

async fn v3(settings: &Settings, world: &World) -> Option<Finding> {
    const CHECK: &str = "credentials";
    settings.smartcar.v3.as_ref()?;
    Some(match credentials(&settings.smartcar, world).await {
        Answered::Good => Finding::ok(CHECK, "Smartcar takes the v3 client id and secret"),
        Answered::Refused(why) => Finding::fail(
            CHECK,
            format!("Smartcar refuses the v3 client id and secret: {why}"),
            "take id and secret from Smartcar's dashboard again; the id begins with client_",
        ),
        Answered::TooOften(why) => too_often(CHECK, &why),
        Answered::Unreachable(why) => unreachable(CHECK, &why),
    })
}

/// Tries the v2 credentials with a code that nobody was given: who we are is looked at first.
async fn v2(settings: &Settings, world: &World) -> Option<Finding> {
    const CHECK: &str = V2_CREDENTIALS;
    settings.smartcar.v2.as_ref()?;
    let smartcar = Smartcar::new(world.transport.clone(), settings.smartcar.clone());
    let tried = smartcar.exchange(&Secret::new("carport-check".to_owned()), &settings.redirect_uri).await;
    let Err(error) = tried else { return Some(Finding::ok(CHECK, "Smartcar takes the v2 client id and secret")) };
    let failure = error.failure();
    let is_refused = failure.status == Some(401)
        || [&failure.kind, &failure.code]
            .into_iter()
            .flatten()
            .any(|word| matches!(&**word, "invalid_client" | "unauthorized_client"));
    Some(match &error {
        _ if is_refused => Finding::fail(
            CHECK,
            format!("Smartcar refuses the v2 client id and secret: {failure}"),
            "take the Application ID and its client secret from Smartcar's dashboard again, Configuration, API v2",
        ),
        SmartcarError::Later { what, .. } if what.status == Some(429) => too_often(CHECK, &what.to_string()),
        SmartcarError::Later { what, .. } => unreachable(CHECK, &what.to_string()),
        // The code is what it does not know.
        _ => Finding::ok(CHECK, "Smartcar takes the v2 client id and secret"),
    })
}

const V2_CREDENTIALS: &str = "v2 credentials";

/// What tells that API v2.0 has ended, if it has. A server knows more of that than a probe, which asks as nobody.
pub const V2: &str = "API v2.0";

/// Says of good credentials that they are good for nothing, if a list tells that API v2.0 has ended.
pub fn with_the_end(mut list: Vec<Finding>) -> Vec<Finding> {
    if list.iter().any(|finding| finding.check == V2) {
        for finding in list.iter_mut().filter(|finding| finding.check == V2_CREDENTIALS && finding.result == Outcome::Ok) {
            finding.text = format!("Smartcar takes the v2 client id and secret, but they open nothing: {ENDED}");
        }
    }
    list
}

/// Looks whether there still is an API v2.0, where it is configured. That there is needs no words.
async fn end_of_v2(settings: &Settings, world: &World) -> Option<Finding> {
    settings.smartcar.v2.as_ref()?;
    let smartcar = Smartcar::new(world.transport.clone(), settings.smartcar.clone());
    let Err(SmartcarError::Ended { .. }) = smartcar.find_v2().await else { return None };
    let has_v3 = settings.smartcar.v3.is_some();
    // What is connected here is the server's to know.
    let (text, remedy) = (sunset::what(Cars::None), sunset::way_out(Cars::ByV2, has_v3));
    Some(if has_v3 { Finding::warn(V2, text, remedy) } else { Finding::fail(V2, text, remedy) })
}

/// Tries the application management token at the management API.
async fn management_token(settings: &Settings, world: &World) -> Option<Finding> {
    const CHECK: &str = "management token";
    let token = settings.smartcar.management_token.as_ref()?;
    let url = format!("{}/v2.0/management/connections?limit=1", settings.smartcar.origins.management);
    let basic = format!("Basic {}", data_encoding::BASE64.encode(format!("default:{}", token.expose()).as_bytes()));
    let request = Request::get(url).header(AUTHORIZATION, basic).body(Bytes::new()).ok()?;
    Some(match world.transport.send(request, PATIENCE).await {
        Ok(answer) if answer.status().is_success() => Finding::ok(CHECK, "Smartcar takes the application management token"),
        Ok(answer) if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Finding::fail(
            CHECK,
            format!("Smartcar refuses the application management token ({})", answer.status().as_u16()),
            "copy it again from Smartcar's dashboard, Configuration, into smartcar.application_management_token: every webhook is \
             proven by it",
        ),
        Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS => too_often(CHECK, "it answered 429"),
        Ok(answer) if tells_the_end(&answer) => {
            Finding::ok(CHECK, format!("not tried: {ENDED}, which alone would tell; a webhook that comes in proves it"))
        }
        Ok(answer) => unreachable(CHECK, &format!("it answered {}", answer.status().as_u16())),
        Err(error) => unreachable(CHECK, &error.to_string()),
    })
}

/// Opens the page that owners are sent to, and compares clocks by the way.
async fn connect(settings: &Settings, world: &World) -> (Option<Finding>, Option<Finding>) {
    const CHECK: &str = "redirect URI";
    let smartcar = Smartcar::new(world.transport.clone(), settings.smartcar.clone());
    let authorize = Authorize {
        redirect_uri: Some(settings.redirect_uri.clone()),
        state: "carport-check".to_owned(),
        mode: settings.mode.clone(),
        ..Authorize::default()
    };
    let Ok(url) = smartcar.connect_url(&authorize) else { return (None, None) };
    let Ok(request) = Request::get(url.as_str()).header("accept", "text/html").body(Bytes::new()) else { return (None, None) };
    let answer = match world.transport.send(request, PATIENCE).await {
        Ok(answer) => answer,
        Err(error) => return (Some(unreachable(CHECK, &error.to_string())), None),
    };
    let clock = clock(answer.headers(), world.now());
    let said = String::from_utf8_lossy(answer.body()).to_lowercase();
    let finding = match answer.status() {
        StatusCode::TOO_MANY_REQUESTS => too_often(CHECK, "it answered 429"),
        status if !status.is_client_error() => {
            Finding::ok(CHECK, format!("Smartcar Connect does not refuse {}", settings.redirect_uri))
        }
        _ if said.contains("client_id") || said.contains("no application") => Finding::fail(
            "application ID",
            "Smartcar Connect does not know the Application ID",
            "copy the Application ID (a UUID, not the id that begins with client_) into smartcar.application_id",
        ),
        _ => Finding::fail(
            CHECK,
            format!("Smartcar Connect refuses the redirect URI {}", settings.redirect_uri),
            "register exactly this one in Smartcar's dashboard, Configuration, Redirect URIs: to the letter, without a slash more",
        ),
    };
    (Some(finding), clock)
}

/// What the time is there.
fn clock(headers: &HeaderMap, now: Timestamp) -> Option<Finding> {
    const CHECK: &str = "clock";
    let there = headers.get(DATE)?.to_str().ok().and_then(Timestamp::of_http)?;
    let (off, which) = if there > now { (there.since(now), "behind") } else { (now.since(there), "ahead of") };
    if off < Duration::from_secs(90) {
        return Some(Finding::ok(CHECK, "as Smartcar's"));
    }
    let text = format!("this machine is {} {which} Smartcar's clock", in_words(off));
    Some(Finding::fail(CHECK, text, "have it set by the network: sudo timedatectl set-ntp true"))
}

fn in_words(off: Duration) -> String {
    match off.as_secs() {
        seconds @ ..7_200 => format!("{} minutes", seconds.div_ceil(60)),
        seconds @ ..172_800 => format!("{} hours", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Comes from outside, as Smartcar would: to the front door, then to the webhook's.
async fn public_url(settings: &Settings, world: &World, delivered_at: Option<Timestamp>) -> Vec<Finding> {
    const CHECK: &str = "public URL";
    let is_proven = delivered_at.is_some_and(|at| world.now().since(at) < Duration::from_secs(86_400));
    let front = match Request::get(format!("{}/healthz", settings.public_url)).body(Bytes::new()) {
        Ok(request) => world.transport.send(request, PATIENCE).await,
        Err(error) => {
            return vec![Finding::fail(CHECK, format!("no request can be made of it: {error}"), "set public_url right")];
        }
    };
    let mut found = Vec::new();
    match front {
        Ok(answer) if answer.status() == StatusCode::OK => {
            found.push(Finding::ok("certificate of the public URL", "the world takes it, with its whole chain"));
            found.push(Finding::ok(CHECK, format!("{} leads to a Carport", settings.public_url)));
        }
        Ok(answer) => {
            let text = format!("{} answers, but not as Carport does ({})", settings.public_url, answer.status().as_u16());
            found.push(Finding::fail(CHECK, text, "have the proxy pass everything on to Carport's listen address as it is"));
            return found;
        }
        // Our own certificate, as it was asked for, is not mended by another chain.
        Err(TransportError::Unreachable(why)) if is_of_nobody(&why) && settings.is_self_signed => {
            found.push(Finding::warn("certificate of the public URL", SELF_SIGNED, FOR_STRANGERS));
            return found;
        }
        Err(TransportError::Unreachable(why)) if is_about_certificate(&why) => {
            found.push(Finding::fail("certificate of the public URL", certificate(&why), CERTIFICATE));
            return found;
        }
        Err(error) if !is_proven && is_unknown_name(&error.to_string()) => {
            let text = format!("its name is not known here: {error}");
            found.push(Finding::warn(
                CHECK,
                text,
                "see that public_url is spelt right, and that its name has an address in the DNS",
            ));
            return found;
        }
        Err(_) if is_proven => {
            let text = "it cannot be reached from inside, as with many routers; a delivery of the last 24 h proves it";
            return vec![Finding::ok(CHECK, text)];
        }
        Err(error) => {
            let text = format!("{} cannot be reached from here: {error}", settings.public_url);
            let remedy = "see that its name leads to your router, and its port to this machine; many routers lead no way back in, \
                          so try it from a phone without Wi-Fi too";
            found.push(Finding::warn(CHECK, text, remedy));
            return found;
        }
    }
    found.extend(webhook(settings, world).await);
    found
}

/// Whether there is no such name, as far as the resolver can tell; not that the resolver itself cannot be asked.
fn is_unknown_name(why: &str) -> bool {
    why.contains("lookup address") && !["Temporary failure", "Try again"].iter().any(|words| why.contains(words))
}

fn is_about_certificate(why: &str) -> bool {
    why.to_lowercase().contains("certificate")
}

/// Whether nobody vouches for it who is known here.
fn is_of_nobody(why: &str) -> bool {
    ["unknownissuer", "unknown issuer"].iter().any(|words| why.to_lowercase().contains(words))
}

/// What rustls says, for people.
fn certificate(why: &str) -> String {
    let said = why.to_lowercase();
    let what = match () {
        () if said.contains("expired") => "has ended",
        () if is_of_nobody(why) => "is incomplete, or nobody whom the world trusts vouches for it",
        () if said.contains("notvalidforname") || said.contains("not valid for") => "is for another name",
        () => return format!("it is not taken: {why}"),
    };
    format!("it {what}: Smartcar posts no webhooks there")
}

const CERTIFICATE: &str = "renew it, and have the server show the whole chain (fullchain.pem, not cert.pem)";

const SELF_SIGNED: &str =
    "Carport signed it itself (tls.mode): browsers ask before they go on, and Smartcar posts no webhooks there";
const FOR_STRANGERS: &str = "in a home network without webhooks that is all right; for webhooks set tls.mode to acme, or to files with \
                             a certificate that the world takes";

/// Knocks with a challenge that Carport alone refuses in its own words. It is stored nowhere.
async fn webhook(settings: &Settings, world: &World) -> Option<Finding> {
    const CHECK: &str = "webhook address";
    let token = settings.smartcar.management_token.as_ref()?;
    let challenge =
        json!({ "eventId": "carport-check", "eventType": "VERIFY", "data": { "challenge": "carport check" } }).to_string();
    let request = Request::post(&settings.webhook_url).header(CONTENT_TYPE, "application/json");
    let request = request.header("sc-signature", signature::answer(token, &challenge)).body(Bytes::from(challenge)).ok()?;
    let answer: Response<Bytes> = match world.transport.send(request, PATIENCE).await {
        Ok(answer) => answer,
        Err(error) => return Some(unreachable_webhook(&settings.webhook_url, &error.to_string())),
    };
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    Some(match (answer.status().as_u16(), body["code"].as_str()) {
        (400, Some("challenge_refused")) => Finding::ok(CHECK, format!("{} leads here", settings.webhook_url)),
        (401, Some("bad_signature")) => Finding::fail(
            CHECK,
            "what answers there proves webhooks by another application management token",
            "give every Carport behind this address the token of the same application",
        ),
        (status, _) => Finding::fail(
            CHECK,
            format!("something else than Carport's webhook answers at {} ({status})", settings.webhook_url),
            "have the proxy pass this path on as it is, method and body too",
        ),
    })
}

fn unreachable_webhook(url: &str, why: &str) -> Finding {
    Finding::warn("webhook address", format!("{url} cannot be called: {why}"), "see what stands before Carport there")
}

fn too_often(check: &'static str, why: &str) -> Finding {
    Finding::warn(check, format!("Smartcar asks us to slow down, so it was not tried: {why}"), "wait some minutes, and try again")
}

fn unreachable(check: &'static str, why: &str) -> Finding {
    let asked = Finding::fail(check, format!("Smartcar cannot be asked: {why}"), "look after the network, or say --offline");
    Finding { is_untried: true, ..asked }
}

/// For how long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared() {
        let now = Timestamp::parse("2025-10-09T08:53:20Z").unwrap();
        let said = |date: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, date.parse().unwrap());
            clock(&headers, now).map(|finding| finding.text)
        };
        assert_eq!(said("Thu, 09 Oct 2025 08:53:00 GMT").as_deref(), Some("as Smartcar's"));
        assert_eq!(
            said("Thu, 09 Oct 2025 08:43:20 GMT").as_deref(),
            Some("this machine is 10 minutes ahead of Smartcar's clock")
        );
        assert_eq!(said("Thu, 09 Oct 2025 18:53:20 GMT").as_deref(), Some("this machine is 10 hours behind Smartcar's clock"));
        assert_eq!((said("soon"), clock(&HeaderMap::new(), now)), (None, None));
    }

    #[test]
    fn certificates_are_told_of_in_words() {
        assert!(certificate("invalid peer certificate: Expired").contains("has ended"));
        assert!(certificate("invalid peer certificate: UnknownIssuer").contains("incomplete"));
        assert!(certificate("invalid peer certificate: certificate not valid for name \"x\"").contains("another name"));
        assert!(certificate("certificate of a strange kind").contains("of a strange kind"));
    }
}
