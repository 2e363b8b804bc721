//! What code of ARM64 loads and calls.
//!
//! ```text
//! adrp xD, page    1 lo 10000 hi(19) D          xD = page of the instruction + hi:lo pages
//! ldr  xT, [xD, #n * 8]    0xf9400000 | n << 10 | D << 5 | T
//! bl, b    100101, 000101 offset(26)            words from the instruction
//! ```
//!
//! Source: Arm ARM, C6.2.

use super::plaintext::MAX_CALLS;
use crate::address::{Gva, PAGE_SIZE};

/// Variables of 64 bits that are loaded, in the code's order: pairs of ADRP and LDR with one base register.
pub(super) fn loads(start: Gva, code: &[u8]) -> Vec<Gva> {
    let mut pages: [Option<Gva>; 32] = [None; 32];
    let mut loads = Vec::new();
    for (at, word) in words(start, code) {
        let (to, from) = (register(word), register(word >> 5));
        if word & 0x9f00_0000 == 0x9000_0000 {
            let value = (word >> 5 & 0x7_ffff) << 2 | word >> 29 & 3;
            let page = signed(value, 21).wrapping_mul(PAGE_SIZE.cast_signed());
            if let Some(slot) = pages.get_mut(to) {
                *slot = Some(at.page_start().wrapping_offset(page));
            }
        } else if word & 0xffc0_0000 == 0xf940_0000 {
            let offset = u64::from(word >> 10 & 0xfff) << 3;
            let page = pages.get(from).copied().flatten();
            loads.extend(page.and_then(|page| page.checked_add(offset)));
            if let Some(slot) = pages.get_mut(to) {
                *slot = None;
            }
        }
    }
    loads
}

/// Targets of the first calls and jumps.
pub(super) fn calls(start: Gva, code: &[u8]) -> Vec<Gva> {
    words(start, code)
        .filter(|(_, word)| word & 0x7c00_0000 == 0x1400_0000)
        .map(|(at, word)| at.wrapping_offset(signed(word & 0x3ff_ffff, 26).wrapping_mul(4)))
        .take(MAX_CALLS)
        .collect()
}

fn words(start: Gva, code: &[u8]) -> impl Iterator<Item = (Gva, u32)> {
    let (words, _) = code.as_chunks::<4>();
    (0..)
        .step_by(4)
        .zip(words)
        .map(move |(at, word)| (start.saturating_add(at), u32::from_le_bytes(*word)))
}

/// The number in the lowest five bits.
fn register(word: u32) -> usize {
    usize::try_from(word & 0x1f).unwrap_or(0)
}

/// A number of so many bits, with its sign.
fn signed(value: u32, bits: u32) -> i64 {
    let unused = 64_u32.saturating_sub(bits);
    u64::from(value)
        .wrapping_shl(unused)
        .cast_signed()
        .wrapping_shr(unused)
}
