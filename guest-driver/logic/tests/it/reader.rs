//! A reader as the format's page describes it, by offsets of its own.

use guest_record::PAGE_BYTES;

use crate::machine::GPA;

/// What the best valid slot names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) generation: u64,
    pub(crate) state: u32,
    pub(crate) code: Option<u32>,
    pub(crate) boot: Option<Vec<u8>>,
    pub(crate) refreshed: Option<Vec<u8>>,
    pub(crate) block: Option<Vec<u8>>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Bit by bit, as no program would do it.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        for bit in 0..8 {
            let one = (sum ^ u32::from(byte >> bit)) & 1;
            sum = (sum >> 1) ^ (one * 0xedb8_8320);
        }
    }
    !sum
}

/// The record in pages at [`GPA`]; an area whose sum is wrong is an error, because no writer may leave one.
pub(crate) fn read(pages: &[u8]) -> Option<Found> {
    let slots = pages[..PAGE_BYTES as usize].chunks_exact(0x400).enumerate();
    let valid = slots.filter(|(index, slot)| {
        slot.starts_with(b"C2DMPREC")
            && slot[8..10] == [1, 0]
            && crc(&slot[..0x3fc]) == u32_at(slot, 0x3fc)
            && u64_at(slot, 0x20) == GPA
            && u32_at(slot, 0x34) as usize == *index
    });
    let (_, slot) = valid.max_by_key(|(_, slot)| u64_at(slot, 0x10))?;
    let mut found = Found {
        generation: u64_at(slot, 0x10),
        state: u32_at(slot, 0x18),
        code: (u32_at(slot, 0x1c) & 1 == 1).then(|| u32_at(slot, 0x58)),
        boot: None,
        refreshed: None,
        block: None,
    };
    for area in slot[0x90..0x110].chunks_exact(32) {
        let kind = u32_at(area, 0);
        if kind == 0 {
            continue;
        }
        let at = usize::try_from(u64_at(area, 8) - GPA).unwrap();
        let bytes = pages[at..at + u32_at(area, 16) as usize].to_vec();
        assert_eq!(
            crc(&bytes),
            u32_at(area, 4),
            "an area of a valid slot is torn"
        );
        let place = match kind {
            1 => &mut found.boot,
            2 => &mut found.refreshed,
            3 => &mut found.block,
            _ => panic!("an area of kind {kind}"),
        };
        assert_eq!(place.replace(bytes), None);
    }
    Some(found)
}
