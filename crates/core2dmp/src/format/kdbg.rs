//! `KDDEBUGGER_DATA64`, the kernel's table of contents for debuggers, and the version block beside it.
//!
//! ```text
//! +0x00  LIST_ENTRY64 (on x86: two 32-bit pointers, then 8 zero bytes)
//! +0x10  "KDBG", Size
//! +0x18  KernBase, then pointers and offsets; later systems appended more
//! ```
//!
//! It grew from 0x208 bytes (Windows 2000) to 0x3a0, so it is a table of offsets: a field past `Size` does
//! not exist on that system. On x86 its pointers are sign-extended to 64 bits.
//!
//! Sources: WDBGEXTS.H of the SDK (10.0.22621), elf2dmp's kdbg.h.

/// The tag at [`OWNER_TAG`].
pub(crate) const TAG: [u8; 4] = *b"KDBG";

/// Smallest `Size` that a system had: Windows 2000.
pub(crate) const MIN_SIZE: u32 = 0x208;
/// Largest `Size` that is accepted.
pub(crate) const MAX_SIZE: u32 = 0x400;

/// Forward and backward link of the list of data blocks.
pub(crate) const LIST: usize = 0x00;
/// [`TAG`].
pub(crate) const OWNER_TAG: usize = 0x10;
/// u32, bytes of the block.
pub(crate) const SIZE: usize = 0x14;
/// The kernel's base.
pub(crate) const KERN_BASE: usize = 0x18;
/// u16, bit 0: PAE.
pub(crate) const PAE_ENABLED: usize = 0x36;
/// Address of the list head.
pub(crate) const PS_LOADED_MODULE_LIST: usize = 0x48;
/// Address of the list head.
pub(crate) const PS_ACTIVE_PROCESS_HEAD: usize = 0x50;
/// Address of five pointer-sized values: stop code and parameters.
pub(crate) const KI_BUGCHECK_DATA: usize = 0x88;
/// Address of the pointer to the PFN database.
pub const MM_PFN_DATABASE: usize = 0xc0;
/// Address of the text such as "19041.1.amd64fre.vb_release.191206-1406" (5.1 and later).
pub(crate) const NT_BUILD_LAB: usize = 0x208;
/// A pointer to the list of unloaded drivers.
pub(crate) const MM_UNLOADED_DRIVERS: usize = 0x220;
/// A pointer to the index of the last of them.
pub(crate) const MM_LAST_UNLOADED_DRIVER: usize = 0x228;
/// Address of `CmNtCSDVersion`, a u32: 0x200 is service pack 2.
pub(crate) const CM_NT_CSD_VERSION: usize = 0x268;
/// Address of the array of pointers to PRCBs.
pub(crate) const KI_PROCESSOR_BLOCK: usize = 0x218;
/// Address of the pointer to the physical memory descriptor.
pub(crate) const MM_PHYSICAL_MEMORY_BLOCK: usize = 0x270;
/// Address of the variable with the first address of the kernel's half.
pub(crate) const MM_SYSTEM_RANGE_START: usize = 0x1d0;
/// u16, in a KTHREAD: the pointer to its user-mode environment block.
pub(crate) const OFFSET_KTHREAD_TEB: usize = 0x29a;
/// u16, in a KTHREAD: its stack pointer when it was last switched from.
pub(crate) const OFFSET_KTHREAD_KERNEL_STACK: usize = 0x29c;
/// u16, in a KTHREAD: where its kernel stack begins, above everything on it.
pub(crate) const OFFSET_KTHREAD_INITIAL_STACK: usize = 0x29e;
/// u16, in a KTHREAD: the pointer to its process.
pub(crate) const OFFSET_KTHREAD_APC_PROCESS: usize = 0x2a0;
/// u16, in an EPROCESS: the pointer to its user-mode environment block.
pub(crate) const OFFSET_EPROCESS_PEB: usize = 0x2aa;
/// u16, in an EPROCESS.
pub(crate) const OFFSET_EPROCESS_DIRECTORY_TABLE_BASE: usize = 0x2ae;
/// u16, in a PRCB: the pointer to the current thread.
pub(crate) const OFFSET_PRCB_CURRENT_THREAD: usize = 0x2b4;
/// u16, in a PRCB: the inline `CONTEXT` (`ProcessorState.ContextFrame`).
pub(crate) const OFFSET_PRCB_PROC_STATE_CONTEXT: usize = 0x2bc;
/// u16, in a PRCB: the processor's number.
pub(crate) const OFFSET_PRCB_NUMBER: usize = 0x2be;
/// u16, in a PRCB: the inline `KSPECIAL_REGISTERS`.
pub(crate) const OFFSET_PRCB_PROC_STATE_SPECIAL_REG: usize = 0x2f2;
/// u16, in a PCR: the pointer to itself.
pub(crate) const OFFSET_PCR_SELF_PCR: usize = 0x2e2;
/// u16, in a PCR: the pointer to the current PRCB.
pub(crate) const OFFSET_PCR_CURRENT_PRCB: usize = 0x2e4;
/// u16, in a PCR: the PRCB that it contains.
pub(crate) const OFFSET_PCR_CONTAINED_PRCB: usize = 0x2e6;
/// u16, in a PRCB: the pointer to a `CONTEXT` (6.1 and later).
pub(crate) const OFFSET_PRCB_CONTEXT: usize = 0x338;
/// The address of the page tables in virtual memory, itself (10.0.14393 and later).
pub(crate) const PTE_BASE: usize = 0x360;

/// Bytes of `DBGKD_GET_VERSION64`.
pub(crate) const VERSION_SIZE: usize = 0x28;
/// u16 in the version block: 0xF free, 0xC checked.
pub(crate) const VERSION_MAJOR: usize = 0x00;
/// u16: the build number.
pub(crate) const VERSION_MINOR: usize = 0x02;
/// u8.
pub(crate) const VERSION_KD_SECONDARY: usize = 0x05;
/// u16: the machine, as in a PE header.
pub(crate) const VERSION_MACHINE: usize = 0x08;
/// The kernel's base.
pub(crate) const VERSION_KERN_BASE: usize = 0x10;
/// Address of the module list's head.
pub(crate) const VERSION_PS_LOADED_MODULE_LIST: usize = 0x18;
