//! The plain and the Huffman variant of Xpress compression, decoded.
//!
//! ```text
//! plain     flags (32) | literal or match, 32 times | flags | ...             LZ77
//! Huffman   256 bytes: 512 code lengths | symbols and extra bits | bytes      up to 64 KiB of output
//! ```
//!
//! Both take whatever is given: a match that reaches before the beginning, or data that ends in the middle, is an
//! error, and nothing is written outside `output`. The result is how many bytes were made; whether these are as
//! many as they should be is for the caller to judge.
//!
//! Source: [MS-XCA], Xpress Compression Algorithm, sections 2.2 (Huffman) and 2.4 (plain), with its examples (3) as
//! tests. There are crates for it; the one that is kept up has no Huffman variant, or a licence that does not fit.

pub(crate) mod huffman;
pub(crate) mod lz77;

use std::fmt;

use crate::format::bytes_at;

/// Why data cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// Bytes of the input that were read.
    pub(crate) at: usize,
    /// What is wrong there.
    pub(crate) what: &'static str,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:#x} bytes into the data", self.what, self.at)
    }
}

/// Compressed bytes, and how many of them are used up.
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = bytes_at(self.bytes, self.at)?;
        self.at = self.at.saturating_add(N);
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    /// The next `bytes` bytes by themselves.
    pub(crate) fn part(&mut self, bytes: usize) -> Option<Self> {
        let part = self.bytes.get(self.at..)?.get(..bytes)?;
        self.at = self.at.saturating_add(bytes);
        Some(Self::new(part, 0))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) const fn invalid(&self, what: &'static str) -> Invalid {
        Invalid { at: self.at, what }
    }

    pub(crate) const fn ended(&self) -> Invalid {
        self.invalid("the data ends inside a match")
    }
}

/// Repeats `length` bytes that are `distance` before `at`, as far as there is room; the place behind them.
/// `None` if they would start before the beginning.
pub(crate) fn repeat(
    output: &mut [u8],
    at: usize,
    distance: usize,
    length: usize,
) -> Option<usize> {
    let from = at.checked_sub(distance)?;
    let end = at.saturating_add(length).min(output.len());
    let mut at = at;
    // What is there already repeats with the same period, so each step copies all of it.
    while at < end {
        let count = at.saturating_sub(from).min(end.saturating_sub(at));
        if count == 0 {
            return None;
        }
        output.copy_within(from..from.saturating_add(count), at);
        at = at.saturating_add(count);
    }
    Some(at)
}
