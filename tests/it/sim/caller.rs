//! Whoever asks the gateway: Smartcar's webhooks, a browser, and the operator on the machine itself.

use bytes::Bytes;
use carport::web::{self, Peer, Services};
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use crate::gateway::{HOST, WEBHOOK};
use crate::simulator::rig::{Answer, sign_with};

/// A way to the gateway.
#[derive(Clone)]
pub(super) struct Caller {
    services: Services,
    management_token: String,
}

impl Caller {
    pub(super) fn new(services: Services, management_token: String) -> Caller {
        Caller { services, management_token }
    }

    async fn send(&self, peer: Peer, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = web::handle(&self.services, peer, request.body(Full::new(body)).unwrap()).await;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() }
    }

    fn anybody() -> Peer {
        Peer::Remote { address: "198.51.100.7".parse().unwrap(), tls: true }
    }

    /// A delivery, signed or not.
    pub(super) async fn deliver(&self, body: String, is_signed: bool) -> Answer {
        let signature = sign_with(&self.management_token, body.as_bytes());
        let headers = [("sc-signature", signature.as_str())];
        let headers = if is_signed { &headers[..] } else { &[] };
        self.send(Caller::anybody(), "POST", WEBHOOK, headers, body.into()).await
    }

    /// A browser opens a page.
    pub(super) async fn browse(&self, path: &str, cookie: &str) -> Answer {
        self.send(Caller::anybody(), "GET", path, &[("cookie", cookie)], Bytes::new()).await
    }

    /// The operator asks.
    pub(super) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let headers = [("content-type", "application/json")];
        let headers = if body.is_some() { &headers[..] } else { &[] };
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        self.send(Peer::ourselves(), method, path, headers, body).await
    }
}
