//! Compressed pages on all cores, against what one core of the same library inflates.
//!
//! ```text
//! kdump, zlib --core2dmp, all cores--> stream, compared with the guest      seconds a
//!             --zlib-rs, one core----> a page at a time, in memory          seconds b       b / a  >=  0.8 x cores
//!             --zlib-rs, all cores---> each its share, in memory            seconds c       what this machine can do
//! ```
//!
//! Both run in one release program, in turn, on a file in the page cache. No frame of the guest is zero: zero pages
//! share one stream, which core2dmp does not inflate again.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use core2dmp::container::{self, OpenOptions};
use core2dmp::export::{self, ExportFormat};
use core2dmp::source::FileSource;
use core2dmp::write::{self, Silent};
use core2dmp_synth::{Guest, GuestSpec, KdumpCompression};
use flate2::{Decompress, FlushDecompress};

use super::Bench;
use crate::run::{Outcome, cargo, check, show, target_dir};

/// Least speed of each core against one core alone.
const MIN_PER_CORE: f64 = 0.8;
/// Of the guest, in MiB, at most: both sides are done in seconds.
const MAX_MIB: u64 = 512;

/// Measures, in a release build of this program, and adds a line to the report.
pub fn group(bench: &mut Bench) -> Outcome {
    let (work, mib, runs) = (&bench.work, bench.options.mib, bench.options.runs);
    check(&mut cargo(&["build", "--release", "--package", "xtask"]))?;
    let program = std::path::absolute(target_dir().join("release").join("xtask"))?;
    let mut command = Command::new(program);
    command
        .arg("decode")
        .arg(work)
        .arg(mib.min(MAX_MIB).to_string())
        .arg(runs.to_string())
        .stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("`{}`: {}", show(&command), output.status).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().flat_map(str::parse).collect();
    let [ours, one, all, cores, mib] = numbers[..] else {
        return Err(format!("`{}` said {text:?}", show(&command)).into());
    };
    let share = one / ours / cores;
    let measured = format!(
        "{share:.2} x ({:.0} MiB/s on {cores} cores; zlib-rs alone {:.0} MiB/s on one, {:.0} on all)",
        mib / ours,
        mib / one,
        mib / all
    );
    bench.report.bar(
        "kdump, zlib, decoded",
        &format!("at least {MIN_PER_CORE} x the cores x one core of zlib-rs"),
        &measured,
        share >= MIN_PER_CORE,
    );
    Ok(())
}

/// `xtask decode FOLDER MIB RUNS`: prints the medians of the seconds of all three, the cores, and MiB.
pub fn task(arguments: &[String]) -> Outcome {
    let [folder, mib, runs] = arguments else {
        return Err("decode FOLDER MIB RUNS".into());
    };
    let (mib, runs): (u64, usize) = (mib.parse()?, runs.parse()?);
    let mut guest = GuestSpec::windows10().memory_mib(mib).fill(0).build();
    fill(&mut guest);
    let kdump = guest.kdump().compression(KdumpCompression::Zlib);
    let path = Path::new(folder).join("guest.kdump");
    fs::write(&path, kdump.bytes())?;
    let bytes = fs::read(&path)?;
    let streams = streams(&bytes, kdump.descriptors_at(), pages(&guest))?;
    let opened = container::open(Arc::new(FileSource::open(&path)?), OpenOptions::default())?;
    let export = export::export(&opened, ExportFormat::Raw);
    let decode = |sink: &mut dyn Write| -> Outcome<f64> {
        let start = Instant::now();
        write::to_stream(&export.image, &opened.memory, sink, &Silent)?;
        Ok(start.elapsed().as_secs_f64())
    };
    let mut check = Compare::new(&guest);
    decode(&mut check)?;
    check.finish(export.image.size())?;
    let cores = thread::available_parallelism()?.get();
    let (mut ours, mut one, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..runs {
        // What is first should not be favoured.
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => ours.push(decode(&mut io::sink())?),
                1 => one.push(inflate(&streams)?),
                _ => all.push(inflate_together(&streams, cores)?),
            }
        }
    }
    fs::remove_file(path)?;
    let mib = (streams.len() * 4096) as f64 / f64::from(1 << 20);
    let (ours, one, all) = (median(ours), median(one), median(all));
    println!("{ours} {one} {all} {cores} {mib}");
    Ok(())
}

/// Contents that shrink as memory does: zeros, small numbers, pointers that share their high half. The guest's own
/// are noise.
fn fill(guest: &mut Guest) {
    let mut state = 1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut page = [0; 4096];
    for pfn in guest
        .present
        .clone()
        .iter()
        .flat_map(|run| run.0..run.0 + run.1)
    {
        if guest.frames.is_written(pfn) {
            continue;
        }
        for word in page.as_chunks_mut::<8>().0 {
            let value = random();
            *word = match value >> 62 {
                0 => 0xffff_f803_1200_0000 | value & 0xf_fff0,
                1 => value & 0xff,
                _ => 0,
            }
            .to_le_bytes();
        }
        guest.frames.write(pfn << 12, &page);
    }
}

fn pages(guest: &Guest) -> usize {
    let frames: u64 = guest.present.iter().map(|run| run.1).sum();
    frames as usize
}

/// The zlib streams of all pages, by descriptors: offset, size, flags.
fn streams(file: &[u8], descriptors: u64, pages: usize) -> Outcome<Vec<&[u8]>> {
    let table = &file[descriptors as usize..][..pages * 24];
    let mut streams = Vec::new();
    for descriptor in table.as_chunks::<24>().0 {
        let offset = u64::from_le_bytes(descriptor[..8].try_into()?) as usize;
        let size = u32::from_le_bytes(descriptor[8..12].try_into()?) as usize;
        if descriptor[12] == 1 {
            streams.push(&file[offset..offset + size]);
        }
    }
    // A page that does not get smaller is stored as it is: then this measures copying.
    if streams.len() * 10 < pages * 9 {
        return Err(format!("{} of {pages} pages are compressed", streams.len()).into());
    }
    Ok(streams)
}

/// Inflates all pages on this core; seconds.
fn inflate(streams: &[&[u8]]) -> Outcome<f64> {
    let mut page = vec![0; 4096];
    let mut zlib = Decompress::new(true);
    let start = Instant::now();
    for stream in streams {
        zlib.reset(true);
        zlib.decompress(stream, &mut page, FlushDecompress::Finish)?;
        if zlib.total_out() != 4096 {
            return Err("a stream that is no page".into());
        }
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Inflates all pages on all cores, each its share; seconds.
fn inflate_together(streams: &[&[u8]], cores: usize) -> Outcome<f64> {
    let start = Instant::now();
    thread::scope(|scope| {
        let shares = streams.chunks(streams.len().div_ceil(cores).max(1));
        let workers: Vec<_> = shares
            .map(|share| scope.spawn(move || inflate(share).map_err(|error| error.to_string())))
            .collect();
        workers.into_iter().try_for_each(|worker| {
            let done = worker.join().map_err(|_| "a thread ended".to_owned());
            done?.map(|_| ())
        })
    })?;
    Ok(start.elapsed().as_secs_f64())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Compares raw memory with the guest's.
struct Compare<'a> {
    guest: &'a Guest,
    at: u64,
    page: Vec<u8>,
}

impl<'a> Compare<'a> {
    fn new(guest: &'a Guest) -> Self {
        Self {
            guest,
            at: 0,
            page: Vec::new(),
        }
    }

    fn finish(&self, size: u64) -> Outcome {
        if self.at == size && self.page.is_empty() {
            return Ok(());
        }
        Err(format!("{:#x} bytes were written instead of {size:#x}", self.at).into())
    }
}

impl Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wanted = bytes.len().min(4096 - self.page.len());
        self.page.extend(&bytes[..wanted]);
        if self.page.len() == 4096 {
            let page = self.guest.page(self.at >> 12).unwrap_or([0; 4096]);
            if page[..] != self.page[..] {
                return Err(io::Error::other(format!("wrong page at {:#x}", self.at)));
            }
            self.at += 4096;
            self.page.clear();
        }
        Ok(wanted)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
