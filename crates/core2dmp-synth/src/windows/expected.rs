//! What a correct reader finds in a guest: every fact that a test may want to compare.

use crate::windows::arch::Arch;
use crate::windows::registers::Registers;

/// The facts of a guest. Addresses of 32-bit guests are not sign-extended.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The paging mode.
    pub arch: Arch,
    /// NT's build number.
    pub build: u32,
    /// NT's major and minor version.
    pub version: (u32, u32),
    /// The text of NtBuildLab.
    pub build_lab: String,
    /// The physical address of the System process' page tables.
    pub dtb: u64,
    /// The roots of other processes that vCPUs run: as good for a debugger.
    pub dtb_alternatives: Vec<u64>,
    /// The kernel image; also the first of `modules`.
    pub kernel: Module,
    /// The debugger data block, if there is one.
    pub kdbg: Option<Kdbg>,
    /// The address of KdVersionBlock.
    pub kd_version_block: u64,
    /// Major version of the kernel debugger protocol: 15 for a free build.
    pub kd_major_version: u16,
    /// The address of PsLoadedModuleList.
    pub ps_loaded_module_list: u64,
    /// The address of PsActiveProcessHead.
    pub ps_active_process_head: u64,
    /// The value of MmPfnDatabase.
    pub pfn_database: u64,
    /// The address of MmPfnDatabase.
    pub pfn_database_variable: u64,
    /// The address of the KiProcessorBlock array.
    pub ki_processor_block: u64,
    /// The address of KiBugcheckData.
    pub ki_bugcheck_data: u64,
    /// MmPhysicalMemoryBlock: first frame and count of each run.
    pub runs: Vec<(u64, u64)>,
    /// Frames of `runs` that the container lacks.
    pub missing: Vec<(u64, u64)>,
    /// The processors that Windows started, by number.
    pub processors: Vec<Processor>,
    /// vCPUs in the container.
    pub vcpus: usize,
    /// The stop code and parameters if the guest has crashed.
    pub bugcheck: Option<Bugcheck>,
    /// The module list in load order.
    pub modules: Vec<Module>,
    /// The process list.
    pub processes: Vec<Process>,
    /// KUSER_SHARED_DATA.SystemTime: 100 ns since 1601.
    pub system_time: u64,
    /// KUSER_SHARED_DATA.InterruptTime: 100 ns since start.
    pub system_uptime: u64,
    /// 1 workstation, 2 domain controller, 3 server.
    pub product_type: u32,
    /// KUSER_SHARED_DATA.SuiteMask.
    pub suite_mask: u32,
    /// Dump headers left in memory.
    pub ram_headers: Vec<FoundHeader>,
    /// Guest records in its memory.
    pub guest_records: Vec<FoundRecord>,
    /// User memory of the processes, with [`crate::GuestSpec::user_pages`].
    pub user: Vec<UserMemory>,
    /// Frames that are free or zeroed, with [`crate::GuestSpec::pfn_database`].
    pub free: Vec<u64>,
    /// Physical addresses of the firmware hand-over page.
    pub low_stub: Option<u64>,
}

/// The user memory of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMemory {
    /// UniqueProcessId.
    pub pid: u64,
    /// Its frames.
    pub pfns: Vec<u64>,
}

/// A module in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// BaseDllName.
    pub name: String,
    /// FullDllName.
    pub path: String,
    /// DllBase.
    pub base: u64,
    /// SizeOfImage.
    pub size: u64,
    /// TimeDateStamp of the image.
    pub timestamp: u32,
    /// Its CodeView record.
    pub pdb: Pdb,
}

/// A CodeView (RSDS) record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdb {
    /// File name.
    pub name: String,
    /// The GUID's bytes as they lie in memory.
    pub guid: [u8; 16],
    /// Age.
    pub age: u32,
}

impl Pdb {
    /// The GUID's digits and the age, as symbol servers and `ntkrnlmp-rvas.csv` write them: `0656..D6-1`.
    #[must_use]
    pub fn id(&self) -> String {
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        let digits: String = ORDER
            .iter()
            .map(|&i| format!("{:02X}", self.guid[i]))
            .collect();
        format!("{digits}-{:X}", self.age)
    }
}

/// The debugger data block.
#[derive(Clone, Debug)]
pub struct Kdbg {
    /// Its address.
    pub va: u64,
    /// Its pieces in physical memory: address and bytes.
    pub pieces: Vec<(u64, usize)>,
    /// Its size in bytes.
    pub size: u32,
    /// The keys, if it is encoded in memory.
    pub keys: Option<Keys>,
    /// Its decoded contents.
    pub plain: Vec<u8>,
}

/// What an encoded debugger data block is decoded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The value of KiWaitNever.
    pub wait_never: u64,
    /// The value of KiWaitAlways.
    pub wait_always: u64,
    /// The address of KdpDataBlockEncoded.
    pub encoded_flag: u64,
}

/// A processor that Windows started.
#[derive(Clone, Debug)]
pub struct Processor {
    /// KPRCB.Number.
    pub number: u32,
    /// The KPCR's address.
    pub kpcr: u64,
    /// The KPRCB's address.
    pub kprcb: u64,
    /// The address of the pointer to the CONTEXT, from Windows 7 on.
    pub context_pointer: Option<u64>,
    /// The address of the CONTEXT.
    pub context: u64,
    /// The CONTEXT's pieces in physical memory: address and bytes.
    pub context_pieces: Vec<(u64, usize)>,
    /// The address of KSPECIAL_REGISTERS.
    pub special: u64,
    /// Base and limit of the GDT.
    pub gdt: (u64, u16),
    /// Base and limit of the IDT.
    pub idt: (u64, u16),
    /// KPRCB.CurrentThread.
    pub thread: u64,
    /// The process of that thread.
    pub process: u64,
    /// Its name.
    pub process_name: String,
    /// Where its vCPU is in the container.
    pub vcpu: Option<usize>,
    /// Whether the vCPU stands in user mode.
    pub user_mode: bool,
    /// The registers of the vCPU.
    pub from_vcpu: Option<Registers>,
    /// The registers that the PRCB holds; `None` if they are all zero.
    pub from_memory: Option<Registers>,
}

/// A bug check.
#[derive(Clone, Debug)]
pub struct Bugcheck {
    /// The stop code.
    pub code: u32,
    /// Its four parameters.
    pub parameters: [u64; 4],
    /// The processor that crashed.
    pub processor: u32,
    /// The exception that the stop code's records tell of.
    pub exception: Option<Exception>,
}

/// An exception record, context or trap frame behind a stop code's parameters.
#[derive(Clone, Debug)]
pub struct Exception {
    /// The exception code, if an exception record or the stop code's parameters name it.
    pub code: Option<u32>,
    /// The address of the faulting instruction.
    pub address: u64,
    /// The registers in the context record or trap frame. A trap frame holds the volatile ones only; the others are zero.
    pub registers: Option<Registers>,
    /// Address of the exception record.
    pub exception_record: Option<u64>,
    /// Address of the context record.
    pub context_record: Option<u64>,
    /// Address of the trap frame.
    pub trap_frame: Option<u64>,
}

/// A process in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// UniqueProcessId.
    pub pid: u64,
    /// ImageFileName.
    pub name: String,
    /// DirectoryTableBase, as stored.
    pub dtb: u64,
    /// The EPROCESS' address.
    pub eprocess: u64,
}

/// A guest record left in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// The physical address of its page.
    pub gpa: u64,
    /// Its virtual address.
    pub va: u64,
    /// Whether it is of this boot.
    pub fresh: bool,
}

/// A dump header left in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundHeader {
    /// The physical address of the header itself.
    pub gpa: u64,
    /// The physical address of the buffer around it.
    pub buffer: u64,
    /// `gplpv`, `fwcfg` or `windows`.
    pub kind: &'static str,
    /// Whether it is of this boot.
    pub fresh: bool,
}
