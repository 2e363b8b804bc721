//! `DUMP_HEADER64`: the first 0x2000 bytes of a 64-bit dump.
//!
//! ```text
//! 0x0000  PAGE DU64, versions, DTB, lists, machine, stop code
//! 0x0088  physical memory descriptor: runs of frames, at most 42
//! 0x0348  ContextRecord
//! 0x0f00  EXCEPTION_RECORD64
//! 0x0f98  DumpType, RequiredDumpSpace, SystemTime, Comment
//! 0x1030  SystemUpTime ... BootId
//! 0x2000  the body
//! ```
//!
//! Sources: windows-docs-rs, kdmp-parser, QEMU's `win_dump_defs.h`; a field's weight with the debugger as seen
//! in dbgeng 10.0.10240. Windows fills the whole header with "PAGE" first.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the header: where the body starts.
pub(crate) const SIZE: usize = 0x2000;

/// Runs that fit in the header's 700 bytes for the physical memory descriptor.
pub(crate) const MAX_RUNS: usize = 42;

/// A run of frames that are present.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Run64 {
    /// The first frame.
    pub(crate) base_page: U64,
    /// How many.
    pub(crate) page_count: U64,
}

/// `EXCEPTION_RECORD64`.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ExceptionRecord64 {
    /// An NTSTATUS.
    pub(crate) code: U32,
    /// [`super::dump_values::EXCEPTION_NONCONTINUABLE`] or 0.
    pub(crate) flags: U32,
    /// A chained record, or 0.
    pub(crate) record: U64,
    /// Where it happened.
    pub(crate) address: U64,
    /// Of `information`.
    pub(crate) parameters: U32,
    pad: U32,
    /// Depends on the code.
    pub(crate) information: [U64; 15],
}

/// `DUMP_HEADER64`.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header64 {
    /// "PAGE".
    pub(crate) signature: [u8; 4],
    /// "DU64".
    pub(crate) valid_dump: [u8; 4],
    /// 0xF free build, 0xC checked build.
    pub(crate) major_version: U32,
    /// The build number.
    pub(crate) minor_version: U32,
    /// Physical address of the system's top-level page table; the low 12 bits do not count.
    pub(crate) directory_table_base: U64,
    /// The PFN database: the pointer's value in some dumps, its address in others.
    pub(crate) pfn_database: U64,
    /// Address of the list head.
    pub(crate) ps_loaded_module_list: U64,
    /// Address of the list head.
    pub(crate) ps_active_process_head: U64,
    /// Such as [`super::dump_values::MACHINE_X64`].
    pub(crate) machine_image_type: U32,
    /// Started processors.
    pub(crate) number_processors: U32,
    /// The stop code.
    pub(crate) bug_check_code: U32,
    pad0: U32,
    /// The stop code's parameters.
    pub(crate) bug_check_parameters: [U64; 4],
    /// Unused.
    pub(crate) version_user: [u8; 32],
    /// Address of the debugger data block, which has to be readable and plain.
    pub(crate) kd_debugger_data_block: U64,
    /// Of `runs`.
    pub(crate) number_of_runs: U32,
    pad1: U32,
    /// The sum of the runs.
    pub(crate) number_of_pages: U64,
    /// The body holds their frames in this order.
    pub(crate) runs: [Run64; MAX_RUNS],
    run_rest: [u8; 12],
    pad2: U32,
    /// A `CONTEXT` of the processor that crashed.
    pub(crate) context_record: [u8; 3000],
    /// The exception.
    pub(crate) exception: ExceptionRecord64,
    /// Such as [`super::dump_values::DUMP_TYPE_FULL`].
    pub(crate) dump_type: U32,
    pad3: U32,
    /// Bytes of the whole file.
    pub(crate) required_dump_space: U64,
    /// FILETIME of the crash.
    pub(crate) system_time: U64,
    /// Text, padded with zeros.
    pub(crate) comment: [u8; 128],
    /// Since boot, in 100 ns.
    pub(crate) system_up_time: U64,
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
    unused1: u8,
    /// From the version block.
    pub(crate) kd_secondary_version: u8,
    unused2: [u8; 2],
    /// Such as [`super::dump_values::ATTRIBUTE_OFFLINE`].
    pub(crate) attributes: U32,
    /// Of newer builds.
    pub(crate) boot_id: U32,
    reserved: [u8; 4008],
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<Header64>() == SIZE);
    assert!(offset_of!(Header64, machine_image_type) == 0x30);
    assert!(offset_of!(Header64, bug_check_parameters) == 0x40);
    assert!(offset_of!(Header64, kd_debugger_data_block) == 0x80);
    assert!(offset_of!(Header64, number_of_runs) == 0x88);
    assert!(offset_of!(Header64, runs) == 0x98);
    assert!(offset_of!(Header64, context_record) == 0x348);
    assert!(offset_of!(Header64, exception) == 0xf00);
    assert!(size_of::<ExceptionRecord64>() == 0x98);
    assert!(offset_of!(Header64, dump_type) == 0xf98);
    assert!(offset_of!(Header64, required_dump_space) == 0xfa0);
    assert!(offset_of!(Header64, comment) == 0xfb0);
    assert!(offset_of!(Header64, system_up_time) == 0x1030);
    assert!(offset_of!(Header64, kd_secondary_version) == 0x104d);
    assert!(offset_of!(Header64, attributes) == 0x1050);
};
