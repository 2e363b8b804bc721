//! DumpIt's compressed dump: blocks, and a Windows crash dump in them.
//!
//! ```text
//! file --blocks--> the dump, decoded where it is read --as any dump--> Guest
//! page of the dump --> its block --LZNT1--> its bytes       blocks are kept for a while
//! ```
//!
//! Blocks are walked when the file is opened, and every 16th is noted. See docs/formats/zdmp.md, and
//! `format/zdmp.rs` for the sources.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::Crc;
use zerocopy::FromBytes;

use super::dmp::DumpFile;
use super::{ContainerInfo, Guest, OpenOptions, Probe};
use crate::address::{PAGE_BYTES, PAGE_SIZE};
use crate::codec::block_cache::BlockCache;
use crate::codec::lznt1;
use crate::container::salvage::Salvage;
use crate::error::{Error, Place, Result};
use crate::format::zdmp::{
    BLOCK_SIGNATURE, BlockHeader, COMPRESSED, FIRST_BLOCK, Header, LZNT1, PLAIN, SIGNATURE, VERSION,
};
use crate::memory::{Backing, DecodeError, PageDecoder, PhysicalMemory, RunBuilder};
use crate::source::{ReadAt, fill_at, read_exact_at};

pub(super) const TITLE: &str = "DumpIt's compressed dump";

/// Bytes of a block that are accepted.
const MAX_BLOCK: u32 = 16 << 20;
/// Bytes of decoded blocks that are kept.
const KEPT: u64 = 64 << 20;
/// Blocks that are larger than this are decoded one at a time: every thread would need two of them.
const LARGE: u64 = 1 << 20;
/// Blocks between two notes.
const EVERY: u64 = 16;
/// Notes that are accepted: 16 MiB of ours.
const MAX_NOTES: usize = 1 << 21;
/// Bits of a page's number that count pages; those above are where in a page of the dump it starts.
const PAGE_BITS: u32 = 40;
const HEADER: u64 = size_of::<BlockHeader>() as u64;
const WHAT: &str = "block of the compressed dump";

pub(super) const MAGICS: &[&[u8]] = &[SIGNATURE];

pub(super) fn probe(probe: &Probe<'_>) -> bool {
    probe.begins_with(MAGICS)
}

pub(super) fn open(source: Arc<dyn ReadAt>, options: &OpenOptions) -> Result<Guest> {
    let header = read_header(&*source)?;
    let blocks = Arc::new(Blocks::read(source, &header)?);
    let mut salvage = Salvage::new(options);
    blocks.check_end(&mut salvage)?;
    let file_size = blocks.source.size();
    let view: Arc<dyn ReadAt> = Arc::clone(&blocks) as Arc<dyn ReadAt>;
    let guest = DumpFile::open(Arc::clone(&view))?.guest();
    let mut details = vec![
        (
            "blocks",
            format!("{} of {:#x} bytes", blocks.count, blocks.block_size),
        ),
        ("dump", format!("{} bytes", blocks.dump_size)),
    ];
    details.extend(guest.container.details);
    Ok(Guest {
        memory: decoded_memory(&guest.memory, view, blocks)?,
        container: ContainerInfo {
            format: "zdmp",
            title: TITLE,
            size: file_size,
            details,
            salvaged: salvage.done("file"),
            ..guest.container
        },
        ..guest
    })
}

fn read_header(source: &dyn ReadAt) -> Result<Header> {
    const WHAT: &str = "header of the compressed dump";
    let mut raw = [0; size_of::<Header>()];
    read_exact_at(source, 0, &mut raw, WHAT)?;
    let malformed =
        |expected: &str, found: String| Error::malformed(WHAT, Place::Offset(0), expected, found);
    let header =
        Header::read_from_bytes(&raw).map_err(|_| malformed("24 bytes", "fewer".to_owned()))?;
    if header.version.get() != VERSION {
        let found = format!("{:#x}", header.version.get());
        return Err(malformed("version 0x100", found));
    }
    match (header.data_type.get(), header.compression.get()) {
        (PLAIN, _) | (COMPRESSED, LZNT1) => {}
        (data, format) => {
            let found = format!("data of type {data}, compression {format}");
            return Err(malformed(
                "data compressed with LZNT1 (type 1, compression 2)",
                found,
            ));
        }
    }
    let block = header.block_size.get();
    if block == 0 || block > MAX_BLOCK {
        let found = format!("{block:#x}");
        return Err(malformed("blocks of 1 byte to 16 MiB", found));
    }
    Ok(header)
}

/// The dump's memory with its pages decoded one at a time: so a damaged block is a corrupt page, and not a
/// file that cannot be read.
fn decoded_memory(
    memory: &PhysicalMemory,
    view: Arc<dyn ReadAt>,
    blocks: Arc<Blocks>,
) -> Result<PhysicalMemory> {
    let mut runs = RunBuilder::default();
    for run in memory.runs() {
        let backing = match run.backing {
            Backing::File { offset } => Backing::Encoded {
                index: ((offset % PAGE_SIZE) << PAGE_BITS) | (offset / PAGE_SIZE),
            },
            other => other,
        };
        runs.push(run.frames, backing)?;
    }
    let runs = runs.finish().map_err(|overlap| {
        let place = Place::Physical(overlap.pfn.gpa());
        Error::malformed("memory of the dump", place, "every frame once", "it twice")
    })?;
    Ok(PhysicalMemory::new(view, runs).with_decoder(blocks))
}

/// A decoded block.
#[derive(Debug)]
struct Decoded {
    number: u64,
    bytes: Vec<u8>,
}

/// The dump inside.
#[derive(Debug)]
struct Blocks {
    source: Arc<dyn ReadAt>,
    block_size: u64,
    /// Bytes of the dump, as the header says.
    dump_size: u64,
    count: u64,
    /// Where every 16th block is.
    notes: Vec<u64>,
    /// Where the last whole block ends.
    end: u64,
    kept: BlockCache<Decoded>,
    /// Held while a large block is decoded.
    large: Mutex<()>,
}

impl Blocks {
    fn read(source: Arc<dyn ReadAt>, header: &Header) -> Result<Self> {
        let block_size = u64::from(header.block_size.get());
        let slots = KEPT.checked_div(block_size).unwrap_or(0).clamp(1, 64);
        let mut blocks = Self {
            block_size,
            dump_size: header.size.get(),
            count: 0,
            notes: Vec::new(),
            end: FIRST_BLOCK,
            kept: BlockCache::new(slots),
            large: Mutex::new(()),
            source,
        };
        while blocks.bytes() < blocks.dump_size {
            let Some((stored, _)) = blocks.header_at(blocks.end)? else {
                break;
            };
            let end = blocks.end.saturating_add(HEADER).saturating_add(stored);
            if end > blocks.source.size() {
                break;
            }
            if blocks.count.is_multiple_of(EVERY) {
                if blocks.notes.len() >= MAX_NOTES {
                    return Err(Error::TooMany {
                        what: "blocks of the compressed dump",
                        found: blocks.count,
                        limit: (MAX_NOTES as u64).saturating_mul(EVERY),
                    });
                }
                blocks.notes.push(blocks.end);
            }
            blocks.count = blocks.count.saturating_add(1);
            blocks.end = end;
        }
        Ok(blocks)
    }

    /// Bytes that the blocks make.
    const fn bytes(&self) -> u64 {
        self.count.saturating_mul(self.block_size)
    }

    /// Fails, or notes what is missing, if there are fewer blocks than the dump takes.
    fn check_end(&self, salvage: &mut Salvage) -> Result<()> {
        let lost = self.dump_size.saturating_sub(self.bytes());
        if lost == 0 {
            return Ok(());
        }
        let missing = format!(
            "the last {lost:#x} of {:#x} bytes of the dump",
            self.dump_size
        );
        let expected = self.end.saturating_add(HEADER);
        salvage.accept(expected, self.source.size(), missing)
    }

    /// Size and CRC of the block at `at`; `None` where the file ends.
    fn header_at(&self, at: u64) -> Result<Option<(u64, u32)>> {
        let mut raw = [0; size_of::<BlockHeader>()];
        let read = fill_at(&*self.source, at, &mut raw)
            .map_err(|e| Error::io(format!("cannot read {WHAT} at {}", Place::Offset(at)), e))?;
        let Some(header) = BlockHeader::read_from_bytes(&raw)
            .ok()
            .filter(|_| read == HEADER)
        else {
            return Ok(None);
        };
        let malformed = |expected: String, found: String| {
            Err(Error::malformed(WHAT, Place::Offset(at), expected, found))
        };
        if header.signature != *BLOCK_SIGNATURE {
            let found = format!("\"{}\"", header.signature.escape_ascii());
            return malformed("\"ZBLK\"".to_owned(), found);
        }
        let size = u64::from(header.size.get());
        if size == 0 || size > self.block_size {
            let expected = format!("1 to {:#x} bytes of data", self.block_size);
            return malformed(expected, format!("{size:#x}"));
        }
        Ok(Some((size, header.crc.get())))
    }

    /// Block `number`.
    fn block(&self, number: u64) -> Result<Arc<Decoded>, DecodeError> {
        let is_wanted = |decoded: &Decoded| decoded.number == number;
        if let Some(decoded) = self.kept.find(number, is_wanted) {
            return Ok(decoded);
        }
        let large = || self.large.lock().unwrap_or_else(PoisonError::into_inner);
        let _alone = (self.block_size > LARGE).then(large);
        // Another thread may have made it in the meantime.
        self.kept.find_or_make(number, is_wanted, || {
            let bytes = self.decode_block(self.place(number)?)?;
            Ok(Decoded { number, bytes })
        })
    }

    /// Where block `number` is in the file.
    fn place(&self, number: u64) -> Result<u64, DecodeError> {
        let note = usize::try_from(number / EVERY).ok();
        let note = note.and_then(|note| self.notes.get(note));
        let mut at = *note
            .filter(|_| number < self.count)
            .ok_or_else(|| DecodeError::ended(self.end))?;
        for _ in 0..number % EVERY {
            at = at.saturating_add(HEADER).saturating_add(self.found(at)?.0);
        }
        Ok(at)
    }

    fn found(&self, at: u64) -> Result<(u64, u32), DecodeError> {
        self.header_at(at)
            .map_err(|error| DecodeError::corrupt(at, error.to_string()))?
            .ok_or_else(|| DecodeError::ended(at))
    }

    fn decode_block(&self, at: u64) -> Result<Vec<u8>, DecodeError> {
        let (stored, crc) = self.found(at)?;
        let offset = at.saturating_add(HEADER);
        let mut data = vec![0; usize::try_from(stored).unwrap_or(0)];
        let read = fill_at(&*self.source, offset, &mut data);
        let read = read.map_err(|source| DecodeError::Unreadable { offset, source })?;
        if read < stored {
            return Err(DecodeError::ended(offset));
        }
        let mut sum = Crc::new();
        sum.update(&data);
        if sum.sum() != crc {
            let what = format!("CRC {:#010x} instead of {crc:#010x}", sum.sum());
            return Err(DecodeError::corrupt(offset, what));
        }
        if stored == self.block_size {
            return Ok(data);
        }
        // A block that is shorter than it should be ends in zeros (z2dmp-rust fills up as well).
        let mut bytes = vec![0; usize::try_from(self.block_size).unwrap_or(0)];
        lznt1::decode(&data, &mut bytes)
            .map_err(|invalid| DecodeError::corrupt(offset, format!("LZNT1: {invalid}")))?;
        Ok(bytes)
    }

    /// Bytes of the dump from `offset` on, of one block.
    fn piece(&self, offset: u64, buf: &mut [u8]) -> Result<usize, DecodeError> {
        let left = self.size().saturating_sub(offset);
        let most = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(buf) = buf.get_mut(..most).filter(|buf| !buf.is_empty()) else {
            return Ok(0);
        };
        let block = self.block(offset.checked_div(self.block_size).unwrap_or(0))?;
        let inside = usize::try_from(offset.checked_rem(self.block_size).unwrap_or(0)).unwrap_or(0);
        let bytes = block.bytes.get(inside..).unwrap_or_default();
        for (to, from) in buf.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(buf.len().min(bytes.len()))
    }
}

impl ReadAt for Blocks {
    fn size(&self) -> u64 {
        self.dump_size.min(self.bytes())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.piece(offset, buf).map_err(|error| match error {
            DecodeError::Unreadable { source, .. } => source,
            DecodeError::Corrupt { .. } => {
                io::Error::new(io::ErrorKind::InvalidData, error.to_string())
            }
        })
    }
}

impl PageDecoder for Blocks {
    fn decode(&self, index: u64, page: &mut [u8; PAGE_BYTES]) -> Result<(), DecodeError> {
        let start = (index & ((1 << PAGE_BITS) - 1))
            .saturating_mul(PAGE_SIZE)
            .saturating_add(index >> PAGE_BITS);
        let mut done = 0_usize;
        while let Some(rest) = page.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let made = self.piece(start.saturating_add(done as u64), rest)?;
            if made == 0 {
                return Err(DecodeError::ended(self.end));
            }
            done = done.saturating_add(made);
        }
        Ok(())
    }
}
