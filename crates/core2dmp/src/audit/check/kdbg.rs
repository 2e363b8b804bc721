//! The debugger data block: whether the header leads to it, and whether a debugger can use what it finds.

use super::memory::Judge;
use super::{Finding, Mend, Said, Severity, words};
use crate::address::Gva;
use crate::format::header_fields::{FieldId, HeaderWidth};
use crate::format::kdbg::{
    KI_PROCESSOR_BLOCK, OFFSET_PRCB_CONTEXT, OFFSET_PRCB_PROC_STATE_CONTEXT,
    OFFSET_PRCB_PROC_STATE_SPECIAL_REG,
};

/// Something about the block that is in memory.
fn in_memory(
    field: &'static str,
    found: &str,
    expected: &str,
    debugger: Said,
    mend: Mend,
) -> Finding {
    Finding {
        severity: Severity::Broken,
        field,
        offset: None,
        expected: expected.to_owned(),
        found: found.to_owned(),
        debugger: Some(debugger),
        mend,
    }
}

impl Judge<'_> {
    /// The header's pointer to the block.
    pub(super) fn block_address(&self) -> Option<Finding> {
        let truth = &self.windows.kdbg.value;
        let found = self.pointer(FieldId::KdDebuggerDataBlock);
        let debugger = match found {
            Some(gva) if gva.get() == 0 => words::NO_KDBG,
            Some(gva) if gva == truth.gva || self.is_copy(gva) => return None,
            // On 32 bit "PAGE" is an address of the user's half.
            None if self.dump.width == HeaderWidth::Bits32 => words::NO_KDBG,
            _ => words::PARTIALLY,
        };
        Some(self.field(
            FieldId::KdDebuggerDataBlock,
            Severity::Broken,
            format!("{} ({})", truth.gva, self.windows.kdbg.source),
            Some(debugger),
        ))
    }

    /// The block itself.
    pub(super) fn block_in_memory(&self) -> Vec<Finding> {
        let truth = &self.windows.kdbg.value;
        let found = self.pointer(FieldId::KdDebuggerDataBlock);
        let block = "KDBG in memory";
        let mut findings = Vec::new();
        if truth.encoding.is_some() && found.is_none_or(|gva| !self.is_copy(gva)) {
            let plain = ("encoded", "plain");
            findings.push(in_memory(
                block,
                plain.0,
                plain.1,
                words::PARTIALLY,
                Mend::Yes,
            ));
        }
        if !truth.rebuilt.is_empty() {
            let some = "a debugger data block";
            findings.push(in_memory(block, "none", some, words::PARTIALLY, Mend::Yes));
        }
        if truth.pointer(KI_PROCESSOR_BLOCK).is_none() {
            findings.push(in_memory(
                "KDBG.KiProcessorBlock",
                "0",
                "an address",
                words::CONTEXT,
                Mend::No("the array of processors"),
            ));
        } else if self.windows.processors.is_empty() {
            findings.push(self.no_offsets());
        }
        findings
    }

    /// Offsets that are missing where no control block could be understood.
    fn no_offsets(&self) -> Finding {
        let block = &self.windows.kdbg.value;
        let has_context = [OFFSET_PRCB_CONTEXT, OFFSET_PRCB_PROC_STATE_CONTEXT]
            .iter()
            .any(|field| block.offset(*field).is_some());
        let mut finding = in_memory(
            "KDBG.OffsetPrcbProcStateContext",
            "0",
            "an offset in the control blocks",
            match self.dump.width {
                HeaderWidth::Bits32 => words::CS,
                HeaderWidth::Bits64 => words::PARTIAL_CONTEXT,
            },
            Mend::No("where the registers are in a control block"),
        );
        if has_context && block.offset(OFFSET_PRCB_PROC_STATE_SPECIAL_REG).is_none() {
            // The debugger shows every processor all the same, docs/formats/dmp-sweep.md.
            finding.field = "KDBG.OffsetPrcbProcStateSpecialReg";
            finding.severity = Severity::Cosmetic;
            finding.debugger = None;
        }
        finding
    }

    /// Whether a plain copy of the block is at this address, as fwcfg drivers keep one.
    fn is_copy(&self, gva: Gva) -> bool {
        let block = &self.windows.kdbg.value;
        let space = self.windows.space(&self.guest.memory);
        // Links and lists may differ in a copy; what a debugger reads begins at the tag.
        let plain = block.bytes.get(0x10..).unwrap_or_default();
        space
            .bytes(gva.saturating_add(0x10), plain.len())
            .is_ok_and(|copy| copy == plain)
    }
}
