//! Windows found after a crash, by a scan, and a scan of everything that finds nothing.

use super::case::{Check, read, rounds};
use super::measure::Sample;
use super::report::{Report, cpu, kib, wall};
use super::{Bench, MAX_RESIDENT_KIB, guests};
use crate::run::Outcome;

/// Most milliseconds after a crash, with a CR3 that is good.
const MAX_MILLISECONDS: f64 = 30.0;
/// Least GB a second for each core.
const MIN_SCAN: f64 = 4.0;

/// Identification.
pub fn group(bench: &mut Bench) -> Outcome {
    let mib = bench.options.mib;
    let names = ["crash.core", "scan.core", "nothing.core"].map(|name| bench.work.join(name));
    let crashed = guests::live(mib)
        .crashed(0xd1, [0x10, 2, 0, 0xffff_f800_1234_5678])
        .build();
    let hidden = guests::hidden(mib).build();
    let nothing = guests::nothing(mib);
    for (guest, name) in [&crashed, &hidden, &nothing].into_iter().zip(&names) {
        guest.xen_core().write_file(name)?;
    }
    let info = |name, core, check| bench.tool.json(name, &["info"], core, check);
    let cases = [
        info(
            "info, after a crash, from a vCPU's CR3",
            &names[0],
            Check::Facts(&crashed),
        ),
        info(
            "info, root by scan, low in memory",
            &names[1],
            Check::Facts(&hidden),
        ),
        info(
            "info, all scanned, nothing found",
            &names[2],
            Check::NoWindows,
        ),
        read("dd, which only reads", &names[2]),
    ];
    let samples = rounds(&cases, bench.options.runs)?;
    let title = format!("Identify, {mib} MiB");
    bench.report.add(&title, &cases, &samples);
    let bytes = names[2].metadata()?.len();
    bars(&mut bench.report, &samples, bytes);
    for name in names {
        std::fs::remove_file(name)?;
    }
    Ok(())
}

/// The bars, of the samples and the size of what was scanned.
fn bars(report: &mut Report, samples: &[Vec<Sample>], bytes: u64) {
    let milliseconds = wall(&samples[0]) * 1000.0;
    report.at_most(
        "identify after a crash, CR3 usable",
        milliseconds,
        MAX_MILLISECONDS,
        "ms",
    );
    let gigabytes = bytes as f64 / 1e9;
    let rate = |seconds: f64| gigabytes / seconds;
    let (scan, dd) = (rate(cpu(&samples[2])), rate(cpu(&samples[3])));
    let measured = format!(
        "{scan:.2} GB for each processor second ({:.2} by the clock; dd, which only reads: {dd:.2})",
        rate(wall(&samples[2]))
    );
    report.bar(
        "identify by scan alone",
        "at least 4 GB/s per core",
        &measured,
        scan >= MIN_SCAN,
    );
    let (peak, most) = (
        kib(&samples[2]) as f64 / 1024.0,
        MAX_RESIDENT_KIB as f64 / 1024.0,
    );
    report.at_most("peak resident memory, all scanned", peak, most, "MiB");
}
