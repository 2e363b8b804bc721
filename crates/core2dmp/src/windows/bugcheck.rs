//! `KiBugcheckData`: the true stop code.
//!
//! Five pointer-sized values. Only the first says whether there was a bug check: the others may hold rubbish
//! while it is 0 (seen in ReactOS 0.4.13), and NTSTATUS codes are sign-extended on x64.

use super::fact::{Fact, Source};
use super::guest_record::GuestRecord;
use super::kdbg::DebuggerData;
use super::pe::PeImage;
use crate::format::dump_values::LIVE_SYSTEM_DUMP;
use crate::format::kdbg::KI_BUGCHECK_DATA;
use crate::paging::AddressSpace;

/// The stop code and its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bugcheck {
    /// The stop code; `LIVE_SYSTEM_DUMP` for a guest that has not crashed.
    pub code: u32,
    /// Its four parameters.
    pub parameters: [u64; 4],
    /// Whether the guest has crashed.
    pub crashed: bool,
}

impl Bugcheck {
    const LIVE: Self = Self {
        code: LIVE_SYSTEM_DUMP,
        parameters: [0; 4],
        crashed: false,
    };
}

/// The stop code: the kernel's variable, else a guest record's; where neither tells one, that of a live guest, and why.
pub(super) fn read(
    space: &AddressSpace<'_>,
    kernel: &PeImage,
    kdbg: &DebuggerData,
    records: &[GuestRecord],
) -> (Fact<Bugcheck>, Option<String>) {
    let (memory, warning) = from_variable(space, kernel, kdbg);
    let confirmed = records.iter().find(|record| record.is_confirmed());
    let recorded = confirmed.and_then(|record| {
        let (code, parameters) = record.stop?;
        let told = Bugcheck {
            code,
            parameters,
            crashed: true,
        };
        let source = Source::Header {
            origin: format!("guest record at {}", record.gpa),
            field: "stop code",
        };
        Some((told, source))
    });
    let Some((told, source)) = recorded else {
        return (memory, warning);
    };
    if !memory.value.crashed {
        return (Fact::new(told, source), warning);
    }
    // Only a callback's word may lack the parameters.
    let agrees = memory.value.code == told.code
        && (told.parameters == [0; 4] || told.parameters == memory.value.parameters);
    if agrees {
        return (memory, warning);
    }
    let why = format!("disagrees with {}", memory.source);
    (memory.against(told, source, why), warning)
}

/// The stop code of the kernel's variable.
fn from_variable(
    space: &AddressSpace<'_>,
    kernel: &PeImage,
    kdbg: &DebuggerData,
) -> (Fact<Bugcheck>, Option<String>) {
    let live = |warning| {
        (
            Fact::new(Bugcheck::LIVE, Source::Rule("a guest that has not crashed")),
            warning,
        )
    };
    let named = kdbg
        .pointer(KI_BUGCHECK_DATA)
        .or_else(|| kernel.export(space, "KiBugCheckData"));
    let Some(gva) = named else {
        return live(Some(
            "neither KDBG nor an export names KiBugcheckData: the guest is taken for a live one"
                .to_owned(),
        ));
    };
    let word = space.mode().pointer_bytes() as u64;
    let mut values = [0; 5];
    for (index, value) in (0_u64..).zip(&mut values) {
        match space.word(gva.saturating_add(index.saturating_mul(word))) {
            Ok(read) => *value = read,
            Err(why) => return live(Some(format!("KiBugcheckData: {why}"))),
        }
    }
    let [code, parameters @ ..] = values;
    // Sign-extended codes of 32 bits are kept, anything wider is no stop code.
    let high = code >> 32;
    if code == 0 || (high != 0 && high != 0xffff_ffff) {
        let warning = (code != 0)
            .then(|| format!("KiBugcheckData at {gva} holds {code:#x}, which is not a stop code"));
        return live(warning);
    }
    let bugcheck = Bugcheck {
        code: u32::try_from(code & 0xffff_ffff).unwrap_or(0),
        parameters,
        crashed: true,
    };
    let source = Source::Variable {
        name: "KiBugcheckData",
        gva,
    };
    (Fact::new(bugcheck, source), None)
}
