//! Files that are computed where they are read: a million headers take no memory.

use std::io;

use core2dmp::source::ReadAt;

/// `head`, then `unit` over and over, up to `size`.
#[derive(Debug)]
pub(crate) struct Endless {
    pub(crate) head: Vec<u8>,
    pub(crate) unit: Vec<u8>,
    pub(crate) size: u64,
}

impl Endless {
    /// A file of `count` units behind `head`.
    pub(crate) fn new(head: Vec<u8>, unit: Vec<u8>, count: u64) -> Self {
        let size = head.len() as u64 + unit.len() as u64 * count;
        Self { head, unit, size }
    }
}

impl ReadAt for Endless {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(offset);
        let head = self.head.len() as u64;
        let from = if offset < head {
            &self.head[offset as usize..]
        } else {
            &self.unit[((offset - head) % self.unit.len() as u64) as usize..]
        };
        let n = from.len().min(buf.len()).min(left as usize);
        buf[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }
}
