//! The block of a triage dump: facts about its parts. It holds no physical memory.

use std::io;

use zerocopy::FromBytes;

use super::problem::{Problem, ProblemKind};
use crate::format::header_fields::HeaderWidth;
use crate::format::triage::{TriageHeader, TriageHeader32, TriageHeader64, VALID};
use crate::source::{ReadAt, fill_at};

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TriagePart {
    /// What it is.
    pub name: &'static str,
    /// File offset.
    pub offset: u64,
    /// Bytes, where the block tells.
    pub bytes: Option<u64>,
}

/// What the block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriageBody {
    /// File offset of the block.
    pub offset: u64,
    /// Bytes of the dump without what was appended.
    pub size_of_dump: u64,
    /// Whether the mark of a finished dump is where it should.
    pub finished: bool,
    /// The service pack's build.
    pub service_pack_build: u32,
    /// Loaded drivers.
    pub drivers: u32,
    /// Options, all ones if none were chosen.
    pub options: u32,
    /// Address of the first byte of the call stack.
    pub top_of_stack: Option<u64>,
    /// Blocks of virtual memory.
    pub data_blocks: Option<u32>,
    /// The parts that are there.
    pub parts: Vec<TriagePart>,
}

/// The block at `at`; `None` where the file ends before it.
pub(super) fn read(
    source: &dyn ReadAt,
    at: u64,
    width: HeaderWidth,
) -> io::Result<Option<TriageBody>> {
    let mut bytes = [0; size_of::<TriageHeader64>()];
    let got = fill_at(source, at, &mut bytes)?;
    let Ok((shared, _)) = TriageHeader::ref_from_prefix(&bytes) else {
        return Ok(None);
    };
    if got < size_of::<TriageHeader>() as u64 {
        return Ok(None);
    }
    let rest = Rest::of(&bytes, got, width);
    let mut mark = [0; 4];
    let valid = u64::from(shared.valid_offset.get());
    let read = fill_at(source, valid, &mut mark)?;
    Ok(Some(TriageBody {
        offset: at,
        size_of_dump: shared.size_of_dump.get().into(),
        finished: read == 4 && mark == VALID,
        service_pack_build: shared.service_pack_build.get(),
        drivers: shared.driver_count.get(),
        options: shared.triage_options.get(),
        top_of_stack: rest.as_ref().map(|rest| rest.top_of_stack),
        data_blocks: rest.as_ref().map(|rest| rest.blocks.1),
        parts: parts(shared, rest.as_ref()),
    }))
}

/// What the two widths have in different places; each part with its offset, and its bytes or its count.
struct Rest {
    top_of_stack: u64,
    page: (u32, u32),
    debugger_data: (u32, u32),
    blocks: (u32, u32),
}

impl Rest {
    /// `None` where the file ends before it.
    fn of(bytes: &[u8], got: u64, width: HeaderWidth) -> Option<Self> {
        macro_rules! rest {
            ($header:ident) => {{
                let (header, _) = $header::ref_from_prefix(bytes).ok()?;
                (got >= size_of::<$header>() as u64).then(|| Self {
                    top_of_stack: header.top_of_stack.get().into(),
                    page: (header.data_page_offset.get(), header.data_page_size.get()),
                    debugger_data: (
                        header.debugger_data_offset.get(),
                        header.debugger_data_size.get(),
                    ),
                    blocks: (
                        header.data_blocks_offset.get(),
                        header.data_blocks_count.get(),
                    ),
                })
            }};
        }
        match width {
            HeaderWidth::Bits32 => rest!(TriageHeader32),
            HeaderWidth::Bits64 => rest!(TriageHeader64),
        }
    }
}

fn parts(shared: &TriageHeader, rest: Option<&Rest>) -> Vec<TriagePart> {
    let list = |count: u32, bytes: u64| Some(u64::from(count).saturating_mul(bytes));
    let mut parts = vec![
        ("context", shared.context_offset.get(), None),
        ("exception", shared.exception_offset.get(), None),
        ("memory information", shared.mm_offset.get(), None),
        (
            "unloaded drivers",
            shared.unloaded_drivers_offset.get(),
            None,
        ),
        ("PRCB", shared.prcb_offset.get(), None),
        ("process", shared.process_offset.get(), None),
        ("thread", shared.thread_offset.get(), None),
        (
            "call stack",
            shared.call_stack_offset.get(),
            list(shared.size_of_call_stack.get(), 1),
        ),
        ("drivers", shared.driver_list_offset.get(), None),
        (
            "strings",
            shared.string_pool_offset.get(),
            list(shared.string_pool_size.get(), 1),
        ),
        ("broken driver", shared.broken_driver_offset.get(), None),
    ];
    if let Some(rest) = rest {
        parts.extend([
            ("data page", rest.page.0, list(rest.page.1, 1)),
            (
                "debugger data",
                rest.debugger_data.0,
                list(rest.debugger_data.1, 1),
            ),
            ("data blocks", rest.blocks.0, list(rest.blocks.1, 16)),
        ]);
    }
    parts
        .into_iter()
        .filter(|(_, offset, _)| *offset != 0)
        .map(|(name, offset, bytes)| TriagePart {
            name,
            offset: offset.into(),
            bytes,
        })
        .collect()
}

impl TriageBody {
    /// Whether the numbers can be those of such a block.
    pub(super) fn is_sound(&self) -> bool {
        self.finished
            && self
                .parts
                .iter()
                .all(|part| part.end() <= self.size_of_dump)
    }

    /// What was odd.
    pub(super) fn problems(&self, problems: &mut Vec<Problem>) {
        if !self.finished {
            problems.push(Problem::new(
                ProblemKind::TriageUnfinished,
                "ValidOffset",
                self.offset.saturating_add(8),
                "the mark \"TRGD\" where it points",
                "something else: the dump was not finished, or was cut",
            ));
        }
        for part in &self.parts {
            if part.end() > self.size_of_dump {
                problems.push(Problem::new(
                    ProblemKind::TriagePart,
                    part.name,
                    part.offset,
                    format!("an end within {:#x} bytes", self.size_of_dump),
                    format!("{:#x}", part.end()),
                ));
            }
        }
    }
}

impl TriagePart {
    /// One past its last byte.
    #[must_use]
    pub const fn end(&self) -> u64 {
        match self.bytes {
            Some(bytes) => self.offset.saturating_add(bytes),
            None => self.offset,
        }
    }
}
