//! Writes an image into a stream: every byte, in order.

use std::io::Write;

use super::job::{BUFFER, Failure, Written, advance};
use super::page_cache::CacheUse;
use super::{copy, decoded};
use crate::address::PAGE_SIZE;
use crate::error::{Error, Result};
use crate::image::{Image, Segment, SegmentData};
use crate::memory::PhysicalMemory;
use crate::progress::Progress;

/// Writes an image into a stream, from its first byte to its last; `memory` is the guest's that the image was planned
/// for.
///
/// # Errors
/// [`Error::Io`], a closed pipe among them, [`Error::CorruptPage`] unless the image [salvages](Image::salvage), and
/// [`Error::Interrupted`].
pub fn to_stream(
    image: &Image,
    memory: &PhysicalMemory,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Written> {
    let mut writer = StreamWriter {
        memory,
        out,
        at: 0,
        progress,
        buffer: vec![0; BUFFER],
        damage: decoded::Damage::new(memory, image.salvage()),
        cache: CacheUse::begin(&**memory.source(), image.size()),
    };
    for segment in image.segments() {
        let written = writer.segment(segment);
        written
            .map_err(|failure| failure.tell(&format!("the stream at offset {:#x}", writer.at)))?;
    }
    let written = writer.damage.written;
    out.flush()
        .map_err(|e| Error::io("cannot write the stream", e))?;
    Ok(written)
}

struct StreamWriter<'a> {
    memory: &'a PhysicalMemory,
    out: &'a mut dyn Write,
    at: u64,
    progress: &'a dyn Progress,
    buffer: Vec<u8>,
    damage: decoded::Damage<'a>,
    cache: CacheUse,
}

impl StreamWriter<'_> {
    fn segment(&mut self, segment: &Segment) -> Result<(), Failure> {
        if let SegmentData::Encoded { index } = segment.data {
            let (out, progress, at) = (&mut *self.out, self.progress, &mut self.at);
            let pages = segment.bytes / PAGE_SIZE;
            return decoded::in_order(&mut self.damage, index, pages, &mut |block| {
                out.write_all(block)?;
                advance(progress, at, block.len() as u64)
            });
        }
        let source = &**self.memory.source();
        let mut done = 0;
        while done < segment.bytes {
            let step = segment.bytes.saturating_sub(done).min(BUFFER as u64);
            let bytes = usize::try_from(step).unwrap_or(BUFFER);
            let block = match &segment.data {
                SegmentData::Bytes(bytes) => bytes.as_slice(),
                SegmentData::Source { offset } => {
                    let offset = offset.saturating_add(done);
                    copy::read_block(source, offset, &mut self.buffer, bytes)?
                }
                SegmentData::Zeros | SegmentData::Encoded { .. } => {
                    self.buffer.fill(0);
                    self.buffer.get(..bytes).unwrap_or_default()
                }
            };
            self.out.write_all(block)?;
            let moved = block.len() as u64;
            done = done.saturating_add(moved);
            if let SegmentData::Source { offset } = segment.data {
                let end = offset.saturating_add(done);
                self.cache.copied(source, end, None, moved);
            }
            advance(self.progress, &mut self.at, moved)?;
        }
        Ok(())
    }
}
