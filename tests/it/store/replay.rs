//! Every change against plain maps, and the journal after every change: cut off there, it gives what there
//! was then.

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::gateway::is_long;

use super::belief::Belief;
use super::deeds::Step;
use super::disk::{Chance, Disk};
use super::model::Model;
use super::{now, open, view};

/// A change, and sometimes a checkpoint after it.
fn step() -> impl Strategy<Value = (Step, bool)> {
    let step = (0..60_u8, any::<u8>(), any::<u8>(), any::<u8>());
    (step.prop_map(|(kind, who, what, how)| Step { kind, who, what, how }), proptest::bool::weighted(0.05))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_long() { 400 } else { 6 },
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_journal_gives_what_there_was(steps in proptest::collection::vec(step(), 1..40)) {
        let mut chance = Chance::new(0);
        let disk = Disk::new(chance.split());
        let store = open(&disk, &mut chance).unwrap();
        let mut belief = Belief::of(vec![Model::default()]);
        for (number, (step, checkpoint)) in steps.into_iter().enumerate() {
            belief.commit(&store, step.deed(number, belief.model())).unwrap();
            belief.seen(&view(&store).unwrap());
            if checkpoint {
                now(store.checkpoint()).unwrap();
                belief.is_durable();
            }
            let then = open(&disk.kill(), &mut chance).unwrap();
            let mut again = belief.clone();
            again.was_reopened();
            again.seen(&view(&then).unwrap());
            prop_assert_eq!(then.findings(), Vec::<String>::new());
        }
    }

    /// Little else happens than that cars change hands, come back, are told of, and are erased.
    #[test]
    fn cars_that_change_hands_keep_their_rows_apart(
        steps in proptest::collection::vec((0..PASSING.len(), any::<u8>(), any::<u8>(), any::<u8>()), 1..120)
    ) {
        let mut chance = Chance::new(0);
        let disk = Disk::new(chance.split());
        let store = open(&disk, &mut chance).unwrap();
        let mut belief = Belief::of(vec![Model::default()]);
        for (number, (kind, who, what, how)) in steps.into_iter().enumerate() {
            let step = Step { kind: PASSING[kind], who, what, how };
            belief.commit(&store, step.deed(number, belief.model())).unwrap();
            belief.seen(&view(&store).unwrap());
        }
        let mut again = belief.clone();
        again.was_reopened();
        again.seen(&view(&open(&disk.kill(), &mut chance).unwrap()).unwrap());
    }
}

/// Tokens, links, deliveries, readings, names, pictures, and the end of cars.
const PASSING: [u8; 16] = [0, 0, 14, 14, 14, 15, 19, 19, 19, 20, 21, 22, 23, 38, 40, 41];
