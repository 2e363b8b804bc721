//! Compressed files, known by their first bytes: what they are, and how large they get.
//!
//! ```text
//! gzip     1f 8b 08           size mod 4 GiB, of the last member: of no use                   RFC 1952
//! xz       fd "7zXZ" 0        footer -> index: size of each block                            xz-file-format.txt
//! Zstd     28 b5 2f fd        frame header: size, if the writer knew it                      RFC 8878
//! LZ4      04 22 4d 18        frame descriptor: size, if the writer was asked for it         lz4_Frame_format.md
//! bzip2    "BZh1".."BZh9"     nothing tells
//! zip      "PK" 3 4           the directory at the end; must hold one file                   APPNOTE.TXT
//! ```
//!
//! The decoders are in [`super::decoder`].

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::files::extension;

/// Bytes of an index of blocks that is read for the size.
const MAX_INDEX: u64 = 1 << 20;

/// A way to compress a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Xz,
    Zstd,
    Lz4,
    Bzip2,
    Zip,
}

/// First bytes, and what they mean.
const MAGICS: [(&[u8], Compression); 6] = [
    (b"\x1f\x8b\x08", Compression::Gzip),
    (b"\xfd7zXZ\0", Compression::Xz),
    (b"\x28\xb5\x2f\xfd", Compression::Zstd),
    (b"\x04\x22\x4d\x18", Compression::Lz4),
    (b"BZh", Compression::Bzip2),
    (b"PK\x03\x04", Compression::Zip),
];

/// Extensions that compressed files have behind their own.
const EXTENSIONS: [&str; 9] = [
    "gz", "gzip", "xz", "zst", "zstd", "lz4", "bz2", "zip", "bzip2",
];

/// A name without the extension of a compressed file: `guest.core.gz` is `guest.core`.
#[must_use]
pub fn without_ending(path: &Path) -> PathBuf {
    match path.file_stem() {
        Some(_) if EXTENSIONS.contains(&extension(path).as_str()) => path.with_extension(""),
        _ => path.to_path_buf(),
    }
}

impl Compression {
    /// Bytes that show which it is.
    pub(super) const HEAD: usize = 16;

    /// What a file is that begins so.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let (_, wrapper) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic))?;
        let level = head.get(3).copied().unwrap_or(0);
        // In bzip2 a level follows the first bytes, then the magic of a block or of the end.
        let is_bzip2 = matches!(level, b'1'..=b'9') && matches!(head.get(4), Some(0x31 | 0x17));
        (*wrapper != Self::Bzip2 || is_bzip2).then_some(*wrapper)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "Zstandard",
            Self::Lz4 => "LZ4",
            Self::Bzip2 => "bzip2",
            Self::Zip => "zip",
        }
    }

    /// Size of the unpacked data, or a lower bound, if the file records it.
    pub(super) fn size(self, file: &mut File) -> io::Result<Option<u64>> {
        let end = file.seek(SeekFrom::End(0))?;
        let mut at = |offset: u64, bytes: &mut [u8]| {
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(bytes)
        };
        let mut head = [0; 18];
        let size = match self {
            Self::Xz => {
                let mut footer = [0; 12];
                at(end.saturating_sub(12), &mut footer)?;
                let index = xz_index(&footer).filter(|bytes| *bytes <= MAX_INDEX);
                let Some(start) = index.and_then(|bytes| end.checked_sub(12)?.checked_sub(bytes))
                else {
                    return Ok(None);
                };
                let bytes = end.saturating_sub(12).saturating_sub(start);
                let mut index = vec![0; usize::try_from(bytes).unwrap_or(0)];
                at(start, &mut index)?;
                xz_size(&index)
            }
            Self::Zstd => {
                at(0, &mut head)?;
                zstd_size(&head)
            }
            Self::Lz4 => {
                at(0, &mut head)?;
                let size = head.get(6..14).and_then(|size| size.try_into().ok());
                size.filter(|_| head.get(4).is_some_and(|flags| flags & 8 != 0))
                    .map(u64::from_le_bytes)
            }
            Self::Gzip | Self::Bzip2 | Self::Zip => None,
        };
        Ok(size)
    }
}

/// Bytes of the index in front of the footer.
fn xz_index(footer: &[u8; 12]) -> Option<u64> {
    let [_, _, _, _, a, b, c, d, _, _, b'Y', b'Z'] = *footer else {
        return None;
    };
    Some((u64::from(u32::from_le_bytes([a, b, c, d])).checked_add(1)?).saturating_mul(4))
}

/// The sum of the sizes in an index: 0, count, then unpadded and uncompressed size of each block.
fn xz_size(index: &[u8]) -> Option<u64> {
    let mut rest = index.strip_prefix(&[0])?;
    let mut number = || {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let (byte, tail) = rest.split_first()?;
            rest = tail;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    let count = number()?;
    let mut sum = 0_u64;
    // The index is short, and each turn takes two bytes of it.
    for _ in 0..count {
        number()?;
        sum = sum.checked_add(number()?)?;
    }
    Some(sum)
}

/// The content size in a frame's header.
fn zstd_size(head: &[u8]) -> Option<u64> {
    let flags = *head.get(4)?;
    let single = flags & 0x20 != 0;
    let window = usize::from(!single);
    let dictionary = [0, 1, 2, 4].get(usize::from(flags & 3))?;
    let bytes = match flags >> 6 {
        0 => usize::from(single),
        flag => 1 << flag,
    };
    let field = head.get(5 + window + dictionary..)?.get(..bytes)?;
    let value = field
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    match bytes {
        0 => None,
        2 => Some(value + 256),
        _ => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bzip2_is_more_than_three_letters() {
        assert_eq!(Compression::of(b"BZh91AY&SY"), Some(Compression::Bzip2));
        assert_eq!(Compression::of(b"BZhey, memory"), None);
        assert_eq!(Compression::of(b"BZ"), None);
        assert_eq!(Compression::of(b"\x1f\x8b\x08\0"), Some(Compression::Gzip));
    }

    #[test]
    fn sizes_that_headers_tell() {
        // RFC 8878: a flag of 1 means 2 bytes, less 256.
        assert_eq!(
            zstd_size(b"\x28\xb5\x2f\xfd\x60\x02\x01"),
            Some(0x102 + 256)
        );
        assert_eq!(zstd_size(b"\x28\xb5\x2f\xfd\x20\x07"), Some(7));
        assert_eq!(zstd_size(b"\x28\xb5\x2f\xfd\x00\x58"), None);
        assert_eq!(
            zstd_size(b"\x28\xb5\x2f\xfd\x82\x58\xaa\xbb\x01\0\0\x40"),
            Some(0x4000_0001)
        );
        assert_eq!(zstd_size(b"\x28\xb5\x2f\xfd\xe3"), None);
        assert_eq!(xz_size(&[0, 2, 0x80, 1, 5, 9, 0x80, 2]), Some(5 + 256));
        assert_eq!(xz_size(&[0, 0xff, 0xff, 0xff, 0x7f, 1]), None);
        assert_eq!(xz_size(&[1, 0]), None);
        assert_eq!(xz_index(b"....\xff\xff\xff\xff\0\x04YZ"), Some(4 << 32));
    }
}
