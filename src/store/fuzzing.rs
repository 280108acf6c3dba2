//! For the fuzzer: bytes as whatever the store may find where it looks for something of its own.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Packed;
use super::journal::{Frame, Record};
use super::log_head::split;
use super::packing::{pack, unpack};
use super::tables::{from_cbor, to_cbor};
use super::tellings::{ApplyReadings, Latests};
use super::vehicle_data::Block;
use super::webhook_log::{DeliveryResult, RecordDelivery, Ring};
use crate::model::connection::Connection;
use crate::model::notice::Notice;
use crate::model::vehicle::Vehicle;
use crate::model::{Blob, Seq, Timestamp, VehicleId};

/// Reads bytes as each kind of thing. What is none is nothing; whatever it is, nothing panics.
pub fn read(bytes: &[u8]) {
    let plain = unpack(bytes);
    for bytes in [Some(bytes), plain.as_ref().map(|plain| &***plain)].into_iter().flatten() {
        split(bytes);
        if let Some(Frame::Changes { changes, .. }) = from_cbor(bytes) {
            for Record(_, change, _) in changes {
                read_as::<RecordDelivery>(&change.0);
                read_as::<ApplyReadings>(&change.0);
            }
        }
        read_as::<RecordDelivery>(bytes);
        read_as::<ApplyReadings>(bytes);
        read_as::<Latests>(bytes);
        read_as::<Block>(bytes);
        read_as::<Vehicle>(bytes);
        read_as::<Connection>(bytes);
        read_as::<Notice>(bytes);
    }
}

fn read_as<T: DeserializeOwned>(bytes: &[u8]) {
    drop(from_cbor::<T>(bytes));
}

/// Makes a frame of the journal of a body, alters some of its bytes, and reads it.
///
/// # Panics
/// If the frame is not read as it was before it is altered.
pub fn read_altered(body: &[u8], alterations: &[(u16, u8)]) {
    let ring = Ring { events: 1, bytes: 1, dedupe_for: Duration::ZERO };
    let delivery = RecordDelivery {
        event: "event".to_owned(),
        kind: "VEHICLE_STATE".to_owned(),
        result: DeliveryResult::Accepted,
        vehicle: Some(VehicleId::new("vehicle")),
        is_about_others: false,
        body: Packed::of(body),
        received_at: Timestamp::default(),
        ring,
    };
    let record = Record("RecordDelivery".to_owned(), Blob(to_cbor(&delivery)), false);
    let mut bytes = pack(&to_cbor(&Frame::Changes { after: Seq(1), changes: vec![record] }));
    let plain = unpack(&bytes).expect("it was packed");
    let Some(Frame::Changes { changes, .. }) = from_cbor(&plain) else { panic!("the frame is another") };
    let again: RecordDelivery = from_cbor(&changes[0].1.0).expect("it is a delivery");
    assert_eq!(again.body.unpack().as_deref().map(Vec::as_slice), Some(body));
    for (at, bits) in alterations {
        let at = usize::from(*at) % bytes.len();
        bytes[at] ^= bits;
    }
    read(&bytes);
}
