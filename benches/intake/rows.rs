//! Every figure, and how it is come by.

use redb::StorageBackend;
use tokio::time::Instant;

use crate::disk::Disk;
use crate::job::{Figures, figures, float};
use crate::load::Rig;
use crate::others::Other;
use crate::program::Program;
use crate::rounds::{Extent, Rounds};
use crate::scratch::Scratch;
use crate::table::Bound::{AtLeast, AtMost, Exactly};
use crate::table::{Row, Table, Unit};

/// The rows of one measurement, by the name that chooses it.
pub(crate) type Rows = (&'static str, fn(&Bench) -> anyhow::Result<Vec<Row>>);

/// All of them, in the order of the table.
pub(crate) const ALL: [Rows; 16] = [
    ("express", |bench| bench.express()),
    ("express-slow", |bench| bench.slow(Other::Express, "Express, npm SDK, better-sqlite3")),
    ("fastapi", |bench| bench.beside(Other::FastApi, "FastAPI, PyPI SDK, sqlite3", (8.0, 12.0), 5_000)),
    ("fastapi-slow", |bench| bench.slow(Other::FastApi, "FastAPI, PyPI SDK, sqlite3")),
    ("webhook", |bench| bench.beside(Other::Webhook, "Debian's webhook and a script", (12.0, 30.0), 1_000)),
    ("reference-16", |bench| bench.reference(16)),
    ("reference-64", |bench| bench.reference(64)),
    ("reference-256", |bench| bench.reference(256)),
    ("reference-slow", slow_reference),
    ("steady", steady),
    ("memory", memory),
    ("forged", forged),
    ("duplicates", duplicates),
    ("readers", readers),
    ("tls", tls),
    ("simulate", simulate),
];

/// As by default.
const CARPORT: Program = Program::Carport { keep_events: 10_000, linked: true };
/// Nothing is made of what it takes in.
const STRANGERS: Program = Program::Carport { keep_events: 10_000, linked: false };
const SLOW_CARPORT: Program = Program::CarportOver(5);

/// How many events make one round. A burst of an eighth of them fits into the log while it waits to become vehicle data.
const EVENTS: usize = 40_000;
const MIB: f64 = 1024.0 * 1024.0;

/// What all rows need.
pub(crate) struct Bench {
    extent: Extent,
    rig: Rig,
}

impl Bench {
    pub(crate) fn new(extent: Extent) -> anyhow::Result<Bench> {
        Ok(Bench { extent, rig: Rig::new(usize::try_from(extent.shorter)?)? })
    }

    /// The disk by itself: tells how slow the flushes are that everybody waits for.
    pub(crate) fn tell_disk(&self) -> anyhow::Result<()> {
        let count = usize::try_from(self.extent.count(5_000))?;
        let [raw] = self.extent.rounds("disk", [&mut |_| flushes(count)])?;
        Table::tell("raw flushes (overwrite 4 KiB, fdatasync)", &format!("{:.0}/s", raw.of("rate")));
        Ok(())
    }

    fn express(&self) -> anyhow::Result<Vec<Row>> {
        let Some([carport, express]) = self.both("express", CARPORT, (Other::Express, 0, 5_000))? else { return Ok(Vec::new()) };
        let figure = "events a second against Express, npm SDK, better-sqlite3";
        let cpu = Row {
            figure: "processor time for 1,000 events against Express".to_owned(),
            must: AtMost(0.1),
            aim: None,
            unit: Unit::Times,
            measured: carport.times(&express, "cpu"),
            note: cpu(&carport, &express),
        };
        let [bursts, sustained] = rates(figure, (8.0, 12.0), ("carport", &carport), ("express", &express));
        Ok(vec![bursts, sustained, cpu])
    }

    fn beside(&self, other: Other, name: &str, bounds: (f64, f64), events: usize) -> anyhow::Result<Vec<Row>> {
        let Some([carport, others]) = self.both(name, CARPORT, (other, 0, events))? else { return Ok(Vec::new()) };
        let figure = format!("events a second against {name}");
        Ok(rates(&figure, bounds, ("carport", &carport), ("the other", &others)).into())
    }

    fn slow(&self, other: Other, name: &str) -> anyhow::Result<Vec<Row>> {
        let Some([carport, others]) = self.both(name, SLOW_CARPORT, (other, 5, 800))? else { return Ok(Vec::new()) };
        let figure = format!("5 ms more a flush, against {name}");
        Ok(rates(&figure, (20.0, 30.0), ("carport", &carport), ("the other, 5 ms a commit", &others)).into())
    }

    /// Bursts over 64 connections, here and there; nothing if the other program cannot be had.
    fn both(
        &self,
        name: &str,
        ours: Program,
        (other, delay_ms, events): (Other, u64, usize),
    ) -> anyhow::Result<Option<[Rounds; 2]>> {
        if let Some(why) = self.rig.others.missing(other) {
            Table::tell(&format!("events a second against {other:?}"), &format!("skipped: {why}"));
            return Ok(None);
        }
        let carport = &mut |_| self.rig.burst(ours, 64, EVENTS);
        let theirs = &mut |_| self.rig.burst(Program::Other(other, delay_ms), 64, events);
        Ok(Some(self.extent.rounds(name, [carport, theirs])?))
    }

    fn reference(&self, connections: usize) -> anyhow::Result<Vec<Row>> {
        let side = |program| move |_| self.rig.burst(program, connections, EVENTS);
        let name = format!("reference-{connections}");
        let [carport, strangers, reference] =
            self.extent.rounds(&name, [&mut side(CARPORT), &mut side(STRANGERS), &mut side(Program::Reference(0))])?;
        let times = |name| strangers.times(&reference, name);
        let alone = format!("{:.2} times in bursts, {:.2} sustained", times("rate"), times("sustained"));
        Table::tell(&format!("cars that are not linked, against the same, {connections} connections"), &alone);
        let figure = format!("events a second against hyper and redb, {connections} connections");
        let mut rows = Vec::from(rates(&figure, (0.9, 1.2), ("carport", &carport), ("reference", &reference)));
        if connections == 64 {
            let alone = format!("{:.2} times ({})", strangers.times(&reference, "cpu"), cpu(&strangers, &reference));
            Table::tell("processor time for 1,000 events of cars that are not linked", &alone);
            rows.push(Row {
                figure: "processor time for 1,000 events against hyper and redb".to_owned(),
                must: AtMost(1.25),
                aim: Some(AtMost(1.0)),
                unit: Unit::Times,
                measured: carport.times(&reference, "cpu"),
                note: cpu(&carport, &reference),
            });
        }
        Ok(rows)
    }
}

/// As on a card.
fn slow_reference(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let side = |program| move |_| bench.rig.burst(program, 64, EVENTS / 2);
    let [carport, reference] =
        bench.extent.rounds("reference-slow", [&mut side(SLOW_CARPORT), &mut side(Program::Reference(5))])?;
    let figure = "5 ms more a flush, against hyper and redb, 64 connections";
    Ok(rates(figure, (0.9, 1.2), ("carport", &carport), ("reference", &reference)).into())
}

fn steady(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let [carport] = bench.extent.rounds("steady", [&mut |_| bench.rig.steady(SLOW_CARPORT, 500, 20)])?;
    let millis = |name| Unit::Millis.write(carport.of(name));
    Ok(vec![Row {
        figure: "5 ms more a flush, 500 a second: 99th percentile".to_owned(),
        must: AtMost(25.0),
        aim: Some(AtMost(18.0)),
        unit: Unit::Millis,
        measured: carport.of("p99"),
        note: format!("since it was to be sent; half {}, at most {}", millis("p50"), millis("most")),
    }])
}

fn memory(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let [resident] = bench.extent.rounds("memory", [&mut |_| bench.rig.memory(100_000)])?;
    let row = |figure: &str, name, must, aim| Row {
        figure: format!("memory {figure}"),
        must: AtMost(must * MIB),
        aim: Some(AtMost(aim * MIB)),
        unit: Unit::MebiBytes,
        measured: resident.of(name),
        note: format!(
            "at most {}; at rest {} of the program's file",
            Unit::MebiBytes.write(resident.largest(name)),
            Unit::MebiBytes.write(resident.of("program"))
        ),
    };
    Ok(vec![
        row("idle", "idle", 8.0, 6.0),
        row("with 100,000 entries, after 64 connections", "64", 15.0, 12.0),
        row("with 100,000 entries, after 256 connections", "256", 24.0, 20.0),
    ])
}

fn forged(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let side = |program| move |_| bench.rig.forged(program, EVENTS);
    let [carport, hasher] = bench.extent.rounds("forged", [&mut side(CARPORT), &mut side(Program::Hasher)])?;
    let figure = "wrongly signed events refused, against hyper that hashes";
    Ok(vec![
        rate(figure, (0.7, 0.9), ("carport", &carport), ("hasher", &hasher)),
        nothing_written("wrongly signed events: bytes written", &carport),
    ])
}

fn duplicates(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let [both] = bench.extent.rounds("duplicates", [&mut |_| bench.rig.again(CARPORT, EVENTS)])?;
    Ok(vec![
        Row {
            figure: "duplicates a second against new events".to_owned(),
            must: AtLeast(1.0),
            aim: None,
            unit: Unit::Times,
            measured: both.of("times"),
            note: format!("again {:.0}/s, new {:.0}/s", both.of("again"), both.of("new")),
        },
        nothing_written("duplicates: bytes written", &both),
    ])
}

fn readers(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let side = |readers| move |_| bench.rig.read(CARPORT, readers, EVENTS);
    let [read, alone] = bench.extent.rounds("readers", [&mut side(16), &mut side(0)])?;
    let mut row = rate("events a second while 16 readers page the log", (0.5, 0.7), ("read", &read), ("alone", &alone));
    row.note = format!("{}, {:.0} pages/s", row.note, read.of("pages"));
    Ok(vec![row])
}

fn tls(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let side = |program| move |_| bench.rig.burst(program, 64, EVENTS);
    let [over_tls, plain] = bench.extent.rounds("tls", [&mut side(Program::CarportOverTls), &mut side(CARPORT)])?;
    let mut row = rate("events a second over TLS against plain", (0.65, 0.8), ("TLS", &over_tls), ("plain", &plain));
    row.note = format!("{}; processor time {:.2} times", row.note, over_tls.times(&plain, "cpu"));
    Ok(vec![row])
}

fn simulate(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let [flow] = bench.extent.rounds("simulate", [&mut |_| bench.rig.simulated(200, 20)])?;
    Ok(vec![Row {
        figure: "carport simulate, 1,000 cars, 200 a second: acknowledged at once".to_owned(),
        must: AtLeast(0.999),
        aim: Some(Exactly(1.0)),
        unit: Unit::Times,
        measured: flow.of("share"),
        note: format!("{:.0} events, 99 of 100 within {}", flow.of("events"), Unit::Millis.write(flow.of("p99"))),
    }])
}

/// Rates in bursts with rest between them, and without it, as multiples of others.
fn rates(figure: &str, bounds: (f64, f64), side: (&str, &Rounds), other: (&str, &Rounds)) -> [Row; 2] {
    [("rate", "in bursts"), ("sustained", "sustained")]
        .map(|(name, how)| multiple(&format!("{figure}, {how}"), name, bounds, side, other))
}

/// A rate as a multiple of another.
fn rate(figure: &str, bounds: (f64, f64), side: (&str, &Rounds), other: (&str, &Rounds)) -> Row {
    multiple(figure, "rate", bounds, side, other)
}

fn multiple(
    figure: &str,
    name: &str,
    (must, aim): (f64, f64),
    (who, side): (&str, &Rounds),
    (other, reference): (&str, &Rounds),
) -> Row {
    Row {
        figure: figure.to_owned(),
        must: AtLeast(must),
        aim: Some(AtLeast(aim)),
        unit: Unit::Times,
        measured: side.times(reference, name),
        note: format!("{who} {:.0}/s{}, {other} {:.0}/s", side.of(name), busy(side), reference.of(name)),
    }
}

/// What a server has put off it still had to take.
fn busy(side: &Rounds) -> String {
    let busy = side.of("busy");
    if busy > 0.0 { format!(" after {:.0} % of 503", busy * 100.0) } else { String::new() }
}

fn nothing_written(figure: &str, rounds: &Rounds) -> Row {
    Row {
        figure: figure.to_owned(),
        must: Exactly(0.0),
        aim: None,
        unit: Unit::KiloBytes,
        measured: rounds.largest("written"),
        note: "as the kernel counts them; the most of all rounds".to_owned(),
    }
}

fn cpu(carport: &Rounds, other: &Rounds) -> String {
    let millis = |side: &Rounds| Unit::Millis.write(side.of("cpu") * 1000.0);
    format!("carport {}, the other {}", millis(carport), millis(other))
}

/// How fast the disk is by itself.
fn flushes(count: usize) -> anyhow::Result<Figures> {
    let scratch = Scratch::new()?;
    let file = Disk::new(&scratch.0).file("flushes")?;
    let blocks = 64;
    file.write(0, &vec![1; blocks * 4096])?;
    file.sync_data()?;
    let began = Instant::now();
    for number in 0..count {
        file.write((number % blocks) as u64 * 4096, &[number.to_le_bytes()[0]; 4096])?;
        file.sync_data()?;
    }
    Ok(figures([("rate", float(count) / began.elapsed().as_secs_f64())]))
}
