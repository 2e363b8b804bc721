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

use core2dmp::audit::{AgainstCore, against_core};
use core2dmp::open;

use super::open_core;
use crate::args::CheckArgs;
use crate::interrupt::Interrupt;
use crate::message::{Failure, Outcome, to_stdout};
use crate::progress::Bar;
use crate::render::{json, text};

/// The dump against its core.
#[derive(Debug)]
pub(crate) struct Deep {
    /// The core, as it was given.
    pub(crate) core: String,
    /// Page by page.
    pub(crate) pages: AgainstCore,
}

impl Deep {
    /// Whether every page of the dump that the core has is the core's, or is changed on purpose.
    pub(crate) const fn is_clean(&self) -> bool {
        self.pages.is_clean()
    }
}

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> Result<Outcome, Failure> {
    if !args.json {
        let dump = open::dump(&args.file)?;
        let report = check::check(&dump);
        let deep = go_deep(args, &dump)?;
        to_stdout(&text::check(args, &dump, &report, deep.as_ref()))?;
        return Ok(outcome(&report, deep.as_ref()));
    }
    let mut document = json::Check::new(args.file.to_string_lossy().into_owned());
    let result = open::dump(&args.file)
        .map_err(Failure::from)
        .and_then(|dump| {
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
    let Some(core) = args.with.as_ref().filter(|_| args.deep) else {
        return Ok(None);
    };
    let bar = Bar::new(false, &Interrupt::install()?);
    let (guest, found) = open_core(core, &bar)?;
    Ok(Some(Deep {
        core: core.to_string_lossy().into_owned(),
        pages: against_core(dump, &guest, &found, &bar)?,
    }))
}

fn outcome(report: &CheckReport, deep: Option<&Deep>) -> Outcome {
    if report.findings.is_empty() && deep.is_none_or(Deep::is_clean) {
        Outcome::Done
    } else {
        Outcome::Findings
    }
}
