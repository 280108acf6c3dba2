//! A card that drops a fifth of its flushes, and then the power is cut. The store opens all the same, what
//! is read was once true, and what is missing is reported unless nobody could know of it: the newest
//! changes, after which no flush was real.

use std::sync::atomic::{AtomicU64, Ordering};

use carport::model::AppUserId;
use carport::model::user::User;
use carport::store::users::{PutUser, When};

use crate::gateway::is_long;

use super::deeds::{CONNECTIONS, Step, connection};
use super::disk::{Chance, Disk};
use super::model::{Model, is_flushed};
use super::past::Past;
use super::view::View;
use super::{BEGIN, now, open, under_seeds, view};

#[test]
fn a_card_that_lies() {
    let (kept, all) = (AtomicU64::new(0), AtomicU64::new(0));
    let seeds = if is_long() { 2000..2060 } else { 2000..2001 };
    let images = under_seeds(seeds, if is_long() { 5_000 } else { 50 }, |seed| history(seed, &kept, &all));
    let (kept, all) = (kept.into_inner(), all.into_inner());
    println!("{images} images, {kept} of {all} token sets kept");
    assert!(kept * 1000 >= all * 999, "only {kept} of {all} token sets were kept");
}

fn history(seed: u64, kept: &AtomicU64, all: &AtomicU64) -> u64 {
    let mut chance = Chance::new(seed);
    let mut disk = Disk::new(chance.split());
    let mut store = open(&disk, &mut chance).unwrap();
    disk.lie(20);
    let (mut past, mut images, mut acknowledged) = (Past::new(), 0, 0);
    for step in 1..60 {
        disk.mark(step);
        disk.take_images(Some(6));
        let deed = Step::random(&mut chance).deed(step, past.model());
        past.add(&*deed);
        let is_derived = deed.is_derived();
        if is_flushed(is_derived, &deed.commit(&store).unwrap()) {
            acknowledged = step;
        }
        match chance.below(20) {
            0 | 1 => {
                now(store.checkpoint()).unwrap();
                acknowledged = step;
            }
            2 => {
                now(store.close());
                acknowledged = step;
                store = open(&disk, &mut chance).unwrap();
            }
            _ => {}
        }
        for image in disk.images() {
            images += 1;
            after_power_cut(&image, &past, &mut chance, kept, all);
        }
    }
    // A killed process loses nothing but what it derived last and will derive again.
    disk = disk.kill();
    drop(store);
    let store = open(&disk, &mut chance).unwrap();
    past.judge(&view(&store).unwrap(), &store.findings(), acknowledged);
    images
}

fn after_power_cut(image: &Disk, past: &Past, chance: &mut Chance, kept: &AtomicU64, all: &AtomicU64) {
    let since = image.flushed();
    image.take_images(Some(20));
    let store = open(image, chance).unwrap();
    let seen = view(&store).unwrap();
    past.judge(&seen, &store.findings(), since);
    for again in image.images() {
        let store = open(&again, chance).unwrap();
        past.judge(&view(&store).unwrap(), &store.findings(), since);
    }
    image.take_images(None);
    for id in (0..=CONNECTIONS).map(connection).filter(|id| past.since(since)[0].tokens.contains_key(id)) {
        let name = format!("tokens {id}");
        let fits = |model: &Model| View::of_model(model).rows.get(&name) == seen.rows.get(&name);
        all.fetch_add(1, Ordering::Relaxed);
        kept.fetch_add(past.since(since).iter().any(fits).into(), Ordering::Relaxed);
    }

    // It works on.
    let id = AppUserId::new("newcomer");
    let user = User { id: id.clone(), name: None, email: None, created_at: BEGIN };
    now(store.commit(PutUser { user: user.clone(), when: When::New })).unwrap();
    now(store.close());
    drop(store);
    let store = open(image, chance).unwrap();
    assert_eq!(now(store.read(move |snapshot| snapshot.user(&id))).unwrap(), Some(user));
}
