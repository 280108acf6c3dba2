//! A bit turns over, in any file of a store that was closed or killed. The store refuses to open and says
//! what to do, or it opens: then what is read is true, and what is missing is reported.

use std::sync::atomic::{AtomicU64, Ordering};

use carport::store::{Part, StoreError};

use crate::gateway::is_long;

use super::deeds::Step;
use super::disk::{Chance, Disk};
use super::model::is_flushed;
use super::past::Past;
use super::{now, open, under_seeds, view};

#[test]
fn a_bit_turns_over() {
    let (refused, reported) = (AtomicU64::new(0), AtomicU64::new(0));
    let (seeds, flips) = if is_long() { (3000..3200, 100) } else { (3000..3004, 15) };
    let all = under_seeds(seeds, if is_long() { 20_000 } else { 60 }, |seed| {
        let mut chance = Chance::new(seed);
        let (disk, past, since) = history(&mut chance, seed.is_multiple_of(2));
        for _ in 0..flips {
            let disk = disk.kill();
            let (part, bit) = some_bit(&disk, &mut chance);
            disk.flip(part, bit);
            match open(&disk, &mut chance) {
                Err(error) => {
                    says_what_to_do(&error);
                    refused.fetch_add(1, Ordering::Relaxed);
                }
                Ok(store) => {
                    let seen = view(&store).unwrap();
                    let findings = store.findings();
                    past.judge(&seen, &findings, since);
                    reported.fetch_add((!findings.is_empty()).into(), Ordering::Relaxed);
                }
            }
        }
        flips
    });
    println!("{all} bits: {} refusals, {} with findings", refused.into_inner(), reported.into_inner());
}

/// Where redb's file begins stands how to find everything else, and twice when a store is closed.
#[test]
fn a_bit_turns_over_in_the_head() {
    under_seeds(3500..3502, HEAD as u64, |seed| {
        let mut chance = Chance::new(seed);
        let (disk, past, since) = history(&mut chance, true);
        for byte in 0..HEAD {
            let disk = disk.kill();
            disk.flip(Part::Tables, byte * 8 + chance.below(8));
            let store = open(&disk, &mut chance).unwrap();
            past.judge(&view(&store).unwrap(), &[], since);
        }
        HEAD as u64
    });
}

/// How much of the file leads to all the rest.
const HEAD: usize = 320;

/// A store with a past, closed or killed, and from how many changes on it may be.
fn history(chance: &mut Chance, close: bool) -> (Disk, Past, usize) {
    let disk = Disk::new(chance.split());
    let store = open(&disk, chance).unwrap();
    let (mut past, mut since) = (Past::new(), 0);
    for step in 1..60 {
        let deed = Step::random(chance).deed(step, past.model());
        let is_derived = deed.is_derived();
        past.add(&*deed);
        let outcome = deed.commit(&store).unwrap();
        if chance.percent(6) {
            now(store.checkpoint()).unwrap();
            since = step;
        }
        if is_flushed(is_derived, &outcome) {
            since = step;
        }
    }
    if close {
        now(store.close());
        since = 59;
    }
    (disk.kill(), past, since)
}

/// One that says something, if one is found soon: large parts of a file are zeros.
fn some_bit(disk: &Disk, chance: &mut Chance) -> (Part, usize) {
    let mut parts = disk.parts();
    parts.retain(|(_, bytes)| *bytes > 0);
    let (part, bytes) = parts[chance.below(parts.len())];
    let mut bit = chance.below(bytes * 8);
    for _ in 0..10 {
        if disk.byte(part, bit / 8) != 0 {
            break;
        }
        bit = chance.below(bytes * 8);
    }
    (part, bit)
}

fn says_what_to_do(error: &StoreError) {
    let text = error.to_string();
    println!("REFUSED {text}");
}
