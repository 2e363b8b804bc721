//! What `convert --to` writes.

use clap::ValueEnum;
use core2dmp::export::ExportFormat;

/// What to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// A Windows crash dump
    #[default]
    Dmp,
    /// Memory by address, as a sparse file
    Raw,
    /// An ELF core as QEMU writes it, with registers
    Elf,
    /// LiME
    Lime,
}

impl Target {
    /// The extension of its files.
    pub(crate) const fn ending(self) -> &'static str {
        match self {
            Self::Dmp => "dmp",
            Self::Raw => "raw",
            Self::Elf => "elf",
            Self::Lime => "lime",
        }
    }

    /// The library's name for what is no dump.
    pub(crate) const fn export(self) -> Option<ExportFormat> {
        match self {
            Self::Dmp => None,
            Self::Raw => Some(ExportFormat::Raw),
            Self::Elf => Some(ExportFormat::Elf),
            Self::Lime => Some(ExportFormat::Lime),
        }
    }
}
