//! Pages that have to be decoded: on all cores, handed on in order, with bounded memory.
//!
//! ```text
//!            +-- worker: takes a free buffer, then the next block of pages, decodes it --+
//! free  -----+-- worker                                                                  +--> done --> in order
//!   ^        +-- worker                                                                  +       |
//!   +--------------------------------- the buffer comes back <----------------------------------+
//! ```
//!
//! A worker takes its buffer before its number, so the lowest number that nobody has finished always has a
//! buffer: the buffers bound the memory and cannot bring all to a halt.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::job::{CorruptPage, Failure, MAX_CORRUPT_PAGES, Written};
use crate::address::{PAGE_BYTES, PAGE_SIZE, Pfn};
use crate::memory::{DecodeError, PageDecoder, PhysicalMemory};

/// Pages of a block: 256 KiB.
const BLOCK_PAGES: u64 = 64;
/// Workers at most; with their buffers they take 48 MiB.
const MAX_WORKERS: usize = 64;

/// The memory whose pages are decoded, and what is wrong with some of them.
pub(super) struct Damage<'a> {
    memory: &'a PhysicalMemory,
    salvage: bool,
    pub(super) written: Written,
}

impl<'a> Damage<'a> {
    pub(super) fn new(memory: &'a PhysicalMemory, salvage: bool) -> Self {
        Self {
            memory,
            salvage,
            written: Written::default(),
        }
    }

    /// Takes note of a page that cannot be made, or fails for it.
    fn add(&mut self, index: u64, error: &DecodeError) -> Result<(), Failure> {
        self.written.corrupt = self.written.corrupt.saturating_add(1);
        if self.written.corrupt_pages.len() >= MAX_CORRUPT_PAGES {
            return Ok(());
        }
        let page = CorruptPage {
            gpa: self
                .memory
                .frame_of_page(index)
                .map_or_else(Default::default, Pfn::gpa),
            why: error.to_string(),
        };
        if !self.salvage {
            return Err(Failure::Page(page));
        }
        self.written.corrupt_pages.push(page);
        Ok(())
    }
}

/// Decoded pages, zeros where one could not be made.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    errors: Vec<(u64, DecodeError)>,
}

impl Block {
    /// Decodes `count` pages from `first` on; stops at the first error unless asked to continue.
    fn fill(&mut self, decoder: &dyn PageDecoder, first: u64, count: u64, go_on: bool) {
        let bytes = usize::try_from(count.saturating_mul(PAGE_SIZE)).unwrap_or(0);
        self.errors.clear();
        self.bytes.resize(bytes, 0);
        let (pages, _) = self.bytes.as_chunks_mut::<PAGE_BYTES>();
        for (index, page) in (first..).zip(pages) {
            if let Err(error) = decoder.decode(index, page) {
                page.fill(0);
                self.errors.push((index, error));
                if !go_on {
                    return;
                }
            }
        }
    }

    fn hand_on(&self, damage: &mut Damage<'_>, sink: Sink<'_>) -> Result<(), Failure> {
        for (index, error) in &self.errors {
            damage.add(*index, error)?;
        }
        sink(&self.bytes)
    }
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Failure>;

/// Decodes `pages` pages from `index` on and gives them to `sink`, in order.
pub(super) fn in_order(
    damage: &mut Damage<'_>,
    index: u64,
    pages: u64,
    sink: Sink<'_>,
) -> Result<(), Failure> {
    let Some(decoder) = damage.memory.decoder() else {
        return Err(Failure::Source {
            offset: 0,
            error: std::io::Error::other("nothing decodes its pages"),
        });
    };
    let work = Work {
        decoder,
        index,
        pages,
        salvage: damage.salvage,
        next: AtomicU64::new(0),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let blocks = usize::try_from(work.blocks()).unwrap_or(usize::MAX);
    let workers = cores.min(MAX_WORKERS).min(blocks / 2);
    if workers > 1 {
        return work.on_all_cores(workers, damage, sink);
    }
    let mut block = Block::default();
    for number in 0..work.blocks() {
        work.fill(number, &mut block);
        block.hand_on(damage, sink)?;
    }
    Ok(())
}

struct Work<'d> {
    decoder: &'d dyn PageDecoder,
    index: u64,
    pages: u64,
    salvage: bool,
    /// The next block that nobody has.
    next: AtomicU64,
}

impl Work<'_> {
    fn blocks(&self) -> u64 {
        self.pages.div_ceil(BLOCK_PAGES)
    }

    fn fill(&self, number: u64, block: &mut Block) {
        let done = number.saturating_mul(BLOCK_PAGES);
        let count = self.pages.saturating_sub(done).min(BLOCK_PAGES);
        let first = self.index.saturating_add(done);
        block.fill(self.decoder, first, count, self.salvage);
    }

    fn on_all_cores(
        &self,
        workers: usize,
        damage: &mut Damage<'_>,
        sink: Sink<'_>,
    ) -> Result<(), Failure> {
        let (free, buffers) = channel();
        let (done, results) = channel();
        let buffers = Mutex::new(buffers);
        for _ in 0..workers.saturating_mul(3) {
            // The receiver lives: it is on this stack.
            let _ = free.send(Block::default());
        }
        thread::scope(|scope| {
            for _ in 0..workers {
                let (done, buffers) = (done.clone(), &buffers);
                scope.spawn(move || self.worker(buffers, &done));
            }
            drop(done);
            // Dropped before the scope ends, whatever the outcome: workers that wait for a buffer then end.
            collect(free, results, damage, sink)
        })
    }

    fn worker(&self, buffers: &Mutex<Receiver<Block>>, done: &Sender<(u64, Block)>) {
        loop {
            let buffer = {
                let buffers = buffers.lock().unwrap_or_else(PoisonError::into_inner);
                buffers.recv()
            };
            let Ok(mut block) = buffer else {
                return;
            };
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.blocks() {
                return;
            }
            self.fill(number, &mut block);
            if done.send((number, block)).is_err() {
                return;
            }
        }
    }
}

/// Hands blocks on in the order of their numbers. Ends when all workers have ended: for want of blocks, or
/// of buffers, which come no more once this has failed.
fn collect(
    free: Sender<Block>,
    results: Receiver<(u64, Block)>,
    damage: &mut Damage<'_>,
    sink: Sink<'_>,
) -> Result<(), Failure> {
    let mut early = BTreeMap::new();
    let mut next = 0_u64;
    for (number, block) in results {
        early.insert(number, block);
        while let Some(block) = early.remove(&next) {
            block.hand_on(damage, sink)?;
            next = next.saturating_add(1);
            let _ = free.send(block);
        }
    }
    drop(free);
    Ok(())
}

/// The stretches of pages that are not zero: where each starts, and its bytes.
pub(super) fn stretches(block: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = 0_u64;
    let mut rest = block;
    // Bytes in front of which it is known that they are zero.
    let mut known = 0;
    std::iter::from_fn(move || {
        let (_, unknown) = rest.split_at(known);
        let zeros = leading(unknown, true).saturating_add(known);
        let (_, data) = rest.split_at(zeros);
        let bytes = leading(data, false);
        let (data, later) = data.split_at(bytes);
        let start = at.saturating_add(zeros as u64);
        at = start.saturating_add(bytes as u64);
        rest = later;
        known = later.len().min(PAGE_BYTES);
        (!data.is_empty()).then_some((start, data))
    })
}

/// Bytes of the pages in front that are zero, or are not.
fn leading(block: &[u8], zero: bool) -> usize {
    let pages = block.chunks(PAGE_BYTES);
    pages
        .take_while(|page| is_zero(page) == zero)
        .fold(0, |sum, page| sum.saturating_add(page.len()))
}

/// A cache line at a time: most pages that are not zero show it in the first.
fn is_zero(page: &[u8]) -> bool {
    let (lines, rest) = page.as_chunks::<64>();
    let zero = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all | byte) == 0;
    lines.iter().all(|line| zero(line)) && zero(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_leave_out_zero_pages() {
        let block: Vec<u8> = [0_u8, 1, 1, 0, 0, 2, 0]
            .into_iter()
            .flat_map(|byte| [byte; PAGE_BYTES])
            .collect();
        let found: Vec<_> = stretches(&block)
            .map(|(at, bytes)| (at, bytes.len(), bytes[0]))
            .collect();
        assert_eq!(found, [(0x1000, 0x2000, 1), (0x5000, 0x1000, 2)]);
        assert_eq!(stretches(&[]).count(), 0);
    }
}
