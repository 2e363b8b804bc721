//! The block behind the header of a triage dump (type 4, "small memory dump"): where its parts are.
//!
//! ```text
//! 0x2000 (64 bit)  TriageHeader: offsets in the file, sizes, counts
//! ...              thread, process, PRCB, stack, drivers, debugger data, blocks of virtual memory
//! SizeOfDump-4     "TRGD": the writer came to the end
//! ```
//!
//! Sources: the names are those of rizin's `dmp64` reader; offsets checked against triage dumps that Windows 10
//! (19041, x64) and 11 (22000, ARM64) wrote, where every part is where its field says. The 32-bit block, at 0x1000, is
//! that of a dump of x86 which dbgeng 10.0.29507 wrote (`.dump /m`).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Stands at `ValidOffset` of a dump that was finished.
pub(crate) const VALID: [u8; 4] = *b"TRGD";

/// What both widths share.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct TriageHeader {
    pub(crate) service_pack_build: U32,
    /// Bytes without secondary data.
    pub(crate) size_of_dump: U32,
    /// Where [`VALID`] is.
    pub(crate) valid_offset: U32,
    pub(crate) context_offset: U32,
    pub(crate) exception_offset: U32,
    pub(crate) mm_offset: U32,
    pub(crate) unloaded_drivers_offset: U32,
    pub(crate) prcb_offset: U32,
    pub(crate) process_offset: U32,
    pub(crate) thread_offset: U32,
    pub(crate) call_stack_offset: U32,
    pub(crate) size_of_call_stack: U32,
    pub(crate) driver_list_offset: U32,
    pub(crate) driver_count: U32,
    pub(crate) string_pool_offset: U32,
    pub(crate) string_pool_size: U32,
    pub(crate) broken_driver_offset: U32,
    pub(crate) triage_options: U32,
}

/// What follows in a 64-bit dump.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct TriageHeader64 {
    pub(crate) shared: TriageHeader,
    /// Address of the first byte of the call stack.
    pub(crate) top_of_stack: U64,
    /// Depends on the machine.
    pub(crate) architecture: [u8; 0x10],
    pub(crate) data_page_address: U64,
    pub(crate) data_page_offset: U32,
    pub(crate) data_page_size: U32,
    pub(crate) debugger_data_offset: U32,
    pub(crate) debugger_data_size: U32,
    pub(crate) data_blocks_offset: U32,
    pub(crate) data_blocks_count: U32,
}

/// What follows in a 32-bit dump.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct TriageHeader32 {
    pub shared: TriageHeader,
    /// Address of the first byte of the call stack.
    pub top_of_stack: U32,
    pub data_page_address: U32,
    pub data_page_offset: U32,
    pub data_page_size: U32,
    pub debugger_data_offset: U32,
    pub debugger_data_size: U32,
    pub data_blocks_offset: U32,
    pub data_blocks_count: U32,
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<TriageHeader>() == 0x48);
    assert!(offset_of!(TriageHeader64, data_page_address) == 0x60);
    assert!(offset_of!(TriageHeader64, debugger_data_offset) == 0x70);
    assert!(size_of::<TriageHeader64>() == 0x80);
    assert!(offset_of!(TriageHeader32, debugger_data_offset) == 0x58);
    assert!(size_of::<TriageHeader32>() == 0x68);
};
