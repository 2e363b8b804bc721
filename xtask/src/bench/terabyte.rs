//! The plan of a guest of 1 TiB: a sparse core whose frame table alone has 2 GiB.

use super::case::{Check, rounds};
use super::report::{kib, wall};
use super::{Bench, guests};
use crate::run::Outcome;

const MAX_SECONDS: f64 = 20.0;
const MAX_MIB: f64 = 64.0;

/// The plan.
pub fn group(bench: &mut Bench) -> Outcome {
    let gib = if bench.options.quick { 64 } else { 1024 };
    let core = bench.work.join("terabyte.core");
    let guest = guests::empty(gib << 10).build();
    guest.xen_core().sparse(true).write_file(&core)?;
    let words = ["convert", "--dry-run"];
    let plan = bench
        .tool
        .json("convert --dry-run", &words, &core, Check::Facts(&guest));
    let cases = [plan];
    let samples = rounds(&cases, bench.options.runs)?;
    let report = &mut bench.report;
    report.add(
        &format!("Plan of a sparse core of {gib} GiB"),
        &cases,
        &samples,
    );
    let name = format!("plan of {gib} GiB");
    report.at_most(&name, wall(&samples[0]), MAX_SECONDS, "s");
    let name = format!("plan of {gib} GiB, peak resident memory");
    report.at_most(&name, kib(&samples[0]) as f64 / 1024.0, MAX_MIB, "MiB");
    std::fs::remove_file(core)?;
    Ok(())
}
