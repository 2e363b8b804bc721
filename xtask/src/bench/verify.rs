//! Whether a result is right. Reads dumps by offsets of its own, never through the library.
//!
//! Offsets: `DUMP_HEADER64` as in docs/formats/dmp.md.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use core2dmp_synth::Guest;

use crate::run::Outcome;

const PAGE: usize = 4096;
const HEADER: u64 = 0x2000;
/// Of the pages that a sample looks at, one in this many.
const SAMPLE: u64 = 257;
/// Bytes of KSPECIAL_REGISTERS that a converter may change.
const SPECIAL_BYTES: u64 = 0xf0;

/// Compares a dump with the guest: the header's fields, the size, and all pages or a sample of them. Returns how many
/// of those it looked at are not zero.
pub fn dump(path: &Path, guest: &Guest, entirely: bool) -> Outcome<u64> {
    let file = File::open(path)?;
    let frames: u64 = guest.expected.runs.iter().map(|run| run.1).sum();
    let size = HEADER + frames * PAGE as u64;
    same("size", file.metadata()?.len(), size)?;
    header(&file, guest, 1, size)?;
    runs(&file, guest, frames)?;
    let mut data = 0;
    let may_differ = patchable(guest);
    let mut reader = BufReader::with_capacity(1 << 20, &file);
    let mut page = [0; PAGE];
    if entirely {
        reader.read_exact(&mut [0; HEADER as usize])?;
    }
    let all = guest
        .expected
        .runs
        .iter()
        .flat_map(|&(first, count)| first..first + count);
    for (index, pfn) in all.enumerate() {
        let index = index as u64;
        if entirely {
            reader.read_exact(&mut page)?;
        } else if index.is_multiple_of(SAMPLE) {
            file.read_exact_at(&mut page, HEADER + index * PAGE as u64)?;
        } else {
            continue;
        }
        let expected = guest.page(pfn).unwrap_or([0; PAGE]);
        data += u64::from(page != [0; PAGE]);
        if page != expected && !may_differ.contains(&pfn) {
            return Err(format!("frame {pfn:#x} differs").into());
        }
    }
    debugger_data(&file, guest, |pfn| offset_of(guest, pfn))?;
    Ok(data)
}

/// The same, and the file takes no more room than its pages that are not zero.
pub fn sparse(path: &Path, guest: &Guest, entirely: bool) -> Outcome {
    let data = dump(path, guest, entirely)?;
    let taken = path.metadata()?.blocks() * 512;
    // A file system may take a little more, for what it knows of the extents.
    let most = data * PAGE as u64 * 102 / 100 + (1 << 20);
    if entirely && taken > most {
        return Err(format!("it takes {taken} bytes, expected {most} at most").into());
    }
    Ok(())
}

/// Compares a dump with a bitmap with the guest: header, bitmap, and every page that it holds. Of type 5 it holds all
/// that the container has; of type 6 the kernel's tables and no page of user memory.
pub fn bitmap(path: &Path, guest: &Guest, kind: u32) -> Outcome {
    let file = File::open(path)?;
    let mut head = [0; 0x38];
    file.read_exact_at(&mut head, HEADER)?;
    let tag: &[u8] = if kind == 6 { b"SDMPDUMP" } else { b"FDMPDUMP" };
    if head[..8] != *tag {
        return Err("the bitmap's header has another tag".into());
    }
    let (first_page, set) = (u64_at(&head, 0x20), u64_at(&head, 0x28));
    let mut bits = vec![0; u64_at(&head, 0x30).div_ceil(8) as usize];
    file.read_exact_at(&mut bits, HEADER + 0x38)?;
    let held: Vec<u64> = (0..bits.len() as u64 * 8)
        .filter(|pfn| bits[(pfn / 8) as usize] >> (pfn % 8) & 1 == 1)
        .collect();
    same("number of bits", held.len() as u64, set)?;
    let size = first_page + set * PAGE as u64;
    same("size", file.metadata()?.len(), size)?;
    header(&file, guest, kind, size)?;
    let all: Vec<u64> = (guest.expected.runs.iter())
        .flat_map(|&(first, count)| first..first + count)
        .collect();
    if kind == 5 && held != all {
        return Err("the bitmap does not name the guest's frames".into());
    }
    let stray = held.iter().find(|pfn| all.binary_search(pfn).is_err());
    let mut user = guest.expected.user.iter().flat_map(|user| &user.pfns);
    let user = user.find(|pfn| held.binary_search(pfn).is_ok());
    if let Some(pfn) = stray.or(user.filter(|_| kind == 6)) {
        return Err(format!("frame {pfn:#x} should not be in it").into());
    }
    let needed = [
        guest.expected.dtb,
        guest.translate(guest.expected.kernel.base).unwrap_or(0),
    ];
    if let Some(gpa) = needed
        .iter()
        .find(|gpa| held.binary_search(&(**gpa >> 12)).is_err())
    {
        return Err(format!("the page at {gpa:#x} should be in it").into());
    }
    let may_differ = patchable(guest);
    let mut reader = BufReader::with_capacity(1 << 20, &file);
    reader.seek(SeekFrom::Start(first_page))?;
    let mut page = [0; PAGE];
    for &pfn in &held {
        reader.read_exact(&mut page)?;
        if page != guest.page(pfn).unwrap_or([0; PAGE]) && !may_differ.contains(&pfn) {
            return Err(format!("frame {pfn:#x} differs").into());
        }
    }
    debugger_data(&file, guest, |pfn| {
        let index = held.binary_search(&pfn).ok()?;
        Some(first_page + (index * PAGE) as u64)
    })
}

fn header(file: &File, guest: &Guest, kind: u32, size: u64) -> Outcome {
    let expected = &guest.expected;
    let mut head = [0; HEADER as usize];
    file.read_exact_at(&mut head, 0)?;
    if &head[..8] != b"PAGEDU64" {
        return Err("the signature is not PAGEDU64".into());
    }
    same(
        "build",
        u64::from(u32_at(&head, 0x0c)),
        u64::from(expected.build),
    )?;
    same(
        "page tables",
        u64_at(&head, 0x10) & !0xfff,
        expected.dtb & !0xfff,
    )?;
    same(
        "module list",
        u64_at(&head, 0x20),
        expected.ps_loaded_module_list,
    )?;
    same(
        "process list",
        u64_at(&head, 0x28),
        expected.ps_active_process_head,
    )?;
    same(
        "processors",
        u64::from(u32_at(&head, 0x34)),
        expected.processors.len() as u64,
    )?;
    let kdbg = expected.kdbg.as_ref().map_or(0, |kdbg| kdbg.va);
    same("debugger data", u64_at(&head, 0x80), kdbg)?;
    same("type", u64::from(u32_at(&head, 0xf98)), u64::from(kind))?;
    same("required space", u64_at(&head, 0xfa0), size)
}

fn runs(file: &File, guest: &Guest, frames: u64) -> Outcome {
    let expected = &guest.expected.runs;
    let mut head = [0; HEADER as usize];
    file.read_exact_at(&mut head, 0)?;
    let count = u64::from(u32_at(&head, 0x88));
    same("number of runs", count, expected.len() as u64)?;
    same("number of pages", u64_at(&head, 0x90), frames)?;
    for (index, &(first, count)) in expected.iter().enumerate() {
        let at = 0x98 + index * 16;
        same("a run's first frame", u64_at(&head, at), first)?;
        same("a run's frames", u64_at(&head, at + 8), count)?;
    }
    Ok(())
}

/// The frames that a converter may change, and no others: debugger data, processors' contexts and special registers.
fn patchable(guest: &Guest) -> BTreeSet<u64> {
    let expected = &guest.expected;
    let mut pages = BTreeSet::new();
    let mut add = |gpa: u64, bytes: usize| pages.extend(gpa >> 12..=(gpa + bytes as u64 - 1) >> 12);
    if let Some(kdbg) = &expected.kdbg {
        for &(gpa, bytes) in &kdbg.pieces {
            add(gpa, bytes);
        }
        if let Some(flag) = kdbg
            .keys
            .and_then(|keys| guest.translate(keys.encoded_flag))
        {
            add(flag, 1);
        }
    }
    for processor in &expected.processors {
        for &(gpa, bytes) in &processor.context_pieces {
            add(gpa, bytes);
        }
        for at in [processor.special, processor.special + SPECIAL_BYTES - 1] {
            if let Some(gpa) = guest.translate(at) {
                add(gpa, 1);
            }
        }
    }
    pages
}

/// The debugger data block has to be plain in the dump.
fn debugger_data(file: &File, guest: &Guest, place: impl Fn(u64) -> Option<u64>) -> Outcome {
    let Some(kdbg) = &guest.expected.kdbg else {
        return Ok(());
    };
    let mut plain = kdbg.plain.as_slice();
    for &(gpa, bytes) in &kdbg.pieces {
        let page = place(gpa >> 12).ok_or("the debugger data is not in it")?;
        let offset = page + gpa % PAGE as u64;
        let mut found = vec![0; bytes];
        file.read_exact_at(&mut found, offset)?;
        let (expected, rest) = plain.split_at(bytes.min(plain.len()));
        if found[..expected.len()] != *expected {
            return Err("the debugger data is not plain".into());
        }
        plain = rest;
    }
    Ok(())
}

/// Where a frame is in a full dump.
fn offset_of(guest: &Guest, pfn: u64) -> Option<u64> {
    let mut before = 0;
    for &(first, count) in &guest.expected.runs {
        if (first..first + count).contains(&pfn) {
            return Some(HEADER + (before + pfn - first) * PAGE as u64);
        }
        before += count;
    }
    None
}

/// Compares a copy with its original by sample.
pub fn copy(original: &Path, copy: &Path) -> Outcome {
    let (original, copy) = (File::open(original)?, File::open(copy)?);
    let size = original.metadata()?.len();
    same("size", copy.metadata()?.len(), size)?;
    let (mut a, mut b) = ([0; PAGE], [0; PAGE]);
    for index in (0..size / PAGE as u64).step_by(SAMPLE as usize) {
        original.read_exact_at(&mut a, index * PAGE as u64)?;
        copy.read_exact_at(&mut b, index * PAGE as u64)?;
        if a != b {
            return Err(format!("page {index} differs").into());
        }
    }
    Ok(())
}

/// A dump of a guest that nobody here made: that it is one, and whole.
pub fn is_dump(path: &Path) -> Outcome {
    let file = File::open(path)?;
    let mut head = [0; HEADER as usize];
    file.read_exact_at(&mut head, 0)?;
    if &head[..8] != b"PAGEDU64" {
        return Err("the signature is not PAGEDU64".into());
    }
    same("size", file.metadata()?.len(), u64_at(&head, 0xfa0))
}

/// Looks for the guest's facts in what `info --json` printed.
pub fn facts(path: &Path, guest: &Guest) -> Outcome {
    let text = std::fs::read_to_string(path)?;
    serde_json::from_str::<serde_json::Value>(&text)?;
    let expected = &guest.expected;
    let kdbg = expected.kdbg.as_ref().map_or(0, |kdbg| kdbg.va);
    for (what, value) in [
        ("page tables", expected.dtb),
        ("kernel", expected.kernel.base),
        ("debugger data", kdbg),
        ("module list", expected.ps_loaded_module_list),
    ] {
        if !text.contains(&format!("\"{value:#x}\"")) {
            return Err(format!("{what} {value:#x} is not in it").into());
        }
    }
    Ok(())
}

fn same(what: &str, found: u64, expected: u64) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:#x}, found {found:#x}").into())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}
