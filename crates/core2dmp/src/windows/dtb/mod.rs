//! The page tables' root: from the vCPUs, a header, the low stub, or a scan of memory.
//!
//! ```text
//! vCPU CR3 ----+
//! header ------+    maps KUSER_SHARED_DATA and a kernel's image?    ---> found: all of them, weighed (rivals)
//! low stub ----+    else, if nothing was found: an image alone?     --->
//! scan --------+    else: a guest record's page where it says?      --->
//!                   else: a kernel without its header page?         --->
//! ```
//!
//! Each candidate is verified by what it maps, and no single page decides: `KUSER_SHARED_DATA` may be missing where the
//! kernel's image proves the root, and the image's header page may be missing where its exports prove it. A vCPU in user
//! mode of a system with KVA shadowing has a CR3 that maps neither; the next candidate then decides.
//!
//! More than one system may be in memory: a warm reset leaves the earlier boot's kernel, a nested guest has its own.
//! All of them are collected. What a vCPU leads to comes first, then the newest.

mod failed;
mod headless;
mod hints;
mod looks;
mod rivals;
mod sources;

use super::fact::Source;
use super::kernel::{self, KernelImage};
use super::kuser::{self, Kuser};
use super::left;
use crate::address::{Gpa, Pfn};
use crate::container::Guest;
use crate::error::Attempt;
use crate::memory::{Frames, MemoryError, PhysicalMemory};
use crate::paging::{AddressSpace, PagingMode, ScanBudget, TranslateError};

pub(super) use hints::EntryHint;

use failed::Failed;
pub use rivals::Rival;

/// Attempts that an error lists; a scan may have thousands.
const MAX_ATTEMPTS: usize = 64;
/// Roots that map `KUSER_SHARED_DATA` and are searched for a kernel: a running system has one kernel under all of them.
const MAX_SEARCHED: usize = 256;
/// Scans of a kernel's half that all roots of one kind, vCPUs' or others, may take together.
const SCANS: usize = 4;
/// Kernels that are kept: more are an attacker's.
const MAX_KERNELS: usize = 16;
/// Roots that are compared with the kernels that are known: one for each process.
const MAX_COMPARED: usize = 1 << 14;
/// Roots that failed a proof and are kept for a weaker one.
const MAX_KEPT: usize = 256;

/// A root that was verified, and the kernel that it maps.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) gpa: Gpa,
    pub(super) mode: PagingMode,
    pub(super) source: Source,
    pub(super) kernel: KernelImage,
    /// Where the kernel's image begins in physical memory.
    place: Gpa,
    is_vcpus: bool,
    system_time: Option<u64>,
}

/// The system that was chosen, and those that lost.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) root: Root,
    pub(super) rivals: Vec<Rival>,
}

/// What may be a root.
#[derive(Debug, Clone)]
struct Candidate {
    gpa: Gpa,
    mode: PagingMode,
    source: Source,
    hints: Vec<EntryHint>,
}

impl Candidate {
    const fn is_vcpus(&self) -> bool {
        matches!(self.source, Source::Vcpu { .. })
    }
}

/// Finds the root and the kernel; `Err` lists what was tried.
///
/// `wanted` is the base of a kernel, or its root: everything is searched for it.
pub(super) fn find(guest: &Guest, wanted: Option<u64>) -> Result<Found, Failed> {
    let mut search = Search::new(&guest.memory);
    search.vcpus(&guest.cpus);
    search.headers(&guest.hints.headers);
    let is_led = !search.found.is_empty();
    search.low_stub();
    // With the word of a vCPU or a header, and in a dump, the search goes no further than where every Windows has
    // System's tables: a dump is of one boot, and may have hundreds of GiB.
    let is_one_boot = is_led || guest.container.format == "dmp";
    search.scan(!is_one_boot || wanted.is_some());
    if search.found.is_empty() {
        search.records();
    }
    if search.found.is_empty() {
        search.without_kuser();
    }
    if search.found.is_empty() {
        search.without_header();
    }
    rivals::weigh(search.found, wanted).map_err(|kernels| Failed {
        kernels,
        tried: search.tried,
        beyond: search.beyond,
    })
}

/// What scans of address spaces may still cost, for one kind of candidates.
struct Budget {
    searched: usize,
    scans: ScanBudget,
}

struct Search<'m> {
    memory: &'m PhysicalMemory,
    tried: Vec<Attempt>,
    found: Vec<Root>,
    compared: usize,
    beyond: Option<Gpa>,
    vcpus: Budget,
    others: Budget,
    /// They map no `KUSER_SHARED_DATA`.
    without_kuser: Vec<Candidate>,
    /// They map it, but no image of a kernel.
    without_image: Vec<Candidate>,
}

impl<'m> Search<'m> {
    fn new(memory: &'m PhysicalMemory) -> Self {
        let budget = || Budget {
            searched: 0,
            scans: ScanBudget::new(memory, SCANS),
        };
        Self {
            memory,
            tried: Vec::new(),
            found: Vec::new(),
            compared: 0,
            beyond: None,
            vcpus: budget(),
            others: budget(),
            without_kuser: Vec::new(),
            without_image: Vec::new(),
        }
    }

    fn space(&self, candidate: &Candidate) -> AddressSpace<'m> {
        AddressSpace::new(self.memory, candidate.mode, candidate.gpa)
    }

    /// Adds the kernel that a candidate maps. Returns whether it maps one, known or new.
    fn consider(&mut self, candidate: Candidate) -> bool {
        let space = self.space(&candidate);
        if let Some(known) = self.known(&space) {
            self.newer(known, &candidate, &space);
            return true;
        }
        if let Err(why) = Kuser::read(&space).verify() {
            let mode = candidate.mode;
            self.fail(
                &candidate.source,
                space.root().get(),
                &format!("{mode:?}: {why}"),
            );
            self.beyond = self.beyond.or_else(|| beyond(&space));
            keep(&mut self.without_kuser, candidate);
            return false;
        }
        let Some(kernel) = self.image(&candidate, &space) else {
            self.fail_image(&candidate, space.root());
            keep(&mut self.without_image, candidate);
            return false;
        };
        self.add(candidate, &space, kernel);
        true
    }

    /// The kernel that is known already and that this address space maps, too.
    fn known(&mut self, space: &AddressSpace<'_>) -> Option<usize> {
        // A dump's header names a PML4 where a system has five levels: one kernel, not two.
        let same = |mode| {
            let levels = [PagingMode::X64, PagingMode::X64La57];
            mode == space.mode() || levels.contains(&mode) && levels.contains(&space.mode())
        };
        let maps = |root: &Root| {
            same(root.mode)
                && space
                    .translate(root.kernel.image.base)
                    .is_ok_and(|mapping| mapping.gpa == root.place)
        };
        if self.found.is_empty() || self.compared >= MAX_COMPARED {
            return None;
        }
        self.compared = self.compared.saturating_add(1);
        self.found.iter().position(maps)
    }

    /// A root of an earlier boot may map the image of this one, where no boot moves it: the newer clock is right.
    fn newer(&mut self, known: usize, candidate: &Candidate, space: &AddressSpace<'_>) {
        let Some(root) = self.found.get_mut(known) else {
            return;
        };
        if root.mode != space.mode() {
            if space.mode() == PagingMode::X64La57 {
                root.mode = PagingMode::X64La57;
                root.gpa = space.root();
                root.source = candidate.source.clone();
            }
            return;
        }
        if root.is_vcpus {
            return;
        }
        let time = system_time(space);
        if time > root.system_time {
            root.gpa = space.root();
            root.source = candidate.source.clone();
            root.system_time = time;
        }
    }

    /// The kernel's image that a candidate maps: by its hints, then by a search of the kernel's half.
    fn image(&mut self, candidate: &Candidate, space: &AddressSpace<'_>) -> Option<KernelImage> {
        if let Some(kernel) = kernel::by_hints(space, &candidate.hints) {
            return Some(kernel);
        }
        let budget = if candidate.is_vcpus() {
            &mut self.vcpus
        } else {
            &mut self.others
        };
        budget.searched = budget.searched.saturating_add(1);
        let root = space.root().get();
        // vCPUs are as many as the container has, and any of them may be the one that knows.
        if budget.searched > MAX_SEARCHED && !candidate.is_vcpus() {
            // Reported once, however many attempts are listed: it is the limit that ended the search.
            if budget.searched == MAX_SEARCHED.saturating_add(1) {
                self.tried.push(Attempt {
                    way: format!("{} {root:#x}", candidate.source),
                    outcome: format!("not searched: {MAX_SEARCHED} others map no kernel"),
                });
            }
            return None;
        }
        kernel::search(space, &mut budget.scans)
    }

    /// Says why a root that maps `KUSER_SHARED_DATA` is none.
    fn fail_image(&mut self, candidate: &Candidate, root: Gpa) {
        let budget = if candidate.is_vcpus() {
            &self.vcpus
        } else {
            &self.others
        };
        let why = if budget.scans.is_spent() {
            "maps KUSER_SHARED_DATA, and more than can be searched for a kernel"
        } else if budget.searched > MAX_SEARCHED && !candidate.is_vcpus() {
            return;
        } else {
            "maps KUSER_SHARED_DATA, but no image of a kernel"
        };
        self.fail(&candidate.source, root.get(), why);
    }

    fn add(&mut self, candidate: Candidate, space: &AddressSpace<'_>, kernel: KernelImage) {
        // Of an image without its header page the first page may have no frame.
        let place = space.translate(kernel.image.base);
        let place = place.map_or(Gpa::new(u64::MAX), |mapping| mapping.gpa);
        if self.found.len() < MAX_KERNELS {
            self.found.push(Root {
                gpa: space.root(),
                mode: space.mode(),
                is_vcpus: candidate.is_vcpus(),
                source: candidate.source,
                kernel,
                place,
                system_time: system_time(space),
            });
        }
    }

    /// What a driver in the guest left for the host. Its page being mapped where it says takes the place of
    /// `KUSER_SHARED_DATA`, which may be destroyed.
    fn records(&mut self) {
        let everything = Frames::between(Pfn::new(0), Pfn::END);
        for record in left::records(self.memory, everything).records {
            for (gpa, modes) in record.roots() {
                for mode in modes {
                    let near = record.kernel_hint().filter(|gva| mode.is_kernel(*gva));
                    let candidate = Candidate {
                        gpa,
                        mode,
                        source: Source::Header {
                            origin: format!("guest record at {}", record.gpa),
                            field: "DirectoryTableBase",
                        },
                        hints: near
                            .map(|gva| EntryHint {
                                gva,
                                what: "the record's debugger block",
                            })
                            .into_iter()
                            .collect(),
                    };
                    let space = self.space(&candidate);
                    if !record.is_mapped(&space) {
                        let why = format!("{mode:?}: the record's page is not mapped");
                        self.fail(&candidate.source, gpa.get(), &why);
                    } else if let Some(kernel) = self.image(&candidate, &space) {
                        self.add(candidate, &space, kernel);
                        return;
                    }
                }
            }
        }
    }

    /// What has no `KUSER_SHARED_DATA`, but the image of a kernel.
    fn without_kuser(&mut self) {
        for candidate in std::mem::take(&mut self.without_kuser) {
            let space = self.space(&candidate);
            if self.known(&space).is_some() {
                continue;
            }
            match self.image(&candidate, &space) {
                Some(kernel) => self.add(candidate, &space, kernel),
                None => keep(&mut self.without_image, candidate),
            }
        }
    }

    /// What has a kernel without its header page.
    fn without_header(&mut self) {
        let mut budget = ScanBudget::new(self.memory, SCANS);
        for candidate in std::mem::take(&mut self.without_image) {
            let space = self.space(&candidate);
            if self.known(&space).is_some() {
                continue;
            }
            if let Some(kernel) = headless::find(&space, &candidate.hints, &mut budget) {
                self.add(candidate, &space, kernel);
            }
        }
    }

    fn fail(&mut self, source: &Source, root: u64, why: &str) {
        if self.tried.len() < MAX_ATTEMPTS {
            self.tried.push(Attempt {
                way: format!("{source} {root:#x}"),
                outcome: why.to_owned(),
            });
        }
    }
}

/// Keeps a candidate for a weaker proof; a vCPU's are offered first.
fn keep(kept: &mut Vec<Candidate>, candidate: Candidate) {
    if kept.len() < MAX_KEPT {
        kept.push(candidate);
    }
}

/// Where the tables lead to behind the end of the memory, on the way to `KUSER_SHARED_DATA`.
fn beyond(space: &AddressSpace<'_>) -> Option<Gpa> {
    let end = space.memory().runs().last()?.frames.end();
    let gpa = match space.translate(kuser::address(space.mode().is_64bit())) {
        Ok(mapping) => mapping.gpa,
        Err(TranslateError::Table {
            source: MemoryError::Absent { gpa },
            ..
        }) if gpa.page_start() != space.root() => gpa,
        Err(_) => return None,
    };
    (gpa.pfn() >= end).then_some(gpa)
}

fn system_time(space: &AddressSpace<'_>) -> Option<u64> {
    Kuser::read(space).system_time().map(|fact| fact.value)
}
