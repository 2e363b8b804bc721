//! A vCPU as the hypervisor saw it.

/// One vCPU.
#[derive(Debug, Clone)]
pub struct CpuState {
    /// Its position in the container. Xen leaves out vCPUs that were never initialised, so this is neither
    /// the hypervisor's number nor Windows' processor number.
    pub index: usize,
    /// Whether it ran; one that went offline keeps its last registers.
    pub online: bool,
    /// Its registers.
    pub registers: X86Registers,
}

/// A descriptor table register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRegister {
    /// Virtual address of the table.
    pub base: u64,
    /// Bytes of the table, less one.
    pub limit: u16,
}

/// Registers of x86 and x64; a 32-bit guest leaves the high halves and R8 to R15 zero.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct X86Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub rbp: u64,
    /// R8 to R15.
    pub r8_r15: [u64; 8],
    pub rip: u64,
    pub rflags: u64,
    pub cs: u16,
    pub ss: u16,
    pub ds: u16,
    pub es: u16,
    pub fs: u16,
    pub gs: u16,
    pub fs_base: u64,
    /// The kernel's GS base, whichever of the two is active.
    pub gs_base_kernel: u64,
    pub gs_base_user: u64,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    /// DR0 to DR3, DR6, DR7.
    pub dr: [u64; 6],
    /// An FXSAVE image.
    pub fxsave: [u8; 512],
    /// Where the container has it.
    pub gdtr: Option<TableRegister>,
    /// Where the container has it.
    pub idtr: Option<TableRegister>,
    /// Where the container has it.
    pub tr: Option<u16>,
    /// Where the container has it.
    pub ldtr: Option<u16>,
}

/// CR0.PE and CR0.PG: the guest uses page tables.
const CR0_PAGING: u64 = 1 | 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CR4_LA57: u64 = 1 << 12;

impl X86Registers {
    /// Whether page tables are in use: a vCPU that the guest has not started is in real mode.
    #[must_use]
    pub const fn has_paging(&self) -> bool {
        self.cr0 & CR0_PAGING == CR0_PAGING
    }

    /// Whether CR4 says PAE, which 64-bit mode needs too.
    #[must_use]
    pub const fn has_pae(&self) -> bool {
        self.cr4 & CR4_PAE != 0
    }

    /// Whether CR4 says five levels.
    #[must_use]
    pub const fn has_la57(&self) -> bool {
        self.cr4 & CR4_LA57 != 0
    }

    /// Whether it stands in ring 3.
    #[must_use]
    pub const fn is_user_mode(&self) -> bool {
        self.cs & 3 == 3
    }
}
