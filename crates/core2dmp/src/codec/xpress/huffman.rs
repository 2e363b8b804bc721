//! The Huffman variant: [MS-XCA] 2.2.
//!
//! ```text
//! symbol   0..256 a literal | 256 + 16 * bits of the distance + short length: a match
//! ```

use super::{Input, Invalid, repeat};

/// Bytes that one table serves.
const BLOCK: usize = 1 << 16;
/// Bytes of the table.
const TABLE: usize = 256;
/// The longest code.
const LONGEST: u32 = 15;
/// The first symbol of a match; at the end of the data it is the end.
const MATCH: u16 = 256;
/// Bytes of the shortest match.
const SHORTEST: u32 = 3;
/// Bits of an entry that are the symbol; those above are the code's length.
const SYMBOL_BITS: u32 = 9;
/// Words that may be read behind the end: the reader looks ahead, and not every writer fills up.
const AHEAD: u32 = 2;

/// Decodes one table's worth, at most 64 KiB, until `output` is full or the data says that it ends.
pub(crate) fn decode(input: &[u8], output: &mut [u8]) -> Result<usize, Invalid> {
    if output.len() > BLOCK {
        return Err(Input::new(input, 0).invalid("more than 64 KiB are asked for"));
    }
    let codes = codes(input)?;
    let mut bits = Bits::new(Input::new(input, TABLE))?;
    let mut at = 0_usize;
    while at < output.len() {
        let symbol = bits.symbol(&codes)?;
        if symbol < MATCH {
            if let Some(to) = output.get_mut(at) {
                *to = u8::try_from(symbol).unwrap_or(0);
            }
            at = at.saturating_add(1);
            continue;
        }
        if symbol == MATCH && bits.input.is_empty() {
            break;
        }
        let (length, distance) = bits.pair(symbol)?;
        at = repeat(output, at, distance, length)
            .ok_or_else(|| bits.input.invalid("a match before the beginning"))?;
    }
    Ok(at)
}

/// What each 15 bits begin with: a symbol, and how many of the bits are its.
fn codes(input: &[u8]) -> Result<Vec<u16>, Invalid> {
    let table = Input::new(input, 0);
    let lengths = input
        .get(..TABLE)
        .ok_or_else(|| table.invalid("the data ends inside the table of codes"))?;
    let mut codes = Vec::with_capacity(1 << LONGEST);
    for length in 1..=LONGEST {
        for (symbol, symbol_length) in (0_u16..).zip(lengths.iter().flat_map(|b| [b & 15, b >> 4]))
        {
            if u32::from(symbol_length) != length {
                continue;
            }
            let entry = symbol | u16::from(symbol_length) << SYMBOL_BITS;
            let count = 1_usize << LONGEST.saturating_sub(length);
            if codes.len().saturating_add(count) > 1 << LONGEST {
                return Err(table.invalid("a table of more codes than there are"));
            }
            codes.resize(codes.len().saturating_add(count), entry);
        }
    }
    if codes.len() < 1 << LONGEST {
        return Err(table.invalid("a table of fewer codes than there are"));
    }
    Ok(codes)
}

/// Bits, taken from words of 16 of them; bytes are between the words.
struct Bits<'a> {
    input: Input<'a>,
    /// The next bits, the first on top.
    next: u32,
    /// How many of them there are, less 16.
    extra: u32,
    /// Words that were read behind the end.
    ahead: u32,
}

impl<'a> Bits<'a> {
    fn new(input: Input<'a>) -> Result<Self, Invalid> {
        let mut bits = Self {
            input,
            next: 0,
            extra: 16,
            ahead: 0,
        };
        let (first, second) = (bits.word()?, bits.word()?);
        bits.next = first << 16 | second;
        Ok(bits)
    }

    fn word(&mut self) -> Result<u32, Invalid> {
        if let Some(word) = self.input.u16() {
            return Ok(u32::from(word));
        }
        self.ahead = self.ahead.saturating_add(1);
        if self.ahead > AHEAD {
            return Err(self.input.invalid("the data ends too soon"));
        }
        Ok(0)
    }

    /// Drops `count` bits, at most 16.
    fn skip(&mut self, count: u32) -> Result<(), Invalid> {
        self.next = self.next.checked_shl(count).unwrap_or(0);
        match self.extra.checked_sub(count) {
            Some(extra) => self.extra = extra,
            None => {
                let missing = count.saturating_sub(self.extra);
                let word = self.word()?;
                self.next |= word.checked_shl(missing).unwrap_or(0);
                self.extra = 16_u32.saturating_sub(missing);
            }
        }
        Ok(())
    }

    fn symbol(&mut self, codes: &[u16]) -> Result<u16, Invalid> {
        let index = usize::try_from(self.next >> (32 - LONGEST)).unwrap_or(0);
        let entry = codes.get(index).copied().unwrap_or(0);
        self.skip(u32::from(entry >> SYMBOL_BITS))?;
        Ok(entry & ((1 << SYMBOL_BITS) - 1))
    }

    /// Length and distance of the match that `symbol` begins.
    fn pair(&mut self, symbol: u16) -> Result<(usize, usize), Invalid> {
        let symbol = u32::from(symbol.saturating_sub(MATCH));
        let (mut length, distance_bits) = (symbol & 15, symbol >> 4);
        if length == 15 {
            length = u32::from(self.input.u8().ok_or_else(|| self.input.ended())?);
            if length == 255 {
                let wide = self.input.u16().ok_or_else(|| self.input.ended())?;
                length = match wide {
                    0 => self.input.u32().ok_or_else(|| self.input.ended())?,
                    wide => u32::from(wide),
                };
                length = length
                    .checked_sub(15)
                    .ok_or_else(|| self.input.invalid("a match too short for its length field"))?;
            }
            length = length.saturating_add(15);
        }
        let low = self.next.checked_shr(32_u32.saturating_sub(distance_bits));
        let distance = low.unwrap_or(0) | 1 << distance_bits;
        self.skip(distance_bits)?;
        let length = usize::try_from(length.saturating_add(SHORTEST)).unwrap_or(usize::MAX);
        Ok((length, usize::try_from(distance).unwrap_or(usize::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with these lengths, and what follows it.
    fn block(lengths: &[(usize, u8)], rest: &[u8]) -> Vec<u8> {
        let mut block = vec![0; TABLE];
        for (symbol, length) in lengths {
            block[symbol / 2] |= length << (symbol % 2 * 4);
        }
        block.extend(rest);
        block
    }

    fn decoded(input: &[u8], size: usize) -> Result<Vec<u8>, Invalid> {
        let mut output = vec![0xee; size];
        let made = decode(input, &mut output)?;
        output.truncate(made);
        Ok(output)
    }

    /// [MS-XCA] 3.2, example 1: 22 letters have 5 bits, the other four and the end 4.
    #[test]
    fn the_alphabet() {
        let mut input = vec![0; TABLE];
        input[0x30..0x3e].copy_from_slice(&[
            0x50, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x45, 0x44, 0x04,
        ]);
        input[0x80] = 0x04;
        input.extend([
            0xd8, 0x52, 0x3e, 0xd7, 0x94, 0x11, 0x5b, 0xe9, 0x19, 0x5f, 0xf9, 0xd6, 0x7c, 0xdf,
            0x8d, 0x04, 0, 0, 0, 0,
        ]);
        let wanted: Vec<u8> = (b'a'..=b'z').collect();
        assert_eq!(decoded(&input, 26).unwrap(), wanted);
        assert_eq!(decoded(&input, 100).unwrap(), wanted);
    }

    /// [MS-XCA] 3.2, example 2.
    #[test]
    fn abc_a_hundred_times() {
        let lengths = [(0x61, 3), (0x62, 3), (0x63, 2), (0x100, 2), (0x11f, 2)];
        let input = block(&lengths, &[0xa8, 0xdc, 0, 0, 0xff, 0x26, 0x01]);
        assert_eq!(decoded(&input, 300).unwrap(), b"abc".repeat(100));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let what = |input: &[u8]| decoded(input, 100).unwrap_err().what;
        assert_eq!(what(&[0; 255]), "the data ends inside the table of codes");
        assert_eq!(
            what(&block(&[(1, 1)], &[])),
            "a table of fewer codes than there are"
        );
        assert_eq!(
            what(&block(&[(1, 1), (2, 1), (3, 1)], &[])),
            "a table of more codes than there are"
        );
        // All literals, 100 of them from 16 bits and the zeros ahead.
        assert_eq!(
            what(&block(&[(1, 1), (2, 1)], &[0, 0])),
            "the data ends too soon"
        );
        let first_match = block(&[(1, 1), (0x101, 1)], &[0xff; 8]);
        assert_eq!(what(&first_match), "a match before the beginning");
        let cut = block(&[(1, 1), (0x10f, 1)], &[0, 0x40, 0, 0]);
        assert_eq!(what(&cut), "the data ends inside a match");
        assert!(decode(&first_match, &mut vec![0; BLOCK + 1]).is_err());
    }
}
