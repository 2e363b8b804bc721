//! Where roots are looked for: vCPUs, headers, the low stub, all of memory.

use std::ops::ControlFlow;

use super::hints::{modes_of, parse_stub, vcpu_hints};
use super::looks::look;
use super::{Candidate, EntryHint, Search};
use crate::address::{Gpa, Gva, PAGE_BYTES, Pfn};
use crate::container::{CpuState, HeaderHint, Registers};
use crate::error::Attempt;
use crate::format::dump_values::MACHINE_ARM64;
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::format::nt::{PCR_KERNEL_DIRECTORY_TABLE_BASE, low_stub};
use crate::memory::Frames;
use crate::paging::{AddressSpace, PagingMode};
use crate::windows::fact::Source;

/// Frames that are scanned first: page tables of System are low.
const LOW_FRAMES: u64 = 0x1000;

impl Search<'_> {
    /// The page tables of each vCPU, those in the kernel first: with KVA shadowing the CR3 of user mode maps almost
    /// nothing.
    pub(super) fn vcpus(&mut self, cpus: &[CpuState]) {
        let (kernel, user): (Vec<_>, Vec<_>) =
            cpus.iter().partition(|cpu| !cpu.registers.is_user_mode());
        let mut is_led = false;
        for cpu in &kernel {
            is_led |= self.vcpu(cpu);
        }
        if is_led {
            return;
        }
        for cpu in &user {
            is_led |= self.vcpu(cpu);
        }
        if !is_led {
            for cpu in &user {
                self.behind_shadow(cpu);
            }
        }
    }

    fn vcpu(&mut self, cpu: &CpuState) -> bool {
        let source = |register| Source::Vcpu {
            index: cpu.index,
            register,
        };
        if !cpu.registers.has_paging() {
            self.fail(&source("CR3"), 0, "the vCPU does not use page tables");
            return false;
        }
        match &cpu.registers {
            Registers::X86(registers) => modes_of(registers).iter().any(|&mode| {
                let gpa = Gpa::new(registers.cr3);
                let space = AddressSpace::new(self.memory, mode, gpa);
                self.consider(Candidate {
                    gpa,
                    mode,
                    source: source("CR3"),
                    hints: vcpu_hints(&space, registers),
                })
            }),
            Registers::Arm64(registers) => {
                let hint = EntryHint {
                    gva: Gva::new(registers.pc),
                    what: "PC",
                };
                let Some(system) = &registers.system else {
                    self.fail(&source("TTBR1"), 0, "the container does not have it");
                    return false;
                };
                [("TTBR1", system.ttbr1), ("TTBR0", system.ttbr0)]
                    .into_iter()
                    .any(|(name, root)| {
                        self.consider(Candidate {
                            gpa: Gpa::new(root),
                            mode: PagingMode::Arm64,
                            source: source(name),
                            hints: vec![hint],
                        })
                    })
            }
        }
    }

    /// The kernel's root of a vCPU that runs user code with KVA shadowing: the shadow maps the control region,
    /// which holds it.
    fn behind_shadow(&mut self, cpu: &CpuState) {
        let Some(registers) = cpu.registers.x86() else {
            return;
        };
        for &mode in modes_of(registers).iter().filter(|mode| mode.is_64bit()) {
            let shadow = AddressSpace::new(self.memory, mode, Gpa::new(registers.cr3));
            let field =
                Gva::new(registers.gs_base_kernel).checked_add(PCR_KERNEL_DIRECTORY_TABLE_BASE);
            let Some(root) = field.and_then(|gva| shadow.u64(gva).ok()) else {
                continue;
            };
            let gpa = Gpa::new(root);
            let space = AddressSpace::new(self.memory, mode, gpa);
            let is_led = self.consider(Candidate {
                gpa,
                mode,
                source: Source::Vcpu {
                    index: cpu.index,
                    register: "KPCR KernelDirectoryTableBase",
                },
                hints: vcpu_hints(&space, registers),
            });
            if is_led {
                return;
            }
        }
    }

    /// The page tables that a dump's own header, or a note's, names.
    pub(super) fn headers(&mut self, hints: &[HeaderHint]) {
        for hint in hints {
            self.header(hint);
        }
    }

    fn header(&mut self, hint: &HeaderHint) -> Option<()> {
        let width = HeaderWidth::of(&hint.bytes)?;
        let number = |id| width.field(id)?.number(&hint.bytes);
        let gpa = Gpa::new(number(FieldId::DirectoryTableBase)?);
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
        modes.iter().find(|&&mode| {
            self.consider(Candidate {
                gpa,
                mode,
                source: Source::Header {
                    origin: hint.name.to_owned(),
                    field: "DirectoryTableBase",
                },
                hints: kdbg
                    .filter(|hint| mode.is_kernel(hint.gva))
                    .into_iter()
                    .collect(),
            })
        })?;
        Some(())
    }

    /// Windows' code for starting processors, below 1 MiB.
    pub(super) fn low_stub(&mut self) {
        let (first, end) = low_stub::RANGE;
        let mut found = false;
        let mut page = [0; PAGE_BYTES];
        for pfn in Gpa::new(first).pfn().get()..Gpa::new(end).pfn().get() {
            let at = Pfn::new(pfn).gpa();
            if self.memory.read(at, &mut page).is_err() {
                continue;
            }
            let Some((gpa, target)) = parse_stub(&page) else {
                continue;
            };
            found = true;
            let hint = EntryHint {
                gva: target,
                what: "the low stub's target",
            };
            for mode in [PagingMode::X64, PagingMode::X64La57] {
                let is_root = self.consider(Candidate {
                    gpa,
                    mode,
                    source: Source::LowStub(at),
                    hints: vec![hint],
                });
                if is_root {
                    break;
                }
            }
        }
        if !found {
            self.tried.push(Attempt {
                way: "low stub below 1 MiB".to_owned(),
                outcome: "none".to_owned(),
            });
        }
    }

    /// Pages that map themselves: in low memory, where System's tables are, and in the rest if `everywhere`, or if
    /// nothing was found so far.
    pub(super) fn scan(&mut self, everywhere: bool) {
        let low = Frames::between(Pfn::new(0), Pfn::new(LOW_FRAMES));
        let rest = Frames::between(Pfn::new(LOW_FRAMES), Pfn::END);
        let (mut candidates, mut followed) = (0_u64, 0_usize);
        for frames in [low, rest] {
            if frames == rest && !everywhere && !self.found.is_empty() {
                return;
            }
            let memory = self.memory;
            memory.scan(frames, |gpa, block| {
                for (page, bytes) in block.chunks_exact(PAGE_BYTES).enumerate() {
                    let at = gpa.saturating_add((page as u64) << 12);
                    let looks = look(memory, at, bytes, &mut followed);
                    for (gpa, mode) in looks.into_iter().flatten() {
                        candidates = candidates.saturating_add(1);
                        let is_root = self.consider(Candidate {
                            gpa,
                            mode,
                            source: Source::PageTableScan(gpa),
                            hints: Vec::new(),
                        });
                        // Read as x64, it would map the same; the kernel is no x64 image.
                        if is_root && mode == PagingMode::Arm64 {
                            break;
                        }
                    }
                }
                ControlFlow::Continue(())
            });
        }
        if self.found.is_empty() {
            self.tried.push(Attempt {
                way: "page table scan of all memory".to_owned(),
                outcome: format!("{candidates} candidates, none maps Windows"),
            });
        }
    }
}
