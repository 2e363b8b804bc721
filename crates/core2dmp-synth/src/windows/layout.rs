//! Where each Windows line keeps things: addresses of regions and offsets in structures.
//!
//! ```text
//! kernel image:  0 headers | 0x1000 .rdata | 0x10000 .text | unit-0x10000 POOLCODE | unit .data | 2*unit PAGE | 3*unit
//! ```
//!
//! The tables of the releases are in `releases.rs`.

use crate::windows::arch::Arch;

/// A line of Windows releases that share a kernel layout.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) arch: Arch,
    pub(crate) build: u32,
    pub(crate) version: (u32, u32),
    pub(crate) build_lab: &'static str,
    pub(crate) pdb: &'static str,
    pub(crate) kdbg_size: u32,
    pub(crate) encodes_kdbg: bool,
    pub(crate) product_type: u32,
    pub(crate) suite_mask: u32,
    pub(crate) regions: Regions,
    pub(crate) mmpfn: Mmpfn,
    pub(crate) pcr: Pcr,
    pub(crate) process: Process,
    pub(crate) thread: Thread,
}

/// Virtual addresses of regions.
#[derive(Clone, Debug)]
pub(crate) struct Regions {
    pub(crate) kernel: u64,
    /// Bytes of each third of the kernel image; see the module's picture.
    pub(crate) unit: u64,
    pub(crate) large_pages: bool,
    pub(crate) hal: u64,
    pub(crate) drivers: u64,
    pub(crate) pool: u64,
    pub(crate) stacks: u64,
    /// The first processor's KPCR and the others', `pcr_stride` apart.
    pub(crate) boot_pcr: u64,
    pub(crate) other_pcrs: u64,
    pub(crate) pcr_stride: u64,
    /// The first processor's descriptor tables; the next processor's are 0x4000 further on.
    pub(crate) descriptors: u64,
    pub(crate) pfn_database: u64,
    /// The frame of System's root table.
    pub(crate) root_pfn: u64,
    /// Windows' self-map: the root's entry, and the address of the page tables that it makes.
    pub(crate) self_map: u64,
    pub(crate) pte_base: u64,
    pub(crate) kuser: u64,
    /// Further kernel regions that are mapped, so that the root has as many entries as a real one.
    pub(crate) extra: &'static [u64],
}

/// Offsets in KPCR and KPRCB; those of the KPRCB count from its start.
#[derive(Clone, Debug)]
pub(crate) struct Pcr {
    /// From the KPCR to the KPRCB in it.
    pub(crate) prcb: u64,
    pub(crate) prcb_size: u64,
    pub(crate) number: u64,
    pub(crate) current_thread: u64,
    pub(crate) idle_thread: u64,
    pub(crate) context: u64,
    pub(crate) special: u64,
    /// Where the pointer to the CONTEXT is, from Windows 7 on.
    pub(crate) context_pointer: Option<u64>,
    pub(crate) mhz: u64,
    pub(crate) vendor: u64,
}

/// Offsets in EPROCESS.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) size: u64,
    pub(crate) dtb: u64,
    pub(crate) pid: u64,
    pub(crate) parent: u64,
    pub(crate) name: u64,
    pub(crate) peb: u64,
}

/// Offsets in KTHREAD and ETHREAD.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) size: u64,
    pub(crate) teb: u64,
    pub(crate) initial_stack: u64,
    pub(crate) kernel_stack: u64,
    pub(crate) process: u64,
    pub(crate) state: u64,
}

/// Offsets in an MMPFN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mmpfn {
    pub(crate) size: u64,
    pub(crate) pte_address: usize,
    pub(crate) reference_count: usize,
    /// The byte whose lowest bits are PageLocation.
    pub(crate) location: usize,
}

impl Layout {
    /// The kernel image's bytes.
    pub(crate) fn image_size(&self) -> u64 {
        3 * self.regions.unit
    }

    /// The most processors that fit the regions and the variables.
    pub(crate) fn most_processors(&self) -> u32 {
        if self.arch.is_64() { 64 } else { 32 }
    }

    /// The address of a processor's KPCR.
    pub(crate) fn pcr_va(&self, processor: u32) -> u64 {
        match processor {
            0 => self.regions.boot_pcr,
            n => self.regions.other_pcrs + u64::from(n - 1) * self.regions.pcr_stride,
        }
    }
}
