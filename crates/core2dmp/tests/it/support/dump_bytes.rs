//! The bytes of a dump that was planned and not written.

use core2dmp::dump::Plan;
use core2dmp::image::SegmentData;

use super::cases::Case;

impl Case {
    /// The bytes at a kernel address of the planned dump.
    pub(crate) fn dumped(&self, plan: &Plan, va: u64, bytes: usize) -> Vec<u8> {
        (va..va + bytes as u64)
            .map(|va| self.dumped_byte(plan, self.guest.translate(va).unwrap()))
            .collect()
    }

    fn dumped_byte(&self, plan: &Plan, gpa: u64) -> u8 {
        let mut at = plan.header_bytes;
        for run in &plan.runs {
            let first = run.first.gpa().get();
            if (first..first + run.bytes()).contains(&gpa) {
                at += gpa - first;
                break;
            }
            at += run.bytes();
        }
        for segment in plan.image.segments() {
            if at < segment.bytes {
                return match &segment.data {
                    SegmentData::Bytes(bytes) => bytes[at as usize],
                    SegmentData::Zeros => 0,
                    // Copied; tests of the writer compare the offsets.
                    _ => self.guest.page(gpa >> 12).unwrap()[(gpa & 0xfff) as usize],
                };
            }
            at -= segment.bytes;
        }
        panic!("{gpa:#x} is not in the dump")
    }

    /// Bytes of a pointer.
    pub(crate) fn width(&self) -> usize {
        if self.guest.expected.arch.is_64() {
            8
        } else {
            4
        }
    }
}

/// A little-endian number.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
