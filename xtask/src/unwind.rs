//! `cargo xtask unwind [--samples FILE] [--golden]`: stack walks against Microsoft's own compiled code.
//!
//! ```text
//! PyPI wheel msvc-runtime --unicorn--> samples: registers, stack, and the true frames --walk--> right, or listed
//!                          (unwind/emulate.py)
//! ```
//!
//! The DLLs run in an emulator, which keeps a stack of its own. At every instruction that was met, the library's walk
//! has to find all callers: where they go on, where their stack is, and the registers that functions must keep.
//! `--golden` writes what was proven so as facts for the library's tests: the DLLs themselves are Microsoft's and not
//! in this repository.

mod golden;
mod samples;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use core2dmp::windows::unwind::{How, Registers, Unwinder};

use crate::run::{Outcome, check, root, show, target_dir};
use samples::{Sample, Samples, Scene};

/// The wheel that was looked at; another version has other functions.
const WHEEL: &str = "msvc-runtime==14.44.35112";
/// Differences that are printed.
const SHOWN: usize = 40;

/// Code that is not expected to be right: DLL, first and last instruction, why. Where it goes on and its stack still are.
const EXCEPTIONS: &[(&str, u64, u64, &str)] = &[(
    "vcruntime140.dll",
    0x11ccd,
    0x11d48,
    "longjmp loads the registers of where it jumps to, one by one, while its own frame is still there",
)];

/// Runs the emulator unless samples are given, and compares.
pub fn task(arguments: &[String]) -> Outcome {
    let folder = target_dir().join("unwind");
    std::fs::create_dir_all(&folder)?;
    let (mut file, mut write_golden) = (None, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--samples" => file = rest.next().map(PathBuf::from),
            "--golden" => write_golden = true,
            other => return Err(format!("what is {other}?").into()),
        }
    }
    let dlls = folder.join("dlls");
    let file = match file {
        Some(file) => file,
        None => emulate(&folder, &dlls)?,
    };
    let samples = Samples::open(&file)?;
    let mut report = Report::default();
    let mut facts = golden::Facts::default();
    let scene = Scene::new(&dlls, &samples.images)?;
    for sample in &samples {
        let sample = sample?;
        let (image, rva) = samples.place(sample.ip());
        let difference = scene.with_stack(&sample, |unwinder| compare(unwinder, &sample));
        match difference {
            Ok(how) if write_golden => {
                *report.hows.entry(how.to_string()).or_default() += 1;
                if let Err(what) = facts.add(&scene, image, rva, &sample, how) {
                    report.differences.push((format!("{image}+{rva:#x}"), what));
                }
            }
            Ok(how) => *report.hows.entry(how.to_string()).or_default() += 1,
            Err(what) => report.differ(image, rva, what),
        }
        report.samples += 1;
    }
    report.print();
    if write_golden {
        facts.write(
            &root().join("crates/core2dmp/tests/data/unwind-x64.txt"),
            &dlls,
        )?;
    }
    if report.differences.is_empty() {
        Ok(())
    } else {
        Err(format!("{} differences", report.differences.len()).into())
    }
}

/// Fetches wheel and emulator into a Python of their own, and runs them.
fn emulate(folder: &Path, dlls: &Path) -> Outcome<PathBuf> {
    let venv = folder.join("venv");
    let mut steps = vec![
        command("python3", &["-m", "venv", &venv.display().to_string()]),
        command(
            &venv.join("bin/pip").display().to_string(),
            &["-q", "install", "unicorn"],
        ),
    ];
    let python = venv.join("bin/python").display().to_string();
    let wheels = folder.join("wheels").display().to_string();
    let pip = venv.join("bin/pip").display().to_string();
    let from = [
        "--only-binary=:all:",
        "--platform",
        "win_amd64",
        "--no-deps",
        "-d",
    ];
    steps.push(command(
        &pip,
        &[&["-q", "download"], &from[..], &[&wheels, WHEEL]].concat(),
    ));
    let unpack = "import glob, os, sys, zipfile\n\
                  for wheel in glob.glob(sys.argv[1] + '/*.whl'):\n  \
                  for name in (z := zipfile.ZipFile(wheel)).namelist():\n    \
                  if name.endswith('.dll'):\n      \
                  open(os.path.join(sys.argv[2], os.path.basename(name)), 'wb').write(z.read(name))\n";
    std::fs::create_dir_all(dlls)?;
    let dlls = dlls.display().to_string();
    steps.push(command(&python, &["-c", unpack, &wheels, &dlls]));
    let samples = folder.join("samples");
    let script = root().join("xtask/unwind/emulate.py").display().to_string();
    steps.push(command(
        &python,
        &[&script, &dlls, &samples.display().to_string()],
    ));
    for mut step in steps {
        println!("==> {}", show(&step));
        check(&mut step)?;
    }
    Ok(samples)
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// How the first caller was got if all frames are as they should be, else what is not.
fn compare(unwinder: &Unwinder<'_, '_>, sample: &Sample) -> Result<How, String> {
    let mut registers = Registers::X64(sample.registers);
    let mut how = How::Context;
    let mut first = None;
    for (number, truth) in sample.frames.iter().enumerate() {
        let before = how;
        let (caller, next) = unwinder
            .caller(&registers, how)
            .map_err(|ended| format!("frame {number} ({before}): {ended}"))?;
        let Registers::X64(found) = &caller else {
            return Err("not x64".to_owned());
        };
        let wrong = truth.differs(found);
        if !wrong.is_empty() {
            return Err(format!("frame {number} ({before}, {next}): {wrong}"));
        }
        first.get_or_insert(next);
        (registers, how) = (caller, next);
    }
    first.ok_or_else(|| "no frames".to_owned())
}

#[derive(Default)]
struct Report {
    samples: usize,
    /// Samples by how their first caller was found.
    hows: BTreeMap<String, usize>,
    excepted: BTreeMap<&'static str, usize>,
    differences: Vec<(String, String)>,
}

impl Report {
    fn differ(&mut self, image: &str, rva: u64, what: String) {
        let excepted = EXCEPTIONS
            .iter()
            .find(|(name, first, last, _)| *name == image && (*first..=*last).contains(&rva));
        match excepted {
            Some((.., why)) if !what.contains("rip") && !what.contains("rsp") => {
                *self.excepted.entry(why).or_default() += 1;
            }
            _ => self.differences.push((format!("{image}+{rva:#x}"), what)),
        }
    }

    fn print(&self) {
        let excepted: usize = self.excepted.values().sum();
        let right = self.samples - self.differences.len() - excepted;
        println!(
            "{} samples, {right} right, {excepted} excepted",
            self.samples
        );
        for (how, count) in &self.hows {
            println!("  by {how}: {count}");
        }
        for (why, count) in &self.excepted {
            println!("  excepted: {why} ({count} times)");
        }
        let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (place, what) in &self.differences {
            places.entry(place).or_default().push(what);
        }
        for (place, what) in places.iter().take(SHOWN) {
            println!("  {place}: {} ({} times)", what[0], what.len());
        }
    }
}
