//! `convert`: what becomes of a guest, and what of that can be refused before the guest is read.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use core2dmp::dump::{DumpKind, PlanOptions};
use core2dmp::export::ExportFormat;
use core2dmp::open;
use core2dmp::windows::ContextPolicy;
use core2dmp::write::WriteOptions;
use core2dmp::write::in_place::reshape;

use super::{Output, Reading, Report, Source};
use crate::args::ConvertArgs;
use crate::escape;
use crate::message::Failure;

/// Several files, or a compressed one.
const NOT_ONE_FILE: &str = "several files, or a compressed one, do not become a dump in place";

/// What becomes of a guest.
#[derive(Debug)]
pub(crate) enum Product {
    Dump(PlanOptions),
    Export(ExportFormat),
}

/// `convert`.
#[derive(Debug)]
pub(crate) struct Convert {
    pub(crate) source: Source,
    pub(crate) output: Output,
    pub(crate) product: Product,
    pub(crate) reading: Reading,
    /// Whose registers each processor gets.
    pub(crate) contexts: ContextPolicy,
    pub(crate) write: WriteOptions,
    /// Bytes of a part.
    pub(crate) split: Option<u64>,
    pub(crate) hash: bool,
    /// Remove what killed runs left.
    pub(crate) clean: bool,
    pub(crate) dry_run: bool,
    /// The core itself becomes the dump; whether the user is asked first.
    pub(crate) in_place: Option<Asks>,
    pub(crate) report: Report,
}

/// Whether the user is asked before a core is consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    Yes,
    No,
}

/// `convert --undo`.
#[derive(Debug)]
pub(crate) struct Undo {
    /// The names as they were given.
    pub(crate) given: String,
    pub(crate) core: PathBuf,
    /// Where the dump is, if it was moved.
    pub(crate) dump: Option<PathBuf>,
    /// What is beside the core if it was converted in place.
    pub(crate) journal: PathBuf,
    /// The dump that the journal names.
    pub(crate) planned: Option<PathBuf>,
    pub(crate) report: Report,
}

fn refused<T>(message: String, hint: &'static str) -> Result<T, Failure> {
    Err(Failure::Refused { message, hint })
}

impl Convert {
    /// A dump of `source` at `output`, which is replaced.
    pub(crate) fn to_dump(source: &Path, output: &Path) -> Result<Self, Failure> {
        Ok(Self {
            source: Source::of_one(source)?,
            output: Output::File(output.to_path_buf()),
            product: Product::Dump(PlanOptions::default()),
            reading: Reading::default(),
            contexts: ContextPolicy::default(),
            write: WriteOptions::default().force(true),
            split: None,
            hash: false,
            clean: false,
            dry_run: false,
            in_place: None,
            report: Report::default(),
        })
    }

    pub(super) fn resolve(args: &ConvertArgs) -> Result<Self, Failure> {
        let (names, output) = args.sources_and_output();
        let product = product(args)?;
        if matches!(product, Product::Dump(_)) {
            // After a core was consumed, there is no core to find.
            earlier_in_place(args.core(), output, args.in_place)?;
        }
        let asks = args.in_place && !args.dry_run && !args.yes;
        if asks && !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            let source = escape::path(args.core());
            return refused(
                format!("--in-place consumes {source}, and there is no terminal to ask on"),
                "--yes does it without asking",
            );
        }
        let source = Source::of(names)?;
        let output = Output::of(args, output, &source)?;
        if args.in_place && !source.files.is_one_as_it_is() {
            return refused(NOT_ONE_FILE.to_owned(), "convert without --in-place");
        }
        Ok(Self {
            source,
            output,
            product,
            reading: Reading {
                salvage: args.salvage,
                holes: args.hole.clone(),
                headers: args.header.clone(),
                kernel: args.kernel,
                format: args.format.clone(),
            },
            contexts: args.context.into(),
            write: WriteOptions::default()
                .force(args.force)
                .sync(!args.no_sync)
                .sparse(args.sparse)
                .verify(args.verify),
            split: args.split,
            hash: args.hash,
            clean: args.clean,
            dry_run: args.dry_run,
            in_place: args
                .in_place
                .then_some(if asks { Asks::Yes } else { Asks::No }),
            report: report(args),
        })
    }

    /// Where a compressed source is unpacked.
    pub(crate) fn unpack_in(&self) -> PathBuf {
        match &self.output {
            Output::File(path) if !self.dry_run => open::folder_of(path).to_path_buf(),
            _ => std::env::temp_dir(),
        }
    }
}

impl Undo {
    pub(super) fn resolve(args: &ConvertArgs) -> Self {
        let dump = args.sources_and_output().1;
        let core = args.core();
        let earlier = reshape::find(core).ok().flatten();
        Self {
            given: args.source(),
            core: core.to_path_buf(),
            dump: dump.map(Path::to_path_buf),
            journal: reshape::journal_path(core),
            planned: earlier.map(|found| found.dump),
            report: report(args),
        }
    }
}

const fn report(args: &ConvertArgs) -> Report {
    Report {
        json: args.json,
        verbose: args.verbose,
        quiet: args.quiet,
    }
}

fn product(args: &ConvertArgs) -> Result<Product, Failure> {
    let kind = DumpKind::from(args.kind);
    let Some(format) = args.to.export() else {
        let options = PlanOptions::default()
            .kind(kind)
            .keep(args.keep_user.clone())
            .strict(args.strict)
            .salvage(args.salvage);
        return Ok(Product::Dump(options));
    };
    let is_for_dumps = kind != DumpKind::Auto || !args.keep_user.is_empty();
    if is_for_dumps || args.split.is_some() || args.hash {
        return refused(
            "--type, --keep-user, --split and --hash are for dumps; --to writes all memory, in one file"
                .to_owned(),
            "leave them out, or leave --to out",
        );
    }
    Ok(Product::Export(format))
}

/// Refuses what an earlier conversion in place speaks against.
fn earlier_in_place(core: &Path, output: Option<&Path>, in_place: bool) -> Result<(), Failure> {
    let source = escape::path(core);
    if in_place && output.is_some_and(|out| out.as_os_str() == "-") {
        return refused(
            "--in-place cannot write to standard output".to_owned(),
            "give the name that the core is to have as a dump, or none",
        );
    }
    let found = match reshape::find(core) {
        Ok(found) => found,
        Err(e) if in_place => return Err(e.into()),
        // The journal belongs to another conversion.
        Err(_) => None,
    };
    if let Some(found) = found {
        let is_gone = core.symlink_metadata().is_err();
        let dump = escape::path(&found.dump);
        if !found.is_done && (found.is_here || is_gone) {
            return refused(
                format!(
                    "{source} is neither core nor dump: its conversion in place was interrupted"
                ),
                "`core2dmp convert --undo CORE` makes it the core again; then convert it once more",
            );
        }
        if found.is_here {
            return refused(
                format!("{source} is the dump already: only its name is still the core's"),
                "rename it, or make it the core again with `core2dmp convert --undo CORE`",
            );
        }
        if is_gone {
            return refused(
                format!("{source} was converted in place into {dump}"),
                "`core2dmp convert --undo CORE` makes it the core again",
            );
        }
        if in_place {
            let journal = escape::path(&found.journal);
            return refused(
                format!("{journal} exists: it can make {dump} a core again"),
                "delete it if nobody needs that",
            );
        }
    }
    if in_place && open::is_compressed(core) {
        return refused(NOT_ONE_FILE.to_owned(), "convert without --in-place");
    }
    Ok(())
}
