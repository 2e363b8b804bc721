//! One page, by the way that it was compressed.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::FrameDecoder;

use crate::address::PAGE_BYTES;
use crate::format::kdump::{FLAG_LZO, FLAG_SNAPPY, FLAG_ZLIB, FLAG_ZSTD};

/// The window of a Zstandard frame that is accepted. One page needs a page; writers do not always say so.
const ZSTD_WINDOW: u64 = 1 << 20;

/// How a page is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Plain,
    Zlib,
    Lzo,
    Snappy,
    Zstd,
}

impl Codec {
    /// What a descriptor's flags say.
    pub(super) fn of(flags: u32) -> Result<Self, String> {
        match flags {
            0 => Ok(Self::Plain),
            FLAG_ZLIB => Ok(Self::Zlib),
            FLAG_LZO => Ok(Self::Lzo),
            FLAG_SNAPPY => Ok(Self::Snappy),
            FLAG_ZSTD => Ok(Self::Zstd),
            other => Err(format!("compressed in an unknown way: flags {other:#x}")),
        }
    }
}

/// The state of each way that has some, kept from page to page.
#[derive(Default)]
pub(super) struct Decompressor {
    input: Vec<u8>,
    zlib: Option<Decompress>,
    zstd: Option<FrameDecoder>,
}

impl Decompressor {
    /// Where the compressed bytes go.
    pub(super) fn input(&mut self, bytes: usize) -> &mut [u8] {
        self.input.resize(bytes, 0);
        &mut self.input
    }

    /// Makes the page; `Err` says why not.
    pub(super) fn run(&mut self, codec: Codec, page: &mut [u8; PAGE_BYTES]) -> Result<(), String> {
        let made = match codec {
            Codec::Plain => {
                let whole = <&[u8; PAGE_BYTES]>::try_from(self.input.as_slice()).ok();
                if let Some(whole) = whole {
                    page.copy_from_slice(whole);
                }
                Ok(self.input.len())
            }
            Codec::Zlib => self.zlib(page),
            Codec::Lzo => lzo::decompress_into(&self.input, page).map_err(|e| tell("LZO", e)),
            Codec::Snappy => snap::raw::Decoder::new()
                .decompress(&self.input, page)
                .map_err(|e| tell("Snappy", e)),
            Codec::Zstd => self.zstd(page),
        }?;
        if made == PAGE_BYTES {
            return Ok(());
        }
        Err(format!("{codec:?} data of {made} bytes instead of a page"))
    }

    fn zlib(&mut self, page: &mut [u8]) -> Result<usize, String> {
        let zlib = self.zlib.get_or_insert_with(|| Decompress::new(true));
        zlib.reset(true);
        let status = zlib
            .decompress(&self.input, page, FlushDecompress::Finish)
            .map_err(|e| tell("zlib", e))?;
        if status != Status::StreamEnd {
            return Err("zlib: the stream does not end with the page".to_owned());
        }
        Ok(usize::try_from(zlib.total_out()).unwrap_or(usize::MAX))
    }

    fn zstd(&mut self, page: &mut [u8]) -> Result<usize, String> {
        let zstd = self.zstd.get_or_insert_with(|| {
            let mut decoder = FrameDecoder::new();
            decoder.set_max_window_size(ZSTD_WINDOW);
            decoder
        });
        let made = zstd.decode_all(&self.input, page);
        // A decoder that failed has an unknown state.
        if made.is_err() {
            self.zstd = None;
        }
        made.map_err(|e| tell("Zstandard", e))
    }
}

fn tell(way: &str, error: impl fmt::Display) -> String {
    format!("{way}: {error}")
}
