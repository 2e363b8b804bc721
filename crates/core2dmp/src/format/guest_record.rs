//! The guest record: what a driver in the guest leaves for the host (docs/formats/guest-record.md).
//!
//! ```text
//! page     four slots of 0x400 bytes; the valid one of the greatest generation counts
//! slot     magic | version | generation | state | own addresses | times | stop code | areas | CRC-32
//! area     kind, CRC-32 | physical address | bytes, 0 | virtual address
//! ```
//!
//! Source: guest-driver/logic, which writes it.

/// What a slot begins with.
pub(crate) const MAGIC: [u8; 8] = *b"C2DMPREC";
/// Versions above are not read.
pub(crate) const VERSION_MAJOR: u16 = 1;
/// Bytes of a slot; four fill the page.
pub(crate) const SLOT_SIZE: usize = 0x400;
/// Slots of a page.
pub(crate) const SLOTS_PER_PAGE: usize = 4;

/// u16 major, u16 minor.
pub(crate) const VERSION: usize = 0x08;
/// u32: [`SLOT_SIZE`].
pub(crate) const BYTES: usize = 0x0c;
/// u64.
pub(crate) const GENERATION: usize = 0x10;
/// u32: 1 boot, 2 refreshing, 3 refreshed, 4 failed.
pub(crate) const STATE: usize = 0x18;
/// u32: bit 0, the stop code is known.
pub(crate) const FLAGS: usize = 0x1c;
/// u64: the page's own physical address.
pub(crate) const GPA: usize = 0x20;
/// u64: the page's own virtual address.
pub(crate) const GVA: usize = 0x28;
/// u32: as in PE files.
pub(crate) const MACHINE: usize = 0x30;
/// u32: which slot of the page it is.
pub(crate) const INDEX: usize = 0x34;
/// u64: FILETIME of the driver's start.
pub(crate) const START_TIME: usize = 0x38;
/// u64: 100 ns from the boot to the driver's start.
pub(crate) const START_UP_TIME: usize = 0x40;
/// u64: FILETIME of this slot.
pub(crate) const WRITTEN_TIME: usize = 0x48;
/// u64: 100 ns from the boot to this slot.
pub(crate) const WRITTEN_UP_TIME: usize = 0x50;
/// u64, then four parameters.
pub(crate) const STOP_CODE: usize = 0x58;
/// u32: what `KeInitializeCrashDumpHeader` returned last.
pub(crate) const STATUS: usize = 0x80;
/// Eight bytes of text: who wrote it.
pub(crate) const WRITER: usize = 0x88;
/// Four areas.
pub(crate) const AREAS: usize = 0x90;
/// Bytes of an area.
pub(crate) const AREA_SIZE: usize = 0x20;
/// u32: of all bytes of the slot before it.
pub(crate) const SUM: usize = 0x3fc;

/// Kinds of area.
pub(crate) mod area {
    /// The header that was made while the system ran.
    pub(crate) const BOOT_HEADER: u32 = 1;
    /// The header that was made at the bug check.
    pub(crate) const REFRESHED_HEADER: u32 = 2;
    /// The debugger data block, decoded.
    pub(crate) const DEBUGGER_BLOCK: u32 = 3;
    /// u32, in an area.
    pub(crate) const KIND: usize = 0x00;
    /// u32: CRC-32 of its bytes.
    pub(crate) const SUM: usize = 0x04;
    /// u64.
    pub(crate) const GPA: usize = 0x08;
    /// u32.
    pub(crate) const BYTES: usize = 0x10;
    /// u64: of the block, where Windows has its own.
    pub(crate) const GVA: usize = 0x18;
}

const _: () = {
    assert!(SLOT_SIZE * SLOTS_PER_PAGE == crate::address::PAGE_BYTES);
    assert!(AREAS + 4 * AREA_SIZE <= SUM && SUM + 4 == SLOT_SIZE);
};
