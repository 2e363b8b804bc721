//! Growth from 256 MiB to 16 GiB: time, processor time, memory.
//!
//! All sizes hold the same share of data, in stretches of 4 MiB; the rest are holes. The share is what disk and page cache
//! have room for, in and out, at the largest size: real bytes move, and none come from the disk.

use nix::sys::statvfs::statvfs;

use super::case::{Check, copy, rounds};
use super::plot::Growth;
use super::report::{cpu, kib, meminfo, wall};
use super::{Bench, guests};
use crate::run::Outcome;

const SIZES: [u64; 4] = [256, 1024, 4096, 16384];
const QUICK: [u64; 3] = [256, 512, 1024];
/// Percent of data at most: the rest is zero, as elsewhere.
const MOST_DATA: u64 = 60;
/// Frames that are zero or not together.
const TOGETHER: u64 = 1024;
/// How far from linear.
const SLOPE: f64 = 0.10;
/// How much more memory a larger guest may take, in KiB.
const FLAT: u64 = 1024;

/// The growth.
pub fn group(bench: &mut Bench) -> Outcome {
    let sizes: &[u64] = if bench.options.quick { &QUICK } else { &SIZES };
    let largest = sizes.last().copied().unwrap_or(0);
    let data = share(bench, largest)?;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    let mut peaks = Vec::new();
    for &mib in sizes {
        let zero = (100 - data) as u8;
        let guest = guests::live(mib).fill_together(zero, TOGETHER).build();
        let core = bench.work.join("growth.core");
        guest.xen_core().sparse(true).write_file(&core)?;
        let cases = [
            bench
                .tool
                .convert("convert", &core, &[], Check::Dump(&guest)),
            copy(
                "cp --reflink=never, sync",
                &core,
                &["--reflink=never"],
                true,
            ),
        ];
        let samples = rounds(&cases, bench.options.runs)?;
        let title = format!("Growth, {mib} MiB, {data} % of it data, the rest holes");
        bench.report.add(&title, &cases, &samples);
        let gib = mib as f64 / 1024.0;
        ours.push((gib, wall(&samples[0]), cpu(&samples[0])));
        theirs.push((gib, wall(&samples[1])));
        peaks.push(kib(&samples[0]));
        std::fs::remove_file(core)?;
    }
    let walls: Vec<_> = ours.iter().map(|&(gib, wall, _)| (gib, wall)).collect();
    let cpus: Vec<_> = ours.iter().map(|&(gib, _, cpu)| (gib, cpu)).collect();
    for (name, points) in [("time", &walls), ("processor time", &cpus)] {
        let (slope, cp) = (exponent(points), exponent(&theirs));
        let name = format!("growth of {name}: exponent of the size");
        let met = (slope - 1.0).abs() <= SLOPE;
        let measured = format!("{slope:.3} (time of cp, sync: {cp:.3})");
        bench.report.bar(&name, "1 +- 0.1", &measured, met);
    }
    let (least, most) = (peaks.iter().min(), peaks.iter().max());
    let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
    let measured = format!("{least} to {most} KiB");
    let flat = most - least <= FLAT;
    bench.report.bar(
        "growth of resident memory",
        "flat, within 1 MiB",
        &measured,
        flat,
    );
    let lines = [
        ("convert", walls),
        ("cp, sync", theirs),
        ("convert, processor", cpus),
    ];
    let lines = lines.map(|(name, points)| Growth { name, points });
    bench.report.growth.extend(lines);
    Ok(())
}

/// Percent of data that the largest guest may hold.
fn share(bench: &Bench, largest_mib: u64) -> Outcome<u64> {
    let disk = statvfs(&bench.work)?;
    let disk = (disk.blocks_available() as u64 * disk.fragment_size() as u64) >> 20;
    let cache = meminfo("MemAvailable:").unwrap_or(0) >> 10;
    let room = (disk * 8 / 10).min(cache * 6 / 10) / 2;
    Ok((room * 100 / largest_mib.max(1)).clamp(5, MOST_DATA))
}

/// The power of x that y grows with: the slope of the line through both logarithms, by least squares.
fn exponent(points: &[(f64, f64)]) -> f64 {
    let points: Vec<_> = points.iter().map(|&(x, y)| (x.ln(), y.ln())).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_is_the_power() {
        let points = |power| [1.0, 4.0, 16.0].map(|x: f64| (x, 3.0 * x.powf(power)));
        assert!((exponent(&points(1.0)) - 1.0).abs() < 1e-9);
        assert!((exponent(&points(2.0)) - 2.0).abs() < 1e-9);
    }
}
