//! The hibernation file of Windows, `hiberfil.sys`: of XP to 7, and of 8 and later.
//!
//! ```text
//! header --signature--> hibernated | resumed | link | wiped
//!        --what is there--> tables of ranges (to 7) | sets of runs (8 and later) --> runs of frames
//! page number --> block of 16 pages --Xpress--> pages        when somebody wants one
//! ```
//!
//! What was free is not in the file: it is absent. See docs/formats/hiberfil.md, and `format/hiberfil.rs` for the
//! sources.

mod blocks;
mod cpu;
mod runs;
mod state;
mod tables;

use std::sync::Arc;

use self::blocks::{Index, Kind};
use self::runs::Set;
use self::state::State;
use super::salvage::Salvage;
use super::{ContainerInfo, Guest, Hints, OpenOptions, Probe};
use crate::address::{PAGE_BYTES, PAGE_SIZE};
use crate::error::{Error, Place, Remedy, Result};
use crate::format::hiberfil::{
    LENGTH_SELF, NEW_HEADERS, NEW_HEADERS_UNKNOWN, NewHeader, signature,
};
use crate::format::{u32_at, u64_at};
use crate::memory::{PhysicalMemory, RunBuilder};
use crate::source::{ReadAt, fill_at};

pub(super) const TITLE: &str = "Windows hibernation file";

/// All first tags but that of a link, with which any text may begin.
pub(super) const MAGICS: &[&[u8]] = {
    let [hibr, hibr_small] = signature::HIBERNATED;
    let [wake, wake_small] = signature::RESUMED;
    let [rstr, rstr_small] = signature::RESTORING;
    let [horm, brkp] = signature::SPECIAL;
    &[
        hibr, hibr_small, wake, wake_small, rstr, rstr_small, horm, brkp,
    ]
};

/// Bytes between two chains of runs where no header says where they are.
const CHAIN_GAP: u64 = 16 * PAGE_SIZE;

pub(super) fn probe(probe: &Probe<'_>) -> bool {
    State::of(probe.head).is_some_and(|state| {
        state != State::Wiped
            || tables::find(probe.source, probe.head).is_some()
            || runs::find_proven_chain(probe.source).is_some()
            || state::is_all_zeros(probe.source)
    })
}

/// Whether the file is claimed for being nothing but zeros, as a page file or a wiped hibernation file may be.
pub(super) fn is_nothing(probe: &Probe<'_>) -> bool {
    State::of(probe.head) == Some(State::Wiped) && state::is_all_zeros(probe.source)
}

pub(super) fn open(source: Arc<dyn ReadAt>, options: &OpenOptions) -> Result<Guest> {
    let mut header = vec![0; PAGE_BYTES];
    let read = fill_at(&*source, 0, &mut header)
        .map_err(|e| Error::io("cannot read the header of the hibernation file", e))?;
    header.truncate(usize::try_from(read).unwrap_or(0));
    let state = State::of(&header).unwrap_or(State::Wiped);
    state.refuse_link(&header)?;
    let mut reading = Reading {
        source: &*source,
        header: &header,
        runs: RunBuilder::default(),
        salvage: Salvage::new(options),
        details: vec![("state", state.name().to_owned())],
        warnings: state.warning().map(str::to_owned).into_iter().collect(),
    };
    let (index, wide, first_page) = reading.read(state)?;
    let cpu = cpu::find(&*source, first_page, wide);
    let Reading {
        runs,
        salvage,
        mut details,
        mut warnings,
        ..
    } = reading;
    details.push(("pages", index.pages.to_string()));
    warnings.extend(notes(cpu.is_some()));
    let cpus = cpu.map(|(page, cpu)| {
        details.push(("registers", format!("in page {page} of the file")));
        cpu
    });
    let runs = runs.finish().map_err(|overlap| {
        let place = Place::Physical(overlap.pfn.gpa());
        Error::malformed(
            "pages of the hibernation file",
            place,
            "every frame once",
            "it twice",
        )
    })?;
    let pages = Arc::new(index.pages(Arc::clone(&source)));
    Ok(Guest {
        container: ContainerInfo {
            format: "hiberfil",
            title: TITLE,
            size: source.size(),
            details,
            padding: 0,
            salvaged: salvage.done("file"),
            warnings,
        },
        memory: PhysicalMemory::new(source, runs).with_decoder(pages),
        cpus: cpus.into_iter().collect(),
        hints: Hints::default(),
    })
}

/// What is true of every file of this format.
fn notes(has_cpu: bool) -> [String; 2] {
    let registers = if has_cpu {
        "the file has the registers of the processor that hibernated; the others' are what Windows saved in memory"
    } else {
        "no registers were found in the file; what Windows saved of them in memory is used"
    };
    [
        registers.to_owned(),
        "what was free when Windows hibernated is not in the file: it counts as missing".to_owned(),
    ]
}

/// What is known while the file is read.
struct Reading<'s> {
    source: &'s dyn ReadAt,
    header: &'s [u8],
    runs: RunBuilder,
    salvage: Salvage,
    details: Vec<(&'static str, String)>,
    warnings: Vec<String>,
}

/// All pages, whether the guest has 64 bits, and the page of the file where memory begins.
type Content = (Index, bool, u64);

impl Reading<'_> {
    fn read(&mut self, state: State) -> Result<Content> {
        let length = u32_at(self.header, LENGTH_SELF).unwrap_or(0);
        if let Some(layout) = NEW_HEADERS.iter().find(|layout| layout.length == length) {
            let sets = Set::of(self.header, layout).ok_or_else(|| {
                Error::malformed(
                    "header of the hibernation file",
                    Place::Offset(layout.first_boot as u64),
                    "the pages where its two sets begin",
                    "a page that no file can have",
                )
            })?;
            return self.sets(state, layout, &sets);
        }
        if let Some(first) = tables::find(self.source, self.header) {
            return self.tables(first);
        }
        if state == State::Wiped {
            return self.wiped();
        }
        for layout in NEW_HEADERS_UNKNOWN {
            let sets = Set::of(self.header, layout);
            let begin =
                |sets: &[Set; 2]| sets.iter().all(|set| set.begins(self.source, layout.wide));
            if let Some(sets) = sets.filter(begin) {
                self.warnings.push(format!(
                    "a header of {length:#x} bytes is not known: read as of {}",
                    layout.name
                ));
                return self.sets(state, layout, &sets);
            }
        }
        Err(Error::malformed(
            "header of the hibernation file",
            Place::Offset(LENGTH_SELF as u64),
            "the length of a known header, or memory at a place that it names",
            format!("{length:#x} bytes"),
        ))
    }

    fn tables(&mut self, first: tables::First) -> Result<Content> {
        let mut index = Index::new(Kind::Tagged);
        let count = tables::read(
            self.source,
            first,
            &mut index,
            &mut self.runs,
            &mut self.salvage,
        )?;
        self.details.push(("layout", first.layout.name.to_owned()));
        self.details.push(("tables", count.to_string()));
        Ok((index, first.layout.wide, first.page))
    }

    fn sets(&mut self, state: State, layout: &NewHeader, sets: &[Set; 2]) -> Result<Content> {
        self.details.push(("layout", layout.name.to_owned()));
        if layout.hiberboot.and_then(|at| self.header.get(at)) == Some(&1) {
            self.warnings.push(
                "a fast startup's file: Windows was shut down, and only the kernel's session is in it".to_owned(),
            );
        }
        // FirstSecureRestorePage is before FirstBootRestorePage since Windows 10, 64 bit.
        if layout.first_boot == 0x68 && u64_at(self.header, 0x60).is_some_and(|page| page != 0) {
            self.warnings
                .push("the pages of the secure kernel are encrypted: they are left out".to_owned());
        }
        let wide = layout.wide;
        let mut index = Index::new(Kind::Run { wide });
        for set in sets {
            let (end, done) =
                set.read(self.source, &mut index, &mut self.runs, &mut self.salvage)?;
            self.details.push(set.detail(done));
            if let Some(pages) = set.pages.filter(|pages| done < *pages) {
                self.warnings.push(format!(
                    "the {} set ends at {end:#x} after {done} of {pages} pages",
                    set.name
                ));
            }
        }
        if index.pages == 0 {
            return Err(Error::NoMemory {
                what: "this hibernation file",
                found: format!("its pages are zeros ({})", state.name()),
                remedy: Remedy::TakeWhileHibernated,
            });
        }
        let first = sets.iter().map(|set| set.offset).min().unwrap_or(0);
        Ok((index, wide, first / PAGE_SIZE))
    }

    /// A header of zeros, and no table: of Windows 8 or later, or nothing at all.
    fn wiped(&mut self) -> Result<Content> {
        let refuse = |found: String| {
            Err(Error::NoMemory {
                what: "this hibernation file",
                found,
                remedy: Remedy::TakeWhileHibernated,
            })
        };
        let Some((start, wide)) = runs::find_chain(self.source, 0) else {
            return refuse(format!("all of its {} bytes are zeros", self.source.size()));
        };
        if !self.salvage.is_wanted() {
            return refuse(format!(
                "its header is zeros, as Windows 8 and later leave it when they resume; its former memory is still there from {start:#x} on"
            ));
        }
        let mut index = Index::new(Kind::Run { wide });
        let mut next = Some((start, wide));
        while let Some((offset, _)) = next.filter(|(_, also)| *also == wide) {
            let set = Set {
                name: "unnamed",
                offset,
                pages: None,
            };
            let (end, _) = set.read(self.source, &mut index, &mut self.runs, &mut self.salvage)?;
            let near = |(offset, _): &(u64, bool)| *offset <= end.saturating_add(CHAIN_GAP);
            next = runs::find_chain(self.source, end).filter(near);
        }
        self.salvage.note("the header");
        Ok((index, wide, start / PAGE_SIZE))
    }
}
