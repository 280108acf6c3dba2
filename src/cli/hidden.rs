use std::io::{self, BufRead, IsTerminal};

use anyhow::Context;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::{Exit, Failure};
use crate::model::Secret;

const CTRL_C: u8 = 3;

/// Asks for a secret of Smartcar's without showing what is typed; what copying brings along around it is taken away.
/// Nothing is an answer too.
pub(super) fn ask(question: &str) -> Result<Option<Secret>, Failure> {
    let line = ask_exactly(question)?;
    Ok(line.map(|line| Secret::new(line.expose().trim())).filter(|line| !line.expose().is_empty()))
}

/// The same to the letter, for what somebody makes up.
pub(super) fn ask_exactly(question: &str) -> Result<Option<Secret>, Failure> {
    eprint!("{question}");
    let quiet = Quiet::begin();
    let mut stdin = io::stdin().lock();
    let buffer = stdin.fill_buf().context("cannot read the answer")?;
    let end = buffer.iter().position(|byte| matches!(*byte, b'\n' | CTRL_C)).map_or(buffer.len(), |end| end + 1);
    let line = Secret::new(String::from_utf8_lossy(&buffer[..end]));
    stdin.consume(end);
    drop(quiet);
    eprintln!();
    if end == 0 || line.expose().as_bytes().contains(&CTRL_C) {
        return Err(Failure::new(Exit::Failed, "no answer: nothing was done"));
    }
    Ok(Some(line.expose().trim_end_matches(['\n', '\r'])).filter(|line| !line.is_empty()).map(Secret::new))
}

/// A terminal that does not show what is typed, until this is dropped. Ctrl-C ends the line instead of
/// the process, which would leave the terminal so.
struct Quiet {
    before: Option<Termios>,
}

impl Quiet {
    fn begin() -> Quiet {
        let stdin = io::stdin();
        let before = if stdin.is_terminal() { tcgetattr(&stdin).ok() } else { None };
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
            quiet.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
            // A terminal that cannot be quiet is used as it is.
            let _ = tcsetattr(&stdin, OptionalActions::Now, &quiet);
        }
        Quiet { before }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
