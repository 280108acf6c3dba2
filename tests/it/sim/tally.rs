//! How much happened, so that a run in which nothing did is seen.

use std::collections::BTreeMap;
use std::fmt;

use super::net::Counts;

/// A count of everything that happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) seeds: u64,
    pub(super) steps: BTreeMap<&'static str, u64>,
    pub(super) cuts: BTreeMap<&'static str, u64>,
    pub(super) net: Counts,
    pub(super) connected: u64,
    pub(super) acknowledged: u64,
    pub(super) needs_reconnect: u64,
    /// Token sets that a lying card has kept, of how many.
    pub(super) token_sets: (u64, u64),
    pub(super) losses: u64,
    pub(super) findings: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.seeds += other.seeds;
        for (name, count) in &other.steps {
            *self.steps.entry(name).or_default() += count;
        }
        for (name, count) in &other.cuts {
            *self.cuts.entry(name).or_default() += count;
        }
        self.net.refreshes += other.net.refreshes;
        self.net.lost_answers += other.net.lost_answers;
        self.net.refused += other.net.refused;
        self.net.replays += other.net.replays;
        self.connected += other.connected;
        self.acknowledged += other.acknowledged;
        self.needs_reconnect += other.needs_reconnect;
        self.token_sets.0 += other.token_sets.0;
        self.token_sets.1 += other.token_sets.1;
        self.losses += other.losses;
        self.findings += other.findings;
    }

    /// Whether everything happened that can, or only one seed was played.
    pub(super) fn is_full(&self) -> bool {
        let all = [self.net.refreshes, self.net.lost_answers, self.net.replays, self.connected, self.acknowledged];
        let (steps, cuts) = (super::steps::NAMES, super::steps::MOMENTS);
        self.seeds == 1
            || (all.iter().all(|count| *count > 0)
                && steps.iter().all(|name| self.steps.contains_key(name))
                && cuts.iter().all(|name| self.cuts.contains_key(name)))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { seeds, steps, cuts, net, connected, acknowledged, .. } = self;
        let (all, power) = (steps.values().sum::<u64>(), cuts.values().sum::<u64>());
        writeln!(f, "{seeds} seeds, {all} steps {steps:?}")?;
        writeln!(f, "{power} power cuts {cuts:?}")?;
        writeln!(
            f,
            "{connected} connections made, {acknowledged} deliveries acknowledged, {} refreshes, {} of them again, {} answers lost, {} refused, {} connections need their owner",
            net.refreshes, net.replays, net.lost_answers, net.refused, self.needs_reconnect
        )?;
        let (kept, sets) = self.token_sets;
        write!(f, "{kept} of {sets} token sets kept by a lying card, {} lost, {} findings", self.losses, self.findings)
    }
}
