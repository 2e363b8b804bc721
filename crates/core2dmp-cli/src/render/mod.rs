//! What is found, as text for people and as JSON for programs.

pub(crate) mod json;
mod notation;
pub(crate) mod report;
pub(crate) mod text;

use core2dmp::audit::check::Severity;
use core2dmp::container::Guest;
use core2dmp::dump::Plan;
use core2dmp::image::SegmentData;
use core2dmp::paging::PagingMode;

use crate::message::Failure;

/// The name of a paging mode, in text and JSON alike.
pub(crate) const fn architecture(mode: PagingMode) -> &'static str {
    match mode {
        PagingMode::X86 => "x86",
        PagingMode::X86Pae => "x86-pae",
        PagingMode::X64 => "x64",
        PagingMode::X64La57 => "x64-la57",
        PagingMode::Arm64 => "arm64",
    }
}

/// What the worst finding of a dump comes to, in one line.
pub(crate) const fn verdict(worst: Option<Severity>) -> &'static str {
    match worst {
        Some(Severity::Refused) => "WinDbg would refuse this dump",
        Some(Severity::Broken) => "WinDbg would open it and show less than the truth",
        Some(Severity::Cosmetic) => "WinDbg would open it; what differs hardly shows",
        None => "clean: WinDbg would open it",
    }
}

/// What a repair needs that the original core has.
pub(crate) fn from_core(missing: &str) -> String {
    format!("{missing}; --from the original core")
}

/// A warning where the memory behind a dump's header is not understood; none where there is no memory.
fn not_understood(guest: &Guest, failure: &Failure) -> Option<String> {
    (guest.memory.frame_count() > 0).then(|| {
        format!(
            "Windows was not found in the dump's memory: {}",
            failure.message()
        )
    })
}

/// Where the bytes behind a dump's header come from.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bytes {
    /// From the container.
    pub(crate) copied: u64,
    /// From the container, then changed.
    pub(crate) patched: u64,
    /// From nowhere: missing frames, and frames that the container knows to be zero.
    pub(crate) zeros: u64,
}

impl Bytes {
    /// Sums up a plan; its first segment is the header.
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut sums = Self::default();
        for segment in plan.image.segments().iter().skip(1) {
            let sum = match segment.data {
                SegmentData::Source { .. } | SegmentData::Encoded { .. } => &mut sums.copied,
                SegmentData::Bytes(_) => &mut sums.patched,
                SegmentData::Zeros => &mut sums.zeros,
            };
            *sum = sum.saturating_add(segment.bytes);
        }
        sums
    }
}
