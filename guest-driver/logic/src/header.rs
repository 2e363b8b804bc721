//! What is looked at in a header before it is believed.
//!
//! `KeInitializeCrashDumpHeader` was asked for a full dump's header. One of another type is refused: a kernel dump's
//! header in front of a full body is what Microsoft's engine answers with error 1392. Offsets are those of
//! `DUMP_HEADER32` and `DUMP_HEADER64` (docs/formats/dmp.md).

use crate::StopCode;
use crate::crc::Crc32;

/// `DumpType` of a full dump.
const FULL: u32 = 1;
/// `PAGE`, the signature and the filling.
const PAGE: u32 = u32::from_le_bytes(*b"PAGE");

/// Which of the two headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// `DUMP_HEADER32`.
    Bits32,
    /// `DUMP_HEADER64`.
    Bits64,
}

impl Width {
    /// Bytes of the header.
    #[must_use]
    pub const fn header_bytes(self) -> u32 {
        match self {
            Self::Bits32 => 0x1000,
            Self::Bits64 => 0x2000,
        }
    }

    /// Where `SystemUpTime` is, among the last fields; never 0 in a header that is whole.
    pub(crate) const fn up_time(self) -> u32 {
        match self {
            Self::Bits32 => 0xfb8,
            Self::Bits64 => 0x1030,
        }
    }
}

/// Why a header is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    /// It does not begin as a header does.
    Signature,
    /// It is for a dump of this type.
    DumpType(u32),
    /// It has no memory, or more runs than it has room for.
    Runs(u32),
    /// It names no debugger block.
    NoDebuggerBlock,
    /// It has no time: Windows did not come that far.
    Unfinished,
}

/// What the driver takes from a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderFacts {
    /// Where Windows has its debugger block.
    pub block: u64,
    /// The machine, as PE files number it.
    pub machine: u32,
    /// The stop code, if one is set.
    pub stop: Option<StopCode>,
    /// Tells whether the memory is the same: a sum over its runs.
    pub memory: u32,
}

/// Reads a header through `load`, which takes offsets that are multiples of 8.
///
/// # Errors
/// [`HeaderFault`] for one that is not for a full dump of memory.
pub fn check_header(load: impl Fn(u32) -> u64, width: Width) -> Result<HeaderFacts, HeaderFault> {
    let word = |at: u32| {
        let both = load(at & !7);
        let [a, b, c, d, e, f, g, h] = both.to_le_bytes();
        u32::from_le_bytes(if at & 4 == 0 {
            [a, b, c, d]
        } else {
            [e, f, g, h]
        })
    };
    let valid = match width {
        Width::Bits32 => *b"DUMP",
        Width::Bits64 => *b"DU64",
    };
    if word(0) != PAGE || word(4) != u32::from_le_bytes(valid) {
        return Err(HeaderFault::Signature);
    }
    let fields = Fields::of(width);
    let kind = word(fields.dump_type);
    if kind != FULL {
        return Err(HeaderFault::DumpType(kind));
    }
    let runs = word(fields.runs);
    if runs == 0 || runs > fields.most_runs {
        return Err(HeaderFault::Runs(runs));
    }
    let pointer = |at: u32| match width {
        Width::Bits32 => u64::from(word(at)),
        Width::Bits64 => load(at),
    };
    let block = pointer(fields.block);
    if block == 0 {
        return Err(HeaderFault::NoDebuggerBlock);
    }
    if load(width.up_time()) == 0 {
        return Err(HeaderFault::Unfinished);
    }
    let code = word(fields.code);
    let parameter = |n: u32| {
        pointer(
            fields
                .parameters
                .wrapping_add(n.wrapping_mul(fields.pointer)),
        )
    };
    let stop = StopCode {
        code,
        parameters: [parameter(0), parameter(1), parameter(2), parameter(3)],
    };
    Ok(HeaderFacts {
        block,
        machine: word(fields.machine),
        stop: (code != 0 && code != PAGE).then_some(stop),
        memory: sum_of_runs(word, &fields, runs),
    })
}

/// A sum over the runs and their number: it tells whether the memory is the same.
fn sum_of_runs(word: impl Fn(u32) -> u32, fields: &Fields, runs: u32) -> u32 {
    // Runs and pages, then two numbers for each run.
    let numbers = runs.wrapping_mul(2).wrapping_add(2);
    let words = numbers.wrapping_mul(fields.pointer) / 4;
    let sum = (0..words).fold(Crc32::new(), |sum, n| {
        sum.bytes(&word(fields.runs.wrapping_add(n.wrapping_mul(4))).to_le_bytes())
    });
    sum.sum()
}

/// Where the fields are.
struct Fields {
    machine: u32,
    code: u32,
    parameters: u32,
    block: u32,
    runs: u32,
    most_runs: u32,
    dump_type: u32,
    pointer: u32,
}

impl Fields {
    const fn of(width: Width) -> Self {
        match width {
            Width::Bits32 => Self {
                machine: 0x20,
                code: 0x28,
                parameters: 0x2c,
                block: 0x60,
                runs: 0x64,
                most_runs: 86,
                dump_type: 0xf88,
                pointer: 4,
            },
            Width::Bits64 => Self {
                machine: 0x30,
                code: 0x38,
                parameters: 0x40,
                block: 0x80,
                runs: 0x88,
                most_runs: 42,
                dump_type: 0xf98,
                pointer: 8,
            },
        }
    }
}
