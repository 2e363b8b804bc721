//! A dump as DumpIt compresses it.
//!
//! ```text
//! "ZDMP" 0x100, size, block size, type 1, LZNT1 | up to 0x1000 | "ZBLK" size CRC data | ...
//! ```
//!
//! References: z2dmp-rust, `zdmp.rs`; [MS-XCA] 2.5 for LZNT1.

use flate2::Crc;

/// The dump in blocks of this many bytes.
#[must_use]
pub fn zdmp(dump: &[u8], block_size: usize) -> Vec<u8> {
    let mut file = b"ZDMP".to_vec();
    file.extend(0x100_u32.to_le_bytes());
    file.extend((dump.len() as u64).to_le_bytes());
    file.extend((block_size as u32).to_le_bytes());
    file.extend([1, 0, 2, 0]);
    file.resize(0x1000, 0);
    for block in dump.chunks(block_size) {
        let mut data = block.to_vec();
        data.resize(block_size, 0);
        let packed = lznt1(&data);
        let data = if packed.len() < data.len() {
            packed
        } else {
            data
        };
        let mut crc = Crc::new();
        crc.update(&data);
        file.extend(b"ZBLK");
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(crc.sum().to_le_bytes());
        file.extend(data);
    }
    file
}

/// LZNT1, a chunk for each 4 KiB.
fn lznt1(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in data.chunks(0x1000) {
        let packed = pack(chunk);
        let (flag, bytes) = if packed.len() < chunk.len() {
            (0xb000, packed.as_slice())
        } else {
            (0x3000, chunk)
        };
        out.extend((flag | (bytes.len() - 1) as u16).to_le_bytes());
        out.extend(bytes);
    }
    out
}

fn pack(chunk: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = vec![usize::MAX; 1 << 12];
    let (mut at, mut flags_at, mut bit) = (0, 0, 8);
    while at < chunk.len() {
        if bit == 8 {
            (flags_at, bit) = (out.len(), 0);
            out.push(0);
        }
        // As many bits for the distance as it takes to reach the chunk's beginning, but 4.
        let mut distance_bits = 4;
        while 1 << distance_bits < at {
            distance_bits += 1;
        }
        let length_bits = 16 - distance_bits;
        let (mut length, mut distance) = (0, 0);
        if at + 3 <= chunk.len() {
            let three = u32::from_le_bytes([chunk[at], chunk[at + 1], chunk[at + 2], 0]);
            let slot = (three.wrapping_mul(2_654_435_761) >> 20) as usize;
            if last[slot] != usize::MAX {
                distance = at - last[slot];
                let pairs = chunk[at..].iter().zip(&chunk[last[slot]..]);
                let most = (1 << length_bits) - 1 + 3;
                length = pairs.take(most).take_while(|(a, b)| a == b).count();
            }
            last[slot] = at;
        }
        if length < 3 {
            out.push(chunk[at]);
            at += 1;
        } else {
            out[flags_at] |= 1 << bit;
            let pair = (distance - 1) << length_bits | (length - 3);
            out.extend((pair as u16).to_le_bytes());
            at += length;
        }
        bit += 1;
    }
    out
}
