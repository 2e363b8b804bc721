//! Hyper-V's saved states whose processors are damaged, and any byte of them changed.

#![expect(
    clippy::cast_possible_truncation,
    reason = "files are built from numbers of known size"
)]

use core2dmp::address::Gpa;
use proptest::prelude::*;

use super::hyperv_bad::{FILE, PACKED, SMALL, entry, memchr_all, with_value};
use crate::support::bad::salvage;
use crate::support::containers::{assert_memory, open};
use crate::support::patch::patched;
#[test]
fn the_state_of_the_processors_may_be_broken() {
    let at = entry(&FILE, "partition_state") + 21 + 16;
    let state = u64::from_le_bytes(FILE[at + 4..at + 12].try_into().unwrap()) as usize;
    let warnings = |file: Vec<u8>| {
        let opened = open(file).unwrap();
        assert_memory(&opened, &SMALL);
        opened.container.warnings
    };
    let of = "the state of the processors: ";
    assert_eq!(
        warnings(patched(FILE.clone(), state + 44, &[0xff; 4])),
        [format!(
            "{of}a chunk at 0x28 of 0xffffffff bytes reaches beyond its end"
        )]
    );
    assert_eq!(
        warnings(patched(FILE.clone(), state + 8, &[0xff; 8])),
        [format!("{of}its chunks do not end")]
    );
    let size = |bytes: u32| with_value(&FILE, "partition_state", 0, &bytes.to_le_bytes());
    assert_eq!(
        warnings(size(0x28 + 4080)),
        [format!("{of}its chunks do not end")]
    );
    assert_eq!(
        warnings(size(0x1100)),
        [format!(
            "{of}a chunk at 0x10b4 of 0x90 bytes reaches beyond its end"
        )]
    );
    assert_eq!(
        warnings(size(u32::MAX)),
        ["partition_state of 0xffffffff bytes, too large to be one: no registers"]
    );
    let end = FILE.len() as u64 - 100;
    assert_eq!(
        warnings(with_value(&FILE, "partition_state", 4, &end.to_le_bytes())).len(),
        1
    );
    // A vCPU without its control registers.
    let id = 0x3000_7000_u32.to_le_bytes();
    let chunk = state + memchr_all(&FILE[state..], &id);
    assert_eq!(
        warnings(patched(FILE.clone(), chunk, &[0xff])),
        ["vCPU 0: general, control or segment registers are missing"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// Whatever stands in the tables: a guest or one error, and no end of memory or time.
    #[test]
    fn rubbish_is_answered(
        changes in proptest::collection::vec((0_usize..0x8000, any::<u8>()), 1..6),
        keys in any::<bool>(),
        packed in any::<bool>(),
        take in any::<bool>(),
    ) {
        let mut file = if packed { PACKED.clone() } else { FILE.clone() };
        // The header and the object table, or the key tables, which are the last of the file.
        let start = if keys { file.len() - 0x5000 } else { 0 };
        for (at, byte) in changes {
            let at = start + at % 0x5000;
            file[at] = byte;
        }
        let opened = if take { salvage(file) } else { open(file) };
        if let Ok(guest) = opened {
            let _ = guest.memory.read(Gpa::new(0x1ff0), &mut [0; 64]);
            let _ = guest.memory.read(Gpa::new(0x10_0000), &mut [0; 0x10000]);
        }
    }
}
