//! Dump headers that a driver or Windows itself left in the guest's memory, of this boot or of another.
//!
//! ```text
//! gplpv    "XENXEN" u16 page offset | header | "XENXEN" u16      GPLPV's xenpci, in neighbouring frames
//! fwcfg    12-byte note header, "VMCOREINFO\0\0" | header        virtio-win's fwcfg; parameter 1 = a decoded KDBG's address
//! windows  header                                                page-aligned
//! ```
//!
//! References: GPLPV's header as it was found in guests' memory; virtio-win fwcfg64 and QEMU's vmcoreinfo device.

use crate::bytes::{put_bytes, put_u16, put_u32};
use crate::windows::dump_header::{self, Fields};
use crate::windows::expected::{Expected, FoundHeader};
use crate::windows::memory::{PAGE, Place};
use crate::windows::spec::{Kind, RamHeader};
use crate::windows::world::World;

impl RamHeader {
    fn fields(&self, expected: &Expected) -> Fields {
        let mut fields = Fields::of(expected);
        if self.stale {
            fields.make_stale(expected);
        }
        fields.dump_type = self.dump_type.unwrap_or(fields.dump_type);
        fields.dtb = self.dtb.unwrap_or(fields.dtb);
        fields.required_space = self.required_space.unwrap_or(fields.required_space);
        fields.kdbg = self.kdbg.unwrap_or(fields.kdbg);
        fields.bugcheck = self.bugcheck.unwrap_or(fields.bugcheck);
        fields.runs = self.runs.clone().unwrap_or(fields.runs);
        fields
    }
}

/// Puts the KDBG copy of a fwcfg header into pool; it has to be there before the roots are finished.
pub(crate) fn prepare(world: &mut World<'_>, plain: Option<&[u8]>) -> Option<u64> {
    let wanted = world
        .spec
        .ram_headers
        .iter()
        .any(|header| header.kind == Kind::Fwcfg);
    plain.filter(|_| wanted).map(|plain| {
        let copy = world.pool(plain.len() as u64);
        world.write(copy, plain);
        copy
    })
}

/// Writes all headers, and notes them among the facts.
pub(crate) fn write_all(world: &mut World<'_>, expected: &mut Expected, kdbg_copy: Option<u64>) {
    for header in world.spec.ram_headers.clone() {
        let found = write(world, &header, expected, kdbg_copy);
        expected.ram_headers.push(found);
    }
}

fn write(
    world: &mut World<'_>,
    header: &RamHeader,
    expected: &Expected,
    copy: Option<u64>,
) -> FoundHeader {
    let mut fields = header.fields(expected);
    if header.kind == Kind::Fwcfg && !header.stale && header.bugcheck.is_none() {
        fields.bugcheck.1[0] = copy.unwrap_or(0);
    }
    let bytes = dump_header::encode(&fields);
    let (kind, before) = match header.kind {
        Kind::Gplpv => ("gplpv", 8),
        Kind::Fwcfg => ("fwcfg", 24),
        Kind::Windows => ("windows", 0),
    };
    let mut buffer = vec![0; before];
    match header.kind {
        Kind::Gplpv => {
            put_bytes(&mut buffer, 0, b"XENXEN");
            put_u16(&mut buffer, 6, header.page_offset);
        }
        Kind::Fwcfg => {
            put_u32(&mut buffer, 0, 11);
            put_u32(&mut buffer, 4, bytes.len() as u32);
            put_bytes(&mut buffer, 12, b"VMCOREINFO");
        }
        Kind::Windows => {}
    }
    let prefix = buffer.clone();
    buffer.extend_from_slice(&bytes);
    if header.kind == Kind::Gplpv {
        buffer.extend_from_slice(&prefix);
    }
    let offset = u64::from(header.page_offset);
    let frames = (offset + buffer.len() as u64).div_ceil(PAGE as u64);
    let at = (world.ram.allocator.take_run(Place::Low, frames, 1) << 12) + offset;
    world.ram.frames.write(at, &buffer);
    FoundHeader {
        gpa: at + before as u64,
        buffer: at,
        kind,
        fresh: !header.stale,
    }
}
