//! `DUMP_HEADER32`: the first 0x1000 bytes of a 32-bit dump.
//!
//! ```text
//! 0x000  PAGE DUMP, versions, DTB, lists, machine, stop code, PaeEnabled
//! 0x064  physical memory descriptor: runs of frames, at most 86
//! 0x320  ContextRecord
//! 0x7d0  EXCEPTION_RECORD32
//! 0xf88  DumpType ... SystemTime
//! 0x1000 the body
//! ```
//!
//! Sources: windows-docs-rs, Volatility, S2E. `SystemUpTime` comes before `SystemTime`, as in the SDK.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the header: where the body starts.
pub(crate) const SIZE: usize = 0x1000;

/// Runs that fit in the header's 700 bytes for the physical memory descriptor.
pub(crate) const MAX_RUNS: usize = 86;

/// A run of frames that are present.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Run32 {
    /// The first frame.
    pub(crate) base_page: U32,
    /// How many.
    pub(crate) page_count: U32,
}

/// `EXCEPTION_RECORD32`.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ExceptionRecord32 {
    /// An NTSTATUS.
    pub(crate) code: U32,
    /// [`super::dump_values::EXCEPTION_NONCONTINUABLE`] or 0.
    pub(crate) flags: U32,
    /// A chained record, or 0.
    pub(crate) record: U32,
    /// Where it happened.
    pub(crate) address: U32,
    /// Of `information`.
    pub(crate) parameters: U32,
    /// Depends on the code.
    pub(crate) information: [U32; 15],
}

/// `DUMP_HEADER32`.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header32 {
    /// "PAGE".
    pub(crate) signature: [u8; 4],
    /// "DUMP".
    pub(crate) valid_dump: [u8; 4],
    /// 0xF free build, 0xC checked build.
    pub(crate) major_version: U32,
    /// The build number.
    pub(crate) minor_version: U32,
    /// The system's CR3; with PAE its low 5 bits do not count, otherwise 12.
    pub(crate) directory_table_base: U32,
    /// The PFN database.
    pub(crate) pfn_database: U32,
    /// Address of the list head.
    pub(crate) ps_loaded_module_list: U32,
    /// Address of the list head.
    pub(crate) ps_active_process_head: U32,
    /// [`super::dump_values::MACHINE_X86`].
    pub(crate) machine_image_type: U32,
    /// Started processors.
    pub(crate) number_processors: U32,
    /// The stop code.
    pub(crate) bug_check_code: U32,
    /// The stop code's parameters.
    pub(crate) bug_check_parameters: [U32; 4],
    /// Unused.
    pub(crate) version_user: [u8; 32],
    /// 1 if the page tables are PAE ones; wrong, nothing can be read.
    pub(crate) pae_enabled: u8,
    /// From the version block.
    pub(crate) kd_secondary_version: u8,
    spare: [u8; 2],
    /// Address of the debugger data block, not sign-extended.
    pub(crate) kd_debugger_data_block: U32,
    /// Of `runs`.
    pub(crate) number_of_runs: U32,
    /// The sum of the runs.
    pub(crate) number_of_pages: U32,
    /// The body holds their frames in this order.
    pub(crate) runs: [Run32; MAX_RUNS],
    run_rest: [u8; 4],
    /// A `CONTEXT` of the processor that crashed.
    pub(crate) context_record: [u8; 1200],
    /// The exception.
    pub(crate) exception: ExceptionRecord32,
    /// Text, padded with zeros.
    pub(crate) comment: [u8; 128],
    /// Such as [`super::dump_values::ATTRIBUTE_OFFLINE`].
    pub(crate) attributes: U32,
    /// Of newer builds.
    pub(crate) boot_id: U32,
    reserved0: [u8; 1760],
    /// Such as [`super::dump_values::DUMP_TYPE_FULL`].
    pub(crate) dump_type: U32,
    /// Contents of a triage dump.
    pub(crate) mini_dump_fields: U32,
    /// Nonzero when blobs follow the last page.
    pub(crate) secondary_data_state: U32,
    /// 1 workstation, 2 domain controller, 3 server.
    pub(crate) product_type: U32,
    /// From `KUSER_SHARED_DATA`.
    pub(crate) suite_mask: U32,
    /// 0: the writer had no trouble.
    pub(crate) writer_status: U32,
    /// Bytes of the whole file.
    pub(crate) required_dump_space: U64,
    reserved1: [u8; 16],
    /// Since boot, in 100 ns.
    pub(crate) system_up_time: U64,
    /// FILETIME of the crash.
    pub(crate) system_time: U64,
    reserved2: [u8; 56],
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<Header32>() == SIZE);
    assert!(offset_of!(Header32, machine_image_type) == 0x20);
    assert!(offset_of!(Header32, version_user) == 0x3c);
    assert!(offset_of!(Header32, pae_enabled) == 0x5c);
    assert!(offset_of!(Header32, kd_debugger_data_block) == 0x60);
    assert!(offset_of!(Header32, runs) == 0x6c);
    assert!(offset_of!(Header32, context_record) == 0x320);
    assert!(offset_of!(Header32, exception) == 0x7d0);
    assert!(size_of::<ExceptionRecord32>() == 0x50);
    assert!(offset_of!(Header32, comment) == 0x820);
    assert!(offset_of!(Header32, attributes) == 0x8a0);
    assert!(offset_of!(Header32, dump_type) == 0xf88);
    assert!(offset_of!(Header32, required_dump_space) == 0xfa0);
    assert!(offset_of!(Header32, system_up_time) == 0xfb8);
};
