//! Starting the program, reading what it says, and ending it. Nothing here sleeps for a fixed time: every
//! wait looks again and again, and gives up in the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::http::{Answer, Line, Say};

/// A folder of its own, gone at the end.
#[derive(Debug)]
pub(crate) struct Home(pub(crate) PathBuf);

impl Home {
    pub(crate) fn new() -> Home {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("carport-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Home(path.canonicalize().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("carport-data")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("carport-data/carport.redb")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.path("carport-data/master.key")
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        chmod(&self.path(name), 0o600);
    }

    /// The program, in this folder and without anybody's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carport"));
        command.args(arguments).current_dir(&self.0).env_clear().stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        Program::start(self.command(arguments)).end().await
    }

    /// Runs a command that must do well, and returns what it printed.
    pub(crate) async fn done(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments).await;
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:#?}");
        ran.stdout.trim_end().to_owned()
    }

    /// As [`Home::done`], with `--json`.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.done(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{arguments:?} printed {printed:?}"))
    }

    /// A token that may do everything.
    pub(crate) async fn token(&self) -> String {
        // Without a configuration, only a server begins a store.
        if !self.path("config.toml").exists() {
            self.write("config.toml", "");
        }
        self.done(&["token", "create", "--name", "test", "--scope", "admin"]).await
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Shows a figure that was measured; `tests/run` collects them.
pub(crate) fn figure(text: &str) {
    println!("{text}");
    if let Some(path) = std::env::var_os("CARPORT_FIGURES") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        std::io::Write::write_all(&mut file.unwrap(), format!("{text}\n").as_bytes()).unwrap();
    }
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The files of a directory, without sockets.
pub(crate) fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().filter_map(Result::ok);
    // One may go while this looks.
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, std::fs::read(entry.path()).ok()?))).collect()
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// None: by a signal.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// What it says to people on standard error: everything but the log.
    pub(crate) fn complaint(&self) -> String {
        self.stderr.lines().filter(|line| !line.starts_with("{\"timestamp\"")).fold(String::new(), |mut text, line| {
            writeln!(text, "{line}").unwrap();
            text
        })
    }
}

/// What was said so far on one stream.
#[derive(Debug)]
struct Said {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Said {
    fn listen(mut stream: impl Read + Send + 'static) -> Said {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut part) {
                kept.lock().unwrap().extend_from_slice(&part[..count]);
            }
        });
        Said { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}

/// A running program. It is killed when this goes.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    stdout: Said,
    stderr: Said,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Program {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Said::listen(child.stdout.take().unwrap());
        let stderr = Said::listen(child.stderr.take().unwrap());
        Program { child, stdout, stderr }
    }

    /// Starts it with nobody left to read what it says.
    pub(crate) fn unheard(mut command: Command) -> Program {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        Program { child, stdout: Said::listen(std::io::empty()), stderr: Said::listen(std::io::empty()) }
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How much memory it has, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has said something on standard output.
    pub(crate) async fn says<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        for looks in 0..PATIENCE {
            // Looked at before: what it said before its end counts.
            let running = self.is_running();
            if let Some(found) = find(&self.stdout()) {
                return found;
            }
            assert!(running, "it ended before it said {what}: {}{}", self.stdout(), self.stderr());
            breath(looks).await;
        }
        panic!("it never said {what}: {}{}", self.stdout(), self.stderr());
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        for looks in 0..PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            breath(looks).await;
        }
        panic!("it does not end: {}{}", self.stdout(), self.stderr());
    }

    /// Waits for its end, and takes everything it said.
    pub(crate) async fn end(mut self) -> Ran {
        let status = self.ended().await;
        let (stdout, stderr) = (self.stdout.whole(), self.stderr.whole());
        Ran { code: status.code(), signal: status.signal(), stdout, stderr }
    }

    /// Asks it to stop, and waits for its end.
    pub(crate) async fn stop(self) -> Ran {
        self.signal(Signal::TERM);
        self.end().await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `carport serve`.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    /// How often `/readyz` was asked before it said yes.
    pub(crate) polls: u32,
}

impl Server {
    /// Starts it in `home` on a free port, and waits until it is ready.
    pub(crate) async fn start(home: &Home) -> Server {
        Server::of(home.command(SERVE)).await
    }

    /// Waits until a `serve` is ready.
    pub(crate) async fn of(command: Command) -> Server {
        let mut program = Program::start(command);
        let address = program.says("where it listens", |text| {
            // The line is whole when the next one has begun.
            let (_, rest) = text.split_once("listening  ")?;
            rest.split_once('\n')?.0.split([',', ' ']).next()?.parse().ok()
        });
        let address = address.await;
        let mut server = Server { program, address, polls: 0 };
        while server.is_not_ready().await {
            assert!(server.polls < 200, "it is not ready");
            breath(server.polls).await;
        }
        server
    }

    async fn is_not_ready(&mut self) -> bool {
        self.polls += 1;
        self.get("/readyz", "").await.status != 200
    }

    /// As people write it.
    pub(crate) fn origin(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(&self, say: Say) -> Answer {
        Line::open(self.address).await.unwrap().send(say).await.unwrap()
    }

    /// Gets something; with a token if there is one.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Say::get(path).token(token)).await
    }

    /// Asks it to stop, and checks that it ended well.
    pub(crate) async fn stop(self) -> Ran {
        let ran = self.program.stop().await;
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        ran
    }
}

/// `serve` on a free port.
pub(crate) const SERVE: &[&str] = &["serve", "--listen", "127.0.0.1:0"];

/// A short wait before looking again, longer after many looks.
pub(crate) async fn breath(looks: u32) {
    tokio::time::sleep(Duration::from_millis(if looks < 100 { 10 } else { 200 })).await;
}

/// Looks again and again until there is something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    for looks in 0..PATIENCE {
        if let Some(found) = look().await {
            return found;
        }
        breath(looks).await;
    }
    panic!("waited in vain for {what}");
}

/// How often is looked before something counts as never.
const PATIENCE: u32 = 400;
