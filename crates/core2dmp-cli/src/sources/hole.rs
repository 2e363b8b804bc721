//! Holes of raw memory: as the user gives them, as Windows' own map of memory proves them, as a hypervisor is
//! known to make them.
//!
//! ```text
//! flat           |------ file, byte n is address n ------|
//! Windows says   |-- RAM --|   hole   |------ RAM -------|   the file is too short for that:
//! opened again   |-- file -|          |-- rest of file --|
//! ```

use core2dmp::address::{PAGE_SIZE, Pfn};
use core2dmp::container::{Guest, OpenOptions, raw};
use core2dmp::memory::Frames;
use core2dmp::windows::Windows;

use super::Sources;
use crate::message::Failure;

/// Where RAM continues that has no place below 4 GiB.
const FOUR_GIB: u64 = 0x10_0000;
/// VMware's hole starts at 3 GiB.
const VMWARE: u64 = 0xc_0000;
/// Where the hole below 4 GiB may start: VMware and QEMU's i440FX; q35, and q35 of up to 2.75 GiB; VirtualBox and
/// i440FX of up to 3.5 GiB; Xen; Hyper-V. Each is only tried, and taken if Windows is found with it. Sources: QEMU,
/// `hw/i386/pc_piix.c` and `pc_q35.c`; Xen, `public/hvm/e820.h` (`HVM_BELOW_4G_RAM_END`).
const USUAL: [u64; 6] = [VMWARE, 0x8_0000, 0xb_0000, 0xe_0000, 0xf_0000, 0xf_8000];

/// `START-END`, the end exclusive: hex, or a number with K, M or G behind it.
pub(crate) fn parse(text: &str) -> Result<Frames, String> {
    let (start, end) = text
        .split_once('-')
        .ok_or("expected START-END, such as 0xc0000000-0x100000000 or 3G-4G")?;
    let (start, end) = (address(start)?, address(end)?);
    if start >= end {
        return Err(format!(
            "the end {end:#x} is not behind the start {start:#x}"
        ));
    }
    if !(start % PAGE_SIZE == 0 && end % PAGE_SIZE == 0) {
        return Err("a hole starts and ends at a multiple of 4096".to_owned());
    }
    let frame = |address: u64| Pfn::new(address / PAGE_SIZE);
    if frame(end) > Pfn::END {
        return Err(format!("{end:#x} is beyond what a processor can address"));
    }
    Ok(Frames::between(frame(start), frame(end)))
}

fn address(text: &str) -> Result<u64, String> {
    let text = text.trim().replace('`', "");
    let (number, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 30),
        _ => (Some(text.as_str()), 0),
    };
    let number = number.unwrap_or_default();
    let hex = number
        .strip_prefix("0x")
        .or_else(|| number.strip_prefix("0X"));
    let value = match hex {
        Some(hex) => u64::from_str_radix(hex, 16),
        // With a unit people count in tens.
        None if shift > 0 => number.parse(),
        None => u64::from_str_radix(number, 16),
    };
    value
        .ok()
        .and_then(|value| value.checked_mul(1 << shift))
        .ok_or_else(|| format!("{text:?} is no address: hex, or a number with K, M or G"))
}

/// The hole of a `.vmem` of this size.
pub(super) fn vmware(size: u64) -> Option<Frames> {
    (size > VMWARE.saturating_mul(PAGE_SIZE)).then(|| below_4g(VMWARE))
}

fn below_4g(start: u64) -> Frames {
    Frames::between(Pfn::new(start), Pfn::new(FOUR_GIB))
}

/// A guest, and Windows in it.
pub(crate) struct Identified {
    pub(crate) guest: Guest,
    pub(crate) found: Result<Windows, Failure>,
}

/// Finds Windows in `guest`, and in raw memory the hole that the file leaves out.
pub(crate) fn identified(
    sources: &Sources,
    options: &OpenOptions,
    guest: Guest,
    identify: &dyn Fn(&Guest) -> Result<Windows, Failure>,
) -> Identified {
    let found = identify(&guest);
    if guest.container.format != "raw" || !options.holes.is_empty() {
        return Identified { guest, found };
    }
    let holes: Vec<Frames> = match &found {
        Ok(windows) => raw::hole(&guest, &windows.runs.value).into_iter().collect(),
        Err(_) => usual(&guest),
    };
    for hole in holes {
        let again = OpenOptions {
            holes: vec![hole],
            ..options.clone()
        };
        let Ok(mut other) = sources.guest(&again) else {
            continue;
        };
        let why = if found.is_ok() {
            "Windows counts memory behind a hole"
        } else {
            "Windows was found only with a hole"
        };
        other.container.warnings.push(format!(
            "{why} that this raw file leaves out: read as with --hole {:#x}-{:#x}",
            hole.first.gpa().get(),
            hole.end().gpa().get()
        ));
        if let Ok(windows) = identify(&other) {
            return Identified {
                guest: other,
                found: Ok(windows),
            };
        }
    }
    Identified { guest, found }
}

/// The holes that a file of this size may leave out.
fn usual(guest: &Guest) -> Vec<Frames> {
    let frames = guest.container.size / PAGE_SIZE;
    let is_flat = matches!(guest.memory.runs(), [run] if run.frames.first == Pfn::new(0));
    let starts = USUAL.into_iter().filter(|start| is_flat && *start < frames);
    starts.map(below_4g).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_read_in_every_notation() {
        let hole = Ok(Frames::between(Pfn::new(0xc_0000), Pfn::new(0x10_0000)));
        for text in [
            "0xc0000000-0x100000000",
            "c0000000-100000000",
            "3G-4G",
            "0x3g-4096M",
            "0xc0000000-1`00000000",
        ] {
            assert_eq!(parse(text), hole, "{text}");
        }
        for wrong in [
            "",
            "3G",
            "4G-3G",
            "0-0",
            "0x10-0x1000",
            "x-y",
            "-",
            "0-fffffffffffff000",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("0-99999999999999999G").is_err());
    }

    #[test]
    fn a_vmem_has_a_hole_only_where_it_is_larger() {
        assert_eq!(vmware(3 << 30), None);
        let hole = vmware((3 << 30) + 1).map(|hole| hole.count);
        assert_eq!(hole, Some(0x4_0000));
    }
}
