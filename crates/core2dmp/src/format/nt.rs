//! The few kernel structures that are read by offset because no table of contents names them.
//!
//! Every offset here has been the same since the system named beside it. What moved from build to build is
//! found in memory instead, or read from the debugger data block.
//!
//! Sources: winternl.h, wdm.h and ntddk.h of the SDK and WDK (10.0.22621), windows-docs-rs; the low stub
//! as in `MemProcFS` and memflow.

/// `KUSER_SHARED_DATA`, mapped at one address by every Windows of a width.
pub(crate) mod kuser {
    /// Its address on x64 and ARM64.
    pub(crate) const ADDRESS64: u64 = 0xffff_f780_0000_0000;
    /// Its address on x86.
    pub(crate) const ADDRESS32: u64 = 0xffdf_0000;
    /// Bytes that are read.
    pub(crate) const SIZE: usize = 0x720;
    /// `KSYSTEM_TIME`, since boot in 100 ns.
    pub(crate) const INTERRUPT_TIME: usize = 0x08;
    /// `KSYSTEM_TIME`, FILETIME.
    pub(crate) const SYSTEM_TIME: usize = 0x14;
    /// u32 (Windows 10 and later; high bits are flags).
    pub(crate) const NT_BUILD_NUMBER: usize = 0x260;
    /// u32: 1 workstation, 2 domain controller, 3 server.
    pub(crate) const NT_PRODUCT_TYPE: usize = 0x264;
    /// u32, such as 10.
    pub(crate) const NT_MAJOR_VERSION: usize = 0x26c;
    /// u32.
    pub(crate) const NT_MINOR_VERSION: usize = 0x270;
    /// u32.
    pub(crate) const SUITE_MASK: usize = 0x2d0;
    /// u32 (Windows 7 and later).
    pub(crate) const ACTIVE_PROCESSOR_COUNT: usize = 0x3c0;
}

/// `PROCESSOR_START_BLOCK`, in a page below 1 MiB, which Windows on x64 starts processors through.
pub(crate) mod low_stub {
    /// First and one past the last address where it is.
    pub(crate) const RANGE: (u64, u64) = (0x1000, 0xa_0000);
    /// The first qword: `jmp` and a completion flag; bits 8 to 15 vary.
    pub(crate) const SIGNATURE: u64 = 0x0000_0001_0006_00e9;
    /// Bits of the first qword that count.
    pub(crate) const SIGNATURE_MASK: u64 = 0xffff_ffff_ffff_00ff;
    /// A kernel address: `LmTarget`.
    pub(crate) const LM_TARGET: usize = 0x70;
    /// The system's CR3.
    pub(crate) const CR3: usize = 0xa0;
}

/// `KPRCB.KernelDirectoryTableBase`, from the start of the KPCR (x64 with KVA shadowing, Windows 10 1709 and
/// later; elf2dmp reads it there).
pub(crate) const PCR_KERNEL_DIRECTORY_TABLE_BASE: u64 = 0x7000;

/// `DISPATCHER_HEADER.Type` of a process.
pub(crate) const PROCESS_OBJECT: u8 = 3;
/// `DISPATCHER_HEADER.Type` of a thread.
pub(crate) const THREAD_OBJECT: u8 = 6;

/// Where x86 systems up to Windows Server 2003 keep the control region of processor 0.
pub(crate) const PCR_ADDRESS_X86: u64 = 0xffdf_f000;

/// `KPRCB.Number` of x86 (NT 5.x, 6.1 and later) and of x64 (6.0 and later, 5.2).
pub(crate) const PRCB_NUMBER_OFFSETS: (&[u16], &[u16]) = (&[0x10, 0x3cc], &[0x24, 0x04]);

/// `KPRCB.ProcessorState` of x64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessorState64 {
    /// `KSPECIAL_REGISTERS`.
    pub(crate) special: usize,
    /// From there to the `CONTEXT`: up to Windows 7, and since Windows 8.
    pub(crate) context_after: [usize; 2],
}

/// `KPRCB.ProcessorState` of x64 (NT 5.2 to 10).
pub(crate) const PROCESSOR_STATE_X64: ProcessorState64 = ProcessorState64 {
    special: 0x40,
    context_after: [0xe0, 0xf0],
};

/// `KPRCB.ProcessorState.SpecialRegisters` of x86 (NT 5.x).
pub(crate) const PROCESSOR_STATE_X86: usize = 0x2e8;

/// Structures whose fields are pointers, so that offsets differ between 32 and 64 bit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Bytes of a pointer.
    pub(crate) pointer: usize,
    /// `KLDR_DATA_TABLE_ENTRY.DllBase`; the entry starts with its list links.
    pub(crate) module_base: usize,
    /// `KLDR_DATA_TABLE_ENTRY.SizeOfImage`.
    pub(crate) module_size: usize,
    /// `KLDR_DATA_TABLE_ENTRY.FullDllName`.
    pub(crate) module_full_name: usize,
    /// `KLDR_DATA_TABLE_ENTRY.BaseDllName`.
    pub(crate) module_base_name: usize,
    /// `UNICODE_STRING.Buffer`.
    pub(crate) string_buffer: usize,
    /// `KPROCESS.DirectoryTableBase` (all of NT 5.1 to 10).
    pub(crate) process_dtb: usize,
    /// `KPCR` of ring 0: the global descriptor table's base.
    pub(crate) pcr_gdt: usize,
    /// `KPCR`: the interrupt descriptor table's base.
    pub(crate) pcr_idt: usize,
    /// `KPCR`: the pointer to itself.
    pub(crate) pcr_self: usize,
    /// `KPCR`: the pointer to the current PRCB.
    pub(crate) pcr_current_prcb: usize,
    /// `KPCR`: the PRCB itself.
    pub(crate) pcr_prcb: usize,
    /// `KPRCB.CurrentThread`.
    pub(crate) prcb_current_thread: usize,
}

impl Layout {
    /// That of a system whose pointers have 64 bits, or 32.
    #[must_use]
    pub(crate) const fn of(is_64bit: bool) -> &'static Self {
        if is_64bit { &LAYOUT64 } else { &LAYOUT32 }
    }
}

/// x64: ntddk.h, amd64 part.
pub(crate) const LAYOUT64: Layout = Layout {
    pointer: 8,
    module_base: 0x30,
    module_size: 0x40,
    module_full_name: 0x48,
    module_base_name: 0x58,
    string_buffer: 8,
    process_dtb: 0x28,
    pcr_gdt: 0x00,
    pcr_idt: 0x38,
    pcr_self: 0x18,
    pcr_current_prcb: 0x20,
    pcr_prcb: 0x180,
    prcb_current_thread: 8,
};

/// x86: ntddk.h, i386 part.
pub(crate) const LAYOUT32: Layout = Layout {
    pointer: 4,
    module_base: 0x18,
    module_size: 0x20,
    module_full_name: 0x24,
    module_base_name: 0x2c,
    string_buffer: 4,
    process_dtb: 0x18,
    pcr_gdt: 0x3c,
    pcr_idt: 0x38,
    pcr_self: 0x1c,
    pcr_current_prcb: 0x20,
    pcr_prcb: 0x120,
    prcb_current_thread: 4,
};

/// What precedes a dump header that a driver keeps in memory.
pub(crate) mod ram_header {
    /// GPLPV's buffer begins and ends with this, and a u16: its offset in the page.
    pub(crate) const GPLPV_PREFIX: &[u8] = b"XENXEN";
    /// Bytes of the prefix.
    pub(crate) const GPLPV_PREFIX_BYTES: usize = 8;
    /// The name of the note that virtio-win's fwcfg driver wraps its header in.
    pub(crate) const NOTE_NAME: &[u8] = b"VMCOREINFO\0";
    /// Where the name is in the 24 bytes before the header.
    pub(crate) const NOTE_NAME_OFFSET: usize = 12;
}
