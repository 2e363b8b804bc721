//! The most memory that a program held.
//!
//! The kernel tells it of children that have ended, as the most of any of them, and counts what the parent held when
//! it started the child. So a small process of its own (`xtask measure`) starts the program and asks.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use crate::run::{Outcome, show};

/// Runs a command and returns its peak resident memory in KiB. It has to end with one of `codes`.
pub fn resident_kib(command: &[OsString], codes: &[i32]) -> Outcome<u64> {
    let output = Command::new(std::env::current_exe()?)
        .arg("measure")
        .args(command)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace().map(str::parse::<i64>);
    let (Some(Ok(code)), Some(Ok(kib))) = (words.next(), words.next()) else {
        return Err(format!("`xtask measure` said {text:?}").into());
    };
    if !codes.iter().any(|expected| i64::from(*expected) == code) {
        return Err(format!("{} ended with {code}", command[0].to_string_lossy()).into());
    }
    Ok(u64::try_from(kib)?)
}

/// `xtask measure PROGRAM ARGUMENT ...`: prints the program's exit code and its peak resident memory in KiB.
pub fn task(arguments: &[String]) -> Outcome {
    let (program, rest) = arguments.split_first().ok_or("measure what?")?;
    let mut command = Command::new(program);
    command
        .args(rest)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = command.status()?;
    let code = status
        .code()
        .ok_or_else(|| format!("`{}` {status}", show(&command)))?;
    println!("{code} {}", children_kib()?);
    Ok(())
}

#[cfg(unix)]
fn children_kib() -> Outcome<i64> {
    use nix::sys::resource::{UsageWho, getrusage};

    let most = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    // macOS counts bytes.
    Ok(if cfg!(target_os = "macos") {
        most / 1024
    } else {
        most
    })
}

#[cfg(not(unix))]
fn children_kib() -> Outcome<i64> {
    Err("peak memory is measured on Unix only".into())
}
