//! Meanings of parameters that several stop codes share.

/// The first parameter says what the others mean.
pub(super) const BY_KIND: [&str; 4] = [
    "kind of violation",
    "depends on parameter 1",
    "depends on parameter 1",
    "depends on parameter 1",
];

/// A page table entry forbade it.
pub(super) const PTE: [&str; 4] = [
    "virtual address of the attempt",
    "its page table entry",
    "",
    "",
];

/// Memory that must not be touched.
pub(super) const ACCESS: [&str; 4] = [
    "memory that was referenced",
    "0 read, 1 write",
    "address that referenced it",
    "",
];

/// Memory that must not be touched at that IRQL.
pub(super) const ACCESS_AT_IRQL: [&str; 4] = [
    "memory that was referenced",
    "IRQL at the time",
    "0 read, 1 write, 8 execute",
    "address that referenced it",
];

/// 0x50.
pub(super) const PAGE_FAULT: [&str; 4] = [
    "memory that was referenced",
    "0 read, 1 or 2 write, 8 or 0x10 execute",
    "address that referenced it",
    "kind of page fault (newer systems)",
];

/// 0x7e.
pub(super) const SYSTEM_EXCEPTION: [&str; 4] = [
    "exception code",
    "address where it occurred",
    "exception record",
    "context record",
];

/// 0x7f.
pub(super) const TRAP: [&str; 4] = [
    "trap number (0 divide error, 6 invalid opcode, 8 double fault, ...)",
    "",
    "",
    "",
];

/// 0x8e.
pub(super) const KERNEL_EXCEPTION: [&str; 4] = [
    "exception code",
    "address where it occurred",
    "trap frame",
    "",
];

/// 0xea.
pub(super) const STUCK_THREAD: [&str; 4] = [
    "stuck thread",
    "DEFERRED_WATCHDOG object",
    "name of the driver",
    "times it was hit, under a debugger",
];

/// The exception filter of a file system.
pub(super) const FILE_SYSTEM: [&str; 4] = [
    "source file (high 16 bits) and line (low)",
    "exception record, if the file system's filter is on the stack",
    "context record, if the file system's filter is on the stack",
    "",
];

/// 0x117 and 0x141.
pub(super) const VIDEO_TIMEOUT: [&str; 4] = [
    "TDR recovery context",
    "address in the responsible driver",
    "driver's own bucketing key",
    "internal data",
];
