//! Headers: every field of the one that is written, and those that were found.

use core2dmp::audit::field_facts;
use core2dmp::dump::Plan;
use core2dmp::windows::Windows;

use super::Table;
use crate::render::notation::value;

/// Headers that were made inside the guest, and whether they are believed.
pub(super) fn found(out: &mut String, windows: &Windows) {
    let mut table = Table::default();
    for header in &windows.headers {
        if header.is_confirmed() {
            table.noted(
                &header.origin.to_string(),
                "of this boot",
                "memory confirms it",
            );
            continue;
        }
        table.noted(&header.origin.to_string(), "stale", "");
        for why in &header.contradictions {
            table.row("", why);
        }
    }
    table.write(out, "Headers left in the guest");
}

/// Every field of the header, its source, and what other sources say.
pub(super) fn fields(out: &mut String, windows: &Windows, plan: &Plan) {
    let mut table = Table::default();
    for fact in field_facts(windows, plan) {
        let kind = fact.field.kind;
        table.noted(fact.field.name, value(kind, &fact.value), &fact.source);
        for rejected in &fact.rejected {
            table.noted(
                "",
                format!("not {}", value(kind, &rejected.value)),
                format!("{}: {}", rejected.source, rejected.why),
            );
        }
    }
    table.write(out, "Header of the dump");
}

/// The fields of a debugger data block that the guest does not have.
pub(super) fn rebuilt(out: &mut String, windows: &Windows) {
    let block = &windows.kdbg.value;
    let mut table = Table::default();
    for field in &block.rebuilt {
        table.noted(field.name, format!("{:#x}", field.value), &field.source);
    }
    table.write(
        out,
        &format!("Debugger data block, rebuilt at {}", block.gva),
    );
}
