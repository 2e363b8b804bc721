//! The page tables' root: from the vCPUs, from the low stub, or by a scan of all memory.
//!
//! ```text
//! vCPU CR3 --+
//! low stub --+--> does it map KUSER_SHARED_DATA, and a kernel?  --> root
//! scan ------+
//! ```
//!
//! Each candidate is verified by what it maps. A vCPU in user mode of a system with KVA shadowing has a CR3
//! that maps neither; the next candidate then decides.

use std::ops::ControlFlow;

use super::fact::Source;
use super::kernel::{self, KernelImage};
use super::kuser;
use crate::address::{Gpa, Gva, PAGE_BYTES, Pfn};
use crate::container::{CpuState, Guest, HeaderHint, Registers, X86Registers};
use crate::error::Attempt;
use crate::format::dump_values::MACHINE_ARM64;
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::format::nt::{LAYOUT32, LAYOUT64, PCR_KERNEL_DIRECTORY_TABLE_BASE, low_stub};
use crate::format::{u16_at, u32_at, u64_at};
use crate::memory::{Frames, PhysicalMemory};
use crate::paging::{AddressSpace, PagingMode, ScanBudget};

/// Attempts that an error lists; a scan may have thousands.
const MAX_ATTEMPTS: usize = 64;
/// Roots that map `KUSER_SHARED_DATA` and are searched for a kernel: a running system has one kernel under all of them.
const MAX_SEARCHED: usize = 256;
/// Scans of a kernel's half that all roots together may take.
const SCANS: usize = 4;
/// Places that look like the root of PAE tables and are followed: one for each process.
const MAX_FOLLOWED: usize = 1 << 16;
/// Frames that are scanned first: page tables of System are low.
const LOW_FRAMES: u64 = 0x1000;

/// An address that is likely inside the kernel's image.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryHint {
    pub(super) gva: Gva,
    pub(super) what: &'static str,
}

/// A root that was verified, and the kernel that it maps.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) gpa: Gpa,
    pub(super) mode: PagingMode,
    pub(super) source: Source,
    pub(super) kernel: KernelImage,
}

/// Finds the root and the kernel; `Err` lists what was tried.
pub(super) fn find(guest: &Guest) -> Result<Root, Vec<Attempt>> {
    let mut search = Search {
        memory: &guest.memory,
        tried: Vec::new(),
        searched: 0,
        budget: ScanBudget::new(&guest.memory, SCANS),
    };
    search
        .vcpus(&guest.cpus)
        .or_else(|| search.headers(&guest.hints.headers))
        .or_else(|| search.low_stub())
        .or_else(|| search.page_tables())
        .ok_or(search.tried)
}

struct Search<'m> {
    memory: &'m PhysicalMemory,
    tried: Vec<Attempt>,
    searched: usize,
    budget: ScanBudget,
}

impl Search<'_> {
    fn vcpus(&mut self, cpus: &[CpuState]) -> Option<Root> {
        // Ring 0 first: with KVA shadowing the CR3 of user mode maps almost nothing.
        let (kernel, user): (Vec<_>, Vec<_>) =
            cpus.iter().partition(|cpu| !cpu.registers.is_user_mode());
        kernel
            .iter()
            .find_map(|cpu| self.vcpu(cpu))
            .or_else(|| user.iter().find_map(|cpu| self.vcpu(cpu)))
            .or_else(|| user.iter().find_map(|cpu| self.behind_shadow(cpu)))
    }

    fn vcpu(&mut self, cpu: &CpuState) -> Option<Root> {
        let source = |register| Source::Vcpu {
            index: cpu.index,
            register,
        };
        if !cpu.registers.has_paging() {
            self.fail(&source("CR3"), 0, "the vCPU does not use page tables");
            return None;
        }
        match &cpu.registers {
            Registers::X86(registers) => modes_of(registers).iter().find_map(|&mode| {
                let space = AddressSpace::new(self.memory, mode, Gpa::new(registers.cr3));
                let hints = vcpu_hints(&space, registers);
                self.verify(&space, source("CR3"), &hints)
            }),
            Registers::Arm64(registers) => {
                let hint = EntryHint {
                    gva: Gva::new(registers.pc),
                    what: "PC",
                };
                [("TTBR1", registers.ttbr1), ("TTBR0", registers.ttbr0)]
                    .into_iter()
                    .find_map(|(name, root)| {
                        let root = Gpa::new(root);
                        let space = AddressSpace::new(self.memory, PagingMode::Arm64, root);
                        self.verify(&space, source(name), &[hint])
                    })
            }
        }
    }

    /// The kernel's root of a vCPU that runs user code with KVA shadowing: the shadow maps the control region,
    /// which holds it.
    fn behind_shadow(&mut self, cpu: &CpuState) -> Option<Root> {
        let registers = cpu.registers.x86()?;
        modes_of(registers)
            .iter()
            .filter(|mode| mode.is_64bit())
            .find_map(|&mode| {
                let shadow = AddressSpace::new(self.memory, mode, Gpa::new(registers.cr3));
                let gva = Gva::new(registers.gs_base_kernel)
                    .checked_add(PCR_KERNEL_DIRECTORY_TABLE_BASE)?;
                let root = shadow.u64(gva).ok()?;
                let space = AddressSpace::new(self.memory, mode, Gpa::new(root));
                let hints = vcpu_hints(&space, registers);
                let source = Source::Vcpu {
                    index: cpu.index,
                    register: "KPCR KernelDirectoryTableBase",
                };
                self.verify(&space, source, &hints)
            })
    }

    /// The page tables that a dump's own header, or a note's, names.
    fn headers(&mut self, hints: &[HeaderHint]) -> Option<Root> {
        hints.iter().find_map(|hint| {
            let width = HeaderWidth::of(&hint.bytes)?;
            let number = |id| width.field(id)?.number(&hint.bytes);
            let root = Gpa::new(number(FieldId::DirectoryTableBase)?);
            let machine = number(FieldId::MachineImageType)?;
            let modes: &[PagingMode] = match (width, machine == u64::from(MACHINE_ARM64)) {
                (HeaderWidth::Bits32, _) if number(FieldId::PaeEnabled) == Some(0) => {
                    &[PagingMode::X86, PagingMode::X86Pae]
                }
                (HeaderWidth::Bits32, _) => &[PagingMode::X86Pae, PagingMode::X86],
                (HeaderWidth::Bits64, true) => &[PagingMode::Arm64],
                (HeaderWidth::Bits64, false) => &[PagingMode::X64, PagingMode::X64La57],
            };
            let kdbg = number(FieldId::KdDebuggerDataBlock).map(|gva| EntryHint {
                gva: Gva::new(gva),
                what: "the header's KdDebuggerDataBlock",
            });
            modes.iter().find_map(|&mode| {
                let space = AddressSpace::new(self.memory, mode, root);
                let source = Source::Header {
                    origin: hint.name.to_owned(),
                    field: "DirectoryTableBase",
                };
                let near = kdbg.filter(|hint| space.mode().is_kernel(hint.gva));
                self.verify(&space, source, near.as_slice())
            })
        })
    }

    fn low_stub(&mut self) -> Option<Root> {
        let (first, end) = low_stub::RANGE;
        let mut found = false;
        let mut page = [0; PAGE_BYTES];
        for pfn in Gpa::new(first).pfn().get()..Gpa::new(end).pfn().get() {
            let gpa = Pfn::new(pfn).gpa();
            if self.memory.read(gpa, &mut page).is_err() {
                continue;
            }
            let Some((cr3, target)) = parse_stub(&page) else {
                continue;
            };
            found = true;
            let hint = EntryHint {
                gva: target,
                what: "the low stub's target",
            };
            for mode in [PagingMode::X64, PagingMode::X64La57] {
                let space = AddressSpace::new(self.memory, mode, cr3);
                if let Some(root) = self.verify(&space, Source::LowStub(gpa), &[hint]) {
                    return Some(root);
                }
            }
        }
        if !found {
            self.tried.push(Attempt {
                way: "low stub below 1 MiB".to_owned(),
                outcome: "none".to_owned(),
            });
        }
        None
    }

    fn page_tables(&mut self) -> Option<Root> {
        let mut candidates = 0_u64;
        let mut followed = 0_usize;
        let mut root = None;
        let memory = self.memory;
        let low = Frames::between(Pfn::new(0), Pfn::new(LOW_FRAMES));
        let rest = Frames::between(Pfn::new(LOW_FRAMES), Pfn::END);
        for frames in [low, rest] {
            memory.scan(frames, |gpa, block| {
                for (page, bytes) in block.chunks_exact(PAGE_BYTES).enumerate() {
                    let at = gpa.saturating_add((page as u64) << 12);
                    for (candidate, mode) in
                        look(memory, at, bytes, &mut followed).into_iter().flatten()
                    {
                        candidates = candidates.saturating_add(1);
                        let space = AddressSpace::new(memory, mode, candidate);
                        root = self.verify(&space, Source::PageTableScan(candidate), &[]);
                        if root.is_some() {
                            return ControlFlow::Break(());
                        }
                    }
                }
                ControlFlow::Continue(())
            });
            if root.is_some() {
                return root;
            }
        }
        self.tried.push(Attempt {
            way: "page table scan of all memory".to_owned(),
            outcome: format!("{candidates} candidates, none maps Windows"),
        });
        None
    }

    fn verify(
        &mut self,
        space: &AddressSpace<'_>,
        source: Source,
        hints: &[EntryHint],
    ) -> Option<Root> {
        let root = space.root().get();
        if let Err(why) = kuser::verify(space) {
            self.fail(&source, root, &format!("{:?}: {why}", space.mode()));
            return None;
        }
        self.searched = self.searched.saturating_add(1);
        if self.searched > MAX_SEARCHED {
            // Told once, however many attempts are listed: it is the limit that ended the search.
            if self.searched == MAX_SEARCHED.saturating_add(1) {
                self.tried.push(Attempt {
                    way: format!("{source} {root:#x}"),
                    outcome: format!("not searched: {MAX_SEARCHED} others map no kernel"),
                });
            }
            return None;
        }
        let Some(kernel) = kernel::find(space, hints, &mut self.budget) else {
            let why = if self.budget.is_spent() {
                "maps KUSER_SHARED_DATA, and more than can be searched for a kernel"
            } else {
                "maps KUSER_SHARED_DATA, but no image of a kernel"
            };
            self.fail(&source, root, why);
            return None;
        };
        Some(Root {
            gpa: space.root(),
            mode: space.mode(),
            source,
            kernel,
        })
    }

    fn fail(&mut self, source: &Source, root: u64, why: &str) {
        if self.tried.len() < MAX_ATTEMPTS {
            self.tried.push(Attempt {
                way: format!("{source} {root:#x}"),
                outcome: why.to_owned(),
            });
        }
    }
}

/// Modes that the control registers allow, the likelier first. Xen does not tell EFER, so that 64-bit mode
/// and PAE look alike.
fn modes_of(registers: &X86Registers) -> &'static [PagingMode] {
    match (registers.has_pae(), registers.has_la57()) {
        (false, _) => &[PagingMode::X86],
        (true, false) => &[PagingMode::X64, PagingMode::X86Pae],
        (true, true) => &[PagingMode::X64La57, PagingMode::X64, PagingMode::X86Pae],
    }
}

/// Addresses in the kernel that a vCPU leads to: the handler of interrupt 0, through the PCR or the IDTR,
/// and RIP.
fn vcpu_hints(space: &AddressSpace<'_>, registers: &X86Registers) -> Vec<EntryHint> {
    let mut hints = Vec::new();
    let idt = registers
        .idtr
        .map(|idtr| Gva::new(idtr.base))
        .or_else(|| pcr_idt(space, registers));
    if let Some(gva) = idt.and_then(|idt| interrupt_handler(space, idt)) {
        hints.push(EntryHint {
            gva,
            what: "the handler of interrupt 0",
        });
    }
    let rip = Gva::new(registers.rip);
    if space.mode().is_kernel(rip) {
        hints.push(EntryHint {
            gva: rip,
            what: "RIP",
        });
    }
    hints
}

fn pcr_idt(space: &AddressSpace<'_>, registers: &X86Registers) -> Option<Gva> {
    let (pcr, layout) = if space.mode().is_64bit() {
        (registers.gs_base_kernel, &LAYOUT64)
    } else {
        (registers.fs_base, &LAYOUT32)
    };
    let pcr = Gva::new(pcr);
    if !space.mode().is_kernel(pcr) {
        return None;
    }
    space.pointer(pcr.checked_add(layout.pcr_idt as u64)?).ok()
}

/// The address in gate 0 of an interrupt descriptor table.
fn interrupt_handler(space: &AddressSpace<'_>, idt: Gva) -> Option<Gva> {
    let gate = space.bytes(idt, 16).ok()?;
    let low = u64::from(u16_at(&gate, 0)?);
    let middle = u64::from(u16_at(&gate, 6)?) << 16;
    let high = if space.mode().is_64bit() {
        u64::from(u32_at(&gate, 8)?) << 32
    } else {
        0
    };
    let handler = Gva::new(low | middle | high);
    space.mode().is_kernel(handler).then_some(handler)
}

/// CR3 and target of a page that holds the processor start block.
fn parse_stub(page: &[u8]) -> Option<(Gpa, Gva)> {
    if u64_at(page, 0)? & low_stub::SIGNATURE_MASK != low_stub::SIGNATURE & low_stub::SIGNATURE_MASK
    {
        return None;
    }
    let cr3 = u64_at(page, low_stub::CR3)?;
    let target = u64_at(page, low_stub::LM_TARGET)?;
    let plausible = cr3 != 0 && cr3 & 0xfff == 0 && target >> 43 == u64::MAX >> 43;
    plausible.then_some((Gpa::new(cr3), Gva::new(target)))
}

/// What a page may be the root of, by its entry for itself.
fn look(
    memory: &PhysicalMemory,
    gpa: Gpa,
    page: &[u8],
    followed: &mut usize,
) -> [Option<(Gpa, PagingMode)>; 4] {
    let long_mode = looks_x64(gpa, page);
    [
        long_mode.then_some((gpa, PagingMode::X64)),
        long_mode.then_some((gpa, PagingMode::X64La57)),
        looks_x86(gpa, page).then_some((gpa, PagingMode::X86)),
        find_pae(memory, gpa, page, followed).map(|root| (root, PagingMode::X86Pae)),
    ]
}

/// One entry of the upper half leads back to the table: where depends on the build, and is random since 1607.
fn looks_x64(gpa: Gpa, page: &[u8]) -> bool {
    const MASK: u64 = 0x0000_ffff_ffff_f083;
    const LOW_MASK: u32 = 0xffff_f083;
    let own = gpa.get() | 3;
    let own_bytes = own.to_le_bytes();
    let Some(low) = u32_at(&own_bytes, 0) else {
        return false;
    };
    let (entries, _) = page.as_chunks::<8>();
    let upper = entries.get(256..).unwrap_or_default();
    // All of memory passes here. Half of each entry, without an early end: that becomes vector code.
    let near = upper.iter().fold(false, |near, [a, b, c, d, ..]| {
        near | (u32::from_le_bytes([*a, *b, *c, *d]) & LOW_MASK == low)
    });
    near && upper
        .iter()
        .filter(|entry| u64::from_le_bytes(**entry) & MASK == own)
        .count()
        == 1
}

/// Entry 0x300 leads back to the directory: page tables are mapped at 0xc0000000.
fn looks_x86(gpa: Gpa, page: &[u8]) -> bool {
    u32_at(page, 0xc00)
        .is_some_and(|entry| u64::from(entry & 0xffff_f000) == gpa.get() && entry & 0x83 == 3)
}

/// Four directories, of which the last maps all four at 0xc0600000. A table is 32 bytes, anywhere in a page.
fn find_pae(memory: &PhysicalMemory, gpa: Gpa, page: &[u8], followed: &mut usize) -> Option<Gpa> {
    // All of memory passes here: of each table the first entry's flags, without an early end.
    let (tables, _) = page.as_chunks::<32>();
    let near = tables.iter().fold(false, |near, [low, next, ..]| {
        near | (u16::from_le_bytes([*low, *next]) & 0xfff == 1)
    });
    if !near {
        return None;
    }
    tables.iter().zip(0_u64..).find_map(|(table, index)| {
        let four: [u64; 4] = [0, 8, 16, 24].map(|at| u64_at(table, at).unwrap_or(0));
        let plausible = four
            .iter()
            .all(|entry| entry & 0xfff0_0000_0000_0fff == 1 && *entry > 0xfff);
        if !plausible || *followed >= MAX_FOLLOWED {
            return None;
        }
        *followed = followed.saturating_add(1);
        let mut directory = [0; 32];
        let last = four.last()? & !0xfff;
        memory.read(Gpa::new(last), &mut directory).ok()?;
        let (own, _) = directory.as_chunks::<8>();
        let maps_all = own
            .iter()
            .zip(four)
            .all(|(entry, pdpte)| u64::from_le_bytes(*entry) & 0x000f_ffff_ffff_f001 == pdpte);
        maps_all.then(|| gpa.saturating_add(index << 5))
    })
}
