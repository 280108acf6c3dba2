//! A program under load: what it takes of the machine, as the kernel counts it.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::time::{Instant, sleep};

use crate::scratch::Scratch;

/// How it is known where a program listens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listening {
    /// It says so.
    Told,
    /// It was told.
    At(SocketAddr),
}

/// A running program, killed when this goes.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Were it closed, the program would have nobody to talk to.
    said: Lines<BufReader<ChildStdout>>,
    /// The end of its log.
    complaint: Arc<Mutex<Vec<u8>>>,
    _scratch: Scratch,
}

impl Process {
    /// Starts a program in `scratch`, and waits until it listens.
    pub(crate) fn start(mut command: Command, scratch: Scratch, listening: Listening) -> anyhow::Result<Process> {
        command.current_dir(&scratch.0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{command:?} cannot be started"))?;
        let said = BufReader::new(child.stdout.take().context("no output")?).lines();
        let complaint = child.stderr.take().map(end_of).unwrap_or_default();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Process { child, said, address, complaint, _scratch: scratch };
        match listening {
            Listening::Told => process.hear()?,
            Listening::At(address) => process.wait_for(address)?,
        }
        Ok(process)
    }

    fn hear(&mut self) -> anyhow::Result<()> {
        loop {
            let Some(line) = self.said.next() else { bail!("a program does not listen: {}", self.complaint()) };
            if let Some((_, address)) = line?.split_once("listening  ") {
                self.address = address.trim().parse()?;
                return Ok(());
            }
        }
    }

    fn wait_for(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.address = address;
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            let is_there = self.child.try_wait()?.is_none() && began.elapsed() < Duration::from_secs(30);
            ensure!(is_there, "a program does not listen: {}", self.complaint());
            #[expect(clippy::disallowed_methods, reason = "nothing else is to be done")]
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What it has said last.
    fn complaint(&self) -> String {
        // It may be dying as this is asked.
        #[expect(clippy::disallowed_methods, reason = "nothing else is to be done")]
        std::thread::sleep(Duration::from_millis(100));
        let said = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).lines().rev().take(5).collect::<Vec<_>>().join(" | ")
    }

    /// Processor time that it has used, in seconds: user and system, without children.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let stat = self.proc("stat")?;
        // The name, in parentheses, may hold anything.
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let ticks: Result<Vec<f64>, _> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect();
        // Linux tells them by the hundredth, whatever its clock does.
        Ok(ticks?.iter().sum::<f64>() / 100.0)
    }

    /// Bytes that it has given to the disk. The kernel takes a write for as large as the piece of its cache that it
    /// falls into: only none means none.
    pub(crate) fn written(&self) -> anyhow::Result<f64> {
        let io = self.proc("io")?;
        Ok(io.lines().find_map(|line| line.strip_prefix("write_bytes:")).context("no write_bytes")?.trim().parse()?)
    }

    /// A line of its status, in bytes.
    pub(crate) fn status(&self, name: &str) -> anyhow::Result<f64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a line is missing")?;
        let kib: f64 = line.trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0)
    }

    fn proc(&self, name: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{name}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("{path} cannot be read; Carport shows its own to root alone"))
    }

    /// Waits until it rests: what was answered may still be worked on.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        let (mut resting, mut before) = (0, self.cpu()?);
        // A gateway with nothing to do looks about once a second.
        for _ in 0..3_000 {
            sleep(Duration::from_millis(100)).await;
            let now = self.cpu()?;
            resting = if now - before < 0.015 { resting + 1 } else { 0 };
            before = now;
            if resting == 5 {
                return Ok(());
            }
        }
        bail!("a program does not come to rest")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How much of a log is kept.
const KEPT: usize = 4096;

/// Reads a log as a journal would, through a pipe: in a file it would count as written.
fn end_of(mut log: ChildStderr) -> Arc<Mutex<Vec<u8>>> {
    let kept = Arc::<Mutex<Vec<u8>>>::default();
    let end = kept.clone();
    std::thread::spawn(move || {
        let mut some = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = log.read(&mut some) {
            let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
            end.extend_from_slice(&some[..count]);
            let excess = end.len().saturating_sub(KEPT);
            end.drain(..excess);
        }
    });
    kept
}
