//! A file in memory that fails where a test wants: killed between two calls, or without power inside one.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use super::super::disk::Disk;
use super::super::span::{DataMap, Span};

/// Bytes of a block.
pub(super) const BLOCK: usize = 4;

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Killed before the call.
    Before,
    /// Killed after it.
    After,
    /// The power goes during it; what was never flushed is there or not, by this seed.
    Power(u64),
}

/// Counts calls that change something, of all files of one run.
#[derive(Debug)]
pub(super) struct Fuse {
    left: Cell<usize>,
    end: End,
    random: Cell<u64>,
    pub(super) is_blown: Cell<bool>,
}

impl Fuse {
    pub(super) fn new(calls: usize, end: End) -> Rc<Self> {
        let seed = if let End::Power(seed) = end { seed } else { 0 };
        Rc::new(Self {
            left: Cell::new(calls),
            end,
            random: Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            is_blown: Cell::new(false),
        })
    }

    /// A number below `below`.
    fn random(&self, below: usize) -> usize {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        (x % below.max(1) as u64) as usize
    }

    pub(super) fn used(&self, calls: usize) -> usize {
        calls - self.left.get()
    }
}

/// The contents of a file; a hole reads as zeros.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// Of blocks.
    pub(super) is_data: Vec<bool>,
}

#[derive(Debug, Clone)]
enum Change {
    Size(usize),
    Collapse(Span),
    Insert(Span),
    Punch(Span),
    Write(usize, Vec<u8>),
    Sync,
}

impl Content {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let blocks = bytes.len().div_ceil(BLOCK);
        Self {
            bytes,
            is_data: vec![true; blocks],
        }
    }

    fn resize(&mut self, size: usize) {
        self.bytes.resize(size, 0);
        self.is_data.resize(size.div_ceil(BLOCK), false);
        self.bytes.resize(size, 0);
    }

    fn hole(&mut self, range: Span) {
        let (at, end) = (
            range.at as usize,
            (range.end() as usize).min(self.bytes.len()),
        );
        if at < end {
            self.bytes[at..end].fill(0);
            for block in at.div_ceil(BLOCK)..end / BLOCK {
                self.is_data[block] = false;
            }
        }
    }

    /// Moves the blocks from `from` up to `end` so that they begin at `to`; holes move, too.
    fn shift(&mut self, from: usize, end: usize, to: usize) {
        let bytes = self.bytes[from..end].to_vec();
        let is_data = self.is_data[from / BLOCK..end / BLOCK].to_vec();
        self.hole(Span::between(from as u64, end as u64));
        self.bytes[to..to + bytes.len()].copy_from_slice(&bytes);
        self.is_data[to / BLOCK..to / BLOCK + is_data.len()].copy_from_slice(&is_data);
    }

    /// All of a change, or as much as `stop` says: as Linux does it, extent by extent.
    fn apply(&mut self, change: &Change, stop: Option<&Fuse>) {
        let torn = |below: usize| stop.map(|fuse| fuse.random(below));
        match change {
            Change::Sync => {}
            // One transaction of the file system.
            Change::Size(size) => self.resize(*size),
            Change::Punch(range) => {
                let blocks = range.bytes as usize / BLOCK;
                let bytes = torn(blocks + 1).map_or(range.bytes, |n| (n * BLOCK) as u64);
                self.hole(Span::between(range.end() - bytes, range.end()));
            }
            Change::Write(at, bytes) => {
                let bytes = &bytes[..torn(bytes.len() + 1).unwrap_or(bytes.len())];
                let end = at + bytes.len();
                if bytes.is_empty() {
                    return;
                }
                if end > self.bytes.len() {
                    self.resize(end);
                }
                self.bytes[*at..end].copy_from_slice(bytes);
                self.is_data[at / BLOCK..end.div_ceil(BLOCK)].fill(true);
            }
            Change::Collapse(range) => {
                let (at, bytes, size) = (range.at as usize, range.bytes as usize, self.bytes.len());
                assert!(at.is_multiple_of(BLOCK) && bytes.is_multiple_of(BLOCK));
                assert!(
                    at + bytes < size,
                    "a collapse that reaches the end is refused"
                );
                if torn(4) == Some(0) {
                    return self.apply(&Change::Punch(*range), stop);
                }
                self.hole(*range);
                let whole = size.next_multiple_of(BLOCK);
                let blocks = (whole - at - bytes) / BLOCK;
                let moved = torn(blocks + 1).unwrap_or(blocks);
                self.bytes.resize(whole, 0);
                self.shift(at + bytes, at + bytes + moved * BLOCK, at);
                self.bytes.truncate(size);
                if stop.is_none() {
                    self.resize(size - bytes);
                }
            }
            Change::Insert(range) => {
                let (at, bytes, size) = (range.at as usize, range.bytes as usize, self.bytes.len());
                assert!(at.is_multiple_of(BLOCK) && bytes.is_multiple_of(BLOCK) && at < size);
                if torn(4) == Some(0) {
                    return;
                }
                let whole = size.next_multiple_of(BLOCK);
                self.resize(whole + bytes);
                let blocks = (whole - at) / BLOCK;
                let moved = torn(blocks + 1).unwrap_or(blocks);
                self.shift(whole - moved * BLOCK, whole, whole - moved * BLOCK + bytes);
                self.resize(size + bytes);
            }
        }
    }
}

/// A file.
#[derive(Debug, Clone)]
pub(super) struct Sim {
    fuse: Rc<Fuse>,
    now: Content,
    flushed: Content,
    pending: Vec<Change>,
    after: Rc<RefCell<Content>>,
}

impl Sim {
    /// A file whose state after the end is left in `after`.
    pub(super) fn new(content: Content, fuse: Rc<Fuse>, after: Rc<RefCell<Content>>) -> Self {
        *after.borrow_mut() = content.clone();
        Self {
            fuse,
            flushed: content.clone(),
            now: content,
            pending: Vec::new(),
            after,
        }
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        let broken = || io::Error::other("broken off");
        if self.fuse.is_blown.get() {
            return Err(broken());
        }
        let left = self.fuse.left.get();
        if left == 0 {
            self.fuse.is_blown.set(true);
            if self.fuse.end == End::After {
                self.apply(change.clone());
            }
            if let End::Power(_) = self.fuse.end {
                self.pending.push(change);
                self.now = self.lose_power();
            }
            *self.after.borrow_mut() = self.now.clone();
            return Err(broken());
        }
        self.fuse.left.set(left - 1);
        self.apply(change);
        // The other file may be the one whose call ends the run.
        *self.after.borrow_mut() = match self.fuse.end {
            End::Power(_) => self.lose_power(),
            _ => self.now.clone(),
        };
        Ok(())
    }

    fn apply(&mut self, change: Change) {
        if matches!(change, Change::Sync) {
            self.flushed = self.now.clone();
            self.pending.clear();
            return;
        }
        self.now.apply(&change, None);
        self.pending.push(change);
    }

    /// Changes of the file's structure are there up to one of them; writes before it are there or not.
    fn lose_power(&self) -> Content {
        let mut content = self.flushed.clone();
        let kept = self.fuse.random(self.pending.len() + 1);
        for (n, change) in self.pending.iter().enumerate().take(kept) {
            let is_last = n + 1 == kept;
            let skipped = matches!(change, Change::Write(..)) && self.fuse.random(3) == 0;
            if is_last && self.fuse.random(4) > 0 {
                content.apply(change, Some(&self.fuse));
            } else if !skipped {
                content.apply(change, None);
            }
        }
        content
    }
}

impl Disk for Sim {
    fn size(&self) -> io::Result<u64> {
        Ok(self.now.bytes.len() as u64)
    }

    fn set_size(&mut self, bytes: u64) -> io::Result<()> {
        self.change(Change::Size(bytes as usize))
    }

    fn collapse(&mut self, range: Span) -> io::Result<()> {
        self.change(Change::Collapse(range))
    }

    fn insert(&mut self, range: Span) -> io::Result<()> {
        self.change(Change::Insert(range))
    }

    fn punch(&mut self, range: Span) -> io::Result<()> {
        self.change(Change::Punch(range))
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = at as usize;
        let from = self.now.bytes.get(at..at + buffer.len());
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Change::Write(at as usize, bytes.to_vec()))
    }

    fn take(&mut self, to: u64, other: &Self, from: Span) -> io::Result<()> {
        let mut bytes = vec![0; from.bytes as usize];
        other.read(from.at, &mut bytes)?;
        self.write(to, &bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.change(Change::Sync)
    }

    fn data(&self, at: u64) -> io::Result<DataMap> {
        let size = self.now.bytes.len() as u64;
        let mut map = DataMap::default();
        for (n, _) in self.now.is_data.iter().enumerate().filter(|(_, is)| **is) {
            let block = Span::between((n * BLOCK) as u64, ((n + 1) * BLOCK) as u64);
            map.push(Span::between(block.at.max(at), block.end().min(size)));
        }
        Ok(map)
    }
}
