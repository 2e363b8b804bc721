//! Conversions against copies, with the final flush on both sides and without, on one file system.

use std::path::Path;

use core2dmp_synth::Guest;
use nix::sys::statvfs::statvfs;

use super::case::{Case, Check, copy, rounds};
use super::plot::Ratio;
use super::report::{kib, wall};
use super::{Bench, MAX_RESIDENT_KIB, guests, volume};
use crate::run::{Outcome, check};

const NEVER: &[&str] = &["--reflink=never"];
const ALWAYS: &[&str] = &["--reflink=always"];
const SPARSE: &[&str] = &["--reflink=never", "--sparse=always"];

/// A ratio that has a bar: its name, the case, the case it is compared with, and the most that it should be.
struct Against {
    name: &'static str,
    case: &'static str,
    other: &'static str,
    limit: f64,
}

/// Copying on the file system of the work folder, and on XFS and btrfs in loop mounts.
pub fn group(bench: &mut Bench) -> Outcome {
    let guest = guests::live(bench.options.mib).build();
    let work = bench.work.clone();
    on(bench, &guest, &work)?;
    for kind in ["xfs", "btrfs"] {
        match volume::Volume::make(&bench.work, kind, bench.options.mib) {
            Ok(volume) => on(bench, &guest, &volume.folder)?,
            Err(why) => bench.report.skip(kind, &why.to_string()),
        }
    }
    Ok(())
}

fn on(bench: &mut Bench, guest: &Guest, folder: &Path) -> Outcome {
    let system = volume::kind_of(folder);
    let shares = matches!(system.as_str(), "xfs" | "btrfs");
    let core = folder.join("guest.core");
    guest.xen_core().write_file(&core)?;
    check(&mut std::process::Command::new("sync"))?;
    let cases = cases(bench, guest, &core, shares);
    let samples = rounds(&cases, bench.options.runs)?;
    let mib = bench.options.mib;
    let title = format!("{system}, {mib} MiB, 40 % of the pages zero");
    bench.report.add(&title, &cases, &samples);
    let at = |name: &str| {
        let found = cases.iter().position(|case| case.name == name);
        found.map_or(f64::NAN, |index| wall(&samples[index]))
    };
    for bar in bars(&system, shares) {
        let value = at(bar.case) / at(bar.other);
        let name = format!("{system}: {}", bar.name);
        let unit = format!("x {}", bar.other);
        bench.report.at_most(&name, value, bar.limit, &unit);
        bench.report.ratios.push(Ratio {
            system: system.clone(),
            name: bar.name.to_owned(),
            value,
            limit: bar.limit,
        });
    }
    let peak = samples
        .iter()
        .zip(&cases)
        .filter(|(_, case)| case.name.starts_with("convert"));
    let peak = peak.map(|(samples, _)| kib(samples)).max().unwrap_or(0);
    let name = format!("{system}: peak resident memory of all conversions");
    let (peak, most) = (peak as f64 / 1024.0, MAX_RESIDENT_KIB as f64 / 1024.0);
    bench.report.at_most(&name, peak, most, "MiB");
    if shares {
        new_blocks(bench, &cases[0], &system, folder)?;
    }
    kernel_size(bench, &cases, &system)?;
    std::fs::remove_file(core)?;
    Ok(())
}

fn cases<'g>(bench: &Bench, guest: &'g Guest, core: &Path, shares: bool) -> Vec<Case<'g>> {
    let convert = |name, options: &[&str], check| bench.tool.convert(name, core, options, check);
    let kernel = Check::Bitmap(guest, 6);
    let mut cases = vec![
        convert("convert", &[], Check::Dump(guest)),
        copy("cp --reflink=never, sync", core, NEVER, true),
        convert("convert --no-sync", &["--no-sync"], Check::Dump(guest)),
        copy("cp --reflink=never", core, NEVER, false),
        convert("convert --sparse", &["--sparse"], Check::Sparse(guest)),
        copy("cp --sparse=always, sync", core, SPARSE, true),
        convert(
            "convert --sparse --no-sync",
            &["--sparse", "--no-sync"],
            Check::Sparse(guest),
        ),
        copy("cp --sparse=always", core, SPARSE, false),
        convert(
            "convert --type bitmap",
            &["--type", "bitmap"],
            Check::Bitmap(guest, 5),
        ),
        convert("convert --type kernel", &["--type", "kernel"], kernel),
        convert(
            "convert --type kernel --no-sync",
            &["--type", "kernel", "--no-sync"],
            kernel,
        ),
    ];
    if shares {
        cases.push(copy("cp --reflink=always, sync", core, ALWAYS, true));
        cases.push(copy("cp --reflink=always", core, ALWAYS, false));
    }
    cases
}

fn bars(system: &str, shares: bool) -> Vec<Against> {
    let bar = |name, case, other, limit| Against {
        name,
        case,
        other,
        limit,
    };
    let full = if shares { 0.03 } else { 1.05 };
    let mut bars = vec![
        bar("full, flushed", "convert", "cp --reflink=never, sync", full),
        bar("full", "convert --no-sync", "cp --reflink=never", full),
    ];
    if system == "ext4" {
        let (ours, theirs) = ("convert --sparse", "cp --sparse=always, sync");
        bars.push(bar("sparse, flushed", ours, theirs, 0.85));
        let (ours, theirs) = ("convert --sparse --no-sync", "cp --sparse=always");
        bars.push(bar("sparse", ours, theirs, 0.85));
    }
    if !shares {
        // Where nothing is copied a full dump costs nothing that a kernel dump could save.
        bars.push(bar(
            "kernel, flushed",
            "convert --type kernel",
            "convert",
            0.5,
        ));
        let ours = "convert --type kernel --no-sync";
        bars.push(bar("kernel", ours, "convert --no-sync", 0.5));
    }
    bars
}

/// How much less room the file system has after a full conversion.
fn new_blocks(bench: &mut Bench, case: &Case<'_>, system: &str, folder: &Path) -> Outcome {
    let free = || -> Outcome<u64> {
        check(&mut std::process::Command::new("sync"))?;
        let now = statvfs(folder)?;
        Ok(now.blocks_free() as u64 * now.fragment_size() as u64)
    };
    let before = free()?;
    case.run()?;
    let taken = before.saturating_sub(free()?);
    case.verify(false)?;
    case.remove_output()?;
    let name = format!("{system}: new blocks of a full dump");
    bench
        .report
        .at_most(&name, taken as f64 / 1024.0, 1024.0, "KiB");
    Ok(())
}

fn kernel_size(bench: &mut Bench, cases: &[Case<'_>], system: &str) -> Outcome {
    let mut sizes = [0; 2];
    for (size, name) in sizes.iter_mut().zip(["convert", "convert --type kernel"]) {
        for case in cases.iter().filter(|case| case.name == name) {
            case.run()?;
            *size = case.size()?;
            case.remove_output()?;
        }
    }
    let [full, kernel] = sizes;
    let name = format!("{system}: size of a kernel dump");
    let measured = format!(
        "{:.1} of {:.1} MiB",
        kernel as f64 / 1048576.0,
        full as f64 / 1048576.0
    );
    bench.report.bar(&name, "< full", &measured, kernel < full);
    Ok(())
}
