//! Streams of hypervisors that have too much of something: the error or the warning that names the limit.
//!
//! ```text
//! QEMU   257 capabilities, 4097 blocks, 65537 sections and devices, a description of 64 MiB behind 16 others
//! Xen    1024 records of libxl, 131072 entries of Xen's context
//! ```
//!
//! docs/security.md lists all limits, and which test reaches each.

use std::sync::LazyLock;

use core2dmp::address::Gpa;
use core2dmp_synth::{Guest, GuestSpec, XenSaver};

use crate::support::containers::{assert_memory, open};

/// Two vCPUs, 20 MiB.
static SMALL: LazyLock<Guest> = LazyLock::new(|| {
    let spec = GuestSpec::windows10().processors(2);
    spec.memory_mib(20).fill(60).build()
});
static STREAM: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.qemu_stream().bytes());

/// The error's line, for a file that must not open.
#[track_caller]
fn refusal(file: Vec<u8>) -> String {
    open(file).unwrap_err().to_string()
}

/// Where a pattern stands first.
#[track_caller]
fn find(file: &[u8], pattern: &[u8]) -> usize {
    let mut windows = file.windows(pattern.len());
    windows.position(|window| window == pattern).unwrap()
}

/// The stream with more bytes at a place.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    [&STREAM[..at], bytes, &STREAM[at..]].concat()
}

fn be32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_be_bytes()
}

fn name(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    [&[length], name.as_bytes()].concat()
}

/// Where the first device's section begins, and where its description does: its size.
fn devices() -> (usize, usize) {
    let ends = find(&STREAM, b"\x7e\0\0\0\x02\x04\0\0\0\x03");
    (ends + 5, find(&STREAM, b"{\"page_size") - 4)
}

#[test]
fn capabilities_and_blocks_of_a_stream() {
    let machine = 8 + 1 + 4 + "pc-i440fx-10.0".len();
    let capabilities = |count: usize| {
        let mut section = [&[5], &name("configuration/capabilities")[..], &be32(1)].concat();
        section.extend(be32(count));
        section.extend(name("none").repeat(count));
        with(machine, &section)
    };
    assert_memory(&open(capabilities(256)).unwrap(), &SMALL);
    assert_eq!(
        refusal(capabilities(257)),
        "capabilities of the stream: found 257, the limit is 256"
    );
    let list = find(&STREAM, b"\x03ram\0\0\0\0\0\0\0\x04") + 12;
    let mut blocks = STREAM[..list].to_vec();
    blocks.extend((4097_u64 << 12 | 4).to_be_bytes());
    for number in 0..4097 {
        blocks.extend(name(&format!("{number:x}")));
        blocks.extend(0x1000_u64.to_be_bytes());
    }
    assert_eq!(
        refusal(blocks),
        "blocks of RAM: found 4096, the limit is 4096"
    );
}

#[test]
fn a_page_that_was_packed_into_more() {
    let file = SMALL.qemu_stream().compressed().bytes();
    let start = find(&file, b"\x7e\0\0\0\x02\x03\0\0\0\x02") + 10;
    // Page 0 is zeros: the name of the block is behind it.
    let data = start + find(&file[start..], b"\x78\x01");
    let word = u64::from_be_bytes(file[data - 12..data - 4].try_into().unwrap());
    let bytes = u32::from_be_bytes(file[data - 4..data].try_into().unwrap());
    let padding = vec![0; 0x2001 - usize::try_from(bytes).unwrap()];
    let end = data + usize::try_from(bytes).unwrap();
    let head = [&file[..data - 4], &be32(0x2001), &file[data..end]].concat();
    let opened = open([head, padding, file[end..].to_vec()].concat()).unwrap();
    let read = opened.memory.read(Gpa::new(word & !0xfff), &mut [0; 8]);
    let line = read.unwrap_err().to_string();
    assert!(line.ends_with("a page of 8193 bytes"), "{line}");
}

/// A device's section.
fn section(id: usize, device: &str, data: &[u8]) -> Vec<u8> {
    let mut section = [&[4], &be32(id)[..], &name(device), &[0; 4], &be32(1)].concat();
    section.extend(data);
    section.push(0x7e);
    section.extend(be32(id));
    section
}

#[test]
fn sections_of_a_stream() {
    let sections = |count: usize| {
        let ids = 0x1000..0x1000 + count;
        let sections: Vec<u8> = ids.flat_map(|id| section(id, "x", &[])).collect();
        with(devices().1 - 2, &sections)
    };
    assert_eq!(open(sections(100)).unwrap().cpus.len(), 2);
    assert_eq!(
        refusal(sections(1 << 16)),
        "sections of the stream: found 65536, the limit is 65536"
    );
}

#[test]
fn descriptions_of_a_stream() {
    let (first, json) = devices();
    let decoys = |count: usize| {
        let decoys = b"\0\x06\0\0\0\x02{}".repeat(count);
        open(with(first, &section(0x1000, "x", &decoys))).unwrap()
    };
    assert_eq!(decoys(15).cpus.len(), 2);
    let hidden = decoys(16);
    assert_memory(&hidden, &SMALL);
    assert_eq!(hidden.cpus.len(), 0);
    let warnings = &hidden.container.warnings;
    assert!(!warnings.is_empty(), "{warnings:?}");
    let described = |mut text: Vec<u8>, padding: usize| {
        let end = text.len() - 1;
        text.splice(end..end, std::iter::repeat_n(b' ', padding));
        let file = [&STREAM[..json], &be32(text.len()), &text].concat();
        open(file).unwrap()
    };
    let text = &STREAM[json + 4..];
    assert_eq!(described(text.to_vec(), 1000).cpus.len(), 2);
    let large = described(text.to_vec(), 64 << 20);
    assert_eq!(large.cpus.len(), 0);
    let of_devices = |count: usize| {
        let device = |n: usize| format!("{{\"name\":\"x\",\"instance_id\":{n},\"fields\":[]}},");
        let devices: String = (0..count).map(device).collect();
        let list = find(text, b"\"devices\": [") + 12;
        [&text[..list], devices.as_bytes(), &text[list..]].concat()
    };
    assert_eq!(described(of_devices(100), 0).cpus.len(), 2);
    assert_eq!(described(of_devices(1 << 16), 0).cpus.len(), 0);
}

#[test]
fn records_of_libxl() {
    let file = SMALL.xen_save().bytes();
    let with = |count: usize| {
        let records = [2, 0, 0, 0, 0, 0, 0, 0].repeat(count);
        [&file[..0x60], &records, &file[0x60..]].concat()
    };
    assert_memory(&open(with(1000)).unwrap(), &SMALL);
    assert_eq!(
        refusal(with(1024)),
        "record of libxl at file offset 0x50: expected LIBXC_CONTEXT, the guest's memory, found 1024 records without it"
    );
}

#[test]
fn entries_of_a_context_of_xen() {
    let image = SMALL.xen_save().saver(XenSaver::Libxc).bytes();
    let magic = 0x5438_1286_u32.to_le_bytes();
    let windows = image.windows(4);
    let start = windows.into_iter().rposition(|w| w == magic).unwrap() - 8;
    let with = |count: usize| {
        // Behind the header, whose length stands in it, entries that no reader knows.
        let header = 8 + usize::from(image[start + 4]);
        let mut file = image[..start + header].to_vec();
        file.extend([0x55, 0, 0, 0, 0, 0, 0, 0].repeat(count));
        file.extend(&image[start + header..]);
        let size = start - 4;
        let bytes = u32::from_le_bytes(image[size..start].try_into().unwrap());
        let bytes = bytes + u32::try_from(count * 8).unwrap();
        file[size..start].copy_from_slice(&bytes.to_le_bytes());
        open(file).unwrap()
    };
    assert_eq!(with(100_000).cpus.len(), 2);
    let cut = with(1 << 17);
    assert_memory(&cut, &SMALL);
    assert_eq!(cut.cpus.len(), 0);
    let warnings = &cut.container.warnings;
    let told = "Xen's context has more than 131072 entries: the rest is not read".to_owned();
    assert!(warnings.contains(&told), "{warnings:?}");
}
