//! The network between gateway and simulator, and a note of all that went over it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use carport::simulator::Simulator;
use carport::web::{self, Peer, Services};
use carport::world::{Transport, TransportError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::HOST;

/// What becomes of an answer on its way back; `None` leaves it as it is.
type Change = Box<dyn FnMut(&Request<Bytes>, &Response<Bytes>) -> Option<Result<Response<Bytes>, TransportError>> + Send>;

/// A moment at which the gateway's connection breaks for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before this refresh, counted from 1, reaches Smartcar.
    Before(usize),
    /// After Smartcar has acted upon it.
    After(usize),
}

/// The network.
#[derive(Default)]
pub(crate) struct Net {
    simulator: Mutex<Option<Simulator>>,
    gateway: Mutex<Option<Services>>,
    lines: Mutex<Vec<Arc<AtomicBool>>>,
    sent: Mutex<Vec<String>>,
    tokens: Mutex<Vec<String>>,
    secrets: Mutex<Vec<String>>,
    change: Mutex<Option<Change>>,
    door: Mutex<Option<TransportError>>,
    cut: Mutex<Option<(Cut, usize)>>,
    was_cut: AtomicBool,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Net")
    }
}

impl Net {
    pub(super) fn plug_in_simulator(&self, simulator: Simulator) {
        *self.simulator.lock().unwrap() = Some(simulator);
    }

    pub(super) fn plug_in_gateway(&self, services: Services) {
        *self.gateway.lock().unwrap() = Some(services);
    }

    /// A connection to everybody.
    pub(super) fn line(self: &Arc<Net>) -> Line {
        let cut = Arc::new(AtomicBool::new(false));
        // The first line is the simulator's own.
        self.lines.lock().unwrap().push(cut.clone());
        Line { net: self.clone(), cut }
    }

    /// The gateway has gone: nothing that it still wants to send leaves, nothing reaches it.
    pub(super) fn hang_up(&self) {
        *self.gateway.lock().unwrap() = None;
        *self.cut.lock().unwrap() = None;
        for line in self.lines.lock().unwrap().iter().skip(1) {
            line.store(true, Ordering::Relaxed);
        }
    }

    /// Changes answers on their way back to the gateway.
    pub(crate) fn change(
        &self,
        change: impl FnMut(&Request<Bytes>, &Response<Bytes>) -> Option<Result<Response<Bytes>, TransportError>> + Send + 'static,
    ) {
        *self.change.lock().unwrap() = Some(Box::new(change));
    }

    /// What whoever comes to the gateway by its public name meets before it; `None` is nothing.
    pub(crate) fn put_before_the_door(&self, what: Option<TransportError>) {
        *self.door.lock().unwrap() = what;
    }

    /// The line breaks at this moment, counted from now.
    pub(crate) fn cut_at(&self, cut: Cut) {
        self.was_cut.store(false, Ordering::Relaxed);
        *self.cut.lock().unwrap() = Some((cut, 0));
    }

    /// Whether that moment has come.
    pub(crate) fn was_cut(&self) -> bool {
        self.was_cut.load(Ordering::Relaxed)
    }

    /// The most refreshes that were under way at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::Relaxed)
    }

    /// Whether the line breaks before or after a refresh.
    async fn break_if(&self, is_after: bool) {
        let comes = {
            let mut cut = self.cut.lock().unwrap();
            let Some((cut, seen)) = &mut *cut else { return };
            *seen += usize::from(!is_after);
            *cut == if is_after { Cut::After(*seen) } else { Cut::Before(*seen) }
        };
        if comes {
            *self.cut.lock().unwrap() = None;
            self.was_cut.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
    }

    /// Leaves answers alone again.
    pub(crate) fn leave_alone(&self) {
        *self.change.lock().unwrap() = None;
    }

    /// What the gateway sent to Smartcar so far, such as `POST /oauth/token`.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }

    /// How much of it began like that.
    pub(crate) fn count(&self, beginning: &str) -> usize {
        self.sent.lock().unwrap().iter().filter(|line| line.starts_with(beginning)).count()
    }

    /// Every token that Smartcar handed out.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.tokens.lock().unwrap().clone()
    }

    /// The tokens, and everything that was as good as one on its way.
    pub(super) fn secrets(&self) -> Vec<String> {
        [self.tokens(), self.secrets.lock().unwrap().clone()].concat()
    }

    async fn carry(&self, request: Request<Bytes>, deadline: Duration) -> Result<Response<Bytes>, TransportError> {
        let refused = || TransportError::Unreachable("nobody is there".to_owned());
        if request.uri().host() == Some(HOST) {
            if let Some(what) = self.door.lock().unwrap().clone() {
                return Err(what);
            }
            let services = self.gateway.lock().unwrap().clone().ok_or_else(refused)?;
            let (mut head, body) = request.into_parts();
            head.headers.insert(http::header::HOST, HOST.parse().unwrap());
            let peer = Peer::Remote { address: "203.0.113.9".parse().unwrap(), tls: true };
            let (head, body) = web::handle(&services, peer, Request::from_parts(head, Full::new(body))).await.into_parts();
            let body = body.collect().await.unwrap();
            return Ok(Response::from_parts(head, body.to_bytes()));
        }
        self.sent.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        let simulator = self.simulator.lock().unwrap().clone().ok_or_else(refused)?;
        let is_token = ["/oauth/token", "/oauth2/token"].contains(&request.uri().path());
        if is_token {
            let form = url::form_urlencoded::parse(request.body()).filter(|(name, _)| name == "code");
            self.secrets.lock().unwrap().extend(form.map(|(_, code)| code.into_owned()).filter(|code| code.len() > 8));
            if let Some(basic) = request.headers().get(http::header::AUTHORIZATION) {
                let credentials = basic.to_str().unwrap().trim_start_matches("Basic ").to_owned();
                let mut secrets = self.secrets.lock().unwrap();
                if !secrets.contains(&credentials) {
                    secrets.push(credentials);
                }
            }
        }
        let is_refresh = request.uri().path() == "/oauth/token";
        if is_refresh {
            self.break_if(false).await;
        }
        let now = self.at_once.fetch_add(usize::from(is_refresh), Ordering::Relaxed) + usize::from(is_refresh);
        self.most_at_once.fetch_max(now, Ordering::Relaxed);
        let mut answer = simulator.send(request.clone(), deadline).await;
        self.at_once.fetch_sub(usize::from(is_refresh), Ordering::Relaxed);
        if is_refresh {
            self.break_if(true).await;
        }
        if let (Ok(response), Some(change)) = (&answer, &mut *self.change.lock().unwrap())
            && let Some(changed) = change(&request, response)
        {
            answer = changed;
        }
        if is_token && let Ok(answer) = &answer {
            let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            let found = ["access_token", "refresh_token"].iter().filter_map(|name| body[name].as_str().map(str::to_owned));
            self.tokens.lock().unwrap().extend(found.filter(|token| token.len() > 8));
        }
        answer
    }
}

/// A connection to everybody, until it is cut.
#[derive(Debug)]
pub(super) struct Line {
    net: Arc<Net>,
    cut: Arc<AtomicBool>,
}

impl Transport for Line {
    fn send(&self, request: Request<Bytes>, deadline: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        async move {
            if self.cut.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            let answer = self.net.carry(request, deadline).await;
            if self.cut.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            answer
        }
        .boxed()
    }
}
