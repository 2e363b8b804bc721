//! Holes of raw memory: as Windows' own map of memory proves them, or as a hypervisor is known to make them.
//!
//! ```text
//! flat           |------ file, byte n is address n ------|
//! Windows says   |-- RAM --|   hole   |------ RAM -------|   the file is too short for that:
//! opened again   |-- file -|          |-- rest of file --|
//! ```

use super::OpenOptions;
use super::set::Set;
use crate::address::{PAGE_SIZE, Pfn};
use crate::container::{Guest, raw};
use crate::error::Result;
use crate::memory::Frames;
use crate::windows::{self, Windows};

/// Where RAM continues that has no place below 4 GiB.
const FOUR_GIB: u64 = 0x10_0000;
/// VMware's hole starts at 3 GiB.
const VMWARE: u64 = 0xc_0000;
/// Where the hole below 4 GiB may start: VMware and QEMU's i440FX; q35, and q35 of up to 2.75 GiB; VirtualBox and
/// i440FX of up to 3.5 GiB; Xen; Hyper-V. Each is only tried, and taken if Windows is found with it. Sources: QEMU,
/// `hw/i386/pc_piix.c` and `pc_q35.c`; Xen, `public/hvm/e820.h` (`HVM_BELOW_4G_RAM_END`).
const USUAL: [u64; 6] = [VMWARE, 0x8_0000, 0xb_0000, 0xe_0000, 0xf_0000, 0xf_8000];

/// The hole of a `.vmem` of so many bytes: what follows the first 3 GiB of the file is memory at 4 GiB and above.
///
/// That is a habit of VMware and not a fact of the file. A smaller file has no hole.
pub(super) fn of_vmem(size: u64) -> Option<Frames> {
    (size > VMWARE.saturating_mul(PAGE_SIZE)).then(|| below_4g(VMWARE))
}

fn below_4g(start: u64) -> Frames {
    Frames::between(Pfn::new(start), Pfn::new(FOUR_GIB))
}

/// A guest, the hole that was found, and what was found of Windows meanwhile.
type WithHole = (Guest, Option<Frames>, Option<Result<Windows>>);

/// Opens the guest of `set`; of raw memory with the hole that the file leaves out, if Windows in it speaks of one.
pub(super) fn opened(set: &Set, options: &OpenOptions) -> Result<WithHole> {
    let guest = set.guest(&options.container)?;
    if guest.container.format != "raw" || !options.container.holes.is_empty() {
        return Ok((guest, None, None));
    }
    let found = windows::identify_with(&guest, &options.identify);
    let holes: Vec<Frames> = match &found {
        Ok(windows) => raw::hole(&guest, &windows.runs.value).into_iter().collect(),
        Err(_) => usual(&guest),
    };
    for hole in holes {
        let again = options.container.clone().holes(vec![hole]);
        let Ok(mut other) = set.guest(&again) else {
            continue;
        };
        let why = if found.is_ok() {
            "Windows counts memory behind a hole"
        } else {
            "Windows was found only with a hole"
        };
        other.container.warnings.push(format!(
            "{why} that this raw file leaves out: read with the hole {:#x}-{:#x}",
            hole.first.gpa().get(),
            hole.end().gpa().get()
        ));
        if let Ok(windows) = windows::identify_with(&other, &options.identify) {
            return Ok((other, Some(hole), Some(Ok(windows))));
        }
    }
    Ok((guest, None, Some(found)))
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
    fn a_vmem_has_a_hole_only_where_it_is_larger() {
        assert_eq!(of_vmem(3 << 30), None);
        let hole = of_vmem((3 << 30) + 1).map(|hole| hole.count);
        assert_eq!(hole, Some(0x4_0000));
    }
}
