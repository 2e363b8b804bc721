//! `cargo xtask ci`: everything that has to pass, in the order in which it fails fastest.
//!
//! It needs a Rust toolchain and the package index, nothing else. Licences, bans and sources are checked by `supply`, and
//! by cargo-deny too where that is installed; the short run of each fuzz target needs a C++ compiler. Without, both are
//! skipped, loudly.

use std::process::Command;
use std::time::Instant;

use crate::run::{Outcome, cargo, check, show};

/// A step: its name and the command.
struct Step {
    name: &'static str,
    command: Command,
}

/// A task of this program that checks the project's own text, which takes no building.
struct Own {
    name: &'static str,
    run: fn(&[String]) -> Outcome,
    arguments: &'static [&'static str],
}

const OWN: [Own; 3] = [
    Own {
        name: "docs",
        run: crate::docs::task,
        arguments: &["--check"],
    },
    Own {
        name: "lengths",
        run: crate::lengths::task,
        arguments: &[],
    },
    Own {
        name: "circles",
        run: crate::circles::task,
        arguments: &[],
    },
];

/// Runs every step; stops at the first that fails.
pub fn task(_arguments: &[String]) -> Outcome {
    let begin = Instant::now();
    let mut done = Vec::new();
    for own in OWN {
        println!(
            "==> {}: cargo xtask {0} {}",
            own.name,
            own.arguments.join(" ")
        );
        let start = Instant::now();
        let arguments: Vec<String> = own.arguments.iter().map(ToString::to_string).collect();
        (own.run)(&arguments)?;
        done.push((own.name, start.elapsed()));
    }
    for mut step in steps() {
        println!("==> {}: {}", step.name, show(&step.command));
        let start = Instant::now();
        check(&mut step.command)?;
        done.push((step.name, start.elapsed()));
    }
    println!("==> supply: cargo xtask supply");
    crate::supply::task(&[])?;
    let fuzzing = crate::fuzz::short()?;
    println!("==> driver: its logic, and each .sys that can be built");
    let driver = crate::driver::short()?;
    let deny = deny()?;
    println!();
    for (name, time) in done {
        println!("    {name:18} ok {:7.1} s", time.as_secs_f64());
    }
    println!("    {:18} {fuzzing}", "fuzzing");
    println!("    {:18} {driver}", "driver");
    println!("    {:18} {deny}", "licences");
    println!(
        "    {:18}    {:7.1} s",
        "all",
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}

fn steps() -> Vec<Step> {
    let step = |name, arguments: &[&str]| Step {
        name,
        command: cargo(arguments),
    };
    let mut steps = vec![
        step("format", &["fmt", "--all", "--check"]),
        step(
            "lints",
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        ),
        step(
            "without features",
            &["check", "--package", "core2dmp", "--no-default-features"],
        ),
        step("tests", &["test", "--workspace"]),
        // The program and the library share a name: documented together, cargo warns of one file for both.
        step(
            "program's manual",
            &[
                "doc",
                "--no-deps",
                "--package",
                "core2dmp-cli",
                "--package",
                "xtask",
            ],
        ),
        step(
            "library's manual",
            &["doc", "--no-deps", "--workspace", "--lib"],
        ),
    ];
    for step in steps
        .iter_mut()
        .filter(|step| step.name.ends_with("manual"))
    {
        step.command.env("RUSTDOCFLAGS", "-D warnings");
    }
    steps
}

/// Licences, bans and sources of dependencies; the advisories would need a network beyond the package index.
fn deny() -> Outcome<&'static str> {
    let installed = cargo(&["deny", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !installed {
        eprintln!("==> licences: SKIPPED, cargo-deny is not installed (cargo install cargo-deny)");
        return Ok("SKIPPED, cargo-deny is not installed");
    }
    println!("==> licences: cargo deny check licenses bans sources");
    check(&mut cargo(&[
        "deny", "check", "licenses", "bans", "sources",
    ]))?;
    Ok("ok")
}
