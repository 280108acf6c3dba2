//! A transport that plays answers from a script and writes down what it was asked.

use std::collections::VecDeque;
use std::fmt::Write;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};

use super::{Credentials, Settings, Smartcar};
use crate::model::Secret;
use crate::world::{Transport, TransportError};

/// The script. Asking past its end is an error of the test.
#[derive(Clone, Debug)]
pub(super) struct Script(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    answers: Mutex<VecDeque<Scripted>>,
    asked: Mutex<Vec<(Request<Bytes>, Duration)>>,
}

type Scripted = Result<Response<Bytes>, TransportError>;

impl Script {
    pub(super) fn new(answers: impl IntoIterator<Item = Scripted>) -> Script {
        Script(Arc::new(Inner { answers: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() }))
    }

    pub(super) fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.clone())
    }

    /// A client with all credentials.
    pub(super) fn client(&self) -> Smartcar {
        let credentials =
            |client_id: &str| Some(Credentials { client_id: client_id.to_owned(), client_secret: Secret::new("a secret") });
        let settings = Settings { v2: credentials("app"), v3: credentials("client_app"), ..Settings::default() };
        Smartcar::new(self.transport(), settings)
    }

    /// The requests in full.
    pub(super) fn asked(&self) -> String {
        let mut text = String::new();
        for (request, deadline) in self.0.asked.lock().unwrap().iter() {
            writeln!(text, "{} {} within {} s", request.method(), request.uri(), deadline.as_secs()).unwrap();
            for (name, value) in request.headers() {
                writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
            }
            writeln!(text, "{}", String::from_utf8_lossy(request.body())).unwrap();
        }
        text
    }

    /// The first lines of the requests.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        for (request, _) in self.0.asked.lock().unwrap().iter() {
            writeln!(text, "{} {}", request.method(), request.uri()).unwrap();
        }
        text
    }
}

impl Transport for Script {
    fn send(&self, request: Request<Bytes>, deadline: Duration) -> BoxFuture<'_, Scripted> {
        self.0.asked.lock().unwrap().push((request, deadline));
        let answer = self.0.answers.lock().unwrap().pop_front().expect("the script has no more answers");
        std::future::ready(answer).boxed()
    }
}

pub(super) fn good(body: &str) -> Scripted {
    answer(200, &[], body)
}

#[expect(clippy::unnecessary_wraps, reason = "it stands beside failures in a script")]
pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Scripted {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Ok(response.body(Bytes::copy_from_slice(body.as_bytes())).unwrap())
}

/// No scripted answer ever waits.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing to wait for")
}
