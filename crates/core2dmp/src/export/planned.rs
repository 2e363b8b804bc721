//! A file for another program that is planned and not yet written.

use crate::image::Image;
use crate::memory::{Frames, PhysicalMemory};

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Memory and nothing else, by address.
    Raw,
    /// An ELF core as QEMU writes it, with registers.
    Elf,
    /// LiME, version 1.
    Lime,
}

impl ExportFormat {
    /// The name in words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Raw => "raw memory",
            Self::Elf => "ELF core",
            Self::Lime => "LiME",
        }
    }
}

/// A file that has not been written yet.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub struct Export {
    /// What it will be.
    pub format: ExportFormat,
    /// The file.
    pub image: Image,
    /// Ranges of memory in it.
    pub runs: Vec<Frames>,
    /// vCPUs whose registers it has.
    pub vcpus: usize,
    /// What is lost.
    pub warnings: Vec<String>,
}

impl Export {
    /// The frames' contents; zeros where there are none.
    pub(super) fn push_frames(&mut self, memory: &PhysicalMemory, frames: Frames) {
        for (piece, backing) in memory.pieces(frames) {
            self.image.push_frames(piece, backing);
        }
    }
}
