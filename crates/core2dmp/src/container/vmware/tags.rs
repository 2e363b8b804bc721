//! Walks the tags of a group.
//!
//! Tags follow each other, and every tag is longer than nothing: a walk goes forward through the
//! file and ends with it at the latest.

use zerocopy::FromBytes;

use crate::error::{Error, Place, Result};
use crate::format::vmware::{
    BLOCK_SIZES, Group, Header, INDICES_SHIFT, MAGICS, MAGICS_32, SIZE_MASK,
};
use crate::format::{u32_at, u64_at};
use crate::source::{ReadAt, fill_at, read_exact_at};

/// Groups that are accepted; 92 were seen.
const MAX_GROUPS: u32 = 4096;
/// Tags that are accepted: some hundreds a vCPU, and 768 vCPUs.
const MAX_TAGS: u32 = 1 << 22;
/// Bytes that are read at once.
const WINDOW: usize = 1 << 16;
/// Bytes of a block that are read to look at them.
const MAX_LOOK: u64 = 4096;
/// Bytes of a tag without its value and a block's padding: the longest name, three indices, and two sizes.
const MAX_HEAD: usize = 2 + 255 + 3 * 4 + 2 * 8 + 2;

/// A file of groups.
#[derive(Debug)]
pub(super) struct State<'a> {
    source: &'a dyn ReadAt,
    pub(super) magic: u32,
    groups: Vec<Group>,
}

/// A value that is not in its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) offset: u64,
    /// Bytes in the file.
    pub(super) stored: u64,
    /// Bytes that they stand for.
    pub(super) bytes: u64,
}

impl Block {
    pub(super) const fn end(&self) -> u64 {
        self.offset.saturating_add(self.stored)
    }

    pub(super) const fn is_compressed(&self) -> bool {
        self.stored != self.bytes
    }
}

/// A tag.
#[derive(Debug)]
pub(super) struct Tag {
    /// Where it is.
    pub(super) at: u64,
    pub(super) name: Vec<u8>,
    pub(super) indices: Vec<u32>,
    /// A small value; of a block as much as is worth a look.
    pub(super) value: Vec<u8>,
    pub(super) block: Option<Block>,
}

impl Tag {
    /// The value as a number, for values of a number's size.
    pub(super) fn number(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        let fits = self.block.is_none() && matches!(self.value.len(), 1 | 2 | 4 | 8);
        bytes
            .get_mut(..self.value.len())
            .filter(|_| fits)?
            .copy_from_slice(&self.value);
        Some(u64::from_le_bytes(bytes))
    }
}

/// Whether a file starts as a state does.
pub(super) fn is_state(head: &[u8]) -> bool {
    MAGICS.iter().any(|magic| head.starts_with(magic))
}

impl<'a> State<'a> {
    pub(super) fn read(source: &'a dyn ReadAt) -> Result<Self> {
        let mut head = [0; size_of::<Header>()];
        read_exact_at(source, 0, &mut head, "header of the saved state")?;
        let header = Header::ref_from_bytes(&head).ok();
        let (magic, count) = header.map_or((0, 0), |h| (h.magic.get(), h.groups.get()));
        if count > MAX_GROUPS {
            return Err(Error::TooMany {
                what: "groups of a saved state",
                found: count.into(),
                limit: MAX_GROUPS.into(),
            });
        }
        let count = usize::try_from(count).unwrap_or(0);
        let mut raw = vec![0; count.saturating_mul(size_of::<Group>())];
        read_exact_at(
            source,
            head.len() as u64,
            &mut raw,
            "groups of the saved state",
        )?;
        let groups = <[Group]>::ref_from_bytes_with_elems(&raw, count).unwrap_or_default();
        Ok(Self {
            source,
            magic,
            groups: groups.to_vec(),
        })
    }

    /// Shows `visit` every tag of the groups of this name, as far as they can be read.
    pub(super) fn each(&self, name: &str, visit: &mut dyn FnMut(Tag) -> Result<()>) -> Result<()> {
        let is_named = |group: &&Group| {
            let own = group.name.split(|byte| *byte == 0).next();
            own == Some(name.as_bytes())
        };
        // All groups together: many may start at the same place.
        let mut tags = 0_u32;
        for group in self.groups.iter().filter(is_named) {
            let mut walk = Walk {
                source: self.source,
                at: group.position.get(),
                is_wide: !MAGICS_32.contains(&self.magic),
                window: Vec::new(),
                window_at: 0,
            };
            while let Some(tag) = walk.next()? {
                tags = tags.saturating_add(1);
                if tags > MAX_TAGS {
                    return Err(Error::TooMany {
                        what: "tags of a saved state",
                        found: tags.into(),
                        limit: MAX_TAGS.into(),
                    });
                }
                visit(tag)?;
            }
        }
        Ok(())
    }
}

/// The place of the next tag.
struct Walk<'a> {
    source: &'a dyn ReadAt,
    at: u64,
    is_wide: bool,
    window: Vec<u8>,
    window_at: u64,
}

impl Walk<'_> {
    /// Up to `bytes` bytes from here on.
    fn look(&mut self, bytes: usize) -> Result<&[u8]> {
        let at = self.at;
        let skip = |start: u64| usize::try_from(at.checked_sub(start)?).ok();
        let held = skip(self.window_at)
            .and_then(|skip| skip.checked_add(bytes))
            .is_some_and(|end| end <= self.window.len());
        if !held {
            self.window.resize(WINDOW, 0);
            let read = fill_at(self.source, at, &mut self.window)
                .map_err(|e| Error::io(format!("cannot read a tag at {}", Place::Offset(at)), e))?;
            self.window.truncate(usize::try_from(read).unwrap_or(0));
            self.window_at = at;
        }
        let start = skip(self.window_at).unwrap_or(0);
        let end = start.saturating_add(bytes).min(self.window.len());
        Ok(self.window.get(start..end).unwrap_or_default())
    }

    /// The next tag; `None` behind the last one.
    fn next(&mut self) -> Result<Option<Tag>> {
        let (at, is_wide) = (self.at, self.is_wide);
        let head = self.look(MAX_HEAD)?;
        let cut = |expected: usize, found: usize| Error::Truncated {
            what: "a tag of the saved state",
            place: Place::Offset(at),
            expected: expected as u64,
            found: found as u64,
        };
        let &[flags, length, ref rest @ ..] = head else {
            return Err(cut(2, head.len()));
        };
        if flags == 0 && length == 0 {
            return Ok(None);
        }
        let length = usize::from(length);
        let indices = usize::from(flags >> INDICES_SHIFT);
        let fixed = length.saturating_add(indices.saturating_mul(4));
        let size = flags & SIZE_MASK;
        let sizes = match (size >= BLOCK_SIZES, is_wide) {
            (false, _) => usize::from(size),
            (true, true) => 18,
            (true, false) => 10,
        };
        let whole = fixed.saturating_add(sizes);
        let (Some(named), Some(value)) = (rest.get(..fixed), rest.get(fixed..whole)) else {
            return Err(cut(whole.saturating_add(2), head.len()));
        };
        let (name, numbers) = named.split_at_checked(length).unwrap_or_default();
        let mut tag = Tag {
            at,
            name: name.to_vec(),
            indices: (0..indices)
                .filter_map(|n| u32_at(numbers, n.saturating_mul(4)))
                .collect(),
            value: value.to_vec(),
            block: None,
        };
        self.at = at.saturating_add(2).saturating_add(whole as u64);
        if size >= BLOCK_SIZES {
            self.block(&mut tag)?;
        }
        Ok(Some(tag))
    }

    /// The block whose sizes are in the tag's value.
    fn block(&mut self, tag: &mut Tag) -> Result<()> {
        let sizes = tag.value.as_slice();
        let (stored, bytes, padding) = if self.is_wide {
            (u64_at(sizes, 0), u64_at(sizes, 8), sizes.get(16..))
        } else {
            let narrow = |at| u32_at(sizes, at).map(u64::from);
            (narrow(0), narrow(4), sizes.get(8..))
        };
        let padding = padding.and_then(|bytes| crate::format::u16_at(bytes, 0));
        let offset = self.at.saturating_add(padding.unwrap_or(0).into());
        let block = Block {
            offset,
            stored: stored.unwrap_or(0),
            bytes: bytes.unwrap_or(0),
        };
        let end = offset.checked_add(block.stored);
        let end = end
            .filter(|end| *end < i64::MAX.unsigned_abs())
            .ok_or_else(|| {
                Error::malformed(
                    "size of a block in the saved state",
                    Place::Offset(tag.at),
                    "bytes that a file can have",
                    format!("{:#x}", block.stored),
                )
            })?;
        self.at = offset;
        tag.value.clear();
        if block.stored <= MAX_LOOK {
            let stored = usize::try_from(block.stored).unwrap_or(0);
            let value = self.look(stored)?.to_vec();
            tag.value = value;
        }
        self.at = end;
        tag.block = Some(block);
        Ok(())
    }
}
