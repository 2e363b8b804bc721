//! Epilogs of x64, from the instruction pointer on.
//!
//! ```text
//! [add rsp, n | lea rsp, [frame register + n]]   pop ..   ret | jmp to another function
//! ```
//!
//! An epilog gives up the frame bit by bit, and version 1 does not say where epilogs are: what is left of one is
//! known by its instructions alone. A `jmp` ends one only if it leaves the function: not to a part of it that is
//! chained elsewhere, and to its start if that is its primary part's (a call of itself). Jumps through a register end
//! one only with REX.W, which compilers give to tail calls and to no switch.
//!
//! Sources: "x64 exception handling", Microsoft's documentation, for the allowed instructions; coreclr's unwinder for
//! jumps; LLVM's `Win64EH` for version 2.

use super::super::ended::Ended;
use super::super::images::Image;
use super::super::registers::X64;
use super::super::{Unwinder, proof};
use super::info::{Info, Op};
use super::table::{self, Function};
use crate::address::Gva;

/// Bytes of code that are looked at: `lea`, fifteen `pop` of two bytes, `jmp`.
const WINDOW: usize = 48;

/// What comes behind the instruction pointer.
pub(super) enum Rest {
    /// The rest of an epilog, whose effects these are.
    Done(X64),
    /// Something else.
    Body,
    /// The code cannot be read.
    NoCode,
}

/// An instruction that ends an epilog if it leaves the function.
enum Last {
    Return,
    /// To an offset from behind it.
    Jump {
        length: usize,
        offset: i32,
    },
    /// To where only the running processor knows.
    JumpAnywhere,
}

/// A place in a function.
pub(super) struct Site<'u, 'a, 'm> {
    pub(super) unwinder: &'u Unwinder<'a, 'm>,
    pub(super) image: &'u Image,
    pub(super) function: Function,
    pub(super) info: &'u Info,
}

impl Site<'_, '_, '_> {
    /// Carries out the rest of an epilog, if this is one.
    pub(super) fn rest(&self, registers: &X64) -> Result<Rest, Ended> {
        let ip = Gva::new(registers.rip);
        if self.info.version == 2 && !self.is_listed(ip) {
            return Ok(Rest::Body);
        }
        let mut buffer = [0; WINDOW];
        let code = self.unwinder.memory.prefix(ip, &mut buffer);
        if code.is_empty() {
            return Ok(Rest::NoCode);
        }
        let mut after = *registers;
        let Some(rest) = self.give_up_frame(code, &mut after)? else {
            return Ok(Rest::Body);
        };
        let at = code.len().saturating_sub(rest.len());
        let leaves = match last(rest) {
            None => false,
            Some(Last::Return | Last::JumpAnywhere) => true,
            Some(Last::Jump { length, offset }) => {
                let behind = at.saturating_add(length) as u64;
                let target = registers.rip.wrapping_add(behind);
                let target = Gva::new(target.wrapping_add_signed(i64::from(offset)));
                self.leaves(target, &after)?
            }
        };
        if !leaves {
            return Ok(Rest::Body);
        }
        super::pop_return(self.unwinder, &mut after)?;
        Ok(Rest::Done(after))
    }

    /// Whether version 2 lists an epilog here: in front of the codes its length, then where each starts, counted
    /// from the function's end. Bit 0 of the first: one is at the very end.
    fn is_listed(&self, ip: Gva) -> bool {
        let mut entries = self.info.codes.iter().filter_map(|code| match code.op {
            Op::Epilog(byte, bits) => Some((u32::from(byte), u32::from(bits))),
            _ => None,
        });
        let (Some((length, flags)), Some(rva)) = (entries.next(), self.image.rva(ip)) else {
            return false;
        };
        let at_end = (flags & 1 != 0).then_some(length);
        let others = entries.map(|(low, high)| low | high << 8);
        at_end
            .into_iter()
            .chain(others.filter(|offset| *offset != 0))
            .any(|offset| {
                let start = self.function.end.wrapping_sub(offset);
                rva.wrapping_sub(start) < length
            })
    }

    /// What follows the instructions that give up the frame; `None` where the stack they pop is not to be had.
    fn give_up_frame<'c>(
        &self,
        code: &'c [u8],
        registers: &mut X64,
    ) -> Result<Option<&'c [u8]>, Ended> {
        let mut rest = match code {
            [0x48, 0x83, 0xc4, bytes, rest @ ..] => {
                let bytes = i64::from(bytes.cast_signed());
                registers.set_rsp(registers.rsp().wrapping_add_signed(bytes));
                rest
            }
            [0x48, 0x81, 0xc4, a, b, c, d, rest @ ..] => {
                let bytes = i64::from(i32::from_le_bytes([*a, *b, *c, *d]));
                registers.set_rsp(registers.rsp().wrapping_add_signed(bytes));
                rest
            }
            [rex @ (0x48 | 0x49), 0x8d, rest @ ..] => match self.lea(*rex, rest, registers) {
                Some(rest) => rest,
                None => return Ok(None),
            },
            _ => code,
        };
        loop {
            let (register, behind) = match rest {
                [pop @ 0x58..=0x5f, behind @ ..] => (pop & 7, behind),
                [0x41, pop @ 0x58..=0x5f, behind @ ..] => (pop & 7 | 8, behind),
                _ => return Ok(Some(rest)),
            };
            // Not yet known to be an epilog: a stack that cannot be read is not its fault.
            let Ok(value) = self.unwinder.memory.stack(registers.rsp()) else {
                return Ok(None);
            };
            registers.set_rsp(registers.rsp().wrapping_add(8));
            registers.set(register, value);
            rest = behind;
        }
    }

    /// `lea rsp, [frame register + n]`, behind REX and opcode.
    fn lea<'c>(&self, rex: u8, rest: &'c [u8], registers: &mut X64) -> Option<&'c [u8]> {
        let (modrm, mut rest) = rest.split_first()?;
        let frame = self.info.frame?;
        let base = modrm & 7 | (rex & 1) << 3;
        if modrm >> 3 & 7 != 4 || base != frame.number {
            return None;
        }
        if base & 7 == 4 {
            rest = rest.strip_prefix(&[0x24])?;
        }
        let offset = match modrm >> 6 {
            0 if base & 7 != 5 => 0,
            1 => {
                let (byte, behind) = rest.split_first()?;
                rest = behind;
                i64::from(byte.cast_signed())
            }
            2 => {
                let (bytes, behind) = rest.split_first_chunk()?;
                rest = behind;
                i64::from(i32::from_le_bytes(*bytes))
            }
            _ => return None,
        };
        registers.set_rsp(registers.get(base).wrapping_add_signed(offset));
        Some(rest)
    }

    /// Whether a jump to `target` leaves the function; `after` is then its caller's stack.
    fn leaves(&self, target: Gva, after: &X64) -> Result<bool, Ended> {
        let Some(rva) = self.image.rva(target) else {
            return Ok(true);
        };
        if (self.function.begin..self.function.end).contains(&rva) {
            return Ok(rva == self.function.begin && self.info.chained.is_none());
        }
        let parts = self.primaries(rva);
        match parts {
            Ok(Some((own, other))) => Ok(own != other || rva == own.begin),
            Ok(None) => Ok(true),
            // Which function the target belongs to is absent; the stack tells as well.
            Err(Ended::Unreadable { .. }) => {
                let word = self.unwinder.memory.stack(after.rsp())?;
                Ok(proof::is_return(self.unwinder, word))
            }
            Err(ended) => Err(ended),
        }
    }

    /// The primary parts of this function and of the one at `rva`, if there is one.
    fn primaries(&self, rva: u32) -> Result<Option<(Function, Function)>, Ended> {
        let Some(other) = table::find(&self.unwinder.memory, self.image, rva)? else {
            return Ok(None);
        };
        let other = super::primary(self.unwinder, self.image, other)?;
        let own = super::primary(self.unwinder, self.image, self.function)?;
        Ok(Some((own, other)))
    }
}

/// The instruction that ends an epilog, if it is one.
fn last(code: &[u8]) -> Option<Last> {
    Some(match code {
        [0xc3, ..] | [0xf2 | 0xf3, 0xc3, ..] | [0xc2, _, _, ..] => Last::Return,
        [0xeb, offset, ..] => Last::Jump {
            length: 2,
            offset: i32::from(offset.cast_signed()),
        },
        [0xe9, a, b, c, d, ..] => Last::Jump {
            length: 5,
            offset: i32::from_le_bytes([*a, *b, *c, *d]),
        },
        [0xff, 0x25, ..] => Last::JumpAnywhere,
        // mod 00 or a register: an epilog's jump has no displacement of its own.
        [0x48..=0x4f, 0xff, modrm, ..] if modrm >> 3 & 7 == 4 && matches!(modrm >> 6, 0 | 3) => {
            Last::JumpAnywhere
        }
        _ => return None,
    })
}
