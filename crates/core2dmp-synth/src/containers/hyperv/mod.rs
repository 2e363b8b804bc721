//! The guest as Hyper-V saves it: a store of keys and values (`.vmrs`).
//!
//! ```text
//! header 1 | header 0 | object table | values of 2048 bytes and more | key tables | replay log | object tables
//! key     type flags size(4) table(2) offset(4) crc(4) sequence(4) name bytes(1) | name 0 | value
//! ```
//!
//! Reference: OpenVMM, support/hvs_file/FORMAT.md.

mod state;
mod store;

use crate::bytes::{crc32, put_u16, put_u32, put_u64};
use crate::containers::xpress::xpress_plain;
use crate::windows::guest::Guest;
use crate::windows::memory::{HIGH_START, PAGE};
use state::StateShape;
use store::{ALIGN, Object, Table, array, counted, key};

const MIB: usize = 1 << 20;

/// Builds a saved state.
#[derive(Clone, Debug)]
pub struct Hyperv<'a> {
    guest: &'a Guest,
    compressed: bool,
    packed: bool,
    chained: bool,
    stale: bool,
    nodes_last: bool,
    outstanding: u32,
    format: u32,
    machine: Option<u64>,
    memory: u32,
    prefix: &'static str,
    state: bool,
    shape: StateShape,
    without_block: Option<u64>,
}

impl Guest {
    /// The guest as Hyper-V saves it.
    #[must_use]
    pub fn hyperv(&self) -> Hyperv<'_> {
        Hyperv::new(self)
    }
}

impl<'a> Hyperv<'a> {
    pub(crate) fn new(guest: &'a Guest) -> Self {
        Self {
            guest,
            compressed: false,
            packed: false,
            chained: false,
            stale: false,
            nodes_last: false,
            outstanding: 0,
            format: 0x0400,
            machine: Some(0x0a00),
            memory: 3,
            prefix: "savedstate",
            state: true,
            shape: StateShape {
                secure_kernel: false,
                vendor: 1,
            },
            without_block: None,
        }
    }

    /// Every second block with Xpress.
    #[must_use]
    pub fn compressed(mut self) -> Self {
        self.compressed = true;
        self
    }

    /// Ranges that begin inside a block.
    #[must_use]
    pub fn packed(mut self) -> Self {
        self.packed = true;
        self
    }

    /// Object tables of eight entries, each leading to the next.
    #[must_use]
    pub fn chained(mut self) -> Self {
        self.chained = true;
        self
    }

    /// An older copy of a key table, with other contents, behind the newer one.
    #[must_use]
    pub fn stale(mut self) -> Self {
        self.stale = true;
        self
    }

    /// Parents behind their children.
    #[must_use]
    pub fn nodes_last(mut self) -> Self {
        self.nodes_last = true;
        self
    }

    /// Changes in the replay log.
    #[must_use]
    pub fn outstanding(mut self, changes: u32) -> Self {
        self.outstanding = changes;
        self
    }

    /// Another version of the store.
    #[must_use]
    pub fn format(mut self, version: u32) -> Self {
        self.format = version;
        self
    }

    /// Another version of the virtual machine, or none.
    #[must_use]
    pub fn machine(mut self, version: Option<u64>) -> Self {
        self.machine = version;
        self
    }

    /// Another version of the ranges of memory.
    #[must_use]
    pub fn memory(mut self, version: u32) -> Self {
        self.memory = version;
        self
    }

    /// Another node above all keys of the state.
    #[must_use]
    pub fn prefix(mut self, name: &'static str) -> Self {
        self.prefix = name;
        self
    }

    /// Leaves the processors out.
    #[must_use]
    pub fn without_state(mut self) -> Self {
        self.state = false;
        self
    }

    /// A secure kernel beside Windows.
    #[must_use]
    pub fn secure_kernel(mut self) -> Self {
        self.shape.secure_kernel = true;
        self
    }

    /// Processors of another maker.
    #[must_use]
    pub fn vendor(mut self, vendor: u32) -> Self {
        self.shape.vendor = vendor;
        self
    }

    /// Leaves a block out.
    #[must_use]
    pub fn without_block(mut self, number: u64) -> Self {
        self.without_block = Some(number);
        self
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = vec![0; 3 * ALIGN];
        let mut objects: Vec<Object> = Vec::new();
        let mut keys = Vec::new();
        self.collect(&mut file, &mut objects, &mut keys);
        let tables = self.key_tables(&keys);
        for table in tables {
            objects.push((2, file.len() as u64, table.len() as u32));
            file.extend(table);
        }
        let log = file.len() as u64;
        let mut header = vec![0; ALIGN];
        put_u32(&mut header, 0, 0x0111_0003);
        put_u32(&mut header, 8, self.outstanding);
        put_u32(&mut header, 13, 145);
        let checksum = crc32(&header[..34]);
        put_u32(&mut header, 4, checksum);
        file.extend(header);
        self.object_tables(&mut file, &objects);
        for (sequence, at) in [(1, 0), (0, 4096)] {
            let mut header = [0; 46];
            put_u32(&mut header, 0, 0x0128_2014);
            put_u16(&mut header, 8, sequence);
            put_u32(&mut header, 10, self.format);
            put_u32(&mut header, 22, ALIGN as u32);
            put_u64(&mut header, 26, log);
            put_u64(&mut header, 34, ALIGN as u64);
            put_u32(&mut header, 42, ALIGN as u32);
            let checksum = crc32(&header);
            put_u32(&mut header, 4, checksum);
            file[at..at + 46].copy_from_slice(&header);
        }
        file
    }

    /// Writes long values, and lists keys: the parent's node, and the entry without place and checksum.
    fn collect(
        &self,
        file: &mut Vec<u8>,
        objects: &mut Vec<Object>,
        keys: &mut Vec<(usize, Vec<u8>)>,
    ) {
        let number = |name: &str, value: u64| key(3, 0, name, &value.to_le_bytes());
        if let Some(version) = self.machine {
            keys.push((0, number("VmVersion", version)));
            keys.push((3, number("version", version)));
        }
        let text: Vec<u8> = "Normal\0"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        keys.push((0, key(6, 0, "type", &counted(&text))));
        if self.state {
            let state = state::partition_state(self.guest, self.shape);
            keys.push((1, array(file, objects, "partition_state", &state)));
        }
        let ends = |high: bool| {
            let ends = self.guest.present.iter().map(|run| run.0 + run.1);
            ends.filter(|end| (*end > HIGH_START) == high).max()
        };
        let mut ranges = vec![(0, ends(false).unwrap_or(0))];
        ranges.extend(ends(true).map(|end| (HIGH_START, end - HIGH_START)));
        let mut memory = Vec::new();
        for (n, (first, frames)) in ranges.into_iter().enumerate() {
            if !self.packed {
                memory.resize(memory.len().next_multiple_of(MIB), 0);
            }
            let mut range = [0; 48];
            put_u32(&mut range, 0, self.memory);
            put_u64(&mut range, 8, frames);
            put_u64(&mut range, 16, (memory.len() / PAGE) as u64);
            put_u64(&mut range, 24, first);
            let name = format!("RamMemoryBlock{n}");
            keys.push((0, array(file, objects, &name, &range)));
            let start = memory.len();
            memory.resize(start + frames as usize * PAGE, 0);
            self.guest
                .frames
                .read(first * PAGE as u64, &mut memory[start..]);
        }
        memory.resize(memory.len().next_multiple_of(MIB), 0);
        for (n, block) in memory.chunks_exact(MIB).enumerate() {
            if self.without_block == Some(n as u64) {
                continue;
            }
            let name = format!("RamBlock{n}");
            let packed = (self.compressed && n % 2 == 0).then(|| xpress_plain(block));
            let value = packed.as_deref().filter(|packed| packed.len() < MIB);
            keys.push((0, array(file, objects, &name, value.unwrap_or(block))));
        }
    }

    /// Nodes in a table of their own, and keys in as many as it takes.
    fn key_tables(&self, keys: &[(usize, Vec<u8>)]) -> Vec<Vec<u8>> {
        let node = |name: &str| key(9, 0, name, &[0; 12]);
        let names = [self.prefix, "savedVM", "configuration", "properties"];
        let parents = [None, Some(0), None, Some(2)];
        let nodes_index = if self.nodes_last { 9 } else { 1 };
        let mut nodes = Table::new(nodes_index);
        let mut places: Vec<(u16, u32)> = Vec::new();
        for (name, parent) in names.into_iter().zip(parents) {
            let parent = parent.map_or((0, 0), |parent: usize| places[parent]);
            places.push(nodes.add(node(name), parent));
        }
        let mut tables = Vec::new();
        let mut table = Table::new(if self.nodes_last { 1 } else { 2 });
        for (parent, entry) in keys {
            if !table.has_room(entry.len()) {
                let next = Table::new(table.index + 1);
                tables.push(std::mem::replace(&mut table, next).finish(7));
            }
            table.add(entry.clone(), places[*parent]);
        }
        let mut stale = Table::new(table.index);
        tables.push(table.finish(7));
        if self.stale {
            stale.add(key(3, 0, "VmVersion", &[1; 8]), places[0]);
            tables.push(stale.finish(6));
        }
        let place = if self.nodes_last { tables.len() } else { 0 };
        tables.insert(place, nodes.finish(1));
        tables
    }

    fn object_tables(&self, file: &mut Vec<u8>, objects: &[Object]) {
        let slots = if self.chained { 9 } else { (ALIGN - 8) / 18 };
        let parts: Vec<&[Object]> = objects.chunks(slots - 1).collect();
        let mut at = 2 * ALIGN;
        for (n, part) in parts.iter().enumerate() {
            let next = file.len();
            let mut table = vec![0; ALIGN];
            put_u32(&mut table, 0, 0x0111_0001);
            put_u32(&mut table, 4, slots as u32);
            let mut entries = part.to_vec();
            entries.resize(slots - 1, (0, 0, 0));
            if n + 1 < parts.len() {
                entries.push((1, next as u64, ALIGN as u32));
                file.resize(next + ALIGN, 0);
            } else {
                entries.push((0, 0, 0));
            }
            for (slot, (kind, offset, size)) in entries.into_iter().enumerate() {
                let mut entry = [0; 18];
                entry[0] = kind;
                put_u64(&mut entry, 5, offset);
                put_u32(&mut entry, 13, size);
                entry[17] = u8::from(kind == 2);
                let checksum = crc32(&entry);
                put_u32(&mut entry, 1, checksum);
                table[8 + slot * 18..][..18].copy_from_slice(&entry);
            }
            file[at..at + ALIGN].copy_from_slice(&table);
            at = next;
        }
    }
}
