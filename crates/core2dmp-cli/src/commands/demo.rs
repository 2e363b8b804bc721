//! `core2dmp demo`: the whole way with a guest of our own, without a hypervisor.
//!
//! ```text
//! core2dmp-synth -> a guest that has crashed -> demo.core, as `xl dump-core` writes it -> convert -> demo.dmp -> check
//!     demo.dmp behind a header of another boot -> stale.dmp -> check -> diff -> repair -> stale.repaired.dmp
//! ```

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use core2dmp::audit::check;
use core2dmp::audit::diff;
use core2dmp::container::dmp::DumpFile;
use core2dmp::error::Error;
use core2dmp::format::dump_values::DUMP_TYPE_SUMMARY;
use core2dmp::format::header_fields::FieldId;
use core2dmp::format::put_at;
use core2dmp::image::{Segment, SegmentData};
use core2dmp::write::{self, Silent, WriteOptions};
use core2dmp_synth::{CrashRecord, Guest, GuestSpec};

use super::{convert, open_dump, repair};
use crate::args::{CheckArgs, Context, ConvertArgs, DemoArgs, Kind, RepairArgs, Target};
use crate::escape;
use crate::interrupt::Interrupt;
use crate::message::{Failure, to_stdout};
use crate::render::text;

/// Of the guest, in MiB.
const MEMORY: u64 = 64;
/// Of a hundred frames, how many are zero.
const ZEROS: u8 = 70;

/// Page tables of another boot: there are none at this address.
const OTHER_ROOT: u64 = 0x3ec_1000;
/// The PFN database of another boot.
const OTHER_PFN_DATABASE: u64 = 0xffff_fadf_c920_0000;

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
    let convert_args = ConvertArgs {
        names: vec![core.clone()],
        to: Target::Dmp,
        output: Some(dump.clone()),
        kind: Kind::Auto,
        keep_user: Vec::new(),
        sparse: false,
        split: None,
        hash: false,
        verify: false,
        clean: false,
        force: true,
        no_sync: false,
        in_place: false,
        yes: false,
        undo: false,
        dry_run: false,
        strict: false,
        salvage: false,
        hole: Vec::new(),
        context: Context::Auto,
        header: Vec::new(),
        json: false,
        verbose: false,
        quiet: false,
    };
    convert::run_with(&convert_args, &interrupt)?;
    to_stdout(&format!(
        "what is in it: core2dmp info {}\n\nWould WinDbg open it?\n",
        escape::path(&core)
    ))?;
    judge(&dump)?;
    stale(&args.dir, &dump, &interrupt)
}

/// What `core2dmp check` says.
fn judge(dump: &Path) -> Result<(), Failure> {
    let args = CheckArgs {
        file: dump.to_path_buf(),
        deep: false,
        with: None,
        json: false,
        verbose: false,
    };
    let opened = open_dump(dump)?;
    let report = text::check(&args, &opened, &check::check(&opened), None);
    to_stdout(&format!(
        "  $ core2dmp check {}\n{report}",
        escape::path(dump)
    ))
}

/// The same dump behind a header that the guest made in another boot: refused, explained, repaired.
fn stale(dir: &Path, dump: &Path, interrupt: &Interrupt) -> Result<(), Failure> {
    let path = dir.join("stale.dmp");
    let good = open_dump(dump)?;
    let header = stale_header(&good);
    let header_bytes = header.len() as u64;
    let segments = [
        Segment {
            bytes: header_bytes,
            data: SegmentData::Bytes(header),
        },
        Segment {
            bytes: good.size.saturating_sub(header_bytes),
            data: SegmentData::Source {
                offset: header_bytes,
            },
        },
    ];
    let options = WriteOptions {
        force: true,
        sync: false,
        sparse: false,
        verify: false,
    };
    {
        let _guard = interrupt.guard();
        write::segments_to_file(&segments, &good.memory(), &path, options, &Silent)?;
    }
    let bad = open_dump(&path)?;
    let verdict = diff::diff_headers(&good.header, &bad.header).map(|diff| diff.verdict());
    to_stdout(
        "\nThe same memory behind a header that a driver made in another boot, of another type:\n",
    )?;
    judge(&path)?;
    let (good, bad) = (escape::path(dump), escape::path(&path));
    to_stdout(&format!(
        "  $ core2dmp diff {good} {bad}\nverdict: {}\n  $ core2dmp repair {bad}\n",
        verdict.unwrap_or_default()
    ))?;
    let args = RepairArgs {
        file: path,
        output: None,
        in_place: false,
        undo: false,
        from: None,
        dry_run: false,
        force: true,
        no_sync: true,
        json: false,
        verbose: false,
    };
    repair::run_with(&args, interrupt).map(|_| ())
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
        let fits = put_at(&mut header, field.offset, value);
        debug_assert!(fits, "a header has all its fields");
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
