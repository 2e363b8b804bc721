//! Copies what is not zero: one thread reads, the other writes all pages except those of zeros.
//!
//! ```text
//! free --> reader: fills a buffer --> full --> writer: stretches of pages that are not zero
//!  ^                                               |    \--> a third has them brought to the disk, which takes the
//!  +------------------ the buffer comes back <-----+         file system more of a processor than writing them did
//! ```
//!
//! Not more writers: a file system lets one at a time write to a file, and the others only wait for it. Writes are in
//! order, so that the file's extents grow at their end.

use std::fs::File;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::job::{Failure, write_all_at};
use super::page_cache::WriteBack;
use super::{copy, decoded};
use crate::source::ReadAt;

/// Bytes that are read at once: they should still be in a cache when they are written.
const CHUNK: usize = 512 << 10;
/// Buffers on their way.
const BUFFERS: usize = 4;

/// Copies `bytes` from the source; `done` hears of each chunk, in order.
pub(super) fn copy(
    source: &dyn ReadAt,
    from: u64,
    file: &File,
    to: u64,
    bytes: u64,
    write_back: &mut WriteBack,
    done: &mut dyn FnMut(u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut to = to;
    let mut write = |block: &[u8]| {
        for (skipped, stretch) in decoded::stretches(block) {
            write_all_at(file, to.saturating_add(skipped), stretch)?;
        }
        to = to.saturating_add(block.len() as u64);
        done(block.len() as u64)?;
        Ok::<_, Failure>(to)
    };
    let mut chunks = Chunks {
        source,
        at: from,
        left: bytes,
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 || bytes <= (BUFFERS * CHUNK) as u64 {
        let mut buffer = Vec::new();
        while chunks.read(&mut buffer)? {
            let end = write(&buffer)?;
            write_back.wrote(file, end);
        }
        return Ok(());
    }
    let (free, buffers) = channel();
    let (full, blocks) = channel();
    for _ in 0..BUFFERS {
        // The receiver lives: it is on this stack.
        let _ = free.send(Vec::new());
    }
    let (written, ranges) = channel();
    thread::scope(|scope| {
        scope.spawn(move || chunks.read_all(&buffers, &full));
        scope.spawn(move || {
            for end in ranges {
                write_back.wrote(file, end);
            }
        });
        // All ends are dropped before the scope waits, whatever the outcome: the other threads then end.
        let (free, blocks): (Sender<Vec<u8>>, Receiver<_>) = (free, blocks);
        let written: Sender<u64> = written;
        for block in blocks {
            let block: Vec<u8> = block?;
            let end = write(&block)?;
            let _ = written.send(end);
            let _ = free.send(block);
        }
        Ok(())
    })
}

/// What is still to be read.
struct Chunks<'s> {
    source: &'s dyn ReadAt,
    at: u64,
    left: u64,
}

impl Chunks<'_> {
    /// Fills the buffer with the next chunk; false if there is none.
    fn read(&mut self, buffer: &mut Vec<u8>) -> Result<bool, Failure> {
        let bytes = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        if bytes == 0 {
            return Ok(false);
        }
        buffer.resize(bytes, 0);
        copy::read_block(self.source, self.at, buffer, bytes)?;
        self.at = self.at.saturating_add(bytes as u64);
        self.left = self.left.saturating_sub(bytes as u64);
        Ok(true)
    }

    /// Reads one chunk after the other, as buffers come back, until the writer has gone or a read fails.
    fn read_all(mut self, buffers: &Receiver<Vec<u8>>, full: &Sender<Result<Vec<u8>, Failure>>) {
        while let Ok(mut buffer) = buffers.recv() {
            let read = match self.read(&mut buffer) {
                Ok(true) => Ok(buffer),
                Ok(false) => return,
                Err(failure) => Err(failure),
            };
            let failed = read.is_err();
            if full.send(read).is_err() || failed {
                return;
            }
        }
    }
}
