//! Reading all of memory once, in large blocks.

use std::ops::ControlFlow;

use super::{Backing, Frames, MemoryError, PhysicalMemory};
use crate::address::{Gpa, PAGE_SIZE};
use crate::source::hole_at;

/// Bytes of a block at most; a multiple of every page table's size.
pub const SCAN_BLOCK: usize = 1 << 20;
/// Frames of a block that a decoder makes, on all cores.
const DECODED_BLOCK: u64 = SCAN_BLOCK as u64 / PAGE_SIZE;
/// Frames of a block that is read: 256 KiB, which is still in the core's own cache when it is looked at.
const READ_BLOCK: u64 = DECODED_BLOCK / 4;

/// A block that could not be scanned.
#[derive(Debug, Clone)]
pub struct ScanGap {
    /// The frames that were skipped.
    pub frames: Frames,
    /// The reason.
    pub error: MemoryError,
}

impl PhysicalMemory {
    /// Calls `visit` with every present block in `frames`, ascending, at most [`SCAN_BLOCK`] bytes each,
    /// starting and ending at frame borders. Frames that the container holds as zeros, or as a hole of its file,
    /// are skipped, as are blocks that cannot be read; the latter are returned.
    pub fn scan(
        &self,
        frames: Frames,
        mut visit: impl FnMut(Gpa, &[u8]) -> ControlFlow<()>,
    ) -> Vec<ScanGap> {
        let mut buffer = vec![0; SCAN_BLOCK];
        let mut gaps = Vec::new();
        for (piece, backing) in self.pieces(frames) {
            if matches!(backing, None | Some(Backing::Zero)) {
                continue;
            }
            let most = match backing {
                Some(Backing::Encoded { .. }) => DECODED_BLOCK,
                _ => READ_BLOCK,
            };
            let mut at = piece.first;
            // A page that is corrupt must not hide those beside it: up to here they are read one by one.
            let mut alone = at;
            while at < piece.end() {
                let skipped = at.frames_since(piece.first);
                let hole = self.hole(backing.map(|backing| backing.skip(skipped)));
                if hole > 0 {
                    at = at.saturating_add(hole);
                    continue;
                }
                let most = if at < alone { 1 } else { most };
                let count = piece.end().frames_since(at).min(most);
                let block = Frames::new(at, count);
                let bytes = usize::try_from(block.bytes()).unwrap_or(SCAN_BLOCK);
                at = block.end();
                let Some(buf) = buffer.get_mut(..bytes) else {
                    continue;
                };
                match self.read(block.first.gpa(), buf) {
                    Ok(()) => {
                        if visit(block.first.gpa(), buf).is_break() {
                            return gaps;
                        }
                    }
                    Err(MemoryError::Corrupt { .. }) if count > 1 => {
                        alone = block.end();
                        at = block.first;
                    }
                    Err(error) => gaps.push(ScanGap {
                        frames: block,
                        error,
                    }),
                }
            }
        }
        gaps
    }

    /// Whole frames of hole in the container's file, which are zeros and need not be read.
    fn hole(&self, backing: Option<Backing>) -> u64 {
        match backing {
            Some(Backing::File { offset }) => hole_at(&**self.source(), offset) / PAGE_SIZE,
            _ => 0,
        }
    }
}
