//! The dump that was planned or written.

use serde::Serialize;

use core2dmp::dump::{Patch, Plan};
use core2dmp::header::dump_type_name;

use super::{Missing, Run, hex, runs};
use crate::render::Bytes;

/// A dump.
#[derive(Debug, Serialize)]
pub(crate) struct Dump {
    dump_type: u32,
    dump_type_name: &'static str,
    size: u64,
    header_bytes: u64,
    frames: u64,
    left_out_frames: u64,
    runs: Vec<Run>,
    missing: Missing,
    missing_are: &'static str,
    segments: Segments,
    patches: Vec<Change>,
}

/// Where the bytes behind the header come from.
#[derive(Debug, Serialize)]
struct Segments {
    count: usize,
    copied_bytes: u64,
    patched_bytes: u64,
    zero_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Change {
    what: String,
    address: String,
    bytes: u64,
}

impl Dump {
    pub(crate) fn new(plan: &Plan) -> Self {
        let bytes = Bytes::of(plan);
        Self {
            dump_type: plan.dump_type,
            dump_type_name: dump_type_name(plan.dump_type).unwrap_or("unknown"),
            size: plan.image.size(),
            header_bytes: plan.header_bytes,
            frames: plan.frames,
            left_out_frames: plan.left_out,
            runs: runs(&plan.runs),
            missing: Missing {
                frames: plan.missing.frames,
                first_runs: runs(&plan.missing.ranges),
            },
            missing_are: if plan.writes_missing() {
                "zeros"
            } else {
                "absent"
            },
            segments: Segments {
                count: plan.image.segments().len(),
                copied_bytes: bytes.copied,
                patched_bytes: bytes.patched,
                zero_bytes: bytes.zeros,
            },
            patches: plan.patches.iter().map(change).collect(),
        }
    }
}

fn change(patch: &Patch) -> Change {
    Change {
        what: patch.what.clone(),
        address: hex(patch.gva.get()),
        bytes: patch.bytes,
    }
}
