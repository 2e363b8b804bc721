//! What drivers left in memory for others: guest records and dump headers, found in one pass and weighed.

use std::ops::ControlFlow;

use super::guest_record::{self, GuestRecord};
use super::headers::{self, GivenHeader, GuestHeader};
use super::kernel::KernelImage;
use crate::memory::{Frames, PhysicalMemory};
use crate::paging::AddressSpace;

/// What was found, weighed.
pub(super) struct Left {
    pub(super) headers: Vec<GuestHeader>,
    pub(super) records: Vec<GuestRecord>,
    /// Pages that look like a record's and are none, with the reason.
    pub(super) refused: Vec<String>,
}

/// The records in `frames`.
pub(super) fn records(memory: &PhysicalMemory, frames: Frames) -> guest_record::Found {
    let mut finder = guest_record::Finder::default();
    memory.scan(frames, |gpa, block| finder.look_at(gpa, block));
    finder.found(memory)
}

/// The records and headers in `frames`, and the headers that were given.
pub(super) fn find(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    up_time: Option<u64>,
    given: &[GivenHeader],
    frames: Frames,
) -> Left {
    let (mut found, headers) = search(space.memory(), frames);
    for record in &mut found.records {
        record.weigh(space, kernel, up_time);
    }
    Left {
        headers: headers::collect(space, kernel, up_time, given, &found.records, headers),
        records: found.records,
        refused: found.refused,
    }
}

/// Both, in one pass: a page may have to be decoded for it.
fn search(memory: &PhysicalMemory, frames: Frames) -> (guest_record::Found, Vec<GuestHeader>) {
    let mut records = guest_record::Finder::default();
    let mut headers = headers::Finder::new(memory);
    let mut of_records = ControlFlow::Continue(());
    let mut of_headers = ControlFlow::Continue(());
    memory.scan(frames, |gpa, block| {
        if of_records.is_continue() {
            of_records = records.look_at(gpa, block);
        }
        if of_headers.is_continue() {
            of_headers = headers.look_at(gpa, block);
        }
        // Each has a limit of its own; the pass ends with both.
        match of_records {
            ControlFlow::Break(()) => of_headers,
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
        }
    });
    (records.found(memory), headers.headers)
}
