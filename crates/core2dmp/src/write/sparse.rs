//! Copying what is not zero, on all cores: each takes a chunk, reads it, and writes its pages but for those of zeros.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::{Failure, copy, decode, write_all_at};
use crate::source::ReadAt;

/// Bytes that are read at once.
const CHUNK: u64 = 1 << 20;
/// Workers at most: more only wait for the memory bus.
const MAX_WORKERS: usize = 8;

/// Copies `bytes` from the source; `done` hears of each chunk, in any order.
pub(super) fn copy(
    source: &dyn ReadAt,
    from: u64,
    file: &File,
    to: u64,
    bytes: u64,
    done: &mut dyn FnMut(u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let work = Work {
        source,
        from,
        file,
        to,
        bytes,
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let chunks = usize::try_from(bytes.div_ceil(CHUNK)).unwrap_or(usize::MAX);
    let workers = cores.min(MAX_WORKERS).min(chunks / 2);
    if workers < 2 {
        let mut buffer = Vec::new();
        while let Some(copied) = work.chunk(&mut buffer) {
            done(copied?)?;
        }
        return Ok(());
    }
    let (sender, results) = channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, work) = (sender.clone(), &work);
            scope.spawn(move || work.run(&sender));
        }
        drop(sender);
        let copied = results.into_iter().try_for_each(|copied| done(copied?));
        // The scope waits for the workers, each of which has a chunk at most.
        work.stop.store(true, Ordering::Relaxed);
        copied
    })
}

struct Work<'a> {
    source: &'a dyn ReadAt,
    from: u64,
    file: &'a File,
    to: u64,
    bytes: u64,
    /// The first byte that nobody has.
    next: AtomicU64,
    stop: AtomicBool,
}

impl Work<'_> {
    fn run(&self, results: &Sender<Result<u64, Failure>>) {
        let mut buffer = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let Some(copied) = self.chunk(&mut buffer) else {
                return;
            };
            let failed = copied.is_err();
            if results.send(copied).is_err() || failed {
                return;
            }
        }
    }

    /// Copies the next chunk; `None` if there is none.
    fn chunk(&self, buffer: &mut Vec<u8>) -> Option<Result<u64, Failure>> {
        let at = self.next.fetch_add(CHUNK, Ordering::Relaxed);
        let bytes = self
            .bytes
            .checked_sub(at)
            .filter(|left| *left > 0)?
            .min(CHUNK);
        Some(self.copy(at, bytes, buffer).map(|()| bytes))
    }

    fn copy(&self, at: u64, bytes: u64, buffer: &mut Vec<u8>) -> Result<(), Failure> {
        let bytes = usize::try_from(bytes).unwrap_or(0);
        buffer.resize(bytes, 0);
        let from = self.from.saturating_add(at);
        let block = copy::read_block(self.source, from, buffer, bytes)?;
        for (skipped, stretch) in decode::stretches(block) {
            let to = self.to.saturating_add(at).saturating_add(skipped);
            write_all_at(self.file, to, stretch)?;
        }
        Ok(())
    }
}
