//! `.xdata` records of ARM64, and which of their codes count at an instruction.
//!
//! ```text
//! 0   length / 4: 18 bits | version 2 | X 1 | E 1 | epilogs 5 | words of codes 5
//! 4   if both counts are 0: epilogs 16 | words of codes 8
//! ..  for each epilog, unless E: its start / 4: 18 bits | reserved 4 | its first code 10
//! ..  codes, bytes; with X the address of a handler behind them
//! E: one epilog, at the function's end; its first code is where the number of epilogs would
//! ```
//!
//! Source: "ARM64 exception handling: .xdata records", Microsoft's documentation.

use super::super::ended::Ended;
use super::super::images::Image;
use super::super::memory::Memory;
use super::codes::{self, Code, Decoded};
use crate::address::Gva;

/// What is named where a record cannot be read or cannot be.
const RECORD: &str = "an .xdata record";

/// An epilog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epilog {
    /// Its first instruction, from the function's start.
    pub(super) first: u32,
    /// Its first code.
    pub(super) code: usize,
    /// Behind its last code.
    pub(super) end: usize,
}

/// What the prolog and the epilogs of a function do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unwound {
    /// Instructions of the function.
    pub(super) length: u32,
    /// Instructions of the prolog: that many codes come first.
    pub(super) prolog: usize,
    /// Behind the last code that undoes a whole prolog; a fragment has more than its own prolog.
    pub(super) end: usize,
    /// The codes, the last instruction first.
    pub(super) codes: Vec<Code>,
    pub(super) epilogs: Vec<Epilog>,
}

/// The codes that count.
pub(super) struct Part<'u> {
    pub(super) codes: &'u [Code],
    pub(super) in_epilog: bool,
}

impl Unwound {
    /// What undoes the frame in front of an instruction, counted from the function's start.
    pub(super) fn at(&self, instruction: u32, exact: bool) -> Part<'_> {
        let index = usize::try_from(instruction).unwrap_or(usize::MAX);
        let part = |range, in_epilog| Part {
            codes: self.codes.get(range).unwrap_or_default(),
            in_epilog,
        };
        if index < self.prolog {
            return part(self.prolog.saturating_sub(index)..self.end, false);
        }
        let inside = self.epilogs.iter().find_map(|epilog| {
            let done = usize::try_from(instruction.checked_sub(epilog.first)?).ok()?;
            // Behind the codes comes the return.
            let count = epilog.end.saturating_sub(epilog.code);
            (exact && done <= count).then(|| epilog.code.saturating_add(done)..epilog.end)
        });
        match inside {
            Some(range) => part(range, true),
            None => part(0..self.end, false),
        }
    }
}

struct Header {
    length: u32,
    epilogs: u32,
    code_words: u32,
    single: bool,
    /// Bytes of the header.
    bytes: u32,
}

fn header(memory: &Memory<'_, '_>, gva: Gva) -> Result<Header, Ended> {
    let first = memory.u32(gva, RECORD)?;
    let what = "a version of .xdata";
    if first >> 18 & 3 != 0 {
        return Err(Ended::Unknown { what, gva });
    }
    let single = first >> 21 & 1 == 1;
    let (epilogs, code_words) = (first >> 22 & 0x1f, first >> 27);
    let length = first & 0x3_ffff;
    if epilogs != 0 || code_words != 0 {
        return Ok(Header {
            length,
            epilogs,
            code_words,
            single,
            bytes: 4,
        });
    }
    let second = memory.u32(gva.saturating_add(4), RECORD)?;
    Ok(Header {
        length,
        epilogs: second & 0xffff,
        code_words: second >> 16 & 0xff,
        single,
        bytes: 8,
    })
}

/// The record at an offset in the image.
pub(super) fn read(memory: &Memory<'_, '_>, image: &Image, rva: u32) -> Result<Unwound, Ended> {
    let corrupt = |gva| Ended::Corrupt { what: RECORD, gva };
    let gva = image
        .at(rva)
        .ok_or_else(|| corrupt(Gva::new(u64::from(rva))))?;
    let header = header(memory, gva)?;
    let scopes = if header.single { 0 } else { header.epilogs };
    let scopes_at = gva.saturating_add(u64::from(header.bytes));
    let mut scope_bytes = vec![0; usize::try_from(scopes).unwrap_or(0).saturating_mul(4)];
    memory.bytes(scopes_at, &mut scope_bytes, RECORD)?;
    let codes_at = scopes_at.saturating_add(scope_bytes.len() as u64);
    let code_bytes = header.code_words.saturating_mul(4);
    let mut bytes = vec![0; usize::try_from(code_bytes).unwrap_or(0)];
    memory.bytes(codes_at, &mut bytes, RECORD)?;
    let sequences = Sequences::of(&bytes);
    let (_, prolog, end) = sequences.from(0).ok_or_else(|| corrupt(codes_at))?;
    let mut unwound = Unwound {
        length: header.length,
        prolog,
        end,
        epilogs: Vec::new(),
        codes: Vec::new(),
    };
    if header.single {
        let (code, own_end) = sequences
            .epilog(header.epilogs)
            .ok_or_else(|| corrupt(codes_at))?;
        let instructions = own_end.saturating_sub(code).saturating_add(1);
        let instructions = u32::try_from(instructions).unwrap_or(u32::MAX);
        unwound.epilogs.push(Epilog {
            first: header.length.saturating_sub(instructions),
            code,
            end: own_end,
        });
    }
    for scope in scope_bytes.as_chunks::<4>().0 {
        let scope = u32::from_le_bytes(*scope);
        let (code, end) = sequences
            .epilog(scope >> 22)
            .ok_or_else(|| corrupt(codes_at))?;
        let first = scope & 0x3_ffff;
        unwound.epilogs.push(Epilog { first, code, end });
    }
    unwound.codes = sequences.codes;
    Ok(unwound)
}

/// Codes, and where each one's bytes start.
struct Sequences {
    codes: Vec<Code>,
    starts: Vec<usize>,
    ends: Vec<End>,
}

/// Where a sequence ends.
struct End {
    /// The byte that says so.
    byte: usize,
    /// Codes in front of it.
    code: usize,
    /// Whether the codes of the whole function's prolog follow.
    goes_on: bool,
}

impl Sequences {
    /// Up to the first byte that is no code: padding, as a rule.
    fn of(bytes: &[u8]) -> Self {
        let mut all = Self {
            codes: Vec::new(),
            starts: Vec::new(),
            ends: Vec::new(),
        };
        let mut byte = 0;
        while let Some((decoded, used)) = bytes.get(byte..).and_then(codes::decode) {
            match decoded {
                Decoded::Code(code) => {
                    all.codes.push(code);
                    all.starts.push(byte);
                }
                Decoded::End | Decoded::EndOfScope => all.ends.push(End {
                    byte,
                    code: all.codes.len(),
                    goes_on: decoded == Decoded::EndOfScope,
                }),
            }
            byte = byte.saturating_add(used);
        }
        all
    }

    /// Of the codes whose bytes start here: the first, the end of their own sequence, and of all that undoes a prolog.
    fn from(&self, byte: usize) -> Option<(usize, usize, usize)> {
        let first = self.starts.partition_point(|start| *start < byte);
        let mut ends = self.ends.iter().filter(|end| end.byte >= byte);
        let own = ends.next()?;
        let whole = if own.goes_on {
            ends.find(|end| !end.goes_on)?
        } else {
            own
        };
        Some((first, own.code, whole.code))
    }

    /// An epilog whose codes start at this byte.
    fn epilog(&self, byte: u32) -> Option<(usize, usize)> {
        let (first, own, _) = self.from(usize::try_from(byte).ok()?)?;
        Some((first, own))
    }
}
