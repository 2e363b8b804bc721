//! Xpress compression, plain and Huffman, as Windows' own programs decode it.
//!
//! ```text
//! data --greedy, last place of three bytes--> literals and matches --> flags and pairs | codes and extra bits
//! ```
//!
//! Reference: [MS-XCA], sections 2.1 (Huffman) and 2.3 (plain).

use crate::bytes::{put_u16, put_u32};

/// A part of the data.
#[derive(Clone, Copy)]
enum Token {
    Literal(u8),
    /// Distance and length.
    Match(usize, usize),
}

/// Cuts data into literals and matches.
fn tokens(data: &[u8], farthest: usize) -> Vec<Token> {
    let mut places = vec![usize::MAX; 1 << 15];
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let mut found = 0;
        let mut distance = 0;
        if at + 3 <= data.len() {
            let three = u32::from_le_bytes([data[at], data[at + 1], data[at + 2], 0]);
            let slot = (three.wrapping_mul(2_654_435_761) >> 17) as usize;
            let place = places[slot];
            places[slot] = at;
            if place != usize::MAX && at - place <= farthest {
                distance = at - place;
                let pairs = data[at..].iter().zip(&data[place..]);
                found = pairs.take_while(|(a, b)| a == b).count();
            }
        }
        if found < 3 {
            tokens.push(Token::Literal(data[at]));
            at += 1;
        } else {
            tokens.push(Token::Match(distance, found));
            at += found;
        }
    }
    tokens
}

/// The plain variant.
#[must_use]
pub fn xpress_plain(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4];
    let (mut flags, mut count, mut flags_at) = (0_u32, 0, 0);
    let mut half: Option<usize> = None;
    for token in tokens(data, 0x2000) {
        let is_match = matches!(token, Token::Match(..));
        match token {
            Token::Literal(byte) => out.push(byte),
            Token::Match(distance, length) => pair(&mut out, &mut half, distance, length),
        }
        flags = flags << 1 | u32::from(is_match);
        count += 1;
        if count == 32 {
            put_u32(&mut out, flags_at, flags);
            flags_at = out.len();
            out.extend([0; 4]);
            count = 0;
        }
    }
    let rest = 32 - count;
    let ones = ((1_u64 << rest) - 1) as u32;
    put_u32(
        &mut out,
        flags_at,
        ((u64::from(flags) << rest) as u32) | ones,
    );
    out
}

fn pair(out: &mut Vec<u8>, half: &mut Option<usize>, distance: usize, length: usize) {
    let short = length - 3;
    out.extend((((distance - 1) << 3 | short.min(7)) as u16).to_le_bytes());
    if short < 7 {
        return;
    }
    let long = short - 7;
    match half.take() {
        Some(place) => out[place] |= (long.min(15) as u8) << 4,
        None => {
            *half = Some(out.len());
            out.push(long.min(15) as u8);
        }
    }
    if long < 15 {
        return;
    }
    if long - 15 < 255 {
        out.push((long - 15) as u8);
        return;
    }
    out.push(255);
    if short > 0xffff {
        out.extend([0; 2]);
        out.extend((short as u32).to_le_bytes());
        return;
    }
    out.extend((short as u16).to_le_bytes());
}

/// The Huffman variant, of at most 64 KiB.
#[must_use]
pub fn xpress_huffman(data: &[u8]) -> Vec<u8> {
    assert!(data.len() <= 0x10000, "one table serves 64 KiB");
    let tokens = tokens(data, 0xffff);
    let mut counts = [0_u64; 512];
    counts[256] = 1;
    for token in &tokens {
        counts[symbol(*token)] += 1;
    }
    let lengths = lengths(counts);
    let mut out: Vec<u8> = lengths
        .chunks(2)
        .map(|pair| pair[0] | pair[1] << 4)
        .collect();
    let codes = codes(&lengths);
    let mut bits = Bits::new(&mut out);
    for token in tokens {
        let symbol = symbol(token);
        bits.write(u32::from(lengths[symbol]), codes[symbol]);
        if let Token::Match(distance, length) = token {
            let (short, distance_bits) = (length - 3, distance.ilog2());
            if short >= 15 + 255 {
                bits.out.push(255);
                bits.out.extend((short as u16).to_le_bytes());
            } else if short >= 15 {
                bits.out.push((short - 15) as u8);
            }
            bits.write(distance_bits, distance as u32 - (1 << distance_bits));
        }
    }
    bits.write(u32::from(lengths[256]), codes[256]);
    bits.end();
    out
}

fn symbol(token: Token) -> usize {
    match token {
        Token::Literal(byte) => usize::from(byte),
        Token::Match(distance, length) => {
            256 + 16 * distance.ilog2() as usize + (length - 3).min(15)
        }
    }
}

/// Lengths of Huffman codes, 15 at most: counts are made more alike until that is so.
fn lengths(mut counts: [u64; 512]) -> [u8; 512] {
    loop {
        let mut trees: Vec<(u64, Vec<usize>)> = (0..512)
            .filter(|symbol| counts[*symbol] > 0)
            .map(|symbol| (counts[symbol], vec![symbol]))
            .collect();
        let mut lengths = [0_u8; 512];
        while trees.len() > 1 {
            trees.sort_by_key(|(count, symbols)| std::cmp::Reverse((*count, symbols[0])));
            let (a, b) = (trees.pop().unwrap(), trees.pop().unwrap());
            let symbols = [a.1, b.1].concat();
            for symbol in &symbols {
                lengths[*symbol] += 1;
            }
            trees.push((a.0 + b.0, symbols));
        }
        if lengths.iter().all(|length| *length <= 15) {
            return lengths;
        }
        for count in counts.iter_mut().filter(|count| **count > 0) {
            *count = *count / 2 + 1;
        }
    }
}

/// The codes that follow from the lengths: short ones first, then by symbol.
fn codes(lengths: &[u8; 512]) -> [u32; 512] {
    let mut codes = [0; 512];
    let mut next = 0;
    for length in 1..=15 {
        next <<= 1;
        for symbol in (0..512).filter(|symbol| lengths[*symbol] == length) {
            codes[symbol] = next;
            next += 1;
        }
    }
    codes
}

/// Bits in words of 16. Two words are always ahead of the bytes that are between them.
struct Bits<'o> {
    out: &'o mut Vec<u8>,
    places: [usize; 2],
    word: u32,
    free: u32,
}

impl<'o> Bits<'o> {
    fn new(out: &'o mut Vec<u8>) -> Self {
        let at = out.len();
        out.extend([0; 4]);
        Self {
            out,
            places: [at, at + 2],
            word: 0,
            free: 16,
        }
    }

    fn write(&mut self, count: u32, bits: u32) {
        if self.free >= count {
            self.free -= count;
            self.word = self.word << count | bits;
            return;
        }
        let later = count - self.free;
        let word = self.word << self.free | bits >> later;
        put_u16(self.out, self.places[0], word as u16);
        self.places = [self.places[1], self.out.len()];
        self.out.extend([0; 2]);
        self.free = 16 - later;
        self.word = bits & ((1 << later) - 1);
    }

    fn end(self) {
        put_u16(self.out, self.places[0], (self.word << self.free) as u16);
    }
}
