//! Values that both dump headers share: signatures, types, attributes, machines.
//!
//! Sources: winnt.h and windows-docs-rs for the names; behaviour of the debugger seen in dbgeng 10.0.10240.

/// `Signature` of both headers.
pub const SIGNATURE: [u8; 4] = *b"PAGE";
/// `ValidDump` of a 64-bit header.
pub const VALID_DUMP64: [u8; 4] = *b"DU64";
/// `ValidDump` of a 32-bit header.
pub const VALID_DUMP32: [u8; 4] = *b"DUMP";

/// What Windows fills a header with before it sets fields: a field that still reads so was never set.
pub const NOT_SET: u32 = u32::from_le_bytes(SIGNATURE);

/// `DumpType` of a full dump: the runs' frames follow the header in table order.
pub const DUMP_TYPE_FULL: u32 = 1;

/// `Attributes`: a live dump, of a system that had not crashed.
pub const ATTRIBUTE_LIVE: u32 = 1 << 4;
/// `Attributes`: made from outside, not by the guest's own dump code.
pub const ATTRIBUTE_OFFLINE: u32 = 1 << 5;

/// `MachineImageType` of x86 (`IMAGE_FILE_MACHINE_I386`).
pub const MACHINE_X86: u32 = 0x14c;
/// `MachineImageType` of x64 (`IMAGE_FILE_MACHINE_AMD64`).
pub const MACHINE_X64: u32 = 0x8664;
/// `MachineImageType` of ARM64 (`IMAGE_FILE_MACHINE_ARM64`).
pub const MACHINE_ARM64: u32 = 0xaa64;

/// The stop code of a guest that did not crash: `LIVE_SYSTEM_DUMP`.
pub const LIVE_SYSTEM_DUMP: u32 = 0x161;

/// `STATUS_BREAKPOINT`, the exception code in dumps that Windows itself writes.
pub const STATUS_BREAKPOINT: u32 = 0x8000_0003;
/// `STATUS_ACCESS_VIOLATION`.
pub const STATUS_ACCESS_VIOLATION: u32 = 0xc000_0005;
/// `EXCEPTION_NONCONTINUABLE`.
pub const EXCEPTION_NONCONTINUABLE: u32 = 1;

/// `WriterStatus`: nothing to report.
pub const WRITER_STATUS_SUCCESS: u32 = 0;
