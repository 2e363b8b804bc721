//! Dumps in memory, before and after their repair.

use std::sync::Arc;

use core2dmp::audit::repair::Repair;
use core2dmp::container::dmp::DumpFile;

/// Opens a file's bytes.
pub(crate) fn open(bytes: &[u8]) -> DumpFile {
    DumpFile::open(Arc::new(bytes.to_vec())).unwrap()
}

/// The file after its repair.
pub(crate) fn repaired(bytes: &[u8], repair: &Repair) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in &repair.changes {
        let at = usize::try_from(change.offset).unwrap();
        let slot = &mut bytes[at..at + change.new.len()];
        assert_eq!(*slot, change.old, "{change:?}");
        slot.copy_from_slice(&change.new);
    }
    bytes
}
