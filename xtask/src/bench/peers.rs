//! Other programs that write a Windows dump or raw memory, on the same guest. A program that cannot run is reported
//! loudly.
//!
//! ```text
//! elf2dmp        --qemu-core FILE: a real guest's, since it loads symbols from Microsoft's server by the kernel's id
//! MemProcFS      raw memory of the synthetic guest -> its virtual memory.dmp
//! Volatility 3   the Xen core -> raw memory (layerwriter)
//! ```
//!
//! The Python programs are looked for in `$JUDGES/venv` (by default `~/.cache/core2dmp-judges`), then in PATH.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure::{self, Sample};
use super::report::{kib, wall};
use super::{Bench, guests, verify};
use crate::run::{Outcome, have};

/// What MemProcFS' dump of the synthetic guest is read with: its virtual file system in a process, without a mount.
const MEMPROCFS: &str = "
import sys, os, memprocfs
vmm = memprocfs.Vmm(['-device', os.path.abspath(sys.argv[1]), '-disable-symbolserver', '-disable-python', '-waitinitialize'])
entry = vmm.vfs.list('/').get('memory.dmp')
if not entry: os._exit(3)
size = entry['size']
with open(sys.argv[2], 'wb') as out:
    at = 0
    while at < size:
        data = vmm.vfs.read('/memory.dmp', min(1 << 20, size - at), at)
        if not data: os._exit(1)
        out.write(data)
        at += len(data)
os._exit(0)
";
/// Seconds that a peer gets.
const PATIENCE: &str = "300";
/// MiB of the guest for the Python programs: in a larger one they take minutes.
const MIB: u64 = 256;

/// The peers.
pub fn group(bench: &mut Bench) -> Outcome {
    elf2dmp(bench)?;
    let guest = guests::live(MIB).build();
    let (core, raw) = (bench.work.join("peer.core"), bench.work.join("peer.raw"));
    // Volatility takes the padding of the frame table for a page at the end of all addresses, and writes until the disk
    // is full.
    guest.xen_core().padding(0).write_file(&core)?;
    std::fs::write(&raw, guest.raw(0, MIB * 256))?;
    let out = bench.work.join("peer.dmp");

    let python = installed("python3");
    let module = |python: &PathBuf| {
        let mut probe = Command::new(python);
        probe
            .args(["-c", "import memprocfs"])
            .output()
            .is_ok_and(|probe| probe.status.success())
    };
    match python.filter(module) {
        None => bench
            .report
            .skip("MemProcFS", "its Python module is not installed"),
        Some(python) => {
            let words = [
                python.as_path(),
                "-c".as_ref(),
                MEMPROCFS.as_ref(),
                &raw,
                &out,
            ];
            compare(bench, "MemProcFS", &words, &raw, &out)?;
        }
    }
    match installed("vol") {
        None => bench.report.skip("Volatility 3", "`vol` is not installed"),
        Some(vol) => {
            let folder = bench.work.join("vol");
            std::fs::create_dir_all(&folder)?;
            let words: [&Path; 9] = [
                &vol,
                "-q".as_ref(),
                "--offline".as_ref(),
                "-o".as_ref(),
                &folder,
                "-f".as_ref(),
                &core,
                "layerwriter.LayerWriter".as_ref(),
                "--layers=primary".as_ref(),
            ];
            let written = folder.join("primary.raw");
            compare(bench, "Volatility 3 layerwriter", &words, &core, &written)?;
        }
    }
    // What a peer that failed left behind goes with the work folder.
    for file in [core, raw] {
        std::fs::remove_file(file)?;
    }
    Ok(())
}

/// A program of the judges, or of PATH.
fn installed(name: &str) -> Option<PathBuf> {
    let judges = env::var_os("JUDGES").map(PathBuf::from).or_else(|| {
        let home = PathBuf::from(env::var_os("HOME")?);
        Some(home.join(".cache/core2dmp-judges"))
    });
    let here = judges.map(|judges| judges.join("venv/bin").join(name));
    here.filter(|path| path.is_file())
        .or_else(|| have(name).then(|| PathBuf::from(name)))
}

/// elf2dmp on a real guest's core, since a synthetic kernel has no symbols anywhere.
fn elf2dmp(bench: &mut Bench) -> Outcome {
    let Some(core) = bench.options.qemu_core.clone() else {
        let why = "no core of a real guest (--qemu-core FILE): it needs symbols of its kernel, from the network";
        bench.report.skip("elf2dmp", why);
        return Ok(());
    };
    if !have("elf2dmp") {
        bench.report.skip(
            "elf2dmp",
            "it is not in PATH; QEMU's sources have it in contrib/elf2dmp",
        );
        return Ok(());
    }
    let out = bench.work.join("peer.dmp");
    let words = ["elf2dmp".as_ref(), core.as_path(), &out];
    let Some((ours, theirs)) = compare(bench, "elf2dmp", &words, &core, &out)? else {
        return Ok(());
    };
    let report = &mut bench.report;
    let ratio = wall(&ours) / wall(&theirs);
    report.at_most("against elf2dmp, time", ratio, 0.5, "x elf2dmp");
    let ratio = kib(&ours) as f64 / kib(&theirs) as f64;
    report.at_most("against elf2dmp, peak memory", ratio, 0.05, "x elf2dmp");
    Ok(())
}

/// Runs a peer and our conversion of the same file in turn; `None` if the peer fails.
fn compare(
    bench: &mut Bench,
    name: &'static str,
    words: &[&Path],
    input: &Path,
    out: &Path,
) -> Outcome<Option<(Vec<Sample>, Vec<Sample>)>> {
    // Whatever goes wrong there must not fill the disk: blocks of 512 bytes.
    let limit = format!(
        "ulimit -f {}; exec \"$@\"",
        input.metadata()?.len().div_ceil(512) * 4
    );
    let mut theirs: Vec<_> = ["sh", "-c", &limit, "sh", "timeout", PATIENCE]
        .map(OsString::from)
        .to_vec();
    theirs.extend(words.iter().map(|word| word.as_os_str().to_owned()));
    let dump = bench.work.join("ours.dmp");
    let program = bench.tool.program.clone().into_os_string();
    let ours = [
        "convert".into(),
        "--no-sync".into(),
        input.into(),
        dump.clone().into_os_string(),
    ];
    let ours: Vec<_> = std::iter::once(program).chain(ours).collect();
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..bench.options.runs {
        match measure::run(&theirs, None, 0) {
            Ok(sample) if out.metadata().is_ok_and(|meta| meta.len() > 0) => samples.1.push(sample),
            Ok(_) => {
                bench.report.skip(name, "it wrote nothing for this guest");
                return Ok(None);
            }
            Err(why) => {
                let why = why.to_string();
                let end = why.rsplit("` ").next().unwrap_or_default();
                bench
                    .report
                    .skip(name, &format!("it fails on this guest: {end}"));
                return Ok(None);
            }
        }
        samples.0.push(measure::run(&ours, None, 0)?);
        verify::is_dump(&dump)?;
        for file in [out, &dump] {
            std::fs::remove_file(file)?;
        }
    }
    let rows = [
        ("core2dmp convert --no-sync", &samples.0),
        (name, &samples.1),
    ];
    bench.report.rows(&format!("Beside {name}"), &rows);
    Ok(Some(samples))
}
