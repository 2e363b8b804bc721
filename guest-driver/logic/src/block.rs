//! The debugger block in a triage dump that `KeCapturePersistentThreadState` wrote.
//!
//! The kernel decodes the block for such a dump. Its place and size are two numbers behind the dump's header, at
//! `0x70` (64 bit) and `0x58` (32 bit), as virtio-win's fwcfg driver reads them.

use core::ops::Range;

use crate::{PAGE_BYTES, Width};

/// The smallest block known (Windows XP), and more than the largest (Windows 11: 0x3a8).
const SIZES: Range<u32> = 0x200..PAGE_BYTES;
/// `KDBG`, 0x10 bytes into the block, and its size behind it.
const TAG_AT: usize = 0x10;
const SIZE_AT: usize = 0x14;

/// Where the block is in the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlace {
    /// From the start of the dump.
    pub offset: u32,
    /// Bytes of it.
    pub bytes: u32,
}

/// The block in a triage dump; `None` where there is none that is plain and whole.
#[must_use]
pub fn find_block(dump: &[u8], width: Width) -> Option<BlockPlace> {
    let behind = width.header_bytes();
    let at = match width {
        Width::Bits32 => behind.checked_add(0x58)?,
        Width::Bits64 => behind.checked_add(0x70)?,
    };
    let offset = u32_at(dump, at as usize)?;
    let bytes = u32_at(dump, at.checked_add(4)? as usize)?;
    if !SIZES.contains(&bytes) {
        return None;
    }
    let start = offset as usize;
    let block = dump.get(start..start.checked_add(bytes as usize)?)?;
    let tag = block.get(TAG_AT..SIZE_AT)?;
    // The block says its own size; Windows may put more behind it.
    let own = u32_at(block, SIZE_AT)?;
    (tag == b"KDBG" && SIZES.contains(&own) && own <= bytes)
        .then_some(BlockPlace { offset, bytes: own })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field))
}
