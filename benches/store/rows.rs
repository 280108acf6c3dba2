//! Every figure, and how it is come by.

use std::cell::OnceCell;

use crate::chance::Chance;
use crate::job::{Engine, Job};
use crate::measure::Load;
use crate::memory;
use crate::rounds::{Extent, Rounds};
use crate::scratch::Scratch;
use crate::table::Bound::{AtLeast, AtMost, Exactly};
use crate::table::{Row, Table, Unit};

/// The rows of one measurement, by the name that chooses it.
pub(crate) type Rows = (&'static str, fn(&Bench) -> anyhow::Result<Vec<Row>>);

/// All of them, in the order of the table.
pub(crate) const ALL: [Rows; 13] = [
    ("isolated", isolated),
    ("commits-16", |bench| bench.commits(16, 20_000, 1.9)),
    ("commits-64", |bench| bench.commits(64, 40_000, 1.2)),
    ("commits-256", |bench| bench.commits(256, 60_000, 1.2)),
    ("slow-1", |bench| bench.slow(1, 2_000)),
    ("slow-64", |bench| bench.slow(64, 40_000)),
    ("entries", Bench::entries),
    ("vehicles", vehicles),
    ("open", Bench::open),
    ("memory-64", |bench| bench.memory(64, 15.0, 12.0)),
    ("memory-256", |bench| bench.memory(256, 18.0, 15.0)),
    ("page", |bench| bench.reads("page of 50 log entries", 4_000, |engine, count| Job::Pages { engine, count })),
    ("latest", |bench| bench.reads("latest state of a car (30 signals)", 10_000, |engine, count| Job::Latest { engine, count })),
];

/// The log's default, and how many cars send events where that is not the question.
const RING: u64 = 10_000;
const CARS: u64 = 500;

/// How many cars send one event after the other: those of a street, whose histories fill a few pages each.
const HOUSEHOLDS: u64 = 10;
const MIB: f64 = 1024.0 * 1024.0;
const MILLION: u64 = 1_000_000;

/// What is left of earlier rows for later ones.
pub(crate) struct Bench {
    pub(crate) extent: Extent,
    /// A store with a million entries: filled once, it takes minutes.
    million: OnceCell<Scratch>,
}

/// The disk by itself: tells whether a reference is weak.
pub(crate) fn tell_disk(extent: Extent) -> anyhow::Result<()> {
    for (delay_ms, count) in [(0, 5_000), (5, 200)] {
        let job = Job::Flushes { count: extent.count(count), delay_ms };
        let [raw] = extent.rounds("disk", [&mut |_| job.measure()])?;
        let figure = format!("raw flushes (overwrite 4 KiB, fdatasync), {delay_ms} ms added");
        Table::tell(&figure, &format!("{:.0}/s", raw.of("rate")));
    }
    Ok(())
}

fn isolated(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let job = Job::Isolated { events: bench.extent.count(10_000), ring: bench.extent.count(RING), vehicles: HOUSEHOLDS };
    // Counted, not timed: once is enough.
    let [carport] = Extent { rounds: 1, ..bench.extent }.rounds("isolated", [&mut |_| job.measure()])?;
    let note =
        format!("{} until it is answered, {:.3} with checkpoints", carport.of("flushes until answered"), carport.of("flushes"));
    Ok(vec![
        Row {
            figure: "flushes for one isolated event, with its readings".to_owned(),
            must: Exactly(1.0),
            aim: None,
            unit: Unit::Flushes,
            measured: carport.of("flushes of most"),
            note,
        },
        Row {
            figure: "bytes written for it, with readings and checkpoints".to_owned(),
            must: AtMost(16_000.0),
            aim: Some(AtMost(6_000.0)),
            unit: Unit::KiloBytes,
            measured: carport.of("bytes"),
            note: format!("{} of it journal; 2 a second, {HOUSEHOLDS} cars", kb(&carport, "journal")),
        },
    ])
}

fn vehicles(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let few = Load { vehicles: 1, ..bench.load(Engine::Carport, 64, 40_000) };
    let many = Load { vehicles: 10_000, ..few.clone() };
    let [few, many] = bench.extent.rounds("vehicles", [&mut fresh(&few), &mut fresh(&many)])?;
    Ok(vec![ratio("1 -> 10,000 vehicles: commits a second, 64 in flight", 0.8, 0.95, ("10,000", &many), ("1", &few))])
}

impl Bench {
    pub(crate) fn new(extent: Extent) -> Bench {
        Bench { extent, million: OnceCell::new() }
    }

    fn commits(&self, in_flight: u64, events: u64, aim: f64) -> anyhow::Result<Vec<Row>> {
        let sides = [Engine::Carport, Engine::Plain].map(|engine| self.load(engine, in_flight, events));
        let [carport, plain] = &sides;
        let name = format!("commits-{in_flight}");
        let [carport, plain] = self.extent.rounds(&name, [&mut fresh(carport), &mut fresh(plain)])?;
        let figure = format!("commits a second against plain redb, {in_flight} in flight");
        let mut rows = vec![ratio(&figure, 0.9, aim, ("carport", &carport), ("plain", &plain))];
        if in_flight == 64 {
            rows.push(Row {
                figure: "bytes written for one event, 64 in flight".to_owned(),
                must: AtMost(6_000.0),
                aim: Some(AtMost(1_500.0)),
                unit: Unit::KiloBytes,
                measured: carport.of("bytes"),
                note: format!("{} of it journal; plain {}", kb(&carport, "journal"), kb(&plain, "bytes")),
            });
        }
        Ok(rows)
    }

    fn slow(&self, in_flight: u64, events: u64) -> anyhow::Result<Vec<Row>> {
        let [carport, flat] =
            [Engine::Carport, Engine::Flat].map(|engine| Load { delay_ms: 5, ..self.load(engine, in_flight, events) });
        let name = format!("slow-{in_flight}");
        let [carport, flat] = self.extent.rounds(&name, [&mut fresh(&carport), &mut fresh(&flat)])?;
        let figure = format!("5 ms more a flush, against a flat file, {in_flight} in flight");
        Ok(vec![ratio(&figure, 0.9, 0.97, ("carport", &carport), ("flat", &flat))])
    }

    fn entries(&self) -> anyhow::Result<Vec<Row>> {
        let many = self.extent.count(MILLION);
        let (small, million) = (self.filled(RING)?, self.million()?);
        let load = self.load(Engine::Carport, 64, 40_000);
        let in_place = |ring, scratch| {
            let load = load.clone();
            move |round| Job::Load(Load { ring, seed: 100 + round, ..load.clone() }).measure_in(scratch)
        };
        let [few, much] = self.extent.rounds("entries", [&mut in_place(RING, &small), &mut in_place(many, million)])?;
        let sizes = format!("{} -> {} log entries", grouped(RING), grouped(many));
        Ok(vec![
            ratio(&format!("{sizes}: commits a second, 64 in flight"), 0.8, 0.95, ("many", &much), ("few", &few)),
            Row {
                figure: format!("{sizes}: bytes written for one event"),
                must: AtMost(1.3),
                aim: None,
                unit: Unit::Times,
                measured: much.times(&few, "bytes"),
                note: format!("{} : {}", kb(&much, "bytes"), kb(&few, "bytes")),
            },
        ])
    }

    fn open(&self) -> anyhow::Result<Vec<Row>> {
        let (ring, scratch, mut chance) = (self.extent.count(MILLION), self.million()?, Chance::new(1));
        let kill_and_open = &mut |round| {
            Job::Endless { ring, seed: 1000 + round }.kill_after(20 + chance.below(60), scratch)?;
            Job::Open { ring }.measure_in(scratch)
        };
        let [opened] = self.extent.rounds("open", [kill_and_open])?;
        Ok(vec![Row {
            figure: format!("open after SIGKILL with {} entries", grouped(ring)),
            must: AtMost(250.0),
            aim: Some(AtMost(50.0)),
            unit: Unit::Millis,
            measured: opened.of("ms"),
            note: format!("at most {}", Unit::Millis.write(opened.largest("ms"))),
        }])
    }

    fn memory(&self, connections: u64, must: f64, aim: f64) -> anyhow::Result<Vec<Row>> {
        let mib = |bytes| Unit::MebiBytes.write(bytes);
        let name = format!("memory-{connections}");
        let [resident] = self.extent.rounds(&name, [&mut |_| memory::after_burst(connections)])?;
        Ok(vec![Row {
            figure: format!("memory with {} entries, after a burst of {connections}", grouped(RING)),
            must: AtMost(must * MIB),
            aim: Some(AtMost(aim * MIB)),
            unit: Unit::MebiBytes,
            measured: resident.of("resident"),
            note: format!(
                "idle {}, full log {}, {} of it the program's file, at most {}",
                mib(resident.of("idle")),
                mib(resident.of("full")),
                mib(resident.of("program")),
                mib(resident.largest("resident"))
            ),
        }])
    }

    fn reads(&self, figure: &str, count: u64, job: fn(Engine, u64) -> Job) -> anyhow::Result<Vec<Row>> {
        let [carport, plain] = [Engine::Carport, Engine::Plain].map(|engine| job(engine, self.extent.count(count)));
        let [carport, plain] = self.extent.rounds(figure, [&mut |_| carport.measure(), &mut |_| plain.measure()])?;
        Ok(vec![ratio(&format!("{figure}, against plain redb"), 0.8, 1.0, ("carport", &carport), ("plain", &plain))])
    }

    fn load(&self, engine: Engine, in_flight: u64, events: u64) -> Load {
        Load { engine, in_flight, events: self.extent.count(events), ring: RING, vehicles: CARS, delay_ms: 0, seed: 1 }
    }

    fn million(&self) -> anyhow::Result<&Scratch> {
        if let Some(scratch) = self.million.get() {
            return Ok(scratch);
        }
        let scratch = self.filled(self.extent.count(MILLION))?;
        Ok(self.million.get_or_init(|| scratch))
    }

    /// A directory with a store whose ring is full.
    fn filled(&self, ring: u64) -> anyhow::Result<Scratch> {
        let scratch = Scratch::new()?;
        Job::Load(Load { ring, ..self.load(Engine::Carport, 64, 1_000) }).measure_in(&scratch)?;
        Ok(scratch)
    }
}

fn fresh(load: &Load) -> impl FnMut(u64) -> anyhow::Result<crate::job::Figures> {
    let job = Job::Load(load.clone());
    move |_| job.measure()
}

/// Thousands apart.
fn grouped(number: u64) -> String {
    match (number / 1_000_000, number / 1_000) {
        (0, thousands) => format!("{thousands},000"),
        (millions, thousands) => format!("{millions},{:03},000", thousands % 1_000),
    }
}

fn kb(rounds: &Rounds, figure: &str) -> String {
    Unit::KiloBytes.write(rounds.of(figure))
}

/// A rate as a multiple of another.
fn ratio(figure: &str, must: f64, aim: f64, (name, side): (&str, &Rounds), (other, reference): (&str, &Rounds)) -> Row {
    Row {
        figure: figure.to_owned(),
        must: AtLeast(must),
        aim: Some(AtLeast(aim)),
        unit: Unit::Times,
        measured: side.times(reference, "rate"),
        note: format!("{name} {:.0}/s, {other} {:.0}/s", side.of("rate"), reference.of("rate")),
    }
}
