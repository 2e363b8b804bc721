//! What a program took: seconds, processor time, and the most memory that it held.
//!
//! The kernel reports the last two for children that have ended, as a sum or the most of all, and counts what the
//! parent held when it started the child. So a small process of its own (`xtask measure`) starts the program and asks.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::run::{Outcome, show};

/// What one run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Seconds by the clock.
    pub seconds: f64,
    /// Seconds of processors, in the program and in the kernel for it.
    pub cpu: f64,
    /// Peak resident memory.
    pub kib: u64,
}

impl Sample {
    /// Two programs, one after the other.
    pub fn then(self, next: Self) -> Self {
        Self {
            seconds: self.seconds + next.seconds,
            cpu: self.cpu + next.cpu,
            kib: self.kib.max(next.kib),
        }
    }
}

/// Runs a command, its standard output in a file; it has to end with `code`.
pub fn run(command: &[OsString], output: Option<&Path>, code: i32) -> Outcome<Sample> {
    let mut measure = Command::new(std::env::current_exe()?);
    measure.arg("measure");
    measure.arg(output.map_or("".as_ref(), Path::as_os_str));
    let result = measure.args(command).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&result.stdout);
    let words: Vec<&str> = text.split_whitespace().collect();
    let [found, kib, cpu, seconds] = words[..] else {
        return Err(format!("`xtask measure` said {text:?}").into());
    };
    if found.parse::<i32>()? != code {
        let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
        return Err(format!("`{}` ended with {found}, expected {code}", words.join(" ")).into());
    }
    Ok(Sample {
        seconds: seconds.parse()?,
        cpu: cpu.parse()?,
        kib: kib.parse()?,
    })
}

/// `xtask measure OUTPUT PROGRAM ARGUMENT ...`: prints exit code, peak KiB, processor seconds and seconds.
pub fn task(arguments: &[String]) -> Outcome {
    let [output, program, rest @ ..] = arguments else {
        return Err("measure what?".into());
    };
    let mut command = Command::new(program);
    command.args(rest).stderr(Stdio::null());
    if output.is_empty() {
        command.stdout(Stdio::null());
    } else {
        command.stdout(File::create(output)?);
    }
    let start = Instant::now();
    let status = command
        .status()
        .map_err(|error| format!("`{}`: {error}", show(&command)))?;
    let seconds = start.elapsed().as_secs_f64();
    let code = status
        .code()
        .ok_or_else(|| format!("`{}` {status}", show(&command)))?;
    let (kib, cpu) = children()?;
    println!("{code} {kib} {cpu:.6} {seconds:.6}");
    Ok(())
}

#[cfg(unix)]
fn children() -> Outcome<(i64, f64)> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;

    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    // macOS counts bytes.
    let kib = if cfg!(target_os = "macos") {
        usage.max_rss() / 1024
    } else {
        usage.max_rss()
    };
    Ok((kib, micros as f64 / 1e6))
}

#[cfg(not(unix))]
fn children() -> Outcome<(i64, f64)> {
    Err("memory and processor time are measured on Unix only".into())
}
