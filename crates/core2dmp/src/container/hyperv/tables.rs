//! The header of the store, its object tables, and the key tables that these lead to.
//!
//! ```text
//! header 0, header 1 --newest--> replay log
//! object table -> object table -> ..          no table twice
//!              -> key tables                  of those with one number the newest
//! ```

use std::collections::{HashMap, HashSet};

use zerocopy::{FromBytes, IntoBytes};

use crate::error::{Error, Place, Result};
use crate::format::hyperv::{
    HEADERS_AT, Header, KEY_TABLE, KEYS_SIGNATURE, KeyTable, LOG_SIGNATURE, OBJECT_TABLE,
    OBJECTS_AT, OBJECTS_SIGNATURE, Object, ObjectTable, ReplayLog, SIGNATURE,
};
use crate::format::u32_at;
use crate::source::{ReadAt, fill_at, read_exact_at};

/// Entries of object tables that are accepted: an object a MiB of memory.
const MAX_OBJECTS: u64 = 1 << 24;
/// Entries that are read at once.
const OBJECTS: u64 = 1 << 12;
/// Bytes of a key table that are accepted; 4096 are usual.
const MAX_TABLE: u32 = 16 << 20;
/// Bytes of all of them.
const MAX_TABLES: u64 = 1 << 30;

/// Where a key table is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    sequence: u16,
    pub(super) offset: u64,
    pub(super) size: u32,
}

/// Bytes that have changed since their checksum was made.
pub(super) fn checksum(what: &'static str, at: u64, stored: u32, found: u32) -> Error {
    Error::malformed(
        what,
        Place::Offset(at),
        format!("bytes with the checksum {stored:#010x}"),
        format!("{found:#010x}"),
    )
}

/// The header that counts.
pub(super) fn header(source: &dyn ReadAt) -> Result<Header> {
    let mut best: Option<Header> = None;
    let mut wrong = None;
    for at in HEADERS_AT {
        let mut raw = [0; size_of::<Header>()];
        let read = fill_at(source, at, &mut raw);
        let read = read.map_err(|e| Error::io("cannot read the header", e))?;
        let Ok(header) = Header::read_from_bytes(&raw) else {
            continue;
        };
        if read < raw.len() as u64 || header.signature.get() != SIGNATURE {
            continue;
        }
        let mut zeroed = header.clone();
        zeroed.checksum = 0.into();
        let found = crc32fast::hash(zeroed.as_bytes());
        if found != header.checksum.get() {
            wrong = Some(checksum(
                "header of the Hyper-V store",
                at,
                header.checksum.get(),
                found,
            ));
        } else if best
            .as_ref()
            .is_none_or(|best| header.sequence.get() > best.sequence.get())
        {
            best = Some(header);
        }
    }
    best.ok_or_else(|| {
        wrong.unwrap_or_else(|| {
            let place = Place::Offset(HEADERS_AT[1]);
            let (expected, found) = ("a header with a signature", "none");
            Error::malformed("header of the Hyper-V store", place, expected, found)
        })
    })
}

/// Changes that were promised and not made.
pub(super) fn outstanding(source: &dyn ReadAt, at: u64) -> Result<u32> {
    let mut raw = [0; size_of::<ReplayLog>()];
    read_exact_at(source, at, &mut raw, "replay log")?;
    match ReplayLog::ref_from_bytes(&raw) {
        Ok(log) if log.signature.get() == LOG_SIGNATURE => Ok(log.entries.get()),
        _ => Err(Error::malformed(
            "replay log",
            Place::Offset(at),
            format!("signature {LOG_SIGNATURE:#010x}"),
            format!("{:#010x}", u32_at(&raw, 0).unwrap_or(0)),
        )),
    }
}

/// All key tables, of those with one number the newest.
pub(super) fn key_tables(source: &dyn ReadAt) -> Result<Vec<(u16, Table)>> {
    let mut tables: HashMap<u16, Table> = HashMap::new();
    let mut waiting = vec![OBJECTS_AT];
    let mut seen = HashSet::from([OBJECTS_AT]);
    let (mut objects, mut bytes) = (0_u64, 0_u64);
    while let Some(at) = waiting.pop() {
        let mut raw = [0; size_of::<ObjectTable>()];
        read_exact_at(source, at, &mut raw, "object table")?;
        let signature = u32_at(&raw, 0).unwrap_or(0);
        if signature != OBJECTS_SIGNATURE {
            return Err(Error::malformed(
                "object table",
                Place::Offset(at),
                format!("signature {OBJECTS_SIGNATURE:#010x}"),
                format!("{signature:#010x}"),
            ));
        }
        let count = u64::from(u32_at(&raw, 4).unwrap_or(0));
        objects = objects.saturating_add(count);
        if objects > MAX_OBJECTS {
            return Err(Error::TooMany {
                what: "objects of a Hyper-V store",
                found: objects,
                limit: MAX_OBJECTS,
            });
        }
        each_object(
            source,
            at.saturating_add(raw.len() as u64),
            count,
            &mut |object| {
                let offset = object.offset.get();
                match object.kind {
                    OBJECT_TABLE if !seen.insert(offset) => Err(Error::malformed(
                        "object table",
                        Place::Offset(at),
                        "a way on to another table",
                        format!("one back to file offset {offset:#x}"),
                    )),
                    OBJECT_TABLE => {
                        waiting.push(offset);
                        Ok(())
                    }
                    KEY_TABLE => {
                        bytes = bytes.saturating_add(object.size.get().into());
                        add_table(source, object, bytes, &mut tables)
                    }
                    _ => Ok(()),
                }
            },
        )?;
    }
    let mut tables: Vec<(u16, Table)> = tables.into_iter().collect();
    tables.sort_unstable_by_key(|(index, _)| *index);
    Ok(tables)
}

fn each_object(
    source: &dyn ReadAt,
    at: u64,
    count: u64,
    visit: &mut dyn FnMut(&Object) -> Result<()>,
) -> Result<()> {
    const SIZE: u64 = size_of::<Object>() as u64;
    let mut raw = Vec::new();
    let mut done = 0;
    while done < count {
        let now = count.saturating_sub(done).min(OBJECTS);
        raw.resize(usize::try_from(now.saturating_mul(SIZE)).unwrap_or(0), 0);
        let offset = at.saturating_add(done.saturating_mul(SIZE));
        read_exact_at(source, offset, &mut raw, "entries of an object table")?;
        let now = usize::try_from(now).unwrap_or(0);
        let entries = <[Object]>::ref_from_bytes_with_elems(&raw, now).unwrap_or_default();
        entries.iter().try_for_each(&mut *visit)?;
        done = done.saturating_add(OBJECTS);
    }
    Ok(())
}

fn add_table(
    source: &dyn ReadAt,
    object: &Object,
    bytes: u64,
    tables: &mut HashMap<u16, Table>,
) -> Result<()> {
    let (offset, size) = (object.offset.get(), object.size.get());
    if size > MAX_TABLE || bytes > MAX_TABLES {
        return Err(Error::TooMany {
            what: "bytes of key tables",
            found: bytes.max(size.into()),
            limit: if size > MAX_TABLE {
                MAX_TABLE.into()
            } else {
                MAX_TABLES
            },
        });
    }
    let mut raw = [0; size_of::<KeyTable>()];
    read_exact_at(source, offset, &mut raw, "key table")?;
    let Ok(header) = KeyTable::read_from_bytes(&raw) else {
        return Ok(());
    };
    if header.signature.get() != KEYS_SIGNATURE {
        return Err(Error::malformed(
            "key table",
            Place::Offset(offset),
            format!("signature {KEYS_SIGNATURE:#06x}"),
            format!("{:#06x}", header.signature),
        ));
    }
    let mut zeroed = header.clone();
    zeroed.checksum = 0.into();
    let found = crc32fast::hash(zeroed.as_bytes());
    if found != header.checksum.get() {
        return Err(checksum("key table", offset, header.checksum.get(), found));
    }
    let table = Table {
        sequence: header.sequence.get(),
        offset,
        size,
    };
    let known = tables.entry(header.index.get()).or_insert(table);
    if table.sequence > known.sequence {
        *known = table;
    }
    Ok(())
}
