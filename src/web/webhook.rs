//! `POST /api/webhooks/smartcar`: the body goes to `ingest` as it came; here its outcome gets a status.

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderName;
use http::request::Parts;
use serde::Serialize;

use super::Services;
use super::answer::{self, Answer};
use super::client::Client;
use super::input;
use super::problem::Problem;
use super::router::Route;
use crate::ingest::{Accepted, IngestError};

/// The header that proves a delivery.
pub(super) const SC_SIGNATURE: HeaderName = HeaderName::from_static("sc-signature");

#[derive(Serialize)]
#[serde(untagged)]
enum Receipt {
    Recorded { status: &'static str, seq: u64 },
    Erased { status: &'static str },
    Challenge { challenge: String },
}

/// Takes a delivery. What became of it is counted by `ingest`, and here if it never got there.
pub(super) async fn receive<B>(services: &Services, client: Client, head: Box<Parts>, body: B, cap: usize) -> Answer
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    answer::json(StatusCode::OK, &take(services, client, head, body, cap).await?)
}

async fn take<B>(services: &Services, client: Client, head: Box<Parts>, body: B, cap: usize) -> Result<Receipt, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = match input::body(&head.headers, body, cap, services.settings.limits.body_time).await {
        Ok(body) => body,
        Err(problem) => return Err(unread(services, client, &head, problem)),
    };
    // The head is a part of hyper's buffer, which waits for the disk as long as anything of it does.
    let signatures: Vec<Vec<u8>> = signatures(&head).map(<[u8]>::to_vec).collect();
    drop(head);
    let signatures: Vec<&[u8]> = signatures.iter().map(Vec::as_slice).collect();
    match services.rooms.ingest.accept(body, &signatures).await {
        Ok(Accepted::New(seq)) => Ok(Receipt::Recorded { status: "accepted", seq: seq.0 }),
        Ok(Accepted::Duplicate(seq)) => Ok(Receipt::Recorded { status: "duplicate", seq: seq.0 }),
        Ok(Accepted::Erased) => Ok(Receipt::Erased { status: "erased" }),
        Ok(Accepted::Challenge(challenge)) => {
            services.rooms.vehicles.webhook_was_verified();
            Ok(Receipt::Challenge { challenge })
        }
        Err(error) => {
            // Only what failed its proof takes from the bucket: a valid delivery is never refused for the
            // many forged ones that came from the same address.
            if matches!(error, IngestError::BadSignature | IngestError::ChallengeRefused) {
                services.take_for_proof(Route::Webhook, client)?;
            }
            Err(error.into())
        }
    }
}

/// A body that was too long or too slow. Noted for the operator, but not more often than the bucket has.
fn unread(services: &Services, client: Client, head: &Parts, problem: Problem) -> Problem {
    let bytes = input::announced(&head.headers).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let reason = match problem.code() {
        "too_large" => "the body is longer than webhooks.max_body",
        "too_slow" => "the body did not come in time",
        _ => "the body broke off",
    };
    if services.take_for_proof(Route::Webhook, client).is_ok() {
        services.rooms.ingest.refuse(problem.code(), reason, bytes);
    }
    problem
}

/// A delivery came to an address that is not the webhook's. If it is signed, somebody mistyped the path in
/// Smartcar's dashboard; anybody else learns nothing.
pub(super) async fn stray<B>(services: &Services, client: Client, head: &Parts, body: B)
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let cap = Route::Webhook.policy().body_cap.map_or(0, |cap| cap.bytes(&services.settings));
    let time = services.settings.limits.body_time;
    let body = input::body(&head.headers, body, cap, time).await;
    if body.is_ok_and(|body| services.rooms.ingest.proves(&body, &signatures(head).collect::<Vec<_>>())) {
        services.rooms.ingest.went_astray(head.uri.path());
    } else if services.take_for_proof(Route::Webhook, client).is_ok() {
        services.rooms.ingest.refuse("unknown_path", "an unproven post came to an address that is not the webhook's", 0);
    }
}

fn signatures(head: &Parts) -> impl Iterator<Item = &[u8]> {
    head.headers.get_all(SC_SIGNATURE).iter().map(http::HeaderValue::as_bytes)
}

/// Receipts are the contract's, to the letter.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts() {
        let text = |receipt: &Receipt| serde_json::to_string(receipt).unwrap();
        assert_eq!(text(&Receipt::Recorded { status: "accepted", seq: 7 }), r#"{"status":"accepted","seq":7}"#);
        assert_eq!(text(&Receipt::Erased { status: "erased" }), r#"{"status":"erased"}"#);
        assert_eq!(text(&Receipt::Challenge { challenge: "ab".to_owned() }), r#"{"challenge":"ab"}"#);
    }
}
