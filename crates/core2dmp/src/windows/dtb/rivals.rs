//! More than one Windows in memory: which one is meant, and why the others are not.

use std::cmp::Reverse;
use std::fmt;

use super::{Found, Root};
use crate::address::{Gpa, Gva};
use crate::paging::PagingMode;
use crate::windows::fact::Source;

/// Another kernel in the same memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// Where its image is mapped.
    pub base: Gva,
    /// The root of its page tables.
    pub root: Gpa,
    /// How it translates addresses.
    pub mode: PagingMode,
    /// How its page tables were found.
    pub source: Source,
    /// FILETIME of its clock.
    pub system_time: Option<u64>,
    /// Why it is not the one that is reported.
    pub why: String,
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the memory holds another Windows, whose kernel is at {} and whose page tables are at {}: {}; --kernel {} \
             chooses it",
            self.base, self.root, self.why, self.root
        )
    }
}

/// Chooses: what the user wants, else what a vCPU leads to, else the newest, else what was found first.
///
/// `Err` with their bases if there are none, or none is wanted.
pub(super) fn weigh(mut found: Vec<Root>, wanted: Option<u64>) -> Result<Found, Vec<Gva>> {
    // The sort is stable: what was found first stays first among equals.
    found.sort_by_key(|root| (!root.is_vcpus, Reverse(root.system_time)));
    let is_wanted = |root: &Root| {
        wanted.is_none_or(|wanted| [root.kernel.image.base.get(), root.gpa.get()].contains(&wanted))
    };
    let Some(chosen) = found.iter().position(is_wanted) else {
        return Err(found.iter().map(|root| root.kernel.image.base).collect());
    };
    let root = found.remove(chosen);
    let rivals = found
        .into_iter()
        .map(|rival| Rival {
            why: why(&root, &rival, wanted.is_some()),
            base: rival.kernel.image.base,
            root: rival.gpa,
            mode: rival.mode,
            source: rival.source,
            system_time: rival.system_time,
        })
        .collect();
    Ok(Found { root, rivals })
}

fn why(root: &Root, rival: &Root, is_chosen: bool) -> String {
    if is_chosen {
        return "another one was asked for".to_owned();
    }
    if root.is_vcpus && !rival.is_vcpus {
        return "no vCPU runs it".to_owned();
    }
    match (root.system_time, rival.system_time) {
        (Some(newer), Some(older)) if newer > older => {
            let seconds = newer.saturating_sub(older) / 10_000_000;
            format!("its clock is {seconds} seconds behind: an earlier boot")
        }
        (Some(_), None) => "it has no clock".to_owned(),
        _ => "it was found later".to_owned(),
    }
}
