//! `cargo xtask fuzz [--seconds N] [TARGET ...]`: the targets of `fuzz/` under libFuzzer, without another tool.
//!
//! ```text
//! rustc's coverage passes (stable) --> core2dmp-fuzz --one process per target--> corpus under target/fuzz
//!                                                       \--what fails--> fuzz/regressions/TARGET
//! ```
//!
//! An input that takes longer than 5 s or more than 512 MiB fails as a panic does. What was learned stays in the target
//! folder; `--minimise` copies as little of it as gives the same coverage into `fuzz/corpus`, 40 inputs of
//! each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use core2dmp_fuzz::{TARGETS, Target};

use crate::run::{Outcome, cargo, check, root, show, target_dir};
use crate::supply;

/// libFuzzer's switches for coverage, by which it chooses inputs.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];
/// Inputs of a target that are committed, of all sizes: what is not among them a run finds again in seconds.
const MOST: usize = 40;
/// Bytes of an input that is committed.
const SMALL: u64 = 4 << 10;

struct Arguments {
    seconds: u64,
    minimise: bool,
    targets: Vec<&'static Target>,
}

/// Builds and runs.
pub fn task(arguments: &[String]) -> Outcome {
    let arguments = parse(arguments)?;
    let program = build()?;
    let mut failed = Vec::new();
    for target in &arguments.targets {
        let outcome = if arguments.minimise {
            minimise(&program, target)
        } else {
            fuzz(&program, target, arguments.seconds)
        };
        if let Err(error) = outcome {
            eprintln!("==> {}: {error}", target.name);
            failed.push(target.name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("failed: {}; see fuzz/regressions", failed.join(", ")).into())
}

/// A second a target, or why there is none.
pub fn short() -> Outcome<String> {
    if cfg!(windows) || !cxx_works() {
        let why = "SKIPPED, no C++ compiler for libFuzzer (c++)";
        eprintln!("==> fuzzing: {why}");
        return Ok(why.to_owned());
    }
    task(&["--seconds".to_owned(), "2".to_owned()])?;
    Ok("ok".to_owned())
}

fn cxx_works() -> bool {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let output = Command::new(compiler).arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}

fn parse(arguments: &[String]) -> Outcome<Arguments> {
    let mut parsed = Arguments {
        seconds: 60,
        minimise: false,
        targets: Vec::new(),
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let seconds = rest.next().and_then(|value| value.parse().ok());
                parsed.seconds = seconds.ok_or("--seconds wants a number")?;
            }
            "--minimise" => parsed.minimise = true,
            name => {
                let target = TARGETS.iter().find(|target| target.name == name);
                let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                let names = names.join(", ");
                parsed
                    .targets
                    .push(target.ok_or_else(|| format!("no target {name}; there are {names}"))?);
            }
        }
    }
    if parsed.targets.is_empty() {
        parsed.targets = TARGETS.iter().collect();
    }
    Ok(parsed)
}

/// Builds the program, instrumented; everything that runs while building stays as it is.
fn build() -> Outcome<PathBuf> {
    let host = supply::host()?;
    let folder = target_dir().join("fuzz-build");
    let mut command = cargo(&[
        "build",
        "--profile",
        "fuzz",
        "--package",
        "core2dmp-fuzz",
        "--features",
        "libfuzzer",
        "--target",
        &host,
    ]);
    command
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f"))
        .env("CARGO_TARGET_DIR", &folder);
    println!("==> {}", show(&command));
    check(&mut command)?;
    let program = folder.join(host).join("fuzz").join("core2dmp-fuzz");
    Ok(std::path::absolute(program)?)
}

/// Where a target's inputs are while it runs.
fn corpus(target: &Target) -> Outcome<PathBuf> {
    let folder = std::path::absolute(target_dir().join("fuzz").join(target.name))?;
    fs::create_dir_all(&folder)?;
    for (number, seed) in target.seeds().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed)?;
    }
    Ok(folder)
}

fn committed(kind: &str, target: &Target) -> PathBuf {
    root().join("fuzz").join(kind).join(target.name)
}

/// The program with what every run has.
fn libfuzzer(program: &Path, target: &Target) -> Command {
    let mut command = Command::new(program);
    command
        .env("CORE2DMP_FUZZ_TARGET", target.name)
        .args(["-timeout=5", "-rss_limit_mb=512", "-malloc_limit_mb=300"])
        .args(["-print_final_stats=1", "-verbosity=1"]);
    command
}

fn fuzz(program: &Path, target: &Target, seconds: u64) -> Outcome {
    let found = committed("regressions", target);
    fs::create_dir_all(&found)?;
    let mut command = libfuzzer(program, target);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-max_len=65536", "-use_value_profile=1", "-reload=0"])
        .arg(corpus(target)?)
        .arg(&found);
    let kept = committed("corpus", target);
    if kept.is_dir() {
        command.arg(kept);
    }
    println!("==> {}: {}", target.name, show(&command));
    let outcome = check(&mut command);
    // Only a folder with something in it is committed.
    let _ = fs::remove_dir(&found);
    outcome
}

/// As few inputs as give the same coverage; the small ones of them are committed.
fn minimise(program: &Path, target: &Target) -> Outcome {
    let few = std::path::absolute(target_dir().join("fuzz-few").join(target.name))?;
    let _ = fs::remove_dir_all(&few);
    fs::create_dir_all(&few)?;
    let mut command = libfuzzer(program, target);
    command.arg("-merge=1").arg(&few).arg(corpus(target)?);
    let kept = committed("corpus", target);
    if kept.is_dir() {
        command.arg(&kept);
    }
    check(&mut command)?;
    let _ = fs::remove_dir_all(&kept);
    fs::create_dir_all(&kept)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(few)? {
        let entry = entry?;
        found.push((entry.metadata()?.len(), entry.path()));
    }
    found.retain(|(bytes, _)| *bytes <= SMALL);
    found.sort();
    let step = found.len().div_ceil(MOST).max(1);
    for (_, path) in found.iter().step_by(step) {
        fs::copy(path, kept.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}
