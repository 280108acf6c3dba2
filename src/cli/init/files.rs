use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::super::{Exit, Failure, Place};
use super::Answers;
use crate::model::Secret;

/// Secrets lie here, beside the configuration.
const SECRETS: &str = "secrets";

/// What was written beside the configuration.
#[derive(Debug)]
pub(super) struct Written {
    /// Where secrets lie.
    pub(super) directory: PathBuf,
    /// How many.
    pub(super) secrets: usize,
    /// Those of an earlier time that nothing names any more.
    pub(super) removed: Vec<&'static str>,
}

/// Every secret that `init` may have written.
const NAMES: [&str; 3] = ["smartcar.v3.client_secret", "smartcar.v2.client_secret", "smartcar.application_management_token"];

/// Without `--force` nothing is overwritten.
pub(super) fn refuse_to_overwrite(target: &Path, force: bool) -> Result<(), Failure> {
    if !force && target.exists() {
        let sentence = format!("{} is there already: say --force to replace it", target.display());
        return Err(Failure::new(Exit::Failed, sentence));
    }
    Ok(())
}

/// Writes the configuration and its secret files, and removes those that an earlier one has left.
pub(super) fn write(target: &Path, answers: &Answers, data_dir: Option<&Path>, system: bool) -> Result<Written, Failure> {
    let directory = target.parent().unwrap_or(Path::new("/"));
    let section = answers.section();
    let client_secret = format!("{section}.client_secret");
    let secrets = [
        (client_secret.as_str(), answers.client_secret.as_ref()),
        ("smartcar.application_management_token", answers.management_token.as_ref()),
    ];
    let secrets: Vec<(&str, &Secret)> = secrets.into_iter().filter_map(|(key, secret)| Some((key, secret?))).collect();
    let secrets_directory = directory.join(SECRETS);
    make_directory(directory, 0o755)?;
    if !secrets.is_empty() {
        make_directory(&secrets_directory, 0o700)?;
    }
    for (key, secret) in &secrets {
        write_file(&secrets_directory.join(key), &format!("{}\n", secret.expose()), 0o600)?;
    }
    // The service's user must be able to read what root wrote; no secret stands in it.
    write_file(target, &text(answers, data_dir, system), if system { 0o644 } else { 0o600 })?;
    // Last: until now the old configuration may have needed them.
    let is_left =
        |name: &&&str| secrets.iter().all(|(key, _)| *key != **name) && fs::remove_file(secrets_directory.join(name)).is_ok();
    let removed = NAMES.iter().filter(is_left).copied().collect();
    Ok(Written { removed, secrets: secrets.len(), directory: secrets_directory })
}

/// The configuration's text.
fn text(answers: &Answers, data_dir: Option<&Path>, system: bool) -> String {
    let mut text = String::from("# Written by carport init. config.example.toml explains every key.\n\n");
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key} = {}", quoted(value));
    };
    line("public_url", &answers.public_url);
    if let Some(path) = data_dir {
        line("data_dir", &path.to_string_lossy());
    }
    if let Some(listen) = answers.listen() {
        line("listen", &listen);
    }
    if system && answers.takes_ports() && answers.tls.as_deref() != Some("acme") {
        // The socket opens it as well; with ACME it is the default.
        line("tls.http_listen", "[::]:80");
    }
    let transport =
        [("tls.mode", &answers.tls), ("tls.acme.email", &answers.acme_email), ("trusted_proxies", &answers.trusted_proxy)];
    for (key, value) in transport {
        if let Some(value) = value {
            line(key, value);
        }
    }
    line("smartcar.mode", answers.mode.as_deref().unwrap_or("live"));
    if let Some(id) = &answers.application_id {
        line("smartcar.application_id", id);
    }
    if answers.management_token.is_some() {
        line("smartcar.application_management_token_file", "secrets/smartcar.application_management_token");
    }
    if let Some(id) = &answers.client_id {
        let section = answers.section();
        line(&format!("{section}.client_id"), id);
        line(&format!("{section}.client_secret_file"), &format!("{SECRETS}/{section}.client_secret"));
    }
    text
}

/// A TOML string. What JSON escapes, TOML understands; the one character that JSON leaves is DEL.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

pub(super) fn make_directory(path: &Path, mode: u32) -> Result<(), Failure> {
    let outcome = DirBuilder::new().recursive(true).mode(mode).create(path);
    Ok(outcome.with_context(|| format!("cannot make {}", path.display()))?)
}

/// Writes a file whole or not at all, never readable by more than `mode` says.
pub(super) fn write_file(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let cannot = || format!("cannot write {}", path.display());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // Left behind by an attempt before; create_new then makes sure that the mode is ours.
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).with_context(cannot)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(cannot)?;
    Ok(fs::rename(&beside, path).with_context(cannot)?)
}

/// A secret from a file, or from standard input (`-`).
pub(super) fn read_secret(path: &Path, place: &Place) -> Result<Secret, Failure> {
    let cannot = || format!("cannot read the secret in {}", path.display());
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).with_context(cannot)?;
    } else {
        text = fs::read_to_string(place.directory.join(path)).with_context(cannot)?;
    }
    match text.trim() {
        "" => Err(Failure::new(Exit::Usage, format!("{} is empty", path.display()))),
        secret => Ok(Secret::new(secret)),
    }
}
