//! What Windows and the processor record about an exception: records in memory, and frames on the stack.
//!
//! ```text
//! machine frame   x64  RIP CS RFLAGS RSP SS      pushed by the processor, the stack aligned to 16 bytes first
//!                 x86  EIP CS EFLAGS             pushed by the processor; no stack pointer within ring 0
//! trap frame      KTRAP_FRAME, whose end is the machine frame: x64 at +0x168, x86 at +0x68
//! ```
//!
//! Sources: Intel SDM volume 3, 6.12 and 6.14 for what is pushed; wdm.h and ntddk.h for `EXCEPTION_RECORD` and
//! `KTRAP_FRAME`.

use super::Exception;
use crate::address::{Gva, PAGE_SIZE};
use crate::format::{u16_at, u32_at, u64_at};
use crate::paging::{AddressSpace, PagingMode};
use crate::windows::modules::Module;

/// Bytes of a kernel stack: a record on it is at most this far above the stack pointer.
pub(super) const STACK_BYTES: u64 = 0x6000;
/// Parameters of an exception record: `EXCEPTION_MAXIMUM_PARAMETERS`.
const MAX_PARAMETERS: usize = 15;
/// Selectors of ring 0 code: x64 and x86.
const KERNEL_CS: (u16, u16) = (0x10, 0x08);
/// SS in ring 0 of x64: set by SYSCALL, or null after an interrupt that came from ring 3.
const KERNEL_SS: [u16; 2] = [0x18, 0];
/// FS in ring 0 of x86, and where a trap frame keeps it, counted back from EIP.
const KERNEL_FS: (u16, usize) = (0x30, 0x18);
/// RFLAGS: bit 1 is always set; bits 3, 5, 15, virtual 8086 mode and all from 22 on are never.
const FLAGS: (u64, u64) = (0x2, 0xffff_ffff_ffc2_8028);

/// An instruction pointer on a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where it is.
    pub(super) at: Gva,
    /// The interrupted instruction.
    pub(super) instruction: Gva,
}

/// The first machine frame of kernel code from the stack pointer `stack` up, on one kernel stack.
pub(super) fn machine_frame(
    space: &AddressSpace<'_>,
    modules: &[Module],
    stack: Gva,
) -> Option<Frame> {
    let word = space.mode().pointer_bytes();
    let start = Gva::new(stack.get().checked_next_multiple_of(word as u64)?);
    let bytes = stack_bytes(space, start);
    (0..bytes.len()).step_by(word).find_map(|offset| {
        let at = start.checked_add(offset as u64)?;
        let instruction = match space.mode() {
            PagingMode::X64 | PagingMode::X64La57 => frame_x64(&bytes, offset, at)?,
            PagingMode::X86 | PagingMode::X86Pae => frame_x86(&bytes, offset)?,
            PagingMode::Arm64 => return None,
        };
        let in_module = modules.iter().any(|module| {
            let offset = instruction.get().checked_sub(module.base.get());
            offset.is_some_and(|offset| offset < u64::from(module.size))
        });
        let in_kernel = in_module && space.mode().is_kernel(instruction);
        (in_kernel && space.translate(instruction).is_ok()).then_some(Frame { at, instruction })
    })
}

/// What can be read of one kernel stack from `start` up.
fn stack_bytes(space: &AddressSpace<'_>, start: Gva) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut left = STACK_BYTES;
    let mut at = start;
    while left > 0 && space.mode().is_kernel(at) {
        let here = PAGE_SIZE.saturating_sub(at.page_offset()).min(left);
        match space.bytes(at, usize::try_from(here).unwrap_or(0)) {
            Ok(read) => bytes.extend_from_slice(&read),
            Err(_) => break,
        }
        left = left.saturating_sub(here);
        let Some(next) = at.checked_add(here) else {
            break;
        };
        at = next;
    }
    bytes
}

fn frame_x64(bytes: &[u8], offset: usize, at: Gva) -> Option<Gva> {
    let read = |slot: usize| u64_at(bytes, offset.checked_add(slot.checked_mul(8)?)?);
    let (cs, flags, rsp) = (read(1)?, read(2)?, read(3)?);
    let ss = u16_at(bytes, offset.checked_add(32)?)?;
    let end = at.checked_add(40)?.get();
    let is_frame = cs == u64::from(KERNEL_CS.0)
        && is_flags(flags)
        && rsp & !0xf == end
        && KERNEL_SS.contains(&ss);
    is_frame.then(|| read(0).map(Gva::new))?
}

fn frame_x86(bytes: &[u8], offset: usize) -> Option<Gva> {
    let read = |slot: usize| u32_at(bytes, offset.checked_add(slot.checked_mul(4)?)?);
    let (cs, flags) = (read(1)?, read(2)?);
    let fs = u16_at(bytes, offset.checked_sub(KERNEL_FS.1)?)?;
    let is_frame = cs == u32::from(KERNEL_CS.1) && is_flags(u64::from(flags)) && fs == KERNEL_FS.0;
    is_frame.then(|| read(0).map(|eip| Gva::new(u64::from(eip))))?
}

const fn is_flags(flags: u64) -> bool {
    let (set, clear) = FLAGS;
    flags & set == set && flags & clear == 0
}

/// The instruction pointer in the `KTRAP_FRAME` at an address.
pub(super) fn trap_frame(space: &AddressSpace<'_>, address: u64) -> Option<Gva> {
    let offset = match space.mode() {
        PagingMode::X64 | PagingMode::X64La57 => 0x168,
        PagingMode::X86 | PagingMode::X86Pae => 0x68,
        PagingMode::Arm64 => return None,
    };
    space
        .pointer(Gva::new(address).checked_add(offset)?)
        .ok()
        .filter(|_| address != 0)
}

/// The `EXCEPTION_RECORD` at an address: code, flags, chain, address, count, parameters.
pub(super) fn exception_record(space: &AddressSpace<'_>, address: u64) -> Option<Exception> {
    let wide = space.mode().is_64bit();
    let word = space.mode().pointer_bytes();
    let (at_address, at_count, at_parameters) = if wide { (16, 24, 32) } else { (12, 16, 20) };
    let size = MAX_PARAMETERS
        .checked_mul(word)?
        .checked_add(at_parameters)?;
    let raw = space.bytes(Gva::new(address), size).ok()?;
    let read = |offset: usize| {
        if wide {
            u64_at(&raw, offset)
        } else {
            u32_at(&raw, offset).map(u64::from)
        }
    };
    let count = usize::try_from(u32_at(&raw, at_count)?).ok()?;
    if count > MAX_PARAMETERS {
        return None;
    }
    let parameters = (0..count)
        .map_while(|n| read(at_parameters.checked_add(n.checked_mul(word)?)?))
        .collect();
    Some(Exception {
        code: u32_at(&raw, 0)?,
        flags: u32_at(&raw, 4)?,
        address: Gva::new(read(at_address)?),
        parameters,
    })
}
