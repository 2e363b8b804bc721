//! Which PDB describes an image, as symbol servers write it.

use std::fmt;

/// Which PDB describes an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PdbId {
    /// The file's name, escaped.
    pub name: String,
    /// As stored: the first three fields little-endian.
    pub guid: [u8; 16],
    /// How often it was written.
    pub age: u32,
}

impl fmt::Display for PdbId {
    /// As symbol servers write it: `ntkrnlmp.pdb/0123..EF1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, rest @ ..] = self.guid;
        let a = u32::from_le_bytes([a0, a1, a2, a3]);
        let b = u16::from_le_bytes([b0, b1]);
        let c = u16::from_le_bytes([c0, c1]);
        write!(f, "{}/{a:08X}{b:04X}{c:04X}", self.name)?;
        for byte in rest {
            write!(f, "{byte:02X}")?;
        }
        write!(f, "{:X}", self.age)
    }
}
