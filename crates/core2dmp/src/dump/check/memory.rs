//! The header against the memory behind it.

use super::structure::{field_finding, show};
use super::{Finding, Mend, Severity, words};
use crate::address::{Gpa, Gva};
use crate::container::Guest;
use crate::container::dmp::{Body, DumpFile};
use crate::error::Error;
use crate::format::header_fields::{FieldId, FieldValue, HeaderWidth};
use crate::format::kdbg::{KI_PROCESSOR_BLOCK, MM_PFN_DATABASE};
use crate::memory::Frames;
use crate::paging::{AddressSpace, PagingMode};
use crate::windows::{ContextPolicy, Windows, contexts};

/// Clock differences that are the moments between the header and the last page: a minute in 100 ns.
const SAME_MOMENT: u64 = 600_000_000;

/// Every field that the memory can judge.
pub(super) fn findings(dump: &DumpFile, guest: &Guest, windows: &Windows) -> Vec<Finding> {
    let judge = Judge {
        dump,
        guest,
        windows,
    };
    let mut findings = Vec::new();
    findings.extend(judge.machine());
    findings.extend(judge.page_tables());
    findings.extend(judge.debugger_data());
    findings.extend(judge.lists());
    findings.extend(judge.pfn_database());
    findings.extend(judge.processors());
    findings.extend(judge.contexts());
    findings.extend(judge.stop_code());
    findings.extend(judge.runs());
    findings.extend(judge.times());
    findings.extend(judge.build());
    findings
}

/// What can be said when the memory behind the header is not understood.
pub(super) fn nothing_found(dump: &DumpFile, guest: &Guest, error: &Error) -> Option<Finding> {
    let no_memory = matches!(
        dump.body,
        Body::Triage(_) | Body::HeaderOnly | Body::Unknown
    );
    if no_memory || guest.memory.frame_count() == 0 {
        return None;
    }
    let dtb = dump.number(FieldId::DirectoryTableBase).unwrap_or(0);
    let cut_off = dtb != 0 && guest.memory.run_of(Gpa::new(dtb).pfn()).is_none();
    let expected = if cut_off {
        "page tables that the file holds".to_owned()
    } else {
        format!("page tables of Windows ({error})")
    };
    Some(field_finding(
        dump,
        FieldId::DirectoryTableBase,
        if dtb == 0 {
            Severity::Refused
        } else {
            Severity::Broken
        },
        expected,
        Some(if dtb == 0 {
            words::CORRUPT_FILE
        } else {
            words::PARTIALLY
        }),
        Mend::No("a Windows kernel in the memory; --from the original core"),
    ))
}

struct Judge<'a> {
    dump: &'a DumpFile,
    guest: &'a Guest,
    windows: &'a Windows,
}

impl Judge<'_> {
    fn field(
        &self,
        id: FieldId,
        severity: Severity,
        expected: impl Into<String>,
        debugger: Option<&'static str>,
    ) -> Finding {
        field_finding(self.dump, id, severity, expected, debugger, Mend::Yes)
    }

    /// A pointer of the header, zero-extended.
    fn pointer(&self, id: FieldId) -> Option<Gva> {
        self.dump.number(id).map(Gva::new)
    }

    fn machine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let machine = self.windows.machine();
        if self.dump.machine() != Some(u64::from(machine)) {
            findings.push(self.field(
                FieldId::MachineImageType,
                Severity::Refused,
                format!("{machine:#x}, as the kernel's"),
                Some(words::MACHINE),
            ));
        }
        let pae = u64::from(self.windows.mode == PagingMode::X86Pae);
        let is_32bit = self.dump.width == HeaderWidth::Bits32;
        if is_32bit && self.dump.number(FieldId::PaeEnabled) != Some(pae) {
            findings.push(self.field(
                FieldId::PaeEnabled,
                Severity::Broken,
                format!("{pae:#x}, as the page tables are"),
                Some(words::PARTIALLY),
            ));
        }
        findings
    }

    /// The page tables have to map this kernel.
    fn page_tables(&self) -> Option<Finding> {
        let base = self.windows.kernel.image.base;
        let dtb = self.dump.number(FieldId::DirectoryTableBase);
        let expected = format!(
            "{} ({})",
            self.windows.dtb.value, self.windows.dtb.source
        );
        let Some(dtb) = dtb.filter(|dtb| *dtb != 0) else {
            return Some(self.field(
                FieldId::DirectoryTableBase,
                Severity::Refused,
                expected,
                Some(words::CORRUPT_FILE),
            ));
        };
        let memory = &self.guest.memory;
        let here = self.windows.space(memory).translate(base).ok();
        let own = AddressSpace::new(memory, self.windows.mode, Gpa::new(dtb));
        (own.translate(base).ok() != here).then(|| {
            self.field(
                FieldId::DirectoryTableBase,
                Severity::Broken,
                expected,
                Some(words::PARTIALLY),
            )
        })
    }

    fn debugger_data(&self) -> Vec<Finding> {
        let truth = &self.windows.kdbg.value;
        let found = self.pointer(FieldId::KdDebuggerDataBlock);
        let expected = format!("{} ({})", truth.gva, self.windows.kdbg.source);
        let mut findings = Vec::new();
        match found {
            Some(gva) if gva.get() == 0 => findings.push(self.field(
                FieldId::KdDebuggerDataBlock,
                Severity::Broken,
                expected,
                Some(words::NO_KDBG),
            )),
            Some(gva) if gva == truth.gva || self.is_copy(gva) => {}
            _ => findings.push(self.field(
                FieldId::KdDebuggerDataBlock,
                Severity::Broken,
                expected,
                Some(words::PARTIALLY),
            )),
        }
        let in_memory = |what: &'static str, found: String, expected: &str, words| Finding {
            severity: Severity::Broken,
            field: what,
            offset: None,
            expected: expected.to_owned(),
            found,
            debugger: Some(words),
            mend: Mend::Yes,
        };
        if truth.encoding.is_some() && found.is_none_or(|gva| !self.is_copy(gva)) {
            findings.push(in_memory(
                "KDBG in memory",
                "encoded".to_owned(),
                "plain",
                words::PARTIALLY,
            ));
        }
        if !truth.rebuilt.is_empty() {
            findings.push(in_memory(
                "KDBG in memory",
                "none".to_owned(),
                "a debugger data block",
                words::PARTIALLY,
            ));
        }
        if truth.pointer(KI_PROCESSOR_BLOCK).is_none() {
            findings.push(Finding {
                mend: Mend::No("the array of processors"),
                ..in_memory(
                    "KDBG.KiProcessorBlock",
                    "0".to_owned(),
                    "an address",
                    words::CONTEXT,
                )
            });
        }
        findings
    }

    /// Whether a plain copy of the block stands at this address, as fwcfg drivers keep one.
    fn is_copy(&self, gva: Gva) -> bool {
        let block = &self.windows.kdbg.value;
        let space = self.windows.space(&self.guest.memory);
        // Links and lists may differ in a copy; what a debugger reads begins at the tag.
        let plain = block.bytes.get(0x10..).unwrap_or_default();
        space
            .bytes(gva.saturating_add(0x10), plain.len())
            .is_ok_and(|copy| copy == plain)
    }

    fn lists(&self) -> Vec<Finding> {
        let lists = [
            (
                FieldId::PsLoadedModuleList,
                &self.windows.module_list,
                Some(words::KERNEL_BASE),
            ),
            (FieldId::PsActiveProcessHead, &self.windows.process_list, None),
        ];
        lists
            .into_iter()
            .filter(|(id, truth, _)| self.pointer(*id) != Some(truth.value))
            .map(|(id, truth, debugger)| {
                let expected = format!("{} ({})", truth.value, truth.source);
                self.field(id, Severity::Cosmetic, expected, debugger)
            })
            .collect()
    }

    /// Real headers hold the value, or the address of the variable.
    fn pfn_database(&self) -> Option<Finding> {
        let truth = self.windows.pfn_database.as_ref()?;
        let variable = self.windows.kdbg.value.pointer(MM_PFN_DATABASE);
        let found = self.pointer(FieldId::PfnDataBase)?;
        (found != truth.value && Some(found) != variable).then(|| {
            self.field(
                FieldId::PfnDataBase,
                Severity::Cosmetic,
                format!("{} ({})", truth.value, truth.source),
                None,
            )
        })
    }

    fn processors(&self) -> Option<Finding> {
        let truth = self.windows.processors.len() as u64;
        let found = self.dump.number(FieldId::NumberProcessors);
        let (severity, debugger) = match found {
            Some(found) if found == truth => return None,
            Some(0) => (Severity::Refused, Some(words::NO_EVENT)),
            Some(found) if found < truth => (Severity::Broken, None),
            _ => (Severity::Refused, Some(words::TOO_MANY)),
        };
        Some(self.field(
            FieldId::NumberProcessors,
            severity,
            format!("{truth:#x}, the control blocks in KiProcessorBlock"),
            debugger,
        ))
    }

    /// The registers that the debugger reads: in the processors' control blocks.
    fn contexts(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let chosen = contexts(self.guest, self.windows, ContextPolicy::Memory);
        let finding = |what, found: String, expected: &str, words, mend| Finding {
            severity: Severity::Broken,
            field: what,
            offset: None,
            expected: expected.to_owned(),
            found,
            debugger: Some(words),
            mend,
        };
        for (processor, context) in self.windows.processors.iter().zip(chosen) {
            let number = processor.number;
            if processor.null_context_pointer.is_some() {
                findings.push(finding(
                    "PRCB.Context",
                    format!("processor {number}: a null pointer"),
                    "a pointer to the registers",
                    words::CONTEXT,
                    Mend::Yes,
                ));
            }
            if context.code_selector() == Some(0) {
                findings.push(finding(
                    "PRCB context, SegCs",
                    format!("processor {number}: 0"),
                    "a code selector",
                    words::CS,
                    Mend::No("the registers; --from the original core"),
                ));
            }
            let stored = processor.special.and_then(|gva| {
                let space = self.windows.space(&self.guest.memory);
                space.bytes(gva, context.special.len()).ok()
            });
            if stored.is_some_and(|stored| stored != context.special) {
                findings.push(finding(
                    "PRCB special registers, Gdtr",
                    format!("processor {number}: 0"),
                    "the descriptor table's address",
                    words::CS,
                    Mend::Yes,
                ));
            }
        }
        findings
    }

    fn stop_code(&self) -> Vec<Finding> {
        let truth = &self.windows.bugcheck.value;
        if !truth.crashed {
            return Vec::new();
        }
        let narrow = |value: u64| match self.dump.width {
            HeaderWidth::Bits32 => value & 0xffff_ffff,
            HeaderWidth::Bits64 => value,
        };
        let [p1, p2, p3, p4] = truth.parameters;
        [
            (FieldId::BugCheckCode, u64::from(truth.code)),
            (FieldId::BugCheckParameter1, narrow(p1)),
            (FieldId::BugCheckParameter2, narrow(p2)),
            (FieldId::BugCheckParameter3, narrow(p3)),
            (FieldId::BugCheckParameter4, narrow(p4)),
        ]
        .into_iter()
        .filter(|(id, truth)| self.dump.number(*id) != Some(*truth))
        .filter(|(id, _)| self.dump.value(*id) != Some(FieldValue::Missing))
        .map(|(id, truth)| {
            let expected = format!("{truth:#x} ({})", self.windows.bugcheck.source);
            self.field(id, Severity::Broken, expected, None)
        })
        .collect()
    }

    /// The runs of a full dump should be those that Windows counts; other runs open too, if they are true.
    fn runs(&self) -> Option<Finding> {
        if !matches!(self.dump.body, Body::Full) {
            return None;
        }
        let runs = self.dump.runs();
        let truth = &self.windows.runs.value;
        let frames = |runs: &[Frames]| runs.iter().fold(0_u64, |sum, run| sum.saturating_add(run.count));
        (runs != *truth).then(|| Finding {
            found: format!("{} runs of {} frames", runs.len(), frames(&runs)),
            ..field_finding(
                self.dump,
                FieldId::Runs,
                Severity::Cosmetic,
                format!(
                    "{} runs of {} frames ({})",
                    truth.len(),
                    frames(truth),
                    self.windows.runs.source
                ),
                None,
                Mend::No("they describe the body as it is"),
            )
        })
    }

    fn times(&self) -> Vec<Finding> {
        let far = |id: FieldId, truth: Option<u64>| {
            let (found, truth) = (self.dump.number(id)?, truth?);
            (found != 0 && found.abs_diff(truth) > SAME_MOMENT).then_some(truth)
        };
        let time = self.windows.system_time.as_ref().map(|fact| fact.value);
        let up_time = self.windows.up_time.as_ref().map(|fact| fact.value);
        [(FieldId::SystemTime, time), (FieldId::SystemUpTime, up_time)]
            .into_iter()
            .filter_map(|(id, truth)| {
                let truth = far(id, truth)?;
                let expected = format!("{truth:#x} (KUSER_SHARED_DATA)");
                Some(self.field(id, Severity::Cosmetic, expected, None))
            })
            .collect()
    }

    fn build(&self) -> Option<Finding> {
        let truth = self.windows.version.build.as_ref()?;
        let found = self.dump.number(FieldId::MinorVersion)?;
        (found != 0 && found != u64::from(truth.value)).then(|| Finding {
            found: show(self.dump, FieldId::MinorVersion),
            ..self.field(
                FieldId::MinorVersion,
                Severity::Cosmetic,
                format!("{:#x} ({})", truth.value, truth.source),
                None,
            )
        })
    }
}
