//! Every call to the disk fails, once or from then on, one after the other: nothing is acknowledged that is
//! not durable, nothing panics, and all is well again when the disk is.

use crate::gateway::is_long;

use super::belief::Belief;
use super::deeds::Step;
use super::disk::{Chance, Disk, Fault};
use super::model::Model;
use super::{now, open, under_seeds, view};

#[test]
fn a_write_fails_once() {
    every_call(4000, Fault { at: 0, lasts: false, reads: false });
}

#[test]
fn writes_fail_from_then_on() {
    every_call(4100, Fault { at: 0, lasts: true, reads: false });
}

#[test]
fn any_call_fails_once() {
    every_call(4200, Fault { at: 0, lasts: false, reads: true });
}

#[test]
fn any_call_fails_from_then_on() {
    every_call(4300, Fault { at: 0, lasts: true, reads: true });
}

fn every_call(first: u64, fault: Fault) {
    let seeds = if is_long() { first..first + 8 } else { first..first + 1 };
    let days = under_seeds(seeds, |seed| {
        let (mut at, mut days) = (1, 0);
        while bad_day(seed, Fault { at, ..fault }) {
            // The first ones all, then a sample.
            at += if is_long() { 1 } else { 1 + at / 6 };
            days += 1;
        }
        days
    });
    println!("{days} days");
    assert!(days > 15, "the disk was hardly used");
}

/// A history on a day on which the disk fails, and what comes after. Returns whether it did fail.
fn bad_day(seed: u64, fault: Fault) -> bool {
    let mut chance = Chance::new(seed);
    let disk = Disk::new(chance.split());
    let mut store = Some(open(&disk, &mut chance).unwrap());
    let mut belief = Belief::of(vec![Model::default()]);
    let mut refusals = 0;
    for step in 1..24 {
        if step == 8 {
            disk.break_at(fault);
        }
        let Some(open_store) = &store else {
            // Nobody is told anything by a store that does not open.
            refusals += 1;
            store = open(&disk, &mut chance).ok();
            continue;
        };
        let deed = Step::random(&mut chance).deed(step, belief.model());
        refusals += usize::from(belief.commit(open_store, deed).is_err());
        // What cannot be told apart grows with every refusal.
        if refusals > 4 {
            break;
        }
        match chance.below(8) {
            0 if now(open_store.checkpoint()).is_ok() => belief.is_durable(),
            0 => belief.was_reopened(),
            1 => {
                now(open_store.close());
                belief.was_reopened();
                store = open(&disk, &mut chance).ok();
            }
            2 => {
                if let Ok(seen) = view(open_store) {
                    belief.seen(&seen);
                }
            }
            _ => {}
        }
    }
    let failed = disk.mend() > 0;

    let store = store.unwrap_or_else(|| open(&disk, &mut chance).unwrap());
    now(store.tend());
    assert!(store.is_healthy(), "{fault:?}: not healthy again");
    belief.seen(&view(&store).unwrap());
    for step in 24..28 {
        let deed = Step::random(&mut chance).deed(step, belief.model());
        belief.commit(&store, deed).unwrap();
    }
    belief.seen(&view(&store).unwrap());
    let findings = store.findings();
    assert!(findings.iter().all(|finding| finding.contains("unfinished record")), "{fault:?}: {findings:?}");

    let store = open(&disk.power_cut(), &mut chance).unwrap();
    belief.was_reopened();
    belief.seen(&view(&store).unwrap());
    failed
}
