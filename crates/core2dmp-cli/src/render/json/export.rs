//! Memory that is written for other programs.

use core2dmp::export;
use serde::Serialize;

use super::{Run, runs};

/// Runs that are listed; a hostile table makes a million.
const MAX_RUNS: usize = 4096;

/// A file that is no dump.
#[derive(Debug, Serialize)]
pub(crate) struct Export {
    format: &'static str,
    size: u64,
    run_count: usize,
    runs: Vec<Run>,
    vcpus: usize,
}

impl Export {
    pub(crate) fn new(export: &export::Export) -> Self {
        Self {
            format: match export.format {
                export::ExportFormat::Raw => "raw",
                export::ExportFormat::Elf => "elf",
                export::ExportFormat::Lime => "lime",
            },
            size: export.image.size(),
            run_count: export.runs.len(),
            runs: runs(export.runs.iter().take(MAX_RUNS)),
            vcpus: export.vcpus,
        }
    }
}
