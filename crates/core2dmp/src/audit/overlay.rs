//! Changes to a dump, and the dump with them laid over it, without a byte written.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::container::dmp::DumpFile;
use crate::error::Result;
use crate::source::{ReadAt, read_exact_at};

/// Bytes of a dump that a repair changes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The field or structure.
    pub what: String,
    /// File offset.
    pub offset: u64,
    /// What is there.
    pub old: Vec<u8>,
    /// What will be there.
    pub new: Vec<u8>,
    /// The reason.
    pub reason: String,
}

/// Changes by their offset; a later one replaces an earlier one at the same place.
#[derive(Debug, Default, Clone)]
pub(in crate::audit) struct Overlay {
    pub(in crate::audit) pieces: BTreeMap<u64, Change>,
}

impl Overlay {
    /// Adds a change; false if it was there already.
    pub(in crate::audit) fn add(&mut self, change: Change) -> bool {
        let known = self
            .pieces
            .get(&change.offset)
            .is_some_and(|before| before.new == change.new);
        if !known {
            self.pieces.insert(change.offset, change);
        }
        !known
    }

    /// The dump with the changes laid over it.
    pub(in crate::audit) fn over(&self, dump: &DumpFile) -> Result<DumpFile> {
        DumpFile::open(Arc::new(Patched {
            inner: Arc::clone(&dump.source),
            overlay: self.clone(),
        }))
    }

    /// The changes with what is there now; those that change nothing are dropped.
    pub(in crate::audit) fn against(self, dump: &DumpFile) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for change in self.pieces.into_values() {
            let mut old = vec![0; change.new.len()];
            read_exact_at(&*dump.source, change.offset, &mut old, "the dump")?;
            if old != change.new {
                changes.push(Change { old, ..change });
            }
        }
        Ok(changes)
    }
}

/// A file with bytes laid over it.
#[derive(Debug)]
struct Patched {
    inner: Arc<dyn ReadAt>,
    overlay: Overlay,
}

impl ReadAt for Patched {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read_at(offset, buf)?;
        let end = offset.saturating_add(read as u64);
        let changes = self.overlay.pieces.range(..end).map(|(_, change)| change);
        lay_over(changes, offset, buf.get_mut(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Lays changes over the bytes that are at `offset`.
pub(in crate::audit) fn lay_over<'c>(
    changes: impl Iterator<Item = &'c Change>,
    offset: u64,
    bytes: &mut [u8],
) {
    for change in changes {
        for (byte, position) in change.new.iter().zip(change.offset..) {
            let index = position.checked_sub(offset).map(usize::try_from);
            if let Some(Ok(index)) = index
                && let Some(slot) = bytes.get_mut(index)
            {
                *slot = *byte;
            }
        }
    }
}
