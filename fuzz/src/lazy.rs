//! A planned dump as a file that is made where it is read.

use std::io::{self, Read, Seek, SeekFrom};

use core2dmp::image::{Image, ImageReader};
use core2dmp::memory::PhysicalMemory;

/// A dump that was never written.
#[derive(Debug)]
pub(crate) struct Lazy {
    reader: ImageReader,
    at: u64,
    hidden: Vec<(u64, u64)>,
}

impl Lazy {
    pub(crate) fn new(image: Image, memory: PhysicalMemory) -> Self {
        Self {
            reader: ImageReader::new(image, memory),
            at: 0,
            hidden: Vec::new(),
        }
    }

    /// Zeros at these offsets, for this many bytes.
    pub(crate) fn hiding(mut self, places: &[(u64, u64)]) -> Self {
        self.hidden = places.to_vec();
        self
    }
}

impl Read for Lazy {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read_at(self.at, buf)?;
        for (place, bytes) in &self.hidden {
            for at in *place..place + bytes {
                let byte = at
                    .checked_sub(self.at)
                    .and_then(|n| buf.get_mut(n as usize));
                if let Some(byte) = byte {
                    *byte = 0;
                }
            }
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Lazy {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.reader.image().size().checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
