//! Any bad day, from one number: a whole gateway with simulated time, chance, network and disk, Smartcar with
//! faults, power cuts at any moment, and after every step what must be true.
//!
//! A failure prints the seed, the number of the step and the last steps. `CARPORT_SEED` plays one seed alone
//! (`CARPORT_SEED=17 cargo test --test it sim::`), `CARPORT_LONG` at least 10,000 of each story.

use std::cell::Cell;
use std::sync::{Mutex, Once};

use crate::gateway::is_long;
use crate::store::under_seeds;

mod beliefs;
mod caller;
mod canaries;
mod day;
mod deeds;
mod life;
mod net;
mod steps;
mod tally;
mod time;

use day::Day;
use tally::Tally;

#[test]
fn bad_days() {
    let tally = play(if is_long() { 0..40_000 } else { 0..250 }, false);
    assert!(tally.is_full(), "not everything happened: {tally}");
}

/// On a card that drops a fifth of its flushes.
#[test]
fn bad_days_on_a_card_that_lies() {
    let tally = play(if is_long() { 100_000..140_000 } else { 100_000..100_150 }, true);
    assert!(tally.is_full(), "not everything happened: {tally}");
    let (kept, all) = tally.token_sets;
    assert!(kept * 1000 >= all * 999, "only {kept} of {all} token sets were kept");
}

fn play(seeds: std::ops::Range<u64>, is_lying: bool) -> Tally {
    count_panics();
    let sum = Mutex::new(Tally::default());
    under_seeds(seeds, 0, |seed| {
        PANICS.set(0);
        let tally = Day::new(seed, is_lying).play();
        sum.lock().unwrap().add(&tally);
        1
    });
    let tally = sum.into_inner().unwrap();
    println!("{tally}");
    tally
}

thread_local! {
    /// How many panics there were in this thread: those in tasks would pass unseen.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // The store knows that its tables may panic over damaged pages.
            let is_expected = panic.location().is_some_and(|place| place.file().contains("/redb-"));
            PANICS.set(PANICS.get() + u32::from(!is_expected));
            before(panic);
        }));
    });
}
