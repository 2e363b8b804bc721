//! The guests that are measured with: the same memory, found in three ways.

use core2dmp_synth::{Guest, GuestSpec};

/// The guests.
pub struct Guests {
    /// Four processors, all standing in kernel mode.
    pub live: Guest,
    /// The same without a vCPU that Windows started and without firmware's hand-over page: the root has to be searched.
    pub unknown_root: Guest,
    /// The same without any root of page tables: everything is searched and nothing found.
    pub nothing: Guest,
}

impl Guests {
    /// Builds them, with so much memory each.
    pub fn make(mib: u64) -> Self {
        let spec = || {
            GuestSpec::windows10()
                .processors(4)
                .memory_mib(mib)
                .fill(40)
        };
        let hidden = || spec().vcpu_order(vec![4]).low_stub(false).build();
        let mut nothing = hidden();
        let roots: Vec<u64> = std::iter::once(nothing.expected.dtb)
            .chain(nothing.expected.dtb_alternatives.iter().copied())
            .chain(nothing.expected.processes.iter().map(|process| process.dtb))
            .collect();
        for root in roots {
            nothing.frames.write(root & !0xfff, &[0; 4096]);
        }
        Self {
            live: spec().build(),
            unknown_root: hidden(),
            nothing,
        }
    }
}
