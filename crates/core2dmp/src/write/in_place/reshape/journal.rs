//! The journal beside a core: what it was, which bytes were removed, and how far the conversion has come.
//!
//! ```text
//! CORE.core2dmp-journal    written, flushed, named   before the first byte of CORE changes
//!     core2dmp journal 1
//!     core 2f736d61..                  absolute names, in hexadecimal
//!     dump 2f736d61..
//!     file 1053 8180 1000              inode, mode, bytes of a block
//!     size 40006578 40006000 40004000  the core's, with its tail done, the dump's
//!     saved 0 3000                     stretches of the core; their bytes follow the head
//!     shift collapse 2000 1000 40006000   what is done, in this order; the size of the file that has the range
//!     wrote 0 2000 5d2f0a11            bytes of the dump that are not the core's, and their checksum
//!     end 8a2be2c1                     checksum of the lines before
//!     zeros up to a block; the saved bytes, each stretch from a new block on; then records, each flushed:
//!     move 0 2000:8000 b000:40005000 1c0ffee1    before shift 0, there or back: where data is behind it, without the
//!     range
//!     write 5d2f0a11                   before the pieces are written; all shifts are done
//!     done 8a2be2c1                    the file is the dump
//!     restore 77a10b3c                 before the saved bytes are put back; all shifts are undone
//! ```
//!
//! A record whose checksum is wrong was torn off: it does not count, and what it announces has not begun. Before a
//! shift is announced the file is flushed, so an announcement also says that the one before is done.

use std::fmt::Write as _;
use std::io;

use flate2::Crc;

use super::disk::Disk;
use super::span::{DataMap, Span};
use super::steps::{Kind, Shift, Steps};

const MAGIC: &str = "core2dmp journal 1";
/// Bytes of lines that are read.
const MAX_HEAD: u64 = 32 << 20;
/// Bytes of records that are read.
const MAX_RECORDS: u64 = 256 << 20;

/// What a journal says before its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the file's name, as the system has it.
    pub(super) core: Vec<u8>,
    pub(super) dump: Vec<u8>,
    pub(super) inode: u64,
    pub(super) mode: u32,
    pub(super) block: u64,
    pub(super) steps: Steps,
    /// Pieces of the dump that are not the core's, with their checksums.
    pub(super) wrote: Vec<(Span, u32)>,
}

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// A shift begins, there or back.
    Move { shift: usize, narrow: DataMap },
    /// All shifts are done; the pieces are being written.
    Write,
    /// The file is the dump.
    Done,
    /// All shifts are undone; the saved bytes are being put back.
    Restore,
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal<D> {
    pub(super) disk: D,
    pub(super) head: Head,
    /// The last one that counts.
    pub(super) last: Option<Record>,
    data_at: u64,
    end: u64,
}

impl<D: Disk> Journal<D> {
    /// Writes the head, and has `save` copy each stretch to its place; it counts once it is flushed and named.
    pub(super) fn create(
        mut disk: D,
        head: Head,
        save: &mut dyn FnMut(&mut D, u64, Span) -> io::Result<()>,
    ) -> io::Result<Self> {
        let text = head.text();
        disk.write(0, text.as_bytes())?;
        let data_at = (text.len() as u64).next_multiple_of(head.block);
        let mut end = data_at;
        for span in &head.steps.saved {
            save(&mut disk, end, *span)?;
            end = after(end, *span, head.block);
        }
        disk.set_size(end)?;
        disk.sync()?;
        Ok(Self {
            disk,
            head,
            last: None,
            data_at,
            end,
        })
    }

    /// Reads one; `mend` cuts off what a broken write left behind its last record.
    pub(super) fn open(mut disk: D, mend: bool) -> io::Result<Self> {
        let size = disk.size()?;
        let head_bytes = read(&disk, 0, size.min(MAX_HEAD))?;
        let (head, bytes) = Head::parse(&head_bytes).ok_or_else(|| damaged("its head"))?;
        let data_at = bytes.next_multiple_of(head.block);
        let spans = head.steps.saved.iter();
        let mut end = spans.fold(data_at, |at, span| after(at, *span, head.block));
        if end > size {
            return Err(damaged("its end: saved bytes are missing"));
        }
        let records = read(&disk, end, size.saturating_sub(end).min(MAX_RECORDS))?;
        let mut last = None;
        for line in records.split_inclusive(|byte| *byte == b'\n') {
            let Some(record) = parse_record(line) else {
                break;
            };
            end = end.saturating_add(line.len() as u64);
            last = Some(record);
        }
        if mend && end < size {
            disk.set_size(end)?;
        }
        Ok(Self {
            disk,
            head,
            last,
            data_at,
            end,
        })
    }

    /// Appends a record and waits until it is on the disk.
    pub(super) fn append(&mut self, record: Record) -> io::Result<()> {
        let line = record.line();
        self.disk.write(self.end, line.as_bytes())?;
        self.disk.sync()?;
        self.end = self.end.saturating_add(line.len() as u64);
        self.last = Some(record);
        Ok(())
    }

    /// The saved stretches, and where in the journal their bytes are.
    pub(super) fn saved(&self) -> impl Iterator<Item = (Span, u64)> {
        self.head.steps.saved.iter().scan(self.data_at, |at, span| {
            let here = *at;
            *at = after(here, *span, self.head.block);
            Some((*span, here))
        })
    }

    /// Bytes of the file.
    pub(super) const fn bytes(&self) -> u64 {
        self.end
    }
}

fn after(at: u64, span: Span, block: u64) -> u64 {
    at.saturating_add(span.bytes)
        .checked_next_multiple_of(block)
        .unwrap_or(u64::MAX)
}

fn damaged(what: &str) -> io::Error {
    let text = format!("damage at {what}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn read<D: Disk>(disk: &D, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(0)];
    disk.read(at, &mut buffer)?;
    Ok(buffer)
}

/// CRC-32.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A line with its checksum.
fn sealed(text: &str) -> String {
    format!("{text} {:08x}\n", checksum(text.as_bytes()))
}

/// The line without its checksum, if that is right.
fn unsealed(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (text, sum) = line.rsplit_once(' ')?;
    (u32::from_str_radix(sum, 16).ok()? == checksum(text.as_bytes())).then_some(text)
}

impl Record {
    fn line(&self) -> String {
        sealed(&match self {
            Self::Move { shift, narrow } => {
                let mut text = format!("move {shift:x}");
                for span in &narrow.0 {
                    // Writing into a string does not fail.
                    let _ = write!(text, " {:x}:{:x}", span.at, span.end());
                }
                text
            }
            Self::Write => "write".to_owned(),
            Self::Done => "done".to_owned(),
            Self::Restore => "restore".to_owned(),
        })
    }
}

fn parse_record(line: &[u8]) -> Option<Record> {
    let mut words = unsealed(line)?.split(' ');
    Some(match words.next()? {
        "move" => {
            let shift = usize::try_from(hex(words.next()?)?).ok()?;
            let mut narrow = DataMap::default();
            for word in words {
                let (at, end) = word.split_once(':')?;
                narrow.push(Span::between(hex(at)?, hex(end)?));
            }
            Record::Move { shift, narrow }
        }
        "write" => Record::Write,
        "done" => Record::Done,
        "restore" => Record::Restore,
        _ => return None,
    })
}

fn hex(word: &str) -> Option<u64> {
    u64::from_str_radix(word, 16).ok()
}

fn name(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

impl Head {
    fn text(&self) -> String {
        let mut text = format!("{MAGIC}\n");
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        };
        let steps = &self.steps;
        let _ = writeln!(text, "core {}\ndump {}", hex(&self.core), hex(&self.dump));
        let _ = writeln!(
            text,
            "file {:x} {:x} {:x}",
            self.inode, self.mode, self.block
        );
        let _ = writeln!(
            text,
            "size {:x} {:x} {:x}",
            steps.old_size, steps.tail_size, steps.new_size
        );
        for span in &steps.saved {
            let _ = writeln!(text, "saved {:x} {:x}", span.at, span.bytes);
        }
        for Shift { kind, span, wide } in &steps.shifts {
            let kind = match kind {
                Kind::Collapse => "collapse",
                Kind::Insert => "insert",
            };
            let _ = writeln!(text, "shift {kind} {:x} {:x} {wide:x}", span.at, span.bytes);
        }
        for (span, sum) in &self.wrote {
            let _ = writeln!(text, "wrote {:x} {:x} {sum:x}", span.at, span.bytes);
        }
        let sum = checksum(text.as_bytes());
        let _ = writeln!(text, "end {sum:08x}");
        text
    }

    /// The head and its length.
    fn parse(bytes: &[u8]) -> Option<(Self, u64)> {
        let mut head = Self {
            core: Vec::new(),
            dump: Vec::new(),
            inode: 0,
            mode: 0,
            block: 0,
            steps: Steps {
                old_size: 0,
                saved: Vec::new(),
                tail_size: 0,
                shifts: Vec::new(),
                new_size: 0,
            },
            wrote: Vec::new(),
        };
        let mut at = 0_usize;
        for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
            if number == 0 {
                (text == MAGIC).then_some(())?;
            } else if let Some(sum) = text.strip_prefix("end ") {
                let right = checksum(bytes.get(..at)?);
                let end = at.saturating_add(line.len()) as u64;
                let sound = hex(sum)? == u64::from(right) && head.block.is_power_of_two();
                return sound.then_some((head, end));
            } else {
                head.line(text)?;
            }
            at = at.saturating_add(line.len());
        }
        None
    }

    fn line(&mut self, text: &str) -> Option<()> {
        let mut words = text.split(' ');
        let key = words.next()?;
        let mut number = || hex(words.next()?);
        match key {
            "core" => self.core = name(words.next()?)?,
            "dump" => self.dump = name(words.next()?)?,
            "file" => {
                (self.inode, self.mode) = (number()?, u32::try_from(number()?).ok()?);
                self.block = number()?;
            }
            "size" => {
                self.steps.old_size = number()?;
                self.steps.tail_size = number()?;
                self.steps.new_size = number()?;
            }
            "saved" => self.steps.saved.push(Span::new(number()?, number()?)),
            "wrote" => {
                let span = Span::new(number()?, number()?);
                self.wrote.push((span, u32::try_from(number()?).ok()?));
            }
            "shift" => {
                let kind = match words.next()? {
                    "collapse" => Kind::Collapse,
                    "insert" => Kind::Insert,
                    _ => return None,
                };
                let mut number = || hex(words.next()?);
                let span = Span::new(number()?, number()?);
                let wide = number()?;
                self.steps.shifts.push(Shift { kind, span, wide });
            }
            _ => return None,
        }
        Some(())
    }
}
