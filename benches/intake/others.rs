//! What a user would write instead, in `others/`, with what it needs: from npm, PyPI and Debian, fetched once into the
//! build's own directory. What cannot be had is no error of the benchmark: its rows are skipped.

use std::cell::OnceCell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, ensure};

use crate::requests::TOKEN;

/// A program of others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Other {
    /// Express 5, the npm SDK and better-sqlite3.
    Express,
    /// FastAPI, the PyPI SDK and sqlite3.
    FastApi,
    /// Debian's `webhook` and a script.
    Webhook,
}

impl Other {
    /// Files of its own; what is fetched is fetched anew when the first one changes.
    fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Other::Express => &[
                ("package.json", include_str!("others/express/package.json")),
                ("server.js", include_str!("others/express/server.js")),
            ],
            Other::FastApi => &[
                ("requirements.txt", include_str!("others/fastapi/requirements.txt")),
                ("server.py", include_str!("others/fastapi/server.py")),
            ],
            Other::Webhook => &[
                ("hooks.json", include_str!("others/webhook/hooks.json")),
                ("append.sh", include_str!("others/webhook/append.sh")),
            ],
        }
    }

    /// Fetches what it needs into a directory that holds its files.
    fn fetch(self, into: &Path) -> anyhow::Result<()> {
        match self {
            Other::Express => run("npm", &["install", "--no-audit", "--no-fund"], into),
            Other::FastApi => {
                run("python3", &["-m", "venv", "venv"], into)?;
                run("venv/bin/pip", &["install", "--quiet", "--requirement", "requirements.txt"], into)
            }
            Other::Webhook => {
                run("apt-get", &["download", "webhook"], into)?;
                let package = fs::read_dir(into)?.filter_map(Result::ok).map(|file| file.path());
                let package = package.filter(|path| path.extension().is_some_and(|kind| kind == "deb")).max();
                let package = package.context("apt-get has left no package")?;
                run("dpkg-deb", &["--extract", &package.to_string_lossy(), "."], into)?;
                run("chmod", &["+x", "append.sh"], into)
            }
        }
    }

    /// Its command, to be run in any directory. It listens at `address`, and each of its flushes takes so much longer.
    fn command(self, home: &Path, address: SocketAddr, delay_ms: u64) -> Command {
        let port = address.port().to_string();
        let at = |name: &str| home.join(name);
        let mut command = match self {
            Other::Express => {
                let mut command = Command::new("node");
                command.arg(at("server.js")).env("NODE_ENV", "production");
                command
            }
            Other::FastApi => {
                let mut command = Command::new(at("venv/bin/uvicorn"));
                command.arg("server:app").arg("--app-dir").arg(home).args(["--port", &port, "--log-level", "warning"]);
                command
            }
            Other::Webhook => {
                let mut command = Command::new(at("usr/bin/webhook"));
                command.arg("-hooks").arg(at("hooks.json")).env("APPEND", at("append.sh"));
                command.args(["-template", "-ip", "127.0.0.1", "-port", &port, "-urlprefix", "api/webhooks"]);
                command
            }
        };
        command.env("PORT", &port).env("SMARTCAR_TOKEN", TOKEN).env("FLUSH_DELAY_MS", delay_ms.to_string());
        command
    }
}

/// Where they are.
#[derive(Debug, Default)]
pub(crate) struct Others {
    homes: [OnceCell<Result<PathBuf, String>>; 3],
}

impl Others {
    /// Why one cannot be had, if so. Fetches it at the first call.
    pub(crate) fn missing(&self, other: Other) -> Option<String> {
        self.home(other).as_ref().err().cloned()
    }

    /// How one is started.
    pub(crate) fn command(&self, other: Other, address: SocketAddr, delay_ms: u64) -> anyhow::Result<Command> {
        let home = self.home(other).as_ref().map_err(|why| anyhow!("{other:?} cannot be had: {why}"))?;
        Ok(other.command(home, address, delay_ms))
    }

    fn home(&self, other: Other) -> &Result<PathBuf, String> {
        self.homes[other as usize].get_or_init(|| have(other).map_err(|error| format!("{error:#}")))
    }
}

fn have(other: Other) -> anyhow::Result<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("intake-{other:?}").to_lowercase());
    fs::create_dir_all(&home)?;
    for (name, text) in other.files() {
        fs::write(home.join(name), text)?;
    }
    let (fetched, wanted) = (home.join("fetched"), other.files().first().map_or("", |(_, text)| *text));
    if fs::read_to_string(&fetched).is_ok_and(|fetched| fetched == wanted) {
        return Ok(home);
    }
    other.fetch(&home)?;
    fs::write(fetched, wanted)?;
    Ok(home)
}

fn run(program: &str, arguments: &[&str], directory: &Path) -> anyhow::Result<()> {
    // A path is taken from here, a name is searched for.
    let program = if program.contains('/') { directory.join(program) } else { PathBuf::from(program) };
    let mut command = Command::new(&program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    let ended = command.output().with_context(|| format!("there is no {}", program.display()))?;
    let complaint = String::from_utf8_lossy(&ended.stderr);
    let last = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    ensure!(ended.status.success(), "{} {}: {last}", program.display(), arguments.join(" "));
    Ok(())
}
