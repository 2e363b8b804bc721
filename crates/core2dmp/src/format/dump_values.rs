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
/// `DumpType` of a kernel dump up to Windows 7: a bitmap with 32-bit counts, then its frames.
pub const DUMP_TYPE_SUMMARY: u32 = 2;
/// `DumpType` of a header without a body; the debugger refuses it.
pub const DUMP_TYPE_HEADER: u32 = 3;
/// `DumpType` of a small memory dump: blocks of virtual memory, no frames.
pub const DUMP_TYPE_TRIAGE: u32 = 4;
/// `DumpType` of a dump of all memory whose frames a bitmap names.
pub const DUMP_TYPE_BITMAP_FULL: u32 = 5;
/// `DumpType` of a dump of the kernel's memory whose frames a bitmap names.
pub const DUMP_TYPE_BITMAP_KERNEL: u32 = 6;
/// "Automatic": a setting of Windows, refused as the type of a file.
pub const DUMP_TYPE_AUTOMATIC: u32 = 7;
/// `DumpType` of WinDbg's `.dump /k`: a table of ranges, then their frames.
pub const DUMP_TYPE_RANGES_KERNEL: u32 = 8;
/// `DumpType` of WinDbg's `.dump /ka`.
pub const DUMP_TYPE_RANGES_ACTIVE: u32 = 9;
/// `DumpType` of WinDbg's `.dump /f`.
pub const DUMP_TYPE_RANGES_FULL: u32 = 0xa;

/// A dump type in words.
#[must_use]
pub const fn dump_type_name(value: u32) -> Option<&'static str> {
    Some(match value {
        DUMP_TYPE_FULL => "full",
        DUMP_TYPE_SUMMARY => "kernel (summary)",
        DUMP_TYPE_HEADER => "header",
        DUMP_TYPE_TRIAGE => "small (triage)",
        DUMP_TYPE_BITMAP_FULL => "active or full (bitmap)",
        DUMP_TYPE_BITMAP_KERNEL => "kernel (bitmap)",
        DUMP_TYPE_AUTOMATIC => "automatic",
        DUMP_TYPE_RANGES_KERNEL => "kernel (ranges)",
        DUMP_TYPE_RANGES_ACTIVE => "kernel and user (ranges)",
        DUMP_TYPE_RANGES_FULL => "full (ranges)",
        _ => return None,
    })
}

/// A machine in words.
#[must_use]
pub const fn machine_name(value: u32) -> Option<&'static str> {
    Some(match value {
        MACHINE_X86 => "x86",
        MACHINE_X64 => "x64",
        MACHINE_ARM64 => "ARM64",
        _ => return None,
    })
}

/// `Attributes`: a live dump, of a system that had not crashed.
pub const ATTRIBUTE_LIVE: u32 = 1 << 4;
/// `Attributes`: made from outside, not by the guest's own dump code.
pub const ATTRIBUTE_OFFLINE: u32 = 1 << 5;
/// `Attributes`: the pages are encrypted.
pub const ATTRIBUTE_ENCRYPTED: u32 = 1 << 8;

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
