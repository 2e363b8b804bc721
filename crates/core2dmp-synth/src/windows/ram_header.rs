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
use crate::dump::header::{self, Fields};
use crate::windows::expected::{Expected, FoundHeader};
use crate::windows::memory::{PAGE, Place};
use crate::windows::world::World;

/// The kinds of headers in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Gplpv,
    Fwcfg,
    Windows,
}

/// A dump header in guest memory. By default all its fields are those of this boot.
#[derive(Clone, Debug)]
pub struct RamHeader {
    kind: Kind,
    stale: bool,
    page_offset: u16,
    dump_type: Option<u32>,
    dtb: Option<u64>,
    runs: Option<Vec<(u64, u64)>>,
    required_space: Option<u64>,
    bugcheck: Option<(u32, [u64; 4])>,
    kdbg: Option<u64>,
}

impl RamHeader {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            stale: false,
            page_offset: 0,
            dump_type: None,
            dtb: None,
            runs: None,
            required_space: None,
            bugcheck: None,
            kdbg: None,
        }
    }

    /// As GPLPV's xenpci driver keeps it.
    #[must_use]
    pub fn gplpv() -> Self {
        Self::new(Kind::Gplpv)
    }

    /// As virtio-win's fwcfg driver keeps it, with a decoded KDBG copy beside it.
    #[must_use]
    pub fn fwcfg() -> Self {
        Self::new(Kind::Fwcfg)
    }

    /// As Windows itself keeps it: alone, page-aligned.
    #[must_use]
    pub fn windows() -> Self {
        Self::new(Kind::Windows)
    }

    /// A header of another boot: dump type 2, and wrong page tables, runs, space, times and PFN database; where the
    /// kernel moves between boots, also wrong list heads and KDBG.
    #[must_use]
    pub fn stale(mut self) -> Self {
        self.stale = true;
        self
    }

    /// How far into its page the buffer begins (GPLPV).
    #[must_use]
    pub fn page_offset(mut self, bytes: u16) -> Self {
        self.page_offset = bytes;
        self
    }

    /// Overrides DumpType.
    #[must_use]
    pub fn dump_type(mut self, value: u32) -> Self {
        self.dump_type = Some(value);
        self
    }

    /// Overrides DirectoryTableBase.
    #[must_use]
    pub fn dtb(mut self, value: u64) -> Self {
        self.dtb = Some(value);
        self
    }

    /// Overrides the runs.
    #[must_use]
    pub fn runs(mut self, runs: Vec<(u64, u64)>) -> Self {
        self.runs = Some(runs);
        self
    }

    /// Overrides RequiredDumpSpace.
    #[must_use]
    pub fn required_space(mut self, bytes: u64) -> Self {
        self.required_space = Some(bytes);
        self
    }

    /// Overrides stop code and parameters.
    #[must_use]
    pub fn bugcheck(mut self, code: u32, parameters: [u64; 4]) -> Self {
        self.bugcheck = Some((code, parameters));
        self
    }

    /// Overrides KdDebuggerDataBlock.
    #[must_use]
    pub fn kdbg(mut self, va: u64) -> Self {
        self.kdbg = Some(va);
        self
    }

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
    let bytes = header::encode(&fields);
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
