//! libkdumpfile beside us: the same files, read page by page by a library that nobody here wrote.
//!
//! ```text
//! file --libkdumpfile.py--> number, CRC-32 of each page --+
//!      --core2dmp---------> the same ---------------------+--> alike?
//! ```
//!
//! It needs `python3-libkdumpfile` (Debian, Ubuntu: apt-get install python3-libkdumpfile; 0.5.1 was tried), and is
//! skipped without. What 0.5.1 does not read is named where it is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::memory::MemoryRun;
use core2dmp::source::{FileSource, ReadAt};
use core2dmp_synth::{GuestSpec, KdumpCompression};

use crate::corpus;
use crate::run::{scratch, skipped};

/// Page numbers and checksums.
type Pages = BTreeMap<u64, u32>;

/// A Python that has the library.
fn python() -> Option<&'static str> {
    let found = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let tried = Command::new(python)
            .args(["-c", "import kdumpfile"])
            .output();
        tried.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        skipped("libkdumpfile: no Python here has it (apt-get install python3-libkdumpfile)");
    }
    found
}

/// Frames beside each run that are asked for, too. All that there could be are a million.
const AROUND: u64 = 0x100;

/// What libkdumpfile calls the files, and their pages: those of the guest's runs, and around them.
#[track_caller]
fn theirs(python: &str, files: &[PathBuf], guest: &Guest) -> (String, Pages) {
    let range = |run: &MemoryRun| {
        let (first, end) = (run.frames.first.get(), run.frames.end().get());
        format!("{}-{}", first.saturating_sub(AROUND), end + AROUND)
    };
    let ranges: Vec<String> = guest.memory.runs().iter().map(range).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/libkdumpfile.py");
    let output = Command::new(python)
        .arg(script)
        .arg(ranges.join(","))
        .args(files)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{files:?}: {stderr}");
    let line = output
        .stdout
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap();
    let (format, pages) = output.stdout.split_at(line);
    let (pages, rest) = pages[1..].as_chunks::<12>();
    assert_eq!(rest.len(), 0);
    let pages = pages.iter().map(|page| {
        let (pfn, crc) = page.split_at(8);
        (
            u64::from_le_bytes(pfn.try_into().unwrap()),
            u32::from_le_bytes(crc.try_into().unwrap()),
        )
    });
    (String::from_utf8(format.to_vec()).unwrap(), pages.collect())
}

#[track_caller]
fn open(files: &[PathBuf]) -> Guest {
    let open = |path: &PathBuf| Arc::new(FileSource::open(path).unwrap()) as Arc<dyn ReadAt>;
    let sources = files.iter().map(open).collect();
    container::open_set(sources, &OpenOptions::default()).unwrap()
}

fn ours(guest: &Guest) -> Pages {
    let mut pages = Pages::new();
    let mut page = [0; 4096];
    for run in guest.memory.runs() {
        for pfn in run.frames.first.get()..run.frames.end().get() {
            let gpa = core2dmp::address::Pfn::new(pfn).gpa();
            guest.memory.read(gpa, &mut page).unwrap();
            let mut crc = flate2::Crc::new();
            crc.update(&page);
            pages.insert(pfn, crc.sum());
        }
    }
    pages
}

/// Both read the files, and read the same.
#[track_caller]
fn alike(python: &str, files: &[PathBuf], format: &str) {
    let guest = open(files);
    let ours = ours(&guest);
    let (theirs_format, theirs) = theirs(python, files, &guest);
    assert_eq!(theirs_format, format, "{files:?}");
    let wrong = ours
        .iter()
        .find(|(pfn, crc)| theirs.get(*pfn) != Some(*crc));
    assert_eq!(wrong, None, "{files:?}: a page of ours that is not theirs");
    // 0.5.1 makes zeros of the frame right below a segment of an ELF core.
    let is_edge = |pfn: u64, crc: u32| {
        let mut zeros = flate2::Crc::new();
        zeros.update(&[0; 4096]);
        format == "elf" && ours.contains_key(&(pfn + 1)) && crc == zeros.sum()
    };
    let more = theirs
        .iter()
        .find(|(pfn, crc)| !ours.contains_key(*pfn) && !is_edge(**pfn, **crc));
    assert_eq!(more, None, "{files:?}: a page of theirs that is not ours");
}

#[test]
fn synthetic_kdumps() {
    let Some(python) = python() else {
        return;
    };
    let guest = GuestSpec::windows10().memory_mib(24).above_4g().fill(40);
    let guest = guest.ballooned(0x900, 3).build();
    let folder = scratch();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    for compression in [
        KdumpCompression::None,
        KdumpCompression::Zlib,
        KdumpCompression::Lzo,
        KdumpCompression::Snappy,
        KdumpCompression::Zstd,
    ] {
        let kdump = guest.kdump().compression(compression);
        let path = write(&format!("{compression:?}.kdump"), &kdump.bytes());
        alike(python, &[path], "diskdump");
    }
    let parts = guest.kdump().split(&[0x400, 0x1000]);
    let parts: Vec<PathBuf> = parts
        .iter()
        .enumerate()
        .map(|(number, part)| write(&format!("part{number}"), part))
        .collect();
    alike(python, &parts, "diskdump");
    let elf = write("guest.elf", &guest.qemu_elf().bytes());
    alike(python, &[elf], "elf");
}

#[test]
fn exported_elf() {
    let Some(python) = python() else {
        return;
    };
    let guest = GuestSpec::windows10().memory_mib(24).above_4g().build();
    let folder = scratch();
    let core = folder.path().join("guest.core");
    guest.xen_core().write_file(&core).unwrap();
    crate::run::run(&["convert", "--quiet", "--to", "elf"], &[&core]).expect_code(0);
    alike(python, &[folder.path().join("guest.elf")], "elf");
}

#[test]
fn files_of_qemu() {
    let Some(python) = python() else {
        return;
    };
    for name in ["reactos-x86", "w10-live-2", "x86pae-crash"] {
        if let Some(case) = corpus::unpacked(name) {
            alike(python, &[case.join("qemu.elf")], "elf");
        }
    }
    let Some(case) = corpus::unpacked("reactos-x86") else {
        return;
    };
    // 0.5.1 does not know the flattened form.
    let folder = scratch();
    let flat = fs::read(case.join("qemu.kdump")).unwrap();
    let path = folder.path().join("qemu.kdump");
    fs::write(&path, unflattened(&flat)).unwrap();
    alike(python, std::slice::from_ref(&path), "diskdump");
    // Ours are the same pages before and after.
    assert!(ours(&open(&[path])) == ours(&open(&[case.join("qemu.kdump")])));
}

/// The file inside a flattened one: a header of 4096 bytes, then offset and size, big-endian, and the bytes; -1
/// ends it. Source: makedumpfile, README, "-F".
fn unflattened(flat: &[u8]) -> Vec<u8> {
    let number = |at: usize| i64::from_be_bytes(flat[at..at + 8].try_into().unwrap());
    let mut file = Vec::new();
    let mut at = 4096;
    while number(at) >= 0 {
        let (offset, size) = (number(at) as usize, number(at + 8) as usize);
        if file.len() < offset + size {
            file.resize(offset + size, 0);
        }
        file[offset..offset + size].copy_from_slice(&flat[at + 16..at + 16 + size]);
        at += 16 + size;
    }
    file
}
