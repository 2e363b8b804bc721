//! The record that a driver in the guest leaves for the host, as docs/formats/guest-record.md describes it.
//!
//! ```text
//! page 0  slots 0x000 0x400 0x800 0xc00     page 1  block     pages 2, 6  headers
//! ```

use crate::bytes::{crc32, put_bytes, put_u16, put_u32, put_u64};
use crate::windows::dump_header::{self, Fields};
use crate::windows::expected::{Expected, FoundRecord};
use crate::windows::memory::Place;
use crate::windows::spec::GuestRecord;
use crate::windows::world::World;

/// Pages of a record.
const PAGES: u64 = 8;

/// Takes pages for each record, and maps those of this boot; their places.
pub(crate) fn prepare(world: &mut World<'_>) -> Vec<(u64, u64)> {
    let mut places = Vec::new();
    for record in world.spec.guest_records.clone() {
        let place = if record.above {
            Place::High
        } else {
            Place::Low
        };
        let first = world.ram.allocator.take_run(place, PAGES, 1);
        let va = if record.stale {
            world.layout().regions.pool + 0x7000_0000
        } else {
            world.map_run(first, PAGES)
        };
        places.push((first << 12, va));
    }
    places
}

/// Writes all records, and notes them among the facts.
pub(crate) fn write_all(world: &mut World<'_>, expected: &mut Expected, places: &[(u64, u64)]) {
    for (record, &(gpa, va)) in world.spec.guest_records.clone().iter().zip(places) {
        write(world, record, expected, gpa, va);
        expected.guest_records.push(FoundRecord {
            gpa,
            va,
            fresh: !record.stale,
        });
    }
}

struct Area {
    kind: u32,
    gpa: u64,
    va: u64,
    bytes: Vec<u8>,
}

fn write(world: &mut World<'_>, record: &GuestRecord, expected: &Expected, gpa: u64, va: u64) {
    let header = |stopped: bool| {
        let mut fields = Fields::of(expected);
        if record.stale {
            fields.make_stale(expected);
        }
        fields.dump_type = 1;
        if !stopped {
            fields.bugcheck = (0, [0; 4]);
        }
        dump_header::encode(&fields)
    };
    let mut areas = vec![Area {
        kind: 1,
        gpa: gpa + 0x2000,
        va: va + 0x2000,
        bytes: header(false),
    }];
    let block = expected.kdbg.as_ref().filter(|_| !record.without_block);
    if let Some(block) = block {
        areas.push(Area {
            kind: 3,
            gpa: gpa + 0x1000,
            va: block.va,
            bytes: block.plain.clone(),
        });
    }
    for slot in slots(record, expected) {
        if slot.state == 3 {
            areas.push(Area {
                kind: 2,
                gpa: gpa + 0x6000,
                va: va + 0x6000,
                bytes: header(true),
            });
        }
        let mut bytes = vec![0; 0x400];
        put_bytes(&mut bytes, 0, b"C2DMPREC");
        put_u16(&mut bytes, 8, 1);
        put_u32(&mut bytes, 0xc, 0x400);
        put_u64(&mut bytes, 0x20, gpa);
        put_u64(&mut bytes, 0x28, va);
        put_u32(&mut bytes, 0x30, machine(expected));
        slot.put(&mut bytes, record, expected);
        for (n, area) in areas.iter().enumerate() {
            world.ram.frames.write(area.gpa, &area.bytes);
            area.put(&mut bytes, 0x90 + n * 0x20);
        }
        put_u32(&mut bytes, 0x84, areas[0].bytes.len() as u32);
        put_bytes(&mut bytes, 0x88, b"synth\0\0\0");
        let sum = crc32(&bytes[..0x3fc]);
        put_u32(&mut bytes, 0x3fc, sum);
        let at = gpa + slot.index as u64 * 0x400;
        world.ram.frames.write(at, &bytes);
    }
}

impl Area {
    /// Its row in a slot.
    fn put(&self, slot: &mut [u8], at: usize) {
        put_u32(slot, at, self.kind);
        put_u32(slot, at + 4, crc32(&self.bytes));
        put_u64(slot, at + 8, self.gpa);
        put_u32(slot, at + 16, self.bytes.len() as u32);
        put_u64(slot, at + 24, self.va);
    }
}

/// One of the record's copies.
struct Slot {
    index: usize,
    generation: u64,
    state: u32,
}

/// The copies that are there when the last event was what the record's state says.
fn slots(record: &GuestRecord, expected: &Expected) -> Vec<Slot> {
    let last = match expected.bugcheck {
        Some(_) => 3,
        None => 1,
    };
    let last = record.state.unwrap_or(last);
    let slot = |index, generation, state| Slot {
        index,
        generation,
        state,
    };
    let mut slots = vec![slot(0, 1, 1)];
    if last >= 2 {
        slots.push(slot(2, 1 << 63 | 1, 2));
    }
    if last >= 3 {
        slots.push(slot(3, 1 << 63 | 2, last));
    }
    slots
}

impl Slot {
    /// Generation, state, times and stop code.
    fn put(&self, slot: &mut [u8], record: &GuestRecord, expected: &Expected) {
        let age = if record.stale { 0x2000_0000_0000 } else { 0 };
        let now = expected.system_time - age;
        put_u64(slot, 0x10, self.generation);
        put_u32(slot, 0x18, self.state);
        put_u32(slot, 0x34, self.index as u32);
        put_u64(slot, 0x38, now - expected.system_uptime + 600);
        put_u64(slot, 0x40, 600);
        put_u64(slot, 0x48, now);
        put_u64(slot, 0x50, expected.system_uptime);
        let stop = expected.bugcheck.as_ref().filter(|_| self.state > 1);
        if let Some(stop) = stop {
            put_u32(slot, 0x1c, 1);
            put_u64(slot, 0x58, stop.code.into());
            for (n, parameter) in stop.parameters.into_iter().enumerate() {
                put_u64(slot, 0x60 + n * 8, parameter);
            }
        }
    }
}
fn machine(expected: &Expected) -> u32 {
    u32::from(expected.arch.machine())
}
