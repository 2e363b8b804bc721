//! The architectures and paging modes that a guest can have.
//!
//! References: Intel SDM volume 3, chapter 4 "Paging"; Arm ARM, D8.2; machines of Microsoft "PE Format"; CONTEXT in winnt.h.

/// The paging mode of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit, four levels.
    X64,
    /// 64-bit, five levels (CR4.LA57).
    X64La57,
    /// 32-bit, two levels.
    X86,
    /// 32-bit with physical address extension.
    X86Pae,
    /// ARM64, four levels of 4 KiB tables.
    Arm64,
}

impl Arch {
    /// Whether pointers are eight bytes wide.
    #[must_use]
    pub fn is_64(self) -> bool {
        matches!(self, Self::X64 | Self::X64La57 | Self::Arm64)
    }

    /// Whether it is x64.
    #[must_use]
    pub fn is_x64(self) -> bool {
        matches!(self, Self::X64 | Self::X64La57)
    }

    /// `IMAGE_FILE_MACHINE_..` of its images.
    pub(crate) fn machine(self) -> u16 {
        match self {
            Self::X64 | Self::X64La57 => 0x8664,
            Self::X86 | Self::X86Pae => 0x14c,
            Self::Arm64 => 0xaa64,
        }
    }

    /// Bytes of a CONTEXT.
    #[must_use]
    pub fn context_bytes(self) -> usize {
        match self {
            Self::X64 | Self::X64La57 => 0x4d0,
            Self::X86 | Self::X86Pae => 0x2cc,
            Self::Arm64 => 0x390,
        }
    }

    /// The next address, or this, at which an instruction may stand.
    pub(crate) fn instruction(self, va: u64) -> u64 {
        if self == Self::Arm64 {
            va.next_multiple_of(4)
        } else {
            va
        }
    }

    /// Bytes of a pointer.
    pub(crate) fn pointer(self) -> u64 {
        if self.is_64() { 8 } else { 4 }
    }

    /// The lowest address bit that each level translates, root first.
    pub(crate) fn shifts(self) -> &'static [u32] {
        match self {
            Self::X64La57 => &[48, 39, 30, 21, 12],
            Self::X64 | Self::Arm64 => &[39, 30, 21, 12],
            Self::X86Pae => &[30, 21, 12],
            Self::X86 => &[22, 12],
        }
    }

    /// The index into the table of the level with this shift.
    pub(crate) fn index(self, shift: u32, va: u64) -> u64 {
        let mask = match (self, shift) {
            (Self::X86, _) => 1023,
            (Self::X86Pae, 30) => 3,
            _ => 511,
        };
        (va >> shift) & mask
    }

    /// How many levels up from a byte the entries with this shift are: 1 for page table entries.
    pub(crate) fn levels_up(self, shift: u32) -> usize {
        let below = self.shifts().iter().filter(|&&other| other < shift);
        below.count() + 1
    }

    /// Bytes of a table entry.
    pub(crate) fn entry(self) -> u64 {
        if self == Self::X86 { 4 } else { 8 }
    }
}
