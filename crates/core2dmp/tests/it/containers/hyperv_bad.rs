//! Hyper-V's saved states that are damaged, old, or made to hurt: one clear error each.

#![expect(
    clippy::cast_possible_truncation,
    reason = "files are built from numbers of known size"
)]

use std::sync::LazyLock;

use core2dmp::address::Gpa;
use core2dmp::memory::MemoryError;
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::bad::{refusal, salvage};
use crate::support::containers::{assert_memory, open, page};
use crate::support::patch::patched;

/// 20 MiB, one vCPU.
pub(super) static SMALL: LazyLock<Guest> =
    LazyLock::new(|| GuestSpec::windows10().memory_mib(20).fill(60).build());
pub(super) static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.hyperv().bytes());
pub(super) static PACKED: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.hyperv().compressed().bytes());

/// CRC-32 as gzip has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// Where the entry of a key stands.
#[track_caller]
pub(super) fn entry(file: &[u8], name: &str) -> usize {
    let wanted = [&[name.len() as u8 + 1], name.as_bytes(), &[0]].concat();
    memchr_all(file, &wanted) - 20
}

#[track_caller]
pub(super) fn memchr_all(file: &[u8], wanted: &[u8]) -> usize {
    file.windows(wanted.len())
        .position(|bytes| bytes == wanted)
        .unwrap()
}

/// The file with other bytes behind the name of a key, `skip` bytes into its value, and the checksum set right.
pub(super) fn with_value(file: &[u8], name: &str, skip: usize, bytes: &[u8]) -> Vec<u8> {
    let at = entry(file, name);
    let value = at + 21 + name.len() + 1;
    let mut file = patched(file.to_vec(), value + skip, bytes);
    let counts = match (file[at], file[at + 1]) {
        (_, 1) | (9, _) => 12,
        (3, _) => 8,
        _ => 4 + u32::from_le_bytes(file[value..value + 4].try_into().unwrap()) as usize,
    };
    let end = value
        .saturating_add(counts)
        .min(file.len())
        .min(value + 0x800);
    file[at + 12..at + 16].fill(0);
    let checksum = crc32(&file[at..end]).to_le_bytes();
    file[at + 12..at + 16].copy_from_slice(&checksum);
    file
}

#[test]
fn versions_that_nobody_describes() {
    let refused = |file: core2dmp_synth::Hyperv<'_>| refusal(file.bytes());
    for version in [0x100_u32, 0x301, 0x401, 0x500] {
        assert_eq!(
            refused(SMALL.hyperv().format(version)),
            format!(
                "format of the Hyper-V store at file offset 0x0: expected version 4.0, the only one that is described, found version {}.{}",
                version >> 8,
                version & 0xff
            )
        );
    }
    let wanted = "saved state in the Hyper-V store at file offset 0x0: expected one of a virtual machine of version 5.1 or later, found ";
    for (file, found) in [
        (SMALL.hyperv().machine(Some(0x500)), "version 5.0"),
        (SMALL.hyperv().machine(Some(0x100)), "version 1.0"),
        (
            SMALL.hyperv().machine(None),
            "a machine's configuration without one (.vmcx, or a .vmrs of a machine that is off)",
        ),
        (
            SMALL.hyperv().machine(None).prefix("other"),
            "a machine's configuration without one (.vmcx, or a .vmrs of a machine that is off)",
        ),
    ] {
        assert_eq!(refused(file), format!("{wanted}{found}"));
    }
    // A state of an older machine has its keys below the root.
    let mut file = SMALL.hyperv().machine(None).bytes();
    let node = entry(&file, "savedVM");
    file[node + 6..node + 12].fill(0);
    let file = with_value(&file, "savedVM", 0, &[]);
    assert_eq!(
        refusal(file),
        format!("{wanted}a state of version 5.0 or older (.vsv)")
    );
    let line = refused(SMALL.hyperv().memory(2));
    assert!(
        line.starts_with("range of memory in the saved state at file offset 0x")
            && line
                .ends_with("expected version 3, the only one that is described, found version 2"),
        "{line}"
    );
}

#[test]
fn a_file_that_was_not_closed() {
    assert_eq!(
        refusal(SMALL.hyperv().outstanding(7).bytes()),
        "Hyper-V store at file offset 0x0: expected a file that was closed: let Windows replay it first (ApplyPendingSavedStateFileReplayLog), found 7 changes in its replay log"
    );
    let opened = salvage(SMALL.hyperv().outstanding(7).bytes()).unwrap();
    assert_memory(&opened, &SMALL);
    assert_eq!(
        opened.container.salvaged.as_deref(),
        Some("7 changes in its replay log were not made")
    );
}

#[test]
fn cut_at_every_border() {
    let cut = |bytes: usize| refusal(FILE[..bytes].to_vec());
    let log = u64::from_le_bytes(FILE[26..34].try_into().unwrap());
    // The other header is zeros then: one is enough.
    for bytes in [0x1000, 0x1010, 0x2000, 0x2007] {
        let line = cut(bytes);
        assert!(
            line.starts_with(
                "object table at file offset 0x2000: expected 8 bytes, the file ends after"
            ),
            "{line}"
        );
    }
    let line = cut(0x2008);
    assert!(
        line.starts_with("entries of an object table at file offset 0x2008: expected 4086 bytes"),
        "{line}"
    );
    let line = cut(0x3000);
    assert!(line.starts_with("key table at file offset 0x"), "{line}");
    let line = cut(log as usize - 4096);
    assert!(line.starts_with("key table at file offset 0x"), "{line}");
    for bytes in [log - 1, log, log + 11] {
        let line = cut(bytes as usize);
        assert!(
            line.starts_with(&format!(
                "replay log at file offset {log:#x}: expected 12 bytes, the file ends after"
            )),
            "{line}"
        );
    }
    // A block that would lie beyond the end of the file.
    let end = FILE.len() as u64;
    let moved = with_value(&FILE, "RamBlock3", 4, &(end - 0x1800).to_le_bytes());
    let expected = end - 0x1800 + (1 << 20);
    assert_eq!(
        refusal(moved.clone()),
        format!(
            "the core is cut short: expected {expected:#x} bytes, found {end:#x}; missing: the end of memory"
        )
    );
    let opened = salvage(moved).unwrap();
    assert!(Some(page(&opened, 0x2ff)) == SMALL.page(0x2ff));
    let read = opened.memory.read(Gpa::new(0x30_2000), &mut [0; 8]);
    assert!(matches!(read, Err(MemoryError::Unreadable { .. })));
}

#[test]
fn headers_and_tables_that_cannot_be() {
    let file = || FILE.clone();
    let both = patched(patched(file(), 20, &[9]), 0x1000 + 20, &[9]);
    let line = refusal(both);
    assert!(
        line.starts_with(
            "header of the Hyper-V store at file offset 0x1000: expected bytes with the checksum 0x"
        ),
        "{line}"
    );
    assert_eq!(
        refusal(patched(file(), 0x2000, &[0; 4])),
        "object table at file offset 0x2000: expected signature 0x01110001, found 0x00000000"
    );
    assert_eq!(
        refusal(patched(file(), 0x2004, &[0xff; 4])),
        "objects of a Hyper-V store: found 4294967295, the limit is 16777216"
    );
    // The last entry of the first table, made to lead back to it, and to a place that is none.
    let last = 0x2008 + 226 * 18;
    let chain = |to: u64| {
        let file = patched(file(), last, &[1]);
        patched(file, last + 5, &to.to_le_bytes())
    };
    assert_eq!(
        refusal(chain(0x2000)),
        "object table at file offset 0x2000: expected a way on to another table, found one back to file offset 0x2000"
    );
    assert_eq!(
        refusal(chain(u64::MAX)),
        "object table at file offset 0xffffffffffffffff: expected 8 bytes, the file ends after 0"
    );
    // Two tables that lead to each other.
    let mut chained = SMALL.hyperv().chained().bytes();
    let first = 0x2008 + 8 * 18;
    let next = u64::from_le_bytes(chained[first + 5..first + 13].try_into().unwrap());
    let slot = next as usize + 8 + 8 * 18;
    chained[slot + 5..slot + 13].copy_from_slice(&0x2000_u64.to_le_bytes());
    assert_eq!(
        refusal(chained),
        format!(
            "object table at file offset {next:#x}: expected a way on to another table, found one back to file offset 0x2000"
        )
    );
    let objects = FILE[0x2008..0x3000].chunks_exact(18);
    let slot = 0x2008 + 18 * objects.take_while(|object| object[0] != 2).count();
    let table = u64::from_le_bytes(FILE[slot + 5..slot + 13].try_into().unwrap());
    assert_eq!(
        refusal(patched(file(), slot + 13, &[0xff; 4])),
        "bytes of key tables: found 4294967295, the limit is 16777216"
    );
    assert_eq!(
        refusal(patched(file(), table as usize, &[3])),
        format!("key table at file offset {table:#x}: expected signature 0x0002, found 0x0003")
    );
    let line = refusal(patched(file(), table as usize + 4, &[0xee]));
    assert!(
        line.starts_with(&format!(
            "key table at file offset {table:#x}: expected bytes with the checksum 0x"
        )),
        "{line}"
    );
}

#[test]
fn keys_that_cannot_be() {
    let version = entry(&FILE, "VmVersion");
    for size in [1_u32, 20, 30, 5000, u32::MAX] {
        let line = refusal(patched(FILE.clone(), version + 2, &size.to_le_bytes()));
        assert!(
            line.starts_with(&format!(
                "entry of a key table at file offset {version:#x}: expected a size up to 0x"
            )) && line.ends_with(&format!("with room for its name, found {size:#x}")),
            "{line}"
        );
    }
    // A size that leaves no room for the value, and a wrong checksum.
    let range = entry(&FILE, "RamMemoryBlock0");
    assert_eq!(
        refusal(with_value(&FILE, "RamMemoryBlock0", 0, &[0xff; 4])),
        format!(
            "entry of a key table at file offset {range:#x}: expected a value that its size has room for, found 52 bytes of type 7"
        )
    );
    let block = entry(&FILE, "RamBlock3");
    let wrong = patched(FILE.clone(), block + 13, &[0xee]);
    let line = refusal(wrong.clone());
    assert!(
        line.starts_with(&format!(
            "entry of a key table at file offset {block:#x}: expected bytes with the checksum 0x"
        )),
        "{line}"
    );
    let opened = salvage(wrong).unwrap();
    assert_eq!(
        opened.container.salvaged.as_deref(),
        Some("1 keys with a wrong checksum were passed over")
    );
    let read = opened.memory.read(Gpa::new(0x30_0000), &mut [0; 8]);
    assert!(matches!(read, Err(MemoryError::Absent { .. })));
    assert!(Some(page(&opened, 0x400)) == SMALL.page(0x400));
    // A node that is its own parent leads nowhere.
    let mut file = FILE.clone();
    let node = entry(&file, "savedstate");
    file[node + 6..node + 12].copy_from_slice(&[1, 0, 10, 0, 0, 0]);
    let line = refusal(with_value(&file, "savedstate", 0, &[]));
    assert!(
        line.starts_with("saved state in the Hyper-V store"),
        "{line}"
    );
}

#[test]
fn ranges_that_cannot_be() {
    // The value: its length, then version, flags, frames, page, first frame.
    let set = |at: usize, value: u64| {
        refusal(with_value(
            &FILE,
            "RamMemoryBlock0",
            4 + at,
            &value.to_le_bytes(),
        ))
    };
    let ending = "expected frames below 0x10000000000, found 0x";
    for (at, value) in [(8, u64::MAX), (16, u64::MAX), (24, u64::MAX), (24, 1 << 40)] {
        let line = set(at, value);
        assert!(
            line.starts_with("range of memory in the saved state at file offset 0x")
                && line.contains(ending),
            "{line}"
        );
    }
    // Pages that no block has.
    let file = with_value(
        &FILE,
        "RamMemoryBlock0",
        4 + 8,
        &(1_u64 << 30).to_le_bytes(),
    );
    let opened = open(file).unwrap();
    assert_eq!(
        opened.container.warnings[0],
        format!(
            "{} frames of the guest's memory are in no block of the file",
            (1 << 30) - 0x1400
        )
    );
    assert_memory(&opened, &SMALL);
    // Another length, and another name.
    let line = refusal(with_value(&FILE, "RamMemoryBlock0", 0, &[47]));
    assert!(line.ends_with("expected 48 bytes, found 47"), "{line}");
    let rename = |from: &str, to: &str| {
        let at = entry(&FILE, from) + 21;
        let file = patched(FILE.clone(), at, to.as_bytes());
        refusal(with_value(&file, to, 0, &[]))
    };
    // The first entry of the name is found: it is the one that was there.
    let line = rename("RamBlock4", "RamBlock5");
    assert!(
        line.starts_with("block of memory at file offset 0x")
            && line.ends_with("expected every block once, found RamBlock5 twice"),
        "{line}"
    );
}

#[test]
fn ranges_that_overlap() {
    let spec = GuestSpec::windows10().memory_mib(24).above_4g().fill(60);
    let file = spec.build().hyperv().bytes();
    let overlap = |at: usize, value: u64| {
        refusal(with_value(
            &file,
            "RamMemoryBlock1",
            4 + at,
            &value.to_le_bytes(),
        ))
    };
    assert_eq!(
        overlap(24, 0x100),
        "ranges of memory at physical address 0x100000: expected every frame once, found it twice"
    );
    assert_eq!(
        overlap(16, 1),
        "ranges of memory at physical address 0x100000000: expected every page in one, found page 0x1 in two"
    );
}

#[test]
fn one_bad_block_is_its_own_trouble() {
    let pointer = |bytes: u32| with_value(&PACKED, "RamBlock4", 0, &bytes.to_le_bytes());
    let at = entry(&PACKED, "RamBlock4") + 21 + 10;
    let offset = u64::from_le_bytes(PACKED[at + 4..at + 12].try_into().unwrap());
    let size = u32::from_le_bytes(PACKED[at..at + 4].try_into().unwrap());
    let broken = patched(PACKED.clone(), offset as usize, &[0xff; 16]);
    let start = format!("file offset {offset:#x}: ");
    for (file, wanted) in [
        (pointer(0), "Xpress: 0x0 bytes of a MiB"),
        (pointer(size / 2), "Xpress: "),
        (
            pointer((1 << 20) + 1),
            "a block of 0x100001 bytes, more than a MiB",
        ),
        (broken, "Xpress: a match before the beginning"),
    ] {
        let opened = open(file).unwrap();
        for bytes in [8, 4096] {
            let read = opened.memory.read(Gpa::new(0x40_0000), &mut vec![0; bytes]);
            let Err(MemoryError::Corrupt { gpa, what }) = read else {
                panic!("{wanted}: {read:?}");
            };
            assert_eq!(gpa, Gpa::new(0x40_0000));
            assert!(what.starts_with(&format!("{start}{wanted}")), "{what}");
        }
        for pfn in [0x3ff, 0x500, 0x600] {
            assert!(Some(page(&opened, pfn)) == SMALL.page(pfn));
        }
    }
}
