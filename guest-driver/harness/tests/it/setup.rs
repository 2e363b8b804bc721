//! What the tests boot.

use std::sync::OnceLock;

use guest_harness::image::Image;
use guest_harness::windows::Setup;

use crate::machine::GPA;

/// The x64 images that were built; says so where there is none.
pub(crate) fn images() -> Vec<(String, Image)> {
    let found: Vec<_> = guest_harness::drivers()
        .into_iter()
        .filter(|(name, _)| name.starts_with("x64"))
        .map(|(name, path)| (name, Image::read(std::fs::read(path).unwrap()).unwrap()))
        .collect();
    static TOLD: OnceLock<()> = OnceLock::new();
    if found.is_empty() {
        TOLD.get_or_init(|| eprintln!("SKIPPED: no x64 driver was built (cargo xtask driver)"));
    }
    found
}

/// A header of a full dump as Windows makes it.
pub(crate) fn header(code: u32, pages: u64) -> Vec<u8> {
    let mut header: Vec<u8> = b"PAGE".repeat(0x800);
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(4, b"DU64");
    put(0x30, &0x8664_u32.to_le_bytes());
    put(0x38, &code.to_le_bytes());
    put(0x80, &0xffff_f800_0400_1000_u64.to_le_bytes());
    put(0x88, &1_u32.to_le_bytes());
    put(0x90, &pages.to_le_bytes());
    put(0x98, &1_u64.to_le_bytes());
    put(0xa0, &pages.to_le_bytes());
    put(0xf98, &1_u32.to_le_bytes());
    put(0xfa8, &u64::from(code).to_le_bytes());
    header
}

/// A small dump with this debugger block.
pub(crate) fn triage(block: &[u8]) -> Vec<u8> {
    let mut dump = vec![0; 0x3000 + block.len()];
    dump[0x2070..0x2074].copy_from_slice(&0x3000_u32.to_le_bytes());
    dump[0x2074..0x2078].copy_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
    dump[0x3000..].copy_from_slice(block);
    dump
}

pub(crate) fn block() -> Vec<u8> {
    let mut block: Vec<u8> = (0..0x340_u32).map(|n| n as u8).collect();
    block[0x10..0x14].copy_from_slice(b"KDBG");
    block[0x14..0x18].copy_from_slice(&0x340_u32.to_le_bytes());
    block
}

/// Windows 11: everything there is.
pub(crate) fn newest() -> Setup {
    guest_harness::step::set_clock(0x01dd_1234_5678_9abc, 0x5_0000_1111);
    Setup {
        missing: Vec::new(),
        reasons: vec![3, 4, 7],
        parameters: Vec::new(),
        gpa: GPA,
        header: header(0, 0x8000),
        status: 0,
        triage: triage(&block()),
    }
}

/// Windows 7: no triage callback, no memory of a node.
pub(crate) fn windows7() -> Setup {
    Setup {
        missing: vec!["MmAllocateContiguousNodeMemory"],
        reasons: vec![3, 4],
        ..newest()
    }
}

/// Server 2003 before SP1: no header can be made; AddPages is not known either.
pub(crate) fn server2003() -> Setup {
    Setup {
        missing: vec![
            "MmAllocateContiguousNodeMemory",
            "KeInitializeCrashDumpHeader",
        ],
        reasons: vec![3],
        ..newest()
    }
}
