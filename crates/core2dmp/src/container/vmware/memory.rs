//! Where memory is: the regions that the group `memory` lists.
//!
//! ```text
//! regionPPN[n]      first frame            regionSize[n]   frames
//! regionPageNum[n]  where it is, in frames from the beginning of the block `Memory`, or of the `.vmem`
//! ```
//!
//! Without regions memory is one piece from address 0 on; VMware writes regions as soon as there is a hole.

use std::collections::BTreeMap;

use super::tags::{Block, State, Tag};
use crate::address::{PAGE_SIZE, Pfn};
use crate::error::{Error, Place, Result};
use crate::memory::{Backing, Frames, RunBuilder, SortedRuns};

/// Regions that are accepted; three were seen.
const MAX_REGIONS: u64 = 4096;
/// The platform of the group `Checkpoint` whose RAM starts at 2 GiB (`LeechCore`): ARM64.
const PLATFORM_ARM64: u64 = 3;
/// The first frame there.
const ARM64_START: u64 = 0x8_0000;

/// What the group `memory` says.
#[derive(Debug, Default)]
pub(super) struct MemoryTags {
    count: u64,
    regions: BTreeMap<u32, Region>,
    /// The memory itself, if it is in the file.
    pub(super) block: Option<Block>,
    /// More blocks of memory than that.
    pub(super) has_more_blocks: bool,
    /// The machine has ARM64 processors.
    pub(super) is_arm64: bool,
}

#[derive(Debug, Default)]
struct Region {
    at: u64,
    ppn: Option<u64>,
    page: Option<u64>,
    frames: Option<u64>,
}

/// Frames, and their number in the file.
#[derive(Debug, Clone, Copy)]
struct Piece {
    frames: Frames,
    page: u64,
}

/// Frames of the container.
pub(super) struct Placed {
    pub(super) runs: SortedRuns,
    pub(super) regions: u64,
    /// Bytes that the memory should have, and the file is too short for them.
    pub(super) cut: Option<u64>,
}

impl MemoryTags {
    /// Reads the group into `self`, which after an error holds what came before it.
    pub(super) fn read(&mut self, state: &State<'_>) -> Result<()> {
        state.each("Checkpoint", &mut |tag| {
            if tag.name == b"Platform" && tag.indices.is_empty() {
                self.is_arm64 = tag.number() == Some(PLATFORM_ARM64);
            }
            Ok(())
        })?;
        state.each("memory", &mut |tag| self.take(&tag))
    }

    pub(super) const fn has_regions(&self) -> bool {
        self.count > 0
    }

    fn take(&mut self, tag: &Tag) -> Result<()> {
        if tag.name == b"Memory" {
            if let Some(block) = tag.block.filter(|block| block.bytes > 0) {
                self.has_more_blocks |= self.block.is_some();
                self.block.get_or_insert(block);
            }
            return Ok(());
        }
        let Some(number) = tag.number() else {
            return Ok(());
        };
        match (tag.name.as_slice(), tag.indices.as_slice()) {
            (b"regionsCount", []) => {
                limit(number)?;
                self.count = number;
            }
            (b"regionPPN", [index]) => self.region(tag, *index)?.ppn = Some(number),
            (b"regionPageNum", [index]) => self.region(tag, *index)?.page = Some(number),
            (b"regionSize", [index]) => self.region(tag, *index)?.frames = Some(number),
            _ => {}
        }
        Ok(())
    }

    fn region(&mut self, tag: &Tag, index: u32) -> Result<&mut Region> {
        limit(u64::from(index).saturating_add(1))?;
        let region = self.regions.entry(index).or_default();
        region.at = tag.at;
        Ok(region)
    }

    /// The regions, or all of memory as one.
    fn pieces(&self, file: u64) -> Result<Vec<Piece>> {
        if self.count == 0 {
            let first = Pfn::new(if self.is_arm64 { ARM64_START } else { 0 });
            return Ok(vec![Piece {
                frames: Frames::new(first, file / PAGE_SIZE),
                page: 0,
            }]);
        }
        (0..u32::try_from(self.count).unwrap_or(0))
            .map(|index| {
                let none = Region::default();
                let region = self.regions.get(&index).unwrap_or(&none);
                // One region needs no place (Rekall).
                let page = region.page.or((self.count == 1).then_some(0));
                let (Some(ppn), Some(frames), Some(page)) = (region.ppn, region.frames, page)
                else {
                    return Err(Error::malformed(
                        "regions of memory",
                        Place::Offset(region.at),
                        format!("{} regions, each with frame, place and size", self.count),
                        format!("region {index} without"),
                    ));
                };
                Ok(Piece {
                    frames: Frames::new(Pfn::new(ppn), frames),
                    page,
                })
            })
            .collect()
    }

    /// Places them in a file whose memory starts at `start` and has `file` bytes.
    pub(super) fn place(&self, start: u64, file: u64) -> Result<Placed> {
        let present = file / PAGE_SIZE;
        let mut runs = RunBuilder::default();
        let mut cut = None;
        for Piece { frames, page } in self.pieces(file)? {
            let end = page.saturating_add(frames.count);
            if end > present {
                cut = cut.max(Some(end.saturating_mul(PAGE_SIZE)));
            }
            // A region that cannot be is refused even where the file is too short for it.
            if frames.end() > Pfn::END {
                return Err(Error::TooMany {
                    what: "a page frame number of the container",
                    found: frames.end().get().saturating_sub(1),
                    limit: Pfn::END.get().saturating_sub(1),
                });
            }
            let count = present.saturating_sub(page).min(frames.count);
            if count > 0 {
                let offset = start.saturating_add(page.saturating_mul(PAGE_SIZE));
                runs.push(Frames::new(frames.first, count), Backing::File { offset })?;
            }
        }
        let runs = runs.finish().map_err(|overlap| {
            let place = Place::Physical(overlap.pfn.gpa());
            Error::malformed("regions of memory", place, "every frame once", "it twice")
        })?;
        Ok(Placed {
            runs,
            regions: self.count,
            cut,
        })
    }
}

fn limit(regions: u64) -> Result<()> {
    if regions > MAX_REGIONS {
        return Err(Error::TooMany {
            what: "regions of memory",
            found: regions,
            limit: MAX_REGIONS,
        });
    }
    Ok(())
}
