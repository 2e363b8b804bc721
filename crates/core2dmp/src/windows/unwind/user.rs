//! The images of a process: its loader's list, read through its own page tables.
//!
//! ```text
//! EPROCESS.Peb -> PEB.Ldr -> PEB_LDR_DATA.InLoadOrderModuleList <-> LDR_DATA_TABLE_ENTRY
//! ```
//!
//! The process's own code writes that list: what it says is a claim, bounded as every list is.
//!
//! Sources: winternl.h (`PEB`, `PEB_LDR_DATA`); the entries are those of the kernel's list. The offset of the PEB is the
//! debugger data block's.

use crate::address::Gva;
use crate::format::kdbg::OFFSET_EPROCESS_PEB;
use crate::paging::AddressSpace;
use crate::windows::Windows;
use crate::windows::fact::{Fact, Source};
use crate::windows::modules::{self, Module};

/// `PEB.Ldr`, and `PEB_LDR_DATA.InLoadOrderModuleList`: 64 bit, 32 bit.
const LDR: (u64, u64) = (0x18, 0x0c);
const LOAD_ORDER: (u64, u64) = (0x10, 0x0c);

/// The images, and why there are none or not all.
pub(super) fn modules(
    space: &AddressSpace<'_>,
    windows: &Windows,
    eprocess: Gva,
) -> (Vec<Module>, Option<String>) {
    match list_head(space, windows, eprocess) {
        Ok(Some(head)) => {
            let (modules, broken) = modules::read(space, &head);
            (modules, broken.map(|why| format!("of the process: {why}")))
        }
        Ok(None) => (Vec::new(), None),
        Err(why) => (Vec::new(), Some(why)),
    }
}

/// The list's head; `None` for a process without user memory.
fn list_head(
    space: &AddressSpace<'_>,
    windows: &Windows,
    eprocess: Gva,
) -> Result<Option<Fact<Gva>>, String> {
    let wide = space.mode().is_64bit();
    let pick = |(wide_value, narrow): (u64, u64)| if wide { wide_value } else { narrow };
    let offset = windows.kdbg.value.offset(OFFSET_EPROCESS_PEB);
    let offset = offset.ok_or("KDBG does not say where a process keeps its PEB")?;
    let pointer = |what: &str, gva: Gva| {
        let read = space.pointer(gva);
        read.map_err(|why| format!("the process's {what} at {gva}: {why}"))
    };
    let field = eprocess.saturating_add(u64::from(offset));
    let peb = pointer("pointer to its PEB", field)?;
    if peb.get() == 0 {
        return Ok(None);
    }
    if space.mode().is_kernel(peb) {
        return Err(format!("the process's PEB {peb} is in the kernel's half"));
    }
    let ldr = pointer("PEB", peb.saturating_add(pick(LDR)))?;
    if ldr.get() == 0 {
        return Ok(None);
    }
    let head = ldr.saturating_add(pick(LOAD_ORDER));
    let name = "PEB_LDR_DATA";
    let gva = ldr;
    Ok(Some(Fact::new(head, Source::Variable { name, gva })))
}
