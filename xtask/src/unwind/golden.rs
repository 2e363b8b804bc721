//! Facts for the library's tests: where an instruction's caller is found on the stack, proven by the emulator.
//!
//! ```text
//! dll NAME SHA-256
//! RVA RETURN [REGISTER@OFFSET ..] [REGISTER=OFFSET ..]     hexadecimal, offsets from RSP
//!            @ points there, and matters     = the caller's value lies there; registers that are not named are as they
//!            were
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use core2dmp::windows::unwind::{How, Registers};

use super::samples::{KEPT, Sample, Scene};
use crate::run::Outcome;

/// Instructions of a DLL that are kept, and of those that look alike.
const MOST: usize = 300;
const ALIKE: usize = 2;
/// What is in the stack at an offset, and in a register, while it is asked where things come from.
const STACK_MARK: u64 = 0x5151_0000_0000_0000;
const REGISTER_MARK: u64 = 0x6161_0000_0000_0000;

#[derive(Default)]
pub struct Facts {
    /// By DLL and offset.
    lines: BTreeMap<(String, u64), String>,
    seen: BTreeMap<(String, String), usize>,
}

impl Facts {
    /// Keeps a sample whose frames are all right, unless there are enough like it.
    pub fn add(
        &mut self,
        scene: &Scene,
        image: &str,
        rva: u64,
        sample: &Sample,
        how: How,
    ) -> Result<(), String> {
        let key = (image.to_owned(), rva);
        if self.lines.contains_key(&key) {
            return Ok(());
        }
        let Some(fact) = fact(scene, sample)? else {
            return Ok(());
        };
        let kind = (image.to_owned(), format!("{how} {fact}"));
        let alike = self.seen.entry(kind).or_default();
        *alike += 1;
        if *alike <= ALIKE {
            self.lines.insert(key, fact);
        }
        Ok(())
    }

    /// Writes as many as are kept, spread over each DLL.
    pub fn write(&self, path: &Path, dlls: &Path) -> Outcome {
        let mut text = String::from(
            "# Made by `cargo xtask unwind --golden`; its source says how, and what each line means.\n",
        );
        let images: BTreeSet<&String> = self.lines.keys().map(|(image, _)| image).collect();
        for image in images {
            let of_image = self.lines.iter().filter(|((name, _), _)| name == image);
            let lines: Vec<_> = of_image.collect();
            let _ = writeln!(text, "dll {image} {}", sha256(&dlls.join(image))?);
            let step = lines.len().div_ceil(MOST).max(1);
            for ((_, rva), fact) in lines.into_iter().step_by(step) {
                let _ = writeln!(text, "{rva:x} {fact}");
            }
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, text)?;
        println!("{}: {} facts were proven", path.display(), self.lines.len());
        Ok(())
    }
}

fn sha256(path: &Path) -> Outcome<String> {
    let output = Command::new("sha256sum").arg(path).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

/// Where the walk takes its values from, which the true ones must agree with; `None` if the frame is too large.
fn fact(scene: &Scene, sample: &Sample) -> Result<Option<String>, String> {
    let truth = &sample.frames[0];
    let distance = truth.rsp - 8 - sample.rsp();
    if distance > 0x1000 {
        return Ok(None);
    }
    let marked = marked(sample);
    let plain = symbols(scene, &marked)?;
    let mut fact = format!("{distance:x}");
    let end = sample.rsp() + sample.stack.len() as u64;
    for (number, _) in KEPT {
        let value = sample.registers.gpr[number];
        if !(sample.rsp()..end + 0x1000).contains(&value) {
            continue;
        }
        // It may be a frame register: then the answer depends on it.
        let mut other = Sample {
            registers: marked.registers,
            frames: Vec::new(),
            stack: marked.stack.clone(),
        };
        other.registers.gpr[number] = value + 0x10;
        if symbols(scene, &other).map(|symbols| symbols.rsp) != Ok(plain.rsp) {
            let _ = write!(fact, " {number:x}@{:x}", value - sample.rsp());
        }
    }
    if plain.rip != Some(distance) || plain.rsp != truth.rsp {
        return Err("the frame is found elsewhere if the stack holds other words".to_owned());
    }
    for (index, (number, name)) in KEPT.iter().enumerate() {
        let (value, origin) = (truth.kept[index], plain.kept[index]);
        let found = match origin {
            Some(offset) => word(&sample.stack, offset),
            None => Some(sample.registers.gpr[*number]),
        };
        if found != Some(value) {
            return Err(format!(
                "{name} comes from {origin:x?}, which holds {found:x?}"
            ));
        }
        if let Some(offset) = origin {
            let _ = write!(fact, " {number:x}={offset:x}");
        }
    }
    Ok(Some(fact))
}

fn word(stack: &[u8], offset: u64) -> Option<u64> {
    let bytes = stack.get(offset as usize..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// The sample with marks for words and registers; those that point into the stack still do.
fn marked(sample: &Sample) -> Sample {
    let mut registers = sample.registers;
    let end = sample.rsp() + sample.stack.len() as u64 + 0x1000;
    for (number, value) in registers.gpr.iter_mut().enumerate() {
        if !(sample.rsp()..end).contains(value) {
            *value = REGISTER_MARK + number as u64;
        }
    }
    let words = (0..sample.stack.len() as u64).step_by(8);
    Sample {
        registers,
        frames: Vec::new(),
        stack: words
            .flat_map(|offset| (STACK_MARK + offset).to_le_bytes())
            .collect(),
    }
}

/// Where the caller's values come from: the stack, at an offset, or where they were.
struct Symbols {
    rip: Option<u64>,
    rsp: u64,
    kept: [Option<u64>; 8],
}

fn symbols(scene: &Scene, sample: &Sample) -> Result<Symbols, String> {
    let registers = Registers::X64(sample.registers);
    let caller = scene.with_stack(sample, |unwinder| unwinder.caller(&registers, How::Context));
    let (Registers::X64(found), _) = caller.map_err(|ended| ended.to_string())? else {
        return Err("not x64".to_owned());
    };
    let origin =
        |value: u64| (value >> 48 == STACK_MARK >> 48).then_some(value - STACK_MARK.min(value));
    Ok(Symbols {
        rip: origin(found.rip),
        rsp: found.gpr[4],
        kept: KEPT.map(|(number, _)| origin(found.gpr[number])),
    })
}
