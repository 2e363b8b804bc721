//! `UNWIND_INFO` of x64: what a prolog did, last things first.
//!
//! ```text
//! 0 version 3 bits, flags 5 | 1 bytes of the prolog | 2 number of codes | 3 frame register 4, its offset / 16: 4
//! 4 codes of 2 bytes: offset behind the instruction | operation 4 bits, operand 4 | more operands in codes that follow
//! behind them, at a multiple of 4: a handler, or with UNW_FLAG_CHAININFO the RUNTIME_FUNCTION of the primary part
//! ```
//!
//! Sources: "x64 exception handling", Microsoft's documentation. Version 2 begins its codes with `UWOP_EPILOG` entries:
//! LLVM's `Win64EH`.

use super::super::ended::Ended;
use super::super::images::Image;
use super::super::memory::Memory;
use super::super::registers::X64;
use super::table::{ENTRY_BYTES, Function};
use crate::address::Gva;
use crate::format::{u16_at, u32_at};

const FLAG_CHAINED: u8 = 4;
const HEADER: &str = "unwind information";
const CODES: &str = "unwind codes";

/// What an instruction of a prolog did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Push(u8),
    Alloc(u32),
    SetFrame,
    /// A register, at an offset from the frame's base.
    Save(u8, u32),
    /// Registers that a walk does not need.
    SaveXmm,
    /// Version 2: a byte and four bits of the list of epilogs.
    Epilog(u8, u8),
    MachineFrame {
        error_code: bool,
    },
}

/// A code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    /// From the function's start to behind the instruction.
    pub(super) offset: u8,
    pub(super) op: Op,
}

/// The frame register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameRegister {
    pub(super) number: u8,
    /// From the frame's base to where the register points.
    pub(super) offset: u64,
}

impl FrameRegister {
    pub(super) fn base(self, registers: &X64) -> u64 {
        registers.get(self.number).wrapping_sub(self.offset)
    }
}

/// Unwind information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) version: u8,
    /// Bytes of the prolog.
    pub(super) prolog: u8,
    pub(super) frame: Option<FrameRegister>,
    pub(super) codes: Vec<Code>,
    /// The part of the function that this one continues.
    pub(super) chained: Option<Function>,
}

impl Info {
    pub(super) fn read(memory: &Memory<'_, '_>, image: &Image, rva: u32) -> Result<Self, Ended> {
        let gva = image.at(rva).ok_or(Ended::Corrupt {
            what: "the address of unwind information",
            gva: Gva::new(u64::from(rva)),
        })?;
        let mut header = [0; 4];
        memory.bytes(gva, &mut header, HEADER)?;
        let [first, prolog, count, frame] = header;
        let (version, flags) = (first & 7, first >> 3);
        if !matches!(version, 1 | 2) {
            let what = "a version of unwind information";
            return Err(Ended::Unknown { what, gva });
        }
        let raw = usize::from(count).saturating_mul(2);
        let mut bytes = vec![0; raw];
        let codes_at = gva.saturating_add(4);
        memory.bytes(codes_at, &mut bytes, CODES)?;
        let codes = codes(&bytes, version).ok_or(Ended::Corrupt {
            what: CODES,
            gva: codes_at,
        })?;
        let chained = if flags & FLAG_CHAINED == 0 {
            None
        } else {
            let padded = raw.next_multiple_of(4) as u64;
            let mut entry = [0; ENTRY_BYTES as usize];
            memory.bytes(codes_at.saturating_add(padded), &mut entry, HEADER)?;
            let entry = Function::of_bytes(&entry);
            entry.map(|entry| entry.direct(memory, image)).transpose()?
        };
        let frame = (frame & 0xf != 0).then_some(FrameRegister {
            number: frame & 0xf,
            offset: u64::from(frame >> 4).saturating_mul(16),
        });
        Ok(Self {
            version,
            prolog,
            frame,
            codes,
            chained,
        })
    }
}

/// All codes; `None` if one is unknown, or its operands are not there.
fn codes(bytes: &[u8], version: u8) -> Option<Vec<Code>> {
    let mut codes = Vec::with_capacity(bytes.len() / 2);
    let mut rest = bytes;
    while let Some((&[offset, code], operands)) = rest.split_first_chunk() {
        let (op, used) = op(offset, code & 0xf, code >> 4, operands, version)?;
        codes.push(Code { offset, op });
        rest = operands.get(used..)?;
    }
    Some(codes)
}

/// An operation, and bytes that its operands take behind the code.
fn op(offset: u8, number: u8, operand: u8, rest: &[u8], version: u8) -> Option<(Op, usize)> {
    let small = |scale: u32| u32::from(u16_at(rest, 0)?).checked_mul(scale);
    Some(match (number, operand) {
        (0, register) => (Op::Push(register), 0),
        (1, 0) => (Op::Alloc(small(8)?), 2),
        (1, 1) => (Op::Alloc(u32_at(rest, 0)?), 4),
        (2, eighths) => {
            let bytes = u32::from(eighths).checked_add(1)?.checked_mul(8)?;
            (Op::Alloc(bytes), 0)
        }
        (3, _) => (Op::SetFrame, 0),
        (4, register) => (Op::Save(register, small(8)?), 2),
        (5, register) => (Op::Save(register, u32_at(rest, 0)?), 4),
        (6, bits) if version == 2 => (Op::Epilog(offset, bits), 0),
        // Version 1 saved halves of XMM registers so, before there was SAVE_XMM128.
        (6, _) | (8, _) => (Op::SaveXmm, 2),
        (7, _) if version == 1 => (Op::SaveXmm, 4),
        (9, _) => (Op::SaveXmm, 4),
        (10, kind @ 0..=1) => {
            let error_code = kind == 1;
            (Op::MachineFrame { error_code }, 0)
        }
        _ => return None,
    })
}
