//! One thing that is measured: commands, what they make, and how it is verified.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::guests::Guests;
use super::verify;
use crate::run::{Outcome, show};

/// The program under test.
pub struct Tool {
    /// Its path.
    pub program: PathBuf,
}

/// A case.
pub struct Case {
    /// For the table.
    pub name: &'static str,
    /// Program and arguments; run one after the other.
    pub commands: Vec<Vec<OsString>>,
    core: PathBuf,
    output: PathBuf,
    check: Check,
}

/// What a right result is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// A dump of the live guest.
    Dump,
    /// The same bytes as the core's.
    Copy,
    /// The guest's facts on standard output.
    Facts,
    /// "no Windows kernel", and exit code 2.
    NoWindows,
}

/// What a case may take at most.
pub struct Bar {
    /// What is asked.
    pub name: &'static str,
    /// The case.
    pub case: usize,
    /// The case that it is compared with; without one the limit is in seconds.
    pub against: Option<usize>,
    /// The limit.
    pub limit: f64,
}

impl Bar {
    /// A bar relative to another case.
    pub const fn ratio(name: &'static str, case: usize, against: usize, limit: f64) -> Self {
        Self {
            name,
            case,
            against: Some(against),
            limit,
        }
    }

    /// A bar in seconds.
    pub const fn seconds(name: &'static str, case: usize, limit: f64) -> Self {
        Self {
            name,
            case,
            against: None,
            limit,
        }
    }
}

impl Tool {
    /// `core2dmp convert`.
    pub fn convert(&self, name: &'static str, core: &Path, options: &[&str]) -> Case {
        let output = core.with_extension("dmp");
        let mut command: Vec<OsString> = vec![self.program.clone().into(), "convert".into()];
        command.extend(options.iter().map(OsString::from));
        command.extend([core.into(), output.clone().into()]);
        Case {
            name,
            commands: vec![command],
            core: core.to_path_buf(),
            output,
            check: Check::Dump,
        }
    }

    /// `core2dmp info --json`, its output in a file.
    pub fn info(&self, name: &'static str, core: &Path, check: Check) -> Case {
        Case {
            name,
            commands: vec![vec![
                self.program.clone().into(),
                "info".into(),
                "--json".into(),
                core.into(),
            ]],
            core: core.to_path_buf(),
            output: core.with_extension("json"),
            check,
        }
    }

    /// `cp`, copying every byte, and `sync` of the copy.
    pub fn copy(&self, name: &'static str, core: &Path, sync: bool) -> Case {
        let output = core.with_extension("copy");
        let mut commands: Vec<Vec<OsString>> = vec![vec![
            "cp".into(),
            "--reflink=never".into(),
            core.into(),
            output.clone().into(),
        ]];
        if sync {
            commands.push(vec!["sync".into(), output.clone().into()]);
        }
        Case {
            name,
            commands,
            core: core.to_path_buf(),
            output,
            check: Check::Copy,
        }
    }
}

impl Case {
    /// Brings the core into the page cache.
    pub fn warm(&self) -> Outcome {
        io::copy(&mut File::open(&self.core)?, &mut io::sink())?;
        Ok(())
    }

    /// Runs the commands; returns seconds.
    pub fn time(&self) -> Outcome<f64> {
        let start = Instant::now();
        for command in &self.commands {
            let mut command = self.command(command)?;
            let status = command.status()?;
            let code = if self.check == Check::NoWindows { 2 } else { 0 };
            if status.code() != Some(code) {
                return Err(format!("`{}`: {status}, expected {code}", show(&command)).into());
            }
        }
        Ok(start.elapsed().as_secs_f64())
    }

    fn command(&self, words: &[OsString]) -> Outcome<Command> {
        let (program, arguments) = words.split_first().ok_or("an empty command")?;
        let mut command = Command::new(program);
        command.args(arguments);
        if matches!(self.check, Check::Facts | Check::NoWindows) {
            command.stdout(File::create(&self.output)?);
            command.stderr(Stdio::null());
        }
        if self.check == Check::Dump {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        Ok(command)
    }

    /// Looks at the result.
    pub fn verify(&self, guests: &Guests, entirely: bool) -> Outcome {
        let verified = match self.check {
            Check::Dump => verify::dump(&self.output, &guests.live, entirely),
            Check::Copy => verify::copy(&self.core, &self.output),
            Check::Facts => verify::facts(&self.output, &guests.live),
            Check::NoWindows => Ok(()),
        };
        verified.map_err(|why| format!("{}: the result is wrong: {why}", self.name).into())
    }

    /// Removes the result.
    pub fn remove_output(&self) -> Outcome {
        if self.output.exists() {
            std::fs::remove_file(&self.output)?;
        }
        Ok(())
    }
}
