//! Values that both dump headers share: signatures, types, attributes, machines.
//!
//! Sources: winnt.h and windows-docs-rs for the names; behaviour of the debugger seen in dbgeng 10.0.10240.

/// `Signature` of both headers.
pub(crate) const SIGNATURE: [u8; 4] = *b"PAGE";
/// `ValidDump` of a 64-bit header.
pub(crate) const VALID_DUMP64: [u8; 4] = *b"DU64";
/// `ValidDump` of a 32-bit header.
pub(crate) const VALID_DUMP32: [u8; 4] = *b"DUMP";

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

/// A flavour of the kernel (`MajorVersion`) in words.
#[must_use]
pub(crate) const fn flavour_name(value: u32) -> Option<&'static str> {
    Some(match value {
        0xf => "free build",
        0xc => "checked build",
        _ => return None,
    })
}

/// `ProductType` in words.
#[must_use]
pub(crate) const fn product_name(value: u32) -> Option<&'static str> {
    Some(match value {
        1 => "workstation",
        2 => "domain controller",
        3 => "server",
        _ => return None,
    })
}

/// `PaeEnabled` in words.
#[must_use]
pub(crate) const fn pae_name(value: u32) -> Option<&'static str> {
    Some(match value {
        0 => "two levels of page tables",
        1 => "PAE",
        _ => return None,
    })
}

/// `WriterStatus` in words.
#[must_use]
pub(crate) const fn writer_status_name(value: u32) -> Option<&'static str> {
    match value {
        WRITER_STATUS_SUCCESS => Some("success"),
        _ => None,
    }
}

/// The bits of `Attributes`, by number.
pub const ATTRIBUTES: &[(u32, &str)] = &[
    (0, "hibernation crash"),
    (1, "dump device powered off"),
    (2, "dump file too small"),
    (3, "kernel-generated triage dump"),
    (4, "live dump"),
    (5, "made offline"),
    (6, "filtered"),
    (7, "early boot crash"),
    (8, "encrypted"),
    (9, "decrypted"),
];

/// The bits of `SuiteMask` (`VER_SUITE_*`), by number.
pub const SUITES: &[(u32, &str)] = &[
    (0, "SmallBusiness"),
    (1, "Enterprise"),
    (2, "BackOffice"),
    (3, "Communications"),
    (4, "TerminalServer"),
    (5, "SmallBusinessRestricted"),
    (6, "EmbeddedNT"),
    (7, "DataCenter"),
    (8, "SingleUserTS"),
    (9, "Personal"),
    (10, "Blade"),
    (11, "EmbeddedRestricted"),
    (12, "SecurityAppliance"),
    (13, "StorageServer"),
    (14, "ComputeServer"),
    (15, "HomeServer"),
    (17, "MultiUserTS"),
];

/// `Attributes`: a live dump, of a system that had not crashed.
pub(crate) const ATTRIBUTE_LIVE: u32 = 1 << 4;
/// `Attributes`: made from outside, not by the guest's own dump code.
pub(crate) const ATTRIBUTE_OFFLINE: u32 = 1 << 5;
/// `Attributes`: the pages are encrypted.
pub(crate) const ATTRIBUTE_ENCRYPTED: u32 = 1 << 8;

/// `MachineImageType` of x86 (`IMAGE_FILE_MACHINE_I386`).
pub const MACHINE_X86: u32 = 0x14c;
/// `MachineImageType` of x64 (`IMAGE_FILE_MACHINE_AMD64`).
pub const MACHINE_X64: u32 = 0x8664;
/// `MachineImageType` of ARM64 (`IMAGE_FILE_MACHINE_ARM64`).
pub const MACHINE_ARM64: u32 = 0xaa64;

/// The stop code of a guest that did not crash: `LIVE_SYSTEM_DUMP`.
pub(crate) const LIVE_SYSTEM_DUMP: u32 = 0x161;

/// `STATUS_BREAKPOINT`, the exception code in dumps that Windows itself writes.
pub(crate) const STATUS_BREAKPOINT: u32 = 0x8000_0003;
/// `STATUS_ACCESS_VIOLATION`.
pub(crate) const STATUS_ACCESS_VIOLATION: u32 = 0xc000_0005;
/// `EXCEPTION_NONCONTINUABLE`.
pub(crate) const EXCEPTION_NONCONTINUABLE: u32 = 1;

/// `WriterStatus`: nothing to report.
pub(crate) const WRITER_STATUS_SUCCESS: u32 = 0;
