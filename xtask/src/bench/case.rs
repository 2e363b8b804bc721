//! One thing that is measured: commands, what they make, and how it is verified.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use core2dmp_synth::Guest;

use super::measure::{self, Sample};
use super::verify;
use crate::run::{Outcome, check};

/// The program under test.
pub struct Tool {
    /// Its path.
    pub program: PathBuf,
}

/// A case.
pub struct Case<'g> {
    /// For the table.
    pub name: &'static str,
    /// Program and arguments; run one after the other.
    commands: Vec<Vec<OsString>>,
    core: PathBuf,
    output: PathBuf,
    check: Check<'g>,
}

/// What a right result is.
#[derive(Clone, Copy)]
pub enum Check<'g> {
    /// A full dump of the guest.
    Dump(&'g Guest),
    /// The same, its zero pages left out of the file.
    Sparse(&'g Guest),
    /// A dump with a bitmap, of this type.
    Bitmap(&'g Guest, u32),
    /// The same bytes as the core's.
    Copy,
    /// The guest's facts on standard output.
    Facts(&'g Guest),
    /// "no Windows kernel", and exit code 2.
    NoWindows,
    /// A program that only reads.
    Nothing,
}

impl Tool {
    /// `core2dmp convert`.
    pub fn convert<'g>(
        &self,
        name: &'static str,
        core: &Path,
        options: &[&str],
        check: Check<'g>,
    ) -> Case<'g> {
        let output = core.with_extension("dmp");
        let mut command: Vec<OsString> = vec![self.program.clone().into(), "convert".into()];
        command.extend(options.iter().map(OsString::from));
        command.extend([core.into(), output.clone().into()]);
        Case::new(name, command, core, output, check)
    }

    /// A command of `core2dmp` that prints JSON, which goes to a file.
    pub fn json<'g>(
        &self,
        name: &'static str,
        words: &[&str],
        core: &Path,
        check: Check<'g>,
    ) -> Case<'g> {
        let mut command: Vec<OsString> = vec![self.program.clone().into()];
        command.extend(words.iter().map(OsString::from));
        command.extend(["--json".into(), core.into()]);
        Case::new(name, command, core, core.with_extension("json"), check)
    }
}

/// `cp` with these options, and `sync` of the copy.
pub fn copy(name: &'static str, core: &Path, options: &[&str], sync: bool) -> Case<'static> {
    let output = core.with_extension("copy");
    let mut command: Vec<OsString> = vec!["cp".into()];
    command.extend(options.iter().map(OsString::from));
    command.extend([core.into(), output.clone().into()]);
    let mut case = Case::new(name, command, core, output.clone(), Check::Copy);
    if sync {
        case.commands.push(vec!["sync".into(), output.into()]);
    }
    case
}

/// A read of the whole file and nothing else, in blocks of the size that a scan uses.
pub fn read(name: &'static str, core: &Path) -> Case<'static> {
    let mut from = OsString::from("if=");
    from.push(core);
    let command = ["dd".into(), from, "of=/dev/null".into(), "bs=256K".into()];
    let output = core.with_extension("none");
    Case::new(name, command.to_vec(), core, output, Check::Nothing)
}

impl<'g> Case<'g> {
    fn new(
        name: &'static str,
        command: Vec<OsString>,
        core: &Path,
        output: PathBuf,
        check: Check<'g>,
    ) -> Self {
        Self {
            name,
            commands: vec![command],
            core: core.to_path_buf(),
            output,
            check,
        }
    }

    /// Brings the core into the page cache; not one that is mostly a hole, of which there may be a terabyte.
    pub fn warm(&self) -> Outcome {
        let meta = self.core.metadata()?;
        if meta.blocks() * 512 < meta.len() / 4 {
            return Ok(());
        }
        io::copy(&mut File::open(&self.core)?, &mut io::sink())?;
        Ok(())
    }

    /// Runs the commands.
    pub fn run(&self) -> Outcome<Sample> {
        let (output, code) = match self.check {
            Check::Facts(_) => (Some(self.output.as_path()), 0),
            Check::NoWindows => (Some(self.output.as_path()), 2),
            _ => (None, 0),
        };
        let mut sum = Sample::default();
        for command in &self.commands {
            sum = sum.then(measure::run(command, output, code)?);
        }
        Ok(sum)
    }

    /// Looks at the result.
    pub fn verify(&self, entirely: bool) -> Outcome {
        let verified = match self.check {
            Check::Dump(guest) => verify::dump(&self.output, guest, entirely).map(|_| ()),
            Check::Sparse(guest) => verify::sparse(&self.output, guest, entirely),
            Check::Bitmap(guest, kind) => verify::bitmap(&self.output, guest, kind),
            Check::Copy => verify::copy(&self.core, &self.output),
            Check::Facts(guest) => verify::facts(&self.output, guest),
            Check::NoWindows | Check::Nothing => Ok(()),
        };
        verified.map_err(|why| format!("{}: the result is wrong: {why}", self.name).into())
    }

    /// Bytes of the result.
    pub fn size(&self) -> Outcome<u64> {
        Ok(self.output.metadata()?.len())
    }

    /// Removes the result.
    pub fn remove_output(&self) -> Outcome {
        if self.output.exists() {
            std::fs::remove_file(&self.output)?;
        }
        Ok(())
    }
}

/// Runs every case in turn, as often as asked; returns what each run of each case took.
pub fn rounds(cases: &[Case<'_>], runs: usize) -> Outcome<Vec<Vec<Sample>>> {
    let mut samples = vec![Vec::new(); cases.len()];
    for case in cases {
        case.warm()?;
    }
    for round in 0..runs {
        let mut order: Vec<usize> = (0..cases.len()).collect();
        if round % 2 == 1 {
            // What is before a case should not favour it.
            order.reverse();
        }
        for index in order {
            let case = &cases[index];
            // Lets nothing that an earlier run wrote disturb the next.
            check(&mut std::process::Command::new("sync"))?;
            samples[index].push(case.run()?);
            case.verify(round == 0)?;
            case.remove_output()?;
        }
        eprintln!("round {} of {runs} done", round + 1);
    }
    Ok(samples)
}
