use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::config::Mistakes;

/// How a command ends, other than well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It could not be done.
    Failed = 1,
    /// The command line does not make sense.
    Usage = 2,
    /// The configuration is wrong, or names a data directory that is not there.
    Configuration = 64,
    /// The key is wrong, or key or store are damaged.
    Damaged = 65,
    /// Smartcar cannot be reached.
    Unreachable = 69,
    /// Locked or busy: the same command may work later.
    TryAgain = 75,
}

/// Why a command ended, and with which code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What the API calls it.
    code: Option<String>,
    error: Option<anyhow::Error>,
}

impl Failure {
    /// A failure with a sentence for the user.
    pub fn new(exit: Exit, sentence: impl Into<String>) -> Failure {
        Failure { exit, code: None, error: Some(anyhow::Error::msg(sentence.into())) }
    }

    /// A failure of which everything has been said.
    pub fn silent(exit: Exit) -> Failure {
        Failure { exit, code: None, error: None }
    }

    /// The same under the API's name for it.
    pub(super) fn called(self, code: &str) -> Failure {
        Failure { code: Some(code.to_owned()), ..self }
    }

    /// Whether the API calls it so.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Says it on standard error.
    pub(super) fn report(self) -> ExitCode {
        if let Some(error) = &self.error {
            // The exit code tells the rest when nobody reads.
            let _ = writeln!(std::io::stderr(), "carport: {error:#}");
        }
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.as_ref().map_or(Ok(()), |error| write!(f, "{error:#}"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { exit: Exit::Failed, code: None, error: Some(error) }
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Failure {
        Failure { exit: Exit::Configuration, code: None, error: Some(mistakes.into()) }
    }
}
