//! When what is written: at the start, when memory was added, at the bug check, and at the end.
//!
//! ```text
//! start   header -> boot 0       block -> page 1      slot 0: boot
//! poll    header -> boot 1, 0 .. (the one that no slot names), and if its runs differ: slot 1, 0 ..: boot
//! crash   slot 2: refreshing     header -> refreshed  slot 3: refreshed, or failed
//! stop    all magics -> 0
//! ```
//!
//! Each slot has one writer: 0 and 1 the driver's thread, 2 and 3 whoever comes first in the bug check. So a
//! processor that was stopped in the middle of `poll` takes nothing from `crash`.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::crc::Crc32;
use crate::header::{HeaderFacts, HeaderFault, Width, check_header};
use crate::record::{
    Area, AreaKind, BlockArea, CRASH_GENERATION, SLOT_BYTES, SLOTS, Slot, State, StopCode,
};
use crate::{Clock, Machine, PAGE_BYTES, place};

/// Slots of the bug check.
const REFRESHING_SLOT: u32 = 2;
const FINAL_SLOT: u32 = 3;
/// `STATUS_NOT_SUPPORTED`, `STATUS_INVALID_IMAGE_FORMAT`: for what goes wrong without a status of Windows.
const NOT_SUPPORTED: i32 = 0xc000_00bb_u32.cast_signed();
const BAD_HEADER: i32 = 0xc000_007b_u32.cast_signed();

/// Why the driver cannot start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartError {
    /// Neither a header nor a debugger block: a record would say nothing. The status is the header's.
    Nothing(i32),
}

/// How it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// With a boot header.
    Whole,
    /// Without: the status says why.
    BlockAlone(i32),
}

/// What came of a look at the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// The memory is as the boot header says.
    Same,
    /// There is a new boot header.
    Renewed,
    /// None could be made; the last one stays.
    Failed(i32),
    /// There is a bug check: nothing was done.
    Crashing,
}

/// What came of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Another callback, or another processor, came first.
    NotFirst,
    /// The record has the header of this bug check.
    Refreshed,
    /// None could be made; the boot header is what the record has.
    Failed(i32),
}

/// The record of this boot.
#[derive(Debug)]
pub struct Writer {
    width: Width,
    gpa: u64,
    gva: u64,
    machine: u32,
    start: Clock,
    block: Option<BlockArea>,
    /// Which boot header is current, plus one; 0 for none.
    boot: AtomicU32,
    /// The sum of each boot header, and the sum of its runs.
    boot_crc: [AtomicU32; 2],
    boot_memory: [AtomicU32; 2],
    generation: AtomicU32,
    status: AtomicU32,
    crashing: AtomicU32,
}

impl Writer {
    /// Makes the boot header and the first slot. `block` is the size of the debugger block that page 1 has and its
    /// address in Windows, as far as it could be captured.
    ///
    /// # Errors
    /// [`StartError`]; nothing was published then.
    pub fn start(
        machine: &impl Machine,
        width: Width,
        (gpa, gva): (u64, u64),
        pe_machine: u32,
        block: Option<u32>,
    ) -> Result<(Self, Started), StartError> {
        let writer = Self {
            width,
            gpa,
            gva,
            machine: pe_machine,
            start: machine.clock(),
            block: None,
            boot: AtomicU32::new(0),
            boot_crc: [AtomicU32::new(0), AtomicU32::new(0)],
            boot_memory: [AtomicU32::new(0), AtomicU32::new(0)],
            generation: AtomicU32::new(0),
            status: AtomicU32::new(0),
            crashing: AtomicU32::new(0),
        };
        let made = writer.make_boot(machine, 0);
        let own = made.map_or(0, |facts| facts.block);
        let block = block.map(|bytes| Area {
            gva: own,
            ..writer.area(machine, AreaKind::DebuggerBlock, place::BLOCK, bytes)
        });
        let writer = Self { block, ..writer };
        let started = match made {
            Ok(_) => Started::Whole,
            Err(status) if block.is_none() => return Err(StartError::Nothing(status)),
            Err(status) => Started::BlockAlone(status),
        };
        writer.publish_boot(machine, u32::from(made.is_ok()));
        Ok((writer, started))
    }

    /// Looks whether the memory has changed since the boot header was made, and makes another if so. Called by one
    /// thread of System only.
    pub fn poll(&self, machine: &impl Machine) -> Poll {
        if self.crashing.load(Ordering::Acquire) != 0 {
            return Poll::Crashing;
        }
        let current = self.boot.load(Ordering::Acquire);
        // The other one; no slot names it that a reader could prefer.
        let spare = if current == 1 { 1 } else { 0 };
        let made = match self.make_boot(machine, spare) {
            Ok(facts) => facts,
            Err(status) => return Poll::Failed(status),
        };
        let known = current.checked_sub(1).map(|index| {
            let memory = self.boot_memory.get(index as usize);
            memory.map_or(0, |memory| memory.load(Ordering::Acquire))
        });
        if known == Some(made.memory) {
            return Poll::Same;
        }
        if self.crashing.load(Ordering::Acquire) != 0 {
            return Poll::Crashing;
        }
        self.publish_boot(machine, u32::wrapping_add(spare, 1));
        Poll::Renewed
    }

    /// Makes the header of the bug check, if no other callback did. Runs at `HIGH_LEVEL`, on any processor, and
    /// allocates nothing and looks nothing up. `told` is what the callback was told.
    pub fn crash(&self, machine: &impl Machine, told: Option<StopCode>) -> Crash {
        let first = self
            .crashing
            .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
        if first.is_err() {
            return Crash::NotFirst;
        }
        // KiBugCheckData has the parameters, too; what a callback is told may be the code alone.
        let stop = machine.stop_code().or(told);
        let slot = self.slot(machine, REFRESHING_SLOT, State::Refreshing);
        let refreshing = Slot {
            generation: CRASH_GENERATION | 1,
            stop,
            ..slot
        };
        self.publish(machine, &refreshing);
        let made = self.make(machine, place::REFRESHED);
        let refreshed = made.ok().map(|_| {
            let kind = AreaKind::RefreshedHeader;
            self.area(machine, kind, place::REFRESHED, self.width.header_bytes())
        });
        let state = if refreshed.is_some() {
            State::Refreshed
        } else {
            State::Failed
        };
        let last = Slot {
            generation: CRASH_GENERATION | 2,
            // The header's own code, should nothing else have told it.
            stop: stop.or(made.ok().and_then(|facts| facts.stop)),
            refreshed,
            ..self.slot(machine, FINAL_SLOT, state)
        };
        self.publish(machine, &last);
        made.map_or_else(Crash::Failed, |_| Crash::Refreshed)
    }

    /// Takes the record away, before its pages are freed.
    pub fn stop(&self, machine: &impl Machine) {
        // Nothing may be published after this.
        self.crashing.store(1, Ordering::Release);
        for slot in 0..SLOTS {
            machine.store(slot.wrapping_mul(SLOT_BYTES), 0);
        }
        machine.fence();
    }

    fn make_boot(&self, machine: &impl Machine, index: u32) -> Result<HeaderFacts, i32> {
        let [first, second] = place::BOOT;
        let at = if index == 0 { first } else { second };
        let facts = self.make(machine, at)?;
        let crc = sum(machine, at, self.width.header_bytes());
        if let Some(place) = self.boot_crc.get(index as usize) {
            place.store(crc, Ordering::Release);
        }
        if let Some(place) = self.boot_memory.get(index as usize) {
            place.store(facts.memory, Ordering::Release);
        }
        Ok(facts)
    }

    /// Makes a header and looks at it; the status is kept for the next slot.
    fn make(&self, machine: &impl Machine, at: u32) -> Result<HeaderFacts, i32> {
        let bytes = self.width.header_bytes();
        // What is there is no header any more, should Windows write half of one or none.
        machine.store(at, 0);
        machine.store(at.wrapping_add(self.width.up_time()), 0);
        machine.fence();
        let status = machine.make_header(at, bytes);
        machine.fence();
        let load = |offset: u32| machine.load(at.wrapping_add(offset));
        let made = if status < 0 {
            Err(status)
        } else {
            check_header(load, self.width).map_err(|fault| match fault {
                HeaderFault::NoDebuggerBlock => NOT_SUPPORTED,
                _ => BAD_HEADER,
            })
        };
        let kept = made.map_or_else(|status| status, |_| status);
        self.status.store(kept.cast_unsigned(), Ordering::Release);
        made
    }

    /// Publishes the boot header of this number (plus one) and then makes it the current one.
    fn publish_boot(&self, machine: &impl Machine, boot: u32) {
        let generation = self.generation.load(Ordering::Acquire).wrapping_add(1);
        let index = u32::from(generation.is_multiple_of(2));
        let slot = Slot {
            generation: generation.into(),
            boot: self.boot_area(boot),
            ..self.slot(machine, index, State::Boot)
        };
        self.publish(machine, &slot);
        self.generation.store(generation, Ordering::Release);
        self.boot.store(boot, Ordering::Release);
    }

    fn publish(&self, machine: &impl Machine, slot: &Slot) {
        let at = place::RECORD.wrapping_add(slot.index.wrapping_mul(SLOT_BYTES));
        machine.fence();
        slot.write(
            |offset, word| machine.store(at.wrapping_add(offset), word),
            || machine.fence(),
        );
    }

    /// A slot with what is the same in all.
    fn slot(&self, machine: &impl Machine, index: u32, state: State) -> Slot {
        Slot {
            generation: 0,
            state,
            gpa: self.gpa,
            gva: self.gva,
            machine: self.machine,
            index,
            start: self.start,
            written: machine.clock(),
            stop: None,
            status: self.status.load(Ordering::Acquire).cast_signed(),
            header_bytes: self.width.header_bytes(),
            boot: self.boot_area(self.boot.load(Ordering::Acquire)),
            refreshed: None,
            block: self.block,
        }
    }

    /// The boot header of this number plus one.
    fn boot_area(&self, boot: u32) -> Option<Area> {
        let index = boot.checked_sub(1)? as usize;
        let at = u64::from(*place::BOOT.get(index)?);
        Some(Area {
            kind: AreaKind::BootHeader,
            crc: self.boot_crc.get(index)?.load(Ordering::Acquire),
            gpa: self.gpa.wrapping_add(at),
            bytes: self.width.header_bytes(),
            gva: self.gva.wrapping_add(at),
        })
    }

    fn area(&self, machine: &impl Machine, kind: AreaKind, at: u32, bytes: u32) -> Area {
        Area {
            kind,
            crc: sum(machine, at, bytes),
            gpa: self.gpa.wrapping_add(at.into()),
            bytes,
            gva: self.gva.wrapping_add(at.into()),
        }
    }
}

/// CRC-32 of bytes of the pages; what is not a multiple of 8 is summed to its last byte.
fn sum(machine: &impl Machine, at: u32, bytes: u32) -> u32 {
    // The block is at most a page, a header two.
    let bytes = bytes.min(2 * PAGE_BYTES);
    let mut sum = Crc32::new();
    let mut offset = 0;
    while offset < bytes {
        let word = machine.load(at.wrapping_add(offset)).to_le_bytes();
        let left = (bytes.wrapping_sub(offset) as usize).min(8);
        sum = sum.bytes(word.get(..left).unwrap_or_default());
        offset = offset.wrapping_add(8);
    }
    sum.sum()
}
