//! Windows' memory over a container's: what both have, and what only one of them has.
//!
//! ```text
//! Windows       |-----------|      |--------------------|
//! container  |------------|          |---------------------|
//!            only  both   missing  missing    both        only
//! ```

use super::{Frames, PhysicalMemory};
use crate::address::Pfn;

/// Ranges of missing frames that are listed.
const MAX_MISSING: usize = 64;

/// Which of the two has a range of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Windows counts them and the container has them.
    Both,
    /// The container has them and Windows does not count them, such as frame 0, ROM and video memory.
    Container,
    /// Windows counts them and the container lacks them.
    Missing,
}

/// How many frames each of the two has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// Frames that Windows counts.
    pub windows: u64,
    /// Of those, how many the container lacks.
    pub missing: u64,
    /// The first ranges of them.
    pub missing_ranges: Vec<Frames>,
    /// Frames that only the container has.
    pub container_only: u64,
}

/// Counts the frames of a container, and those that Windows counts, by which of the two has them.
#[must_use]
pub fn coverage(memory: &PhysicalMemory, windows: &[Frames]) -> Coverage {
    let counted = Frames::total(windows);
    let mut missing = 0_u64;
    let mut missing_ranges = Vec::new();
    for run in windows {
        for (piece, backing) in memory.pieces(*run) {
            if backing.is_none() {
                missing = missing.saturating_add(piece.count);
                if missing_ranges.len() < MAX_MISSING {
                    missing_ranges.push(piece);
                }
            }
        }
    }
    let both = counted.saturating_sub(missing);
    Coverage {
        windows: counted,
        missing,
        missing_ranges,
        container_only: memory.frame_count().saturating_sub(both),
    }
}

/// The map from the lowest frame to the highest; frames that neither has are left out. Both inputs ascend.
pub fn ranges<'a>(
    memory: &'a PhysicalMemory,
    windows: &'a [Frames],
) -> impl Iterator<Item = (Frames, Side)> + 'a {
    let mut at = Pfn::new(0);
    let mut pieces = std::iter::from_fn(move || {
        loop {
            let (in_windows, next_windows) = look(windows, |run| *run, at);
            let (in_container, next_container) = look(memory.runs(), |run| run.frames, at);
            let start = at;
            at = match (next_windows, next_container) {
                (Some(one), Some(other)) => one.min(other),
                (Some(next), None) | (None, Some(next)) => next,
                (None, None) => return None,
            };
            let frames = Frames::between(start, at);
            match (in_windows, in_container) {
                (true, true) => return Some((frames, Side::Both)),
                (true, false) => return Some((frames, Side::Missing)),
                (false, true) => return Some((frames, Side::Container)),
                (false, false) => {}
            }
        }
    })
    .peekable();
    std::iter::from_fn(move || {
        let (mut frames, kind) = pieces.next()?;
        while let Some((next, _)) =
            pieces.next_if(|(next, other)| *other == kind && next.first == frames.end())
        {
            frames = Frames::between(frames.first, next.end());
        }
        Some((frames, kind))
    })
}

/// Whether `at` is in one of the ascending runs, and where that changes next.
fn look<T>(runs: &[T], frames: impl Fn(&T) -> Frames, at: Pfn) -> (bool, Option<Pfn>) {
    let index = runs.partition_point(|run| frames(run).end() <= at);
    match runs.get(index).map(frames) {
        Some(run) if run.contains(at) => (true, Some(run.end())),
        Some(run) => (false, Some(run.first)),
        None => (false, None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::memory::{Backing, RunBuilder};

    use super::*;

    fn frames(first: u64, count: u64) -> Frames {
        Frames::new(Pfn::new(first), count)
    }

    #[test]
    fn the_picture_above() {
        let mut runs = RunBuilder::default();
        for (first, count, offset) in [(0, 5, 0), (5, 3, 0x9000), (12, 10, 0x20000)] {
            runs.push(frames(first, count), Backing::File { offset })
                .unwrap();
        }
        let memory = PhysicalMemory::new(Arc::new(Vec::new()), runs.finish().unwrap());
        let windows = [frames(1, 9), frames(11, 8)];
        let expected = [
            (frames(0, 1), Side::Container),
            (frames(1, 7), Side::Both),
            (frames(8, 2), Side::Missing),
            (frames(11, 1), Side::Missing),
            (frames(12, 7), Side::Both),
            (frames(19, 3), Side::Container),
        ];
        assert_eq!(ranges(&memory, &windows).collect::<Vec<_>>(), expected);
        let coverage = coverage(&memory, &windows);
        assert_eq!(
            (coverage.windows, coverage.missing, coverage.container_only),
            (17, 3, 4)
        );
        assert_eq!(coverage.missing_ranges, [frames(8, 2), frames(11, 1)]);
    }
}
