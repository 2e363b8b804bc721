//! Streams of real QEMUs against QEMU's own dump of the same paused guest.
//!
//! They are too large for this repository. Where `CORE2DMP_QEMU_STREAMS` names a folder with NAME.qevm, NAME.elf
//! (`dump-guest-memory`) and NAME.regs (`info registers -a`), each is compared: all memory, all registers.
//! docs/formats/qemu-stream.md says how to make them, and which were compared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::memory::Frames;
use core2dmp::source::FileSource;

fn open(path: &Path) -> Guest {
    let source = Arc::new(FileSource::open(path).unwrap());
    container::open(source, OpenOptions::default())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn streams() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("CORE2DMP_QEMU_STREAMS") else {
        eprintln!("SKIPPED: CORE2DMP_QEMU_STREAMS names no folder, so no real stream is read");
        return Vec::new();
    };
    let entries = std::fs::read_dir(folder).unwrap();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| {
        path.extension().is_some_and(|e| e == "qevm") && path.with_extension("elf").exists()
    });
    all.sort();
    all
}

/// All frames of the stream are those of the dump, and all RAM of the dump is in the stream.
fn assert_memory(name: &str, stream: &Guest, dump: &Guest) {
    let mut compared = 0;
    for run in dump.memory.runs() {
        for (frames, backing) in stream.memory.pieces(run.frames) {
            if backing.is_none() {
                // The firmware's ROM, and nothing else.
                let is_rom = frames.first.get() >= 0xf_0000 && frames.end().get() <= 0x10_0000;
                assert!(is_rom, "{name}: {frames} is not in the stream");
                continue;
            }
            compare(name, frames, stream, dump);
            compared += frames.count;
        }
    }
    assert_eq!(compared, stream.memory.frame_count(), "{name}");
}

fn compare(name: &str, frames: Frames, stream: &Guest, dump: &Guest) {
    let (mut got, mut wanted) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = frames.first;
    while at < frames.end() {
        let count = frames.end().frames_since(at).min(256);
        let bytes = usize::try_from(Frames::new(at, count).bytes()).unwrap();
        let (got, wanted) = (&mut got[..bytes], &mut wanted[..bytes]);
        dump.memory.read(at.gpa(), wanted).unwrap();
        stream.memory.read(at.gpa(), got).unwrap();
        let differs = got.iter().zip(&*wanted).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{name} at {:#x}", at.gpa());
        at = at.saturating_add(count);
    }
}

/// Everything that the note of the dump has; what it lacks against the monitor's text.
fn assert_registers(name: &str, stream: &Guest, dump: &Guest, text: &str) {
    assert_eq!(stream.cpus.len(), dump.cpus.len(), "{name}");
    let parts: Vec<&str> = text.split("CPU#").skip(1).collect();
    for ((got, wanted), text) in stream.cpus.iter().zip(&dump.cpus).zip(parts) {
        let got = got.registers.x86().unwrap();
        let mut masked = got.clone();
        masked.dr = None;
        masked.fxsave = None;
        assert_eq!(&masked, wanted.registers.x86().unwrap(), "{name}");
        let hex = |key: &str| {
            let value = text
                .split_once(key)
                .unwrap()
                .1
                .split_whitespace()
                .next()
                .unwrap();
            u64::from_str_radix(value, 16).unwrap()
        };
        let dr = ["DR0=", "DR1=", "DR2=", "DR3=", "DR6=", "DR7="].map(hex);
        assert_eq!(got.dr, Some(dr), "{name}");
        let fxsave = got.fxsave.unwrap();
        let word = |at: usize| u64::from_le_bytes(fxsave[at..at + 8].try_into().unwrap());
        assert_eq!(word(24) & 0xffff_ffff, hex("MXCSR="), "{name}");
        assert_eq!(word(0) & 0xffff, hex("FCW="), "{name}");
        for (key, at) in [("XMM00=", 160), ("XMM09=", 304)] {
            // 32-bit processors show eight of them.
            if let Some((_, rest)) = text.split_once(key) {
                let mut halves = rest.split_whitespace();
                let high = u64::from_str_radix(halves.next().unwrap(), 16).unwrap();
                let low = u64::from_str_radix(halves.next().unwrap(), 16).unwrap();
                assert_eq!((word(at), word(at + 8)), (low, high), "{name} {key}");
            }
        }
        // The top of the stack first.
        let top = text
            .split_once("[ST=")
            .unwrap()
            .1
            .split(']')
            .next()
            .unwrap();
        let first = text.split_once(&format!("FPR{top}=")).unwrap().1;
        let mantissa = u64::from_str_radix(first.split_whitespace().next().unwrap(), 16).unwrap();
        assert_eq!(word(32), mantissa, "{name}");
    }
}

#[test]
fn streams_are_what_qemu_dumps() {
    for path in streams() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (stream, dump) = (open(&path), open(&path.with_extension("elf")));
        eprintln!(
            "{name}: {:?} {:?}",
            stream.container.details, stream.container.warnings
        );
        assert_memory(&name, &stream, &dump);
        let text = std::fs::read_to_string(path.with_extension("regs")).unwrap();
        assert_registers(&name, &stream, &dump, &text);
    }
}
