//! Whatever is posted to the webhook's address: a body, and the `SC-Signature` after a zero byte.
//!
//! What must hold: nothing panics. A signature proves a body exactly when it is the HMAC under the key, in hex
//! of either case. The full reading fails exactly when the light one does, with the same reason. A challenge
//! that is answered is no event and cannot begin one, so that the answer signs nothing.
#![no_main]

use carport::model::Secret;
use carport::model::event::{Event, EventKind, Projection, project};
use carport::signature;
use libfuzzer_sys::fuzz_target;
use ring::hmac;

const KEY: &str = "amt-fixture-0b9f6c1e5d7a4e1f";

fuzz_target!(|data: &[u8]| {
    let zero = data.iter().position(|byte| *byte == 0);
    let (body, given) = zero.map_or((data, &[][..]), |zero| (&data[..zero], &data[zero + 1..]));
    signatures(body, given);
    readings(body);
});

fn signatures(body: &[u8], given: &[u8]) {
    let tokens = [Secret::new("another"), Secret::new(KEY)];
    let good = hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), body).as_ref());
    assert!(signature::verify(&tokens, body, good.as_bytes()));
    assert!(!signature::verify(&tokens[..1], body, good.as_bytes()));
    assert_eq!(signature::verify(&tokens, body, given), given.eq_ignore_ascii_case(good.as_bytes()));
    // The good one with some bytes of the given one in it.
    let mut mixed = good.clone().into_bytes();
    for (at, byte) in given.iter().enumerate() {
        mixed[(at * 7 + usize::from(*byte)) % 64] = *byte;
    }
    assert_eq!(signature::verify(&tokens, body, &mixed), mixed.eq_ignore_ascii_case(good.as_bytes()));
}

fn readings(body: &[u8]) {
    let (light, full) = (Event::parse(body), project(body));
    assert_eq!(light.as_ref().err(), full.as_ref().err());
    let (Ok(event), Ok(projection)) = (light, full) else { return };
    if !event.legacy {
        assert!(projection.vehicles.len() <= 1);
    }
    if event.kind == EventKind::Verify {
        assert_eq!(projection, Projection::default());
    }
    if let Some(challenge) = event.challenge.filter(|challenge| signature::is_harmless(challenge)) {
        assert!(!challenge.trim_start().starts_with('{'));
        assert!(Event::parse(challenge.as_bytes()).is_err());
        let answer = signature::answer(&Secret::new(KEY), &challenge);
        assert!(signature::verify(&[Secret::new(KEY)], challenge.as_bytes(), answer.as_bytes()));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
