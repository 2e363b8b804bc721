//! The machines that drivers are built for, as far as they differ.

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// 32 bit.
    X86,
    /// 64 bit.
    X64,
    /// ARM, 64 bit.
    Arm64,
}

impl Machine {
    /// By the number of PE files.
    #[must_use]
    pub fn of(number: u16) -> Option<Self> {
        match number {
            0x14c => Some(Self::X86),
            0x8664 => Some(Self::X64),
            0xaa64 => Some(Self::Arm64),
            _ => None,
        }
    }

    /// Bytes of a pointer.
    #[must_use]
    pub fn pointer(self) -> usize {
        if self == Self::X86 { 4 } else { 8 }
    }

    /// `narrow` on 32 bit, `wide` on 64.
    #[must_use]
    pub fn choose<T>(self, narrow: T, wide: T) -> T {
        if self == Self::X86 { narrow } else { wide }
    }

    /// Where Windows has `KUSER_SHARED_DATA` (wdm.h).
    #[must_use]
    pub fn shared_data(self) -> u64 {
        self.choose(0xffdf_0000, 0xffff_f780_0000_0000)
    }
}
