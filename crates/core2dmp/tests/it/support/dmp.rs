//! Opening dumps that are in memory, and comparing them with the guest.

use std::sync::Arc;

use core2dmp::address::Pfn;
use core2dmp::container::dmp::{DumpFile, ProblemKind};
use core2dmp::memory::PhysicalMemory;
use core2dmp_synth::dump::Dump;

/// Opens a file's bytes.
pub(crate) fn open(bytes: &[u8]) -> DumpFile {
    DumpFile::open(Arc::new(bytes.to_vec())).unwrap()
}

/// The kinds of all problems.
pub(crate) fn kinds(dump: &DumpFile) -> Vec<ProblemKind> {
    dump.problems().iter().map(|problem| problem.kind).collect()
}

/// Every page that the file was given, and no other frame.
pub(crate) fn assert_pages(memory: &PhysicalMemory, dump: &Dump) {
    assert_eq!(memory.frame_count(), dump.pfns.len() as u64);
    let mut page = [0; 4096];
    for (index, pfn) in dump.pfns.iter().enumerate() {
        memory.read(Pfn::new(*pfn).gpa(), &mut page).unwrap();
        let at = dump.first_page + index * 4096;
        assert!(page == dump.bytes[at..at + 4096], "frame {pfn:#x}");
    }
}
