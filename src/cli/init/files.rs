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

/// Without `--force` nothing is overwritten.
pub(super) fn refuse_to_overwrite(target: &Path, force: bool) -> Result<(), Failure> {
    if !force && target.exists() {
        let sentence = format!("{} is there already: say --force to replace it", target.display());
        return Err(Failure::new(Exit::Failed, sentence));
    }
    Ok(())
}

/// Writes the configuration and its secret files; says how many of these.
pub(super) fn write(target: &Path, answers: &Answers, data_dir: Option<&Path>, system: bool) -> Result<usize, Failure> {
    let directory = target.parent().unwrap_or(Path::new("/"));
    let section = answers.section();
    let client_secret = format!("{section}.client_secret");
    let secrets = [
        (client_secret.as_str(), answers.client_secret.as_ref()),
        ("smartcar.application_management_token", answers.management_token.as_ref()),
    ];
    let secrets: Vec<(&str, &Secret)> = secrets.into_iter().filter_map(|(key, secret)| Some((key, secret?))).collect();
    make_directory(directory, 0o755)?;
    if !secrets.is_empty() {
        make_directory(&directory.join(SECRETS), 0o700)?;
    }
    for (key, secret) in &secrets {
        write_file(&directory.join(SECRETS).join(key), &format!("{}\n", secret.expose()), 0o600)?;
    }
    // The service's user must be able to read what root wrote; no secret stands in it.
    write_file(target, &text(answers, data_dir), if system { 0o644 } else { 0o600 })?;
    Ok(secrets.len())
}

/// The configuration's text.
fn text(answers: &Answers, data_dir: Option<&Path>) -> String {
    let mut text = String::from("# Written by carport init. config.example.toml explains every key.\n\n");
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key} = {}", quoted(value));
    };
    line("public_url", &answers.public_url);
    if let Some(path) = data_dir {
        line("data_dir", &path.to_string_lossy());
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

fn make_directory(path: &Path, mode: u32) -> Result<(), Failure> {
    let outcome = DirBuilder::new().recursive(true).mode(mode).create(path);
    Ok(outcome.with_context(|| format!("cannot make {}", path.display()))?)
}

/// Writes a file whole or not at all, never readable by more than `mode` says.
fn write_file(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
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
