//! The power is cut: at any write or flush, while the store opens, commits, makes a checkpoint or grows,
//! and again while it recovers. The disk is honest, so everything that was acknowledged is there, nothing
//! else is, and nothing is reported as lost.

use crate::gateway::is_long;

use super::belief::Belief;
use super::deeds::Step;
use super::disk::{Chance, Disk};
use super::model::Model;
use super::{now, open, under_seeds, view};

#[test]
fn a_power_cut_loses_nothing() {
    let seeds = if is_long() { 1000..1100 } else { 1000..1004 };
    let images = under_seeds(seeds, if is_long() { 20_000 } else { 200 }, |seed| {
        let mut chance = Chance::new(seed);
        let disk = Disk::new(chance.split());
        life(&disk, &[Model::default()], 0, 0, &mut chance)
    });
    println!("{images} images");
}

/// How many steps a life has, and of how many writes one is its last, by how many crashes came before.
const LIVES: [(usize, Option<usize>); 4] = [(50, Some(6)), (3, Some(60)), (2, Some(60)), (1, None)];

/// The life of a store from its opening on, and all those that it has after power cuts. `crashed` is what
/// the crash before it may have left. Returns how many power cuts there were.
fn life(disk: &Disk, crashed: &[Model], generation: usize, step: usize, chance: &mut Chance) -> u64 {
    let (steps, image_of_one_in) = LIVES[generation];
    disk.take_images(image_of_one_in);
    let mut chance = chance.split();
    let mut cuts = 0;
    let mut images = |disk: &Disk, models: &[Model], step: usize, chance: &mut Chance| {
        for image in disk.images() {
            cuts += 1 + life(&image, models, generation + 1, step, chance);
        }
    };

    let mut disk = disk.clone();
    let mut store = open(&disk, &mut chance).unwrap();
    images(&disk, crashed, step, &mut chance);
    let mut belief = Belief::of(crashed.to_vec());
    belief.seen(&view(&store).unwrap());
    belief.is_durable();
    for step in step..step + steps {
        match chance.below(30) {
            0 | 1 => {
                now(store.checkpoint()).unwrap();
                images(&disk, belief.after_crash(), step, &mut chance);
                belief.is_durable();
            }
            2 => {
                now(store.close());
                images(&disk, belief.after_crash(), step, &mut chance);
                belief.is_durable();
                drop(store);
                store = open(&disk, &mut chance).unwrap();
                images(&disk, belief.after_crash(), step, &mut chance);
            }
            3 => {
                disk = disk.kill();
                disk.take_images(image_of_one_in);
                store = open(&disk, &mut chance).unwrap();
                images(&disk, belief.after_crash(), step, &mut chance);
                belief.was_reopened();
                belief.seen(&view(&store).unwrap());
                belief.is_durable();
            }
            _ => {
                let deed = Step::random(&mut chance).deed(step, belief.model());
                let models = belief.during(&*deed);
                belief.commit(&store, deed).unwrap();
                images(&disk, &models, step + 1, &mut chance);
            }
        }
    }
    belief.seen(&view(&store).unwrap());
    only_torn(&store.findings(), &disk);
    cuts
}

/// A record that a power cut has torn is noted, and nothing else is.
#[track_caller]
fn only_torn(findings: &[String], disk: &Disk) {
    for finding in findings {
        assert!(finding.contains("unfinished record") && disk.is_torn(), "{finding}");
    }
}
