//! Whether a word is a return address: it lies in an image's code, behind a call.
//!
//! ```text
//! x86, x64   E8 rel32                  the target lies in an image, too
//!            [REX] FF /2 .. FF /3      call through a register or memory, 2 to 7 bytes
//! ARM64      BL, BLR, BLRA*            4 bytes
//! ```
//!
//! Sources: Intel SDM volume 2, CALL and table 2-2 (`ModRM`); Arm ARM, C6.2 (BL, BLR, BLRAA).

use super::Unwinder;
use crate::address::Gva;

/// Bytes of the longest call.
const LONGEST: u8 = 7;

/// Whether `word` is the address behind a call of x86 or x64.
pub(super) fn is_return(unwinder: &Unwinder<'_, '_>, word: u64) -> bool {
    let gva = Gva::new(word);
    let Some(image) = unwinder.image(gva) else {
        return false;
    };
    let Some(rva) = image.rva(gva) else {
        return false;
    };
    if !image.is_code(&unwinder.memory, rva) {
        return false;
    }
    let Some(from) = gva.checked_sub(u64::from(LONGEST)) else {
        return false;
    };
    let mut code = [0; LONGEST as usize];
    if unwinder.memory.bytes(from, &mut code, "code").is_err() {
        return false;
    }
    is_direct_call(unwinder, &code, word) || (2..=7).any(|bytes| is_indirect_call(&code, bytes))
}

fn is_direct_call(unwinder: &Unwinder<'_, '_>, code: &[u8; 7], word: u64) -> bool {
    let [_, _, 0xe8, displacement @ ..] = *code else {
        return false;
    };
    let target = word.wrapping_add_signed(i64::from(i32::from_le_bytes(displacement)));
    let target = if unwinder.memory.space().mode().is_64bit() && word >> 32 != 0 {
        target
    } else {
        target & 0xffff_ffff
    };
    unwinder.image(Gva::new(target)).is_some()
}

/// Whether the last `bytes` bytes are FF /2 or FF /3 of just this length.
fn is_indirect_call(code: &[u8; 7], bytes: usize) -> bool {
    let start = code.len().saturating_sub(bytes);
    let Some([0xff, modrm, rest @ ..]) = code.get(start..) else {
        return false;
    };
    let is_call = matches!(modrm >> 3 & 7, 2 | 3);
    let (mode, base) = (modrm >> 6, modrm & 7);
    let sib = usize::from(mode != 3 && base == 4);
    let sib_base = rest.first().map_or(0, |sib| sib & 7);
    let displacement = match (mode, base) {
        (0, 5) => 4,
        (0, 4) if sib_base == 5 => 4,
        (1, _) => 1,
        (2, _) => 4,
        _ => 0,
    };
    is_call && rest.len() == sib.saturating_add(displacement)
}

/// Whether `word` is the address behind a call of ARM64.
pub(super) fn is_return_arm64(unwinder: &Unwinder<'_, '_>, word: u64) -> bool {
    let call = word.checked_sub(4).filter(|_| word.is_multiple_of(4));
    let call = call.filter(|_| unwinder.image(Gva::new(word)).is_some());
    let code = call.and_then(|call| unwinder.memory.u32(Gva::new(call), "code").ok());
    code.is_some_and(|code| {
        code >> 26 == 0b10_0101 // BL
            || code & 0xffff_fc1f == 0xd63f_0000 // BLR
            || code & 0xfeff_f800 == 0xd63f_0800 // BLRAA, BLRAAZ, BLRAB, BLRABZ
    })
}
