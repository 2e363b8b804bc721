//! The pieces by themselves: slots, headers, blocks, sums.

use guest_record::{
    Crc32, Half, HeaderFault, SLOT_BYTES, Slot, SlotError, Width, Writer, check_header, find_block,
    time,
};
use proptest::prelude::*;

use crate::machine::{GPA, GVA, Lab};
use crate::reader;

fn a_slot() -> Vec<u8> {
    let lab = Lab::new(Width::Bits64);
    lab.put_block();
    let (writer, _) = Writer::start(&lab, Width::Bits64, (GPA, GVA), 0x8664, Some(0x340)).unwrap();
    lab.crashes(0x9f);
    writer.crash(&lab, None);
    lab.bytes()[3 * 0x400..0x1000].to_vec()
}

#[test]
fn every_changed_bit_of_a_slot_is_noticed() {
    let mut slot = a_slot();
    let whole = Slot::read(&slot).unwrap();
    assert_eq!(whole.generation, 1 << 63 | 2);
    assert_eq!(whole.stop.unwrap().parameters, [1, 2, 3, 0x9f]);
    for bit in 0..slot.len() * 8 {
        slot[bit / 8] ^= 1 << (bit % 8);
        assert!(Slot::read(&slot).is_err(), "bit {bit}");
        slot[bit / 8] ^= 1 << (bit % 8);
    }
    for short in 0..slot.len() {
        assert!(Slot::read(&slot[..short]).is_err());
    }
}

#[test]
fn a_later_version_is_refused_and_more_fields_are_not() {
    let resum = |slot: &mut Vec<u8>| {
        let sum = reader::crc(&slot[..0x3fc]);
        slot[0x3fc..].copy_from_slice(&sum.to_le_bytes());
    };
    let mut slot = a_slot();
    let whole = Slot::read(&slot).unwrap();
    slot[10] = 7;
    slot[0x200] = 0xff;
    resum(&mut slot);
    assert_eq!(Slot::read(&slot), Ok(whole));
    slot[8] = 2;
    resum(&mut slot);
    assert_eq!(Slot::read(&slot), Err(SlotError::Version(0x0007_0002)));
}

#[test]
fn headers_that_are_refused() {
    for width in [Width::Bits32, Width::Bits64] {
        let lab = Lab::new(width);
        let wide = width == Width::Bits64;
        let good = lab.header(1);
        let check = |header: &[u8]| {
            let load = |at: u32| {
                let at = at as usize;
                u64::from_le_bytes(header[at..at + 8].try_into().unwrap())
            };
            check_header(load, width)
        };
        let facts = check(&good).unwrap();
        assert_eq!(facts.machine, if wide { 0x8664 } else { 0x14c });
        assert_eq!(facts.stop, None);
        let (runs, kind, block) = if wide {
            (0x88, 0xf98, 0x80)
        } else {
            (0x64, 0xf88, 0x60)
        };
        let most = if wide { 42 } else { 86 };
        for (at, value, fault) in [
            (0, 0, HeaderFault::Signature),
            (4, 0, HeaderFault::Signature),
            (kind, 2, HeaderFault::DumpType(2)),
            (runs, 0, HeaderFault::Runs(0)),
            (runs, most + 1, HeaderFault::Runs(most + 1)),
            (runs, u32::MAX, HeaderFault::Runs(u32::MAX)),
        ] {
            let mut header = good.clone();
            header[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert_eq!(check(&header), Err(fault));
        }
        let mut header = good.clone();
        header[block..block + if wide { 8 } else { 4 }].fill(0);
        assert_eq!(check(&header), Err(HeaderFault::NoDebuggerBlock));
        let mut header = good.clone();
        let up_time = if wide { 0x1030 } else { 0xfb8 };
        header[up_time..up_time + 8].fill(0);
        assert_eq!(check(&header), Err(HeaderFault::Unfinished));
        // As many runs as there is room for; each counts for the memory's sum.
        let mut header = good.clone();
        header[runs] = u8::try_from(most).unwrap();
        let most_runs = check(&header).unwrap().memory;
        let last = runs
            + if wide {
                16 + 42 * 16 - 1
            } else {
                8 + 86 * 8 - 1
            };
        header[last] ^= 1;
        assert_ne!(check(&header).unwrap().memory, most_runs);
    }
}

#[test]
fn a_block_in_a_triage_dump() {
    for (width, at) in [(Width::Bits64, 0x2070), (Width::Bits32, 0x1058)] {
        let mut dump = vec![0; 0x4000];
        dump[at..at + 4].copy_from_slice(&0x3000_u32.to_le_bytes());
        dump[at + 4..at + 8].copy_from_slice(&0x360_u32.to_le_bytes());
        assert_eq!(find_block(&dump, width), None, "no tag");
        dump[0x3010..0x3014].copy_from_slice(b"KDBG");
        dump[0x3014..0x3018].copy_from_slice(&0x340_u32.to_le_bytes());
        let place = find_block(&dump, width).unwrap();
        assert_eq!((place.offset, place.bytes), (0x3000, 0x340));
        assert_eq!(find_block(&dump[..0x335f], width), None, "cut short");
        dump[0x3014..0x3018].copy_from_slice(&0x368_u32.to_le_bytes());
        assert_eq!(find_block(&dump, width), None, "larger than its place");
    }
}

proptest! {
    #[test]
    fn sums_are_those_of_a_naive_one(bytes: Vec<u8>) {
        prop_assert_eq!(Crc32::new().bytes(&bytes).sum(), reader::crc(&bytes));
    }

    #[test]
    fn a_torn_slot_is_refused(cut in 8_usize..SLOT_BYTES as usize, other: u8) {
        let mut slot = a_slot();
        let whole = slot.clone();
        slot[cut..].fill(other);
        prop_assert!(slot == whole || Slot::read(&slot).is_err());
    }
}

/// Windows writes the second high half, the low half, the first: whatever it has written before each of the three
/// reads, the time is the old one or the new one.
#[test]
fn a_time_is_never_half_of_another() {
    let (old, new) = (0x5_ffff_fff0_u64, 0x6_0000_0010_u64);
    let half = |time: u64, high: bool| {
        let half = if high { time >> 32 } else { time & 0xffff_ffff };
        u32::try_from(half).unwrap()
    };
    let mut seen = Vec::new();
    // Stores that Windows has made before each read; later reads see the whole.
    for plan in (0..4).flat_map(|a| (a..4).flat_map(move |b| (b..4).map(move |c| [a, b, c]))) {
        let mut reads = 0;
        let found = time(|part| {
            let made = plan.get(reads).copied().unwrap_or(3);
            reads += 1;
            match part {
                Half::High2 => half(if made > 0 { new } else { old }, true),
                Half::Low => half(if made > 1 { new } else { old }, false),
                Half::High1 => half(if made > 2 { new } else { old }, true),
            }
        });
        assert!([old, new].contains(&found), "{plan:?}: {found:#x}");
        seen.push(found);
    }
    assert_eq!(seen.len(), 20);
    assert!(seen.contains(&old) && seen.contains(&new));
    // A processor that was stopped while it wrote: no time, and no end without one.
    let mut reads = 0;
    assert_eq!(
        time(|part| {
            reads += 1;
            u32::from(part == Half::High2)
        }),
        0
    );
    assert_eq!(reads, 48);
}
