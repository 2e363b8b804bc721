//! Keys by an exported function and by what the block is known to hold.
//!
//! `KeSetTimerEx` scrambles a timer's DPC with `KiWaitNever` and `KiWaitAlways`: its first two loads of
//! 64-bit variables name them. The third key is the address of a byte in the kernel's data, unknown. But the
//! quadword at +0x18 decodes to the kernel's base, so each place in the data gives one candidate for it:
//!
//! ```text
//! flag = rotl(encoded ^ never, never) ^ bswap(KernBase ^ always)
//! ```
//!
//! It must lie in the kernel's image, and the block that it decodes must carry the tag.
//!
//! Of ARM64 kernels only this way is known: what the code there looks like (`KdCopyDataBlock`) has not been published.

use std::ops::ControlFlow;

use super::arm64;
use super::code::{decoded, ordered_pairs, rip_relative};
use super::{DebuggerData, Encoding, Fact, KERN_BASE, PeImage, Source, by_likelihood};
use crate::address::Gva;
use crate::format::u64_at;
use crate::paging::{AddressSpace, PagingMode};

/// Exported functions that load the keys, in themselves or in the function that they call first.
const FUNCTIONS: [&str; 2] = ["KeSetTimerEx", "KeSetTimer"];
/// Bytes of a function that are looked at.
const FUNCTION_BYTES: usize = 256;
/// Calls that are followed.
pub(super) const MAX_CALLS: usize = 4;
/// Candidates for the third key that lie in the image and are tried: chance gives none, 2^64 being what it is.
const MAX_FLAGS: usize = 1 << 12;

pub(super) fn find(
    space: &AddressSpace<'_>,
    image: &PeImage,
) -> Result<Fact<DebuggerData>, String> {
    let functions: Vec<Gva> = FUNCTIONS
        .iter()
        .filter_map(|name| image.export(space, name))
        .collect();
    if functions.is_empty() {
        return Err("the kernel exports neither KeSetTimerEx nor KeSetTimer".to_owned());
    }
    for &function in &functions {
        let code = space.bytes(function, FUNCTION_BYTES).unwrap_or_default();
        let calls = match space.mode() {
            PagingMode::Arm64 => arm64::calls(function, &code),
            _ => calls(function, &code),
        };
        for body in std::iter::once(function).chain(calls) {
            let code = space.bytes(body, FUNCTION_BYTES).unwrap_or_default();
            let loads: Vec<Gva> = loads(space.mode(), body, &code)
                .into_iter()
                .filter(|load| image.contains(*load))
                .collect();
            for (never, always) in ordered_pairs(space, &loads) {
                if let Some(block) = solve(space, image, never, always) {
                    return Ok(Fact::new(block, Source::KnownPlaintext(body)));
                }
            }
        }
    }
    Err(format!(
        "no place of the kernel's data decodes with the variables that {} functions load",
        functions.len()
    ))
}

/// Variables of 64 bits that code loads.
fn loads(mode: PagingMode, start: Gva, code: &[u8]) -> Vec<Gva> {
    match mode {
        PagingMode::Arm64 => arm64::loads(start, code),
        _ => rip_relative(start, code, 0x8b),
    }
}

/// Targets of the first near calls and jumps.
fn calls(start: Gva, code: &[u8]) -> Vec<Gva> {
    code.windows(5)
        .enumerate()
        .filter_map(|(at, bytes)| match bytes {
            [0xe8 | 0xe9, d0, d1, d2, d3] => {
                let displacement = i64::from(i32::from_le_bytes([*d0, *d1, *d2, *d3]));
                let next = i64::try_from(at).ok()?.checked_add(5)?;
                Some(start.wrapping_offset(next.wrapping_add(displacement)))
            }
            _ => None,
        })
        .take(MAX_CALLS)
        .collect()
}

/// Looks for a place that decodes to the kernel's base.
fn solve(
    space: &AddressSpace<'_>,
    image: &PeImage,
    ki_wait_never: u64,
    ki_wait_always: u64,
) -> Option<DebuggerData> {
    let plain = (image.base.get() ^ ki_wait_always).swap_bytes();
    let turn = u32::try_from(ki_wait_never & 63).unwrap_or(0);
    let mut left = MAX_FLAGS;
    let mut found = None;
    for section in by_likelihood(image).into_iter().filter(|s| s.writable) {
        image.scan_section(space, section, |gva, data| {
            for at in (0..data.len()).step_by(8) {
                let Some(encoded) = u64_at(data, at) else {
                    continue;
                };
                let flag = Gva::new((encoded ^ ki_wait_never).rotate_left(turn) ^ plain);
                if !image.contains(flag) {
                    continue;
                }
                let encoding = Encoding {
                    ki_wait_never,
                    ki_wait_always,
                    flag,
                };
                let block = gva
                    .saturating_add(at as u64)
                    .checked_sub(KERN_BASE as u64)
                    .and_then(|block| decoded(space, image, block, encoding));
                left = left.saturating_sub(1);
                if block.is_some() || left == 0 {
                    found = block;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if found.is_some() || left == 0 {
            break;
        }
    }
    found
}
