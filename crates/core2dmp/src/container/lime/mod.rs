//! LiME and AVML: ranges of memory, each behind a header of its own.
//!
//! ```text
//! header | bytes | header | bytes | ...                            LiME:  runs of the file
//! header | Snappy stream | length | header | Snappy stream | ...   AVML:  decoded when somebody reads
//! ```
//!
//! See docs/formats/lime.md, and `format/lime.rs` for the sources.

mod avml;

use std::sync::Arc;

use zerocopy::FromBytes;

use self::avml::{Block, Blocks};
use super::extents::{Extent, Extents};
use super::salvage::Salvage;
use super::{ContainerInfo, Guest, Hints, OpenOptions, Probe, pc};
use crate::address::{Gpa, Pfn};
use crate::error::{Error, Place, Result};
use crate::format::lime::{
    AVML_LENGTH, MAGIC_AVML, MAGIC_LIME, RangeHeader, VERSION_AVML, VERSION_LIME,
};
use crate::memory::PhysicalMemory;
use crate::source::{ReadAt, read_exact_at};

pub(super) const TITLE: &str = "LiME or AVML";
pub(super) const MAGICS: &[&[u8]] = &[&MAGIC_LIME.to_le_bytes(), &MAGIC_AVML.to_le_bytes()];

/// Ranges that are accepted; AVML writes one for each 16 MiB.
const MAX_RANGES: usize = 1 << 20;
const HEADER: u64 = size_of::<RangeHeader>() as u64;
const WHAT: &str = "header of a range";

pub(super) fn probe(probe: &Probe<'_>) -> bool {
    probe.begins_with(MAGICS)
}

pub(super) fn open(source: Arc<dyn ReadAt>, options: &OpenOptions) -> Result<Guest> {
    let mut walk = Walk {
        source: &*source,
        salvage: Salvage::new(options),
        at: 0,
        extents: Extents::default(),
        blocks: Vec::new(),
        ranges: 0,
    };
    walk.all()?;
    let (ranges, salvaged) = (walk.ranges, walk.salvage.done("file"));
    let size = source.size();
    let is_avml = !walk.blocks.is_empty();
    if is_avml && ranges > walk.blocks.len() {
        let (expected, found) = ("ranges of one kind", "some of LiME and some of AVML");
        return Err(Error::malformed(WHAT, Place::Offset(0), expected, found));
    }
    let (memory, warning) = if is_avml {
        let blocks = Blocks::new(Arc::clone(&source), walk.blocks)?;
        let (runs, warning) = (blocks.runs()?, blocks.warning());
        (
            PhysicalMemory::new(source, runs).with_decoder(Arc::new(blocks)),
            warning,
        )
    } else {
        if let Some(gpa) = walk.extents.overlap {
            return Err(twice(gpa));
        }
        let mapped = walk.extents.finish()?;
        let warning = mapped.warning();
        (mapped.memory(source), warning)
    };
    let (format, kind) = if is_avml {
        ("avml", "AVML 2, Snappy")
    } else {
        ("lime", "LiME 1")
    };
    let mut warnings = vec!["the format carries no registers".to_owned()];
    if is_avml {
        warnings.push("AVML leaves out stretches that are zeros: they count as missing".to_owned());
    }
    warnings.extend(warning);
    Ok(Guest {
        memory,
        cpus: Vec::new(),
        hints: Hints {
            not_ram: pc::not_ram(),
            ..Hints::default()
        },
        container: ContainerInfo {
            format,
            title: TITLE,
            size,
            details: vec![("kind", kind.to_owned()), ("ranges", ranges.to_string())],
            padding: 0,
            salvaged,
            warnings,
        },
    })
}

/// An address that two ranges have.
fn twice(gpa: u64) -> Error {
    let place = Place::Physical(Gpa::new(gpa));
    Error::malformed("ranges of memory", place, "every address once", "it twice")
}

/// Goes from header to header.
struct Walk<'s> {
    source: &'s dyn ReadAt,
    salvage: Salvage,
    at: u64,
    extents: Extents,
    blocks: Vec<Block>,
    ranges: usize,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<()> {
        let size = self.source.size();
        while self.at < size && !self.salvage.is_cut() {
            if self.ranges >= MAX_RANGES {
                return Err(Error::TooMany {
                    what: "ranges of memory in the container",
                    found: self.ranges as u64,
                    limit: MAX_RANGES as u64,
                });
            }
            let data = self.at.saturating_add(HEADER);
            if data > size {
                self.salvage.accept(data, size, "the header of a range")?;
                break;
            }
            let header = self.header()?;
            let extent = Extent {
                gpa: header.first.get(),
                bytes: length(&header, self.at)?,
                offset: data,
            };
            if header.magic.get() == MAGIC_LIME {
                self.lime(extent)?;
            } else {
                self.avml(extent)?;
            }
            self.ranges = self.ranges.saturating_add(1);
        }
        Ok(())
    }

    fn header(&self) -> Result<RangeHeader> {
        let mut raw = [0; size_of::<RangeHeader>()];
        read_exact_at(self.source, self.at, &mut raw, WHAT)?;
        let place = Place::Offset(self.at);
        let header = RangeHeader::read_from_bytes(&raw)
            .map_err(|_| Error::malformed(WHAT, place, "32 bytes", "fewer"))?;
        let kind = (header.magic.get(), header.version.get());
        if kind == (MAGIC_LIME, VERSION_LIME) || kind == (MAGIC_AVML, VERSION_AVML) {
            return Ok(header);
        }
        let magic = kind.0.to_le_bytes();
        Err(Error::malformed(
            WHAT,
            place,
            "EMiL version 1 or AVML version 2",
            format!("{} version {}", magic.escape_ascii(), kind.1),
        ))
    }

    fn lime(&mut self, extent: Extent) -> Result<()> {
        let end = extent.offset.saturating_add(extent.bytes);
        let size = self.source.size();
        let bytes = size.saturating_sub(extent.offset).min(extent.bytes);
        self.extents
            .push(Extent { bytes, ..extent }, "addresses of a range")?;
        if end > size {
            self.salvage
                .accept(end, size, "the rest of a range, and what followed it")?;
        }
        self.at = end;
        Ok(())
    }

    fn avml(&mut self, extent: Extent) -> Result<()> {
        if extent.end() > Pfn::END.gpa().get() {
            let expected = format!("physical addresses below {:#x}", Pfn::END.gpa());
            let found = format!("{:#x} bytes at {:#x}", extent.bytes, extent.gpa);
            let place = Place::Offset(extent.offset);
            return Err(Error::malformed(WHAT, place, expected, found));
        }
        let walked = avml::walk(self.source, extent, &mut self.blocks)?;
        let end = walked.end.saturating_add(AVML_LENGTH);
        if !walked.is_whole || end > self.source.size() {
            let missing = "the rest of a compressed range, and what followed it";
            return self.salvage.accept(end, self.source.size(), missing);
        }
        let mut stored = [0; 8];
        read_exact_at(
            self.source,
            walked.end,
            &mut stored,
            "length behind a range",
        )?;
        let (stored, found) = (
            u64::from_le_bytes(stored),
            walked.end.saturating_sub(extent.offset),
        );
        if stored != found {
            return Err(Error::malformed(
                "length behind a range",
                Place::Offset(walked.end),
                format!("{found} bytes, which the Snappy stream takes"),
                stored.to_string(),
            ));
        }
        self.at = end;
        Ok(())
    }
}

/// Bytes of a range, whose last address is included.
fn length(header: &RangeHeader, at: u64) -> Result<u64> {
    let (first, last) = (header.first.get(), header.last.get());
    let bytes = last
        .checked_sub(first)
        .and_then(|bytes| bytes.checked_add(1));
    bytes.ok_or_else(|| {
        Error::malformed(
            WHAT,
            Place::Offset(at),
            "a first and a last address",
            format!("{first:#x} and {last:#x}"),
        )
    })
}
