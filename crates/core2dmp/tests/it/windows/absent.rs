//! No single page decides whether Windows is found: what usually proves it, absent or zero, each one and each pair.
//!
//! ```text
//! KUSER_SHARED_DATA | the kernel's header page | low stub | KDBG | System's root | a vCPU      absent | zero
//! x64, x86, PAE     | with vCPUs (Xen's core), without (LiME)
//! ```

use core2dmp::container;
use core2dmp::windows::{self, Windows};
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::open::{file_of, open};

/// What may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Kuser,
    Header,
    LowStub,
    Kdbg,
    Root,
    Vcpu,
}

const PARTS: [Part; 6] = [
    Part::Kuser,
    Part::Header,
    Part::LowStub,
    Part::Kdbg,
    Part::Root,
    Part::Vcpu,
];

/// How it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Absent,
    Zero,
}

impl Part {
    /// Its frames.
    fn frames(self, guest: &Guest) -> Vec<u64> {
        let expected = &guest.expected;
        let of = |va: u64| guest.translate(va).map(|gpa| gpa >> 12);
        match self {
            Self::Kuser if expected.arch.is_64() => of(0xffff_f780_0000_0000).into_iter().collect(),
            Self::Kuser => of(0xffdf_0000).into_iter().collect(),
            Self::Header => of(expected.kernel.base).into_iter().collect(),
            Self::LowStub => expected.low_stub.map(|gpa| gpa >> 12).into_iter().collect(),
            Self::Kdbg => {
                let block = expected.kdbg.as_ref().unwrap();
                let last = block.va + u64::from(block.size) - 1;
                [of(block.va), of(last)].into_iter().flatten().collect()
            }
            Self::Root => vec![expected.dtb >> 12],
            Self::Vcpu => Vec::new(),
        }
    }

    fn remove(self, guest: &mut Guest, frames: &[u64], gone: Gone) {
        if self == Self::Vcpu {
            guest.vcpus[0].registers.cr3 = 0;
            return;
        }
        for &pfn in frames {
            match gone {
                Gone::Zero => guest.frames.write(pfn << 12, &[0; 4096]),
                Gone::Absent => {
                    let runs = guest.present.iter().flat_map(|&(first, count)| {
                        let end = first + count;
                        [
                            (first, pfn.clamp(first, end)),
                            ((pfn + 1).clamp(first, end), end),
                        ]
                    });
                    let runs = runs.filter(|(first, end)| first < end);
                    guest.present = runs.map(|(first, end)| (first, end - first)).collect();
                }
            }
        }
    }
}

/// What is found of a guest that lacks these parts; `Err` says what is wrong.
fn found(guest: &Guest, parts: &[Part], gone: Gone, has_vcpus: bool) -> Result<(), String> {
    let mut broken = guest.clone();
    for part in parts {
        part.remove(&mut broken, &part.frames(guest), gone);
    }
    let opened = if has_vcpus {
        open(file_of(&broken.xen_core()))
    } else {
        open(broken.lime(&[]))
    };
    let opened: container::Guest = opened.map_err(|error| error.to_string())?;
    let windows = windows::identify(&opened).map_err(|error| {
        let tried: Vec<String> = error.attempts().iter().map(ToString::to_string).collect();
        format!("{error}: {tried:#?}")
    })?;
    judge(&windows, guest, parts)
}

fn judge(windows: &Windows, guest: &Guest, parts: &[Part]) -> Result<(), String> {
    let expected = &guest.expected;
    let image = &windows.kernel.image;
    let kernel = (image.base.get(), u64::from(image.size));
    if kernel != (expected.kernel.base, expected.kernel.size) {
        return Err(format!("the kernel is {kernel:#x?}"));
    }
    let root = windows.dtb.value.get();
    let mut roots = expected.processes.iter().map(|process| process.dtb & !0x1f);
    if !roots.any(|known| known == root) || (root == expected.dtb) == parts.contains(&Part::Root) {
        return Err(format!("the page tables are {:?}", windows.dtb));
    }
    let processes: Vec<_> = windows
        .processes
        .iter()
        .map(|process| process.name.clone())
        .collect();
    let wanted: Vec<_> = expected
        .processes
        .iter()
        .map(|process| process.name.clone())
        .collect();
    if processes != wanted {
        return Err(format!(
            "the processes are {processes:?}; {:?}",
            windows.warnings
        ));
    }
    if windows.modules.len() != expected.modules.len() {
        return Err(format!("{} modules", windows.modules.len()));
    }
    let runs: Vec<_> = windows
        .runs
        .value
        .iter()
        .map(|run| (run.first.get(), run.count))
        .collect();
    if runs != expected.runs {
        return Err(format!("the runs are {runs:x?} by {}", windows.runs.source));
    }
    if windows.processors.len() != expected.processors.len() {
        return Err(format!(
            "{} processors; {:?}",
            windows.processors.len(),
            windows.warnings
        ));
    }
    let is_rebuilt = !windows.kdbg.value.rebuilt.is_empty();
    if is_rebuilt != parts.contains(&Part::Kdbg) {
        return Err(format!("the block is from {}", windows.kdbg.source));
    }
    Ok(())
}

/// Each part and each pair of parts.
fn sets() -> impl Iterator<Item = Vec<Part>> {
    let pairs = PARTS.into_iter().enumerate().flat_map(|(at, first)| {
        let later = PARTS.into_iter().skip(at + 1);
        later.map(move |second| vec![first, second])
    });
    PARTS.into_iter().map(|part| vec![part]).chain(pairs)
}

fn matrix(name: &str, spec: GuestSpec) {
    let guest = spec.memory_mib(20).processors(2).build();
    let mut wrong = Vec::new();
    for parts in sets() {
        for gone in [Gone::Absent, Gone::Zero] {
            for has_vcpus in [true, false] {
                if let Err(why) = found(&guest, &parts, gone, has_vcpus) {
                    wrong.push(format!(
                        "{name}, {parts:?} {gone:?}, vCPUs {has_vcpus}: {why}"
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn of_x64() {
    matrix("windows10", GuestSpec::windows10());
    matrix(
        "windows10, plain",
        GuestSpec::windows10().encoded_kdbg(false),
    );
}

#[test]
fn of_older_x64() {
    matrix("windows7", GuestSpec::windows7());
    matrix("windows2003_x64", GuestSpec::windows2003_x64());
}

#[test]
fn of_x86() {
    matrix("windows2003_x86", GuestSpec::windows2003_x86());
}

#[test]
fn of_pae() {
    matrix("windows2003_pae", GuestSpec::windows2003_pae());
    matrix("windows7_pae", GuestSpec::windows7_pae());
}
