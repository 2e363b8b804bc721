//! A cursor over the stream: big-endian numbers, read in large blocks.

use crate::error::{Error, Place, Result};
use crate::source::{ReadAt, fill_at};

/// Bytes that are read at a time.
const BLOCK: usize = 256 << 10;

/// The stream, and where in it one is.
#[derive(Debug)]
pub(super) struct Stream<'s> {
    source: &'s dyn ReadAt,
    pub(super) at: u64,
    block: Vec<u8>,
    /// Where `block` is in the file.
    block_at: u64,
}

impl<'s> Stream<'s> {
    pub(super) fn new(source: &'s dyn ReadAt, at: u64) -> Self {
        Self {
            source,
            at,
            block: Vec::new(),
            block_at: 0,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.source.size()
    }

    pub(super) const fn place(&self) -> Place {
        Place::Offset(self.at)
    }

    /// Up to `bytes` bytes from here on, which stay unread.
    pub(super) fn peek(&mut self, bytes: usize) -> Result<&[u8]> {
        let start = self.at.checked_sub(self.block_at);
        let start = start.and_then(|start| usize::try_from(start).ok());
        let held = start
            .and_then(|start| self.block.get(start..))
            .map_or(0, <[u8]>::len);
        let start = if held < bytes {
            self.block.resize(BLOCK.max(bytes), 0);
            self.block_at = self.at;
            let read = fill_at(self.source, self.at, &mut self.block);
            let read = read
                .map_err(|e| Error::io(format!("cannot read the stream at {}", self.place()), e))?;
            self.block.truncate(usize::try_from(read).unwrap_or(0));
            0
        } else {
            start.unwrap_or(0)
        };
        let rest = self.block.get(start..).unwrap_or_default();
        Ok(rest.get(..bytes).unwrap_or(rest))
    }

    /// The next bytes.
    pub(super) fn bytes<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let found = self.peek(N)?;
        if let Ok(bytes) = <[u8; N]>::try_from(found) {
            self.at = self.at.saturating_add(N as u64);
            return Ok(bytes);
        }
        let found = found.len() as u64;
        Err(self.ends(what, N as u64, found))
    }

    /// The next bytes, at most 255 of them or what a caller has looked at.
    pub(super) fn take(&mut self, bytes: usize, what: &'static str) -> Result<Vec<u8>> {
        let found = self.peek(bytes)?.to_vec();
        if found.len() < bytes {
            return Err(self.ends(what, bytes as u64, found.len() as u64));
        }
        self.at = self.at.saturating_add(bytes as u64);
        Ok(found)
    }

    /// Text behind a length of one byte.
    pub(super) fn name(&mut self, what: &'static str) -> Result<Vec<u8>> {
        let bytes = self.u8(what)?;
        self.take(usize::from(bytes), what)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8> {
        self.bytes(what).map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16> {
        self.bytes(what).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32> {
        self.bytes(what).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64> {
        self.bytes(what).map(u64::from_be_bytes)
    }

    /// Passes over bytes that the file has to have.
    pub(super) fn skip(&mut self, bytes: u64, what: &'static str) -> Result<()> {
        let left = self.size().saturating_sub(self.at);
        if left < bytes {
            return Err(self.ends(what, bytes, left));
        }
        self.at = self.at.saturating_add(bytes);
        Ok(())
    }

    fn ends(&self, what: &'static str, expected: u64, found: u64) -> Error {
        Error::Truncated {
            what,
            place: self.place(),
            expected,
            found,
        }
    }

    /// Goes to the next place from here on where `pattern` is; whether there is one.
    pub(super) fn find(&mut self, pattern: &[u8]) -> Result<bool> {
        let finder = memchr::memmem::Finder::new(pattern);
        loop {
            let block = self.peek(BLOCK)?;
            if let Some(found) = finder.find(block) {
                self.at = self.at.saturating_add(found as u64);
                return Ok(true);
            }
            // What the next block begins with may be the pattern's end.
            let passed = block.len().saturating_sub(pattern.len().saturating_sub(1));
            if passed == 0 || block.len() < BLOCK {
                self.at = self.size();
                return Ok(false);
            }
            self.at = self.at.saturating_add(passed as u64);
        }
    }
}
