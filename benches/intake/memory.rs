//! What Carport takes of memory: idle, and with a full log after bursts, while their connections are still open.

use crate::burst::{Expected, open, runtime, send};
use crate::job::{Figures, figures};
use crate::process::Process;
use crate::requests::Requests;

/// Sizes of the bursts.
pub(crate) const BURSTS: [usize; 2] = [64, 256];

/// How much each connection delivers in a burst.
const EACH: usize = 40;

/// How many events are made at a time.
const SOME: usize = 5_000;

/// Fills the log of a program that was just started with so many entries, and measures.
pub(crate) fn measure(server: &Process, entries: usize) -> anyhow::Result<Figures> {
    runtime()?.block_on(async {
        server.settle().await?;
        let (idle, program) = (server.status("VmRSS:")?, server.status("RssFile:")?);
        let mut lines = open(server.address, 16).await?;
        for first in (0..entries).step_by(SOME) {
            let requests = Requests::signed(first..entries.min(first + SOME));
            lines = send(lines, &requests, 0..requests.len(), Expected::Taken).await?.lines;
        }
        drop(lines);
        let (mut next, mut after) = (entries, [0.0; BURSTS.len()]);
        for (connections, resident) in BURSTS.into_iter().zip(&mut after) {
            let requests = Requests::signed(next..next + connections * EACH);
            next += requests.len();
            let lines = open(server.address, connections).await?;
            let sent = send(lines, &requests, 0..requests.len(), Expected::Taken).await?;
            *resident = server.status("VmRSS:")?;
            drop(sent);
        }
        Ok(figures([("idle", idle), ("64", after[0]), ("256", after[1]), ("program", program)]))
    })
}
