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

use core2dmp::audit::check::{self, CheckReport};
use core2dmp::container::dmp::DumpFile;

use super::deep::{self, Deep};
use super::open_dump;
use crate::args::CheckArgs;
use crate::message::{Failure, Outcome, to_stdout};
use crate::render::{json, text};

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> Result<Outcome, Failure> {
    if !args.json {
        let dump = open_dump(&args.file)?;
        let report = check::check(&dump);
        let deep = go_deep(args, &dump)?;
        to_stdout(&text::check(args, &dump, &report, deep.as_ref()))?;
        return Ok(outcome(&report, deep.as_ref()));
    }
    let mut document = json::Check::new(args.file.to_string_lossy().into_owned());
    let result = open_dump(&args.file).and_then(|dump| {
        let report = check::check(&dump);
        go_deep(args, &dump).map(|deep| (report, deep))
    });
    match &result {
        Ok((report, deep)) => document.fill(report, deep.as_ref()),
        Err(failure) => document.error = Some(failure.into()),
    }
    to_stdout(&json::render(&document))?;
    result.map(|(report, deep)| outcome(&report, deep.as_ref()))
}

/// The comparison with the core, if it was asked for.
fn go_deep(args: &CheckArgs, dump: &DumpFile) -> Result<Option<Deep>, Failure> {
    let core = args.with.as_ref().filter(|_| args.deep);
    core.map(|core| deep::compare(dump, core)).transpose()
}

fn outcome(report: &CheckReport, deep: Option<&Deep>) -> Outcome {
    if report.findings.is_empty() && deep.is_none_or(Deep::is_clean) {
        Outcome::Done
    } else {
        Outcome::Findings
    }
}
