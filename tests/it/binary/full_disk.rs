//! A disk that fills up or becomes read-only under load: what was acknowledged stays, and all is well again when the
//! cause is gone.
//!
//! The disk is a small file system in memory. Who may not mount one does it as root of a namespace of one's
//! own, where the story is told once more.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::http::Line;
use super::load::{self, Chance};
use super::process::{Home, Server, breath, until};

#[tokio::test]
async fn a_full_disk_costs_no_acknowledged_event() {
    let Some(disk) = SmallDisk::mount(16, "a_full_disk_costs_no_acknowledged_event") else { return };
    load::configure(&disk.home, "[store]\nmin_free = \"0\"\n");
    let token = disk.home.token().await;
    let mut server = Server::start(&disk.home).await;
    let ledger = Arc::new(Ledger::new(20_000));
    let senders = Senders::start(&server, &ledger);
    ledger.take_some_more("to begin with").await;
    // Whatever grows next has no place left: the journal, the tables, or either when a checkpoint is made.
    for spare in [0, 64 << 10, 700 << 10, 2 << 20] {
        disk.fill(spare);
        ledger.refuse_some_more().await;
        assert_eq!(server.get("/healthz", "").await.status, 200);
        let emptied = Instant::now();
        disk.empty();
        ledger.take_some_more("after there was room again").await;
        let took = emptied.elapsed();
        println!("with {spare} spare bytes: {} acknowledged, taken again after {took:?}", ledger.acknowledged().len());
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    let ballast = disk.fill(0);
    ledger.refuse_some_more().await;
    senders.stop().await;

    let failures = server.program.stderr().matches("a commit failed").count();
    assert!(failures >= 5, "only {failures} commits failed");

    // Killed on a full disk: it opens when there is room.
    server.program.signal(Signal::KILL);
    assert_eq!(server.program.end().await.signal, Some(9));
    disk.empty();
    server = Server::start(&disk.home).await;
    ledger.settle(&server, &token).await;
    let mut line = Line::open(server.address).await.unwrap();
    for (number, seq) in ledger.acknowledged().into_iter().step_by(4) {
        let answer = load::post(&mut line, number, &ledger.filler).await.unwrap();
        assert_eq!(load::receipt(&answer), ("duplicate".to_owned(), seq));
    }
    println!("the last ballast had {ballast} bytes; {} refusals in all", ledger.state().refused);
    server.stop().await;
}

/// As kernels make a file system read-only that has shown errors.
#[tokio::test]
async fn a_read_only_disk_costs_no_acknowledged_event() {
    let Some(disk) = SmallDisk::mount(16, "a_read_only_disk_costs_no_acknowledged_event") else { return };
    load::configure(&disk.home, "[store]\nmin_free = \"0\"\n");
    let token = disk.home.token().await;
    let server = Server::start(&disk.home).await;
    let ledger = Arc::new(Ledger::new(20_000));
    let senders = Senders::start(&server, &ledger);
    ledger.take_some_more("to begin with").await;
    // While a file is open for writing the kernel declines: a full disk makes the store close its files.
    disk.fill(0);
    ledger.refuse_some_more().await;
    until("the disk to be read-only", async || disk.remount("ro,size=64m").ok()).await;
    assert!(disk.free() > 32 << 20, "it must be refused for no other reason");
    ledger.refuse_some_more().await;
    assert_eq!(server.get("/healthz", "").await.status, 200);
    assert_eq!(server.get("/readyz", "").await.status, 503);
    let mended = Instant::now();
    disk.remount("rw").unwrap();
    ledger.take_some_more("after it could be written again").await;
    let took = mended.elapsed();
    println!("taken again after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    senders.stop().await;
    ledger.settle(&server, &token).await;
    server.stop().await;
}

#[tokio::test]
async fn deliveries_are_refused_before_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount(48, "deliveries_are_refused_before_the_disk_is_full") else { return };
    load::configure(&disk.home, "");
    let token = disk.home.token().await;
    let server = Server::start(&disk.home).await;
    let ledger = Arc::new(Ledger::new(2_000));
    let senders = Senders::start(&server, &ledger);
    ledger.take_some_more("to begin with").await;
    disk.fill(15 << 20);
    ledger.refuse_some_more().await;
    let ready = server.get("/readyz", "").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("store.min_free"), "{}", ready.text());
    // A checkpoint may be under way when it is seen.
    assert!(disk.free() > 8 << 20, "{} bytes are left", disk.free());
    // Whatever makes room must work.
    disk.home.done(&["users", "add", "ada"]).await;
    disk.home.done(&["users", "remove", "ada", "--yes"]).await;
    let emptied = Instant::now();
    disk.empty();
    ledger.take_some_more("after there was room again").await;
    let took = emptied.elapsed();
    println!("taken again after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    senders.stop().await;
    ledger.settle(&server, &token).await;
    let ran = server.stop().await;
    for (line, times) in [("the disk is nearly full", 1), ("the disk has room again", 1), ("a commit failed", 0)] {
        assert_eq!(ran.stderr.matches(line).count(), times, "{line}: {}", ran.stderr);
    }
}

/// A file system of a few megabytes under the data directory of a home.
struct SmallDisk {
    home: Home,
}

impl SmallDisk {
    /// `None` if the story was told elsewhere: in a namespace of its own, where mounting is allowed.
    fn mount(megabytes: u32, story: &str) -> Option<SmallDisk> {
        let home = Home::new();
        std::fs::create_dir(home.data()).unwrap();
        let options = format!("size={megabytes}m,mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "carport-test"]).arg(home.data());
        let Err(why) = succeeds(&mut mount) else { return Some(SmallDisk { home }) };
        assert!(std::env::var_os(INSIDE).is_none(), "this test needs a small file system, but: {why}");
        let story = format!("{}::{story}", module_path!().split_once("::").unwrap().1);
        let mut again = Command::new("unshare");
        again.arg("-rm").arg(std::env::current_exe().unwrap()).args(["--exact", &story, "--nocapture"]).env(INSIDE, "1");
        let inside = succeeds(&mut again);
        inside.unwrap_or_else(|inside| panic!("this test needs a small file system, but: {why}; and in a namespace: {inside}"));
        None
    }

    fn ballast(&self) -> PathBuf {
        self.home.data().join("ballast")
    }

    /// Fills the disk up, but for so many bytes. Returns the size of the ballast.
    fn fill(&self, spare: u64) -> u64 {
        let mut file = OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        let full = loop {
            if let Err(error) = file.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let size = file.metadata().unwrap().len();
        assert!(size > spare, "there were only {size} bytes left");
        file.set_len(size - spare).unwrap();
        size - spare
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn remount(&self, options: &str) -> Result<(), String> {
        succeeds(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.home.data()))
    }

    fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.home.data()).unwrap();
        disk.f_bavail * disk.f_frsize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a story that failed may have left a server there.
        let _ = succeeds(Command::new("umount").arg("--lazy").arg(self.home.data()));
    }
}

/// Says in the environment that there is nowhere else to try.
const INSIDE: &str = "CARPORT_TEST_INSIDE";

fn succeeds(command: &mut Command) -> Result<(), String> {
    let ran = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let (out, said) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    print!("{out}");
    if ran.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", said.trim())) }
}

/// What was sent, and what became of it.
struct Ledger {
    filler: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u32,
    acknowledged: BTreeMap<u32, u64>,
    /// Sent, but not acknowledged when it was time to stop.
    unanswered: Vec<u32>,
    /// How many each sender has brought in.
    taken: [u32; CONNECTIONS],
    refused: u32,
}

impl Ledger {
    fn new(length: usize) -> Ledger {
        Ledger { filler: Chance::new().text(length), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn pick(&self) -> u32 {
        let mut state = self.state();
        state.next += 1;
        state.next
    }

    fn acknowledge(&self, number: u32, (status, seq): (String, u64)) {
        // Refused at first, it may have been written all the same.
        assert!(status == "accepted" || status == "duplicate", "{status}");
        assert_eq!(self.state().acknowledged.insert(number, seq), None);
    }

    fn acknowledged(&self) -> BTreeMap<u32, u64> {
        self.state().acknowledged.clone()
    }

    fn unanswered(&self) -> Vec<u32> {
        std::mem::take(&mut self.state().unanswered)
    }

    /// Brings in what was not answered; then the log holds what was acknowledged and nothing else.
    async fn settle(&self, server: &Server, token: &str) {
        let mut line = Line::open(server.address).await.unwrap();
        for number in self.unanswered() {
            let answer = load::post(&mut line, number, &self.filler).await.unwrap();
            self.acknowledge(number, load::receipt(&answer));
        }
        load::holds_exactly(server, token, &self.acknowledged()).await;
    }

    /// Waits until each sender has brought in another one.
    async fn take_some_more(&self, when: &str) {
        let before = self.state().taken;
        let all = async || self.state().taken.iter().zip(before).all(|(now, before)| *now > before).then_some(());
        until(&format!("deliveries to be taken {when}"), all).await;
    }

    /// Waits for some refusals.
    async fn refuse_some_more(&self) {
        let before = self.state().refused;
        until("deliveries to be refused", async || (self.state().refused >= before + 8).then_some(())).await;
    }
}

/// Senders that come again with what was refused, as Smartcar does, but at once.
struct Senders {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
}

impl Senders {
    fn start(server: &Server, ledger: &Arc<Ledger>) -> Senders {
        let stop = Arc::new(AtomicBool::new(false));
        let sender = |place| send(server.address, ledger.clone(), stop.clone(), place);
        Senders { tasks: (0..CONNECTIONS).map(sender).collect(), stop }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

async fn send(address: SocketAddr, ledger: Arc<Ledger>, stop: Arc<AtomicBool>, place: usize) {
    let mut line = Line::open(address).await.unwrap();
    while !stop.load(Ordering::Relaxed) {
        let number = ledger.pick();
        loop {
            let answer = load::post(&mut line, number, &ledger.filler).await.unwrap();
            if answer.status == 200 {
                ledger.acknowledge(number, load::receipt(&answer));
                ledger.state().taken[place] += 1;
                break;
            }
            assert_eq!(answer.status, 503, "{}", answer.text());
            ledger.state().refused += 1;
            if stop.load(Ordering::Relaxed) {
                ledger.state().unanswered.push(number);
                return;
            }
            breath(0).await;
        }
    }
}

const CONNECTIONS: usize = 4;
