//! Files that have too much of something: the error or the warning that names the limit.
//!
//! ```text
//! LiME, AVML  a million ranges       flattened kdump  four million records     ELF  32769 notes
//! Hyper-V     65537 ranges and vCPUs, 262145 nodes, key tables of a GiB   
//! ```
//!
//! docs/security.md lists all limits, and which test reaches each.

#![expect(
    clippy::cast_possible_truncation,
    reason = "files are built from numbers of known size"
)]

use std::sync::{Arc, LazyLock};

use core2dmp::address::Gpa;
use core2dmp::container::{self, OpenOptions};
use core2dmp::source::ReadAt;
use core2dmp_synth::{Guest, GuestSpec, HiberVersion, XenSaver};

use crate::support::containers::{assert_memory, open};
use crate::support::endless::Endless;
use crate::support::patch::patched;

/// Two vCPUs, 20 MiB.
static SMALL: LazyLock<Guest> = LazyLock::new(|| {
    let spec = GuestSpec::windows10().processors(2);
    spec.memory_mib(20).fill(60).build()
});
static HYPERV: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.hyperv().bytes());

/// The error's line, for a file that must not open.
#[track_caller]
fn refused(file: impl ReadAt + 'static) -> String {
    let opened = container::open(Arc::new(file), OpenOptions::default());
    opened.unwrap_err().to_string()
}

/// The header of a range of LiME or AVML.
fn range(magic: &[u8; 4], version: u32, last: u64) -> Vec<u8> {
    let mut header = [magic.as_slice(), &version.to_le_bytes(), &[0; 8]].concat();
    header.extend(last.to_le_bytes());
    header.resize(32, 0);
    header
}

#[test]
fn lime_of_a_million_ranges() {
    let unit = [range(b"EMiL", 1, 0xfff), vec![0; 0x1000]].concat();
    let file = Endless::new(Vec::new(), unit, (1 << 20) + 1);
    assert_eq!(
        refused(file),
        "ranges of memory in the container: found 1048576, the limit is 1048576"
    );
}

/// A range of AVML that so many plain chunks of a byte make.
fn packed(chunks: u64) -> Vec<u8> {
    let chunk = [1, 5, 0, 0, 0, 0, 0, 0, 0];
    let mut range = range(b"AVML", 2, chunks - 1);
    range.extend(chunk.repeat(chunks as usize));
    range.extend((chunks * chunk.len() as u64).to_le_bytes());
    range
}

#[test]
fn avml_of_a_million_blocks() {
    // Every 256th chunk begins a block, and so does every range.
    let file = Endless::new(packed(257), packed(1), (1 << 20) - 1);
    assert_eq!(
        refused(file),
        "compressed blocks of memory: found 1048576, the limit is 1048576"
    );
}

#[test]
fn a_flattened_file_of_four_million_records() {
    let mut head = b"makedumpfile".to_vec();
    head.resize(24, 0);
    head.resize(4096, 0);
    head[16..24].copy_from_slice(&1_u64.to_be_bytes());
    head[24..32].copy_from_slice(&1_u64.to_be_bytes());
    let mut record = [0; 17];
    record[15] = 1;
    let file = Endless::new(head, record.to_vec(), (4 << 20) + 1);
    assert_eq!(
        refused(file),
        "records of the flattened file: found 4194304, the limit is 4194304"
    );
}

#[test]
fn more_files_than_a_guest_has() {
    let files = (0..256).map(|_| Arc::new(vec![0_u8; 8]) as Arc<dyn ReadAt>);
    let opened = container::open_set(files.collect(), &OpenOptions::default());
    assert_eq!(
        opened.unwrap_err().to_string(),
        "files of one guest: found 256, the limit is 255"
    );
}

#[test]
fn a_compressed_dump_of_blocks_of_a_byte() {
    let mut head = b"ZDMP".to_vec();
    head.extend(0x100_u32.to_le_bytes());
    head.extend(u64::MAX.to_le_bytes());
    head.extend(1_u32.to_le_bytes());
    head.extend([1, 0, 2, 0]);
    head.resize(0x1000, 0);
    let block = b"ZBLK\x01\0\0\0\0\0\0\0\x55".to_vec();
    let file = Endless::new(head, block, (1 << 25) + 1);
    assert_eq!(
        refused(file),
        "blocks of the compressed dump: found 33554432, the limit is 33554432"
    );
}

#[test]
fn a_saved_domain_of_sixteen_million_records() {
    let image = SMALL.xen_save().saver(XenSaver::Libxc).bytes();
    let record = [0, 0, 0, 0x80, 0, 0, 0, 0].to_vec();
    let file = Endless::new(image[..40].to_vec(), record, 1 << 24);
    assert_eq!(
        refused(file),
        "records of libxc: found 16777216, the limit is 16777216"
    );
}

/// One table of 2^25 pages, each of them a block.
#[test]
fn a_hibernation_file_of_a_block_for_each_page() {
    let guest = GuestSpec::windows7().fill(50).build();
    let file = guest.hiberfil(HiberVersion::Seven64).build();
    let table = file.tables[0];
    let mut head = file.bytes[..table + 0x1000].to_vec();
    let ranges = [0, 1, 0, (1 << 25) + 16].map(u64::to_le_bytes).concat();
    head[table..table + 0x20].copy_from_slice(&ranges);
    let mut block = b"\x81\x81xpress".to_vec();
    block.resize(40, 0);
    assert_eq!(
        refused(Endless::new(head, block, (1 << 25) + 16)),
        "notes of blocks of compressed pages: found 2097152, the limit is 2097152"
    );
}

/// A Zstandard frame whose window is so many powers of two above a KiB.
fn frame(powers: u8) -> Vec<u8> {
    let magic = [0x28, 0xb5, 0x2f, 0xfd, 0, powers << 3];
    // The last block, 4096 times one byte.
    let block = (4096_u32 << 3 | 1 << 1 | 1).to_le_bytes();
    [magic.as_slice(), &block[..3], &[0x5a]].concat()
}

#[test]
fn a_zstandard_window_of_two_mib() {
    let kdump = SMALL.kdump();
    let good = kdump.bytes();
    let at = kdump.descriptors_at() as usize;
    for (powers, is_read) in [(10, true), (11, false)] {
        let frame = frame(powers);
        let mut file = patched(good.clone(), at, &(good.len() as u64).to_le_bytes());
        file[at + 8..at + 12].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        file[at + 12] = 0x20;
        file.extend(frame);
        let opened = open(file).unwrap();
        let mut page = [0; 4096];
        let read = opened.memory.read(Gpa::new(0), &mut page);
        if is_read {
            read.unwrap();
            assert_eq!(page, [0x5a; 4096]);
        } else {
            let line = read.unwrap_err().to_string();
            assert!(line.contains("Zstandard: "), "{line}");
            assert!(line.contains("indow"), "{line}");
        }
    }
}

#[test]
fn elf_notes_in_tens_of_thousands() {
    let good = SMALL.qemu_elf().bytes();
    let word = |at: usize| u64::from_le_bytes(good[at..at + 8].try_into().unwrap()) as usize;
    let (offset, bytes) = (word(0x80 + 8), word(0x80 + 0x20));
    let with_empty = |count: usize| {
        let mut file = good.clone();
        let notes = [&vec![0; count * 12], &good[offset..offset + bytes]].concat();
        file[0x88..0x90].copy_from_slice(&(good.len() as u64).to_le_bytes());
        file[0xa0..0xa8].copy_from_slice(&(notes.len() as u64).to_le_bytes());
        file.extend(notes);
        open(file).unwrap()
    };
    let whole = with_empty((1 << 15) - 4);
    assert_eq!((whole.cpus.len(), whole.container.warnings.len()), (2, 0));
    let cut = with_empty(1 << 15);
    assert_memory(&cut, &SMALL);
    let told = "more than 32768 notes: the rest is not read".to_owned();
    let warnings = &cut.container.warnings;
    assert!(warnings.contains(&told), "{warnings:?}");
}

/// The entry of a key, as it stands in the file, and where.
#[track_caller]
fn entry(name: &str) -> (usize, Vec<u8>) {
    let wanted = [&[name.len() as u8 + 1], name.as_bytes(), &[0]].concat();
    let mut places = HYPERV.windows(wanted.len());
    let at = places.position(|bytes| bytes == wanted).unwrap() - 20;
    let size = u32::from_le_bytes(HYPERV[at + 2..at + 6].try_into().unwrap());
    (at, HYPERV[at..at + size as usize].to_vec())
}

/// The file with more objects in its table: kind, place, size.
fn with_objects(mut file: Vec<u8>, objects: &[(u8, u64, u32)]) -> Vec<u8> {
    let free = (0..226).filter(|slot| HYPERV[0x2008 + slot * 18] == 0);
    for (slot, (kind, offset, size)) in free.zip(objects) {
        let at = 0x2008 + slot * 18;
        file[at] = *kind;
        file[at + 5..at + 13].copy_from_slice(&offset.to_le_bytes());
        file[at + 13..at + 17].copy_from_slice(&size.to_le_bytes());
    }
    file
}

/// The beginning of a key table.
fn key_table(index: u16) -> Vec<u8> {
    let mut table = [2_u16, index, 7, 0, 0].map(u16::to_le_bytes).concat();
    let checksum = crc32fast::hash(&table).to_le_bytes();
    table[6..10].copy_from_slice(&checksum);
    table
}

/// The file with one more key table, of these entries.
fn with_entries(entries: &[u8]) -> Vec<u8> {
    let table = [&key_table(77), entries, &[0; 21]].concat();
    let place = (2, HYPERV.len() as u64, table.len() as u32);
    let mut file = with_objects(HYPERV.clone(), &[place]);
    file.extend(table);
    file
}

/// The file with one more key table, of so many copies of an entry.
fn with_copies(name: &str, count: usize) -> Vec<u8> {
    with_entries(&entry(name).1.repeat(count))
}

#[test]
fn hyperv_nodes_and_ranges() {
    assert_memory(&open(with_copies("savedstate", 10)).unwrap(), &SMALL);
    assert_eq!(
        refused(with_copies("savedstate", 1 << 18)),
        "nodes of a Hyper-V store: found 262144, the limit is 262144"
    );
    assert_eq!(
        refused(with_copies("RamMemoryBlock0", 1 << 16)),
        "ranges of memory in the saved state: found 65536, the limit is 65536"
    );
}

/// Tables that begin one after the other and share all their entries: the first of each leads to the shared ones.
#[test]
fn hyperv_blocks_in_millions() {
    const TABLES: usize = 12;
    const EACH: usize = 31;
    let blocks = entry("RamBlock0").1.repeat((1 << 22) / TABLES + 1);
    let start = HYPERV.len();
    let mut file = HYPERV.clone();
    let mut places = Vec::new();
    for number in 0..TABLES {
        let left = (TABLES - number) * EACH;
        let mut free = [0; 21];
        free[0] = 1;
        free[2..6].copy_from_slice(&((left - 10) as u32).to_le_bytes());
        file.extend(key_table(100 + number as u16));
        file.extend(free);
        let size = left + blocks.len() + 21;
        places.push((2, (start + number * EACH) as u64, size as u32));
    }
    file.extend(blocks);
    file.extend([0; 21]);
    assert_eq!(
        refused(with_objects(file, &places)),
        "blocks of memory: found 4194304, the limit is 4194304"
    );
}

/// A key with another name and other bytes of the value.
fn renamed(key: &[u8], name: &str, skip: usize, bytes: &[u8], counted: usize) -> Vec<u8> {
    let value = 21 + usize::from(key[20]) + skip;
    let mut own = patched(key.to_vec(), value, bytes);
    let old = 21..21 + usize::from(own[20]);
    own.splice(old, [name.as_bytes(), &[0]].concat());
    own[20] = name.len() as u8 + 1;
    own.truncate(21 + name.len() + 1 + counted);
    own[2..6].copy_from_slice(&(21 + name.len() as u32 + 1 + counted as u32).to_le_bytes());
    own[12..16].fill(0);
    let checksum = crc32fast::hash(&own).to_le_bytes();
    own[12..16].copy_from_slice(&checksum);
    own
}

#[test]
fn hyperv_stored_and_compressed_blocks_in_turn() {
    let (block, range) = (entry("RamBlock0").1, entry("RamMemoryBlock0").1);
    let runs = |blocks: u32| {
        // Behind the guest's own memory, from page and frame 2^20 on.
        let numbers = 4096..4096 + blocks;
        let mut entries: Vec<u8> = numbers
            .flat_map(|number| {
                let size = ((1_u32 << 20) - number % 2).to_le_bytes();
                renamed(&block, &format!("RamBlock{number}"), 0, &size, 12)
            })
            .collect();
        let place = [u64::from(blocks) * 256, 1 << 20, 1 << 21].map(u64::to_le_bytes);
        entries.extend(renamed(&range, "RamMemoryBlock7", 12, &place.concat(), 52));
        open(with_entries(&entries)).unwrap().memory.runs().len()
    };
    assert!((1000..2000).contains(&runs(1000)));
    let many = runs((1 << 16) + 2);
    assert!(many < 100, "{many} runs");
}

#[test]
fn hyperv_key_tables_of_a_gib() {
    let objects = HYPERV[0x2008..0x3000].chunks_exact(18);
    let known = objects.into_iter().find(|object| object[0] == 2).unwrap();
    let place = u64::from_le_bytes(known[5..13].try_into().unwrap());
    let line = refused(with_objects(HYPERV.clone(), &[(2, place, 16 << 20); 65]));
    assert!(line.starts_with("bytes of key tables: found 10"), "{line}");
    assert!(line.ends_with(", the limit is 1073741824"), "{line}");
}

#[test]
fn hyperv_vcpus_in_tens_of_thousands() {
    let chunk = |id: u32, data: &[u8]| {
        let mut chunk = [id.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        chunk.extend([0; 8]);
        chunk.extend(data);
        chunk
    };
    let state = |vcpus: u32| {
        let mut state = [24_u64, 24, 0].map(u64::to_le_bytes).concat();
        state.extend([0; 16]);
        for number in 0..vcpus {
            state.extend(chunk(0x3000_1000, &number.to_le_bytes()));
            state.extend(chunk(0x3000_5000, &[]));
            state.extend(chunk(0x3000_7000, &[]));
        }
        state.extend(chunk(0xf000_0000, &[]));
        state
    };
    let warnings = |state: Vec<u8>| {
        let (at, mut key) = entry("partition_state");
        let value = 21 + b"partition_state\0".len();
        key[value..value + 4].copy_from_slice(&(state.len() as u32).to_le_bytes());
        key[value + 4..value + 12].copy_from_slice(&(HYPERV.len() as u64).to_le_bytes());
        key[12..16].fill(0);
        let checksum = crc32fast::hash(&key[..value + 12]).to_le_bytes();
        key[12..16].copy_from_slice(&checksum);
        let mut file = patched(HYPERV.clone(), at, &key);
        file.extend(state);
        open(file).unwrap().container.warnings
    };
    let told = "the state of the processors: more than 65536 vCPUs".to_owned();
    assert!(!warnings(state(1 << 16)).contains(&told));
    assert!(warnings(state((1 << 16) + 1)).contains(&told));
}
