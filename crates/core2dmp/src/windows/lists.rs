//! Doubly linked lists in guest memory: bounded, and never walked in a circle.

use std::collections::HashSet;

use crate::address::Gva;
use crate::paging::AddressSpace;

/// A list that was walked.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Addresses of the entries' links, without the head.
    pub(super) entries: Vec<Gva>,
    /// Why it ended early; `None` if it came back to its head.
    pub(super) broken: Option<String>,
}

/// Follows the forward links from `head` until they come back to it.
pub(super) fn walk(space: &AddressSpace<'_>, head: Gva, limit: usize) -> Walk {
    let mut walk = Walk::default();
    let mut seen = HashSet::from([head]);
    let mut at = head;
    loop {
        let next = match space.pointer(at) {
            Ok(next) => next,
            Err(why) => {
                walk.broken = Some(format!("the link at {at}: {why}"));
                return walk;
            }
        };
        if next == head {
            return walk;
        }
        if !seen.insert(next) {
            walk.broken = Some(format!("the link at {at} leads back to {next}"));
            return walk;
        }
        if walk.entries.len() >= limit {
            walk.broken = Some(format!("more than {limit} entries"));
            return walk;
        }
        walk.entries.push(next);
        at = next;
    }
}
