//! The file that a hypervisor wrote.

use core2dmp::container::Guest;

use super::{Table, count, size};

/// The container's own facts.
pub(super) fn container(out: &mut String, file: &str, guest: &Guest) {
    let info = &guest.container;
    let mut table = Table::default();
    table.row("file", file);
    table.noted("format", info.title, size(info.size));
    for (name, value) in &info.details {
        table.row(name, value);
    }
    table.row("vCPUs", guest.cpus.len().to_string());
    let frames = guest.memory.frame_count();
    table.noted(
        "frames",
        format!(
            "{frames} in {}",
            count(guest.memory.runs().len() as u64, "run")
        ),
        size(frames.saturating_mul(core2dmp::address::PAGE_SIZE)),
    );
    if info.padding > 0 {
        let entries = if info.padding == 1 {
            "entry"
        } else {
            "entries"
        };
        table.row(
            "padding",
            format!("{} {entries} without a page", info.padding),
        );
    }
    if let Some(salvaged) = &info.salvaged {
        table.row("salvaged", salvaged);
    }
    table.write(out, "Container");
}
