//! A planned dump as a file that is made where it is read.

use std::io::{self, Read, Seek, SeekFrom};

use core2dmp::dump::Plan;
use core2dmp::image::{Segment, SegmentData};
use core2dmp::memory::PhysicalMemory;

/// A dump that was never written.
#[derive(Debug)]
pub(crate) struct Lazy {
    segments: Vec<Segment>,
    memory: PhysicalMemory,
    size: u64,
    at: u64,
    hidden: Vec<(u64, u64)>,
}

impl Lazy {
    pub(crate) fn new(plan: &Plan, memory: PhysicalMemory) -> Self {
        Self {
            segments: plan.segments.clone(),
            memory,
            size: plan.size,
            at: 0,
            hidden: Vec::new(),
        }
    }

    /// Zeros at these offsets, for so many bytes.
    pub(crate) fn hiding(mut self, places: &[(u64, u64)]) -> Self {
        self.hidden = places.to_vec();
        self
    }
}

impl Read for Lazy {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut start = 0;
        let holds = |segment: &&Segment| {
            let holds = self.at < start + segment.bytes;
            start += if holds { 0 } else { segment.bytes };
            holds
        };
        let Some(segment) = self.segments.iter().find(holds) else {
            return Ok(0);
        };
        let inside = self.at - start;
        let left = segment.bytes - inside;
        let count = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let buf = &mut buf[..count];
        match &segment.data {
            SegmentData::Bytes(bytes) => {
                buf.copy_from_slice(&bytes[inside as usize..inside as usize + count]);
            }
            SegmentData::Source { offset } => {
                let got = core2dmp::source::fill_at(&**self.memory.source(), offset + inside, buf)?;
                assert_eq!(got, count as u64, "the plan names bytes of the file");
            }
            SegmentData::Zeros => buf.fill(0),
            SegmentData::Encoded { .. } => return Err(io::ErrorKind::Unsupported.into()),
        }
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
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
