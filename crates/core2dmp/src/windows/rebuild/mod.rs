//! A debugger data block where the guest has none: each field that memory proves, and no other.
//!
//! ```text
//! list heads       a link pair in the kernel's data whose first entry describes this very kernel / System
//! processors       control region at a vCPU's segment base (x86: also at 0xffdff000); the array of them
//! layout           the pair of descriptor table registers inside the PRCB that equals the control region's
//! stop code        exported KiBugCheckData
//! memory           a pointer to a descriptor whose runs add up and lie in the container
//! ```
//!
//! A block may be paged out, overwritten, encoded beyond recognition, or never have been there (`ReactOS` has
//! none). A debugger opens nothing without one. The new block is placed in the tail of the kernel's header
//! page, which the loader leaves zero, or of another page of its image, and it is announced field by field.

mod data;
mod layout;

use super::fact::{Fact, Source};
use super::headers::GuestHeader;
use super::kdbg::{DebuggerData, RebuiltField};
use super::kernel::KernelImage;
use crate::address::{Gva, PAGE_BYTES, PAGE_SIZE};
use crate::container::Guest;
use crate::error::Attempt;
use crate::format::header_fields::FieldId;
use crate::format::kdbg::{
    KERN_BASE, KI_BUGCHECK_DATA, KI_PROCESSOR_BLOCK, LIST, MM_PHYSICAL_MEMORY_BLOCK,
    OFFSET_EPROCESS_DIRECTORY_TABLE_BASE, OFFSET_KTHREAD_APC_PROCESS, OFFSET_KTHREAD_TEB,
    OFFSET_PCR_CONTAINED_PRCB, OFFSET_PCR_CURRENT_PRCB, OFFSET_PCR_SELF_PCR, OFFSET_PRCB_CONTEXT,
    OFFSET_PRCB_CURRENT_THREAD, OFFSET_PRCB_NUMBER, OFFSET_PRCB_PROC_STATE_CONTEXT,
    OFFSET_PRCB_PROC_STATE_SPECIAL_REG, OWNER_TAG, PAE_ENABLED, PS_ACTIVE_PROCESS_HEAD,
    PS_LOADED_MODULE_LIST, SIZE, TAG,
};
use crate::format::put_at;
use crate::paging::{AddressSpace, PagingMode};

/// Bytes of a rebuilt block: as Windows 7 has it, which every debugger since knows.
const BLOCK_BYTES: usize = 0x340;
/// Pages of the kernel's image that are asked for room for it.
const MOST_PAGES: u64 = 0x1000;

/// An offset in a rebuilt block.
struct OffsetRow {
    /// Where the block has it.
    at: usize,
    name: &'static str,
    value: fn(&layout::PrcbLayout) -> Option<u16>,
    /// What proves it; the layout knows it of the special registers.
    why: &'static str,
}

/// Every offset in a rebuilt block.
static OFFSETS: [OffsetRow; 11] = [
    OffsetRow {
        at: OFFSET_PCR_SELF_PCR,
        name: "OffsetPcrSelfPcr",
        value: |layout| Some(layout.pcr_self),
        why: "it equals the control region's own pointer",
    },
    OffsetRow {
        at: OFFSET_PCR_CURRENT_PRCB,
        name: "OffsetPcrCurrentPrcb",
        value: |layout| Some(layout.pcr_current_prcb),
        why: "it points to the control block",
    },
    OffsetRow {
        at: OFFSET_PCR_CONTAINED_PRCB,
        name: "OffsetPcrContainedPrcb",
        value: |layout| Some(layout.pcr_prcb),
        why: "the control region's pointer leads there",
    },
    OffsetRow {
        at: OFFSET_PRCB_CURRENT_THREAD,
        name: "OffsetPrcbCurrentThread",
        value: |layout| Some(layout.current_thread),
        why: "it points to a thread",
    },
    OffsetRow {
        at: OFFSET_PRCB_NUMBER,
        name: "OffsetPrcbNumber",
        value: |layout| Some(layout.number),
        why: "it counts the control blocks",
    },
    OffsetRow {
        at: OFFSET_PRCB_PROC_STATE_SPECIAL_REG,
        name: "OffsetPrcbProcStateSpecialReg",
        value: |layout| Some(layout.special),
        why: "",
    },
    OffsetRow {
        at: OFFSET_PRCB_PROC_STATE_CONTEXT,
        name: "OffsetPrcbProcStateContext",
        value: |layout| Some(layout.context),
        why: "it is beside the special registers",
    },
    OffsetRow {
        at: OFFSET_PRCB_CONTEXT,
        name: "OffsetPrcbContext",
        value: |layout| layout.context_pointer,
        why: "it points to those registers",
    },
    OffsetRow {
        at: OFFSET_KTHREAD_APC_PROCESS,
        name: "OffsetKThreadApcProcess",
        value: |layout| layout.thread_process,
        why: "it points to a process of the list",
    },
    OffsetRow {
        at: OFFSET_KTHREAD_TEB,
        name: "OffsetKThreadTeb",
        value: |layout| layout.thread_teb,
        why: "a vCPU's segment base in user mode is there",
    },
    OffsetRow {
        at: OFFSET_EPROCESS_DIRECTORY_TABLE_BASE,
        name: "OffsetEprocessDirectoryTableBase",
        value: |layout| Some(layout.process_dtb),
        why: "System's maps this kernel",
    },
];

/// Rebuilds the block; `Err` says which field could not be proven.
pub(super) fn rebuild(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    guest: &Guest,
    headers: &[GuestHeader],
) -> Result<Fact<DebuggerData>, Attempt> {
    let mut proof = Proof::find(space, kernel, guest, headers).map_err(|outcome| Attempt {
        way: "rebuild from what memory proves".to_owned(),
        outcome: outcome.to_owned(),
    })?;
    let mut block = Block::new(space.mode());
    block.pointer(KERN_BASE, "KernBase", kernel.image.base, &kernel.source);
    let (modules, processes) = (proof.modules, proof.processes);
    let list = "its first entry describes this kernel, and leads back";
    block.proven(PS_LOADED_MODULE_LIST, "PsLoadedModuleList", modules, list);
    let list = "its entries are processes, System among them";
    block.proven(
        PS_ACTIVE_PROCESS_HEAD,
        "PsActiveProcessHead",
        processes,
        list,
    );
    let array = proof.processors.array;
    let array_is = "it holds the address of each processor's control block";
    block.proven(KI_PROCESSOR_BLOCK, "KiProcessorBlock", array, array_is);
    if let Some(gva) = kernel.image.export(space, "KiBugCheckData") {
        let source = Source::Export("KiBugCheckData");
        block.pointer(KI_BUGCHECK_DATA, "KiBugcheckData", gva, &source);
    }
    if let Some(gva) = data::memory_block(space, kernel, guest) {
        let is = "it points to runs that add up and lie in the container";
        block.proven(MM_PHYSICAL_MEMORY_BLOCK, "MmPhysicalMemoryBlock", gva, is);
    }
    proof.layout.thread_teb = layout::thread_teb(space, &proof.processors.prcbs, &guest.cpus);
    block.layout(&proof.layout);
    if block.mode == PagingMode::X86Pae {
        block.offset(PAE_ENABLED, "PaeEnabled", 1, "the page tables");
    }
    Ok(block.finish(proof.place))
}

/// What a debugger cannot do without.
struct Proof {
    place: Gva,
    modules: Gva,
    processes: Gva,
    layout: layout::PrcbLayout,
    processors: data::Processors,
}

impl Proof {
    /// Finds all of it; `Err` names what is missing.
    fn find(
        space: &AddressSpace<'_>,
        kernel: &KernelImage,
        guest: &Guest,
        headers: &[GuestHeader],
    ) -> Result<Self, &'static str> {
        let place = place(space, kernel).ok_or("the kernel's image has no room for a block")?;
        let lists = data::search(space, kernel);
        let confirmed = |id| {
            headers
                .iter()
                .filter(|header| header.is_confirmed())
                .find_map(|header| header.pointer(id))
        };
        let modules = lists
            .module_list
            .or_else(|| confirmed(FieldId::PsLoadedModuleList))
            .ok_or("no list of modules that begins with the kernel")?;
        let processes = lists
            .process_list
            .or_else(|| confirmed(FieldId::PsActiveProcessHead))
            .ok_or("no list of processes that holds System")?;
        let (regions, layout) = regions(space, kernel, guest, processes)?;
        let processors = data::processor_block(space, kernel, &regions, &layout)
            .ok_or("no array of the processors' control blocks")?;
        Ok(Self {
            place,
            modules,
            processes,
            layout,
            processors,
        })
    }
}

/// The block while it is made.
struct Block {
    mode: PagingMode,
    bytes: Vec<u8>,
    fields: Vec<RebuiltField>,
}

impl Block {
    fn new(mode: PagingMode) -> Self {
        Self {
            mode,
            bytes: vec![0; BLOCK_BYTES],
            fields: Vec::new(),
        }
    }

    /// A pointer as the block holds it: sign-extended on 32 bit.
    fn extend(&self, gva: Gva) -> u64 {
        if !self.mode.is_64bit() && self.mode.is_kernel(gva) {
            return gva.get() | 0xffff_ffff_0000_0000;
        }
        gva.get()
    }

    fn pointer(&mut self, offset: usize, name: &'static str, gva: Gva, source: &Source) {
        self.proven(offset, name, gva, &source.to_string());
    }

    fn proven(&mut self, offset: usize, name: &'static str, gva: Gva, source: &str) {
        let value = self.extend(gva);
        self.put(offset, &value.to_le_bytes());
        self.fields.push(RebuiltField {
            name,
            value: gva.get(),
            source: source.to_owned(),
        });
    }

    fn offset(&mut self, offset: usize, name: &'static str, value: u16, source: &str) {
        self.put(offset, &value.to_le_bytes());
        self.fields.push(RebuiltField {
            name,
            value: u64::from(value),
            source: source.to_owned(),
        });
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        let fits = put_at(&mut self.bytes, offset, bytes);
        debug_assert!(fits, "every field that is rebuilt lies in the block");
    }

    fn layout(&mut self, layout: &layout::PrcbLayout) {
        for row in &OFFSETS {
            let why = match row.at {
                OFFSET_PRCB_PROC_STATE_SPECIAL_REG => layout.special_why,
                _ => row.why,
            };
            if let Some(value) = (row.value)(layout) {
                self.offset(row.at, row.name, value, why);
            }
        }
    }

    /// Header and links; the list of blocks holds this one alone.
    fn finish(mut self, place: Gva) -> Fact<DebuggerData> {
        self.put(OWNER_TAG, &TAG);
        let size = u32::try_from(BLOCK_BYTES).unwrap_or(0);
        self.put(SIZE, &size.to_le_bytes());
        if self.mode.is_64bit() {
            self.put(LIST, &place.get().to_le_bytes());
            self.put(LIST.saturating_add(8), &place.get().to_le_bytes());
        } else {
            // A LIST_ENTRY64 that holds two 32-bit pointers.
            let [a, b, c, d, ..] = place.get().to_le_bytes();
            self.put(LIST, &[a, b, c, d, a, b, c, d]);
        }
        let block = DebuggerData::rebuilt(place, self.bytes, self.mode, self.fields);
        Fact::new(block, Source::Rebuilt(place))
    }
}

/// The control regions that vCPUs lead to, else those that the kernel's data leads to, and how they are laid out.
fn regions(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    guest: &Guest,
    processes: Gva,
) -> Result<(Vec<layout::Region>, layout::PrcbLayout), &'static str> {
    let led = layout::regions(space, &guest.cpus);
    if let Some(layout) = layout::read(space, &led, processes) {
        return Ok((led, layout));
    }
    let searched = data::regions(space, kernel);
    if searched.is_empty() && led.is_empty() {
        return Err("neither a vCPU nor the kernel's data leads to a processor's control region");
    }
    let layout = layout::read(space, &searched, processes)
        .ok_or("the control block's layout was not recognised")?;
    Ok((searched, layout))
}

/// The end of the kernel's header page, if nothing is there; else of another page of its image that ends in zeros.
fn place(space: &AddressSpace<'_>, kernel: &KernelImage) -> Option<Gva> {
    let base = kernel.image.base;
    if let Some(place) = tail(space, base) {
        return Some(place);
    }
    let pages = u64::from(kernel.image.size) / PAGE_SIZE;
    (1..pages.min(MOST_PAGES)).find_map(|page| {
        let gva = base.checked_add(page.saturating_mul(PAGE_SIZE))?;
        let start = space
            .bytes(gva, PAGE_BYTES.checked_sub(BLOCK_BYTES)?)
            .ok()?;
        // A page of zeros may be variables that are zero.
        let is_used = start.iter().any(|byte| *byte != 0);
        tail(space, gva).filter(|_| is_used)
    })
}

/// The place for a block at the end of a page, if nothing is there.
fn tail(space: &AddressSpace<'_>, page: Gva) -> Option<Gva> {
    let place = page.checked_add(PAGE_SIZE.checked_sub(BLOCK_BYTES as u64)?)?;
    let bytes = space.bytes(place, BLOCK_BYTES).ok()?;
    bytes.iter().all(|byte| *byte == 0).then_some(place)
}
