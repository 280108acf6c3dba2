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
    let seeds = if is_long() { first..first + 10 } else { first..first + 2 };
    let days = under_seeds(seeds, 15, |seed| {
        let (mut at, mut days) = (1, 0);
        while bad_day(seed, Fault { at, ..fault }) {
            // The first ones all, then a sample.
            at += if is_long() { 1 } else { 1 + at / 2 };
            days += 1;
        }
        days
    });
    println!("{days} days");
}

/// A history on a day on which the disk fails, and what comes after. Returns whether it did fail.
fn bad_day(seed: u64, fault: Fault) -> bool {
    let mut chance = Chance::new(seed);
    let disk = Disk::new(chance.split());
    // From its very beginning, or in the middle of its life.
    let begins = if seed.is_multiple_of(2) { 8 } else { 0 };
    let (mut store, mut belief, mut refusals) = (None, Belief::of(vec![Model::default()]).on_a_bad_disk(), 0);
    for step in 0..20 {
        if step == begins {
            disk.break_at(fault);
        }
        let Some(open_store) = &store else {
            store = open(&disk, &mut chance).ok();
            continue;
        };
        let deed = Step::random(&mut chance).deed(step, belief.model());
        refusals += usize::from(belief.commit(open_store, deed).is_err());
        // What cannot be told apart grows with every refusal.
        if refusals > 4 {
            break;
        }
        match chance.below(10) {
            0 | 1 if now(open_store.checkpoint()).is_ok() => belief.is_durable(),
            0 | 1 => belief.was_reopened(),
            2 => {
                now(open_store.close());
                belief.was_reopened();
                store = open(&disk, &mut chance).ok();
            }
            3 => {
                if let Ok(seen) = view(open_store) {
                    belief.seen(&seen);
                }
            }
            4 => {
                now(open_store.tend());
                belief.was_reopened();
            }
            _ => {}
        }
    }
    let failed = disk.mend() > 0;

    let store = store.unwrap_or_else(|| open(&disk, &mut chance).unwrap());
    now(store.tend());
    assert!(store.is_healthy(), "{fault:?}: not healthy again");
    belief.was_reopened();
    belief.seen(&view(&store).unwrap());
    for step in 20..24 {
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
