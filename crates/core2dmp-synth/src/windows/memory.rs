//! Guest physical memory: the frames that something was written to, and a rule for all others.
//!
//! ```text
//! frame  0      0xa0      0xc0                low end        0x100000        high end
//!        | RAM  | VGA hole | RAM              | (hole)       | RAM           |
//!        stored frames: a map;  others: zeros, or the contents that `Fill` computes
//! ```
//!
//! Frames are handed out in a scattered order, so that what is contiguous for the guest is not so for a converter.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;

/// Bytes in a frame.
pub(crate) const PAGE: usize = 4096;
/// The first frame of the VGA hole, which a Xen core leaves out.
pub(crate) const VGA_START: u64 = 0xa0;
/// The first frame behind the VGA hole.
pub(crate) const VGA_END: u64 = 0xc0;
/// The first frame at 4 GiB.
pub(crate) const HIGH_START: u64 = 0x10_0000;

/// What frames hold that nothing was written to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fill {
    /// Of a hundred such frames, so many are all zero; the rest hold pseudo-random bytes. `None`: all are zero.
    pub zero_percent: Option<u8>,
    /// So many neighbours are zero or not together; 0 and 1: each frame for itself.
    pub together: u64,
}

/// A sparse map of written frames, and the rule for the others.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    fill: Fill,
}

/// A step of xorshift64*, the generator behind all made-up contents.
pub(crate) fn scramble(mut seed: u64) -> u64 {
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

impl Frames {
    /// Creates empty memory with a rule for frames that are never written.
    pub(crate) fn new(fill: Fill) -> Self {
        Self {
            pages: BTreeMap::new(),
            fill,
        }
    }

    /// Copies the contents of a frame, written or made up, into `page` (4096 bytes). Returns whether it may be nonzero.
    pub fn read_frame(&self, pfn: u64, page: &mut [u8]) -> bool {
        if let Some(stored) = self.pages.get(&pfn) {
            page.copy_from_slice(&stored[..]);
            return true;
        }
        let Some(zero_percent) = self.fill.zero_percent else {
            page.fill(0);
            return false;
        };
        let start = |number: u64| scramble(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let chance = start(pfn / self.fill.together.max(1));
        if (chance >> 32) % 100 < u64::from(zero_percent) {
            page.fill(0);
            return false;
        }
        let mut state = start(pfn);
        for chunk in page.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        true
    }

    /// Writes bytes at a physical address; they may cross frames.
    pub fn write(&mut self, mut gpa: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let offset = (gpa % PAGE as u64) as usize;
            let length = bytes.len().min(PAGE - offset);
            let page = self
                .pages
                .entry(gpa / PAGE as u64)
                .or_insert_with(|| Box::new([0; PAGE]));
            page[offset..offset + length].copy_from_slice(&bytes[..length]);
            bytes = &bytes[length..];
            gpa += length as u64;
        }
    }

    /// Reads bytes at a physical address; they may cross frames.
    pub fn read(&self, mut gpa: u64, bytes: &mut [u8]) {
        let mut page = [0; PAGE];
        let mut done = 0;
        while done < bytes.len() {
            let offset = (gpa % PAGE as u64) as usize;
            let length = (bytes.len() - done).min(PAGE - offset);
            self.read_frame(gpa / PAGE as u64, &mut page);
            bytes[done..done + length].copy_from_slice(&page[offset..offset + length]);
            done += length;
            gpa += length as u64;
        }
    }

    /// Reads eight bytes at a physical address.
    #[must_use]
    pub fn read_u64(&self, gpa: u64) -> u64 {
        let mut bytes = [0; 8];
        self.read(gpa, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Counts the frames that were written.
    #[must_use]
    pub fn written(&self) -> usize {
        self.pages.len()
    }

    /// Whether one of these frames may be nonzero.
    #[must_use]
    pub fn any_data(&self, frames: Range<u64>) -> bool {
        self.fill.zero_percent.is_some() || self.pages.range(frames).next().is_some()
    }

    /// Whether something was written to this frame.
    #[must_use]
    pub fn is_written(&self, pfn: u64) -> bool {
        self.pages.contains_key(&pfn)
    }
}

/// Where a frame should lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Below 4 GiB.
    Low,
    /// At 4 GiB or above if the guest has such memory.
    High,
}

/// Hands out frames, scattered, each once.
#[derive(Clone, Debug)]
pub(crate) struct Allocator {
    low: Range<u64>,
    high: Option<Range<u64>>,
    taken: BTreeSet<u64>,
    next: [u64; 2],
}

impl Allocator {
    /// Creates an allocator over the two ranges of frames.
    pub(crate) fn new(low: Range<u64>, high: Option<Range<u64>>) -> Self {
        Self {
            low,
            high,
            taken: BTreeSet::new(),
            next: [0; 2],
        }
    }

    /// Keeps frames from being handed out.
    pub(crate) fn reserve(&mut self, frames: Range<u64>) {
        self.taken.extend(frames);
    }

    /// Takes one frame.
    pub(crate) fn take(&mut self, place: Place) -> u64 {
        let (which, range) = match (&self.high, place) {
            (Some(high), Place::High) => (1, high.clone()),
            _ => (0, self.low.clone()),
        };
        let length = range.end - range.start;
        // A prime larger than any of our guests: every frame is met once.
        const STEP: u64 = 15_485_863;
        for _ in 0..length {
            let pfn = range.start + self.next[which] * STEP % length;
            self.next[which] += 1;
            if self.taken.insert(pfn) {
                return pfn;
            }
        }
        panic!("the synthetic guest has too little memory; raise memory_mib");
    }

    /// Takes `count` neighbouring frames, the first a multiple of `align`.
    pub(crate) fn take_run(&mut self, place: Place, count: u64, align: u64) -> u64 {
        let range = match (&self.high, place) {
            (Some(high), Place::High) => high.clone(),
            _ => self.low.clone(),
        };
        let mut first = range.start.next_multiple_of(align);
        while first + count <= range.end {
            if self.taken.range(first..first + count).next().is_none() {
                self.reserve(first..first + count);
                return first;
            }
            first += align;
        }
        panic!("the synthetic guest has no {count} neighbouring frames; raise memory_mib");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cross_borders_and_fill_is_stable() {
        let mut frames = Frames::new(Fill {
            zero_percent: Some(40),
            together: 1,
        });
        frames.write(0x1ffe, &[1, 2, 3, 4]);
        let mut back = [0; 4];
        frames.read(0x1ffe, &mut back);
        assert_eq!(back, [1, 2, 3, 4]);
        let (mut one, mut two) = ([0; PAGE], [0; PAGE]);
        let zeros = (100..1100)
            .filter(|&pfn| !frames.read_frame(pfn, &mut one))
            .count();
        assert!((300..500).contains(&zeros), "{zeros}");
        frames.read_frame(77, &mut one);
        frames.read_frame(77, &mut two);
        assert_eq!(one, two);
    }

    #[test]
    fn allocator_hands_out_each_frame_once() {
        let mut allocator = Allocator::new(0x100..0x200, Some(HIGH_START..HIGH_START + 16));
        let run = allocator.take_run(Place::Low, 16, 16);
        let mut seen: BTreeSet<u64> = (run..run + 16).collect();
        for _ in 0..0xf0 {
            assert!(seen.insert(allocator.take(Place::Low)));
        }
        assert!(allocator.take(Place::High) >= HIGH_START);
    }
}
