//! Measuring in rounds, so that a slow moment of the machine meets both sides, and taking medians.

use std::io::{IsTerminal, Write};

use crate::job::Figures;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) rounds: u64,
    /// All counts are divided by this.
    pub(crate) shorter: u64,
}

impl Extent {
    pub(crate) const FULL: Extent = Extent { rounds: 5, shorter: 1 };
    pub(crate) const QUICK: Extent = Extent { rounds: 1, shorter: 10 };

    pub(crate) fn count(self, full: u64) -> u64 {
        full / self.shorter
    }

    /// Measures each side in every round, and returns the figures of each.
    pub(crate) fn rounds<const N: usize>(
        self,
        name: &str,
        mut side: [&mut dyn FnMut(u64) -> anyhow::Result<Figures>; N],
    ) -> anyhow::Result<[Rounds; N]> {
        let mut all = [const { Vec::new() }; N];
        for round in 1..=self.rounds {
            for (place, (measure, found)) in side.iter_mut().zip(&mut all).enumerate() {
                progress(&format!("{name}: round {round} of {}, side {} of {N}", self.rounds, place + 1));
                found.push(measure(round)?);
            }
        }
        progress("");
        Ok(all.map(Rounds))
    }
}

/// What was measured in all rounds.
#[derive(Debug)]
pub(crate) struct Rounds(Vec<Figures>);

impl Rounds {
    /// The median of a figure.
    pub(crate) fn of(&self, name: &str) -> f64 {
        median(self.all(name).collect())
    }

    pub(crate) fn largest(&self, name: &str) -> f64 {
        self.all(name).fold(f64::NAN, f64::max)
    }

    /// The median of a figure as a multiple of the other's of the same round.
    pub(crate) fn times(&self, other: &Rounds, name: &str) -> f64 {
        median(self.all(name).zip(other.all(name)).map(|(one, other)| one / other).collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = f64> {
        self.0.iter().filter_map(|figures| figures.get(name).copied())
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Shows people what is going on; the table is on standard output.
fn progress(what: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{what}");
        let _ = stderr.flush();
    }
}
