//! Hyper-V's saved states (`.vmrs`): a store of keys and values, and two structures among its values.
//!
//! ```text
//! header 0, header 1 (4096 bytes each) | object table | objects
//! object table   signature | entries: type, place, size        the last one leads to the next table
//! key table      signature | entries: type, size, parent, name, value
//! value          in its entry; from 2048 bytes on, an object of its own
//! ```
//!
//! Sources: `OpenVMM`, `support/hvs_file/FORMAT.md` and `defs.rs`, `vmm_core/hyperv_dump/src/defs.rs`,
//! `vm/hv1/hvdef/src/save_restore.rs`; dissect.hypervisor, `descriptor/c_hyperv.py`.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `Header::signature`.
pub(crate) const SIGNATURE: u32 = 0x0128_2014;
/// `Header::version` that is described: 4.0.
pub(crate) const VERSION: u32 = 0x0400;
/// Where the two headers are.
pub(crate) const HEADERS_AT: [u64; 2] = [0, 0x1000];
/// Where the first object table is.
pub(crate) const OBJECTS_AT: u64 = 0x2000;
/// `ObjectTable::signature`.
pub(crate) const OBJECTS_SIGNATURE: u32 = 0x0111_0001;
/// `ReplayLog::signature`.
pub(crate) const LOG_SIGNATURE: u32 = 0x0111_0003;
/// `KeyTable::signature`.
pub(crate) const KEYS_SIGNATURE: u16 = 0x0002;

/// The file header; of two copies the one with the higher sequence counts.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    /// [`SIGNATURE`].
    pub(crate) signature: U32,
    /// CRC-32 of the header, this field being zero.
    pub(crate) checksum: U32,
    /// Increases with each change.
    pub(crate) sequence: U16,
    /// [`VERSION`]: major version in the second byte, minor in the first.
    pub(crate) version: U32,
    data_version: U32,
    flags: U32,
    alignment: U32,
    /// Where the replay log is.
    pub(crate) log_offset: U64,
    log_size: U64,
    log_header: U32,
}

/// The beginning of the replay log: changes that are not in the file yet.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ReplayLog {
    /// [`LOG_SIGNATURE`].
    pub(crate) signature: U32,
    checksum: U32,
    /// The number of changes.
    pub(crate) entries: U32,
}

/// The beginning of an object table.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ObjectTable {
    /// [`OBJECTS_SIGNATURE`].
    pub(crate) signature: U32,
    /// [`Object`]s that follow.
    pub(crate) entries: U32,
}

/// An entry of an object table.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Object {
    /// [`OBJECT_TABLE`], [`KEY_TABLE`], or one that does not matter here.
    pub(crate) kind: u8,
    checksum: U32,
    /// Where it is in the file.
    pub(crate) offset: U64,
    /// Its bytes.
    pub(crate) size: U32,
    flags: u8,
}

/// `Object::kind`: another object table.
pub(crate) const OBJECT_TABLE: u8 = 1;
/// `Object::kind`: a key table.
pub(crate) const KEY_TABLE: u8 = 2;

/// The beginning of a key table; entries follow without a gap.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct KeyTable {
    /// [`KEYS_SIGNATURE`].
    pub(crate) signature: U16,
    /// Its number, by which entries name their parents; from 1 on.
    pub(crate) index: U16,
    /// Sequence: among tables with the same number, the highest is used.
    pub(crate) sequence: U16,
    /// CRC-32 of this header, this field being zero.
    pub(crate) checksum: U32,
}

/// The beginning of an entry; the name and the value follow.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Key {
    /// One of [`key_type`].
    pub(crate) kind: u8,
    /// [`IN_OBJECT`] and others.
    pub(crate) flags: u8,
    /// Bytes up to the next entry.
    pub(crate) size: U32,
    /// Table of the parent; 0 for none.
    pub(crate) parent_table: U16,
    /// Where the parent is in it.
    pub(crate) parent_offset: U32,
    /// CRC-32 of this structure, the name and the value, this field being zero.
    pub(crate) checksum: U32,
    sequence: U32,
    /// Bytes of the name, with the zero at its end.
    pub(crate) name_bytes: u8,
}

/// `Key::flags`: the value is a [`Pointer`].
pub(crate) const IN_OBJECT: u8 = 1;

/// `Key::kind`.
pub(crate) mod key_type {
    /// No entry.
    pub(crate) const FREE: u8 = 1;
    /// A signed number of 8 bytes.
    pub(crate) const INT: u8 = 3;
    /// A number of 8 bytes.
    pub(crate) const UINT: u8 = 4;
    /// A length of 4 bytes, and text in UTF-16.
    pub(crate) const STRING: u8 = 6;
    /// A length of 4 bytes, and bytes.
    pub(crate) const ARRAY: u8 = 7;
    /// A node that is the parent of other entries; 12 bytes.
    pub(crate) const NODE: u8 = 9;
}

/// Where a long value is.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Pointer {
    /// Its bytes.
    pub(crate) size: U32,
    /// Its place in the file.
    pub(crate) offset: U64,
}

/// The value of `RamMemoryBlock<n>`: frames, and where they are in the sequence of all blocks.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct MemoryBlock {
    /// [`MEMORY_VERSION`].
    pub(crate) version: U32,
    flags: U32,
    /// Frames.
    pub(crate) frames: U64,
    /// Number of the first of them in all blocks.
    pub(crate) page: U64,
    /// The first frame.
    pub(crate) first: U64,
    node: U32,
    pad: U32,
    ksr_block: U64,
}

/// `MemoryBlock::version`.
pub(crate) const MEMORY_VERSION: u32 = 3;
/// Bytes of memory in the value of a `RamBlock<n>`; a shorter value is compressed.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;
/// The last version of a virtual machine whose saved state has other keys: 5.0.
pub(crate) const LAST_OLD_VM_VERSION: u64 = 0x0500;

/// In front of the chunks of `partition_state`.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct StateDescriptor {
    descriptor: U64,
    /// Chunks start [`STATE_GAP`] bytes behind so many.
    pub(crate) header: U64,
    total: U64,
}

/// See [`StateDescriptor::header`].
pub(crate) const STATE_GAP: u64 = 16;

/// In front of each chunk; the next one follows without a gap.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Chunk {
    /// One of [`chunk`].
    pub(crate) id: U32,
    /// Bytes that follow.
    pub(crate) size: U32,
    pad: [u8; 8],
}

/// `Chunk::id`.
pub(crate) mod chunk {
    /// The first; says which processors.
    pub(crate) const PROLOG: u32 = 0;
    /// The last.
    pub(crate) const EPILOG: u32 = 0xf000_0000;
    /// Those that follow are of the vCPU whose number it holds.
    pub(crate) const VP: u32 = 0x3000_1000;
    /// RAX to RFLAGS: [`super::General`].
    pub(crate) const GENERAL: u32 = 0x3000_5000;
    /// [`super::Float`].
    pub(crate) const FLOAT: u32 = 0x3000_6000;
    /// [`super::Control`].
    pub(crate) const CONTROL: u32 = 0x3000_7000;
    /// [`super::Debug`].
    pub(crate) const DEBUG: u32 = 0x3000_8000;
    /// [`super::Segments`].
    pub(crate) const SEGMENTS: u32 = 0x3000_9000;
    /// [`super::Tables`].
    pub(crate) const TABLES: u32 = 0x3000_a000;
    /// Those that follow are of the virtual trust level that its first byte holds.
    pub(crate) const VP_VTL: u32 = 0x3001_a000;
}

/// Where the prolog says who made the processor.
pub(crate) const VENDOR: usize = 8;
/// It is ARM64.
pub(crate) const VENDOR_ARM: u32 = 0x10;

/// General registers.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct General {
    pub(crate) rax: U64,
    pub(crate) rcx: U64,
    pub(crate) rdx: U64,
    pub(crate) rbx: U64,
    pub(crate) rsp: U64,
    pub(crate) rbp: U64,
    pub(crate) rsi: U64,
    pub(crate) rdi: U64,
    pub(crate) r8_r15: [U64; 8],
    pub(crate) rip: U64,
    pub(crate) rflags: U64,
}

/// Control registers.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Control {
    pub(crate) cr0: U64,
    pub(crate) cr2: U64,
    pub(crate) cr3: U64,
    pub(crate) cr4: U64,
    pub(crate) cr8: U64,
    pub(crate) efer: U64,
}

/// DR0 to DR3, DR6, DR7.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Debug {
    /// In that order.
    pub(crate) dr: [U64; 6],
}

/// A segment register (`HV_X64_SEGMENT_REGISTER`).
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Segment {
    /// Virtual address.
    pub(crate) base: U64,
    limit: U32,
    /// What the register shows.
    pub(crate) selector: U16,
    attributes: U16,
}

/// Segment registers.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Segments {
    pub(crate) es: Segment,
    pub(crate) cs: Segment,
    pub(crate) ss: Segment,
    pub(crate) ds: Segment,
    pub(crate) fs: Segment,
    /// Its base is the one that is active.
    pub(crate) gs: Segment,
    pub(crate) ldtr: Segment,
    pub(crate) tr: Segment,
}

/// A table register (`HV_X64_TABLE_REGISTER`).
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Table {
    pad: [u8; 6],
    /// Bytes, less one.
    pub(crate) limit: U16,
    /// Virtual address.
    pub(crate) base: U64,
}

/// Table registers.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Tables {
    pub(crate) idtr: Table,
    pub(crate) gdtr: Table,
}

/// The parts of an FXSAVE image, in another order.
#[derive(Debug, Clone, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Float {
    /// XMM0 to XMM15.
    pub(crate) xmm: [u8; 256],
    /// ST0 to ST7.
    pub(crate) st: [u8; 128],
    /// The image's first 32 bytes.
    pub(crate) control: [u8; 32],
}

const _: () = {
    assert!(size_of::<Header>() == 46);
    assert!(size_of::<ObjectTable>() == 8 && size_of::<Object>() == 18);
    assert!(size_of::<KeyTable>() == 10 && size_of::<Key>() == 21);
    assert!(size_of::<Pointer>() == 12 && size_of::<MemoryBlock>() == 48);
    assert!(size_of::<StateDescriptor>() == 24 && size_of::<Chunk>() == 16);
    assert!(size_of::<General>() == 144 && size_of::<Control>() == 48);
    assert!(size_of::<Segments>() == 128 && size_of::<Tables>() == 32);
    assert!(size_of::<Float>() == 416);
};
