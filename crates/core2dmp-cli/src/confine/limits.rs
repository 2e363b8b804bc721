//! Limits of the process itself: no core dumps, no tracer, a limit on its memory.

use std::thread;

use rustix::io::Result;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};

/// The library promises 256 MiB for any input; facts, reports and buffers of all threads come on top. An order of
/// magnitude above all of that.
const MEMORY: u64 = 4 << 30;
/// Address space of a thread, used or not: its stack, and the arena of the C library's allocator.
const THREAD: u64 = 192 << 20;
/// Threads at most: the writer's workers, two that hash, and their like.
const MAX_THREADS: u64 = 80;

/// Sets the limits.
pub(super) fn set() -> Result<()> {
    // However the process ends, the guest's memory must not end up in a core file.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    lower(Resource::Core, 0)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = u64::try_from(cores)
        .unwrap_or(MAX_THREADS)
        .saturating_add(4)
        .min(MAX_THREADS);
    lower(Resource::As, MEMORY.saturating_add(threads * THREAD))
}

/// Lowers both limits, and raises none.
fn lower(resource: Resource, limit: u64) -> Result<()> {
    let old = getrlimit(resource);
    let least = |old: Option<u64>| Some(old.map_or(limit, |old| old.min(limit)));
    let new = Rlimit {
        current: least(old.current),
        maximum: least(old.maximum),
    };
    setrlimit(resource, new)
}
