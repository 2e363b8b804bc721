//! CRC-32 as Ethernet and zlib have it (polynomial `0xedb88320`, reflected, all ones first and last).

/// Sixteen entries: half a byte at a time is fast enough for pages, and is 64 bytes instead of a kibibyte.
const TABLE: [u32; 16] = [
    of(0),
    of(1),
    of(2),
    of(3),
    of(4),
    of(5),
    of(6),
    of(7),
    of(8),
    of(9),
    of(10),
    of(11),
    of(12),
    of(13),
    of(14),
    of(15),
];

/// Four bits through the polynomial.
const fn of(bits: u32) -> u32 {
    let mut value = bits;
    let mut bit = 0;
    while bit < 4 {
        value = (value >> 1) ^ ((value & 1) * 0xedb8_8320);
        bit += 1;
    }
    value
}

/// A sum in the making.
#[derive(Debug, Clone, Copy)]
pub struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

impl Crc32 {
    /// The sum of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Adds a byte.
    #[must_use]
    pub fn byte(self, byte: u8) -> Self {
        let mut sum = self.0 ^ u32::from(byte);
        sum = (sum >> 4) ^ entry(sum);
        sum = (sum >> 4) ^ entry(sum);
        Self(sum)
    }

    /// Adds bytes.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |sum, byte| sum.byte(*byte))
    }

    /// Adds eight bytes, the lowest first.
    #[must_use]
    pub fn word(self, word: u64) -> Self {
        self.bytes(&word.to_le_bytes())
    }

    /// The sum of what was added.
    #[must_use]
    pub const fn sum(self) -> u32 {
        !self.0
    }
}

fn entry(sum: u32) -> u32 {
    // The mask keeps the index inside; `get` spares the compiler a panic that it may fail to rule out.
    TABLE.get((sum & 15) as usize).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Crc32;

    #[test]
    fn the_check_value_of_the_catalogue() {
        // CRC RevEng's catalogue, CRC-32/ISO-HDLC.
        assert_eq!(Crc32::new().bytes(b"123456789").sum(), 0xcbf4_3926);
        assert_eq!(Crc32::new().sum(), 0);
        let word = u64::from_le_bytes(*b"12345678");
        assert_eq!(Crc32::new().word(word).byte(b'9').sum(), 0xcbf4_3926);
    }
}
