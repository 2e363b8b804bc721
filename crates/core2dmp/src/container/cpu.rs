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
    pub registers: Registers,
}

/// Registers of a vCPU, by architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registers {
    /// x86 and x64.
    X86(Box<X86Registers>),
    /// ARM64.
    Arm64(Box<Arm64Registers>),
}

impl Registers {
    /// Those of x86 and x64.
    #[must_use]
    pub fn x86(&self) -> Option<&X86Registers> {
        match self {
            Self::X86(registers) => Some(registers),
            Self::Arm64(_) => None,
        }
    }

    /// Whether page tables are in use: a vCPU that the guest has not started runs without.
    #[must_use]
    pub fn has_paging(&self) -> bool {
        match self {
            Self::X86(registers) => registers.has_paging(),
            Self::Arm64(registers) => match &registers.system {
                Some(system) => system.ttbr1 != 0,
                // Powered off, it is at the exception level of the kernel with a PC of 0.
                None => self.is_user_mode() || registers.pc >> 63 == 1,
            },
        }
    }

    /// Whether it runs a user's code.
    #[must_use]
    pub fn is_user_mode(&self) -> bool {
        match self {
            Self::X86(registers) => registers.cs & 3 == 3,
            // PSTATE.M: EL0t.
            Self::Arm64(registers) => registers.cpsr & 0xf == 0,
        }
    }

    /// The instruction and the stack pointer.
    #[must_use]
    pub fn pointers(&self) -> (u64, u64) {
        match self {
            Self::X86(registers) => (registers.rip, registers.rsp),
            Self::Arm64(registers) => (registers.pc, registers.sp),
        }
    }
}

/// Registers of ARM64.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct Arm64Registers {
    /// X0 to X30: 29 is FP, 30 is LR.
    pub x: [u64; 31],
    pub sp: u64,
    pub pc: u64,
    pub cpsr: u32,
    /// Where the container has them.
    pub floating: Option<Arm64Floating>,
    /// Where the container has them.
    pub system: Option<Arm64System>,
}

/// Floating point and vector registers of ARM64.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct Arm64Floating {
    /// V0 to V31.
    pub v: [[u8; 16]; 32],
    pub fpcr: u32,
    pub fpsr: u32,
}

/// System registers of ARM64.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct Arm64System {
    pub ttbr0: u64,
    pub ttbr1: u64,
    /// Windows keeps the address of the processor's control region there.
    pub tpidr_el1: u64,
}

impl Arm64Registers {
    /// The address of the processor's control region, as far as the registers tell: in the kernel X18 holds it, too.
    ///
    /// Source: Microsoft, "Overview of ARM64 ABI conventions" (X18: the KPCR in kernel mode, the TEB in user mode).
    #[must_use]
    pub fn region(&self) -> Option<u64> {
        let [.., x18] = self.x.first_chunk::<19>()?;
        match &self.system {
            Some(system) => Some(system.tpidr_el1),
            None => (self.cpsr & 0xf != 0).then_some(*x18),
        }
    }

    /// The address of the current thread's environment block, in user mode.
    #[must_use]
    pub fn environment(&self) -> Option<u64> {
        let [.., x18] = self.x.first_chunk::<19>()?;
        (self.cpsr & 0xf == 0).then_some(*x18)
    }
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
    /// DR0 to DR3, DR6, DR7, where the container has them.
    pub dr: Option<[u64; 6]>,
    /// An FXSAVE image, where the container has one.
    pub fxsave: Option<[u8; 512]>,
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
}
