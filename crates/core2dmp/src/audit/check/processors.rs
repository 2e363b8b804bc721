//! The processors that the debugger would start, and the registers that it would find for them.

use super::memory::Judge;
use super::structure::MAX_PROCESSORS;
use super::{Finding, Mend, Severity, words};
use crate::format::context::{REGISTERS_AMD64, REGISTERS_X86};
use crate::format::header_fields::{FieldId, FieldValue, HeaderWidth};
use crate::paging::PagingMode;

/// More processors than the debugger can think of.
const TOO_MANY: u64 = MAX_PROCESSORS + 1;

impl Judge<'_> {
    pub(super) fn processors(&self) -> Option<Finding> {
        let count = &self.windows.processor_count;
        let truth = u64::from(count.value);
        if truth == 0 {
            // The debugger data block's own findings report it.
            return None;
        }
        let found = self.dump.number(FieldId::NumberProcessors);
        let (severity, debugger) = match found {
            Some(found) if found == truth => return None,
            Some(0) => (Severity::Refused, Some(words::NO_EVENT)),
            Some(found) if found < truth => (Severity::Broken, None),
            None | Some(TOO_MANY..) => (Severity::Refused, Some(words::PROCESSORS)),
            // Today's engine shows those that there are.
            _ => (Severity::Broken, Some(words::TOO_MANY)),
        };
        Some(self.field(
            FieldId::NumberProcessors,
            severity,
            format!("{truth:#x} ({})", count.source),
            debugger,
        ))
    }

    /// The registers that the debugger reads: in the processors' control blocks.
    pub(super) fn contexts(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let finding = |what, found: String, expected: &str, words, mend| Finding {
            severity: Severity::Broken,
            field: what,
            offset: None,
            expected: expected.to_owned(),
            found,
            debugger: words,
            mend,
        };

        for (processor, context) in self.windows.processors.iter().zip(&self.crash.contexts) {
            let number = processor.number;
            if processor.null_context_pointer.is_some() {
                findings.push(finding(
                    "PRCB.Context",
                    format!("processor {number}: a null pointer"),
                    "a pointer to the registers",
                    Some(words::CONTEXT),
                    Mend::Yes,
                ));
            }
            if context.code_selector() == Some(0) {
                findings.push(finding(
                    "PRCB context, SegCs",
                    format!("processor {number}: 0"),
                    "a code selector",
                    // The debugger looks at the first processor when it opens a dump.
                    (self.dump.width == HeaderWidth::Bits64 && number == 0)
                        .then_some(words::PARTIAL_CONTEXT),
                    Mend::FromCore("the registers"),
                ));
            }
            if context.is_earlier() {
                findings.push(Finding {
                    severity: Severity::Cosmetic,
                    ..finding(
                        "PRCB context",
                        format!("processor {number}: registers of an earlier moment, no others"),
                        "the registers of the moment of the dump",
                        None,
                        Mend::FromCore("the registers"),
                    )
                });
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
                    Some(words::CS),
                    Mend::Yes,
                ));
            }
        }
        findings
    }

    /// The header's own context, which matters where the control blocks have none.
    pub(super) fn header_context(&self) -> Option<Finding> {
        let table = match (self.dump.width, self.windows.mode) {
            (_, PagingMode::Arm64) => return None,
            (HeaderWidth::Bits32, _) => REGISTERS_X86,
            (HeaderWidth::Bits64, _) => REGISTERS_AMD64,
        };
        let (_, offset, bytes) = table.iter().find(|(name, _, _)| *name == "SegCs")?;
        let found = match self.dump.value(FieldId::ContextRecord)? {
            FieldValue::NotSet => "not set (\"PAGE\")",
            FieldValue::Bytes(context) => {
                let selector = context.get(*offset..)?.get(..*bytes)?;
                if selector.iter().all(|byte| *byte == 0) {
                    "SegCs 0"
                } else if self.is_stale() {
                    "those of another moment, as the header's times"
                } else {
                    return None;
                }
            }
            _ => return None,
        };
        Some(Finding {
            found: found.to_owned(),
            ..self.field(
                FieldId::ContextRecord,
                Severity::Cosmetic,
                "the registers of the processor that crashed",
                None,
            )
        })
    }

    /// Whether the header was made at another moment, or in another boot.
    fn is_stale(&self) -> bool {
        !self.times().is_empty()
    }

    /// The exception of a header that was made at another moment.
    pub(super) fn stale_exception(&self) -> Option<Finding> {
        let exception = &self.crash.exception;
        let truth = exception.value.address.get();
        let found = self.dump.number(FieldId::ExceptionAddress)?;
        let narrow = match self.dump.width {
            HeaderWidth::Bits32 => truth & 0xffff_ffff,
            HeaderWidth::Bits64 => truth,
        };
        (self.is_stale() && found != narrow).then(|| {
            self.field(
                FieldId::ExceptionAddress,
                Severity::Cosmetic,
                format!("{narrow:#x} ({})", exception.source),
                None,
            )
        })
    }
}
