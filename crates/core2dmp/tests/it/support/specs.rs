//! Which guests a test is for.

use core2dmp_synth::GuestSpec;

/// Every release for PCs, in every kind of page tables.
pub(crate) fn releases() -> [GuestSpec; 7] {
    [
        GuestSpec::windows10(),
        GuestSpec::windows10_la57(),
        GuestSpec::windows7(),
        GuestSpec::windows2003_x64(),
        GuestSpec::windows2003_x86(),
        GuestSpec::windows2003_pae(),
        GuestSpec::windows7_pae(),
    ]
}

/// 64 and 32 bit, contexts inline and behind a pointer.
pub(crate) fn context_places() -> [GuestSpec; 5] {
    [
        GuestSpec::windows10(),
        GuestSpec::windows2003_x64(),
        GuestSpec::windows2003_x86(),
        GuestSpec::windows2003_pae(),
        GuestSpec::windows7_pae(),
    ]
}
