//! The power is cut: at any write or flush, while the store opens, commits, makes a checkpoint or grows,
//! and again while it recovers. The disk is honest, so everything that was acknowledged is there, nothing
//! else is, and nothing is reported as lost.

use carport::store::Store;

use crate::gateway::is_long;

use super::belief::Belief;
use super::deeds::Step;
use super::disk::{Chance, Disk};
use super::model::Model;
use super::{now, open, under_seeds, view};

#[test]
fn a_power_cut_loses_nothing() {
    let (seeds, images) = if is_long() { (1000..1130, 20_000) } else { (1000..1002, 150) };
    let images = under_seeds(seeds, images, |seed| {
        let mut chance = Chance::new(seed);
        let disk = Disk::new(chance.split());
        Life::begin(disk, vec![Model::default()], 0, 0, chance)
    });
    println!("{images} images");
}

/// How many steps a life has, and of how many writes one is its last, by how many power cuts came before.
const LIVES: [(usize, Option<usize>); 4] = [(50, Some(6)), (3, Some(60)), (2, Some(60)), (1, None)];

/// The life of a store between power cuts.
struct Life {
    disk: Disk,
    store: Store,
    belief: Belief,
    /// How many power cuts came before.
    cuts: usize,
    chance: Chance,
    /// How many came in it, and in the lives after each of them.
    later_cuts: u64,
}

impl Life {
    /// Lives it, from the opening on, and all those that come after power cuts in it. `left` is what the one
    /// before it may have left. Returns how many power cuts there were.
    fn begin(disk: Disk, left: Vec<Model>, cuts: usize, step: usize, mut chance: Chance) -> u64 {
        disk.take_images(LIVES[cuts].1);
        let store = open(&disk, &mut chance).unwrap();
        let mut life = Life { disk, store, belief: Belief::of(left.clone()), cuts, chance, later_cuts: 0 };
        life.is_as_it_was_left(left, step);
        for step in step..step + LIVES[cuts].0 {
            life.step(step);
        }
        life.belief.seen(&view(&life.store).unwrap());
        now(life.store.verify()).unwrap();
        life.has_lost_nothing();
        life.later_cuts
    }

    fn step(&mut self, step: usize) {
        match self.chance.below(30) {
            0 | 1 => {
                now(self.store.checkpoint()).unwrap();
                self.cut_off(self.belief.after_crash(), step);
                self.belief.is_durable();
            }
            2 => {
                now(self.store.close());
                self.cut_off(self.belief.after_crash(), step);
                self.belief.is_durable();
                self.open_again(step);
            }
            3 => {
                self.disk = self.disk.kill();
                self.disk.take_images(LIVES[self.cuts].1);
                self.open_again(step);
            }
            _ => {
                let deed = Step::random(&mut self.chance).deed(step, self.belief.model());
                let models = self.belief.during(&*deed);
                self.belief.commit(&self.store, deed).unwrap();
                self.cut_off(models, step + 1);
            }
        }
    }

    fn open_again(&mut self, step: usize) {
        let left = self.belief.after_crash();
        self.store = open(&self.disk, &mut self.chance).unwrap();
        self.belief.was_reopened();
        self.is_as_it_was_left(left, step);
    }

    fn is_as_it_was_left(&mut self, left: Vec<Model>, step: usize) {
        self.cut_off(left, step);
        self.belief.seen(&view(&self.store).unwrap());
        self.belief.is_durable();
        self.has_lost_nothing();
    }

    /// What the power cut before it has torn is noted, and nothing else is.
    fn has_lost_nothing(&self) {
        for finding in self.store.findings() {
            assert!(finding.contains("unfinished record") && self.disk.is_torn(), "{finding}");
        }
    }

    /// Goes on after the power cuts that came just now, which may have left any of these.
    fn cut_off(&mut self, left: Vec<Model>, step: usize) {
        for image in self.disk.images() {
            self.later_cuts += 1 + Life::begin(image, left.clone(), self.cuts + 1, step, self.chance.split());
        }
    }
}
