//! Header and sub header: where everything is.

use zerocopy::{FromBytes, FromZeros};

use crate::address::PAGE_SIZE;
use crate::error::{Error, Place, Result};
use crate::format::kdump::{
    NUMBERS_32, NUMBERS_64, Numbers, SIGNATURE, SUB_HEADER_32_VERSION_2, SUB_HEADER_32_VERSION_4,
    SUB_HEADER_64_VERSION_2, SUB_HEADER_64_VERSION_4, SubHeader32, SubHeader64, VERSION, VERSIONS,
};
use crate::format::u32_at;
use crate::source::{ReadAt, read_exact_at};

/// Bytes of the header that count.
const HEADER_BYTES: usize = NUMBERS_64 + size_of::<Numbers>();
/// Frames that are accepted: 256 TiB. Their bitmap is read, be it a hole in the file or not.
const MAX_FRAMES: u64 = 1 << 36;

/// What is needed of both headers.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) is_64bit: bool,
    pub(super) numbers: Numbers,
    pub(super) max_mapnr: u64,
    /// The frames of this part of a split dump: first, and one past the last.
    pub(super) split: Option<(u64, u64)>,
    /// Offset and bytes.
    pub(super) notes: (u64, u64),
    /// Offset of the sub header.
    pub(super) sub_header: u64,
    /// Offset and bytes of the bitmap that says which frames the file has.
    pub(super) bitmap: (u64, u64),
    /// Offset of the page descriptors.
    pub(super) descriptors: u64,
}

impl Header {
    pub(super) fn read(source: &dyn ReadAt) -> Result<Self> {
        let mut head = [0; HEADER_BYTES];
        read_exact_at(source, 0, &mut head, "kdump header")?;
        if !head.starts_with(SIGNATURE) {
            return Err(Error::malformed(
                "kdump header",
                Place::Offset(0),
                "KDUMP",
                head.first_chunk::<8>()
                    .map_or_else(String::new, |first| first.escape_ascii().to_string()),
            ));
        }
        let version = u32_at(&head, VERSION).unwrap_or(0);
        if !VERSIONS.contains(&version) {
            return Err(Error::malformed(
                "version of the kdump header",
                Place::Offset(VERSION as u64),
                "1 to 6",
                version.to_string(),
            ));
        }
        let (is_64bit, numbers) = numbers(&head)?;
        let mut header = Self {
            version,
            is_64bit,
            max_mapnr: u64::from(numbers.max_mapnr.get()),
            numbers,
            split: None,
            notes: (0, 0),
            sub_header: PAGE_SIZE,
            bitmap: (0, 0),
            descriptors: 0,
        };
        header.sub_header(source)?;
        if header.max_mapnr > MAX_FRAMES {
            return Err(Error::TooMany {
                what: "frames in a kdump",
                found: header.max_mapnr,
                limit: MAX_FRAMES,
            });
        }
        header.places()?;
        Ok(header)
    }

    fn sub_header(&mut self, source: &dyn ReadAt) -> Result<()> {
        let mut raw = [0; size_of::<SubHeader64>()];
        let blocks = u64::from(self.numbers.sub_header_blocks.get());
        if blocks == 0 {
            return Ok(());
        }
        // Those of old versions are shorter; what they lack is not looked at.
        let bytes = match (self.version, self.is_64bit) {
            (..2, _) => 0,
            (2..4, true) => SUB_HEADER_64_VERSION_2,
            (2..4, false) => SUB_HEADER_32_VERSION_2,
            (4..6, true) => SUB_HEADER_64_VERSION_4,
            (4..6, false) => SUB_HEADER_32_VERSION_4,
            (_, true) => size_of::<SubHeader64>(),
            (_, false) => size_of::<SubHeader32>(),
        };
        let part = raw.get_mut(..bytes).unwrap_or_default();
        read_exact_at(source, self.sub_header, part, "kdump sub header")?;
        let sub = if self.is_64bit {
            SubHeader64::read_from_prefix(&raw).ok().map(|(sub, _)| sub)
        } else {
            SubHeader32::read_from_prefix(&raw)
                .ok()
                .map(|(sub, _)| widen(&sub))
        };
        let Some(sub) = sub else {
            return Ok(());
        };
        let (mut start, mut end) = (sub.start_pfn.get(), sub.end_pfn.get());
        if self.version >= 6 {
            (start, end) = (sub.start_pfn_64.get(), sub.end_pfn_64.get());
            self.max_mapnr = sub.max_mapnr_64.get();
        }
        if self.version >= 2 && sub.split.get() != 0 {
            self.split = Some((start, end));
        }
        if self.version >= 4 && sub.note_offset.get() != 0 {
            self.notes = (sub.note_offset.get(), sub.note_bytes.get());
        }
        Ok(())
    }

    /// Where bitmaps and descriptors are.
    fn places(&mut self) -> Result<()> {
        let blocks = |count: u64| count.saturating_mul(PAGE_SIZE);
        let bitmaps = u64::from(self.numbers.bitmap_blocks.get());
        let needed = self.max_mapnr.div_ceil(8).div_ceil(PAGE_SIZE);
        let start = u64::from(self.numbers.sub_header_blocks.get()).saturating_add(1);
        // With room for two, the second says what the file has. A whole dump may have only one.
        let second = if bitmaps >= needed.saturating_mul(2) {
            bitmaps / 2
        } else {
            0
        };
        if bitmaps < needed {
            return Err(Error::malformed(
                "blocks of the bitmaps in the kdump header",
                Place::Offset(0),
                format!(
                    "{} for {:#x} frames",
                    needed.saturating_mul(2),
                    self.max_mapnr
                ),
                bitmaps.to_string(),
            ));
        }
        self.bitmap = (
            blocks(start.saturating_add(second)),
            self.max_mapnr.div_ceil(8),
        );
        self.descriptors = blocks(start.saturating_add(bitmaps));
        Ok(())
    }

    /// Version and width, in words.
    pub(super) fn describe(&self) -> String {
        let width = if self.is_64bit { 64 } else { 32 };
        format!("header version {}, {width} bit", self.version)
    }

    /// The frames that this file is about.
    pub(super) fn frames(&self) -> (u64, u64) {
        let (start, end) = self.split.unwrap_or((0, self.max_mapnr));
        (start, end.min(self.max_mapnr))
    }
}

/// The numbers, where they make sense: nothing in the header says how wide its writer was.
fn numbers(head: &[u8]) -> Result<(bool, Numbers)> {
    let at = |offset: usize| {
        let bytes = head.get(offset..).unwrap_or_default();
        Numbers::read_from_prefix(bytes)
            .ok()
            .map(|(numbers, _)| numbers)
    };
    let sane = |numbers: &Numbers| {
        u64::from(numbers.block_size.get()) == PAGE_SIZE && numbers.bitmap_blocks.get() != 0
    };
    let wide = at(NUMBERS_64);
    let narrow = at(NUMBERS_32);
    for (is_64bit, numbers) in [(true, &wide), (false, &narrow)] {
        if let Some(numbers) = numbers.as_ref().filter(|numbers| sane(numbers)) {
            return Ok((is_64bit, numbers.clone()));
        }
    }
    let found = wide.map_or(0, |numbers| numbers.block_size.get());
    Err(Error::malformed(
        "block size in the kdump header",
        Place::Offset(NUMBERS_64 as u64),
        format!("{PAGE_SIZE}, and blocks of bitmaps"),
        found.to_string(),
    ))
}

fn widen(sub: &SubHeader32) -> SubHeader64 {
    let mut wide = SubHeader64::new_zeroed();
    wide.split = sub.split;
    wide.start_pfn = u64::from(sub.start_pfn.get()).into();
    wide.end_pfn = u64::from(sub.end_pfn.get()).into();
    wide.note_offset = sub.note_offset;
    wide.note_bytes = u64::from(sub.note_bytes.get()).into();
    wide.start_pfn_64 = sub.start_pfn_64;
    wide.end_pfn_64 = sub.end_pfn_64;
    wide.max_mapnr_64 = sub.max_mapnr_64;
    wide
}
