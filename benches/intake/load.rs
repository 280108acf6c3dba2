//! What is measured of one program, started for it alone and warm.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::time::Duration;

use carport::model::Secret;

use crate::burst::{Expected, open, runtime, send};
use crate::garage::link;
use crate::job::{Figures, figures, float};
use crate::line::Line;
use crate::memory;
use crate::others::Others;
use crate::process::Process;
use crate::program::Program;
use crate::readers::Readers;
use crate::requests::{CARS, Requests};
use crate::scratch::Scratch;
use crate::simulate;
use crate::steady;

/// The most that one measurement sends, warming included.
const MOST: usize = 50_000;

/// In how many bursts half of the events come.
const BURSTS: usize = 4;

/// Where programs come from, and what they are sent.
pub(crate) struct Rig {
    pub(crate) others: Others,
    linked: Scratch,
    token: Secret,
    /// Signed once for all measurements.
    signed: OnceCell<Requests>,
    shorter: usize,
}

impl Rig {
    /// `shorter`: all counts are to be divided by this.
    pub(crate) fn new(shorter: usize) -> anyhow::Result<Rig> {
        let linked = Scratch::new()?;
        let token = link(&linked.0, CARS)?;
        Ok(Rig { others: Others::default(), linked, token, signed: OnceCell::new(), shorter })
    }

    /// Events a second over so many connections: half of all in bursts with rest between them, the others at once; and
    /// processor seconds for 1,000 of them, with all that is left to do after their answers.
    pub(crate) fn burst(&self, program: Program, connections: usize, events: usize) -> anyhow::Result<Figures> {
        runtime()?.block_on(async {
            let (server, mut lines) = self.warm(program, connections).await?;
            let (mut first, events) = (program.warmth(), events / self.shorter);
            let (before, mut busy, mut rates) = (server.cpu()?, 0, [0.0; 2]);
            for (rate, bursts) in rates.iter_mut().zip([BURSTS, 1]) {
                let (count, mut took) = (events / 2 / bursts, Duration::ZERO);
                for _ in 0..bursts {
                    let sent = send(lines, self.signed(), first..first + count, Expected::Taken).await?;
                    (first, took, busy) = (first + count, took + sent.took, busy + sent.busy);
                    server.settle().await?;
                    lines = opened(program, server.address, connections).await?;
                }
                *rate = float(count * bursts) / took.as_secs_f64();
            }
            let cpu = (server.cpu()? - before) * 1000.0 / float(events);
            let [rate, sustained] = rates;
            Ok(figures([("rate", rate), ("sustained", sustained), ("cpu", cpu), ("busy", float(busy) / float(events))]))
        })
    }

    /// What `carport simulate` tells of so many events a second.
    pub(crate) fn simulated(&self, a_second: u32, seconds: u32) -> anyhow::Result<Figures> {
        let server = Program::CarportOfSimulator.start(&self.linked.0, &self.others)?;
        simulate::flow(server.address, a_second, seconds / u32::try_from(self.shorter)?)
    }

    /// Wrongly signed events refused in a second, and bytes written meanwhile.
    pub(crate) fn forged(&self, program: Program, events: usize) -> anyhow::Result<Figures> {
        let forged = Requests::forged(0..events / self.shorter);
        runtime()?.block_on(async {
            let (server, lines) = self.warm(program, 64).await?;
            let written = server.written()?;
            let sent = send(lines, &forged, 0..forged.len(), Expected::Refused).await?;
            server.settle().await?;
            let written = server.written()? - written;
            Ok(figures([("rate", float(forged.len()) / sent.took.as_secs_f64()), ("written", written)]))
        })
    }

    /// New events a second, then the same events again, and bytes written meanwhile.
    pub(crate) fn again(&self, program: Program, events: usize) -> anyhow::Result<Figures> {
        runtime()?.block_on(async {
            let (server, lines) = self.warm(program, 64).await?;
            let places = program.warmth()..program.warmth() + events / self.shorter;
            let new = send(lines, self.signed(), places.clone(), Expected::Taken).await?;
            server.settle().await?;
            let (written, lines) = (server.written()?, open(server.address, 64).await?);
            let again = send(lines, self.signed(), places.clone(), Expected::Taken).await?;
            server.settle().await?;
            let written = server.written()? - written;
            let [new, again] = [new, again].map(|sent| float(places.len()) / sent.took.as_secs_f64());
            Ok(figures([("new", new), ("again", again), ("times", again / new), ("written", written)]))
        })
    }

    /// Events a second over 64 connections while others page the log, and how many pages a second they got.
    pub(crate) fn read(&self, program: Program, readers: usize, events: usize) -> anyhow::Result<Figures> {
        runtime()?.block_on(async {
            let (server, lines) = self.warm(program, 64).await?;
            let (first, events) = (program.warmth(), events / self.shorter);
            let readers = Readers::start(server.address, self.token.expose(), readers, first).await?;
            let sent = send(lines, self.signed(), first..first + events, Expected::Taken).await?;
            let pages = readers.stop().await?;
            let a_second = |count| float(count) / sent.took.as_secs_f64();
            let busy = float(sent.busy) / float(events);
            Ok(figures([("rate", a_second(events)), ("pages", a_second(pages)), ("busy", busy)]))
        })
    }

    /// Latencies at a steady rate.
    pub(crate) fn steady(&self, program: Program, a_second: u32, seconds: usize) -> anyhow::Result<Figures> {
        let first = program.warmth();
        let count = usize::try_from(a_second)? * seconds / self.shorter;
        let requests = Requests::signed(first..first + count);
        runtime()?.block_on(async {
            let (server, lines) = self.warm(program, 64).await?;
            drop(lines);
            steady::send(server.address, &requests, Duration::from_secs(1) / a_second).await
        })
    }

    /// Memory with a log of so many entries.
    pub(crate) fn memory(&self, entries: usize) -> anyhow::Result<Figures> {
        let keep_events = entries / self.shorter;
        let server = Program::Carport { keep_events, linked: true }.start(&self.linked.0, &self.others)?;
        memory::measure(&server, keep_events)
    }

    /// A program that does as it always will, at rest, and connections to it.
    async fn warm(&self, program: Program, connections: usize) -> anyhow::Result<(Process, Vec<Line>)> {
        let server = program.start(&self.linked.0, &self.others)?;
        let lines = opened(program, server.address, connections).await?;
        send(lines, self.signed(), 0..program.warmth(), Expected::Taken).await?;
        server.settle().await?;
        // Other ones: a server may close those that have rested.
        let lines = opened(program, server.address, connections).await?;
        Ok((server, lines))
    }

    fn signed(&self) -> &Requests {
        self.signed.get_or_init(|| Requests::signed(0..10_000 + (MOST - 10_000) / self.shorter))
    }
}

/// Connections that speak as the program does.
async fn opened(program: Program, to: SocketAddr, connections: usize) -> anyhow::Result<Vec<Line>> {
    let Program::CarportOverTls = program else { return open(to, connections).await };
    let mut lines = Vec::with_capacity(connections);
    for _ in 0..connections {
        lines.push(Line::open_tls(to).await?);
    }
    Ok(lines)
}
