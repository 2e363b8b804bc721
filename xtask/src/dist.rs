//! `cargo xtask dist`: a release: one static program without symbols, its bill of materials, and the papers.
//!
//! ```text
//! target/dist/core2dmp-0.1.0-x86_64-unknown-linux-gnu/
//!     core2dmp            static, below 8 MiB, started in an empty root
//!     core2dmp.cdx.json   CycloneDX
//!     README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE
//! ```
//!
//! Dom0 may have a C library of another age, or another one altogether: nothing of it is needed. With `--musl` the target
//! is musl, if it is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Outcome, cargo, check, root, target_dir};
use crate::{sbom, supply};

/// Bytes that the program may have.
const MAX_SIZE: u64 = 8 << 20;
const PAPERS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Builds it, and looks whether it is what it should be.
pub fn task(arguments: &[String]) -> Outcome {
    let mut target = supply::host()?;
    if arguments.iter().any(|argument| argument == "--musl") {
        target = target.replace("-gnu", "-musl");
    }
    supply::task(&[])?;
    let program = build(&target)?;
    let version = env!("CARGO_PKG_VERSION");
    let folder = target_dir()
        .join("dist")
        .join(format!("core2dmp-{version}-{target}"));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let shipped = folder.join("core2dmp");
    fs::copy(&program, &shipped)?;
    for paper in PAPERS {
        fs::copy(root().join(paper), folder.join(paper))?;
    }
    let bill = serde_json::to_string_pretty(&sbom::document()?)?;
    fs::write(folder.join("core2dmp.cdx.json"), bill + "\n")?;
    judge(&shipped)?;
    println!("    {}", folder.display());
    Ok(())
}

fn build(target: &str) -> Outcome<PathBuf> {
    let mut command = cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "core2dmp-cli",
        "--target",
        target,
    ]);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    check(&mut command)?;
    Ok(target_dir().join(target).join("release").join("core2dmp"))
}

/// Size, kind, and whether it runs where there is nothing else.
fn judge(program: &Path) -> Outcome {
    let bytes = fs::read(program)?;
    let size = bytes.len() as u64;
    println!("    size    {size} bytes, of {MAX_SIZE} at most");
    if size > MAX_SIZE {
        return Err(format!("the program has {size} bytes").into());
    }
    match Elf::of(&bytes) {
        Some(Elf {
            has_interpreter: false,
            has_symbols: false,
        }) => {
            println!("    kind    static, without symbols");
        }
        Some(other) => return Err(format!("not static and stripped: {other:?}").into()),
        None => return Err("not a 64-bit ELF program".into()),
    }
    println!("    chroot  {}", alone(program)?);
    Ok(())
}

/// What of an ELF file matters here.
#[derive(Debug, PartialEq, Eq)]
struct Elf {
    has_interpreter: bool,
    has_symbols: bool,
}

impl Elf {
    const PT_INTERP: u64 = 3;
    const SHT_SYMTAB: u64 = 2;

    fn of(bytes: &[u8]) -> Option<Self> {
        let number = |at: u64, count: usize| -> Option<u64> {
            let at = usize::try_from(at).ok()?;
            let field = bytes.get(at..at + count)?;
            Some(
                field
                    .iter()
                    .rev()
                    .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
            )
        };
        if bytes.get(..5)? != b"\x7fELF\x02" {
            return None;
        }
        let table = |place: u64, size: u64, count: u64, kind: u64| -> Option<Vec<u64>> {
            let (start, step) = (number(place, 8)?, number(size, 2)?);
            let entries = 0..number(count, 2)?;
            entries
                .map(|n| number(start + n * step + kind, 4))
                .collect()
        };
        Some(Self {
            has_interpreter: table(32, 54, 56, 0)?.contains(&Self::PT_INTERP),
            has_symbols: table(40, 58, 60, 4)?.contains(&Self::SHT_SYMTAB),
        })
    }
}

/// Runs a whole demo, and `info`, in a folder that holds the program and nothing else.
fn alone(program: &Path) -> Outcome<&'static str> {
    if crate::run::text_of("id", &["-u"]).as_deref() != Some("0") {
        eprintln!("==> chroot: SKIPPED, it needs root");
        return Ok("SKIPPED, it needs root");
    }
    let folder = target_dir().join("dist").join("root");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::copy(program, folder.join("core2dmp"))?;
    let run = |arguments: &[&str]| {
        let mut command = Command::new("chroot");
        command.arg(&folder).arg("/core2dmp").args(arguments);
        command.stdout(std::process::Stdio::null());
        check(&mut command)
    };
    run(&["--version"])?;
    run(&["demo", "--dir", "/demo"])?;
    run(&["info", "/demo/demo.core"])?;
    run(&["convert", "--verify", "/demo/demo.core", "/demo/again.dmp"])?;
    run(&[
        "check",
        "--deep",
        "/demo/again.dmp",
        "--with",
        "/demo/demo.core",
    ])?;
    fs::remove_dir_all(&folder)?;
    Ok("started in an empty root: demo, info, convert, check")
}
