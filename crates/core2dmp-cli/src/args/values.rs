//! Values of options: which dump, whose registers, sizes, addresses, processes.

use clap::ValueEnum;
use core2dmp::dump::{DumpKind, Keep};
use core2dmp::windows::ContextPolicy;

/// Which dump.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Full; or a bitmap where a full dump is impossible or would invent what its source left out
    #[default]
    Auto,
    /// Type 1: all memory; frames that the source lacks are zeros
    Full,
    /// Type 5: any number of runs; frames that the source lacks are absent
    Bitmap,
    /// Type 5, without free and zeroed pages
    Active,
    /// Type 6: what the kernel's half of the page tables reaches; no user memory
    Kernel,
}

impl From<Kind> for DumpKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Auto => Self::Auto,
            Kind::Full => Self::Full,
            Kind::Bitmap => Self::Bitmap,
            Kind::Active => Self::Active,
            Kind::Kernel => Self::Kernel,
        }
    }
}

/// Which registers each processor gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Context {
    /// Windows' own after a crash, if they are sound; otherwise the vCPU's
    #[default]
    Auto,
    /// The vCPU's, if a processor has one
    Vcpu,
    /// What Windows last saved in memory
    Memory,
}

impl From<Context> for ContextPolicy {
    fn from(context: Context) -> Self {
        match context {
            Context::Auto => Self::Auto,
            Context::Vcpu => Self::Vcpu,
            Context::Memory => Self::Memory,
        }
    }
}

/// Bytes, with a unit of 1024 or none.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || "expected a number of bytes, such as 4G, 700M or 1048576".to_owned();
    let (digits, shift) = match text.char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let shift = match unit.to_ascii_uppercase() {
                'K' => 10,
                'M' => 20,
                'G' => 30,
                'T' => 40,
                _ => return Err(wrong()),
            };
            (text.get(..at).unwrap_or_default(), shift)
        }
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

/// A process by its number, in decimal or hexadecimal with 0x, or its name.
#[expect(
    clippy::unnecessary_wraps,
    reason = "clap's parsers may fail; this one takes every text"
)]
pub(super) fn keep(text: &str) -> Result<Keep, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    Ok(number.map_or_else(|_| Keep::Name(text.to_owned()), Keep::Pid))
}

/// An address in hexadecimal, as WinDbg writes it.
pub(super) fn address(text: &str) -> Result<u64, String> {
    let plain = text.replace('`', "");
    let hex = plain.strip_prefix("0x").unwrap_or(&plain);
    u64::from_str_radix(hex, 16).map_err(|_| "expected an address, in hexadecimal".to_owned())
}
