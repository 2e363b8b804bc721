//! `core2dmp demo`: the whole way with a guest of our own, without a hypervisor.
//!
//! ```text
//! core2dmp-synth -> a guest that has crashed -> demo.core, as `xl dump-core` writes it -> convert -> demo.dmp
//! ```

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use core2dmp::error::Error;
use core2dmp_synth::{CrashRecord, Guest, GuestSpec};

use super::convert;
use crate::args::{Context, ConvertArgs, DemoArgs};
use crate::escape;
use crate::interrupt::Interrupt;
use crate::message::{Failure, to_stdout};

/// Of the guest, in MiB.
const MEMORY: u64 = 64;
/// Of a hundred frames, how many are zero.
const ZEROS: u8 = 70;

/// Runs the command.
pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    let core = args.dir.join("demo.core");
    let dump = args.dir.join("demo.dmp");
    let guest = GuestSpec::windows10()
        .processors(2)
        .memory_mib(MEMORY)
        .fill(ZEROS)
        .crash_record(CrashRecord::DriverIrql)
        .build();
    let failed = |path: &Path| {
        let what = format!("cannot write {}", escape::path(path));
        move |e| Error::io(what.clone(), e)
    };
    fs::create_dir_all(&args.dir).map_err(failed(&args.dir))?;
    write_core(&guest, &args.dir, &core, &interrupt).map_err(failed(&core))?;
    if interrupt.is_raised() {
        return Err(Error::Interrupted.into());
    }
    to_stdout(&story(&guest, &core, &dump))?;
    let args = ConvertArgs {
        source: core.clone(),
        output: Some(dump),
        force: true,
        no_sync: false,
        dry_run: false,
        strict: false,
        salvage: false,
        context: Context::Auto,
        header: Vec::new(),
        json: false,
        verbose: false,
        quiet: false,
    };
    convert::run_with(&args, &interrupt)?;
    to_stdout(&format!(
        "what is in it: core2dmp info {}\n",
        escape::path(&core)
    ))
}

/// Replaces the core of an earlier demo; an interruption leaves that one.
fn write_core(guest: &Guest, dir: &Path, path: &Path, interrupt: &Interrupt) -> io::Result<()> {
    let _guard = interrupt.guard();
    let file = tempfile::Builder::new()
        .prefix(".demo.core.")
        .tempfile_in(dir)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    guest.xen_core().write_to(&mut out)?;
    out.flush()?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    if !interrupt.is_raised() {
        file.persist(path)?;
    }
    Ok(())
}

/// What happened so far.
fn story(guest: &Guest, core: &Path, dump: &Path) -> String {
    let facts = &guest.expected;
    let stop = facts.bugcheck.as_ref().map_or(0, |stop| stop.code);
    let (core, dump) = (escape::path(core), escape::path(dump));
    format!(
        "\
A guest in the shape of Windows 10 (build {build}): {MEMORY} MiB, {processors} processors. One of its drivers
touched memory that it should not have: it stands at a blue screen, stop {stop:#x}.

Its memory as Xen writes it:
  $ xl dump-core demo {core}
Now a dump of it:
  $ core2dmp convert {core} {dump}

",
        build = facts.build,
        processors = facts.processors.len(),
    )
}
