//! The file that a hypervisor wrote.

use std::collections::BTreeMap;

use serde::Serialize;

use core2dmp::container::Guest;

use super::{Run, runs};

/// Runs that are listed; a hostile table makes a million.
const MAX_RUNS: usize = 4096;

/// A container.
#[derive(Debug, Serialize)]
pub(crate) struct Container {
    format: &'static str,
    title: &'static str,
    size: u64,
    details: BTreeMap<String, String>,
    vcpus: usize,
    frames: u64,
    run_count: usize,
    runs: Vec<Run>,
    padding: u64,
    salvaged: Option<String>,
}

impl Container {
    pub(crate) fn new(guest: &Guest) -> Self {
        let info = &guest.container;
        let all = guest.memory.runs();
        Self {
            format: info.format,
            title: info.title,
            size: info.size,
            details: info
                .details
                .iter()
                .map(|(name, value)| (name.replace(' ', "_"), value.clone()))
                .collect(),
            vcpus: guest.cpus.len(),
            frames: guest.memory.frame_count(),
            run_count: all.len(),
            runs: runs(all.iter().take(MAX_RUNS).map(|run| &run.frames)),
            padding: info.padding,
            salvaged: info.salvaged.clone(),
        }
    }
}
