//! A set of frames, as bits where there are any.
//!
//! ```text
//! chunk 0: frames 0-7fff, 4 KiB of bits    chunk 9: frames 48000-4ffff    ...
//! ```
//!
//! 1 TiB of memory are 32 MiB of bits at most.

use std::collections::BTreeMap;

use super::Frames;
use crate::address::Pfn;

/// Words of a chunk.
const WORDS: usize = 512;
/// Frames of a chunk.
const CHUNK: u64 = WORDS as u64 * 64;

type Chunk = Box<[u64; WORDS]>;

/// A set of frames.
///
/// ```
/// use core2dmp::address::Pfn;
/// use core2dmp::memory::{FrameSet, Frames};
///
/// let mut set = FrameSet::default();
/// set.insert(Frames::new(Pfn::new(5), 3));
/// assert!(set.insert_one(Pfn::new(8)) && !set.insert_one(Pfn::new(5)));
/// assert_eq!(set.runs().collect::<Vec<_>>(), [Frames::new(Pfn::new(5), 4)]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct FrameSet {
    chunks: BTreeMap<u64, Chunk>,
}

impl FrameSet {
    /// Adds a frame; whether it is new.
    pub fn insert_one(&mut self, pfn: Pfn) -> bool {
        let (chunk, word, bit) = place(pfn.get());
        let words = self.chunks.entry(chunk).or_insert_with(empty);
        let Some(word) = words.get_mut(word) else {
            return false;
        };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Adds frames.
    pub fn insert(&mut self, frames: Frames) {
        self.change(frames, |word, mask| *word |= mask);
    }

    /// Takes frames out.
    pub fn remove(&mut self, frames: Frames) {
        self.change(frames, |word, mask| *word &= !mask);
    }

    /// Whether a frame is in it.
    #[must_use]
    pub fn contains(&self, pfn: Pfn) -> bool {
        let (chunk, word, bit) = place(pfn.get());
        let words = self.chunks.get(&chunk);
        words
            .and_then(|words| words.get(word))
            .is_some_and(|word| word & bit != 0)
    }

    /// How many frames are in it.
    #[must_use]
    pub fn len(&self) -> u64 {
        let words = self.chunks.values().flat_map(|words| words.iter());
        words.fold(0, |sum, word| {
            sum.saturating_add(u64::from(word.count_ones()))
        })
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks
            .values()
            .all(|words| words.iter().all(|word| *word == 0))
    }

    /// The frames, ascending, as few ranges as there are.
    pub fn runs(&self) -> impl Iterator<Item = Frames> + '_ {
        self.runs_of(0, u64::MAX)
    }

    /// Those of these frames that are in it.
    pub fn runs_in(&self, frames: Frames) -> impl Iterator<Item = Frames> + '_ {
        let (first, end) = (frames.first, frames.end());
        let last_chunk = (end.get().saturating_sub(1) / CHUNK).max(first.get() / CHUNK);
        self.runs_of(first.get() / CHUNK, last_chunk)
            .filter_map(move |run| {
                let first = run.first.max(first);
                let end = run.end().min(end);
                (first < end).then(|| Frames::between(first, end))
            })
    }

    fn runs_of(&self, first_chunk: u64, last_chunk: u64) -> impl Iterator<Item = Frames> + '_ {
        let mut pieces = self
            .chunks
            .range(first_chunk..=last_chunk)
            .flat_map(|(chunk, words)| {
                let start = chunk.saturating_mul(CHUNK);
                let starts = (0_u64..).map(move |n| start.saturating_add(n.saturating_mul(64)));
                starts.zip(words.iter())
            })
            .flat_map(|(start, word)| pieces_of(start, *word))
            .peekable();
        std::iter::from_fn(move || {
            let mut run = pieces.next()?;
            while let Some(next) = pieces.next_if(|next| next.first == run.end()) {
                run.count = run.count.saturating_add(next.count);
            }
            Some(run)
        })
    }

    /// Words of 64 frames at a time.
    fn change(&mut self, frames: Frames, change: impl Fn(&mut u64, u64)) {
        let (mut at, end) = (frames.first.get(), frames.end().get());
        while at < end {
            let (chunk, word, _) = place(at);
            let skipped = at % 64;
            let here = end.saturating_sub(at).min(64_u64.saturating_sub(skipped));
            let mask = u64::MAX >> 64_u64.saturating_sub(here) << skipped;
            let words = self.chunks.entry(chunk).or_insert_with(empty);
            if let Some(word) = words.get_mut(word) {
                change(word, mask);
            }
            at = at.saturating_add(here);
        }
    }
}

fn empty() -> Chunk {
    Box::new([0; WORDS])
}

/// Chunk, word in it, and bit in that.
fn place(pfn: u64) -> (u64, usize, u64) {
    let word = usize::try_from(pfn % CHUNK / 64).unwrap_or(0);
    (pfn / CHUNK, word, 1 << (pfn % 64))
}

/// The ranges of set bits in one word.
fn pieces_of(start: u64, word: u64) -> impl Iterator<Item = Frames> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest == 0 {
            return None;
        }
        let first = rest.trailing_zeros();
        let count = (rest >> first).trailing_ones();
        let mask = u64::MAX
            .checked_shr(64_u32.saturating_sub(count))
            .unwrap_or(0);
        rest &= !(mask << first);
        let first = Pfn::new(start.saturating_add(first.into()));
        Some(Frames::new(first, count.into()))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a set of numbers would do it.
        #[test]
        fn like_a_set_of_numbers(
            steps in prop::collection::vec((any::<bool>(), 0_u64..70_000, 0_u64..300), 0..40),
        ) {
            let (mut set, mut naive) = (FrameSet::default(), BTreeSet::new());
            for (add, first, count) in steps {
                let frames = Frames::new(Pfn::new(first), count);
                if add {
                    set.insert(frames);
                    naive.extend(first..first + count);
                } else {
                    set.remove(frames);
                    naive.retain(|pfn| !(first..first + count).contains(pfn));
                }
            }
            let runs: Vec<Frames> = set.runs().collect();
            let frames = runs.iter().flat_map(|run| run.first.get()..run.end().get());
            prop_assert_eq!(frames.collect::<Vec<_>>(), naive.iter().copied().collect::<Vec<_>>());
            prop_assert!(runs.windows(2).all(|pair| pair[0].end() < pair[1].first));
            prop_assert_eq!(set.len(), naive.len() as u64);
            prop_assert_eq!(set.is_empty(), naive.is_empty());
            let part = Frames::new(Pfn::new(20_000), 30_000);
            let frames: Vec<u64> = set
                .runs_in(part)
                .flat_map(|run| run.first.get()..run.end().get())
                .collect();
            let wanted: Vec<u64> = naive.range(20_000..50_000).copied().collect();
            prop_assert_eq!(frames, wanted);
            for pfn in [0, 63, 64, 0x7fff, 0x8000, 69_999] {
                prop_assert_eq!(set.contains(Pfn::new(pfn)), naive.contains(&pfn));
                prop_assert_eq!(set.clone().insert_one(Pfn::new(pfn)), !naive.contains(&pfn));
            }
        }
    }
}
