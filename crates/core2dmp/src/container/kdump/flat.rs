//! The flattened form: records that say where their bytes belong. They are read in place.
//!
//! ```text
//! header | { offset, size } data | { offset, size } data | ... | { -1, -1 }
//! ```
//!
//! A writer that cannot seek writes so, and may write a place twice: the last one counts.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use zerocopy::FromBytes;

use crate::container::salvage::Salvage;
use crate::error::{Error, Place, Result};
use crate::format::kdump::{FLAT_END, FLAT_RECORDS, FlatRecord};
use crate::source::{ReadAt, read_exact_at};

/// Records that are accepted: 96 MiB of ours, and of a writer with small buffers 256 GiB.
const MAX_RECORDS: usize = 4 << 20;

/// Bytes of the file inside.
#[derive(Debug, Clone, Copy)]
struct Record {
    /// Where they belong.
    offset: u64,
    size: u64,
    /// Where they are.
    stored: u64,
}

impl Record {
    const fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}

/// The file inside a flattened one.
#[derive(Debug)]
pub(super) struct FlatSource {
    source: Arc<dyn ReadAt>,
    /// Ascending, without overlap.
    records: Vec<Record>,
    size: u64,
}

impl FlatSource {
    pub(super) fn read(source: Arc<dyn ReadAt>, salvage: &mut Salvage) -> Result<Self> {
        let mut records = read_records(&*source, salvage)?;
        records.sort_by_key(|record| record.offset);
        let mut pairs = records.iter().zip(records.iter().skip(1));
        if pairs.any(|(record, next)| next.offset < record.end()) {
            records = last_wins(records);
        }
        let size = records.last().map_or(0, Record::end);
        Ok(Self {
            source,
            records,
            size,
        })
    }

    pub(super) fn records(&self) -> usize {
        self.records.len()
    }
}

fn read_records(source: &dyn ReadAt, salvage: &mut Salvage) -> Result<Vec<Record>> {
    const WHAT: &str = "a record of the flattened file";
    let file = source.size();
    let mut records = Vec::new();
    let mut at = FLAT_RECORDS;
    loop {
        let mut raw = [0; size_of::<FlatRecord>()];
        let stored = at.saturating_add(raw.len() as u64);
        if stored > file {
            salvage.accept(stored, file, "the end of the flattened file")?;
            return Ok(records);
        }
        read_exact_at(source, at, &mut raw, WHAT)?;
        let Ok(header) = FlatRecord::read_from_bytes(&raw) else {
            return Ok(records);
        };
        let record = Record {
            offset: header.offset.get(),
            size: header.size.get(),
            stored,
        };
        if record.offset == FLAT_END {
            return Ok(records);
        }
        if record.size == 0 || record.offset.checked_add(record.size).is_none() {
            return Err(Error::malformed(
                WHAT,
                Place::Offset(at),
                "a place and a number of bytes",
                format!("{:#x} bytes for {:#x}", record.size, record.offset),
            ));
        }
        if records.len() >= MAX_RECORDS {
            return Err(Error::TooMany {
                what: "records of the flattened file",
                found: records.len() as u64,
                limit: MAX_RECORDS as u64,
            });
        }
        at = stored.saturating_add(record.size);
        let size = record.size.min(file.saturating_sub(stored));
        records.push(Record { size, ..record });
        if size < record.size {
            salvage.accept(at, file, "the end of the flattened file")?;
            return Ok(records);
        }
    }
}

/// The same bytes without overlap, where those that are later in the file count.
fn last_wins(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_unstable_by_key(|record| record.stored);
    let mut placed: BTreeMap<u64, Record> = BTreeMap::new();
    for record in records {
        let end = record.end();
        let before = placed.range(..record.offset).next_back();
        let first = before.map_or(record.offset, |(start, _)| *start);
        let touched: Vec<Record> = placed.range(first..end).map(|(_, old)| *old).collect();
        for old in touched.iter().filter(|old| old.end() > record.offset) {
            placed.remove(&old.offset);
            if old.offset < record.offset {
                let size = record.offset.saturating_sub(old.offset);
                placed.insert(old.offset, Record { size, ..*old });
            }
            if old.end() > end {
                let skipped = end.saturating_sub(old.offset);
                let rest = Record {
                    offset: end,
                    size: old.size.saturating_sub(skipped),
                    stored: old.stored.saturating_add(skipped),
                };
                placed.insert(end, rest);
            }
        }
        placed.insert(record.offset, record);
    }
    placed.into_values().collect()
}

impl ReadAt for FlatSource {
    fn size(&self) -> u64 {
        self.size
    }

    /// Bytes between records are zeros, as in the file that a seeking writer would have made.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let after = self
            .records
            .partition_point(|record| record.end() <= offset);
        let Some(record) = self.records.get(after) else {
            return Ok(0);
        };
        let limit = |bytes: u64| buf.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        if record.offset > offset {
            let zeros = limit(record.offset.saturating_sub(offset));
            buf.get_mut(..zeros).unwrap_or_default().fill(0);
            return Ok(zeros);
        }
        let bytes = limit(record.end().saturating_sub(offset));
        let skipped = offset.saturating_sub(record.offset);
        let part = buf.get_mut(..bytes).unwrap_or_default();
        self.source
            .read_at(record.stored.saturating_add(skipped), part)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::container::OpenOptions;
    use crate::source::fill_at;

    proptest! {
        #[test]
        fn reads_as_if_it_were_unflattened(
            records in proptest::collection::vec((0_u64..400, 1_usize..200), 1..12),
            start in 0_u64..600,
            len in 0_usize..600,
        ) {
            let mut flat = b"makedumpfile\0\0\0\0".to_vec();
            flat.resize(4096, 0);
            let mut plain = Vec::new();
            for (n, (offset, size)) in (1_u8..).zip(records) {
                flat.extend(offset.to_be_bytes());
                flat.extend((size as u64).to_be_bytes());
                flat.extend(vec![n; size]);
                plain.resize(plain.len().max(offset as usize + size), 0);
                plain[offset as usize..][..size].fill(n);
            }
            flat.extend([0xff; 16]);
            let mut salvage = Salvage::new(&OpenOptions::default());
            let source = FlatSource::read(Arc::new(flat), &mut salvage).unwrap();
            prop_assert_eq!(source.size(), plain.len() as u64);
            let (mut got, mut wanted) = (vec![0xee; len], vec![0xee; len]);
            let bytes = fill_at(&source, start, &mut got).unwrap();
            prop_assert_eq!(bytes, fill_at(&plain, start, &mut wanted).unwrap());
            prop_assert_eq!(got, wanted);
        }
    }
}
