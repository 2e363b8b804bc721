//! `core2dmp demo`: every step with a guest of our own, without a hypervisor.
//!
//! ```text
//! core2dmp-synth -> a guest that has crashed -> demo.core, as `xl dump-core` writes it -> convert -> demo.dmp -> check
//!     demo.dmp behind a header of another boot -> stale.dmp -> check -> diff -> repair -> stale.repaired.dmp
//! ```

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use core2dmp::audit::diff;
use core2dmp::container::dmp::DumpFile;
use core2dmp::error::Error;
use core2dmp::header::{DUMP_TYPE_SUMMARY, FieldId};
use core2dmp::image::Image;
use core2dmp::write::{self, Silent, WriteOptions};
use core2dmp_synth::{CrashRecord, Guest, GuestSpec};

use core2dmp::open;

use super::{check, convert, repair};
use crate::escape;
use crate::interrupt::Interrupt;
use crate::message::{Failure, to_stdout};
use crate::render::{report, text};
use crate::request::{Check, Convert, Repair};

/// The guest's memory in MiB.
const MEMORY: u64 = 64;
/// How many of a hundred frames are zero.
const ZEROS: u8 = 70;

/// Page tables of another boot: there are none at this address.
const OTHER_ROOT: u64 = 0x3ec_1000;
/// The PFN database of another boot.
const OTHER_PFN_DATABASE: u64 = 0xffff_fadf_c920_0000;

/// Runs the command.
pub(crate) fn run(dir: &Path, interrupt: &Interrupt) -> Result<(), Failure> {
    let core = dir.join("demo.core");
    let dump = dir.join("demo.dmp");
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
    fs::create_dir_all(dir).map_err(failed(dir))?;
    write_core(&guest, dir, &core, interrupt).map_err(failed(&core))?;
    if interrupt.is_raised() {
        return Err(Error::Interrupted.into());
    }
    to_stdout(&story(&guest, &core, &dump))?;
    let request = Convert::to_dump(&core, &dump)?;
    report::convert(&request, convert::run(&request, interrupt))?;
    to_stdout(&format!(
        "what is in it: core2dmp info {}\n\nWould WinDbg open it?\n",
        escape::path(&core)
    ))?;
    judge(&dump, interrupt)?;
    stale(dir, &dump, interrupt)
}

/// What `core2dmp check` says.
fn judge(dump: &Path, interrupt: &Interrupt) -> Result<(), Failure> {
    let request = Check::of(dump);
    let checked = check::run(&request, interrupt)?;
    to_stdout(&format!(
        "  $ core2dmp check {}\n{}",
        escape::path(dump),
        text::check(&request, &checked)
    ))
}

/// The same dump behind a header that the guest made in another boot: refused, explained, repaired.
fn stale(dir: &Path, dump: &Path, interrupt: &Interrupt) -> Result<(), Failure> {
    let path = dir.join("stale.dmp");
    let good = open::dump(dump)?;
    let header = stale_header(&good);
    let header_bytes = header.len() as u64;
    let mut image = Image::new();
    image.push_bytes(header);
    image.push_source(header_bytes, good.size.saturating_sub(header_bytes));
    let options = WriteOptions::default().force(true).sync(false);
    {
        let _guard = interrupt.guard();
        write::to_file(&image, &good.memory(), &path, options, &Silent)?;
    }
    let bad = open::dump(&path)?;
    let verdict = diff::diff_headers(&good.header, &bad.header).map(|diff| diff.verdict(None));
    to_stdout(
        "\nThe same memory behind a header that a driver made in another boot, of another type:\n",
    )?;
    judge(&path, interrupt)?;
    let (good, bad) = (escape::path(dump), escape::path(&path));
    to_stdout(&format!(
        "  $ core2dmp diff {good} {bad}\nverdict: {}\n  $ core2dmp repair {bad}\n",
        verdict.unwrap_or_default()
    ))?;
    let request = Repair::of(&path);
    report::repair(&request, repair::run(&request, interrupt)).map(|_| ())
}

/// The header with another type, and the addresses of another boot.
fn stale_header(dump: &DumpFile) -> Vec<u8> {
    let mut header = dump.header.clone();
    for (id, change) in [
        (FieldId::DumpType, u64::from(DUMP_TYPE_SUMMARY)),
        (FieldId::DirectoryTableBase, OTHER_ROOT),
        (FieldId::PfnDataBase, OTHER_PFN_DATABASE),
    ] {
        let Some(field) = dump.width.field(id) else {
            continue;
        };
        let bytes = change.to_le_bytes();
        let (value, _) = bytes.split_at(field.bytes.min(bytes.len()));
        let target = header.get_mut(field.offset..field.offset + value.len());
        debug_assert!(target.is_some(), "a header has all its fields");
        if let Some(target) = target {
            target.copy_from_slice(value);
        }
    }
    header
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
touched memory that it should not have: it stopped with a blue screen, stop {stop:#x}.

Its memory as Xen writes it:
  $ xl dump-core demo {core}
Now a dump of it:
  $ core2dmp convert {core} {dump}

",
        build = facts.build,
        processors = facts.processors.len(),
    )
}
