//! Deliveries as bytes on the wire, signed before any clock starts.

use std::ops::Range;
use std::sync::Arc;

use carport::model::Secret;
use carport::signature;

use crate::event::Events;

/// What all programs prove deliveries with.
pub(crate) const TOKEN: &str = "51a0ca12-0000-4000-8000-000000000005";

/// Where all programs take them.
pub(crate) const PATH: &str = "/api/webhooks/smartcar";

/// How many cars send events: as many as a large household or a small company has.
pub(crate) const CARS: u64 = 20;

/// Distinct deliveries, one after the other. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Requests(Arc<[Box<[u8]>]>);

impl Requests {
    /// The events of these numbers.
    pub(crate) fn signed(numbers: Range<usize>) -> Requests {
        Requests::made(numbers, |signature| signature)
    }

    /// The same with a signature that is wrong in its last digit.
    pub(crate) fn forged(numbers: Range<usize>) -> Requests {
        Requests::made(numbers, |mut signature| {
            let last = if signature.pop() == Some('0') { '1' } else { '0' };
            signature.push(last);
            signature
        })
    }

    fn made(numbers: Range<usize>, sign: fn(String) -> String) -> Requests {
        let (events, token) = (Events { seed: 1, vehicles: CARS }, Secret::new(TOKEN));
        let request = |number| {
            let body = String::from_utf8(events.event(number as u64).body).unwrap_or_default();
            // The answer to a challenge is the same function as the signature of a body.
            let signature = sign(signature::answer(&token, &body));
            let head = format!(
                "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 sc-signature: {signature}\r\n\r\n",
                body.len()
            );
            (head + &body).into_bytes().into_boxed_slice()
        };
        Requests(numbers.map(request).collect())
    }

    pub(crate) fn get(&self, place: usize) -> &[u8] {
        &self.0[place]
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
