//! Unpacks a compressed source into a sparse file without a name, which disappears however the program ends.
//!
//! ```text
//! guest.core.gz --decoder--> 1 MiB --not zero?--> temporary file, beside the output or in TMPDIR
//!       |                               |
//!       bar, SIGINT                     zero pages are skipped: they stay a hole
//! ```
//!
//! The file system keeps a reserve: a file that unpacks to more than there is room for is refused before the
//! disk is full, where the size is known before anything is written.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::compression::Compression;
use super::decoder::{decoder, zip_member};
use crate::error::{Error, Result};
use crate::progress::{Progress, Work};
use crate::text::{self, size};

/// Bytes that are decoded at a time.
const BLOCK: usize = 1 << 20;
/// Zeros of this many bytes are left out.
const PAGE: usize = 4096;
/// What a file may unpack to: 64 TiB, which is no guest's.
const MAX_BYTES: u64 = 64 << 40;
/// Of a file system's bytes this part stays free, but no more than the second number.
const RESERVE: (u64, u64) = (20, 1 << 30);

/// A file that was unpacked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Unpacked {
    /// The compressed file.
    pub path: PathBuf,
    /// How it is compressed, such as "Zstandard".
    pub compression: &'static str,
    /// Bytes of it.
    pub compressed: u64,
    /// Bytes that came out.
    pub bytes: u64,
    /// What is missing or damaged.
    pub damage: Option<String>,
}

impl fmt::Display for Unpacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (compressed, bytes) = (size(self.compressed), size(self.bytes));
        write!(f, "{}, {compressed} of {bytes}", self.compression)
    }
}

/// Unpacks a file into `folder`, if it is compressed; of a damaged one what can be decoded, if `salvage` says so.
pub(super) fn file(
    path: &Path,
    folder: &Path,
    salvage: bool,
    progress: &dyn Progress,
) -> Result<Option<(File, Unpacked)>> {
    let name = text::path(path);
    let failed = |e| Error::io(format!("cannot read {name}"), e);
    // The next open reports what is wrong.
    let Some(mut input) = regular(path) else {
        return Ok(None);
    };
    let Some(compression) = kind_of(&mut input).map_err(failed)? else {
        return Ok(None);
    };
    let compressed = input.seek(SeekFrom::End(0)).map_err(failed)?;
    // A file that is cut short may have no size, or a wrong one: decoding finds out.
    let expected = compression.size(&mut input).unwrap_or_default();
    input.rewind().map_err(failed)?;
    let mut output = tempfile::tempfile_in(folder)
        .map_err(|e| Error::io(format!("cannot create a file in {}", text::path(folder)), e))?;
    let job = Job {
        name: &name,
        compression,
        folder,
        input: Counted {
            input,
            progress,
            stopped: &Cell::new(false),
            ended: &Cell::new(false),
        },
        output: &output,
    };
    progress.begin(Work::Unpack, compressed);
    let result = job.run(expected);
    progress.end();
    let (bytes, damage) = result?;
    let damage = damage.map(|damage| Error::NotUnpacked {
        path: name.clone(),
        compression: compression.name(),
        damage,
        bytes,
    });
    let damage = match damage {
        Some(error) if !salvage => return Err(error),
        damage => damage.map(|error| error.to_string()),
    };
    refuse_inner(&mut output, &name, compression)?;
    Ok(Some((
        output,
        Unpacked {
            path: path.to_path_buf(),
            compression: compression.name(),
            compressed,
            bytes,
            damage,
        },
    )))
}

/// Refuses what is compressed again.
fn refuse_inner(output: &mut File, name: &str, outer: Compression) -> Result<()> {
    match kind_of(output).map_err(|e| Error::io("cannot read a temporary file", e))? {
        None => Ok(()),
        Some(inner) => Err(Error::CompressedTwice {
            path: name.to_owned(),
            outer: outer.name(),
            inner: inner.name(),
        }),
    }
}

/// Whether a file has to be unpacked first.
#[must_use]
pub fn is_compressed(path: &Path) -> bool {
    regular(path).is_some_and(|mut file| kind_of(&mut file).is_ok_and(|kind| kind.is_some()))
}

/// A regular file, open: opening a pipe would wait for who writes it.
fn regular(path: &Path) -> Option<File> {
    path.is_file().then(|| File::open(path).ok())?
}

/// How a file is compressed, by its first bytes.
fn kind_of(file: &mut File) -> io::Result<Option<Compression>> {
    let mut head = Vec::new();
    file.rewind()?;
    file.take(Compression::HEAD as u64).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(Compression::of(&head))
}

/// One file that is unpacked.
struct Job<'a> {
    name: &'a str,
    compression: Compression,
    folder: &'a Path,
    input: Counted<'a>,
    output: &'a File,
}

/// Bytes that came out, and what is wrong with the rest.
type Decoded = (u64, Option<String>);

impl Job<'_> {
    fn run(self, expected: Option<u64>) -> Result<Decoded> {
        let Job {
            name,
            compression,
            folder,
            input,
            output,
        } = self;
        let (stopped, ended) = (input.stopped, input.ended);
        let room = Room { name, folder };
        let decode = |decoder: &mut dyn Read, expected: Option<u64>| {
            room.check(output, expected)?;
            copy(decoder, output, &room)
        };
        let not_built_in = |feature| Error::NotBuiltIn {
            path: name.to_owned(),
            compression: compression.name(),
            feature,
        };
        let input = BufReader::with_capacity(BLOCK, input);
        let result = if compression == Compression::Zip {
            if cfg!(not(feature = "zip")) {
                return Err(not_built_in("zip"));
            }
            let member = |decoder: &mut dyn Read, size| decode(decoder, Some(size));
            zip_member(input, member).unwrap_or_else(|error| Ok((0, Some(error))))
        } else {
            let mut decoder = decoder(compression, input).map_err(not_built_in)?;
            decode(&mut *decoder, expected)
        };
        let (bytes, error) = result?;
        if stopped.get() {
            return Err(Error::Interrupted);
        }
        let damage = error.map(|error| {
            // Not every decoder says so, and a zip file is read from its end.
            let is_short = ended.get() && compression != Compression::Zip;
            if is_short || error.kind() == io::ErrorKind::UnexpectedEof {
                "is cut short".to_owned()
            } else {
                format!("is damaged ({error})")
            }
        });
        Ok((bytes, damage))
    }
}

/// Decodes to the end, or to the first error of the decoder.
fn copy(
    decoder: &mut dyn Read,
    output: &File,
    room: &Room<'_>,
) -> Result<(u64, Option<io::Error>)> {
    let failed = |e| {
        let folder = text::path(room.folder);
        Error::io(format!("cannot write a temporary file in {folder}"), e)
    };
    let mut block = vec![0; BLOCK];
    let mut at = 0_u64;
    loop {
        let (filled, error) = fill(decoder, &mut block);
        let bytes = block.get(..filled).unwrap_or_default();
        let mut out = output;
        for (skipped, data) in stretches(bytes) {
            let place = at.saturating_add(skipped as u64);
            out.seek(SeekFrom::Start(place)).map_err(failed)?;
            out.write_all(data).map_err(failed)?;
        }
        at = at.saturating_add(filled as u64);
        if at > MAX_BYTES {
            return Err(Error::UnpacksTooLarge {
                path: room.name.to_owned(),
                limit: MAX_BYTES,
            });
        }
        room.check(output, None)?;
        if filled < BLOCK {
            output.set_len(at).map_err(failed)?;
            return Ok((at, error));
        }
    }
}

/// Reads until the block is full, or there is no more, or an error; the bytes before an error count.
fn fill(decoder: &mut dyn Read, block: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0_usize;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match decoder.read(rest) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

/// Pages that are not zero, those that touch in one piece: where each starts, and its bytes.
fn stretches(block: &[u8]) -> Vec<(usize, &[u8])> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (number, page) in block.chunks(PAGE).enumerate() {
        let start = number.saturating_mul(PAGE);
        let end = start.saturating_add(page.len());
        if is_zero(page) {
            continue;
        }
        match found.last_mut() {
            Some((_, last)) if *last == start => *last = end,
            _ => found.push((start, end)),
        }
    }
    found
        .into_iter()
        .filter_map(|(start, end)| Some((start, block.get(start..end)?)))
        .collect()
}

fn is_zero(page: &[u8]) -> bool {
    let (words, rest) = page.as_chunks::<16>();
    words.iter().all(|word| *word == [0; 16]) && rest.iter().all(|byte| *byte == 0)
}

/// The compressed file; what is read of it is reported.
struct Counted<'a> {
    input: File,
    progress: &'a dyn Progress,
    stopped: &'a Cell<bool>,
    /// Whether more was wanted than there is.
    ended: &'a Cell<bool>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buf)?;
        if read == 0 && !buf.is_empty() {
            self.ended.set(true);
        }
        match self.progress.advance(read as u64) {
            ControlFlow::Continue(()) => Ok(read),
            ControlFlow::Break(()) => {
                self.stopped.set(true);
                Err(io::Error::other("interrupted"))
            }
        }
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}

/// Room for the unpacked file.
struct Room<'a> {
    name: &'a str,
    folder: &'a Path,
}

impl Room<'_> {
    /// Whether `wanted` more bytes leave the reserve free.
    fn check(&self, output: &File, wanted: Option<u64>) -> Result<()> {
        let Some((free, all)) = space(output) else {
            return Ok(());
        };
        let (part, most) = RESERVE;
        let reserve = all.checked_div(part).unwrap_or(0).min(most);
        let room = free.saturating_sub(reserve);
        if room > 0 && wanted.unwrap_or(0) <= room {
            return Ok(());
        }
        Err(Error::NoRoomToUnpack {
            path: self.name.to_owned(),
            wanted: wanted.filter(|bytes| *bytes > 0),
            folder: text::path(self.folder),
            room,
        })
    }
}

/// Bytes that are free where a file is, and all that there are.
#[cfg(unix)]
fn space(file: &File) -> Option<(u64, u64)> {
    let stat = rustix::fs::fstatvfs(file).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some((bytes(stat.f_bavail), bytes(stat.f_blocks)))
}

#[cfg(not(unix))]
fn space(_: &File) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_pages_are_left_out() {
        let mut block = vec![0; 5 * PAGE + 7];
        block[PAGE] = 1;
        block[3 * PAGE - 1] = 2;
        block[5 * PAGE + 6] = 3;
        let found: Vec<_> = stretches(&block)
            .iter()
            .map(|(at, data)| (*at, data.len()))
            .collect();
        assert_eq!(found, [(PAGE, 2 * PAGE), (5 * PAGE, 7)]);
        assert!(stretches(&[]).is_empty());
    }
}
