//! Whatever comes in the place of Smartcar's answers, to every question that is asked there: a byte that chooses the
//! status, and bodies apart by zero bytes, which are given in turn.
//!
//! What must hold: nothing panics, no answer makes us ask for ever, and no error repeats a secret.
#![no_main]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use carport::model::budget::{Permit, Reason};
use carport::model::command::Command;
use carport::model::mapping::open_to;
use carport::model::{Secret, SmartcarUserId, VehicleId};
use carport::smartcar::{Beyond, ConnectionFilter, Credentials, Settings, Smartcar, SmartcarError, TOKEN};
use carport::world::{Transport, TransportError};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{Request, Response};
use libfuzzer_sys::fuzz_target;

/// More than a page each of all that a person may have.
const QUESTIONS: usize = 1_000;

const SECRET: &str = "seven-secret-words";

#[derive(Debug)]
struct Upstream {
    status: u16,
    bodies: Mutex<std::vec::IntoIter<Bytes>>,
    last: Bytes,
    asked: AtomicUsize,
}

impl Upstream {
    fn of(data: &[u8]) -> Upstream {
        let (status, bodies) = data.split_first().unwrap_or((&b'{', &[]));
        // What begins as JSON does is a body: the fixtures are.
        let (status, bodies) = match status {
            b'{' | b'[' => (200, data),
            status => {
                ([200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 502, 503][usize::from(*status) % 15], bodies)
            }
        };
        let bodies: Vec<Bytes> = bodies.split(|byte| *byte == 0).map(Bytes::copy_from_slice).collect();
        let last = bodies.last().cloned().unwrap_or_default();
        Upstream { status, bodies: Mutex::new(bodies.into_iter()), last, asked: AtomicUsize::new(0) }
    }
}

impl Transport for Upstream {
    fn send(&self, _: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        assert!(self.asked.fetch_add(1, Ordering::Relaxed) < QUESTIONS, "it asks for ever");
        let body = self.bodies.lock().expect("no panic before").next().unwrap_or_else(|| self.last.clone());
        let answer = Response::builder().status(self.status).header("content-type", "application/json");
        let answer = answer.header("retry-after", "7").header("sc-request-id", "r-1").body(body).expect("a status");
        ready(Ok(answer)).boxed()
    }
}

fuzz_target!(|data: &[u8]| {
    let credentials = |id: &str| Some(Credentials { client_id: id.to_owned(), client_secret: Secret::new(SECRET) });
    let ask = || {
        let settings = Settings { v2: credentials("app"), v3: credentials("client_app"), ..Settings::default() };
        Smartcar::new(Arc::new(Upstream::of(data)), settings)
    };
    let (access, vehicle, user) = (Secret::new(SECRET), VehicleId::new("v-1"), SmartcarUserId::new("u-1"));
    let permit = Permit::granted(1, Reason::Request, false);
    check(ask().application_token().now_or_never());
    check(ask().exchange(&access, "https://cars.example/back").now_or_never());
    check(ask().refresh(&access, TOKEN).now_or_never());
    check(ask().user(&access).now_or_never());
    check(ask().vehicles(&access).now_or_never());
    check(ask().vehicle(&access, &vehicle).now_or_never());
    check(ask().read(&access, &vehicle, &open_to(None), &permit).now_or_never());
    check(ask().command_v2(&access, &vehicle, Command::Lock, &permit).now_or_never());
    check(ask().command_v3(&access, &user, &vehicle, Command::Lock, &permit).now_or_never());
    check(ask().disconnect(&access, &vehicle).now_or_never());
    check(ask().vehicle_v3(&access, &vehicle).now_or_never());
    let leave = || ready(Some(Permit::granted(1, Reason::Request, false))).boxed();
    let beyond = Beyond { leave: &leave, absent: &Mutex::default() };
    check(ask().signals(&access, &user, &vehicle, &permit, beyond).now_or_never());
    check(ask().connections(&access, ConnectionFilter::default()).now_or_never());
    check(ask().disconnect_v3(&access, "c-1").now_or_never());
});

fn check<T>(answer: Option<Result<T, SmartcarError>>) {
    // Nothing of it waits for anything but the transport.
    if let Err(error) = answer.expect("an answer at once") {
        assert!(!format!("{error} {error:?}").contains(SECRET));
    }
}
