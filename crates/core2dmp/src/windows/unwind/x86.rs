//! x86: no tables say how frames look, so each is proven by its return address.
//!
//! ```text
//! EIP at push ebp, mov ebp esp, pop ebp or ret   the return address is above what is still to be popped
//! EBP -> { EBP of the caller, return address }   the chain of functions that keep a frame pointer
//! EBP -> KTRAP_FRAME (its DbgArgMark is set)     what the kernel saved of interrupted code
//! else                                           the first word up the stack that follows a call
//! ```
//!
//! Functions without a frame pointer that are called from one with it do not appear in the chain; the debugger passes
//! over them, too, where it has no symbols.
//!
//! Sources: `KTRAP_FRAME` of ntddk.h, i386 part; Intel SDM volume 2 for the instructions.

use super::ended::Ended;
use super::proof;
use super::registers::{Registers, X86};
use super::{How, Unwinder};
use crate::address::Gva;

/// Bytes of stack that are searched for a return address.
const MAX_SEARCHED: u32 = 0x3000;

/// `KTRAP_FRAME`.
mod trap {
    pub(super) const ARG_MARK: u32 = 0x08;
    pub(super) const MARKED: u32 = 0xbadb_0d00;
    pub(super) const EBP: u32 = 0x60;
    pub(super) const EIP: u32 = 0x68;
    pub(super) const CS: u32 = 0x6c;
    /// ESP, if the interrupted code was not the kernel's; else the stack was right here.
    pub(super) const ESP: u32 = 0x74;
}

/// The caller's registers. `exact`: EIP is the next instruction, not a return address.
pub(super) fn caller(
    unwinder: &Unwinder<'_, '_>,
    registers: &X86,
    exact: bool,
) -> Result<(X86, How), Ended> {
    let walk = Walk {
        unwinder,
        registers: *registers,
    };
    if let Some(caller) = exact.then(|| walk.at_border()).flatten() {
        return Ok((caller, How::Leaf));
    }
    if let Some(caller) = walk.trap_frame() {
        return Ok((caller, How::MachineFrame));
    }
    if let Some(caller) = walk.frame_pointer() {
        return Ok((caller, How::FramePointer));
    }
    walk.search().map(|caller| (caller, How::ProvenReturn))
}

struct Walk<'u, 'a, 'm> {
    unwinder: &'u Unwinder<'a, 'm>,
    registers: X86,
}

impl Walk<'_, '_, '_> {
    fn word(&self, at: u32) -> Option<u32> {
        self.unwinder.memory.stack32(at).ok()
    }

    /// Whether a word is a return address of code in the same half of memory.
    fn is_return(&self, word: u32) -> bool {
        let gva = Gva::new(u64::from(word));
        self.unwinder
            .is_same_half(&Registers::X86(self.registers), gva)
            && proof::is_return(self.unwinder, u64::from(word))
    }

    /// Where a function has no frame yet, or no more.
    fn at_border(&self) -> Option<X86> {
        let mut buffer = [0; 8];
        let ip = Gva::new(u64::from(self.registers.eip));
        let memory = &self.unwinder.memory;
        let code = memory.prefix(ip, &mut buffer);
        let mut before = [0];
        let behind_push = ip
            .checked_sub(1)
            .is_some_and(|at| memory.bytes(at, &mut before, "code").is_ok() && before == [0x55]);
        // Words on the stack in front of the return address: EBP, if it is one.
        let pushed = match code {
            [0x8b, 0xff, 0x55, 0x8b, 0xec, ..] | [0x55, 0x8b, 0xec, ..] => false,
            [0x55, 0x89, 0xe5, ..] | [0xc3, ..] | [0xc2, ..] => false,
            [0x8b, 0xec, ..] | [0x89, 0xe5, ..] if behind_push => true,
            [0x5d, 0xc3, ..] | [0x5d, 0xc2, ..] => true,
            _ => return None,
        };
        let esp = self.registers.esp;
        let at = if pushed { esp.wrapping_add(4) } else { esp };
        let ebp = if pushed {
            self.word(esp)?
        } else {
            self.registers.ebp
        };
        let eip = self.word(at)?;
        let esp = at.wrapping_add(4);
        self.is_return(eip).then_some(X86 { eip, esp, ebp })
    }

    fn trap_frame(&self) -> Option<X86> {
        let at = |offset: u32| self.registers.ebp.checked_add(offset);
        if self.registers.ebp < self.registers.esp
            || self.word(at(trap::ARG_MARK)?)? != trap::MARKED
        {
            return None;
        }
        let user = self.word(at(trap::CS)?)? & 3 != 0;
        let esp = if user {
            self.word(at(trap::ESP)?)?
        } else {
            at(trap::ESP)?
        };
        Some(X86 {
            eip: self.word(at(trap::EIP)?)?,
            esp,
            ebp: self.word(at(trap::EBP)?)?,
        })
    }

    fn frame_pointer(&self) -> Option<X86> {
        let frame = self.registers.ebp;
        if frame < self.registers.esp || !frame.is_multiple_of(4) {
            return None;
        }
        let ebp = self.word(frame)?;
        let eip = self.word(frame.checked_add(4)?)?;
        let esp = frame.checked_add(8)?;
        // Threads start in a function with a frame, and nothing called it.
        let bottom = eip == 0 && ebp == 0;
        (bottom || self.is_return(eip)).then_some(X86 { eip, esp, ebp })
    }

    /// The first return address from the stack pointer up.
    fn search(&self) -> Result<X86, Ended> {
        let first = self.registers.esp.checked_next_multiple_of(4);
        let start = first.unwrap_or(u32::MAX);
        let mut searched = 0;
        while searched < MAX_SEARCHED {
            let Some(at) = start.checked_add(searched) else {
                break;
            };
            let eip = match self.unwinder.memory.stack32(at) {
                Ok(word) => word,
                Err(ended) if searched == 0 => return Err(ended),
                Err(_) => break,
            };
            searched = searched.saturating_add(4);
            if self.is_return(eip) {
                return Ok(X86 {
                    eip,
                    esp: at.saturating_add(4),
                    ebp: self.registers.ebp,
                });
            }
        }
        Err(Ended::NoReturnAddress {
            from: Gva::new(u64::from(start)),
            bytes: u64::from(searched),
        })
    }
}
