//! The guest record: its format, and the decisions of the driver that writes it.
//!
//! ```text
//! shim (Windows) --Machine--> Writer    start | poll | crash | stop
//!                               |
//!                               v
//!   page 0   four slots: boot, boot, refreshing, final     a reader takes the valid one of the greatest generation
//!   page 1   the debugger block, decoded
//!   page 2   boot header          page 4   boot header, made again after a hot-add
//!   page 6   header of the bug check
//! ```
//!
//! No slot that a reader may need is ever written over, and nothing that a valid slot names is either. So whatever
//! store the guest dies after, one slot is valid and what it names is whole. The format is described in
//! `docs/formats/guest-record.md`.
//!
//! This crate knows no Windows: the shim implements [`Machine`], tests implement it on Linux. Nothing here allocates,
//! locks or panics, because [`Writer::crash`] runs at `HIGH_LEVEL`.

#![no_std]
#![forbid(unsafe_code)]

mod block;
mod clock;
mod crc;
mod header;
mod record;
mod tell;
mod writer;

pub use block::{BlockPlace, find_block};
pub use clock::{Clock, Half, time};
pub use crc::Crc32;
pub use header::{HeaderFacts, HeaderFault, Width, check_header};
pub use record::{
    Area, AreaKind, BlockArea, CRASH_GENERATION, MAGIC, SLOT_BYTES, SLOTS, Slot, SlotError, State,
    StopCode, VERSION_MAJOR, VERSION_MINOR,
};
pub use tell::{Settings, Teller, Word};
pub use writer::{Crash, Poll, StartError, Started, Writer};

/// Bytes of a page.
pub const PAGE_BYTES: u32 = 0x1000;
/// Pages that the driver allocates, physically contiguous.
pub const PAGES: u32 = 8;
/// Where the pages of each purpose begin, in bytes from the first one.
pub mod place {
    use super::PAGE_BYTES;

    /// The page of slots.
    pub const RECORD: u32 = 0;
    /// The decoded debugger block.
    pub const BLOCK: u32 = PAGE_BYTES;
    /// The two boot headers; one is current, the other is written when memory was added.
    pub const BOOT: [u32; 2] = [2 * PAGE_BYTES, 4 * PAGE_BYTES];
    /// The header that is made at the bug check.
    pub const REFRESHED: u32 = 6 * PAGE_BYTES;
}

/// What the logic needs of the machine that it runs on.
///
/// [`Writer::crash`] calls `make_header`, `load`, `store`, `fence`, `clock` and `stop_code` at `HIGH_LEVEL`: none of
/// them may allocate, lock, or touch memory that can be paged out.
pub trait Machine {
    /// Makes a header of `bytes` at the place, as `KeInitializeCrashDumpHeader(1, 0, ..)` does; an NTSTATUS.
    fn make_header(&self, place: u32, bytes: u32) -> i32;
    /// Reads eight bytes of the pages; `offset` is a multiple of 8 and inside them.
    fn load(&self, offset: u32) -> u64;
    /// Writes eight bytes of the pages, in one store, which is not reordered with other calls of this.
    fn store(&self, offset: u32, value: u64);
    /// Makes all stores so far visible before any later one.
    fn fence(&self);
    /// The time.
    fn clock(&self) -> Clock;
    /// `KiBugCheckData`, where Windows exports it and has set it.
    fn stop_code(&self) -> Option<StopCode>;
}
