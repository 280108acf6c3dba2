//! The master key is replaced, and the power is cut: at any write or flush of it, and again while it goes on.
//! Everything is there all the same, and what the old key opens is nothing in the end.

use carport::store::{Store, StoreError};
use carport::vault::MasterKey;

use crate::gateway::is_long;

use super::belief::Belief;
use super::deeds::Step;
use super::disk::{Chance, Disk, Fault};
use super::model::Model;
use super::{Keys, keys, now, open, open_with, under_seeds, view};

#[test]
fn a_power_cut_while_the_key_is_replaced_loses_nothing() {
    let (seeds, images) = if is_long() { (5000..5100, 3_000) } else { (5000..5001, 8) };
    let images = under_seeds(seeds, images, |seed| {
        let mut chance = Chance::new(seed);
        let (disk, model) = lived(&mut chance);
        let store = open_with(&disk, &keys(true), &mut chance).unwrap();
        disk.take_images(Some(if is_long() { 2 } else { 12 }));
        reseal(&store).unwrap();
        let images = disk.images();
        drop(store);
        is_sealed_anew(&disk, &model, &mut chance);
        let mut count = 0;
        for image in images {
            count += 1 + goes_on(&image, &model, true, chance.split());
        }
        count
    });
    println!("{images} images");
}

/// Opens what a power cut has left, as half as it may be, and brings it to its end. Returns how many power
/// cuts came on the way.
fn goes_on(disk: &Disk, model: &Model, again: bool, mut chance: Chance) -> u64 {
    // The old key alone: it fits, because nothing was begun, or it is refused and nothing is touched.
    let before = disk.kill();
    match open(&before, &mut chance) {
        Ok(store) => assert_eq!(now(store.key_ids()).unwrap().present, keys(false).key.id()),
        Err(error) => assert!(matches!(error, StoreError::WrongKey { .. } | StoreError::HalfRotated { .. }), "{error}"),
    }
    if again {
        disk.take_images(Some(150));
    }
    let store = open_with(disk, &keys(true), &mut chance).unwrap();
    let mut belief = Belief::of(vec![model.clone()]);
    belief.seen(&view(&store).unwrap());
    reseal(&store).unwrap();
    belief.seen(&view(&store).unwrap());
    now(store.verify()).unwrap();
    for finding in store.findings() {
        assert!(finding.contains("unfinished record") && disk.is_torn(), "{finding}");
    }
    let images = disk.images();
    drop(store);
    is_sealed_anew(disk, model, &mut chance);
    let cuts = images.into_iter().map(|image| 1 + goes_on(&image, model, false, chance.split()));
    cuts.sum()
}

#[test]
fn every_call_that_fails_is_got_over() {
    let step = if is_long() { 1 } else { 9 };
    let seed = 5200;
    let mut faults = 0;
    let (lived, model) = lived(&mut Chance::new(seed));
    for at in (1..).step_by(step) {
        let (disk, mut chance) = (lived.kill(), Chance::new(at));
        let store = open_with(&disk, &keys(true), &mut chance).unwrap();
        disk.break_at(Fault { at, lasts: false, reads: false });
        let ended = reseal(&store);
        let refused = disk.mend();
        if ended.is_err() {
            faults += 1;
            // What is not open is opened again by whoever comes next.
            now(store.tend());
            reseal(&store).unwrap();
        }
        Belief::of(vec![model.clone()]).seen(&view(&store).unwrap());
        drop(store);
        is_sealed_anew(&disk, &model, &mut chance);
        if refused == 0 {
            break;
        }
    }
    println!("seed {seed}, {faults} faults");
    assert!(faults > 3);
}

/// A disk with a store that has lived for a while, and what it holds.
fn lived(chance: &mut Chance) -> (Disk, Model) {
    let disk = Disk::new(chance.split());
    let store = open(&disk, chance).unwrap();
    let mut belief = Belief::of(vec![Model::default()]);
    for number in 0..80 {
        let deed = Step::random(chance).deed(number, belief.model());
        belief.commit(&store, deed).unwrap();
        if chance.percent(2) {
            now(store.checkpoint()).unwrap();
        }
    }
    // What is derived only is gone with a kill, but not with this.
    if chance.percent(50) {
        now(store.close());
    } else {
        now(store.checkpoint()).unwrap();
    }
    belief.is_durable();
    let model = belief.model().clone();
    (disk.kill(), model)
}

fn reseal(store: &Store) -> Result<(), StoreError> {
    let to = keys(true).next.map(|next: MasterKey| next.id()).unwrap();
    let done = now(store.reseal(to, |_| {}))?;
    assert_eq!((done.rows, done.damaged), (done.of, 0));
    Ok(())
}

/// The new key opens everything, and the old one nothing.
fn is_sealed_anew(disk: &Disk, model: &Model, chance: &mut Chance) {
    let Keys { key, next } = keys(true);
    let next = next.unwrap();
    let refused = open(&disk.kill(), chance).unwrap_err();
    assert_eq!(refused, StoreError::WrongKey { store: next.id(), given: key.id() });
    let store = open_with(&disk.kill(), &Keys { key: next, next: None }, chance).unwrap();
    Belief::of(vec![model.clone()]).seen(&view(&store).unwrap());
    now(store.verify()).unwrap();
    assert_eq!(store.findings(), [""; 0]);
}
