//! Holes of raw memory as VMware makes them; [`crate::measure`] finds others.

use crate::address::{PAGE_SIZE, Pfn};
use crate::memory::Frames;

/// Where RAM continues that has no place below 4 GiB.
const FOUR_GIB: u64 = 0x10_0000;
/// VMware's hole starts at 3 GiB.
const VMWARE: u64 = 0xc_0000;

/// The hole of a `.vmem` of this many bytes: what follows the first 3 GiB of the file is memory at 4 GiB and above.
///
/// That is a habit of VMware and not a fact of the file. A smaller file has no hole.
pub(super) fn of_vmem(size: u64) -> Option<Frames> {
    (size > VMWARE.saturating_mul(PAGE_SIZE)).then(|| below_4g(VMWARE))
}

fn below_4g(start: u64) -> Frames {
    Frames::between(Pfn::new(start), Pfn::new(FOUR_GIB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vmem_has_a_hole_only_where_it_is_larger() {
        assert_eq!(of_vmem(3 << 30), None);
        let hole = of_vmem((3 << 30) + 1).map(|hole| hole.count);
        assert_eq!(hole, Some(0x4_0000));
    }
}
