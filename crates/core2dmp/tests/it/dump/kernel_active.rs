//! Kernel and active dumps: which frames they hold, against a walk and a database of this file's own.
//!
//! ```text
//! guest with user memory   -> --type kernel -> every frame of a naive walk of the kernel's half, and no user page
//! guest with PFN database  -> --type active -> every frame but those that the guest's maker calls free
//! ```

#![expect(
    clippy::cast_possible_truncation,
    reason = "files are built from numbers of known size"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use core2dmp::container::dmp::DumpFile;
use core2dmp::dump::{self, DumpKind, Keep, Plan, PlanOptions};
use core2dmp::error::Error;
use core2dmp::windows;
use core2dmp::write::{self, Silent};
use core2dmp_synth::{Arch, Guest, GuestSpec};

use crate::support::dumped;
use crate::support::open::{file_of, open};

/// The frames that a dump holds, read back, and its plan.
fn dump_of(guest: &Guest, options: &PlanOptions) -> Result<(BTreeSet<u64>, Plan), Error> {
    let opened = open(file_of(&guest.xen_core())).unwrap();
    let found = windows::identify(&opened).unwrap();
    let plan = dump::plan(&opened, &found, options)?;
    let mut bytes = Vec::new();
    write::to_stream(&plan.image, &opened.memory, &mut bytes, &Silent)?;
    let file = DumpFile::open(Arc::new(bytes)).unwrap();
    assert_eq!(file.problems(), []);
    let frames = file
        .memory()
        .runs()
        .iter()
        .flat_map(|run| run.frames.first.get()..run.frames.end().get())
        .collect::<BTreeSet<u64>>();
    assert_eq!(frames.len() as u64, plan.frames);
    let present: u64 = counted(guest).len() as u64;
    assert_eq!(plan.frames + plan.left_out, present);
    Ok((frames, plan))
}

fn kernel() -> PlanOptions {
    PlanOptions::default().kind(DumpKind::Kernel)
}

fn active() -> PlanOptions {
    PlanOptions::default().kind(DumpKind::Active)
}

/// Frames that Windows counts and the container has.
fn counted(guest: &Guest) -> BTreeSet<u64> {
    let runs = guest.expected.runs.iter();
    runs.flat_map(|&(first, count)| first..first + count)
        .filter(|pfn| guest.page(*pfn).is_some())
        .collect()
}

/// What the kernel half of these tables reaches, entry by entry, each table as often as it is named.
struct Naive<'g> {
    guest: &'g Guest,
    frames: BTreeSet<u64>,
}

impl Naive<'_> {
    fn entry(&self, table: u64, index: u64) -> u64 {
        let width = if self.guest.expected.arch == Arch::X86 {
            4
        } else {
            8
        };
        let at = (table & 0xfff) + index * width;
        let Some(page) = self.guest.page(table >> 12) else {
            return 0;
        };
        let bytes = &page[at as usize..(at + width) as usize];
        let mut value = [0; 8];
        value[..width as usize].copy_from_slice(bytes);
        u64::from_le_bytes(value)
    }

    fn root(&mut self, root: u64) {
        self.frames.insert(root >> 12);
        let (indexes, below): (_, &[u64]) = match self.guest.expected.arch {
            Arch::X64La57 => (256..512, &[39, 30, 21, 12]),
            Arch::X64 | Arch::Arm64 => (256..512, &[30, 21, 12]),
            Arch::X86Pae => (2..4, &[21, 12]),
            Arch::X86 => (512..1024, &[12]),
        };
        for index in indexes {
            let raw = self.entry(root, index);
            let next = raw & 0x000f_ffff_ffff_f000;
            if raw & 1 == 1 && next != root & !0xfff {
                if self.guest.expected.arch == Arch::X86 && raw & 0x80 != 0 {
                    self.frames.extend(next >> 12..(next >> 12) + 1024);
                } else {
                    self.table(root, next, below);
                }
            }
        }
    }

    fn table(&mut self, root: u64, table: u64, shifts: &[u64]) {
        self.frames.insert(table >> 12);
        let arch = self.guest.expected.arch;
        for index in 0..if arch == Arch::X86 { 1024 } else { 512 } {
            let raw = self.entry(table, index);
            let next = raw & 0x0000_ffff_ffff_f000;
            // In transition: not valid, not a prototype, and the frame is still there.
            let transition = raw & 0xc01 == 0x800;
            match shifts {
                [12] if raw & 1 == 1 || transition => {
                    self.frames.insert(next >> 12);
                }
                [shift, ..] if *shift > 12 && raw & 0x81 == 0x81 => {
                    let first = next >> 12;
                    self.frames.extend(first..first + (1 << (shift - 12)));
                }
                // PAE's page directories are tables of page tables, and the last names all four.
                [_, rest @ ..] if raw & 1 == 1 && !self.names_itself(root, next) => {
                    self.table(root, next, rest);
                }
                _ => {}
            }
        }
    }

    fn names_itself(&self, root: u64, next: u64) -> bool {
        self.guest.expected.arch == Arch::X86Pae
            && (0..4).any(|index| self.entry(root, index) & !0xfff == next)
    }
}

fn specs() -> Vec<(&'static str, GuestSpec)> {
    let crash = |spec: GuestSpec| spec.processors(2).crashed(0xd1, [8, 2, 0, 1]);
    vec![
        ("10", GuestSpec::windows10().processors(2)),
        (
            "10, above 4 GiB",
            crash(GuestSpec::windows10().memory_mib(24).above_4g()),
        ),
        ("10, five levels", GuestSpec::windows10_la57()),
        ("7", crash(GuestSpec::windows7())),
        ("2003 x64", crash(GuestSpec::windows2003_x64())),
        ("2003 x86", crash(GuestSpec::windows2003_x86())),
        ("2003 PAE", crash(GuestSpec::windows2003_pae())),
        ("7 PAE", crash(GuestSpec::windows7_pae())),
    ]
}

#[test]
fn a_kernel_dump_is_what_a_walk_of_the_kernels_half_finds() {
    for (name, spec) in specs() {
        let guest = spec.fill(30).user_pages(40).pfn_database().build();
        let mut naive = Naive {
            guest: &guest,
            frames: BTreeSet::new(),
        };
        for process in &guest.expected.processes {
            naive.root(process.dtb);
        }
        let wanted: BTreeSet<u64> = naive
            .frames
            .intersection(&counted(&guest))
            .copied()
            .collect();
        let (frames, plan) = dump_of(&guest, &kernel()).unwrap();
        let lacks: Vec<_> = wanted.difference(&frames).collect();
        let more: Vec<_> = frames.difference(&wanted).collect();
        assert!(lacks.is_empty(), "{name} lacks {lacks:x?}");
        assert!(more.is_empty(), "{name} has {more:x?} too many");
        assert_eq!((plan.dump_type, plan.missing.frames), (6, 0));
        assert_eq!(dumped::own_warnings(&plan), [""; 0], "{name}");
        // Nobody's user memory is in it.
        for user in guest.expected.user.iter() {
            assert_eq!(user.pfns.len(), 40);
            assert!(user.pfns.iter().all(|pfn| !frames.contains(pfn)), "{name}");
        }
    }
}

#[test]
fn a_process_may_be_kept() {
    for (name, spec) in specs() {
        let guest = spec.user_pages(7).build();
        for (keep, pids) in [
            (Keep::Pid(0x270), vec![0x270]),
            (Keep::Name("SvcHost.exe".to_owned()), vec![0x2f4, 0x354]),
        ] {
            let options = kernel().keep(vec![keep]);
            let (frames, plan) = dump_of(&guest, &options).unwrap();
            for user in &guest.expected.user {
                let kept = pids.contains(&user.pid);
                let there = user.pfns.iter().filter(|pfn| frames.contains(pfn)).count();
                assert_eq!(there, if kept { 7 } else { 0 }, "{name}: {:#x}", user.pid);
            }
            let warnings = dumped::own_warnings(&plan);
            assert_eq!(warnings.len(), pids.len());
            assert!(warnings[0].contains("user memory"));
        }
        let options = kernel().keep(vec![Keep::Name("nosuch.exe".to_owned())]);
        let error = dump_of(&guest, &options).unwrap_err();
        assert_eq!(error.to_string(), "no process nosuch.exe in the guest");
    }
}

#[test]
fn an_active_dump_leaves_free_and_zeroed_frames_out() {
    for (name, spec) in specs() {
        let guest = spec.fill(50).user_pages(3).pfn_database().build();
        let (frames, plan) = dump_of(&guest, &active()).unwrap();
        assert_eq!(dumped::own_warnings(&plan), [""; 0], "{name}");
        let free: BTreeSet<u64> = guest.expected.free.iter().copied().collect();
        assert!(free.len() > 1000, "{name}: {}", free.len());
        let wanted: BTreeSet<u64> = counted(&guest).difference(&free).copied().collect();
        assert!(frames == wanted, "{name}");
        assert_eq!(plan.left_out, free.len() as u64);
        assert_eq!(plan.dump_type, 5);
    }
}

#[test]
fn a_database_that_proves_nothing_is_not_believed() {
    // A page of zeros for a database.
    let guest = GuestSpec::windows10().fill(50).build();
    let (frames, plan) = dump_of(&guest, &active()).unwrap();
    assert!(frames == counted(&guest));
    assert_eq!(plan.warnings.len(), 1);
    assert!(
        plan.warnings[0].contains("not understood"),
        "{:?}",
        plan.warnings
    );
    // Zeroed pages that are not zeros.
    let mut guest = GuestSpec::windows7().fill(50).pfn_database().build();
    for pfn in guest.expected.free.clone() {
        guest.frames.write(pfn << 12, b"in use after all");
    }
    let (frames, plan) = dump_of(&guest, &active()).unwrap();
    assert!(frames == counted(&guest));
    assert!(
        plan.warnings[0].contains("not understood"),
        "{:?}",
        plan.warnings
    );
}

/// Tables that name each other and themselves at every level, and large pages beyond all memory.
#[test]
fn tables_that_lead_in_circles_end() {
    for spec in [GuestSpec::windows10(), GuestSpec::windows7_pae()] {
        let mut guest = spec.build();
        let root = guest.expected.dtb & !0xfff;
        let pae = guest.expected.arch == Arch::X86Pae;
        let spare = guest.expected.runs.last().unwrap().0 + 100;
        let mut page = Vec::new();
        for index in 0..512_u64 {
            let entry = match index % 4 {
                0 => spare << 12 | 0x63,
                1 => (spare + 1) << 12 | 0x63,
                2 => 0x000f_ffff_c000_00e3,
                _ => index << 30 | 0xe3,
            };
            page.extend(entry.to_le_bytes());
        }
        guest.frames.write(spare << 12, &page);
        guest.frames.write((spare + 1) << 12, &page);
        let slot = if pae {
            (u64::from_le_bytes(guest.page(root >> 12).unwrap()[24..32].try_into().unwrap())
                & !0xfff)
                + 0x7f0
        } else {
            root + 300 * 8
        };
        guest
            .frames
            .write(slot, &(spare << 12 | 0x63).to_le_bytes());
        let (frames, _) = dump_of(&guest, &kernel()).unwrap();
        assert!(frames.contains(&spare) && frames.contains(&(spare + 1)));
    }
}
