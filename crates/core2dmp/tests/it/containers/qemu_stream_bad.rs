//! Streams that are damaged, or made to hurt: one clear error each.

use std::sync::LazyLock;

use core2dmp::address::{Gpa, Pfn};
use core2dmp::memory::MemoryError;
use core2dmp_synth::{Guest, GuestSpec};
use proptest::prelude::*;

use crate::support::bad::{refusal, salvage};
use crate::support::containers::{assert_memory, open, page};
use crate::support::patch::patched;

static SMALL: LazyLock<Guest> = LazyLock::new(|| {
    GuestSpec::windows10()
        .processors(2)
        .memory_mib(20)
        .fill(60)
        .build()
});

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.qemu_stream().bytes());

/// Where a pattern stands first.
fn find(file: &[u8], pattern: &[u8]) -> usize {
    file.windows(pattern.len())
        .position(|window| window == pattern)
        .unwrap()
}

/// Where the list of blocks begins: its total.
fn list() -> usize {
    find(&FILE, b"\x03ram\0\0\0\0\0\0\0\x04") + 12
}

/// Where the pages' section begins.
fn pages() -> usize {
    find(&FILE, b"\x7e\0\0\0\x02\x03\0\0\0\x02") + 10
}

#[test]
fn cut_at_every_border() {
    let json = find(&FILE, b"{\"page_size");
    for (bytes, missing) in [
        (6, "all of the RAM"),
        (9, "all of the RAM"),
        (20, "all of the RAM"),
        (list() - 3, "all of the RAM"),
        (list() + 4, "all of the RAM"),
        (pages() + 4, "the rest of the RAM, and the vCPUs"),
        (pages() + 10, "the rest of the RAM, and the vCPUs"),
        (pages() + 5000, "the rest of the RAM, and the vCPUs"),
        (json - 1000, "the rest of the devices"),
    ] {
        let line = refusal(FILE[..bytes].to_vec());
        assert!(
            line.starts_with("the core is cut short: expected 0x"),
            "{line}"
        );
        let wanted = format!(", found {bytes:#x}; missing: {missing}");
        assert!(line.ends_with(&wanted), "{line}");
        let salvaged = salvage(FILE[..bytes].to_vec());
        if missing == "all of the RAM" && bytes <= list() + 8 {
            assert_eq!(salvaged.unwrap_err().to_string(), line);
        } else {
            assert!(
                salvaged
                    .unwrap()
                    .container
                    .salvaged
                    .unwrap()
                    .contains(missing)
            );
        }
    }
    assert_memory(&open(FILE.clone()).unwrap(), &SMALL);
    // What is there is there.
    let opened = salvage(FILE[..pages() + 0x20_0000].to_vec()).unwrap();
    assert_eq!(Some(page(&opened, 1)), SMALL.page(1));
    let last = Pfn::new(0x13ff).gpa();
    let read = opened.memory.read(last, &mut [0; 8]);
    assert!(matches!(read, Err(MemoryError::Absent { .. })));
    assert!(
        opened
            .container
            .warnings
            .iter()
            .any(|w| w.contains("pages of RAM are not in the stream"))
    );
    // Without its description a stream is whole, and has no registers.
    let opened = open(FILE[..json - 5].to_vec()).unwrap();
    assert_eq!(opened.cpus.len(), 0);
}

#[test]
fn numbers_at_their_extremes() {
    let at = list();
    let block = at + 8 + 1 + 6;
    let first = pages();
    for (place, bytes, wanted) in [
        (
            4,
            [0, 0, 0, 2].as_slice(),
            "header of the stream at file offset 0x0: expected QEVM version 3, found \"QEVM\" version 2",
        ),
        (
            9,
            &[0xff; 4],
            "configuration of the stream at file offset 0x9: expected a machine type of 256 bytes at most, found 4294967295",
        ),
        (at - 4, &[0xff; 4], "section of the RAM at file offset"),
        (at, &[0xff; 6], "bytes of RAM in the stream: found"),
        (block, &[0xff; 8], "list of blocks of RAM at file offset"),
        (block, &[0; 8], "list of blocks of RAM at file offset"),
        (at + 9, b"pc.bios", "list of blocks of RAM at file offset"),
        (first, &[0x7f; 4], "page of RAM at file offset"),
        (first + 9, b"PC", "block of a page at file offset"),
        (first + 7, &[0x28], "page of RAM at file offset"),
        (
            first + 7,
            &[0x48],
            "expected a page, a compressed page or a zero page, found a difference to an earlier page (capability xbzrle)",
        ),
        (first + 6, &[0x00, 0x88], "found a page that went by RDMA"),
        (
            first + 6,
            &[0x02, 0x00],
            "found pages in other channels (capability multifd)",
        ),
        (first + 7, &[0x01], "found flags 0x1"),
        (first + 7, &[0x04], "expected one list, found another"),
        (
            first - 4,
            &[9],
            "expected the id of a section that was started, found 0x9000002",
        ),
        (first - 5, &[0x55], "expected a section, found 0x55"),
    ] {
        let line = refusal(patched(FILE.clone(), place, bytes));
        assert!(line.contains(wanted), "{line}\n{wanted}");
    }
}

#[test]
fn a_compressed_stream_of_libvirt_is_named() {
    for (format, program) in [
        (1, "gzip"),
        (2, "bzip2"),
        (3, "xz"),
        (4, "lzop"),
        (5, "zstd"),
    ] {
        let file = SMALL.qemu_stream().libvirt(format).bytes();
        assert_eq!(
            refusal(file),
            format!(
                "stream of libvirt at file offset 0x105c: expected a stream that is not compressed, found {program}: cut off 4188 bytes and unpack the rest with {program}"
            )
        );
    }
    let file = SMALL.qemu_stream().libvirt(7).bytes();
    assert_eq!(
        refusal(file.clone()),
        "header of libvirt at file offset 0x0: expected a format below 7, found 7"
    );
    let line = refusal(file[..60].to_vec());
    assert!(
        line.starts_with("header of libvirt at file offset 0x0: expected 92 bytes"),
        "{line}"
    );
    let line = refusal(patched(file, 20, &[0xff; 4]));
    assert!(line.contains("expected a format below 7"), "{line}");
    let file = SMALL.qemu_stream().libvirt(0).bytes();
    let line = refusal(patched(file.clone(), 20, &[0xff; 4]));
    assert!(line.starts_with("the core is cut short"), "{line}");
    let opened = open(patched(file, 12, b"Part")).unwrap();
    assert_eq!(
        opened.container.warnings,
        ["libvirt had not finished writing: \"LibvirtQemudPart\""]
    );
}

#[test]
fn a_mapped_block_that_points_elsewhere() {
    let file = SMALL.qemu_stream().mapped().bytes();
    let header = find(&file, b"\x06pc.ram") + 15;
    assert_eq!(file[header..header + 4], [0, 0, 0, 1]);
    for (at, bytes) in [
        (header, [0, 0, 0, 2].as_slice()),
        (header + 4, &[0xff; 8]),
        // The bitmap in front of itself, behind the pages, at the end of all numbers.
        (header + 12, &[0; 8]),
        (header + 12, &[0xff; 8]),
        (header + 20, &[0; 8]),
        (header + 20, &[0xff; 8]),
    ] {
        let line = refusal(patched(file.clone(), at, bytes));
        assert!(
            line.starts_with("header of a mapped block at file offset"),
            "{line}"
        );
    }
    // The pages behind the file's end.
    let line = refusal(patched(file.clone(), header + 20, &[0, 0xff]));
    assert!(line.starts_with("the core is cut short"), "{line}");
    let opened = salvage(patched(file, header + 20, &[0, 0xff])).unwrap();
    let pfn = (1..0xa0)
        .find(|pfn| SMALL.page(*pfn) != Some([0; 4096]))
        .unwrap();
    let read = opened.memory.read(Pfn::new(pfn).gpa(), &mut [0; 8]);
    assert!(
        matches!(read, Err(MemoryError::Unreadable { .. })),
        "{read:?}"
    );
}

#[test]
fn one_bad_page_is_one_error() {
    let file = SMALL.qemu_stream().compressed().bytes();
    let start = find(&file, b"\x7e\0\0\0\x02\x03\0\0\0\x02") + 10;
    // Page 0 is zeros: the name of the block is behind it.
    let data = start + find(&file[start..], b"\x78\x01");
    let word = u64::from_be_bytes(file[data - 12..data - 4].try_into().unwrap());
    assert_eq!(word & 0xfff, 0x120);
    let gpa = word & !0xfff;
    let opened = open(patched(file.clone(), data, &[0xff; 2])).unwrap();
    let read = opened.memory.read(Gpa::new(gpa), &mut [0; 8]);
    let error = read.unwrap_err();
    let wanted = format!(
        "physical address {gpa:#x} is corrupt in the container: file offset {data:#x}: zlib: "
    );
    assert!(error.to_string().starts_with(&wanted), "{error}");
    let next = (gpa >> 12) + 1;
    assert_eq!(Some(page(&opened, next)), SMALL.page(next));
}

#[test]
fn a_description_that_lies_is_not_believed() {
    let json = find(&FILE, b"{\"page_size");
    // A size that leads elsewhere: the footer is not there, and it is looked for.
    let size = json + find(&FILE[json..], b"\"size\": 24") + 8;
    let opened = open(patched(FILE.clone(), size, b"25")).unwrap();
    assert_eq!(opened.cpus.len(), 2);
    // A field that is not there.
    let field = json + find(&FILE[json..], b"env.eip");
    let opened = open(patched(FILE.clone(), field, b"ENV")).unwrap();
    assert_eq!(opened.cpus.len(), 1);
    assert_eq!(
        opened.container.warnings,
        ["vCPU 0: the stream's description has no field env.eip of x86"]
    );
    // Not JSON, or of another length.
    for (at, bytes) in [
        (json + 1, [b'['].as_slice()),
        (json - 4, &[0xff; 4]),
        (json - 4, &[0; 4]),
    ] {
        let opened = open(patched(FILE.clone(), at, bytes)).unwrap();
        assert_eq!(opened.cpus.len(), 0);
    }
    let nested = [b"{\"devices\": ".as_slice(), &[b'['; 100_000], b"}"].concat();
    let mut file = FILE[..json - 4].to_vec();
    file.extend(u32::try_from(nested.len()).unwrap().to_be_bytes());
    file.extend(nested);
    assert_eq!(open(file).unwrap().cpus.len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn bytes_of_any_kind_do_not_panic(
        at in 0_usize..0x300, tail in any::<bool>(), bytes in proptest::collection::vec(any::<u8>(), 1..12),
    ) {
        let place = if tail { FILE.len() - 0x300 + at } else { at };
        let mut file = FILE.clone();
        for (target, byte) in file[place..].iter_mut().zip(bytes) {
            *target = byte;
        }
        if let Ok(guest) = salvage(file) {
            let _ = guest.memory.read(Pfn::new(0).gpa(), &mut [0; 0x10000]);
        }
    }
}
