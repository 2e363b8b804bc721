//! A slot of the record: what is written into it, and what a reader takes from it.
//!
//! ```text
//! 000 magic            008 version, bytes    010 generation       018 state, flags
//! 020 page's address   028 page's va         030 machine, slot    038 start, FILETIME
//! 040 start, since boot  048 written, FILETIME  050 written, since boot  058 stop code and 4 parameters
//! 080 NTSTATUS, header bytes   088 writer    090 four areas of 32 bytes    3fc CRC-32 of what is before
//! area: kind, CRC-32 | physical address | bytes, 0 | virtual address
//! ```
//!
//! All numbers are little endian. Bytes that are not named are zero.

use crate::crc::Crc32;

/// What a slot begins with.
pub const MAGIC: [u8; 8] = *b"C2DMPREC";
/// Readers refuse a greater one.
pub const VERSION_MAJOR: u16 = 1;
/// A greater one has more fields in bytes that are zero today.
pub const VERSION_MINOR: u16 = 0;
/// Slots in the page.
pub const SLOTS: u32 = 4;
/// Bytes of one.
pub const SLOT_BYTES: u32 = 0x400;
/// Generations of a bug check have this bit: they are greater than any of a boot.
pub const CRASH_GENERATION: u64 = 1 << 63;

/// Who wrote it: eight bytes of text.
const WRITER: [u8; 8] = *b"core2dmp";
/// Words of a slot.
const WORDS: u32 = SLOT_BYTES / 8;
/// Where the areas begin, and how many there are.
const AREAS: usize = 0x90;
const AREA_BYTES: usize = 32;
/// `flags`: the stop code is known.
const HAS_STOP_CODE: u32 = 1;

/// How far the driver came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The system runs.
    Boot = 1,
    /// A bug check began, and the header of it is being made.
    Refreshing = 2,
    /// The header of the bug check is whole.
    Refreshed = 3,
    /// It could not be made: the boot header is what there is.
    Failed = 4,
}

/// The stop code and its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StopCode {
    /// The code.
    pub code: u32,
    /// Its parameters.
    pub parameters: [u64; 4],
}

/// What an area holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AreaKind {
    /// The header made while the system ran.
    BootHeader = 1,
    /// The header made at the bug check.
    RefreshedHeader = 2,
    /// The debugger block, decoded. Its virtual address is where Windows has its own.
    DebuggerBlock = 3,
}

/// Whole pages in the guest's memory, and their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// What it holds.
    pub kind: AreaKind,
    /// CRC-32 of its bytes.
    pub crc: u32,
    /// Its physical address.
    pub gpa: u64,
    /// Bytes of it.
    pub bytes: u32,
    /// Its virtual address; of the block, the address of Windows' own.
    pub gva: u64,
}

/// The debugger block as an area.
pub type BlockArea = Area;

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Greater is newer.
    pub generation: u64,
    /// How far the driver came.
    pub state: State,
    /// The physical address of the page of slots.
    pub gpa: u64,
    /// The virtual address of the page of slots.
    pub gva: u64,
    /// The machine, as PE files number it.
    pub machine: u32,
    /// Which slot of the page this is.
    pub index: u32,
    /// When the driver started: tells boots apart.
    pub start: crate::Clock,
    /// When the slot was written.
    pub written: crate::Clock,
    /// The stop code, where it is known.
    pub stop: Option<StopCode>,
    /// What `KeInitializeCrashDumpHeader` returned last.
    pub status: i32,
    /// Bytes of a header.
    pub header_bytes: u32,
    /// The boot header, where one could be made.
    pub boot: Option<Area>,
    /// The header of the bug check.
    pub refreshed: Option<Area>,
    /// The debugger block.
    pub block: Option<BlockArea>,
}

/// Two halves as one word.
const fn pair(low: u32, high: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

impl Area {
    fn word(&self, index: u32) -> u64 {
        match index {
            0 => pair(self.kind as u32, self.crc),
            1 => self.gpa,
            2 => pair(self.bytes, 0),
            _ => self.gva,
        }
    }

    fn read(slot: &[u8], number: usize) -> Option<Self> {
        let at = AREAS.checked_add(number.checked_mul(AREA_BYTES)?)?;
        let field = |offset| u64_at(slot, at.checked_add(offset)?);
        let (kind, crc) = halves(field(0)?);
        let kind = match kind {
            1 => AreaKind::BootHeader,
            2 => AreaKind::RefreshedHeader,
            3 => AreaKind::DebuggerBlock,
            _ => return None,
        };
        Some(Self {
            kind,
            crc,
            gpa: field(8)?,
            bytes: halves(field(16)?).0,
            gva: field(24)?,
        })
    }
}

impl Slot {
    /// One word of the slot without the sum; `index` below 128.
    fn word(&self, index: u32) -> u64 {
        let stop = self.stop.unwrap_or_default();
        let flags = if self.stop.is_some() {
            HAS_STOP_CODE
        } else {
            0
        };
        let [first, second, third, fourth] = stop.parameters;
        match index {
            0 => u64::from_le_bytes(MAGIC),
            1 => pair(
                u32::from(VERSION_MAJOR) | u32::from(VERSION_MINOR) << 16,
                SLOT_BYTES,
            ),
            2 => self.generation,
            3 => pair(self.state as u32, flags),
            4 => self.gpa,
            5 => self.gva,
            6 => pair(self.machine, self.index),
            7 => self.start.system,
            8 => self.start.interrupt,
            9 => self.written.system,
            10 => self.written.interrupt,
            11 => u64::from(stop.code),
            12 => first,
            13 => second,
            14 => third,
            15 => fourth,
            16 => pair(self.status.cast_unsigned(), self.header_bytes),
            17 => u64::from_le_bytes(WRITER),
            18..=21 => area_word(self.boot, index.wrapping_sub(18) & 3),
            22..=25 => area_word(self.refreshed, index.wrapping_sub(18) & 3),
            26..=29 => area_word(self.block, index.wrapping_sub(18) & 3),
            _ => 0,
        }
    }

    /// Hands each word to `store`, with its offset in the slot: first a zero where the magic belongs, then all words
    /// behind it, and last the magic. `fence` is between, so that a slot with a magic is a whole one.
    pub(crate) fn write(&self, mut store: impl FnMut(u32, u64), fence: impl Fn()) {
        store(0, 0);
        fence();
        let mut sum = Crc32::new().word(self.word(0));
        for index in 1..WORDS.wrapping_sub(1) {
            let word = self.word(index);
            sum = sum.word(word);
            store(index.wrapping_mul(8), word);
        }
        // The low half of the last word is summed, the high half is the sum.
        let sum = sum.bytes(&[0; 4]).sum();
        store(SLOT_BYTES.wrapping_sub(8), pair(0, sum));
        fence();
        store(0, self.word(0));
        fence();
    }

    /// Reads a slot of [`SLOT_BYTES`].
    ///
    /// # Errors
    /// [`SlotError`], the first of what is wrong with it.
    pub fn read(slot: &[u8]) -> Result<Self, SlotError> {
        let word = |index: usize| u64_at(slot, index.wrapping_mul(8)).ok_or(SlotError::Short);
        if word(0)? != u64::from_le_bytes(MAGIC) {
            return Err(SlotError::Magic);
        }
        let (version, bytes) = halves(word(1)?);
        if version & 0xffff != u32::from(VERSION_MAJOR) || bytes != SLOT_BYTES {
            return Err(SlotError::Version(version));
        }
        let (_, sum) = halves(word(WORDS.wrapping_sub(1) as usize)?);
        let summed = slot
            .get(..SLOT_BYTES.wrapping_sub(4) as usize)
            .ok_or(SlotError::Short)?;
        let found = Crc32::new().bytes(summed).sum();
        if found != sum {
            return Err(SlotError::Sum { found, said: sum });
        }
        let (state, flags) = halves(word(3)?);
        let state = match state {
            1 => State::Boot,
            2 => State::Refreshing,
            3 => State::Refreshed,
            4 => State::Failed,
            other => return Err(SlotError::State(other)),
        };
        let stop = StopCode {
            code: halves(word(11)?).0,
            parameters: [word(12)?, word(13)?, word(14)?, word(15)?],
        };
        let (machine, index) = halves(word(6)?);
        let (status, header_bytes) = halves(word(16)?);
        let areas = (0..4).filter_map(|number| Area::read(slot, number));
        let area = |kind| areas.clone().find(|area: &Area| area.kind == kind);
        Ok(Self {
            generation: word(2)?,
            state,
            gpa: word(4)?,
            gva: word(5)?,
            machine,
            index,
            start: crate::Clock {
                system: word(7)?,
                interrupt: word(8)?,
            },
            written: crate::Clock {
                system: word(9)?,
                interrupt: word(10)?,
            },
            stop: (flags & HAS_STOP_CODE != 0).then_some(stop),
            status: status.cast_signed(),
            header_bytes,
            boot: area(AreaKind::BootHeader),
            refreshed: area(AreaKind::RefreshedHeader),
            block: area(AreaKind::DebuggerBlock),
        })
    }
}

/// Why a slot is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotError {
    /// Fewer bytes than a slot has.
    Short,
    /// It does not begin with the magic: empty, or being written.
    Magic,
    /// Of a version that came later.
    Version(u32),
    /// Its sum is another: torn or changed.
    Sum {
        /// Of the bytes.
        found: u32,
        /// That it says.
        said: u32,
    },
    /// A state without a name.
    State(u32),
}

/// A word of an area's four; zeros for none.
fn area_word(area: Option<Area>, index: u32) -> u64 {
    area.map_or(0, |area| area.word(index))
}

/// Low and high half.
const fn halves(word: u64) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    (word as u32, (word >> 32) as u32)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*field))
}
