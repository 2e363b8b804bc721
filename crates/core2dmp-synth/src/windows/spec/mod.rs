//! Which guest to build: a builder whose defaults make a small live Windows.
//!
//! ```text
//! GuestSpec::windows10().processors(4).above_4g().crashed(0xd1, [..]).build() -> Guest
//! ```

mod crash;
mod guest_record;
mod ram_header;

use crate::windows::arch::Arch;
use crate::windows::layout::Layout;
use crate::windows::memory::Fill;

pub(crate) use crash::Crash;
pub use crash::CrashRecord;
pub use guest_record::GuestRecord;
pub(crate) use ram_header::Kind;
pub use ram_header::RamHeader;

/// Describes a guest; [`GuestSpec::build`] makes it.
#[derive(Clone, Debug)]
pub struct GuestSpec {
    pub(crate) layout: Layout,
    pub(crate) processors: u32,
    pub(crate) vcpus: Option<u32>,
    pub(crate) vcpu_order: Option<Vec<u32>>,
    pub(crate) user_mode: Vec<u32>,
    pub(crate) crash: Option<Crash>,
    pub(crate) contexts_zero: bool,
    pub(crate) encoded_kdbg: Option<bool>,
    pub(crate) code_scan: bool,
    pub(crate) kdbg: bool,
    pub(crate) memory_mib: u64,
    pub(crate) above_4g: bool,
    pub(crate) ram_start: u64,
    pub(crate) fill: Fill,
    pub(crate) ballooned: Vec<(u64, u64)>,
    pub(crate) runs: usize,
    pub(crate) ram_headers: Vec<RamHeader>,
    pub(crate) guest_records: Vec<GuestRecord>,
    pub(crate) low_stub: bool,
    pub(crate) user_pages: u32,
    pub(crate) pfn_database: bool,
}

impl GuestSpec {
    fn new(layout: Layout) -> Self {
        Self {
            low_stub: layout.arch.is_x64(),
            layout,
            processors: 1,
            vcpus: None,
            vcpu_order: None,
            user_mode: Vec::new(),
            crash: None,
            contexts_zero: false,
            encoded_kdbg: None,
            code_scan: true,
            kdbg: true,
            memory_mib: 32,
            above_4g: false,
            ram_start: 0,
            fill: Fill::default(),
            ballooned: Vec::new(),
            runs: 0,
            ram_headers: Vec::new(),
            guest_records: Vec::new(),
            user_pages: 0,
            pfn_database: false,
        }
    }

    /// Windows 10 2004 (build 19041), x64: encoded KDBG of 0x380 bytes, large-page kernel at a random base.
    #[must_use]
    pub fn windows10() -> Self {
        Self::new(Layout::windows10())
    }

    /// The same with five levels of page tables.
    #[must_use]
    pub fn windows10_la57() -> Self {
        let mut layout = Layout::windows10();
        layout.arch = Arch::X64La57;
        // The same entry of a root that is a level higher.
        layout.regions.pte_base = 0xfe00_0000_0000_0000 | layout.regions.self_map << 48;
        Self::new(layout)
    }

    /// Windows 7 SP1 (build 7601), x64: plain KDBG of 0x340 bytes, contexts behind a pointer in the PRCB.
    #[must_use]
    pub fn windows7() -> Self {
        Self::new(Layout::windows7())
    }

    /// Windows Server 2003 (build 3790), x64: plain KDBG of 0x318 bytes, contexts inline in the PRCB.
    #[must_use]
    pub fn windows2003_x64() -> Self {
        Self::new(Layout::windows2003_x64())
    }

    /// Windows Server 2003 (build 3790), 32-bit without PAE.
    #[must_use]
    pub fn windows2003_x86() -> Self {
        Self::new(Layout::windows2003_32(false))
    }

    /// Windows Server 2003 (build 3790), 32-bit with PAE.
    #[must_use]
    pub fn windows2003_pae() -> Self {
        Self::new(Layout::windows2003_32(true))
    }

    /// Windows 7 SP1 (build 7601), 32-bit with PAE, contexts behind a pointer in the PRCB.
    #[must_use]
    pub fn windows7_pae() -> Self {
        Self::new(Layout::windows7_pae())
    }

    /// Windows 11 (build 22000), ARM64: encoded KDBG of 0x380 bytes, RAM from 1 GiB on, as QEMU's `virt` has it.
    #[must_use]
    pub fn windows11_arm64() -> Self {
        Self::new(Layout::windows11_arm64()).ram_start(0x4000_0000)
    }

    /// Where RAM begins, in bytes (ARM64; default 1 GiB).
    #[must_use]
    pub fn ram_start(mut self, gpa: u64) -> Self {
        assert!(
            self.layout.arch == Arch::Arm64 && gpa.is_multiple_of(0x20_0000),
            "a PC's RAM begins at 0"
        );
        self.ram_start = gpa >> 12;
        self
    }

    /// How many processors Windows started (default 1).
    #[must_use]
    pub fn processors(mut self, count: u32) -> Self {
        assert!((1..=self.layout.most_processors()).contains(&count));
        self.processors = count;
        self
    }

    /// How many vCPUs the hypervisor shows; those that Windows never started are in real mode, with CR3 0.
    #[must_use]
    pub fn vcpus(mut self, count: u32) -> Self {
        self.vcpus = Some(count);
        self
    }

    /// The order of the vCPUs in the container: index there to processor number. Implies [`GuestSpec::vcpus`].
    #[must_use]
    pub fn vcpu_order(mut self, order: Vec<u32>) -> Self {
        self.vcpu_order = Some(order);
        self
    }

    /// Lets this processor's vCPU stand in user mode; on 64-bit guests under a shadow CR3 that maps no kernel.
    #[must_use]
    pub fn vcpu_user_mode(mut self, processor: u32) -> Self {
        self.user_mode.push(processor);
        self
    }

    /// Lets the guest be stopped by a bug check: KDBG plain, PRCB contexts of the fault, vCPUs in a halt loop.
    #[must_use]
    pub fn crashed(mut self, code: u32, parameters: [u64; 4]) -> Self {
        let processor = self.crash.as_ref().map_or(0, |crash| crash.processor);
        self.crash = Some(Crash {
            code,
            parameters,
            processor,
            record: None,
        });
        self
    }

    /// Which processor the bug check happened on (default 0). Needs [`GuestSpec::crashed`] first.
    #[must_use]
    pub fn crashed_on(mut self, processor: u32) -> Self {
        self.crash
            .as_mut()
            .expect("crashed() comes first")
            .processor = processor;
        self
    }

    /// A bug check whose parameters point at records in kernel memory; sets code and parameters.
    #[must_use]
    pub fn crash_record(mut self, record: CrashRecord) -> Self {
        let processor = self.crash.as_ref().map_or(0, |crash| crash.processor);
        let (code, parameters) = (record.code(), [0; 4]);
        self.crash = Some(Crash {
            code,
            parameters,
            processor,
            record: Some(record),
        });
        self
    }

    /// Makes the PRCBs' contexts all zero.
    #[must_use]
    pub fn contexts_zero(mut self) -> Self {
        self.contexts_zero = true;
        self
    }

    /// Whether the KDBG is encoded in memory (default: as that Windows does it).
    #[must_use]
    pub fn encoded_kdbg(mut self, encoded: bool) -> Self {
        self.encoded_kdbg = Some(encoded);
        self
    }

    /// Whether KdCopyDataBlock's code is in the kernel (default true). If not, only KeSetTimerEx names the keys.
    #[must_use]
    pub fn code_scan(mut self, present: bool) -> Self {
        self.code_scan = present;
        self
    }

    /// Leaves the KDBG out: its bytes are zero.
    #[must_use]
    pub fn without_kdbg(mut self) -> Self {
        self.kdbg = false;
        self
    }

    /// The guest's memory in MiB (default 32, at least 20; 24 with [`GuestSpec::above_4g`]).
    #[must_use]
    pub fn memory_mib(mut self, mib: u64) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Puts half of the memory, or what is more than 3 GiB, at 4 GiB and above, with some of the kernel's structures.
    #[must_use]
    pub fn above_4g(mut self) -> Self {
        assert!(
            self.layout.arch != Arch::X86,
            "32-bit paging without PAE reaches 4 GiB only"
        );
        self.above_4g = true;
        self
    }

    /// Gives frames that nothing is written to pseudo-random contents, all but `zero_percent` of a hundred.
    #[must_use]
    pub fn fill(self, zero_percent: u8) -> Self {
        self.fill_together(zero_percent, 1)
    }

    /// The same with so many neighbours zero, or not, together: a file system then has holes of a size that it likes.
    #[must_use]
    pub fn fill_together(mut self, zero_percent: u8, frames: u64) -> Self {
        self.fill = Fill {
            zero_percent: Some(zero_percent),
            together: frames,
        };
        self
    }

    /// Frames that Windows counts as memory and the container lacks. May be called several times.
    #[must_use]
    pub fn ballooned(mut self, first: u64, count: u64) -> Self {
        self.ballooned.push((first, count));
        self
    }

    /// Splits the guest's memory into at least this many runs, by one-frame gaps near its top.
    #[must_use]
    pub fn runs(mut self, count: usize) -> Self {
        self.runs = count;
        self
    }

    /// Leaves a dump header in the guest's memory. May be called several times.
    #[must_use]
    pub fn ram_header(mut self, header: RamHeader) -> Self {
        self.ram_headers.push(header);
        self
    }

    /// Leaves a guest record in the guest's memory. May be called several times.
    #[must_use]
    pub fn guest_record(mut self, record: GuestRecord) -> Self {
        self.guest_records.push(record);
        self
    }

    /// Whether firmware's hand-over page is in low memory (default: on x64).
    #[must_use]
    pub fn low_stub(mut self, present: bool) -> Self {
        self.low_stub = present;
        self
    }

    /// Gives every process but System this many pages of user memory, with its number in each (default 0).
    #[must_use]
    pub fn user_pages(mut self, pages: u32) -> Self {
        self.user_pages = pages;
        self
    }

    /// Writes the PFN database, with what every frame is used for (default: a page of zeros stands for it).
    #[must_use]
    pub fn pfn_database(mut self) -> Self {
        self.pfn_database = true;
        self
    }
}
