//! Notes of a core: name, type, contents.

use object::LittleEndian as LE;
use object::elf::NoteHeader64;
use object::pod;

use super::Machine;
use crate::error::{Error, Result};
use crate::format::elf_core::{CORE_NAME, PRSTATUS, PrstatusArm64};
use crate::format::qemu;
use crate::source::{ReadAt, read_exact_at};

/// Bytes of notes that are accepted. QEMU writes less than 1 KiB a vCPU, VirtualBox 9 KiB; both have
/// thousands at most.
const MAX_BYTES: u64 = 16 << 20;
/// Notes that are accepted.
const MAX_NOTES: usize = 1 << 15;

/// A note.
#[derive(Debug)]
pub(super) struct Note {
    /// Without the zero at its end.
    name: Vec<u8>,
    pub(super) kind: u32,
    pub(super) desc: Vec<u8>,
}

/// All notes of a file.
#[derive(Debug, Default)]
pub(in crate::container) struct Notes {
    list: Vec<Note>,
    bytes: u64,
    /// What is wrong with them.
    pub(super) broken: Vec<String>,
}

impl Notes {
    /// Adds the notes in `bytes` bytes at `offset`.
    pub(in crate::container) fn read(
        &mut self,
        source: &dyn ReadAt,
        offset: u64,
        bytes: u64,
    ) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_BYTES {
            return Err(Error::TooMany {
                what: "bytes of notes",
                found: self.bytes,
                limit: MAX_BYTES,
            });
        }
        let mut raw = vec![0; usize::try_from(bytes).unwrap_or(0)];
        read_exact_at(source, offset, &mut raw, "notes")?;
        let mut rest = raw.as_slice();
        // 12 bytes are the least that a note takes.
        while rest.len() >= size_of::<NoteHeader64<LE>>() {
            if self.list.len() >= MAX_NOTES {
                let why = format!("more than {MAX_NOTES} notes: the rest is not read");
                self.broken.push(why);
                break;
            }
            let Some((note, next)) = parse(rest) else {
                self.broken.push(format!(
                    "a note at file offset {:#x} reaches beyond the end of the notes",
                    offset.saturating_add(raw.len().saturating_sub(rest.len()) as u64)
                ));
                break;
            };
            self.list.push(note);
            rest = rest.get(next..).unwrap_or_default();
        }
        Ok(())
    }

    /// Those of this name.
    pub(super) fn named<'n>(&'n self, name: &'n [u8]) -> impl Iterator<Item = &'n Note> {
        self.list.iter().filter(move |note| note.name == name)
    }

    /// The `CORE` notes of threads, which a debugger of programs would read.
    pub(super) fn threads(&self) -> usize {
        self.named(CORE_NAME)
            .filter(|note| note.kind == PRSTATUS)
            .count()
    }

    /// The machine of a core that does not say it: the notes of threads have another size on each.
    pub(in crate::container) fn machine(&self) -> Machine {
        let is_arm64 =
            |note: &Note| note.kind == PRSTATUS && note.desc.len() == size_of::<PrstatusArm64>();
        if self.named(CORE_NAME).any(is_arm64) && self.named(qemu::NOTE_NAME).next().is_none() {
            Machine::Arm64
        } else {
            Machine::X86
        }
    }
}

/// The first note, and where the next one starts.
fn parse(bytes: &[u8]) -> Option<(Note, usize)> {
    let (header, tail) = pod::from_bytes::<NoteHeader64<LE>>(bytes).ok()?;
    let name = usize::try_from(header.n_namesz.get(LE)).ok()?;
    let desc = usize::try_from(header.n_descsz.get(LE)).ok()?;
    let start = name.checked_next_multiple_of(4)?;
    let stop = start.checked_add(desc)?;
    let note = Note {
        name: tail
            .get(..name)?
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default()
            .to_vec(),
        kind: header.n_type.get(LE).0,
        desc: tail.get(start..stop)?.to_vec(),
    };
    let next = size_of::<NoteHeader64<LE>>().checked_add(stop.checked_next_multiple_of(4)?)?;
    Some((note, next))
}
