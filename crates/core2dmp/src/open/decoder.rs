//! Decoders of compressed files; each is a library of its own, all in Rust.
//!
//! Members, frames and streams that follow each other are one file, as their own tools have it.

use std::io::{self, BufRead, Read, Seek};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::compression::Compression;

/// Memory for a decoder's dictionary or window: `xz -9` needs 64 MiB, `zstd --long` 128 MiB.
const MAX_WINDOW: u64 = 128 << 20;
/// The same for xz, in KiB: its decoder counts more than the dictionary.
#[cfg(feature = "xz")]
const MAX_XZ_KIB: u32 = 192 << 10;
/// Entries of a zip file that are looked at: one is wanted.
#[cfg(feature = "zip")]
const MAX_ENTRIES: u16 = 64;

/// A decoder, or the feature of this crate that would have one.
type Found<'a> = Result<Box<dyn Read + 'a>, &'static str>;

/// The decoded bytes; of a zip file see [`zip_member`].
pub(super) fn decoder<'a>(compression: Compression, input: impl BufRead + 'a) -> Found<'a> {
    match compression {
        Compression::Gzip => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
        Compression::Zstd => Ok(Box::new(Frames::new(input))),
        Compression::Xz => xz(input),
        Compression::Lz4 => lz4(input),
        Compression::Bzip2 => bzip2(input),
        Compression::Zip => Err("zip"),
    }
}

#[cfg(feature = "xz")]
fn xz<'a>(input: impl BufRead + 'a) -> Found<'a> {
    let reader = lzma_rust2::XzReader::new_mem_limit(input, true, MAX_XZ_KIB);
    Ok(Box::new(reader))
}

#[cfg(not(feature = "xz"))]
fn xz<'a>(_: impl BufRead + 'a) -> Found<'a> {
    Err("xz")
}

#[cfg(feature = "lz4")]
fn lz4<'a>(input: impl BufRead + 'a) -> Found<'a> {
    Ok(Box::new(Lz4(lz4_flex::frame::FrameDecoder::new(input))))
}

#[cfg(not(feature = "lz4"))]
fn lz4<'a>(_: impl BufRead + 'a) -> Found<'a> {
    Err("lz4")
}

#[cfg(feature = "bzip2")]
fn bzip2<'a>(input: impl BufRead + 'a) -> Found<'a> {
    Ok(Box::new(bzip2::bufread::MultiBzDecoder::new(input)))
}

#[cfg(not(feature = "bzip2"))]
fn bzip2<'a>(_: impl BufRead + 'a) -> Found<'a> {
    Err("bzip2")
}

/// Reads the one file in a zip file; `take` gets its reader and its size.
#[cfg(feature = "zip")]
pub(super) fn zip_member<T>(
    mut input: impl Read + Seek,
    take: impl FnOnce(&mut dyn Read, u64) -> T,
) -> io::Result<T> {
    let several =
        || io::Error::other("it holds more than one file: unpack it, and name those of the guest");
    if zip_entries(&mut input)?.is_some_and(|entries| entries > MAX_ENTRIES) {
        return Err(several());
    }
    input.rewind()?;
    let mut archive = zip::ZipArchive::new(input)?;
    let mut found = None;
    for index in 0..archive.len() {
        if archive.by_index_raw(index)?.is_file() && found.replace(index).is_some() {
            return Err(several());
        }
    }
    let index = found.ok_or_else(|| io::Error::other("there is no file in it"))?;
    let mut member = archive.by_index(index)?;
    let size = member.size();
    Ok(take(&mut member, size))
}

/// Entries that the end of the directory speaks of.
#[cfg(feature = "zip")]
fn zip_entries(input: &mut (impl Read + Seek)) -> io::Result<Option<u16>> {
    let end = input.seek(io::SeekFrom::End(0))?;
    // 22 bytes, and a comment of 64 KiB at most.
    input.seek(io::SeekFrom::Start(end.saturating_sub(22 + 0xffff)))?;
    let mut tail = Vec::new();
    input.take(22 + 0xffff).read_to_end(&mut tail)?;
    let at = tail.windows(4).rposition(|bytes| bytes == b"PK\x05\x06");
    let count = at.and_then(|at| tail.get(at..)?.get(10..12)?.try_into().ok());
    Ok(count.map(u16::from_le_bytes))
}

/// Without the feature no zip file is read.
#[cfg(not(feature = "zip"))]
pub(super) fn zip_member<T>(
    _: impl Read + Seek,
    _: impl FnOnce(&mut dyn Read, u64) -> T,
) -> io::Result<T> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Zstandard frames that follow each other, the skippable ones left out.
struct Frames<R> {
    input: R,
    /// The one that is being read.
    frame: Option<Box<FrameDecoder>>,
}

impl<R: BufRead> Frames<R> {
    const fn new(input: R) -> Self {
        Self { input, frame: None }
    }

    /// Starts the next frame; false at the end of the file.
    fn next(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            let mut frame = Box::new(FrameDecoder::new());
            frame.set_max_window_size(MAX_WINDOW);
            match frame.init(&mut self.input) {
                Ok(()) => {
                    self.frame = Some(frame);
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.input).take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.frame.is_some() || self.next()? {
            let Some(frame) = &mut self.frame else {
                break;
            };
            if frame.can_collect() == 0 && !frame.is_finished() {
                let strategy = BlockDecodingStrategy::UptoBytes(buf.len());
                frame
                    .decode_blocks(&mut self.input, strategy)
                    .map_err(io::Error::other)?;
            }
            let read = frame.read(buf)?;
            if read > 0 || buf.is_empty() {
                return Ok(read);
            }
            if frame.is_finished() {
                let told = frame.get_checksum_from_data();
                if told.is_some() && told != frame.get_calculated_checksum() {
                    return Err(io::Error::other("the checksum is wrong"));
                }
                self.frame = None;
            }
        }
        Ok(0)
    }
}

/// LZ4 frames that follow each other: the library ends its stream with each.
#[cfg(feature = "lz4")]
struct Lz4<R: BufRead>(lz4_flex::frame::FrameDecoder<R>);

#[cfg(feature = "lz4")]
impl<R: BufRead> Read for Lz4<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.0.read(buf)?;
            if read > 0 || buf.is_empty() || self.0.get_mut().fill_buf()?.is_empty() {
                return Ok(read);
            }
        }
    }
}
