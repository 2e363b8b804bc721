//! Numbers and text as bytes at offsets, the only way this crate writes a structure; and their checksum.

/// Stores two bytes, little-endian.
pub(crate) fn put_u16(buffer: &mut [u8], offset: usize, value: u16) {
    buffer[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
}

/// Stores four bytes, little-endian.
pub(crate) fn put_u32(buffer: &mut [u8], offset: usize, value: u32) {
    buffer[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// Stores eight bytes, little-endian.
pub(crate) fn put_u64(buffer: &mut [u8], offset: usize, value: u64) {
    buffer[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

/// Stores a byte string.
pub(crate) fn put_bytes(buffer: &mut [u8], offset: usize, value: &[u8]) {
    buffer[offset..offset + value.len()].copy_from_slice(value);
}

/// Loads eight bytes, little-endian.
pub(crate) fn get_u64(buffer: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(buffer[offset..offset + 8].try_into().unwrap())
}

/// Encodes text as UTF-16, little-endian, without a terminator.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Appends four bytes, big-endian.
pub(crate) fn be32(file: &mut Vec<u8>, value: u32) {
    file.extend(value.to_be_bytes());
}

/// Appends eight bytes, big-endian.
pub(crate) fn be64(file: &mut Vec<u8>, value: u64) {
    file.extend(value.to_be_bytes());
}

/// CRC-32, bit by bit.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ ((sum & 1) * 0xedb8_8320);
        }
    }
    !sum
}
