//! Guests whose container lacks a frame.

use core2dmp_synth::Guest;

/// Takes a frame out of the container.
pub(crate) fn take(guest: &mut Guest, pfn: u64) {
    let runs = guest.present.iter().flat_map(|&(first, count)| {
        let end = first + count;
        let below = (first, pfn.clamp(first, end));
        [below, ((pfn + 1).clamp(first, end), end)]
    });
    let runs = runs.filter(|(first, end)| first < end);
    guest.present = runs.map(|(first, end)| (first, end - first)).collect();
    guest.expected.missing.push((pfn, 1));
}

/// The frame of a kernel address.
pub(crate) fn frame(guest: &Guest, va: u64) -> u64 {
    guest.translate(va).unwrap() >> 12
}
