//! Dumps of each kind of guest, whole and without some of their pages.

use std::collections::{BTreeMap, BTreeSet};

use core2dmp_synth::dump::{self, Dump};
use core2dmp_synth::{Expected, Guest, GuestSpec};

/// Bytes of a page.
const PAGE: usize = 4096;

/// How a page is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Its bit in the bitmap is clear, and the body does not hold it.
    Removed,
    /// A full dump holds zeros in its place.
    Zeroed,
}

impl Loss {
    pub(super) const ALL: [Self; 2] = [Self::Removed, Self::Zeroed];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Zeroed => "zeroed",
        }
    }
}

/// Guests by their name in the table.
pub(super) fn guests() -> [(&'static str, GuestSpec); 4] {
    let small = |spec: GuestSpec| spec.memory_mib(20).processors(2);
    [
        ("windows10", small(GuestSpec::windows10())),
        ("windows2003_x64", small(GuestSpec::windows2003_x64())),
        ("windows2003_pae", small(GuestSpec::windows2003_pae())),
        ("windows2003_x86", small(GuestSpec::windows2003_x86())),
    ]
}

/// A good dump, from which pages are taken.
pub(super) struct Subject {
    /// Type of the dump.
    pub(super) body: &'static str,
    pub(super) loss: Loss,
    dump: Dump,
    written: BTreeSet<u64>,
    names: BTreeMap<u64, BTreeSet<String>>,
}

impl Subject {
    /// A dump of a guest: with a bitmap if pages are removed, full if they are zeroed.
    pub(super) fn new(guest: &Guest, loss: Loss) -> Self {
        let (body, dump) = match loss {
            Loss::Zeroed => ("full", dump::full(guest)),
            Loss::Removed if guest.expected.arch.is_64() => ("bitmap", dump::bitmap(guest, false)),
            // The type of 32-bit Windows that has a bitmap.
            Loss::Removed => ("summary", dump::summary(guest)),
        };
        let frames = dump.pfns.iter().copied();
        let written = frames.filter(|pfn| guest.frames.is_written(*pfn)).collect();
        Self {
            body,
            loss,
            dump,
            written,
            names: names(guest),
        }
    }

    /// Frames that something was written to.
    pub(super) const fn written(&self) -> &BTreeSet<u64> {
        &self.written
    }

    /// Frames whose loss changes the dump: all that a bitmap names; those of a full dump that are not zeros already.
    pub(super) fn frames(&self) -> Vec<u64> {
        let is_lost = |pfn: &u64| self.loss == Loss::Removed || self.written.contains(pfn);
        self.dump.pfns.iter().copied().filter(is_lost).collect()
    }

    /// What is on a frame.
    pub(super) fn name(&self, pfn: u64) -> String {
        let Some(names) = self.names.get(&pfn) else {
            return "a page table, or a page without a name here".to_owned();
        };
        names.iter().cloned().collect::<Vec<_>>().join("; ")
    }

    /// The dump without these pages.
    pub(super) fn without(&self, lost: &[u64]) -> Vec<u8> {
        let lost: BTreeSet<u64> = lost.iter().copied().collect();
        match self.loss {
            Loss::Removed => self.removed(&lost),
            Loss::Zeroed => self.zeroed(&lost),
        }
    }

    fn pages(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let pages = self.dump.bytes[self.dump.first_page..].chunks_exact(PAGE);
        self.dump.pfns.iter().copied().zip(pages)
    }

    fn zeroed(&self, lost: &BTreeSet<u64>) -> Vec<u8> {
        let mut bytes = self.dump.bytes[..self.dump.first_page].to_vec();
        for (pfn, page) in self.pages() {
            bytes.extend(if lost.contains(&pfn) {
                &[0; PAGE]
            } else {
                page
            });
        }
        bytes
    }

    fn removed(&self, lost: &BTreeSet<u64>) -> Vec<u8> {
        let header = self.dump.header_bytes;
        let kept = self.dump.pfns.len() - lost.len();
        let mut dump = self.dump.clone();
        let bitmap = if self.body == "summary" {
            dump.put_u32(header + 0x14, kept as u32);
            header + 0x20
        } else {
            dump.put_u64(header + 0x28, kept as u64);
            header + 0x38
        };
        for &pfn in lost {
            dump.bytes[bitmap + pfn as usize / 8] &= !(1 << (pfn % 8));
        }
        dump.bytes.truncate(dump.first_page);
        for (pfn, page) in self.pages() {
            if !lost.contains(&pfn) {
                dump.bytes.extend(page);
            }
        }
        dump.note_size();
        dump.bytes
    }
}

/// What a guest has on each frame, as far as a debugger may want it.
fn names(guest: &Guest) -> BTreeMap<u64, BTreeSet<String>> {
    let mut names: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for (va, bytes, name) in places(&guest.expected) {
        let first = va & !(PAGE as u64 - 1);
        for at in (first..va + bytes).step_by(PAGE) {
            if let Some(gpa) = guest.translate(at) {
                names.entry(gpa >> 12).or_default().insert(name.clone());
            }
        }
    }
    let mut root = |dtb: u64, name: String| {
        names.entry(dtb >> 12).or_default().insert(name);
    };
    root(guest.expected.dtb, "page tables of System".to_owned());
    for process in &guest.expected.processes {
        root(process.dtb, "page tables of a process".to_owned());
    }
    names
}

/// Address, bytes and name of what is in kernel memory.
fn places(expected: &Expected) -> Vec<(u64, u64, String)> {
    let wide = expected.arch.is_64();
    let kuser = if wide {
        0xffff_f780_0000_0000
    } else {
        0xffdf_0000
    };
    let mut places = vec![
        (kuser, 8, "KUSER_SHARED_DATA".to_owned()),
        (expected.kd_version_block, 0x28, "KdVersionBlock".to_owned()),
        (
            expected.ps_loaded_module_list,
            8,
            "PsLoadedModuleList".to_owned(),
        ),
        (
            expected.ps_active_process_head,
            8,
            "PsActiveProcessHead".to_owned(),
        ),
        (
            expected.ki_processor_block,
            8,
            "KiProcessorBlock".to_owned(),
        ),
        (expected.ki_bugcheck_data, 8, "KiBugcheckData".to_owned()),
        (
            expected.pfn_database_variable,
            8,
            "MmPfnDatabase".to_owned(),
        ),
    ];
    if let Some(kdbg) = &expected.kdbg {
        places.push((
            kdbg.va,
            u64::from(kdbg.size),
            "KdDebuggerDataBlock".to_owned(),
        ));
    }
    for processor in &expected.processors {
        let mut add = |va, bytes, what: &str| {
            places.push((
                va,
                bytes,
                format!("{what} of processor {}", processor.number),
            ));
        };
        add(processor.kpcr, 0x100, "control region (PCR)");
        add(processor.kprcb, 0x100, "control block (PRCB)");
        add(
            processor.context,
            if wide { 0x4d0 } else { 0x2cc },
            "CONTEXT",
        );
        add(processor.special, 0x60, "special registers");
        add(
            processor.gdt.0,
            u64::from(processor.gdt.1),
            "descriptor table (GDT)",
        );
        add(
            processor.idt.0,
            u64::from(processor.idt.1),
            "interrupt table (IDT)",
        );
        add(processor.thread, 0x100, "thread (KTHREAD)");
        if let Some(registers) = &processor.from_vcpu {
            add(registers.rip, 16, "code");
            add(registers.rsp, 64, "stack");
        }
    }
    for module in &expected.modules {
        places.push((module.base, 0x1000, format!("PE header of {}", module.name)));
        places.push((
            module.base + 0x1000,
            module.size - 0x1000,
            format!("image of {}", module.name),
        ));
    }
    for process in &expected.processes {
        places.push((process.eprocess, 0x200, format!("process {}", process.name)));
    }
    places
}
