//! Files with other bytes in some places.

/// The file with bytes overwritten.
pub(crate) fn patched(mut file: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}
