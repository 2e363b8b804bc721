//! `.pdata` of x64: which function holds an address.
//!
//! ```text
//! RUNTIME_FUNCTION   begin u32 | end u32 | UNWIND_INFO u32     ascending; all from the image's base
//!                                          bit 0: the address of another RUNTIME_FUNCTION, which is meant
//! ```

use super::super::ended::Ended;
use super::super::images::Image;
use super::super::memory::Memory;
use super::MAX_CHAIN;
use crate::address::Gva;
use crate::format::u32_at;

/// Bytes of an entry.
pub(super) const ENTRY_BYTES: u8 = 12;
/// `RUNTIME_FUNCTION_INDIRECT`.
const INDIRECT: u32 = 1;
/// What is named where an entry cannot be read.
const ENTRY: &str = "an entry of .pdata";

/// A function, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) begin: u32,
    pub(super) end: u32,
    /// Its `UNWIND_INFO`.
    pub(super) info: u32,
}

impl Function {
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            begin: u32_at(bytes, 0)?,
            end: u32_at(bytes, 4)?,
            info: u32_at(bytes, 8)?,
        })
    }

    fn read(memory: &Memory<'_, '_>, gva: Gva) -> Result<Self, Ended> {
        let mut bytes = [0; ENTRY_BYTES as usize];
        memory.bytes(gva, &mut bytes, ENTRY)?;
        Self::of_bytes(&bytes).ok_or(Ended::Corrupt { what: ENTRY, gva })
    }

    /// The entry that this one means.
    pub(super) fn direct(self, memory: &Memory<'_, '_>, image: &Image) -> Result<Self, Ended> {
        let mut function = self;
        let corrupt = |info| Ended::Corrupt {
            what: "an entry that points to others",
            gva: image.at(info).unwrap_or_default(),
        };
        for _ in 0..MAX_CHAIN {
            if function.info & INDIRECT == 0 {
                return Ok(function);
            }
            let at = function.info & !INDIRECT;
            function = Self::read(memory, image.at(at).ok_or_else(|| corrupt(at))?)?;
        }
        Err(corrupt(function.info))
    }
}

/// The function that holds an address; `None` for a leaf.
pub(super) fn find(
    memory: &Memory<'_, '_>,
    image: &Image,
    rva: u32,
) -> Result<Option<Function>, Ended> {
    let (table, count) = image.table(memory, u32::from(ENTRY_BYTES))?;
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        let offset = u64::from(middle).saturating_mul(u64::from(ENTRY_BYTES));
        let function = Function::read(memory, table.saturating_add(offset))?;
        if rva < function.begin {
            high = middle;
        } else if rva >= function.end {
            low = middle.saturating_add(1);
        } else {
            return function.direct(memory, image).map(Some);
        }
    }
    Ok(None)
}
