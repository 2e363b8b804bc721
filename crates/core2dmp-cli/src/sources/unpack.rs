//! A compressed source becomes a file without a name: sparse, and gone when the program ends, however it ends.
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
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use core2dmp::error::Error;
use core2dmp::write::Progress;

use super::wrapper::{Wrapper, zip_member};
use crate::escape;
use crate::interrupt::Interrupt;
use crate::message::Failure;
use crate::progress::Bar;
use crate::render::text::size as in_words;

/// Bytes that are decoded at a time.
const BLOCK: usize = 1 << 20;
/// Zeros of so many bytes are left out.
const PAGE: usize = 4096;
/// What a file may unpack to: 64 TiB, which is no guest's.
const MAX_BYTES: u64 = 64 << 40;
/// Of a file system's bytes this part stays free, but no more than the second number.
const RESERVE: (u64, u64) = (20, 1 << 30);

/// How to unpack.
#[derive(Debug)]
pub(crate) struct Unpack {
    /// Where the temporary file goes.
    pub(crate) folder: PathBuf,
    /// Keep what can be decoded of a damaged file.
    pub(crate) salvage: bool,
    /// Nobody wants to see a bar.
    pub(crate) quiet: bool,
    /// Whether a signal came.
    pub(crate) interrupt: Interrupt,
}

/// What was unpacked.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) file: File,
    /// How it was compressed, and what it was.
    pub(super) what: String,
    /// What is missing.
    pub(super) warning: Option<String>,
}

impl Unpack {
    /// In the folder for temporary files.
    pub(crate) fn temporary(salvage: bool, quiet: bool, interrupt: Interrupt) -> Self {
        Self {
            folder: std::env::temp_dir(),
            salvage,
            quiet,
            interrupt,
        }
    }

    /// Unpacks a file, if it is compressed.
    pub(super) fn file(&self, path: &Path) -> Result<Option<Unpacked>, Failure> {
        let name = escape::path(path);
        let failed = |e| Error::io(format!("cannot read {name}"), e);
        // Whoever opens it next says what is wrong.
        let Some(mut input) = regular(path) else {
            return Ok(None);
        };
        let Some(wrapper) = kind_of(&mut input).map_err(failed)? else {
            return Ok(None);
        };
        let compressed = input.seek(SeekFrom::End(0)).map_err(failed)?;
        // A file that is cut short may tell nothing, or nonsense: decoding finds out.
        let told = wrapper.size(&mut input).unwrap_or_default();
        input.rewind().map_err(failed)?;
        let output = tempfile::tempfile_in(&self.folder).map_err(|e| {
            let folder = escape::path(&self.folder);
            Error::io(format!("cannot create a file in {folder}"), e)
        })?;
        let bar = Bar::new(compressed, self.quiet, self.interrupt.clone());
        let job = Job {
            name,
            wrapper,
            folder: &self.folder,
            input: Counted {
                input,
                bar: &bar,
                stopped: &Cell::new(false),
                ended: &Cell::new(false),
            },
            output: &output,
        };
        let result = job.run(told);
        bar.clear();
        let (bytes, damage) = result?;
        if let Some(damage) = damage.as_ref().filter(|_| !self.salvage) {
            return Err(Failure::Refused {
                message: damage.clone(),
                hint: "copy the file again; --salvage reads what could be unpacked",
            });
        }
        let mut output = output;
        if let Some(inner) =
            kind_of(&mut output).map_err(|e| Error::io("cannot read a temporary file", e))?
        {
            return Err(Failure::Refused {
                message: format!(
                    "{} is compressed twice: {}, and in it {}",
                    escape::path(path),
                    wrapper.name(),
                    inner.name()
                ),
                hint: "unpack it once by hand",
            });
        }
        Ok(Some(Unpacked {
            file: output,
            what: format!(
                "{}, {} of {}",
                wrapper.name(),
                in_words(compressed),
                in_words(bytes)
            ),
            warning: damage.map(|damage| format!("{damage}; what was unpacked is read")),
        }))
    }
}

/// A regular file, open: opening a pipe would wait for who writes it.
pub(super) fn regular(path: &Path) -> Option<File> {
    path.is_file().then(|| File::open(path).ok())?
}

/// How a file is compressed, by its first bytes.
pub(super) fn kind_of(file: &mut File) -> io::Result<Option<Wrapper>> {
    let mut head = Vec::new();
    file.rewind()?;
    file.take(Wrapper::HEAD as u64).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(Wrapper::of(&head))
}

/// One file that is unpacked.
struct Job<'a> {
    name: String,
    wrapper: Wrapper,
    folder: &'a Path,
    input: Counted<'a>,
    output: &'a File,
}

/// Bytes that came out, and what is wrong with the rest.
type Decoded = (u64, Option<String>);

impl Job<'_> {
    fn run(self, told: Option<u64>) -> Result<Decoded, Failure> {
        let Job {
            name,
            wrapper,
            folder,
            input,
            output,
        } = self;
        let (stopped, ended) = (input.stopped, input.ended);
        let room = Room {
            name: &name,
            folder,
        };
        let decode = |decoder: &mut dyn Read, told: Option<u64>| {
            room.check(output, told.unwrap_or(0))?;
            copy(decoder, output, &room)
        };
        let result = if wrapper == Wrapper::Zip {
            let told = |decoder: &mut dyn Read, size| decode(decoder, Some(size));
            zip_member(BufReader::with_capacity(BLOCK, input), told)
                .unwrap_or_else(|error| Ok((0, Some(error))))
        } else {
            let mut decoder = wrapper.decoder(BufReader::with_capacity(BLOCK, input));
            decode(&mut *decoder, told)
        };
        let (bytes, error) = result?;
        if stopped.get() {
            return Err(Error::Interrupted.into());
        }
        let damage = error.map(|error| {
            // Not every decoder says so, and a zip file is read from its end.
            let is_short = ended.get() && wrapper != Wrapper::Zip;
            let what = if is_short || error.kind() == io::ErrorKind::UnexpectedEof {
                "is cut short".to_owned()
            } else {
                format!("is damaged ({error})")
            };
            format!(
                "the {} file {name} {what}: {bytes:#x} bytes could be unpacked",
                wrapper.name()
            )
        });
        Ok((bytes, damage))
    }
}

/// Decodes to the end, or to the first error of the decoder.
fn copy(
    decoder: &mut dyn Read,
    output: &File,
    room: &Room<'_>,
) -> Result<(u64, Option<io::Error>), Failure> {
    let failed = |e| {
        Error::io(
            format!("cannot write a temporary file in {}", room.folder()),
            e,
        )
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
            return Err(Failure::Refused {
                message: format!("{} unpacks to more than {}", room.name, in_words(MAX_BYTES)),
                hint: "no guest is so large: is this the right file?",
            });
        }
        room.check(output, 0)?;
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

/// The compressed file; the bar counts what is read of it.
struct Counted<'a> {
    input: File,
    bar: &'a Bar,
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
        match self.bar.advance(read as u64) {
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
    fn folder(&self) -> String {
        escape::path(self.folder)
    }

    /// Whether `wanted` more bytes leave the reserve free.
    fn check(&self, output: &File, wanted: u64) -> Result<(), Failure> {
        let Some((free, all)) = space(output) else {
            return Ok(());
        };
        let (part, most) = RESERVE;
        let reserve = all.checked_div(part).unwrap_or(0).min(most);
        let room = free.saturating_sub(reserve);
        if room > 0 && wanted <= room {
            return Ok(());
        }
        let wants = match wanted {
            0 => "more".to_owned(),
            wanted => in_words(wanted),
        };
        Err(Failure::Advised {
            message: format!(
                "no room to unpack {}: it wants {wants}, in {} there is room for {}",
                self.name,
                self.folder(),
                in_words(room)
            ),
            hint: "write the output to a larger file system, or set TMPDIR for `info`; nothing was left behind"
                .to_owned(),
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
