//! Errors on stderr (one line for what happened, one for what to do), and the exit code.
//!
//! ```text
//! error: guest.dmp exists
//! hint: give another name, or --force to replace it
//! ```

use std::io::{self, Write};
use std::process::ExitCode;

use core2dmp::error::{Attempt, Error};

use crate::escape::printable;
use crate::interrupt;
use crate::remedy;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library says why.
    Library(Error),
    /// The program itself refuses.
    Refused {
        /// What, in one line.
        message: String,
        /// What to do.
        hint: &'static str,
    },
}

impl Failure {
    /// The first line.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Library(error) => printable(&error.to_string()),
            Self::Refused { message, .. } => printable(message),
        }
    }

    /// The second line.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Library(error) => error.remedy().map(remedy::words),
            Self::Refused { hint, .. } => Some((*hint).to_owned()),
        }
    }

    /// What was tried.
    pub(crate) fn attempts(&self) -> &[Attempt] {
        match self {
            Self::Library(error) => error.attempts(),
            Self::Refused { .. } => &[],
        }
    }

    /// Whether the reader of our output has closed it.
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Library(Error::Io { source, .. })
            if source.kind() == io::ErrorKind::BrokenPipe)
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Library(Error::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
            _ => ExitCode::from(2),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

/// Prints a failure; the exit code that tells of it.
pub(crate) fn report(failure: &Failure, verbose: bool) -> ExitCode {
    if failure.is_broken_pipe() {
        return ExitCode::SUCCESS;
    }
    let mut text = format!("error: {}\n", failure.message());
    if verbose {
        for attempt in failure.attempts() {
            text.push_str(&format!("tried: {}\n", printable(&attempt.to_string())));
        }
    }
    if let Some(hint) = failure.hint() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    to_stderr(&text);
    failure.exit_code()
}

/// Warnings, where no report carries them.
pub(crate) fn warnings<'a>(warnings: impl IntoIterator<Item = &'a String>) {
    for warning in warnings {
        to_stderr(&format!("warning: {}\n", printable(warning)));
    }
}

/// Writes to stderr; a failure of that cannot be reported.
pub(crate) fn to_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes a result to stdout.
pub(crate) fn to_stdout(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Error::io("cannot write to standard output", e).into())
}
