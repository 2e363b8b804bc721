//! The store of keys and values.
//!
//! ```text
//! header -> object tables -> key tables --nodes--> paths
//!                                       --entries--> visitor: (parent, name, value)
//! ```
//!
//! A saved state has a key for each MiB of memory, so entries are shown one by one and never kept here; the
//! nodes, which are few, are.

use std::collections::HashMap;

use zerocopy::{FromBytes, IntoBytes};

use super::tables::{Table, checksum, header, key_tables, outstanding};
use crate::error::{Error, Place, Result};
use crate::format::hyperv::{HEADERS_AT, IN_OBJECT, Key, KeyTable, Pointer, VERSION, key_type};
use crate::format::{u32_at, u64_at};
use crate::source::{ReadAt, read_exact_at};

/// Nodes that are accepted; a virtual machine has hundreds.
const MAX_NODES: usize = 1 << 18;

/// An entry's place: table and offset in it. Nothing has the place of [`ROOT`].
pub(super) type NodeId = (u16, u32);
/// The parent of those that have none.
pub(super) const ROOT: NodeId = (0, 0);

/// A store that is open.
#[derive(Debug)]
pub(super) struct Storage<'a> {
    source: &'a dyn ReadAt,
    tables: Vec<(u16, Table)>,
    nodes: HashMap<NodeId, (NodeId, Vec<u8>)>,
    /// Changes in the replay log.
    pub(super) outstanding: u32,
    /// Entries with a wrong checksum are skipped.
    passes_over: bool,
}

/// What is shown an entry: its place, its file offset, itself, name and value.
type Visit<'v> = dyn FnMut(NodeId, u64, &Key, &[u8], &[u8]) -> Result<()> + 'v;

/// An entry that is no node.
#[derive(Debug)]
pub(super) struct Entry<'e> {
    pub(super) parent: NodeId,
    pub(super) name: &'e [u8],
    pub(super) value: Value,
}

/// A value, or where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Bytes(Bytes),
    Other,
}

/// Bytes in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) offset: u64,
    pub(super) size: u32,
}

impl Bytes {
    /// All of them.
    pub(super) fn read(self, source: &dyn ReadAt, what: &'static str) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.size).unwrap_or(0)];
        read_exact_at(source, self.offset, &mut bytes, what)?;
        Ok(bytes)
    }
}

impl<'a> Storage<'a> {
    pub(super) fn open(source: &'a dyn ReadAt, passes_over: bool) -> Result<Self> {
        let header = header(source)?;
        if header.version.get() != VERSION {
            let version = header.version.get();
            return Err(Error::malformed(
                "format of the Hyper-V store",
                Place::Offset(HEADERS_AT[0]),
                "version 4.0, the only one that is described",
                format!("version {}.{}", version >> 8, version & 0xff),
            ));
        }
        let mut storage = Self {
            source,
            tables: key_tables(source)?,
            nodes: HashMap::new(),
            outstanding: outstanding(source, header.log_offset.get())?,
            passes_over,
        };
        storage.read_nodes()?;
        Ok(storage)
    }

    /// The node at the end of a path.
    pub(super) fn node(&self, path: &[&str]) -> Option<NodeId> {
        path.iter().try_fold(ROOT, |parent, name| {
            let is_it = |node: &&(NodeId, Vec<u8>)| node.0 == parent && node.1 == name.as_bytes();
            let nodes = self.nodes.iter().filter(|(_, node)| is_it(node));
            nodes.map(|(id, _)| *id).min()
        })
    }

    fn read_nodes(&mut self) -> Result<()> {
        let mut nodes = HashMap::new();
        self.each_entry(&mut |id, at, key, name, value| {
            if key.kind != key_type::NODE {
                return Ok(());
            }
            self.is_good(at, key, name, value.get(..12))?;
            if nodes.len() >= MAX_NODES {
                return Err(Error::TooMany {
                    what: "nodes of a Hyper-V store",
                    found: nodes.len() as u64,
                    limit: MAX_NODES as u64,
                });
            }
            let parent = (key.parent_table.get(), key.parent_offset.get());
            nodes.insert(id, (parent, text(name).to_vec()));
            Ok(())
        })?;
        self.nodes = nodes;
        Ok(())
    }

    /// Shows `visit` every entry whose parent is one of `parents`; how many were skipped.
    pub(super) fn each(
        &self,
        parents: &[NodeId],
        visit: &mut dyn FnMut(Entry<'_>) -> Result<()>,
    ) -> Result<u64> {
        let mut bad = 0_u64;
        self.each_entry(&mut |_, at, key, name, value| {
            let parent = (key.parent_table.get(), key.parent_offset.get());
            if matches!(key.kind, key_type::NODE | key_type::FREE) || !parents.contains(&parent) {
                return Ok(());
            }
            let start = at
                .saturating_add(size_of::<Key>() as u64)
                .saturating_add(name.len() as u64);
            let (found, stored) = read_value(key, value, start);
            let Some(stored) = stored else {
                return Err(Error::malformed(
                    "entry of a key table",
                    Place::Offset(at),
                    "a value that its size has room for",
                    format!("{} bytes of type {}", value.len(), key.kind),
                ));
            };
            if !self.is_good(at, key, name, Some(stored))? {
                bad = bad.saturating_add(1);
                return Ok(());
            }
            visit(Entry {
                parent,
                name: text(name),
                value: found,
            })
        })?;
        Ok(bad)
    }

    /// Whether the checksum is right; `stored` are the bytes of the value that count.
    fn is_good(&self, at: u64, key: &Key, name: &[u8], stored: Option<&[u8]>) -> Result<bool> {
        let mut zeroed = key.clone();
        zeroed.checksum = 0.into();
        let mut hash = crc32fast::Hasher::new();
        hash.update(zeroed.as_bytes());
        hash.update(name);
        hash.update(stored.unwrap_or_default());
        let found = hash.finalize();
        if found == key.checksum.get() && stored.is_some() {
            return Ok(true);
        }
        if self.passes_over {
            return Ok(false);
        }
        Err(checksum(
            "entry of a key table",
            at,
            key.checksum.get(),
            found,
        ))
    }

    /// Shows `visit` every entry.
    fn each_entry(&self, visit: &mut Visit<'_>) -> Result<()> {
        let mut raw = Vec::new();
        for (index, table) in &self.tables {
            raw.resize(usize::try_from(table.size).unwrap_or(0), 0);
            read_exact_at(self.source, table.offset, &mut raw, "key table")?;
            let mut at = size_of::<KeyTable>();
            // A gap that is no entry has 21 bytes at most.
            while let Some(rest) = raw.get(at..).filter(|rest| rest.len() > size_of::<Key>()) {
                let Ok((key, body)) = Key::ref_from_prefix(rest) else {
                    break;
                };
                let place = table.offset.saturating_add(at as u64);
                let size = usize::try_from(key.size.get()).unwrap_or(usize::MAX);
                if size == 0 {
                    break;
                }
                let name = usize::from(key.name_bytes);
                let body = size
                    .checked_sub(size_of::<Key>())
                    .and_then(|bytes| body.get(..bytes))
                    .and_then(|body| body.split_at_checked(name));
                let Some((name, value)) = body else {
                    return Err(Error::malformed(
                        "entry of a key table",
                        Place::Offset(place),
                        format!("a size up to {:#x}, with room for its name", rest.len()),
                        format!("{size:#x}"),
                    ));
                };
                let offset = u32::try_from(at).unwrap_or(u32::MAX);
                visit((*index, offset), place, key, name, value)?;
                at = at.saturating_add(size);
            }
        }
        Ok(())
    }
}

/// The name without the zero at its end.
fn text(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The value, and the bytes that tell it; `start` is where they are in the file.
fn read_value<'v>(key: &Key, value: &'v [u8], start: u64) -> (Value, Option<&'v [u8]>) {
    if key.flags & IN_OBJECT != 0 {
        let pointer = Pointer::ref_from_prefix(value).ok();
        let found = pointer.map_or(Value::Other, |(pointer, _)| {
            Value::Bytes(Bytes {
                offset: pointer.offset.get(),
                size: pointer.size.get(),
            })
        });
        return (found, value.get(..size_of::<Pointer>()));
    }
    match key.kind {
        key_type::INT | key_type::UINT => {
            let number = u64_at(value, 0);
            (number.map_or(Value::Other, Value::Number), value.get(..8))
        }
        key_type::STRING | key_type::ARRAY => {
            let size = u32_at(value, 0).unwrap_or(0);
            let end = usize::try_from(size).ok().and_then(|n| n.checked_add(4));
            let offset = start.saturating_add(4);
            (
                Value::Bytes(Bytes { offset, size }),
                end.and_then(|end| value.get(..end)),
            )
        }
        _ => (Value::Other, Some(value)),
    }
}
