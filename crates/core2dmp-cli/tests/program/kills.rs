//! Signals at random moments: the dump is absent, or whole and right; what SIGKILL leaves is found and removed.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use core2dmp_synth::GuestSpec;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::run::{names, program, run, scratch};

/// Runs that are killed, each signal as often.
const RUNS: usize = 240;
const SIGNALS: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL];

/// The moments are the same in each run of the test, as far as a machine repeats itself.
struct Random(u64);

impl Random {
    /// Below one.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

fn core() -> (TempDir, PathBuf) {
    let folder = scratch();
    let path = folder.path().join("guest.core");
    let spec = GuestSpec::windows10().memory_mib(20).fill(50);
    spec.build().xen_core().write_file(&path).unwrap();
    (folder, path)
}

/// What happened, to be printed.
#[derive(Debug, Default)]
struct Tally {
    absent: usize,
    whole: usize,
    leftovers: usize,
}

#[test]
fn a_killed_run_leaves_the_dump_absent_or_whole() {
    let (folder, core) = core();
    let good = folder.path().join("good.dmp");
    let begin = Instant::now();
    run(&["convert"], &[&core, &good]).expect_code(0);
    let time = begin.elapsed();
    let expected = fs::read(&good).unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut tally = Tally::default();
    let out = scratch();
    let dump = out.path().join("out.dmp");
    for number in 0..RUNS {
        let signal = SIGNALS[number % SIGNALS.len()];
        let after = time.mul_f64(random.next() * 1.1);
        let is_killed = one(&core, &dump, signal, after);
        let names = names(out.path());
        let left = names.iter().filter(|name| *name != "out.dmp").count();
        if names.iter().any(|name| name == "out.dmp") {
            assert!(
                fs::read(&dump).unwrap() == expected,
                "{signal:?} after {after:?}"
            );
            fs::remove_file(&dump).unwrap();
            tally.whole += 1;
        } else {
            assert!(
                is_killed,
                "{signal:?} after {after:?}: no dump, and no signal"
            );
            tally.absent += 1;
        }
        if signal == Signal::KILL {
            tally.leftovers += left;
            remove(out.path());
        } else {
            assert_eq!(left, 0, "{signal:?} after {after:?}: {names:?}");
        }
    }
    println!(
        "{RUNS} runs killed: {tally:?}, {:.1} s",
        begin.elapsed().as_secs_f64()
    );
    assert!(
        tally.absent > RUNS / 4,
        "the signals came too late: {tally:?}"
    );
}

/// Starts a conversion and kills it; whether the signal ended it.
fn one(core: &Path, dump: &Path, signal: Signal, after: Duration) -> bool {
    let mut child = program()
        .args(["convert", "--quiet"])
        .args([core, dump])
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    // It may have ended; nobody has waited for it, so the number is still its own.
    let _ = kill_process(Pid::from_child(&child), signal);
    let status = child.wait().unwrap();
    match (status.code(), status.signal()) {
        (Some(0), _) => false,
        (Some(130), _) => true,
        // Before the handlers are there, and always for SIGKILL.
        (None, Some(number)) if number == signal.as_raw() => true,
        other => panic!("{signal:?}: {other:?}"),
    }
}

fn remove(folder: &Path) {
    remove_but(folder, "");
}

fn remove_but(folder: &Path, kept: &str) {
    for name in names(folder).into_iter().filter(|name| name != kept) {
        fs::remove_file(folder.join(name)).unwrap();
    }
}

/// Whether something was written.
fn has_bytes(folder: &Path) -> bool {
    let sizes = names(folder).into_iter();
    sizes
        .filter_map(|name| fs::metadata(folder.join(name)).ok())
        .any(|meta| meta.len() > 0)
}

/// A run that was killed while it wrote.
fn killed(core: &Path, folder: &Path) -> String {
    for _ in 0..50 {
        let mut child = program()
            .args(["convert", "--quiet"])
            .args([core, &folder.join("out.dmp")])
            .spawn()
            .unwrap();
        while !has_bytes(folder) && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = kill_process(Pid::from_child(&child), Signal::KILL);
        child.wait().unwrap();
        match names(folder).as_slice() {
            [part] if part.ends_with(".core2dmp-part") => return part.clone(),
            _ => remove(folder),
        }
    }
    panic!("never killed in time");
}

#[test]
fn what_a_killed_run_left_is_named_and_removed_on_demand() {
    let (_folder, core) = core();
    let out = scratch();
    let part = killed(&core, out.path());
    let dump = out.path().join("out.dmp");
    let outcome = run(&["convert", "--hash"], &[&core, &dump]).expect_code(0);
    let warned = |stderr: &str| {
        stderr.starts_with("warning: ")
            && stderr.contains(&part)
            && stderr.contains("is left of a run that was killed")
    };
    assert!(warned(&outcome.stderr), "{}", outcome.stderr);
    let said = &outcome.stderr;
    assert!(said.contains(" old; --clean removes it\n"), "{said}");
    remove_but(out.path(), &part);
    let outcome = run(&["convert", "--json"], &[&core, &dump]).expect_code(0);
    assert!(warned(&outcome.stderr), "{}", outcome.stderr);
    let warnings = outcome.json()["warnings"].to_string();
    assert!(warnings.contains(&part), "{warnings}");
    assert_eq!(names(out.path()), [part.clone(), "out.dmp".to_owned()]);
    let outcome = run(&["convert", "--force", "--clean"], &[&core, &dump]).expect_code(0);
    assert!(
        outcome.stderr.ends_with("; removed\n"),
        "{}",
        outcome.stderr
    );
    assert_eq!(names(out.path()), ["out.dmp"]);
    let outcome = run(&["convert", "--force", "--clean"], &[&core, &dump]).expect_code(0);
    assert_eq!(outcome.stderr, "");
}
