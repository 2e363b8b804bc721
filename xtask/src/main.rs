//! `cargo xtask TASK`: tests, benchmarks and judges of core2dmp as a program.
//!
//! ```text
//! cargo xtask ci       what has to pass before a commit
//! cargo xtask circles  files that import each other
//! cargo xtask docs     tables of the documentation, written from the sources
//! cargo xtask lengths  files and lines that are too long
//! cargo xtask bench    how fast and how small, against cp; verifies what it measures
//! cargo xtask supply   what the program is made of, against deny.toml and README
//! cargo xtask driver   the guest driver, as far as this machine can build it
//! cargo xtask dist     a release: a static program and its bill of materials
//! cargo xtask fuzz     bytes of an attacker before the library, under libFuzzer
//! cargo xtask unwind   stack walks, instruction by instruction, against an emulator
//! cargo xtask judge    what programs that no one here wrote say of our dumps
//! ```
//!
//! A task is a row in [`TASKS`]. Nothing here needs more than Rust, except where a task says that it skips something.

mod bench;
mod ci;
mod circles;
mod dist;
mod docs;
mod driver;
mod fuzz;
mod judge;
mod lengths;
mod run;
mod sbom;
mod sources;
mod supply;
mod unwind;

use std::process::ExitCode;

use run::Outcome;

/// A task: its name, what it does with its arguments, and a line for the list. Tasks without a line are for our own use.
struct Task {
    name: &'static str,
    run: fn(&[String]) -> Outcome,
    description: &'static str,
}

static TASKS: &[Task] = &[
    Task {
        name: "ci",
        run: ci::task,
        description: "format, lints, tests, documentation, licences",
    },
    Task {
        name: "circles",
        run: circles::task,
        description: "files and rooms that import each other",
    },
    Task {
        name: "docs",
        run: docs::task,
        description: "[--check]: tables of ARCHITECTURE.md and docs/security.md, written from the sources",
    },
    Task {
        name: "lengths",
        run: lengths::task,
        description: "files of more than 400 lines, lines of Markdown of more than 120 columns",
    },
    Task {
        name: "bench",
        run: bench::task,
        description: "[--quick] [--only GROUP] [--size MiB] [--runs N] [--qemu-core FILE] [--out DIR]: time and memory against cp and peers; fails if a result is wrong",
    },
    Task {
        name: "fuzz",
        run: fuzz::task,
        description: "[--seconds N] [--minimise] [TARGET ...]: bytes of an attacker before the library, under libFuzzer",
    },
    Task {
        name: "judge",
        run: judge::task,
        description: "[rows | stacks | FILE.dmp ...]: Microsoft's engine and open readers on our dumps; rows: on broken ones, against `check`",
    },
    Task {
        name: "unwind",
        run: unwind::task,
        description: "[--samples FILE] [--golden]: stack walks against Microsoft's own code in an emulator (Python, PyPI)",
    },
    Task {
        name: "decode",
        run: bench::decode_task,
        description: "",
    },
    Task {
        name: "supply",
        run: supply::task,
        description: "licences, sources and number of the crates in the program, against deny.toml and README",
    },
    Task {
        name: "dist",
        run: dist::task,
        description: "[--musl]: a static, stripped program, its bill of materials, and a start in an empty root",
    },
    Task {
        name: "driver",
        run: driver::task,
        description: "[--no-run] [TARGET ...]: the guest driver of each architecture that this machine can build, and its harness",
    },
    Task {
        name: "measure",
        run: bench::measure_task,
        description: "",
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        usage();
        return ExitCode::from(2);
    };
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("no task is named {name}\n");
        usage();
        return ExitCode::from(2);
    };
    match (task.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() {
    eprintln!("cargo xtask TASK, where TASK is one of");
    for task in TASKS.iter().filter(|task| !task.description.is_empty()) {
        eprintln!("  {:8} {}", task.name, task.description);
    }
}
