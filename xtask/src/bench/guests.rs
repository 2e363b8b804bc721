//! The guests that are measured with: the same memory, found in different ways.

use core2dmp_synth::{Guest, GuestSpec};

/// Four processors, all standing in kernel mode; what Windows does not use is zero. A large one has memory above 4 GiB.
pub fn empty(mib: u64) -> GuestSpec {
    let spec = GuestSpec::windows10()
        .processors(4)
        .memory_mib(mib)
        .user_pages(64);
    if mib > 3072 { spec.above_4g() } else { spec }
}

/// The same with 40 % of the other frames zero.
pub fn live(mib: u64) -> GuestSpec {
    empty(mib).fill(40)
}

/// The same without a vCPU that Windows started and without firmware's hand-over page: the root has to be searched.
pub fn hidden(mib: u64) -> GuestSpec {
    live(mib).vcpu_order(vec![4]).low_stub(false)
}

/// The same without any root of page tables: everything is searched and nothing found.
pub fn nothing(mib: u64) -> Guest {
    let mut guest = hidden(mib).build();
    let roots: Vec<u64> = std::iter::once(guest.expected.dtb)
        .chain(guest.expected.dtb_alternatives.iter().copied())
        .chain(guest.expected.processes.iter().map(|process| process.dtb))
        .collect();
    for root in roots {
        guest.frames.write(root & !0xfff, &[0; 4096]);
    }
    guest
}
