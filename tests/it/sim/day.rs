//! One bad day: random steps, and a look at everything after each.

use std::time::Duration;

use super::PANICS;
use super::beliefs::{Beliefs, Seen};
use super::canaries::{self, Canaries};
use super::life::{Machine, RINGS};
use super::net::Moment;
use super::steps::{Cut, Step};
use super::tally::Tally;
use crate::store::disk::Chance;

/// How many steps a day has at most.
const STEPS: usize = 14;

/// Of a hundred flushes, so many does a bad card drop.
const LIES: usize = 20;

pub(super) struct Day {
    seed: u64,
    number: usize,
    done: Vec<String>,
    is_over: bool,
    pub(super) is_lying: bool,
    pub(super) chance: Chance,
    pub(super) machine: Machine,
    pub(super) beliefs: Beliefs,
    pub(super) canaries: Canaries,
    pub(super) tally: Tally,
}

impl Day {
    pub(super) fn new(seed: u64, is_lying: bool) -> Day {
        let mut chance = Chance::new(seed);
        let machine = Machine::new(seed, &mut chance, is_lying);
        let beliefs = Beliefs::new(is_lying, RINGS[machine.ring]);
        let tally = Tally { seeds: 1, ..Tally::default() };
        Day {
            seed,
            number: 0,
            done: Vec::new(),
            is_over: false,
            is_lying,
            chance,
            machine,
            beliefs,
            canaries: Canaries::of(seed),
            tally,
        }
    }

    pub(super) fn play(mut self) -> Tally {
        self.machine.switch_on().unwrap().unwrap();
        if self.is_lying {
            self.machine.disk.lie(LIES);
        }
        let steps = 4 + self.chance.below(STEPS - 3);
        for number in 1..=steps {
            self.number = number;
            self.machine.disk.mark(number);
            let step = if number == 1 { Step::Connect } else { Step::random(&mut self.chance) };
            let cut = self.chance.maybe(20, Cut::random);
            self.done.push(format!("{step:?}, power cut: {cut:?}"));
            *self.tally.steps.entry(step.name()).or_default() += 1;
            self.arm(cut);
            let done = step.take(&mut self);
            if let Some(text) = done {
                self.done.push(format!("  -> {text}"));
            }
            self.settle(cut);
            let whole_log = self.chance.percent(20);
            self.look(whole_log);
            self.beliefs.step_ends();
        }
        self.number += 1;
        self.done.push("the end".to_owned());
        self.end();
        self.tally.net = self.machine.net.counts();
        self.tally.token_sets = self.beliefs.token_sets;
        self.tally.losses = self.beliefs.losses;
        self.tally.connected = self.beliefs.connected;
        self.is_over = true;
        self.tally.clone()
    }

    fn arm(&mut self, cut: Option<Cut>) {
        let machine = &self.machine;
        match cut {
            Some(Cut::Write(calls)) => machine.disk.cut_in(Some(calls)),
            Some(Cut::Before(kind)) => machine.net.cut_at(Some(Moment::Before(kind))),
            Some(Cut::After(kind)) => machine.net.cut_at(Some(Moment::After(kind))),
            Some(Cut::Later(_) | Cut::End) | None => {}
        }
        if let Some(Cut::Later(time)) = cut {
            self.machine.cut_after(time);
        }
    }

    /// After a step: if the power went, or goes now, the machine is switched on again.
    fn settle(&mut self, cut: Option<Cut>) {
        if let Some(cut) = cut {
            *self.tally.cuts.entry(cut.name()).or_default() += 1;
            self.machine.disk.cut_in(None);
            self.machine.net.cut_at(None);
            self.power_cut();
        }
    }

    /// The power is cut now, if it was not before, and comes back.
    fn power_cut(&mut self) {
        let machine = &self.machine;
        machine.with_time(|| machine.net.goes_wrong("power"));
        self.machine.switch_off();
        let flushed = self.machine.disk.flushed();
        // What the disk refused is over with the machine.
        self.machine.net.is_well("disk");
        let outage = match self.chance.below(10) {
            0..=3 => self.chance.below(10_000),
            4..=6 => self.chance.below(40_000),
            7 => 40_000 + self.chance.below(60_000),
            8 => self.chance.below(3_600_000),
            _ => self.chance.below(20 * 3_600_000),
        };
        self.done.push(format!("  -> the power is off for {outage} ms"));
        self.machine.time.pass(Duration::from_millis(outage as u64));
        if self.chance.percent(20) {
            // Once more, while it recovers.
            self.machine.disk.cut_in(Some(1 + self.chance.next() % 30));
        }
        while self.start().is_none() {
            *self.tally.cuts.entry("while it starts").or_default() += 1;
            self.done.push("  -> the power goes while it starts".to_owned());
            self.machine.switch_off();
            self.machine.time.pass(Duration::from_millis(self.chance.below(2_000) as u64));
        }
        self.machine.disk.cut_in(None);
        let machine = &self.machine;
        machine.with_time(|| machine.net.is_well("power"));
        self.was_switched_on(flushed);
    }

    /// Starts the machine, which it must. `None` if the power went meanwhile.
    fn start(&mut self) -> Option<()> {
        let started = self.machine.switch_on()?;
        started.unwrap_or_else(|error| panic!("it does not start: {error}"));
        Some(())
    }

    /// What is there counts from now on. What was written in the steps before `flushed` was on the disk for
    /// certain.
    pub(super) fn was_switched_on(&mut self, flushed: usize) {
        self.no_panic();
        let findings = self.machine.store().findings();
        self.tally.findings += findings.len() as u64;
        if !self.is_lying {
            for finding in &findings {
                assert!(finding.contains("unfinished record") && self.machine.disk.is_torn(), "{finding}");
            }
            self.look(true);
            return;
        }
        let seen = self.seen(true).unwrap();
        self.beliefs.judge_losses(&seen, flushed, &findings);
        self.beliefs.forgive_log(&seen);
        if !findings.is_empty() {
            let status = self.machine.run(self.machine.caller().ask("GET", "/api/v1/status", None)).unwrap();
            assert!(status.text().contains("\"findings\":[\""), "the status tells nothing of {findings:?}");
        }
    }

    fn no_panic(&self) {
        assert_eq!(PANICS.get(), 0, "there was a panic");
        let broken = self.machine.net.broken();
        assert!(broken.is_empty(), "{}", broken.join("; "));
    }

    fn seen(&self, whole_log: bool) -> Option<Seen> {
        let (store, projector) = (self.machine.store(), self.machine.app().projector().clone());
        let seen = self.machine.run(async move {
            let caught_up = projector.catch_up().await;
            let seen = store.read(move |snapshot| Seen::of(snapshot, whole_log)).await;
            caught_up.and(seen)
        });
        seen.unwrap().ok()
    }

    /// Looks at everything that must be true. A disk that refuses may let nobody look.
    fn look(&mut self, whole_log: bool) {
        self.no_panic();
        match self.seen(whole_log) {
            Some(seen) => self.beliefs.check(&seen, &self.machine.net),
            None => assert!(self.machine.net.is_wrong("disk"), "the store cannot be read"),
        }
        self.no_panic();
    }

    /// All is well again: what was kept works, and what could not be kept says so.
    fn end(&mut self) {
        super::deeds::all_is_well(self);
        self.machine.run(async { tokio::time::sleep(Duration::from_secs(900)).await }).unwrap();
        self.look(true);
        for (event, body) in self.beliefs.unacknowledged() {
            assert!(self.deliver(&event, &body) == Some(200), "{event} is not taken");
            // A small ring takes no more than its follower has read.
            self.look(false);
        }
        self.look(true);
        let seen = self.seen(false).unwrap();
        for (id, owner, _) in Beliefs::alive(&seen).into_iter().filter(|(.., is_v2)| *is_v2) {
            let caller = self.machine.caller();
            let path = format!("/api/v1/connections/{id}/refresh");
            let answer = self.machine.run(async move { caller.ask("POST", &path, None).await }).unwrap();
            self.no_panic();
            let may_be_lost = self.is_lying || self.machine.net.may_be_lost(&owner);
            // One that was half done may have been completed meanwhile, and taken into the one before it.
            let is_gone =
                answer.status == 404 && Beliefs::alive(&self.seen(false).unwrap()).iter().all(|(alive, ..)| *alive != id);
            // One that was never complete may be dead although its owner has connected again; whether Smartcar had a
            // reason is judged where it refuses.
            let was_refused = answer.status == 409 && self.machine.net.counts().refused > 0;
            assert!(answer.status == 200 || is_gone || may_be_lost || was_refused, "{owner}: {}", answer.text());
            self.tally.needs_reconnect += u64::from(answer.status != 200);
        }
        self.look(true);
        if self.seed.is_multiple_of(8) {
            let mut secrets = self.machine.net.secrets();
            secrets.extend([self.canaries.vin.clone(), self.canaries.latitude.clone()]);
            canaries::check(&self.machine.disk.bytes(), &secrets);
        }
        if !self.seed.is_multiple_of(4) {
            return;
        }
        self.machine.stop().unwrap();
        self.no_panic();
        let flushed = self.machine.disk.flushed();
        self.machine.switch_on().unwrap().unwrap();
        self.was_switched_on(flushed);
    }
}

impl Drop for Day {
    fn drop(&mut self) {
        if !self.is_over {
            eprintln!("seed {}, step {}; the last steps:", self.seed, self.number);
            for line in self.done.iter().rev().take(24).rev() {
                eprintln!("    {line}");
            }
        }
    }
}
