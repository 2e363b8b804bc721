//! `core2dmp check`: would the debugger open this dump, and would it show the truth?
//!
//! ```text
//! $ core2dmp check new.dmp
//! new.dmp: WinDbg would refuse this dump
//!
//! Refused
//!   DumpType at 0xf98
//!     expected  0x1 (full)
//!     found     0x2
//!     WinDbg    Could not open dump file, Win32 error 0n1392: ...
//!     repair    mends it
//! ```

use core2dmp::dump::check::{self, CheckReport};

use super::open_dump;
use crate::args::CheckArgs;
use crate::message::{Failure, Outcome, to_stdout};
use crate::render::{json, text};

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> Result<Outcome, Failure> {
    if !args.json {
        let dump = open_dump(&args.file)?;
        let report = check::check(&dump);
        to_stdout(&text::check(args, &dump, &report))?;
        return Ok(outcome(&report));
    }
    let mut document = json::Check::new(args.file.to_string_lossy().into_owned());
    let result = open_dump(&args.file).map(|dump| check::check(&dump));
    match &result {
        Ok(report) => document.fill(report),
        Err(failure) => document.error = Some(failure.into()),
    }
    to_stdout(&json::render(&document))?;
    result.map(|report| outcome(&report))
}

fn outcome(report: &CheckReport) -> Outcome {
    if report.findings.is_empty() {
        Outcome::Done
    } else {
        Outcome::Findings
    }
}
