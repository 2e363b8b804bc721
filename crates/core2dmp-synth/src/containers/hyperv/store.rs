//! Keys, key tables and long values of Hyper-V's store.

use crate::bytes::{crc32, put_u16, put_u32};

/// What places in the file are a multiple of; a table's bytes.
pub(super) const ALIGN: usize = 4096;

/// An object table's entry: type, place, size.
pub(super) type Object = (u8, u64, u32);

/// A key table that is being filled.
pub(super) struct Table {
    pub(super) index: u16,
    bytes: Vec<u8>,
}

impl Table {
    pub(super) fn new(index: u16) -> Self {
        Self {
            index,
            bytes: vec![0; 10],
        }
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.len() + bytes <= ALIGN
    }

    /// Adds an entry below `parent`; its place.
    pub(super) fn add(&mut self, mut entry: Vec<u8>, parent: (u16, u32)) -> (u16, u32) {
        let place = (self.index, self.bytes.len() as u32);
        put_u16(&mut entry, 6, parent.0);
        put_u32(&mut entry, 8, parent.1);
        put_u32(&mut entry, 16, 1);
        let mut size = entry.len();
        let left = ALIGN - self.bytes.len() - size;
        if left <= 21 {
            size += left;
        }
        put_u32(&mut entry, 2, size as u32);
        let checksum = crc32(&entry);
        put_u32(&mut entry, 12, checksum);
        entry.resize(size, 0);
        self.bytes.extend(entry);
        place
    }

    pub(super) fn finish(mut self, sequence: u16) -> Vec<u8> {
        put_u16(&mut self.bytes, 0, 2);
        put_u16(&mut self.bytes, 2, self.index);
        put_u16(&mut self.bytes, 4, sequence);
        let checksum = crc32(&self.bytes[..10]);
        put_u32(&mut self.bytes, 6, checksum);
        let left = ALIGN - self.bytes.len();
        if left > 0 {
            let at = self.bytes.len();
            self.bytes.resize(ALIGN, 0);
            self.bytes[at] = 1;
            put_u32(&mut self.bytes, at + 2, left as u32);
        }
        self.bytes
    }
}

pub(super) fn key(kind: u8, flags: u8, name: &str, value: &[u8]) -> Vec<u8> {
    let mut entry = vec![0; 21];
    entry[0] = kind;
    entry[1] = flags;
    entry[20] = name.len() as u8 + 1;
    entry.extend(name.as_bytes());
    entry.push(0);
    entry.extend(value);
    entry
}

pub(super) fn counted(value: &[u8]) -> Vec<u8> {
    [&(value.len() as u32).to_le_bytes(), value].concat()
}

/// A key with bytes, which are in the file if they are many.
pub(super) fn array(
    file: &mut Vec<u8>,
    objects: &mut Vec<Object>,
    name: &str,
    value: &[u8],
) -> Vec<u8> {
    if value.len() < 2048 {
        return key(7, 0, name, &counted(value));
    }
    let offset = file.len();
    file.extend(value);
    file.resize(file.len().next_multiple_of(ALIGN), 0);
    objects.push((3, offset as u64, (file.len() - offset) as u32));
    let mut pointer = (value.len() as u32).to_le_bytes().to_vec();
    pointer.extend((offset as u64).to_le_bytes());
    key(7, 1, name, &pointer)
}
