//! Whatever lies where the store looks for something of its own: as it is, and a frame of the journal with a delivery
//! of which some bytes have changed. Seals keep such bytes out, but a seal may be the only thing that does.
//!
//! What must hold: nothing panics, nothing takes memory that is not there, and what was not changed is as it was.
#![no_main]

use carport::store::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    fuzzing::read(data);
    let (alterations, body) = data.split_at(data.len().min(6));
    let alterations: Vec<(u16, u8)> = alterations.chunks_exact(3).map(|of| (u16::from_le_bytes([of[0], of[1]]), of[2])).collect();
    fuzzing::read_altered(body, &alterations);
});
