//! Which frames the guest has, which Windows counts, and which a container holds.
//!
//! ```text
//! Windows    [1..0x9f)        [0x100 .. low end - 0x20)            [0x100000 .. high end)    MmPhysicalMemoryBlock
//! container  [0..0xa0) [0xc0 .. low end)                           [0x100000 .. high end)    less ballooned, less gaps
//! ARM64      [start .. +0x80) [+0x100 .. end - 0x20)                both without a hole
//! ```
//!
//! Reference: the run tables of real cores of Xen 4.17, where Windows leaves frame 0, frame 0x9f, the firmware's area
//! below 1 MiB and the last frames of low memory (firmware tables) out.

use std::ops::Range;

use crate::windows::arch::Arch;
use crate::windows::memory::{HIGH_START, VGA_END, VGA_START};
use crate::windows::spec::GuestSpec;

/// Frames at the end of low memory that firmware keeps.
const FIRMWARE_FRAMES: u64 = 0x20;
/// Frames below 4 GiB at most, where there are others above: 3 GiB.
const MOST_LOW: u64 = 0xc_0000;
/// Frames per additional run: one missing, three present.
const SPLIT: u64 = 4;

/// The guest's physical address space.
#[derive(Clone, Debug)]
pub(crate) struct RamMap {
    pub(crate) runs: Vec<(u64, u64)>,
    pub(crate) present: Vec<(u64, u64)>,
    pub(crate) missing: Vec<(u64, u64)>,
    /// Where structures may be put.
    pub(crate) low: Range<u64>,
    pub(crate) high: Option<Range<u64>>,
}

impl RamMap {
    /// Lays the guest's memory out.
    pub(crate) fn new(spec: &GuestSpec) -> Self {
        if spec.layout.arch == Arch::Arm64 {
            return Self::of_arm64(spec);
        }
        let frames = spec.memory_mib * 256;
        let low_end = if spec.above_4g {
            (frames / 2).min(MOST_LOW)
        } else {
            frames
        };
        assert!(
            low_end >= if spec.above_4g { 0xc00 } else { 0x1400 },
            "the guest needs more memory"
        );
        let high = spec
            .above_4g
            .then(|| HIGH_START..HIGH_START + frames - low_end);
        let mut runs = vec![(1, 0x9e), (0x100, low_end - FIRMWARE_FRAMES - 0x100)];
        let mut present = vec![(0, VGA_START), (VGA_END, low_end - VGA_END)];
        if let Some(high) = &high {
            runs.push((high.start, high.end - high.start));
            present.push((high.start, high.end - high.start));
        }
        let gaps = split_last(&mut runs, spec.runs);
        for &gap in &gaps {
            subtract(&mut present, gap, 1);
        }
        let mut missing = Vec::new();
        for &(first, count) in &spec.ballooned {
            missing.extend(intersect(&present, first, count));
            subtract(&mut present, first, count);
        }
        missing.sort_unstable();
        let first_gap = gaps.first().copied().unwrap_or(u64::MAX);
        Self {
            low: 0x100..(low_end - FIRMWARE_FRAMES).min(first_gap),
            high: high.map(|high| high.start..high.end.min(first_gap)),
            runs,
            present,
            missing,
        }
    }

    /// One piece of RAM, where the machine has it; its firmware keeps frames near both ends.
    fn of_arm64(spec: &GuestSpec) -> Self {
        assert!(!spec.above_4g && spec.runs == 0, "not made for ARM64");
        let (start, frames) = (spec.ram_start, spec.memory_mib * 256);
        assert!(frames >= 0x1400, "the guest needs more memory");
        let end = start + frames - FIRMWARE_FRAMES;
        let mut present = vec![(start, frames)];
        let mut missing = Vec::new();
        for &(first, count) in &spec.ballooned {
            missing.extend(intersect(&present, first, count));
            subtract(&mut present, first, count);
        }
        missing.sort_unstable();
        Self {
            low: start + 0x100..end,
            high: None,
            runs: vec![(start, 0x80), (start + 0x100, end - start - 0x100)],
            present,
            missing,
        }
    }
}

/// Splits the last run until there are `wanted` runs; returns the frames that fell out.
fn split_last(runs: &mut Vec<(u64, u64)>, wanted: usize) -> Vec<u64> {
    let extra = wanted.saturating_sub(runs.len()) as u64;
    let last = runs.last_mut().unwrap();
    assert!(extra * SPLIT < last.1 / 2, "too many runs for this memory");
    last.1 -= extra * SPLIT;
    let start = last.0 + last.1;
    let gaps: Vec<u64> = (0..extra).map(|i| start + i * SPLIT).collect();
    runs.extend(gaps.iter().map(|&gap| (gap + 1, SPLIT - 1)));
    gaps
}

/// Takes frames out of a list of runs.
fn subtract(runs: &mut Vec<(u64, u64)>, first: u64, count: u64) {
    let end = first + count;
    *runs = runs
        .iter()
        .flat_map(|&(start, length)| {
            let stop = start + length;
            [(start, stop.min(first)), (start.max(end), stop)]
        })
        .filter(|&(start, stop)| start < stop)
        .map(|(start, stop)| (start, stop - start))
        .collect();
}

/// The parts of a list of runs that lie in a range.
fn intersect(runs: &[(u64, u64)], first: u64, count: u64) -> Vec<(u64, u64)> {
    runs.iter()
        .map(|&(start, length)| (start.max(first), (start + length).min(first + count)))
        .filter(|&(start, stop)| start < stop)
        .map(|(start, stop)| (start, stop - start))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_map_is_that_of_a_real_core() {
        let map = RamMap::new(&GuestSpec::windows10());
        assert_eq!(map.runs, [(1, 0x9e), (0x100, 0x1ee0)]);
        assert_eq!(map.present, [(0, 0xa0), (0xc0, 0x1f40)]);
    }

    #[test]
    fn splits_and_balloons() {
        let map = RamMap::new(&GuestSpec::windows10().runs(50).ballooned(0x1800, 4));
        assert_eq!(map.runs.len(), 50);
        assert_eq!(map.missing, [(0x1800, 4)]);
        let counted: u64 = map.runs.iter().map(|run| run.1).sum();
        assert_eq!(counted, 0x9e + 0x1ee0 - 48);
        assert!(map.low.end < map.runs[2].0);
    }
}
