//! VMware's saved states that are damaged, or made to hurt: one clear error each.

#![expect(
    clippy::cast_possible_truncation,
    reason = "files are built from numbers of known size"
)]

use std::sync::LazyLock;

use core2dmp::address::Pfn;
use core2dmp::container::OpenOptions;
use core2dmp::error::Remedy;
use core2dmp::memory::MemoryError;
use core2dmp_synth::{Guest, GuestSpec};
use proptest::prelude::*;

use crate::support::bad::{answer, refusal, salvage, spoiled};
use crate::support::containers::{assert_memory, open};
use crate::support::patch::patched;
use crate::support::sets::{open_set, open_set_with};

/// 20 MiB, one vCPU.
static SMALL: LazyLock<Guest> =
    LazyLock::new(|| GuestSpec::windows10().memory_mib(20).fill(60).build());
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.vmware().whole());

/// Header and groups.
const GROUPS: usize = 12 + 4 * 80;

/// Where the value of a tag stands, behind its name and indices.
#[track_caller]
fn value(file: &[u8], name: &str, indices: usize) -> usize {
    let head = file[..0x8000].windows(name.len() + 1);
    let wanted = [&[name.len() as u8], name.as_bytes()].concat();
    let at = head.into_iter().position(|bytes| bytes == wanted).unwrap();
    at + 1 + name.len() + indices * 4
}

/// The sizes of the block of memory, and its first byte.
fn memory() -> (usize, usize) {
    let bytes = SMALL.vmware().vmem().len();
    (value(&WHOLE, "Memory", 2), WHOLE.len() - 2 - bytes)
}

#[track_caller]
fn refused_set(files: Vec<Vec<u8>>) -> String {
    open_set(files).unwrap_err().to_string()
}

#[test]
fn cut_at_every_border() {
    let cut = |bytes: usize| WHOLE[..bytes].to_vec();
    assert_eq!(
        refusal(cut(4)),
        "header of the saved state at file offset 0x0: expected 12 bytes, the file ends after 4"
    );
    assert_eq!(
        refusal(cut(12)),
        "groups of the saved state at file offset 0xc: expected 320 bytes, the file ends after 0"
    );
    assert_eq!(
        refusal(cut(GROUPS - 1)),
        "groups of the saved state at file offset 0xc: expected 320 bytes, the file ends after 319"
    );
    assert_eq!(
        refusal(cut(GROUPS)),
        "a tag of the saved state at file offset 0x14c: expected 2 bytes, the file ends after 0"
    );
    let (sizes, start) = memory();
    for bytes in [sizes - 8, sizes + 4, sizes + 17] {
        let line = refusal(cut(bytes));
        assert!(
            line.starts_with("a tag of the saved state at file offset 0x")
                && line.contains("the file ends after"),
            "{line}"
        );
    }
    let end = WHOLE.len() - 2;
    for bytes in [start, start + 0x1800, end - 1] {
        assert_eq!(
            refusal(cut(bytes)),
            format!(
                "the core is cut short: expected {end:#x} bytes, found {bytes:#x}; missing: the end of memory"
            )
        );
        let opened = salvage(cut(bytes)).unwrap();
        assert_eq!(opened.memory.frame_count(), (bytes - start) as u64 / 4096);
        assert_eq!(opened.cpus.len(), 1);
        let read = opened.memory.read(Pfn::new(0x13ff).gpa(), &mut [0; 8]);
        assert!(matches!(read, Err(MemoryError::Absent { .. })));
    }
    // The tag behind memory is the end of the group; nobody needs it once memory is there.
    let line = refusal(cut(end));
    assert!(line.starts_with("a tag of the saved state"), "{line}");
    let state = || SMALL.vmware().state();
    let vmem = SMALL.vmware().vmem();
    for bytes in [0, 0x1fff, vmem.len() - 1] {
        let short = || vec![state(), vmem[..bytes].to_vec()];
        assert_eq!(
            refused_set(short()),
            format!(
                "the core is cut short: expected {:#x} bytes, found {bytes:#x}; missing: the end of memory",
                vmem.len()
            )
        );
        let options = OpenOptions::default().salvage(true);
        let opened = open_set_with(short(), &options).unwrap();
        assert_eq!(opened.memory.frame_count(), bytes as u64 / 4096);
    }
}

#[test]
fn files_that_are_missing_or_too_many() {
    let state = || SMALL.vmware().state();
    let error = open(state()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a VMware state without memory: its .vmem is needed too"
    );
    assert_eq!(error.remedy(), Some(Remedy::GiveBothFiles));
    let vmem = || SMALL.vmware().vmem();
    let many =
        "files of one VMware guest, each either a state or its memory: found 3, the limit is 2";
    assert_eq!(refused_set(vec![state(), vmem(), vmem()]), many);
    assert_eq!(refused_set(vec![vmem(), state(), state()]), many);
}

#[test]
fn regions_that_cannot_be() {
    let file = || WHOLE.clone();
    let ones = [0xff; 8];
    let count = value(&WHOLE, "regionsCount", 0);
    let ppn = value(&WHOLE, "regionPPN", 1);
    let page = value(&WHOLE, "regionPageNum", 1);
    let frames = value(&WHOLE, "regionSize", 1);
    assert_eq!(
        refusal(patched(file(), count, &ones[..4])),
        "regions of memory: found 4294967295, the limit is 4096"
    );
    assert_eq!(
        refusal(patched(file(), count, &[2])),
        "regions of memory at file offset 0x0: expected 2 regions, each with frame, place and size, found region 1 without"
    );
    assert_eq!(
        refusal(patched(file(), ppn - 4, &ones[..4])),
        "regions of memory: found 4294967296, the limit is 4096"
    );
    let size = SMALL.vmware().vmem().len() as u64;
    let start = memory().1 as u64;
    for (at, end) in [(frames, 0xffff_ffff_u64), (page, 0xffff_ffff + size / 4096)] {
        assert_eq!(
            refusal(patched(file(), at, &ones[..4])),
            format!(
                "the core is cut short: expected {:#x} bytes, found {:#x}; missing: the end of memory",
                start + end * 4096,
                WHOLE.len()
            )
        );
    }
    // A frame that high is one that 52 bits can name.
    let opened = open(patched(file(), ppn, &ones[..4])).unwrap();
    assert_eq!(opened.memory.runs()[0].frames.first, Pfn::new(0xffff_ffff));
}

#[test]
fn overlapping_and_unsorted_regions() {
    let spec = GuestSpec::windows10().memory_mib(24).above_4g().fill(60);
    let guest = spec.build();
    let file = guest.vmware().whole();
    let ppn = value(&file, "regionPPN", 1);
    let all = |name: &str| {
        let first = value(&file, name, 1);
        let rest = &file[first..];
        (
            first,
            first + value(&[rest, &[0; 0x8000]].concat(), name, 1),
        )
    };
    // The second region first.
    let mut swapped = file.clone();
    for name in ["regionPPN", "regionPageNum", "regionSize"] {
        let (first, second) = all(name);
        for n in 0..4 {
            swapped.swap(first + n, second + n);
        }
    }
    assert_memory(&open(swapped).unwrap(), &guest);
    let (_, second) = all("regionPPN");
    assert_eq!(
        refusal(patched(file.clone(), second, &[0x10, 0, 0, 0])),
        "regions of memory at physical address 0x10000: expected every frame once, found it twice"
    );
    assert_eq!(
        refusal(patched(file, ppn, &[0x01, 0x00, 0x10, 0])),
        "regions of memory at physical address 0x100001000: expected every frame once, found it twice"
    );
}

#[test]
fn groups_and_tags_that_cannot_be() {
    let file = || WHOLE.clone();
    let ones = [0xff; 8];
    assert_eq!(
        refusal(patched(file(), 8, &ones[..4])),
        "groups of a saved state: found 4294967295, the limit is 4096"
    );
    // The group of memory, the last: nowhere, and at the header, whose bytes are no tags of it.
    let place = 12 + 3 * 80 + 64;
    assert_eq!(
        refusal(patched(file(), place, &ones)),
        "a tag of the saved state at file offset 0xffffffffffffffff: expected 2 bytes, the file ends after 0"
    );
    for at in [0_u64, 12, place as u64] {
        let line = refusal(patched(file(), place, &at.to_le_bytes()));
        assert!(
            line.starts_with("a tag of the saved state")
                || line.starts_with("a VMware state without memory")
                || line.starts_with("size of a block in the saved state"),
            "{line}"
        );
    }
    let (sizes, start) = memory();
    assert_eq!(
        refusal(patched(file(), sizes + 8, &ones)),
        format!(
            "memory in the saved state at file offset {start:#x}: expected memory as it is: how VMware compresses it is not public, found 0xffffffffffffffff bytes in {:#x}",
            SMALL.vmware().vmem().len()
        )
    );
    let line = refusal(patched(file(), sizes, &ones));
    assert!(
        line.starts_with("size of a block in the saved state at file offset 0x")
            && line.ends_with("expected bytes that a file can have, found 0xffffffffffffffff"),
        "{line}"
    );
    // Many groups that are one: the same tags once more, and not without end.
    let mut many = 0xbed2_bed2_u32.to_le_bytes().to_vec();
    many.extend([0; 4]);
    many.extend(4096_u32.to_le_bytes());
    let tags = 12 + 4096 * 80;
    for _ in 0..4096 {
        let mut group = b"memory".to_vec();
        group.resize(64, 0);
        group.extend((tags as u64).to_le_bytes());
        group.extend([0; 8]);
        many.extend(group);
    }
    many.extend([1, 1, b'x', 0].repeat(2000));
    many.extend([0; 2]);
    assert_eq!(
        refusal(many),
        "tags of a saved state: found 4194305, the limit is 4194304"
    );
}

#[test]
fn vcpus_that_cannot_be_read_are_told() {
    let file = || WHOLE.clone();
    let warnings = |file: Vec<u8>| open(file).unwrap().container.warnings;
    let rip = value(&WHOLE, "rip", 0);
    assert_eq!(
        warnings(patched(file(), rip, &[0xff; 4])),
        [
            "the group of the vCPUs: vCPUs of a saved state: found 4294967296, the limit is 4096",
            "vCPU 0: no tag tells CS",
            "the saved state tells no registers"
        ]
    );
    assert_eq!(
        warnings(patched(file(), rip - 3, b"rix")),
        [
            "vCPU 0: no tag tells RIP",
            "the saved state tells no registers"
        ]
    );
    let promised = value(&WHOLE, "cpu:numVCPUs", 0);
    assert_eq!(
        warnings(patched(file(), promised, &[0xff; 4])),
        ["the state promises 4294967295 vCPUs, tags tell 1"]
    );
    // A group that is not there.
    let place = 12 + 2 * 80;
    assert_eq!(
        warnings(patched(file(), place, b"gpu")),
        ["the saved state tells no registers"]
    );
    let nowhere = warnings(patched(file(), place + 64, &[0xff; 8]));
    assert_eq!(
        nowhere,
        [
            "the group of the vCPUs: a tag of the saved state at file offset 0xffffffffffffffff: expected 2 bytes, the file ends after 0",
            "the saved state tells no registers"
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever stands in the tags: a guest or one error, and no end of memory or time.
    #[test]
    fn rubbish_is_answered(
        changes in proptest::collection::vec((0_usize..0x1000, any::<u8>()), 1..8),
        cut in 0_usize..0x40000,
        take in any::<bool>(),
    ) {
        let file = WHOLE.clone();
        answer(spoiled(file, &changes, cut), take, 0x10_0000);
    }
}
