//! Keys by the code that copies the block for a debugger (`KdCopyDataBlock`).
//!
//! ```text
//! 80 3d d32 00      cmp  byte [rip+d], 0     KdpDataBlockEncoded
//! 48 8d /r d32      lea  r64, [rip+d]        KdDebuggerDataBlock
//! 48 8b /r d32      mov  r64, [rip+d]        KiWaitNever, then KiWaitAlways
//! 48 0f c8+r        bswap r64
//! ```
//!
//! Found wherever these stand within 300 bytes of the comparison; the decoded block judges the keys.

use std::ops::ControlFlow;

use super::{DebuggerData, Encoding, Fact, PeImage, Source, is_list};
use crate::address::Gva;
use crate::format::bytes_at;
use crate::paging::AddressSpace;

/// Bytes from the comparison in which the rest stands.
const WINDOW: usize = 300;
/// Loads that are tried as keys; the function has two.
const MAX_LOADS: usize = 4;
/// Windows with a comparison of the image, and a swap of bytes behind it, that are tried: a kernel has dozens.
const MAX_WINDOWS: usize = 1 << 14;

pub(super) fn find(
    space: &AddressSpace<'_>,
    image: &PeImage,
) -> Result<Fact<DebuggerData>, String> {
    let mut compared = 0_usize;
    let mut left = MAX_WINDOWS;
    let mut found = None;
    for section in image.sections.iter().filter(|section| section.executable) {
        image.scan_section(space, section, |gva, code| {
            for at in memchr::memmem::find_iter(code, b"\x80\x3d") {
                let here = gva.saturating_add(at as u64);
                let mut window = code.get(at..at.saturating_add(WINDOW));
                let reread;
                if window.is_none() {
                    // Near the end of a block: the code may go on in the next.
                    reread = space.bytes(here, WINDOW).ok();
                    window = reread.as_deref();
                }
                let Some(window) = window else { continue };
                compared = compared.saturating_add(1);
                if let Some(block) = try_window(space, image, here, window, &mut left) {
                    found = Some(Fact::new(block, Source::CodeScan(here)));
                }
                if found.is_some() || left == 0 {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(found) = found.take() {
            return Ok(found);
        }
    }
    Err(format!(
        "{compared} comparisons of a byte, none followed by such code"
    ))
}

fn try_window(
    space: &AddressSpace<'_>,
    image: &PeImage,
    here: Gva,
    window: &[u8],
    left: &mut usize,
) -> Option<DebuggerData> {
    // 7 bytes: the displacement counts from the next instruction.
    if *window.get(6)? != 0 {
        return None;
    }
    let displacement = i32::from_le_bytes(bytes_at(window, 2)?);
    let flag = here.wrapping_offset(i64::from(displacement).wrapping_add(7));
    if !image.contains(flag) {
        return None;
    }
    let swaps = window
        .windows(3)
        .any(|code| matches!(code, [0x48 | 0x49, 0x0f, 0xc8..=0xcf]));
    if !swaps {
        return None;
    }
    *left = left.saturating_sub(1);
    let blocks = rip_relative(here, window, 0x8d);
    let loads = rip_relative(here, window, 0x8b);
    blocks.iter().take(MAX_LOADS).find_map(|&block| {
        ordered_pairs(space, &loads).find_map(|(ki_wait_never, ki_wait_always)| {
            let encoding = Encoding {
                ki_wait_never,
                ki_wait_always,
                flag,
            };
            decoded(space, image, block, encoding)
        })
    })
}

/// The block at `gva`, if it is one once decoded.
pub(super) fn decoded(
    space: &AddressSpace<'_>,
    image: &PeImage,
    gva: Gva,
    encoding: Encoding,
) -> Option<DebuggerData> {
    let block = DebuggerData::read(space, image.base, gva, Some(encoding))?;
    is_list(space.mode(), &block.bytes).then_some(block)
}

/// Values of the variables in `loads`, as pairs in the order of the code, then the other way round.
pub(super) fn ordered_pairs(
    space: &AddressSpace<'_>,
    loads: &[Gva],
) -> impl Iterator<Item = (u64, u64)> + use<> {
    let values: Vec<u64> = loads
        .iter()
        .take(MAX_LOADS)
        .filter_map(|load| space.u64(*load).ok())
        .collect();
    let forward: Vec<_> = values
        .iter()
        .enumerate()
        .flat_map(|(n, a)| values.iter().skip(n.saturating_add(1)).map(|b| (*a, *b)))
        .collect();
    let backward: Vec<_> = forward.iter().map(|(a, b)| (*b, *a)).collect();
    forward.into_iter().chain(backward)
}

/// Addresses that instructions `REX.W opcode /r [rip+d32]` in `code` speak of, in order.
pub(super) fn rip_relative(start: Gva, code: &[u8], opcode: u8) -> Vec<Gva> {
    code.windows(7)
        .enumerate()
        .filter_map(|(at, bytes)| match bytes {
            // 48 or 4c: 64-bit operand; mod 00, r/m 101: relative to the next instruction.
            [0x48 | 0x4c, op, modrm, d0, d1, d2, d3] if *op == opcode && modrm & 0xc7 == 0x05 => {
                let displacement = i64::from(i32::from_le_bytes([*d0, *d1, *d2, *d3]));
                let next = i64::try_from(at).ok()?.checked_add(7)?;
                Some(start.wrapping_offset(next.wrapping_add(displacement)))
            }
            _ => None,
        })
        .collect()
}
