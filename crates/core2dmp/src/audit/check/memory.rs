//! Checks the header against the memory behind it.

use super::structure::{field_finding, other_machine, show};
use super::walk::root_is_lost;
use super::{Finding, Mend, Said, Severity, words};
use crate::address::{Gpa, Gva, PAGE_SIZE};
use crate::container::Guest;
use crate::container::dmp::{Body, DumpFile};
use crate::error::Error;
use crate::format::header_fields::{FieldId, FieldValue, HeaderWidth};
use crate::format::kdbg::MM_PFN_DATABASE;
use crate::memory::Frames;
use crate::paging::{AddressSpace, PagingMode};
use crate::windows::{ContextPolicy, CrashState, Windows};

/// Clock differences that are the moments between the header and the last page: a minute in 100 ns.
const SAME_MOMENT: u64 = 600_000_000;

/// What makes `SYSTEM_THREAD_EXCEPTION_NOT_HANDLED` 0x7E into 0x1000007E.
const STOP_CODE_MARK: u64 = 0x1000_0000;

/// Every field that the memory can judge.
pub(super) fn findings(dump: &DumpFile, guest: &Guest, windows: &Windows) -> Vec<Finding> {
    let judge = Judge {
        dump,
        guest,
        windows,
        crash: windows.crash_state(guest, ContextPolicy::Memory),
    };
    let mut findings = Vec::new();
    findings.extend(judge.machine());
    findings.extend(judge.page_tables());
    findings.extend(judge.block_address());
    findings.extend(judge.block_in_memory());
    findings.extend(judge.lists());
    findings.extend(judge.pfn_database());
    findings.extend(judge.processors());
    findings.extend(judge.contexts());
    findings.extend(judge.header_context());
    findings.extend(judge.stale_exception());
    findings.extend(judge.stop_code());
    findings.extend(judge.runs());
    findings.extend(judge.times());
    findings.extend(judge.build());
    findings.extend(judge.space());
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
            words::NO_ROOT
        } else {
            words::PARTIALLY
        }),
        Mend::FromCore("a Windows kernel in the memory"),
    ))
}

pub(super) struct Judge<'a> {
    pub(super) dump: &'a DumpFile,
    pub(super) guest: &'a Guest,
    pub(super) windows: &'a Windows,
    /// What Windows saved of its processors.
    pub(super) crash: CrashState,
}

impl Judge<'_> {
    pub(super) fn field(
        &self,
        id: FieldId,
        severity: Severity,
        expected: impl Into<String>,
        debugger: Option<Said>,
    ) -> Finding {
        field_finding(self.dump, id, severity, expected, debugger, Mend::Yes)
    }

    /// A pointer of the header, zero-extended.
    pub(super) fn pointer(&self, id: FieldId) -> Option<Gva> {
        self.dump.number(id).map(Gva::new)
    }

    fn machine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let machine = self.windows.machine();
        if self.dump.machine() != Some(u64::from(machine)) {
            let (severity, debugger) = other_machine(self.dump.machine());
            findings.push(self.field(
                FieldId::MachineImageType,
                severity,
                format!("{machine:#x}, as the kernel's"),
                Some(debugger),
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
        let expected = match self.windows.four_levels(&self.guest.memory) {
            Some(pml4) => format!(
                "{pml4}, the PML4 of the kernel's addresses: no debugger walks the five levels from {}",
                self.windows.dtb.value
            ),
            None => format!("{} ({})", self.windows.dtb.value, self.windows.dtb.source),
        };
        let Some(dtb) = dtb.filter(|dtb| *dtb != 0) else {
            return Some(self.field(
                FieldId::DirectoryTableBase,
                Severity::Refused,
                expected,
                Some(words::NO_ROOT),
            ));
        };
        if root_is_lost(self.dump, self.guest, self.windows) {
            return None;
        }
        let memory = &self.guest.memory;
        let here = self.windows.space(memory).translate(base).ok();
        // No debugger walks five levels.
        let mode = match self.windows.mode {
            PagingMode::X64La57 => PagingMode::X64,
            mode => mode,
        };
        let own = AddressSpace::new(memory, mode, Gpa::new(dtb));
        (own.translate(base).ok() != here).then(|| {
            self.field(
                FieldId::DirectoryTableBase,
                Severity::Broken,
                expected,
                Some(words::PARTIALLY),
            )
        })
    }

    fn lists(&self) -> Vec<Finding> {
        let lists = [
            (
                FieldId::PsLoadedModuleList,
                &self.windows.module_list,
                Some(words::KERNEL_BASE),
            ),
            (
                FieldId::PsActiveProcessHead,
                &self.windows.process_list,
                None,
            ),
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

    pub(super) fn stop_code(&self) -> Vec<Finding> {
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
        .filter(|(id, truth)| {
            let found = self.dump.number(*id);
            // Windows marks the stop code of what it handled already.
            let marked = found.map(|found| found & !STOP_CODE_MARK);
            found != Some(*truth) && !(*id == FieldId::BugCheckCode && marked == Some(*truth))
        })
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
        if runs == *truth {
            return None;
        }
        let expected = format!("{} ({})", listed(truth), self.windows.runs.source);
        let (severity, mend) = if are_true(self.dump, truth) {
            (Severity::Broken, Mend::Yes)
        } else {
            (
                Severity::Cosmetic,
                Mend::No("another body; convert the original core"),
            )
        };
        Some(Finding {
            found: listed(&runs),
            ..field_finding(self.dump, FieldId::Runs, severity, expected, None, mend)
        })
    }

    pub(super) fn times(&self) -> Vec<Finding> {
        let far = |id: FieldId, truth: Option<u64>| {
            let (found, truth) = (self.dump.number(id)?, truth?);
            (found != 0 && found.abs_diff(truth) > SAME_MOMENT).then_some(truth)
        };
        let time = self.windows.system_time.as_ref().map(|fact| fact.value);
        let up_time = self.windows.up_time.as_ref().map(|fact| fact.value);
        [
            (FieldId::SystemTime, time),
            (FieldId::SystemUpTime, up_time),
        ]
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

/// Whether a full dump's body is of these runs rather than of its header's: theirs fill the file and the header's do
/// not, or both are as long, one by one, and begin elsewhere.
pub(in crate::audit) fn are_true(dump: &DumpFile, truth: &[Frames]) -> bool {
    let runs = dump.runs();
    let counts = |runs: &[Frames]| runs.iter().map(|run| run.count).collect::<Vec<_>>();
    let fills = |runs: &[Frames]| {
        let pages = Frames::total(runs);
        let header = dump.width.bytes() as u64;
        pages.saturating_mul(PAGE_SIZE).saturating_add(header) == dump.size
    };
    let is_full = matches!(dump.body, Body::Full) && runs != truth;
    is_full && (counts(&runs) == counts(truth) || fills(truth) && !fills(&runs))
}

/// The first runs, and how many frames all have.
fn listed(runs: &[Frames]) -> String {
    const SHOWN: usize = 4;
    let frames = Frames::total(runs);
    let first: Vec<String> = runs.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = if runs.len() > SHOWN { ", ..." } else { "" };
    format!("{frames} frames, {}{more}", first.join(", "))
}
