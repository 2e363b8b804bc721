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
    let mut slots = vec![(0_usize, 1_u64, 1_u32)];
    let stopped = expected
        .bugcheck
        .as_ref()
        .map(|stop| (stop.code, stop.parameters));
    let last = record
        .state
        .unwrap_or(if stopped.is_some() { 3 } else { 1 });
    if last >= 2 {
        slots.push((2, 1 << 63 | 1, 2));
    }
    if last >= 3 {
        slots.push((3, 1 << 63 | 2, last));
    }
    for &(index, generation, state) in &slots {
        if state == 3 {
            areas.push(Area {
                kind: 2,
                gpa: gpa + 0x6000,
                va: va + 0x6000,
                bytes: header(true),
            });
        }
        let mut slot = vec![0; 0x400];
        put_bytes(&mut slot, 0, b"C2DMPREC");
        put_u16(&mut slot, 8, 1);
        put_u32(&mut slot, 0xc, 0x400);
        put_u64(&mut slot, 0x10, generation);
        put_u32(&mut slot, 0x18, state);
        put_u64(&mut slot, 0x20, gpa);
        put_u64(&mut slot, 0x28, va);
        put_u32(&mut slot, 0x30, machine(expected));
        put_u32(&mut slot, 0x34, index as u32);
        let age = if record.stale { 0x2000_0000_0000 } else { 0 };
        put_u64(
            &mut slot,
            0x38,
            expected.system_time - expected.system_uptime + 600 - age,
        );
        put_u64(&mut slot, 0x40, 600);
        put_u64(&mut slot, 0x48, expected.system_time - age);
        put_u64(&mut slot, 0x50, expected.system_uptime);
        if let Some((code, parameters)) = stopped.filter(|_| state > 1) {
            put_u32(&mut slot, 0x1c, 1);
            put_u64(&mut slot, 0x58, code.into());
            for (n, parameter) in parameters.into_iter().enumerate() {
                put_u64(&mut slot, 0x60 + n * 8, parameter);
            }
        }
        put_u32(&mut slot, 0x84, areas[0].bytes.len() as u32);
        put_bytes(&mut slot, 0x88, b"synth\0\0\0");
        for (n, area) in areas.iter().enumerate() {
            world.ram.frames.write(area.gpa, &area.bytes);
            let at = 0x90 + n * 0x20;
            put_u32(&mut slot, at, area.kind);
            put_u32(&mut slot, at + 4, crc32(&area.bytes));
            put_u64(&mut slot, at + 8, area.gpa);
            put_u32(&mut slot, at + 16, area.bytes.len() as u32);
            put_u64(&mut slot, at + 24, area.va);
        }
        let sum = crc32(&slot[..0x3fc]);
        put_u32(&mut slot, 0x3fc, sum);
        world.ram.frames.write(gpa + index as u64 * 0x400, &slot);
    }
}

fn machine(expected: &Expected) -> u32 {
    u32::from(expected.arch.machine())
}
