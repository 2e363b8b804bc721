//! Bytes of anyone: nothing panics, and nothing that was not written is read.
//!
//! Fuzz-like: seeds are whole slots, dumps and headers, damaged at random places with the values that break parsers.
//! `GUEST_RECORD_FUZZ=N` asks for more rounds than the default.

use guest_record::{Slot, Width, check_header, find_block};

use crate::machine::Lab;

/// `SplitMix64`: the same rounds each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

const BAD: [u64; 10] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    u64::MAX,
    1 << 63,
];

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(1)),
            2 => {
                let value = BAD[random.below(BAD.len())].to_le_bytes();
                let room = (bytes.len() - at).min(1 << random.below(4));
                bytes[at..at + room].copy_from_slice(&value[..room]);
            }
            _ => {
                let from = random.below(bytes.len());
                let room = (bytes.len() - at.max(from)).min(0x40);
                bytes.copy_within(from..from + room, at);
            }
        }
    }
}

fn rounds() -> u64 {
    let asked = std::env::var("GUEST_RECORD_FUZZ").ok();
    asked
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(20_000)
}

#[test]
fn damaged_slots() {
    let mut seed = vec![0; 0x400];
    seed[..8].copy_from_slice(b"C2DMPREC");
    seed[8..16].copy_from_slice(&[1, 0, 0, 0, 0, 4, 0, 0]);
    seed[0x18] = 1;
    let mut random = Random(1);
    let mut read = 0;
    for _ in 0..rounds() {
        let mut slot = seed.clone();
        damage(&mut random, &mut slot);
        // A forger sums what he writes, so that all behind the sum is reached.
        if slot.len() == 0x400 {
            let sum = crate::reader::crc(&slot[..0x3fc]);
            slot[0x3fc..].copy_from_slice(&sum.to_le_bytes());
        }
        read += u64::from(Slot::read(&slot).is_ok());
    }
    assert!(
        read > rounds() / 10,
        "the seed is damaged too much to be read: {read}"
    );
}

#[test]
fn damaged_dumps() {
    let mut random = Random(2);
    let mut found = 0;
    for (width, at) in [(Width::Bits64, 0x2070), (Width::Bits32, 0x1058)] {
        let mut seed = vec![0; 0x2800];
        seed[at..at + 4].copy_from_slice(&0x2400_u32.to_le_bytes());
        seed[at + 4..at + 8].copy_from_slice(&0x340_u32.to_le_bytes());
        seed[0x2410..0x2414].copy_from_slice(b"KDBG");
        seed[0x2414..0x2418].copy_from_slice(&0x340_u32.to_le_bytes());
        for _ in 0..rounds() / 4 {
            let mut dump = seed.clone();
            damage(&mut random, &mut dump);
            if let Some(place) = find_block(&dump, width) {
                let end = place.offset as usize + place.bytes as usize;
                assert!(end <= dump.len() && place.bytes < 0x1000);
                found += 1;
            }
        }
    }
    assert!(found > 0);
}

#[test]
fn damaged_headers() {
    let mut random = Random(3);
    for width in [Width::Bits32, Width::Bits64] {
        let seed = Lab::new(width).header(1);
        for _ in 0..rounds() / 4 {
            let mut header = seed.clone();
            damage(&mut random, &mut header);
            header.resize(seed.len(), 0);
            let load = |at: u32| {
                let at = at as usize;
                u64::from_le_bytes(header[at..at + 8].try_into().unwrap())
            };
            if check_header(load, width).is_ok() {
                let kind = if width == Width::Bits64 { 0xf98 } else { 0xf88 };
                assert_eq!(header[kind..kind + 4], [1, 0, 0, 0]);
            }
        }
    }
}
