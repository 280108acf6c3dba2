//! What `init --system` sets up besides the configuration: the user that Carport runs as, what that user must own, and
//! the units of systemd.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::files::{make_directory, write_file};
use super::{Exit, Failure};

const USER: &str = "carport";
pub(super) const CONFIGURATION: &str = "/etc/carport/config.toml";
pub(super) const DATA: &str = "/var/lib/carport";
const PROGRAM: &str = "/usr/local/bin/carport";
const UNITS: &str = "/etc/systemd/system";
const SERVICE: (&str, &str) = ("carport.service", include_str!("../../../examples/systemd/carport.service"));
const SOCKET: (&str, &str) = ("carport.socket", include_str!("../../../examples/systemd/carport.socket"));
const USERADD: &[&str] = &["useradd", "--system", "--user-group", "--home-dir", DATA, "--shell", "/usr/sbin/nologin", USER];

/// Refuses whoever may not do it, before anybody has typed a secret.
pub(super) fn refuse_others() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, "--system makes a user and writes to /etc: say it as root (sudo carport init --system)"))
}

/// Refuses other places than those that the units name.
pub(super) fn refuse_other_places(config: Option<&Path>, data_dir: Option<&Path>) -> Result<(), Failure> {
    let is_other = |given: Option<&Path>, own: &str| given.is_some_and(|given| given != Path::new(own));
    if is_other(config, CONFIGURATION) || is_other(data_dir, DATA) {
        let sentence =
            format!("--system sets up {CONFIGURATION} and {DATA}, which its units name: leave --config and --data-dir out");
        return Err(Failure::new(Exit::Usage, sentence));
    }
    Ok(())
}

/// Makes the user if there is none, gives it its data directory and `secrets`, and writes the units: the socket too where
/// Carport is to take the ports below 1024. Returns what is left to do, as commands.
pub(super) fn install(secrets: &Path, takes_ports: bool, force: bool) -> Result<Vec<String>, Failure> {
    let (uid, gid) = match user() {
        Some(ids) => ids,
        None => make_user()?,
    };
    let data = Path::new(DATA);
    make_directory(data, 0o700)?;
    let entries = fs::read_dir(secrets).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in [data.to_owned(), secrets.to_owned()].into_iter().chain(entries).filter(|path| path.exists()) {
        chown(&path, Some(uid), Some(gid)).with_context(|| format!("cannot give {} to {USER}", path.display()))?;
    }
    let mut left = Vec::new();
    if !Path::new(PROGRAM).exists() {
        let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("carport"));
        left.push(format!("sudo install -m 755 {} {PROGRAM}", own.display()));
    }
    if !Path::new(UNITS).is_dir() {
        left.push(format!("let your service manager run, as {USER}: {PROGRAM} serve --config {CONFIGURATION}"));
        return Ok(left);
    }
    let units = if takes_ports { &[SERVICE, SOCKET][..] } else { &[SERVICE] };
    let is_there = Path::new(UNITS).join(SERVICE.0).exists();
    for (name, text) in units {
        let (path, text) = (Path::new(UNITS).join(name), unit(text));
        let there = fs::read_to_string(&path).ok();
        if force || there.as_ref().is_none_or(|there| *there == text) {
            write_file(&path, &text, 0o644)?;
        } else {
            eprintln!("{} is there and differs: it stays as it is; --force replaces it", path.display());
        }
    }
    left.push("sudo systemctl daemon-reload".to_owned());
    // Of an earlier set-up: it would go on to hold the ports.
    if !takes_ports && Path::new(UNITS).join(SOCKET.0).exists() {
        left.push(format!("sudo systemctl disable --now {}", SOCKET.0));
    }
    if is_there {
        // It may run: with what was configured before, and in the way of the socket.
        left.push("sudo systemctl stop carport".to_owned());
    }
    let names = units.iter().rev().map(|(name, _)| name.trim_end_matches(".service")).collect::<Vec<_>>().join(" ");
    left.push(format!("sudo systemctl enable --now {names}"));
    left.push("sudo -u carport carport login".to_owned());
    Ok(left)
}

/// The unit without what its first lines tell whoever copies it by hand.
fn unit(text: &str) -> String {
    let body = text.find("[Unit]").map_or(text, |start| &text[start..]);
    format!("# Written by carport init --system; changes belong into `systemctl edit`.\n{body}")
}

/// Number and group of Carport's user, if the machine's own list (`passwd(5)`) has it.
fn user() -> Option<(u32, u32)> {
    let list = fs::read_to_string("/etc/passwd").ok()?;
    let line = list.lines().find(|line| line.strip_prefix(USER).is_some_and(|rest| rest.starts_with(':')))?;
    let mut numbers = line.split(':').skip(2).map_while(|field| field.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

fn make_user() -> Result<(u32, u32), Failure> {
    let failed = |why: String| {
        let words = USERADD.join(" ");
        Failure::new(
            Exit::Failed,
            format!("the user {USER} cannot be made ({why}): make it ({words}), then say this again with --force"),
        )
    };
    let made = Command::new(USERADD[0]).args(&USERADD[1..]).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match made {
        Ok(status) if status.success() => user().ok_or_else(|| failed("it is not in /etc/passwd".to_owned())),
        Ok(status) => Err(failed(format!("useradd: {status}"))),
        Err(error) => Err(failed(format!("useradd: {error}"))),
    }
}
