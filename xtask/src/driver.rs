//! `cargo xtask driver [--no-run] [--short] [TARGET ...]`: the guest driver of each architecture, as far as this machine can
//! build it, and its harness on what was built.
//!
//! ```text
//! guest-driver/shim --rustc for Windows, or core from its sources--> core2dmp-guest.sys --checksum--> target/driver/
//!                                                                                            \--> cargo test -p harness
//! ```
//!
//! `core` for a target comes with rustup's target, or is built from the sources beside a compiler: those of
//! `CORE2DMP_DRIVER_RUSTC`, of `rustc` itself (rustup's `rust-src`), or of Debian's rustc-web as guest-driver/README.md
//! unpacks it. What is missing is reported, target by target.
//!
//! Drivers of other machines run in Unicorn, whose library is taken out of its wheel on PyPI. `--short` is what `ci`
//! runs: it takes what is there and fetches nothing.

mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::run::{Outcome, cargo, check, root, target_dir};
use toolchain::{TARGETS, Target, Toolchain};

const IMAGE: &str = "core2dmp-guest";
/// The version whose numbers the harness has.
const UNICORN: &str = "unicorn==2.1.4";

/// Builds all that can be, says what could not, and runs the harness.
pub fn task(arguments: &[String]) -> Outcome {
    if arguments.iter().any(|argument| argument == "--short") {
        println!("{}", short()?);
        return Ok(());
    }
    let run = !arguments.iter().any(|argument| argument == "--no-run");
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|name| TARGETS.iter().all(|t| t.name != **name))
    {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        return Err(format!(
            "no driver is named {unknown}; there are {}",
            names.join(", ")
        )
        .into());
    }
    let targets: Vec<&Target> = TARGETS
        .iter()
        .filter(|target| wanted.is_empty() || wanted.iter().any(|name| *name == target.name))
        .collect();
    let outcomes = build(&targets)?;
    println!();
    for (name, outcome) in outcomes {
        println!("    {name:12} {outcome}");
    }
    if run {
        if let Err(why) = fetch_unicorn() {
            eprintln!("==> emulator: SKIPPED, {why}");
        }
        harness(true)?;
    }
    Ok(())
}

/// Builds what can be, all at once; what came of each. Each has a target folder of its own, so that none waits.
fn build(targets: &[&'static Target]) -> Outcome<Vec<(&'static str, String)>> {
    let build = |target: &Target| -> Result<String, String> {
        let toolchain = match Toolchain::find(target) {
            Ok(toolchain) => toolchain,
            Err(why) => return Ok(format!("NOT BUILT: {why}")),
        };
        println!("==> driver {}", target.name);
        let image = toolchain.build(target).map_err(|error| error.to_string())?;
        let bytes = fs::metadata(&image).map_or(0, |image| image.len());
        Ok(format!("built, {bytes} bytes: {}", show(&image)))
    };
    std::thread::scope(|scope| {
        let builds: Vec<_> = targets
            .iter()
            .map(|target| (target.name, scope.spawn(move || build(target))))
            .collect();
        let built = builds.into_iter().map(|(name, build)| {
            let outcome = build.join().map_err(|_| "a build panicked")?;
            Ok((name, outcome?))
        });
        built.collect()
    })
}

/// The harness, with the program that it converts by. `thorough`: the host is asked after each of thousands of stores,
/// not after those that publish something and some between, and Microsoft's engine where it is set up.
fn harness(thorough: bool) -> Outcome {
    let program = target_dir()
        .join("debug")
        .join(format!("core2dmp{}", std::env::consts::EXE_SUFFIX));
    // In `ci` the tests have just built it.
    if thorough || !program.is_file() {
        check(&mut cargo(&["build", "--package", "core2dmp-cli"]))?;
    }
    let mut tests = beside(&["test", "--package", "guest-harness"]);
    tests.env("CORE2DMP_PROGRAM", std::path::absolute(program)?);
    if thorough {
        tests.env("CORE2DMP_THOROUGH", "1");
    }
    check(&mut tests)
}

/// Takes Unicorn's library out of its wheel, which is a zip.
fn fetch_unicorn() -> Outcome {
    const UNPACK: &str = "import glob, sys, zipfile\n\
        wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + '/unicorn-*.whl')[0])\n\
        open(sys.argv[1] + '/libunicorn.so.2', 'wb').write(wheel.read('unicorn/lib/libunicorn.so.2'))\n";
    let folder = folder().join("target").join("unicorn");
    if folder.join("libunicorn.so.2").is_file() {
        return Ok(());
    }
    fs::create_dir_all(&folder)?;
    let mut download = Command::new("python3");
    download.args(["-m", "pip", "-q", "download", "--no-deps"]);
    download.args(["--only-binary=:all:", "-d"]).arg(&folder);
    check(download.arg(UNICORN))?;
    check(Command::new("python3").args(["-c", UNPACK]).arg(&folder))
}

/// What `ci` runs: the logic always, images where they can be built.
pub fn short() -> Outcome<String> {
    for arguments in [
        &["fmt", "--all", "--check"][..],
        &["clippy", "--all-targets", "--", "-D", "warnings"],
        &["test", "--package", "guest-record"],
    ] {
        check(&mut beside(arguments))?;
    }
    let mut can = Vec::new();
    for target in TARGETS {
        match Toolchain::find(target) {
            // The first time, core is three quarters of a minute for each: `cargo xtask driver` takes it.
            Ok(toolchain) if toolchain.is_slow(target) && !can.is_empty() => eprintln!(
                "==> driver {}: SKIPPED, core is not built yet (cargo xtask driver)",
                target.name
            ),
            Ok(_) => can.push(target),
            Err(why) => eprintln!("==> driver {}: SKIPPED, {why}", target.name),
        }
    }
    if can.is_empty() {
        return Ok("logic ok; every .sys SKIPPED, see above".to_owned());
    }
    let start = Instant::now();
    build(&can)?;
    harness(false)?;
    Ok(format!(
        "logic ok; {} of {} .sys in {:.1} s",
        can.len(),
        TARGETS.len(),
        start.elapsed().as_secs_f64()
    ))
}

fn folder() -> PathBuf {
    root().join("guest-driver")
}

fn show(path: &Path) -> String {
    let shown = path.strip_prefix(root()).unwrap_or(path);
    shown.display().to_string()
}

/// `cargo` in the driver's workspace for what runs here: it shares the target folder of this one, and what both need.
fn beside(arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command.current_dir(folder());
    command.env("CARGO_TARGET_DIR", target_dir());
    command
}

/// `cargo` in the driver's workspace, for what runs in Windows.
fn workspace(arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command.current_dir(folder()).env_remove("CARGO_TARGET_DIR");
    command
}
