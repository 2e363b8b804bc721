//! LZNT1, decoded: what NTFS and `RtlCompressBuffer` use.
//!
//! ```text
//! chunk of 4 KiB: header (16): bytes less one, tag 3, compressed? | flags (8) | literal or pair, 8 times | ..
//! ```
//!
//! How many bits of a pair are the distance follows from how far into the chunk it is.
//!
//! Source: [MS-XCA], Xpress Compression Algorithm, section 2.5, with its example (3.3) as a test.

use super::xpress::{Input, Invalid, repeat};

/// Bytes that a chunk holds; all but the last are filled up with zeros.
const CHUNK: usize = 0x1000;
/// Bits 12 to 14 of a chunk's header.
const TAG: u16 = 3;
/// The shortest match.
const SHORTEST: usize = 3;

/// Decodes until `output` is full or `input` ends; how many bytes were made.
pub(crate) fn decode(input: &[u8], output: &mut [u8]) -> Result<usize, Invalid> {
    let mut input = Input::new(input, 0);
    let mut made = 0_usize;
    for chunk in output.chunks_mut(CHUNK) {
        let Some(header) = input.u16().filter(|header| *header != 0) else {
            break;
        };
        let size = usize::from(header & 0xfff).saturating_add(1);
        if header >> 12 & 7 != TAG {
            return Err(input.invalid("a chunk without its tag"));
        }
        let mut data = input
            .part(size)
            .ok_or_else(|| input.invalid("the data ends inside a chunk"))?;
        let length = chunk.len();
        let done = if header >> 15 == 0 {
            let bytes = size.min(length);
            for to in chunk.iter_mut().take(bytes) {
                *to = data.u8().unwrap_or(0);
            }
            bytes
        } else {
            decode_chunk(&mut data, chunk)?
        };
        chunk.get_mut(done..).unwrap_or_default().fill(0);
        // Where another chunk follows, the zeros count.
        let is_last = input.is_empty();
        made = made.saturating_add(if is_last { done } else { length });
    }
    Ok(made)
}

fn decode_chunk(input: &mut Input<'_>, chunk: &mut [u8]) -> Result<usize, Invalid> {
    let mut at = 0_usize;
    while let Some(flags) = input.u8() {
        for bit in 0..8 {
            if at >= chunk.len() || input.is_empty() {
                return Ok(at);
            }
            if flags >> bit & 1 == 0 {
                if let (Some(to), Some(literal)) = (chunk.get_mut(at), input.u8()) {
                    *to = literal;
                }
                at = at.saturating_add(1);
                continue;
            }
            let pair = input.u16().ok_or_else(|| input.ended())?;
            let length_bits = 16_u32.saturating_sub(distance_bits(at));
            let length =
                usize::from(pair & 1_u16.checked_shl(length_bits).unwrap_or(0).wrapping_sub(1));
            let distance = pair.checked_shr(length_bits).unwrap_or(0);
            let distance = usize::from(distance).saturating_add(1);
            at = repeat(chunk, at, distance, length.saturating_add(SHORTEST))
                .ok_or_else(|| input.invalid("a match before the beginning of its chunk"))?;
        }
    }
    Ok(at)
}

/// Bits that name a distance, `at` bytes into a chunk: 4 at least, and as many as it takes.
fn distance_bits(at: usize) -> u32 {
    let last = at.saturating_sub(1);
    last.checked_ilog2()
        .map_or(4, |log| log.saturating_add(1).max(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8], size: usize) -> Result<Vec<u8>, Invalid> {
        let mut output = vec![0xee; size];
        let made = decode(input, &mut output)?;
        output.truncate(made);
        Ok(output)
    }

    /// [MS-XCA] 3.3.
    #[test]
    fn the_melody() {
        let input = [
            0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2,
            0x47, 0x01, 0xa0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0,
            0x45, 0x20, 0x05, 0x24, 0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58,
            0x02, 0x8c, 0x09, 0x16, 0x01, 0x48, 0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01,
            0x18, 0x90, 0x00,
        ];
        let wanted = b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
        assert_eq!(decoded(&input, 500).unwrap(), wanted);
    }

    #[test]
    fn chunks_as_they_are_and_short_ones() {
        // 2 bytes as they are, then one compressed literal, then the end.
        let input = [0x01, 0x30, b'a', b'b', 0x01, 0xb0, 0, b'c', 0, 0, 9, 9];
        let mut wanted = b"ab".to_vec();
        wanted.resize(CHUNK, 0);
        wanted.push(b'c');
        wanted.resize(2 * CHUNK, 0);
        assert_eq!(decoded(&input, 3 * CHUNK).unwrap(), wanted);
        assert_eq!(decoded(&input[..4], 3 * CHUNK).unwrap(), b"ab");
    }

    #[test]
    fn what_cannot_be_is_told() {
        let what = |input: &[u8]| decoded(input, 100).unwrap_err().what;
        assert_eq!(what(&[1, 0x80, 1, 1]), "a chunk without its tag");
        assert_eq!(what(&[1, 0xb0, 1]), "the data ends inside a chunk");
        assert_eq!(what(&[1, 0xb0, 1, 0]), "the data ends inside a match");
        assert_eq!(
            what(&[3, 0xb0, 2, b'x', 0, 0x10]),
            "a match before the beginning of its chunk"
        );
    }
}
