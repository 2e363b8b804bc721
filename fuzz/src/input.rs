//! What an input says: which seed, and which of its words become what.
//!
//! ```text
//! byte 0            >= 0x80: the rest is a file as it is; else the seed, modulo their number
//! records of 12     word u24 | how u8 | value u64, little-endian
//!
//! word              which word of the seed, of those that are not zero; modulo their number
//! how, bits 0-1     1, 2, 4 or 8 bytes        bits 5-7   first byte in the word
//! how, bits 2-4     0 set, 1 add, 2 exclusive or, 3 copy the word of number `value`, 4 end the file there,
//!                   5 set register `word` of a vCPU, 6 make the frame absent, 7 set a word at any offset
//! ```

use std::io;
use std::sync::Arc;

use core2dmp::source::ReadAt;

/// Patches of one input that count.
const MOST: usize = 64;

/// A file to begin with.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Its bytes.
    pub bytes: Arc<Vec<u8>>,
    words: Arc<Vec<u64>>,
}

impl Seed {
    /// Of a file's bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let whole = bytes.chunks_exact(8).zip((0_u64..).step_by(8));
        let words = whole.filter(|(word, _)| **word != [0; 8]);
        let words = words.map(|(_, at)| at).collect();
        Self {
            bytes: Arc::new(bytes),
            words: Arc::new(words),
        }
    }

    fn word(&self, number: u64) -> u64 {
        let count = self.words.len().max(1) as u64;
        let index = usize::try_from(number % count).unwrap_or(0);
        self.words.get(index).copied().unwrap_or(0)
    }

    fn value(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        let _ = self.bytes.read_at(at, &mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// The number of a word.
    pub word: u64,
    /// What is done.
    pub kind: u8,
    /// With what.
    pub value: u64,
    size: usize,
    skip: u64,
}

/// The records of an input, behind its first byte.
pub fn records(data: &[u8]) -> impl Iterator<Item = Record> + '_ {
    let rest = data.get(1..).unwrap_or_default();
    rest.chunks_exact(12).take(MOST).map(|raw| {
        let mut value = [0; 8];
        value.copy_from_slice(&raw[4..]);
        Record {
            word: u64::from_le_bytes([raw[0], raw[1], raw[2], 0, 0, 0, 0, 0]),
            kind: raw[3] >> 2 & 7,
            value: u64::from_le_bytes(value),
            size: 1 << (raw[3] & 3),
            skip: u64::from(raw[3] >> 5),
        }
    })
}

/// A seed with other bytes in some places.
#[derive(Debug, Clone)]
pub struct Patched {
    base: Arc<Vec<u8>>,
    end: u64,
    patches: Vec<(u64, [u8; 8], usize)>,
}

impl Patched {
    /// What the input makes of the seed; records about registers and frames are left to the caller.
    #[must_use]
    pub fn new(seed: &Seed, data: &[u8]) -> Self {
        let mut patched = Self {
            base: Arc::clone(&seed.bytes),
            end: seed.bytes.len() as u64,
            patches: Vec::new(),
        };
        for record in records(data) {
            let at = seed.word(record.word) + record.skip;
            let old = seed.value(at);
            let (at, new) = match record.kind {
                0 => (at, record.value),
                1 => (at, old.wrapping_add(record.value)),
                2 => (at, old ^ record.value),
                3 => (at, seed.value(seed.word(record.value))),
                4 => {
                    patched.end = patched.end.min(at);
                    continue;
                }
                7 => {
                    let length = patched.base.len().max(1) as u64;
                    let any = record.word.wrapping_mul(record.value >> 48 | 1) % length;
                    (any + record.skip, record.value)
                }
                _ => continue,
            };
            patched.patches.push((at, new.to_le_bytes(), record.size));
        }
        patched
    }
}

impl ReadAt for Patched {
    fn size(&self) -> u64 {
        self.end
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let most = buf.len().min(left);
        let read = self.base.read_at(offset, &mut buf[..most])?;
        for (at, bytes, size) in &self.patches {
            for (byte, place) in bytes.iter().take(*size).zip(*at..) {
                let inside = place.checked_sub(offset).map(usize::try_from);
                if let Some(Ok(inside)) = inside
                    && inside < read
                {
                    buf[inside] = *byte;
                }
            }
        }
        Ok(read)
    }
}

/// The file that an input describes: as it is, or a patched seed.
#[must_use]
pub fn file(seeds: &[Seed], data: &[u8]) -> Option<Arc<dyn ReadAt>> {
    let (first, rest) = data.split_first()?;
    if *first >= 0x80 {
        return Some(Arc::new(rest.to_vec()));
    }
    let seed = &seeds[usize::from(*first) % seeds.len()];
    Some(Arc::new(Patched::new(seed, data)))
}

/// Inputs that are the seeds: by number, and the small ones as they are.
#[must_use]
pub fn inputs(seeds: &[Seed]) -> Vec<Vec<u8>> {
    const SMALL: usize = 48 << 10;
    let by_number = (0..seeds.len()).map(|number| vec![number as u8; 13]);
    let small = seeds.iter().filter(|seed| seed.bytes.len() <= SMALL);
    let whole = small.map(|seed| [&[0x80], seed.bytes.as_slice()].concat());
    by_number.chain(whole).collect()
}
