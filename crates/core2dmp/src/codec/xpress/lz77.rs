//! The plain variant: [MS-XCA] 2.4.

use super::{Input, Invalid, repeat};

/// What the length field of a match holds when more follows; its 4 bits, its 8 bits.
const MORE: [u32; 3] = [7, 15, 255];
/// Bytes of the shortest match.
const SHORTEST: u32 = 3;

/// Decodes until `output` is full or `input` ends; how many bytes were made.
pub(crate) fn decode(input: &[u8], output: &mut [u8]) -> Result<usize, Invalid> {
    let mut input = Input::new(input, 0);
    let mut half = None;
    let (mut flags, mut left) = (0_u32, 0_u32);
    let mut at = 0_usize;
    while at < output.len() {
        if left == 0 {
            let Some(next) = input.u32() else {
                break;
            };
            (flags, left) = (next, 32);
        }
        left = left.saturating_sub(1);
        if flags >> left & 1 == 0 {
            let (Some(to), Some(literal)) = (output.get_mut(at), input.u8()) else {
                break;
            };
            *to = literal;
            at = at.saturating_add(1);
            continue;
        }
        // The last flags are ones where nothing follows.
        let Some(pair) = input.u16() else {
            break;
        };
        let distance = usize::from(pair >> 3).saturating_add(1);
        let length = length(&mut input, u32::from(pair & 7), &mut half)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        at = repeat(output, at, distance, length)
            .ok_or_else(|| input.invalid("a match before the beginning"))?;
    }
    Ok(at)
}

/// The length of a match whose three bits are `short`. Two long ones share a byte: `half` is what the first left.
fn length(input: &mut Input<'_>, short: u32, half: &mut Option<u8>) -> Result<u32, Invalid> {
    let [short_more, nibble_more, byte_more] = MORE;
    let mut length = short;
    if length == short_more {
        let nibble = match half.take() {
            Some(high) => high,
            None => {
                let byte = input.u8().ok_or_else(|| input.ended())?;
                *half = Some(byte >> 4);
                byte & 15
            }
        };
        length = u32::from(nibble);
        if length == nibble_more {
            length = u32::from(input.u8().ok_or_else(|| input.ended())?);
            if length == byte_more {
                let wide = input.u16().ok_or_else(|| input.ended())?;
                length = match wide {
                    0 => input.u32().ok_or_else(|| input.ended())?,
                    wide => u32::from(wide),
                };
                // The whole length is there: what was counted so far is taken off again.
                length = length
                    .checked_sub(nibble_more.saturating_add(short_more))
                    .ok_or_else(|| input.invalid("a match too short for its length field"))?;
            }
            length = length.saturating_add(nibble_more);
        }
        length = length.saturating_add(short_more);
    }
    Ok(length.saturating_add(SHORTEST))
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

    /// [MS-XCA] 3.1, example 1.
    #[test]
    fn the_alphabet() {
        let mut input = vec![0x3f, 0, 0, 0];
        input.extend(b'a'..=b'z');
        let wanted: Vec<u8> = (b'a'..=b'z').collect();
        assert_eq!(decoded(&input, 26).unwrap(), wanted);
        assert_eq!(decoded(&input, 100).unwrap(), wanted);
        assert_eq!(decoded(&input, 5).unwrap(), wanted[..5]);
    }

    /// [MS-XCA] 3.1, example 2.
    #[test]
    fn abc_a_hundred_times() {
        let input = [
            0xff, 0xff, 0xff, 0x1f, 0x61, 0x62, 0x63, 0x17, 0x00, 0x0f, 0xff, 0x26, 0x01,
        ];
        assert_eq!(decoded(&input, 300).unwrap(), b"abc".repeat(100));
    }

    /// A match of ten bytes, and one whose length is in the other half of the same byte.
    #[test]
    fn two_lengths_share_a_byte() {
        // Flags: a literal, two matches, ones.
        let mut input = 0x7fff_ffff_u32.to_le_bytes().to_vec();
        input.extend([b'x', 7, 0, 0x10, 7, 0]);
        assert_eq!(decoded(&input, 100).unwrap(), vec![b'x'; 1 + 10 + 11]);
    }

    #[test]
    fn what_cannot_be_is_told() {
        let flags = u32::MAX.to_le_bytes();
        let with = |rest: &[u8]| decoded(&[flags.as_slice(), rest].concat(), 100);
        assert_eq!(
            with(&[0, 0]).unwrap_err().what,
            "a match before the beginning"
        );
        assert_eq!(
            with(&[7, 0]).unwrap_err().what,
            "the data ends inside a match"
        );
        assert_eq!(with(&[7, 0, 15]).unwrap_err().at, 7);
        assert_eq!(
            with(&[7, 0, 15, 255, 3, 0]).unwrap_err().what,
            "a match too short for its length field"
        );
        assert_eq!(with(&[7, 0, 15, 255, 0, 0, 1]).unwrap_err().at, 10);
        assert_eq!(with(&[]).unwrap(), [0_u8; 0]);
    }
}
