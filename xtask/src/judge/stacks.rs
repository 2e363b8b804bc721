//! `cargo xtask judge stacks [FILE.dmp ...]`: our stacks of every processor against the debugger's `k`.
//!
//! ```text
//! x64 guests that are deep in drivers --core2dmp-synth--> dump --judge-dbgeng--> k, ~1s; k  --\
//!                                                             \--windows::unwind--> our frames --= ?
//! ```
//!
//! The engine has no symbols and no image files: it reads the unwind data that the dump's memory holds, as we do. As
//! many frames as it shows have to be ours: stack pointer and return address. Of x86 it shows the addresses of frame
//! pointers instead, and return addresses alone are compared.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use core2dmp::address::Gpa;
use core2dmp::container::{self, OpenOptions};
use core2dmp::paging::AddressSpace;
use core2dmp::source::FileSource;
use core2dmp::windows::unwind::{Registers, Stack, Unwinder};
use core2dmp::windows::{self, ContextPolicy};
use core2dmp_synth::unwind::plant;
use core2dmp_synth::{GuestSpec, dump};

use crate::run::{Outcome, target_dir};

/// Compares the dumps that are named, or those of guests that are made for it.
pub fn task(judges: &Path, files: &[String]) -> Outcome {
    let files = if files.is_empty() {
        planted()?
    } else {
        files.iter().map(PathBuf::from).collect()
    };
    let mut different = 0;
    for file in &files {
        for (processor, ours) in stacks(file)?.iter().enumerate() {
            let theirs = engine(judges, file, processor)?;
            let what = compare(ours, &theirs);
            different += usize::from(what.is_err());
            let name = file.file_name().unwrap_or_default().display();
            let (Ok(verdict) | Err(verdict)) = what;
            println!(
                "{name}, processor {processor}: {verdict}; ours ends: {}",
                ours.ended
            );
        }
    }
    if different == 0 {
        return Ok(());
    }
    Err(format!("{different} stacks differ").into())
}

/// Dumps of guests of which every processor is deep in drivers.
fn planted() -> Outcome<Vec<PathBuf>> {
    let folder = target_dir().join("judge").join("stacks");
    std::fs::create_dir_all(&folder)?;
    let specs = [
        ("w10", GuestSpec::windows10()),
        ("w7", GuestSpec::windows7()),
        ("w2k3-x64", GuestSpec::windows2003_x64()),
    ];
    let mut files = Vec::new();
    for (name, spec) in specs {
        let mut guest = spec
            .memory_mib(20)
            .processors(2)
            .crashed(0xe2, [0; 4])
            .build();
        for processor in 0..2 {
            plant(&mut guest, processor);
        }
        let file = folder.join(format!("{name}.dmp"));
        std::fs::write(&file, dump::full(&guest).bytes)?;
        files.push(file);
    }
    Ok(files)
}

/// Our stacks, by processor.
fn stacks(file: &Path) -> Outcome<Vec<Stack>> {
    let guest = container::open(Arc::new(FileSource::open(file)?), OpenOptions::default())?;
    let windows = windows::identify(&guest)?;
    let contexts = windows.crash_state(&guest, ContextPolicy::Memory).contexts;
    let mut stacks = Vec::new();
    for (processor, context) in windows.processors.iter().zip(contexts) {
        let start = Registers::from_context(&context.context).ok_or("no registers")?;
        let process = windows.process_of(processor);
        let root = process.map_or(windows.dtb.value, |process| Gpa::new(process.dtb));
        let space = AddressSpace::new(&guest.memory, windows.mode, root);
        stacks.push(Unwinder::of(&windows, &space).walk(&start));
    }
    Ok(stacks)
}

/// The engine's frames: the first column, and the return address.
fn engine(judges: &Path, file: &Path, processor: usize) -> Outcome<Vec<(u64, u64)>> {
    let output = Command::new(judges.join("dbgeng/judge-dbgeng"))
        .args(["-l".as_ref(), file.as_os_str()])
        .arg(format!("~{processor}s; k 60"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let behind = text.lines().skip_while(|line| !line.contains("RetAddr"));
    let column = |word: Option<&str>| u64::from_str_radix(&word?.replace('`', ""), 16).ok();
    let frames = behind.skip(1).take_while(|line| !line.starts_with("---"));
    Ok(frames
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((column(words.next())?, column(words.next())?))
        })
        .collect())
}

/// How many frames are the same, or which one is not.
fn compare(ours: &Stack, theirs: &[(u64, u64)]) -> Result<String, String> {
    if theirs.is_empty() {
        return Err("the engine shows no frames".to_owned());
    }
    for (number, (sp, back)) in theirs.iter().enumerate() {
        let frame = ours.frames.get(number);
        let next = ours.frames.get(number + 1).map(|frame| frame.ip.get());
        let narrow = *back <= u64::from(u32::MAX) && *sp <= u64::from(u32::MAX);
        let same_sp = narrow || frame.is_some_and(|frame| frame.sp.get() == *sp);
        if !same_sp || next.unwrap_or(0) != *back {
            return Err(format!(
                "frame {number}: {:x?} and {next:x?}, the engine {sp:#x} and {back:#x}",
                frame.map(|frame| frame.sp)
            ));
        }
    }
    let (all, ours) = (theirs.len(), ours.frames.len());
    Ok(format!("{all} frames the same, of {ours} of ours"))
}
