//! The Windows that hibernates: where its version of the file has what.

/// Which Windows writes the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the versions' own names, and their bits")]
pub enum HiberVersion {
    Xp32,
    Xp64,
    Vista32,
    Vista64,
    VistaSp2x32,
    VistaSp2x64,
    Seven32,
    Seven64,
    Eight32,
    Eight64,
    Ten32,
    Ten64,
    Eleven,
}

/// Offsets in a table: link, next, count, entry, start.
type Table = [usize; 5];

impl HiberVersion {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Xp32,
        Self::Xp64,
        Self::Vista32,
        Self::Vista64,
        Self::VistaSp2x32,
        Self::VistaSp2x64,
        Self::Seven32,
        Self::Seven64,
        Self::Eight32,
        Self::Eight64,
        Self::Ten32,
        Self::Ten64,
        Self::Eleven,
    ];

    /// Whether it is a Windows of 64 bits.
    #[must_use]
    pub const fn is_64(self) -> bool {
        !matches!(
            self,
            Self::Xp32
                | Self::Vista32
                | Self::VistaSp2x32
                | Self::Seven32
                | Self::Eight32
                | Self::Ten32
        )
    }

    /// Whether its memory is in runs, as since Windows 8.
    #[must_use]
    pub const fn has_runs(self) -> bool {
        self.table().is_none()
    }

    pub(super) const fn table(self) -> Option<Table> {
        Some(match self {
            Self::Xp32 | Self::Vista32 => [0x10, 4, 12, 16, 4],
            Self::Xp64 | Self::Vista64 => [0x20, 8, 20, 32, 8],
            Self::VistaSp2x32 => [12, 4, 8, 8, 0],
            Self::VistaSp2x64 => [24, 8, 16, 16, 0],
            Self::Seven32 => [8, 0, 4, 8, 0],
            Self::Seven64 => [16, 0, 8, 16, 0],
            _ => return None,
        })
    }

    /// LengthSelf, the place of the first page number (table or boot set), of the two page counts.
    pub(super) const fn header(self) -> (u32, usize, [usize; 2]) {
        match self {
            Self::Xp32 => (168, 88, [0, 0]),
            Self::Xp64 => (192, 104, [0, 0]),
            Self::Vista32 => (224, 80, [0, 0]),
            Self::Vista64 => (296, 104, [0, 0]),
            Self::VistaSp2x32 => (240, 80, [0, 0]),
            Self::VistaSp2x64 => (312, 104, [0, 0]),
            Self::Seven32 => (224, 76, [0, 0]),
            Self::Seven64 => (296, 96, [0, 0]),
            Self::Eight32 => (0x2c8, 0x50, [0x48, 0x1b0]),
            Self::Eight64 => (0x360, 0x60, [0x58, 0x1c8]),
            Self::Ten32 => (0x340, 0x50, [0x48, 0x210]),
            Self::Ten64 => (0x3e0, 0x68, [0x58, 0x230]),
            Self::Eleven => (0x4d8, 0x68, [0x58, 0x238]),
        }
    }

    pub(super) const fn processor_page(self) -> usize {
        match self {
            Self::Xp32 | Self::Xp64 => 2,
            Self::Vista32 | Self::Vista64 => 4,
            _ => 1,
        }
    }

    pub(super) const fn context(self) -> usize {
        match self {
            Self::Ten64 | Self::Eleven => 0xf0,
            _ => 0xe0,
        }
    }
}
