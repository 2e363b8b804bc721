//! The command line.

mod hole;
mod names;
mod target;
mod values;

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use core2dmp::dump::Keep;
use core2dmp::memory::Frames;

pub(crate) use target::Target;
use values::{Context, Kind};

/// Turn the memory of a virtual machine into a Windows crash dump that WinDbg opens.
///
/// It needs no agent in the guest, no symbols and no network. Start with `core2dmp demo`.
#[derive(Debug, Parser)]
#[command(name = "core2dmp", version, max_term_width = 100)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Keep every right that the program has, instead of giving up what it does not need
    #[arg(long, global = true)]
    pub(crate) no_sandbox: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Convert(ConvertArgs),
    Info(InfoArgs),
    Check(CheckArgs),
    Diff(DiffArgs),
    Repair(RepairArgs),
    Demo(DemoArgs),
}

impl Command {
    /// Whether an error lists everything that was tried.
    pub(crate) const fn is_verbose(&self) -> bool {
        match self {
            Self::Convert(args) => args.verbose,
            Self::Info(args) => args.verbose,
            Self::Check(args) => args.verbose,
            Self::Repair(args) => args.verbose,
            Self::Diff(_) | Self::Demo(_) => false,
        }
    }
}

/// Turn a guest's memory into a dump that WinDbg opens
///
/// All its memory, every processor where it stood, the true stop code. The dump appears whole or not at all, readable by its owner alone. The source is never changed, but with --in-place.
#[derive(Debug, clap::Args)]
#[command(override_usage = "core2dmp convert [OPTIONS] <SOURCE>... [OUT.dmp]")]
#[command(after_help = "\
Examples:
  core2dmp convert guest.core                writes guest.dmp beside it
  core2dmp convert guest.core dumps/          writes dumps/guest.dmp
  core2dmp convert guest.core - | ssh analyst 'cat > guest.dmp'
  core2dmp convert win.vmem                  takes win.vmss or win.vmsn beside it, too
  core2dmp convert part1 part2 part3 out.dmp joins a split dump
  core2dmp convert --to elf guest.core       writes guest.elf for crash or Volatility
  core2dmp convert --dry-run guest.core      says what would be written
  core2dmp convert --in-place guest.core     makes guest.dmp of it, without room for a copy
  core2dmp convert --undo guest.core         makes it the core again

Of several names the last is OUT if it is -, ends as OUT would (.dmp), is a folder, or does not exist. All others
are sources of one guest.")]
pub(crate) struct ConvertArgs {
    /// The guest's memory, as the hypervisor wrote it; several files of one guest; or a folder with one guest.
    /// Then the dump, or the folder for it; `-` is standard output [default: SOURCE with .dmp for its extension]
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) names: Vec<PathBuf>,
    /// The dump, whatever it is called; all names are then sources
    #[arg(long, short, value_name = "OUT.dmp")]
    pub(crate) output: Option<PathBuf>,
    /// Which dump
    #[arg(
        long = "type",
        value_enum,
        default_value_t,
        value_name = "TYPE",
        ignore_case = true
    )]
    pub(crate) kind: Kind,
    /// Keep the user memory of this process in a kernel dump: its number or its name; may be given several times
    #[arg(long, value_name = "PID|NAME", value_parser = values::keep)]
    pub(crate) keep_user: Vec<Keep>,
    /// What to write; anything but a dump works for every guest, and changes nothing in its memory
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        ignore_case = true
    )]
    pub(crate) to: Target,
    /// Replace an existing file
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not wait until the dump is on the disk
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Leave zero pages out of the file, as holes
    #[arg(long)]
    pub(crate) sparse: bool,
    /// Write parts of this size at most, OUT.dmp.001 and on, which `cat` puts together: bytes, or with K, M, G, T
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) split: Option<u64>,
    /// Write OUT.dmp.sha256 and OUT.dmp.b3 as well: what `sha256sum -c` and `b3sum -c` read
    #[arg(long)]
    pub(crate) hash: bool,
    /// Make the dump of the core itself, where there is no room for both; a journal beside it can undo that (ext4, xfs)
    #[arg(long, conflicts_with_all = ["no_sync", "sparse", "split", "hash", "verify", "clean"])]
    pub(crate) in_place: bool,
    /// Do so without asking
    #[arg(long, requires = "in_place")]
    pub(crate) yes: bool,
    /// Make the core SOURCE again after --in-place, finished or broken off; OUT.dmp is where the dump is, if it was moved
    #[arg(long, conflicts_with_all = ["in_place", "dry_run", "force", "no_sync", "sparse", "split", "hash", "verify", "clean"])]
    pub(crate) undo: bool,
    /// Read the dump again before it gets its name, and compare every page with the source
    #[arg(long)]
    pub(crate) verify: bool,
    /// Remove what a killed run left that was to write the same dump
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) clean: bool,
    /// Stop before writing, and say what would be written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Refuse if frames that Windows counts are missing, instead of writing them as zeros
    #[arg(long)]
    pub(crate) strict: bool,
    /// Read a core that was cut short, numbering the frames by rule; the dump says so
    #[arg(long)]
    pub(crate) salvage: bool,
    /// Of raw memory: physical addresses that the file leaves out, such as 3G-4G or 0xc0000000-0x100000000; may be
    /// given several times; `none`: the file is read as it stands [default: what the memory tells]
    #[arg(long, value_name = "START-END", value_parser = hole::parse)]
    pub(crate) hole: Vec<Frames>,
    /// The Windows that is meant where the memory holds several: its kernel's base, or its page tables' root
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    pub(crate) kernel: Option<u64>,
    /// The file's format, whatever it looks like
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(core2dmp::container::format_names()))]
    pub(crate) format: Option<String>,
    /// Whose registers each processor gets
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "SOURCE",
        ignore_case = true
    )]
    pub(crate) context: Context,
    /// Weigh the header of this dump, or a bare header, as one more source; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Vec<PathBuf>,
    /// Report as JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Say more: every fact with its source, and on an error everything that was tried
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Print errors and warnings alone
    #[arg(long, short, conflicts_with_all = ["verbose", "json"])]
    pub(crate) quiet: bool,
}

/// Say what is in a file, every fact with its source
#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// The guest's memory, as the hypervisor wrote it, or a dump, or the header of one; several files of one guest; or
    /// a folder with one guest
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) files: Vec<PathBuf>,
    /// Read a core that was cut short, numbering the frames by rule
    #[arg(long)]
    pub(crate) salvage: bool,
    /// Of raw memory: physical addresses that the file leaves out, such as 3G-4G or 0xc0000000-0x100000000; may be
    /// given several times; `none`: the file is read as it stands [default: what the memory tells]
    #[arg(long, value_name = "START-END", value_parser = hole::parse)]
    pub(crate) hole: Vec<Frames>,
    /// The Windows that is meant where the memory holds several: its kernel's base, or its page tables' root
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    pub(crate) kernel: Option<u64>,
    /// The file's format, whatever it looks like
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(core2dmp::container::format_names()))]
    pub(crate) format: Option<String>,
    /// Whose registers each processor would get
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "SOURCE",
        ignore_case = true
    )]
    pub(crate) context: Context,
    /// Weigh the header of this dump, or a bare header, as one more source; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Vec<PathBuf>,
    /// List every field of the dump's header: its value, its source, and what other sources say; searches all memory for headers
    #[arg(long)]
    pub(crate) facts: bool,
    /// List all modules
    #[arg(long)]
    pub(crate) modules: bool,
    /// List all processes
    #[arg(long)]
    pub(crate) processes: bool,
    /// Print JSON (docs/json.md), which has everything
    #[arg(long)]
    pub(crate) json: bool,
    /// Say more: all registers, all ranges, and on an error everything that was tried
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// Say whether WinDbg would open a dump, and whether it would show the truth
///
/// The header is judged against the body and the memory behind it. Each finding says what should stand there, what stands there, and what the debugger prints. Exit code: 0 clean, 1 findings, 2 not a dump.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  core2dmp check MEMORY.DMP
  core2dmp check MEMORY.DMP && windbg -z MEMORY.DMP
  core2dmp check --deep guest.dmp --with guest.core")]
pub(crate) struct CheckArgs {
    /// The dump
    #[arg(value_name = "FILE.dmp")]
    pub(crate) file: PathBuf,
    /// Compare every page with the core that the dump was made of
    #[arg(long, requires = "with")]
    pub(crate) deep: bool,
    /// That core
    #[arg(long, value_name = "CORE", requires = "deep")]
    pub(crate) with: Option<PathBuf>,
    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Say more: what was tried to find Windows in the memory
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// Compare two dumps, headers or cores, field by field, with what each difference means
///
/// Of a core the header is compared that `convert` would write. Exit code: 0 alike, 1 differences, 2 error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  core2dmp diff good.dmp converted.dmp
  core2dmp diff converted.dmp guest.core     the header that convert would write
  core2dmp diff --bytes good.dmp new.dmp > listing.txt
  core2dmp diff --listing listing.txt --with good.dmp")]
pub(crate) struct DiffArgs {
    /// A dump, the first bytes of one, or a core
    #[arg(value_name = "A", required_unless_present = "listing")]
    pub(crate) old: Option<PathBuf>,
    /// What to compare it with
    #[arg(value_name = "B", required_unless_present = "listing")]
    pub(crate) new: Option<PathBuf>,
    /// Print the bytes that differ, `offset: old new`, instead of the fields
    #[arg(long, conflicts_with_all = ["listing", "memory"])]
    pub(crate) bytes: bool,
    /// Read such a listing, and lay it over the fields of a header
    #[arg(long, value_name = "FILE", requires = "with", conflicts_with_all = ["old", "new", "memory", "no_memory"])]
    pub(crate) listing: Option<PathBuf>,
    /// One of the two dumps or headers that the listing compares
    #[arg(long, value_name = "HEADER", requires = "listing")]
    pub(crate) with: Option<PathBuf>,
    /// Compare the contents of all pages, too [default: where the headers name different bodies]
    #[arg(long)]
    pub(crate) memory: bool,
    /// Compare no pages, whatever the headers name
    #[arg(long, conflicts_with = "memory")]
    pub(crate) no_memory: bool,
    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

/// Make a dump's header agree with the memory behind it
///
/// Writes a new file, which shares its pages with the old one where the file system can. What the memory or the body does not prove is left, and said. Exit code: 0 repaired or nothing to do, 1 something is left that WinDbg would stumble over, 2 error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  core2dmp repair new.dmp                    writes new.repaired.dmp beside it
  core2dmp repair --dry-run new.dmp          says what would be changed
  core2dmp repair --in-place new.dmp         keeps the old bytes in new.dmp.core2dmp-undo
  core2dmp repair --undo new.dmp             puts them back
  core2dmp repair --from guest.core new.dmp  writes the header anew, from the core")]
pub(crate) struct RepairArgs {
    /// The dump
    #[arg(value_name = "FILE.dmp")]
    pub(crate) file: PathBuf,
    /// The repaired dump, or the folder for it [default: FILE.repaired.dmp beside it]
    #[arg(value_name = "OUT.dmp", conflicts_with_all = ["in_place", "undo"])]
    pub(crate) output: Option<PathBuf>,
    /// Change the dump itself, after its old bytes are saved beside it
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Put back what stood in the dump before --in-place
    #[arg(long, conflicts_with_all = ["in_place", "from", "dry_run", "force"])]
    pub(crate) undo: bool,
    /// The core that the dump was made of: its header is written anew from there
    #[arg(long, value_name = "CORE")]
    pub(crate) from: Option<PathBuf>,
    /// Stop before writing, and say what would be changed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Replace an existing file
    #[arg(long, conflicts_with = "in_place")]
    pub(crate) force: bool,
    /// Do not wait until the dump is on the disk
    #[arg(long, conflicts_with_all = ["in_place", "undo"])]
    pub(crate) no_sync: bool,
    /// Report as JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Say more: on an error everything that was tried
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// Try it: make a small crashed guest, dump it as Xen would, convert it, check it, repair it
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where the files go; those of an earlier demo are replaced
    #[arg(long, default_value = "core2dmp-demo")]
    pub(crate) dir: PathBuf,
}

impl ConvertArgs {
    /// Sources, and the output if it was named.
    pub(crate) fn sources_and_output(&self) -> (&[PathBuf], Option<&Path>) {
        names::split(&self.names, self.output.as_deref(), self.to.ending())
    }

    /// The sources as they were given.
    pub(crate) fn source(&self) -> String {
        given(self.sources_and_output().0)
    }

    /// The one source of a conversion in place.
    pub(crate) fn core(&self) -> &Path {
        let sources = self.sources_and_output().0;
        sources.first().map_or(Path::new(""), PathBuf::as_path)
    }
}

impl InfoArgs {
    /// The sources as they were given.
    pub(crate) fn source(&self) -> String {
        given(&self.files)
    }
}

/// Names as they were given, for reports.
pub(crate) fn given(names: &[PathBuf]) -> String {
    let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
    names.join(", ")
}
